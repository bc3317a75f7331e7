//! `retro ingest` on files of all formats, by what it says and by what a search finds.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Process, Running, get, post, retro, root};

fn fixtures() -> PathBuf {
    root().join("tests/fixtures/files")
}

fn ingest(data: &Path, arguments: &[&str]) -> (Output, String, String) {
    let output = retro("ingest", data, arguments);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    (output, said, complained)
}

#[tokio::test]
async fn every_format_is_found_and_every_broken_file_named() {
    let data = tempfile::tempdir().unwrap();
    let folder = fixtures();
    let folder = folder.to_str().unwrap();

    // A dry run counts what a run takes in.
    let (output, said, complained) = ingest(data.path(), &[folder, "--dry-run", "--max-document-bytes=100000"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(said.starts_with("16 documents with ") && said.ends_with("; nothing was written\n"), "{said}");
    assert!(complained.contains("noise.pdf"), "{complained}");
    assert_eq!(std::fs::read_dir(data.path()).unwrap().count(), 0, "nothing was written");

    let (output, said, complained) = ingest(data.path(), &[folder, "--max-document-bytes=100000"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(said.starts_with("16 documents ready, 0 failed, 24 skipped, 0 unchanged"), "{said}\n{complained}");
    for (file, reason) in [
        ("binary.html", "it is binary"),
        ("binary.txt", "it is binary"),
        ("bomb.docx", "unpacks to more than"),
        ("bytes.parquet", "holds no strings, but Binary"),
        ("cut.docx", "cut short"),
        ("cut.jsonl.zst:", "the rest cannot be read"),
        ("cut.parquet", "no Parquet file"),
        ("damaged.docx", "cannot be read"),
        ("damaged.parquet", "the rest cannot be read"),
        ("latin1.md", "not UTF-8"),
        ("lines.jsonl:2", "expected a string"),
        ("lines.jsonl:3", "missing field `text`"),
        ("lines.jsonl:4", "expected"),
        ("locked.pdf", "it is encrypted"),
        ("noise.docx", "no ZIP archive"),
        ("noise.pdf", "no PDF file"),
        ("open.docx", "cut short"),
        ("other.parquet", "no column `text`"),
        ("plain.jsonl.zst", "the rest cannot be read"),
        ("rows.parquet: row 2", "no text"),
    ] {
        let line = complained.lines().find(|line| line.starts_with("skipped") && line.contains(file));
        assert!(line.is_some_and(|line| line.contains(reason)), "{file}: {complained}");
    }
    assert!(complained.lines().any(|line| line == "skipped 4 more"), "{complained}");
    assert!(!complained.contains("panicked"), "{complained}");

    let server = Process::serve(data.path(), &[]);
    for (sentence, title, source) in [
        ("The lightship Morgenrot lay off Brandoria from 1902 to 1968.", "lightship", "lightship.txt"),
        ("The orchard of Selby Hill grows ninety kinds of pear", "The orchard of Selby Hill", "orchard.md"),
        ("The rope ferry of Kolm carried salt & wool across the Ister", "The Kolm ferry – history", "ferry.html"),
        ("The observatory of Quellmoor was built in 1887 on the highest dune", "The Quellmoor observatory", "observatory.pdf"),
        ("The glass museum of Ambrel keeps the oldest diving bell", "The Ambrel glass museum", "museum.docx"),
        ("The marsh warblers of Tarn Fen nest in reeds that were planted in 1955.", "Marsh warbler", "birds.jsonl"),
        ("The river Olva has a ford at mile 4, marked by an iron post.", "Olva", "rivers.jsonl.zst"),
        ("The arc lamps of Verrin were lit with coal gas until 1908.", "Arc lamps", "lamps.parquet"),
        ("The teal stamp of Orrin shows a plough under three stars.", "", "stamps.parquet"),
        ("The good line of a broken file names the weir of Askel.", "", "lines.jsonl"),
        ("The good row of a broken table names the lock of Askel.", "", "rows.parquet"),
    ] {
        let found = post(&server.url, "/v1/retrieve", json!({"text": sentence, "neighbours": 1})).await.ok();
        let neighbour = &found["chunks"][0]["neighbours"][0];
        let text = neighbour["neighbour"].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(sentence), "{sentence}: {found}");
        assert_eq!(neighbour["title"], title);
        assert!(neighbour["source"].as_str().unwrap().ends_with(source), "{neighbour}");
    }
    let lamp = get(&server.url, "/v1/documents/7").await.ok();
    assert_eq!(lamp["metadata"], json!({"year": 1908, "tags": ["gas"]}));
}

#[tokio::test]
async fn what_has_not_changed_is_not_taken_in_again() {
    let data = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(files.path().join(name), text).unwrap();
    write("one.md", "# One\n\nThe first text.");
    write("two.md", "# Two\n\nThe second text.");
    let folder = files.path().to_str().unwrap();
    let run = |more: &[&str], expected: &str| {
        let (output, said, _) = ingest(data.path(), &[&[folder], more].concat());
        assert!(output.status.success() && said.starts_with(expected), "{more:?}: {output:?}");
    };
    run(&[], "2 documents ready, 0 failed, 0 skipped, 0 unchanged");
    run(&[], "0 documents ready, 0 failed, 0 skipped, 2 unchanged");
    write("two.md", "# Two\n\nThe second text, which is new.");
    run(&[], "1 documents ready, 0 failed, 0 skipped, 1 unchanged");
    run(&["--force"], "2 documents ready, 0 failed, 0 skipped, 0 unchanged");
    run(&["--collection=other"], "2 documents ready, 0 failed, 0 skipped, 0 unchanged");

    // Over HTTP a document is taken in whenever it is sent.
    let server = Process::serve(data.path(), &[]);
    let body = json!({"id": "same", "text": "The same text."});
    for revision in 1..3 {
        post(&server.url, "/v1/documents?wait=true", body.clone()).await.ok();
        assert_eq!(get(&server.url, "/v1/documents/same").await.ok()["revision"], revision);
    }
}

#[test]
fn a_pattern_names_files() {
    let data = tempfile::tempdir().unwrap();
    let pattern = fixtures().join("**/*.parquet");
    let (output, said, _) = ingest(data.path(), &[pattern.to_str().unwrap(), "--dry-run"]);
    assert!(output.status.code() == Some(3) && said.starts_with("5 documents with "), "{output:?}");
    let pattern = fixtures().join("*.csv");
    let (output, said, complained) = ingest(data.path(), &[pattern.to_str().unwrap(), "--dry-run"]);
    assert!(!output.status.success() && complained.contains("matches no file"), "{output:?}");
    assert!(said.starts_with("0 documents"), "{said}");
}

/// A file that is read apart and never comes to its end by itself: its process asks for ever more memory.
#[test]
fn a_file_that_asks_for_too_much_costs_only_itself() {
    let data = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("good.txt"), "A good text beside it.").unwrap();
    std::fs::write(files.path().join("greedy.pdf"), greedy_pdf()).unwrap();
    let (output, said, complained) = ingest(data.path(), &[files.path().to_str().unwrap(), "--dry-run"]);
    assert!(output.status.code() == Some(3) && said.starts_with("1 documents with "), "{output:?}");
    let line = complained.lines().find(|line| line.contains("greedy.pdf")).unwrap_or_default();
    assert!(line.contains("reading it takes more than"), "{complained}");
}

/// Half a megabyte that unpacks to an array of thirty million numbers, within what one stream may unpack to.
fn greedy_pdf() -> Vec<u8> {
    let content = [b"5 0 [".to_vec(), b"0 ".repeat(30 << 20), b"]".to_vec()].concat();
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&content).unwrap();
    let packed = encoder.finish().unwrap();
    let stream = [b"stream\n", &packed[..], b"\nendstream"].concat();
    let head = format!("<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length {} >>\n", packed.len());
    let objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R >>".to_vec(),
        [head.into_bytes(), stream].concat(),
    ];
    let mut pdf = b"%PDF-1.5\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (object, number) in objects.iter().zip(1..) {
        table += &format!("{:010} 00000 n \n", pdf.len());
        pdf.extend(format!("{number} 0 obj\n").bytes());
        pdf.extend(object);
        pdf.extend(b"\nendobj\n");
    }
    let end = format!("{table}trailer\n<< /Root 1 0 R /Size {} >>\nstartxref\n{}\n%%EOF\n", objects.len() + 1, pdf.len());
    pdf.extend(end.bytes());
    pdf
}

/// Ctrl-C while documents are taken in: an orderly end, and the same command goes on.
#[tokio::test]
async fn an_interrupted_run_goes_on_where_it_was() {
    const DOCUMENTS: usize = 600;
    let data = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("many.jsonl");
    let text =
        |number: usize| format!("Report {number}. {}", format!("The gauge of weir {number} was read at noon. ").repeat(12));
    let lines: String = (0..DOCUMENTS).map(|number| format!("{}\n", json!({"text": text(number)}))).collect();
    std::fs::write(&file, lines).unwrap();
    let path = file.to_str().unwrap();

    let mut run = Running::start("ingest", data.path(), &[path, "--log-level=info"]);
    // Some are in, and the rest is not.
    crate::support::eventually("the first documents", || async { ready(data.path()).await.filter(|&ready| ready > 0) }).await;
    run.signal(libc::SIGINT);
    let mut complaints = String::new();
    BufReader::new(run.stderr()).lines().map_while(Result::ok).for_each(|line| complaints += &(line + "\n"));
    assert_eq!(run.wait().code(), Some(130), "{complaints}");
    assert!(complaints.contains("The same command goes on from here"), "{complaints}");
    let before = ready(data.path()).await.unwrap();
    assert!(before < DOCUMENTS as u64, "it ended before all was in");

    let (output, said, _) = ingest(data.path(), &[path]);
    assert!(output.status.success(), "{output:?}");
    let unchanged = said.split(" unchanged").next().unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(unchanged >= before, "{said}");
    assert_eq!(ready(data.path()).await, Some(DOCUMENTS as u64));
    let server = Process::serve(data.path(), &[]);
    let info: Value = get(&server.url, "/v1/info").await.ok();
    assert_eq!(info["collections"][0]["documents"]["ready"], DOCUMENTS);
}

/// Documents that are ready, by the catalogue; none before there is one.
async fn ready(data: &Path) -> Option<u64> {
    if !data.join("catalogue.sqlite").exists() {
        return None;
    }
    let catalogue = retro_server::catalogue::Catalogue::open(data, None).await.ok()?;
    let counts = catalogue.count_documents(None).await.ok();
    catalogue.close().await;
    counts.map(|counts| counts.ready)
}
