use super::*;

/// A file that the tests bring with them.
pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/files").join(name)
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn read(paths: &[PathBuf]) -> (Vec<DocumentInput>, Vec<Skipped>) {
    let (good, bad): (Vec<_>, Vec<_>) =
        Documents::find(paths, IngestLimits { max_document_bytes: 1000 }).partition(Result::is_ok);
    (good.into_iter().map(Result::unwrap).collect(), bad.into_iter().map(Result::unwrap_err).collect())
}

fn ids(documents: &[DocumentInput]) -> Vec<&str> {
    documents.iter().map(|document| document.id.as_deref().unwrap()).collect()
}

#[test]
fn several_files_at_a_time_give_the_same_in_the_same_order() {
    let found = |workers| {
        let documents = Documents::find(&[fixture("good"), fixture("broken")], IngestLimits::default()).with_workers(workers);
        documents.map(|result| result.map_err(|skipped| skipped.to_string())).collect::<Vec<_>>()
    };
    let one = found(1);
    assert!(one.len() > 8);
    for workers in [2, 5, 100] {
        assert_eq!(found(workers), one);
    }
    // Who stops early leaves no thread that waits for ever, and nothing to wait for.
    let mut documents = Documents::find(&[fixture("good")], IngestLimits::default()).with_workers(4);
    assert!(documents.next().is_some());
}

#[test]
fn folders_are_read_in_order_with_names_from_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "b.txt", "plain");
    write(root, "a/deep/film.md", "intro\n```\n# code\n```\n## Dune (film) ##\ntext");
    write(root, "a/Notiz für dich.TXT", "x");
    write(root, "a/picture.png", [0x89, b'P']);
    write(root, ".git/x.txt", "hidden");
    let (documents, skipped) = read(&[root.to_owned()]);
    assert_eq!(skipped, []);
    let found = ids(&documents);
    assert_eq!([found[1], found[2]], ["a:deep:film.md", "b.txt"]);
    assert!(found[0].starts_with("a:Notiz_f_r_dich.TXT-") && found[0].len() == "a:Notiz_f_r_dich.TXT-".len() + 8);
    let titles: Vec<_> = documents.iter().map(|document| document.title.as_deref().unwrap()).collect();
    assert_eq!(titles, ["Notiz für dich", "Dune (film)", "b"]);
    assert_eq!(documents[2].source.as_deref(), Some(root.join("b.txt").to_str().unwrap()));
    assert_eq!(read(&[root.to_owned()]).0, documents, "the ids are the same the next time");
    assert_eq!(ids(&read(&[root.join("a/deep/film.md")]).0), ["film.md"]);
}

#[test]
fn what_is_no_document_is_named_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "binary.txt", b"a\0b");
    write(root, "empty.md", " \n");
    write(root, "large.txt", "x".repeat(1001));
    write(root, "latin.txt", b"caf\xe9");
    write(root, "mark.txt", "\u{feff}text");
    let (documents, skipped) = read(&[root.to_owned(), root.join("nowhere.txt"), root.join("mark.txt"), root.to_owned()]);
    assert_eq!(documents[0].text, "text");
    assert_eq!(documents.len(), 1);
    let reasons: Vec<_> = skipped.iter().map(ToString::to_string).collect();
    for (reason, expected) in reasons.iter().zip([
        "binary.txt: it is binary",
        "empty.md: it is empty",
        "large.txt: it has 1001 bytes, a document may have 1000",
        "latin.txt: it is not UTF-8: byte 3 begins no character",
        "nowhere.txt: there is no such file",
        "mark.txt: its id is \"mark.txt\", and so is that of a document of",
    ]) {
        assert!(reason.contains(expected), "{reason}");
    }
}

#[test]
fn lines_are_documents_and_a_bad_one_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let lines = [
        "\u{feff}{\"text\": \"one\", \"id\": \"x\", \"title\": \"T\", \"metadata\": {\"year\": 2021}}",
        r#"{"text": 5}"#,
        "",
        "{\"text\": \"two\"}\r",
        r#"{"text": "three", "metadata": "red"}"#,
        r#"{"text": "four", "id": "x"}"#,
        r#"{"text": "five"}"#,
    ];
    write(root, "d/some.jsonl", lines.join("\n"));
    let (documents, skipped) = read(&[root.to_owned()]);
    assert_eq!(ids(&documents), ["x", "d:some.jsonl:4", "d:some.jsonl:7"]);
    assert_eq!(documents[0].metadata.as_ref().unwrap()["year"], 2021);
    assert_eq!((documents[0].title.as_deref(), documents[1].title.as_deref()), (Some("T"), None));
    assert_eq!(documents[1].source.as_deref(), Some(root.join("d/some.jsonl").to_str().unwrap()));
    assert_eq!(skipped.iter().map(|skipped| skipped.place.unwrap().number()).collect::<Vec<_>>(), [2, 5, 6]);
    assert!(skipped[1].reason.contains("expected a map"), "{}", skipped[1]);
}

#[test]
fn a_folder_of_all_formats_is_read() {
    let mut documents = Documents::find(&[fixture("good")], IngestLimits::default());
    assert!(documents.bytes() > 60_000);
    let found: Vec<_> = documents.by_ref().map(Result::unwrap).collect();
    assert_eq!(documents.bytes_read(), documents.bytes());
    assert_eq!(
        ids(&found),
        [
            "bird-1",
            "birds.jsonl:2",
            "ferry.html",
            "7",
            "8",
            "lightship.txt",
            "museum.docx",
            "observatory.pdf",
            "orchard.md",
            "rivers.jsonl.zst:1",
            "rivers.jsonl.zst:2",
            "rivers.jsonl.zst:3",
            "stamps.parquet:1",
            "stamps.parquet:2",
        ]
    );
    assert!(found.iter().all(|document| document.source.is_some()));
    assert_eq!(found[2].title.as_deref(), Some("The Kolm ferry – history"));
    assert!(
        found[2]
            .text
            .starts_with("The Kolm ferry\n\nThe rope ferry of Kolm carried salt & wool across the Ister from 1633 on, drawn by")
    );
    assert!(found[2].text.ends_with("It sank in 1911.\nNobody drowned."));
    assert_eq!(found[5].title.as_deref(), Some("lightship"));
}

#[test]
fn patterns_find_files_and_give_them_the_ids_of_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for name in ["a/one.md", "a/b/two.md", "a/b/three.txt", "a/.hidden/four.md", "a/.five.md", "a/picture.png", "odd[1].md"] {
        write(root, name, name);
    }
    let found = |pattern: &str| {
        let (documents, skipped) = read(&[root.join(pattern)]);
        (documents.into_iter().map(|document| document.id.unwrap()).collect::<Vec<_>>(), skipped)
    };
    assert_eq!(found("a/**/*.md"), (vec!["b:two.md".to_owned(), "one.md".to_owned()], vec![]));
    assert_eq!(found("a"), (vec!["b:three.txt".to_owned(), "b:two.md".to_owned(), "one.md".to_owned()], vec![]));
    assert_eq!(found("a/b/t*"), (vec!["three.txt".to_owned(), "two.md".to_owned()], vec![]));
    assert_eq!(found("a/?ne.md").0, ["one.md"]);
    let (documents, skipped) = read(&[root.join("odd[1].md")]);
    assert_eq!((documents.len(), skipped), (1, vec![]), "a file's own name is no pattern");
    for (pattern, expected) in [("a/*.csv", "matches no file"), ("a/*.png", "matches no file"), ("a/**b", "no pattern")] {
        let (documents, skipped) = found(pattern);
        assert!(documents.is_empty() && skipped.len() == 1 && skipped[0].reason.contains(expected), "{skipped:?}");
    }
    assert!(read(&[root.join("a/picture.png")]).1[0].reason.contains(".parquet"));
}

#[test]
fn a_document_that_breaks_a_rule_is_named_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "some.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\", \"id\": \"a/b\"}");
    let mut documents = Documents::find(&[folder.path().to_owned()], IngestLimits::default());
    let collection = CollectionName::parse("collection", "other").unwrap();
    let first = documents.next_valid(Some(&collection)).unwrap().unwrap();
    assert_eq!((first.collection(), first.text()), (&collection, "one"));
    let skipped = documents.next_valid(Some(&collection)).unwrap().unwrap_err();
    assert!(skipped.to_string().contains("some.jsonl:2: `id`"), "{skipped}");
    assert!(documents.next_valid(None).is_none());
}

#[test]
fn every_path_has_an_id_that_is_allowed_and_its_own() {
    let long = "x".repeat(200);
    let paths = ["a/b.md", "a:b.md", "a_b.md", ".hidden.txt", "é.txt", "è.txt", &long, &format!("{long}y")];
    let found: Vec<_> =
        paths.iter().flat_map(|path| [name::document_id(Path::new(path)), name::line_id(Path::new(path), 1_000_000)]).collect();
    for id in &found {
        crate::names::DocumentId::parse("id", id).unwrap();
    }
    assert_eq!(found.iter().collect::<std::collections::HashSet<_>>().len(), found.len(), "{found:?}");
}
