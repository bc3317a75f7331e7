use lopdf::content::{Content, Operation};
use lopdf::{Stream, dictionary};

use super::*;
use crate::ingest::files::tests::fixture;

/// A PDF of one page with this content, in Helvetica as F1; with an XObject `X1` if that is given.
fn pdf(content: Stream, form: Option<Stream>) -> Vec<u8> {
    let mut document = Document::with_version("1.5");
    let font = document.add_object(dictionary! { "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica" });
    let mut objects = dictionary! {};
    if let Some(form) = form {
        objects.set("X1", document.add_object(form));
    }
    let content = document.add_object(content);
    let pages = document.new_object_id();
    let page = document.add_object(dictionary! {
        "Type" => "Page", "Parent" => pages, "Contents" => content,
        "Resources" => dictionary! { "Font" => dictionary! { "F1" => font }, "XObject" => objects },
    });
    document.objects.insert(pages, dictionary! { "Type" => "Pages", "Kids" => vec![page.into()], "Count" => 1 }.into());
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
    document.trailer.set("Root", catalog);
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    bytes
}

fn stream(content: &str) -> Stream {
    Stream::new(dictionary! {}, content.as_bytes().to_vec())
}

fn text(content: &str) -> String {
    text_of(&pdf(stream(content), None), 10_000).unwrap().text
}

#[test]
fn a_document_is_read_in_lines_with_its_title() {
    let read = read(&fixture("good/observatory.pdf"), &IngestLimits::default()).unwrap();
    assert_eq!(read.title.as_deref(), Some("The Quellmoor observatory"));
    let words = read.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.starts_with("The observatory of Quellmoor was built in 1887 on the highest dune of the coast. Its first"),
        "{words}"
    );
    assert!(words.contains("that she had ground and polished herself."), "{words}");
    assert!(words.ends_with("Größte Öffnung: zwölf Zoll – measured in 1891."), "{words}");
}

#[test]
fn places_decide_what_is_a_space_a_line_and_a_paragraph() {
    let begin = "BT /F1 10 Tf 100 700 Td";
    assert_eq!(text(&format!("{begin} (one) Tj 0 -12 Td (two) Tj 0 -30 Td (three) Tj ET")), "one\ntwo\n\nthree");
    assert_eq!(text(&format!("{begin} 12 TL (one) ' (two) ' 1 0 (three) \" T* (four) Tj ET")), "one\ntwo\nthree\nfour");
    // Helvetica's "one" is 16.68 wide at size 10.
    assert_eq!(text(&format!("{begin} (one) Tj 17 0 Td (two) Tj ET")), "onetwo");
    assert_eq!(text(&format!("{begin} (one) Tj 20 0 Td (two) Tj ET")), "one two");
    assert_eq!(text(&format!("{begin} [(ke) -20 (rn) 15 (ed) -300 (words)] TJ ET")), "kerned words");
    // 256 and 257 in octal are the ligatures of the standard encoding.
    assert_eq!(text(&format!("{begin} (pre\\256x \\257at) Tj ET")), "prefix flat");
    assert_eq!(text(&format!("{begin} (H) Tj 7.2 -2 Td (2) Tj 5.6 2 Td (O) Tj ET")), "H2O");
    assert_eq!(text("BT /F1 1 Tf 10 0 0 10 100 700 Tm (one) Tj 0 -1.2 Td (two) Tj ET"), "one\ntwo");
    // Turned by a right angle, a line goes up.
    assert_eq!(text("BT /F1 10 Tf 0 1 -1 0 100 100 Tm (one) Tj 20 0 Td (two) Tj 0 -12 Td (three) Tj ET"), "one two\nthree");
    assert_eq!(text("q 0.1 0 0 0.1 0 0 cm BT /F1 100 Tf 100 7000 Td (small) Tj ET Q"), "small");
}

#[test]
fn forms_are_read_and_one_that_draws_itself_ends() {
    let form = |content: &str| Stream::new(dictionary! { "Subtype" => "Form", "Type" => "XObject" }, content.as_bytes().to_vec());
    let draw = |form| text_of(&pdf(stream("/X1 Do"), Some(form)), 10_000);
    assert_eq!(draw(form("BT /F1 10 Tf (inside) Tj ET")).unwrap().text, "inside");
    let text = draw(form("BT /F1 10 Tf (again) Tj ET /X1 Do")).unwrap().text;
    assert!(text.matches("again").count() <= 8, "{text}");
}

#[test]
fn bounds_are_kept() {
    let mut bomb = stream(&" ".repeat(MAX_STREAM + 1));
    bomb.compress().unwrap();
    assert!(bomb.content.len() < 1 << 20);
    let error = text_of(&pdf(bomb, None), 100).unwrap_err();
    assert!(error.contains("page 1") && error.contains("exceeded"), "{error}");
    let error = text_of(&pdf(stream("BT /F1 10 Tf (01234567890) Tj ET"), None), 10).unwrap_err();
    assert!(error.contains("more than 10 bytes"), "{error}");
    let deep = format!("BT /F1 10 Tf {} (text) Tj ET", "[".repeat(100_000));
    assert!(text_of(&pdf(stream(&deep), None), 100).is_err());
    let states = format!("{} BT /F1 10 Tf (text) Tj ET", "q ".repeat(100_000));
    assert_eq!(text(&states), "text");
}

#[test]
fn broken_files_have_reasons() {
    for (file, expected) in [
        ("noise.pdf", "it is no PDF file, or a broken one"),
        ("scan.pdf", "it has no text on its 1 pages; they may be pictures"),
        ("locked.pdf", "it is encrypted"),
    ] {
        let error = read(&fixture(&format!("broken/{file}")), &IngestLimits::default()).unwrap_err();
        assert!(error.contains(expected), "{file}: {error}");
    }
    let whole = std::fs::read(fixture("good/observatory.pdf")).unwrap();
    for length in (0..whole.len()).step_by(997) {
        // Any prefix may be read as far as it goes, or refused; none may do harm.
        if let Ok(read) = text_of(&whole[..length], 10_000) {
            assert!(!read.text.is_empty());
        }
    }
}

#[test]
fn what_reads_operations_agrees_with_what_writes_them() {
    let operations = vec![
        Operation::new("BT", vec![]),
        Operation::new("Tf", vec!["F1".into(), 10.into()]),
        Operation::new("Tj", vec![Object::string_literal("a (b) \\ c")]),
        Operation::new("ET", vec![]),
    ];
    let content = Content { operations }.encode().unwrap();
    assert_eq!(text_of(&pdf(Stream::new(dictionary! {}, content), None), 100).unwrap().text, "a (b) \\ c");
}
