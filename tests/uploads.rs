//! `POST /v1/documents` with files, as forms send them.

use std::path::Path;

use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Answer, Process, SOON, Server, ask, eventually, get, post, root, shared};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(root().join("tests/fixtures/files").join(name)).unwrap()
}

fn with(form: Form, name: &str, content: impl Into<Vec<u8>>) -> Form {
    form.part("files", Part::bytes(content.into()).file_name(name.to_owned()))
}

fn file(name: &str, content: impl Into<Vec<u8>>) -> Form {
    with(Form::new(), name, content)
}

async fn send(url: &str, form: Form) -> Answer {
    ask(reqwest::Client::new().post(format!("{url}/v1/documents?wait=true")).multipart(form)).await
}

/// Sends a body as it stands.
async fn send_raw(kind: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = reqwest::Client::new().post(format!("{}/v1/documents", shared()));
    ask(request.header("content-type", kind).body(body.into())).await
}

/// Files and folders of uploads that are there.
fn uploads(data: &Path) -> usize {
    std::fs::read_dir(data.join("uploads")).unwrap().count()
}

#[tokio::test]
async fn files_of_every_format_go_in_and_broken_ones_are_named() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &["--max-document-bytes=100000"]);
    let good = [
        "lightship.txt",
        "orchard.md",
        "ferry.html",
        "observatory.pdf",
        "museum.docx",
        "birds.jsonl",
        "rivers.jsonl.zst",
        "lamps.parquet",
    ];
    let broken = ["binary.txt", "lines.jsonl", "noise.pdf", "bomb.docx", "rows.parquet"];
    let mut form = Form::new().text("collection", "uploads");
    for name in good {
        form = with(form, name, fixture(&format!("good/{name}")));
    }
    for name in broken {
        form = with(form, name, fixture(&format!("broken/{name}")));
    }
    form = with(form, "picture.png", "PNG");
    let answer = send(&server.url, form).await.ok();
    assert_eq!(answer["task"]["status"], "succeeded", "{answer}");
    let ids = json!([
        "lightship.txt",
        "orchard.md",
        "ferry.html",
        "observatory.pdf",
        "museum.docx",
        "bird-1",
        "birds.jsonl:2",
        "rivers.jsonl.zst:1",
        "rivers.jsonl.zst:2",
        "rivers.jsonl.zst:3",
        "7",
        "8",
        "lines.jsonl:1",
        "rows.parquet:1"
    ]);
    assert_eq!(answer["document_ids"], ids);
    assert_eq!(answer["task"]["documents"]["ready"], ids.as_array().unwrap().len());
    let skipped = &answer["skipped"];
    let expected = [
        ("binary.txt", Value::Null, Value::Null, "it is binary"),
        ("lines.jsonl", json!(2), Value::Null, "expected a string"),
        ("lines.jsonl", json!(3), Value::Null, "missing field `text`"),
        ("lines.jsonl", json!(4), Value::Null, "expected"),
        ("noise.pdf", Value::Null, Value::Null, "no PDF file"),
        ("bomb.docx", Value::Null, Value::Null, "unpacks to more than"),
        ("rows.parquet", Value::Null, json!(2), "no text"),
        ("rows.parquet", Value::Null, json!(3), "no JSON object"),
        ("picture.png", Value::Null, Value::Null, "its name ends in none of .txt"),
    ];
    assert_eq!(skipped["total"], expected.len(), "{skipped}");
    for (part, (name, line, row, reason)) in skipped["first"].as_array().unwrap().iter().zip(expected) {
        assert_eq!((&part["file"], &part["line"], &part["row"]), (&json!(name), &line, &row), "{skipped}");
        assert!(part["reason"].as_str().unwrap().contains(reason), "{part}");
    }
    assert_eq!(uploads(data.path()), 0);

    for (sentence, title, source) in [
        ("The lightship Morgenrot lay off Brandoria from 1902 to 1968.", "lightship", "lightship.txt"),
        ("The orchard of Selby Hill grows ninety kinds of pear", "The orchard of Selby Hill", "orchard.md"),
        ("The observatory of Quellmoor was built in 1887 on the highest dune", "The Quellmoor observatory", "observatory.pdf"),
        ("The glass museum of Ambrel keeps the oldest diving bell", "The Ambrel glass museum", "museum.docx"),
        ("The marsh warblers of Tarn Fen nest in reeds that were planted in 1955.", "Marsh warbler", "birds.jsonl"),
        ("The arc lamps of Verrin were lit with coal gas until 1908.", "Arc lamps", "lamps.parquet"),
    ] {
        let body = json!({"text": sentence, "neighbours": 1, "collection": "uploads"});
        let found = post(&server.url, "/v1/retrieve", body).await.ok();
        let neighbour = &found["chunks"][0]["neighbours"][0];
        let text = neighbour["neighbour"].as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(sentence), "{sentence}: {found}");
        assert_eq!((&neighbour["title"], &neighbour["source"]), (&json!(title), &json!(source)), "{neighbour}");
    }

    // The same file is the same document.
    let again = send(&server.url, file("orchard.md", "# The orchard\n\nThe orchard was felled.")).await.ok();
    assert_eq!((&again["document_ids"], &again["skipped"]), (&json!(["orchard.md"]), &json!({"total": 0, "first": []})));
    let shown = get(&server.url, "/v1/documents/orchard.md").await.ok();
    assert_eq!((&shown["revision"], &shown["title"]), (&json!(2), &json!("The orchard")));
}

#[tokio::test]
async fn large_files_arrive_whole() {
    let content = [b"\r\n--B\r\r\n-", &vec![b'x'; 20 << 20][..]].concat();
    let expected = format!("it has {} bytes, a document may have 10485760", content.len());
    let form = with(file("large-1.txt", content.clone()), "large-2.html", content);
    let answer = send(shared(), with(form, "large-3.txt", "A small file beside them.")).await.ok();
    assert_eq!((&answer["document_ids"], &answer["skipped"]["total"]), (&json!(["large-3.txt"]), &json!(2)));
    assert_eq!(answer["skipped"]["first"][0]["reason"], expected);
}

#[tokio::test]
async fn fields_hold_for_all_files_and_what_a_line_says_goes_before_them() {
    let line = json!({"id": "field-line", "text": "A line.", "title": "Own", "metadata": {"year": 1999}, "shelf": 4});
    let form = Form::new()
        .text("title", "Report")
        .text("metadata", r#"{"year": 2026, "part": "b"}"#)
        .text("collection", "fields")
        .text("source", "");
    // Fields count wherever they stand, and a choice of files that was left empty is none.
    let form = with(with(form, "fields/plain.txt", "A plain text."), "lines.jsonl", line.to_string());
    let form = with(form, "", "").text("unused", "x");
    let refused = send(shared(), form).await;
    assert_eq!((refused.status, refused.code(), refused.field()), (422, "unknown_field", "unused"));

    let form = with(with(Form::new(), "fields/plain.txt", "A plain text."), "lines.jsonl", line.to_string());
    let form = with(form, "", "")
        .text("title", "Report")
        .text("metadata", r#"{"year": 2026, "part": "b"}"#)
        .text("collection", "fields")
        .text("source", "");
    let answer = send(shared(), form).await.ok();
    assert_eq!(answer["document_ids"], json!(["fields:plain.txt", "field-line"]), "{answer}");
    let plain = get(shared(), "/v1/documents/fields:plain.txt").await.ok();
    let line = get(shared(), "/v1/documents/field-line").await.ok();
    assert_eq!((&plain["title"], &plain["source"]), (&json!("Report"), &json!("fields/plain.txt")));
    assert_eq!((&line["title"], &line["source"]), (&json!("Own"), &json!("lines.jsonl")));
    assert_eq!(plain["metadata"], json!({"year": 2026, "part": "b"}));
    assert_eq!(line["metadata"], json!({"year": 1999, "part": "b", "shelf": 4}));
    assert_eq!((&plain["collection"], &line["collection"]), (&json!("fields"), &json!("fields")));
    assert_eq!(plain["task_id"], line["task_id"], "one request is one task");
}

#[tokio::test]
async fn forms_that_break_a_rule_are_refused_and_store_nothing() {
    let good = || file("refused.txt", "A good text.");
    for (form, status, code, field) in [
        (Form::new().text("title", "x"), 422, "missing_field", "files"),
        (good().text("files", "text"), 422, "invalid_value", "files"),
        (good().text("name", "x"), 422, "unknown_field", "name"),
        (good().text("title", "x".repeat(1001)), 422, "invalid_value", "title"),
        (good().text("title", "x".repeat(70_000)), 413, "document_too_large", "title"),
        (good().text("title", "x").text("title", "y"), 422, "invalid_value", "title"),
        (good().text("source", "x".repeat(1001)), 422, "invalid_value", "source"),
        (good().text("collection", "a/b"), 422, "invalid_value", "collection"),
        (good().text("metadata", "[1]"), 422, "invalid_value", "metadata"),
        (good().text("metadata", "{"), 422, "invalid_value", "metadata"),
        (good().text("metadata", json!({"k": "x".repeat(20_000)}).to_string()), 413, "document_too_large", "metadata"),
        (good().part("source", Part::bytes(b"caf\xe9".to_vec())), 400, "invalid_utf8", "source"),
        (with(good(), "", "no name"), 422, "invalid_value", "files"),
        (file("empty.txt", ""), 422, "unreadable_files", "files"),
        (file("none.jsonl", "\n"), 422, "unreadable_files", "files"),
        (file("picture.png", "PNG"), 422, "unreadable_files", "files"),
    ] {
        let answer = send(shared(), form).await;
        assert_eq!((answer.status, answer.code(), answer.field()), (status, code, field), "{answer:?}");
    }
    let two = send(shared(), with(file("a.txt", "\0"), "b.jsonl", "no json")).await;
    let detail = two.body["detail"].as_str().unwrap();
    assert!(detail.contains("`a.txt`: it is binary; `b.jsonl` line 1: expected"), "{detail}");

    let part = "--B\r\ncontent-disposition: form-data; name=\"files\"; filename=\"refused.txt\"\r\n\r\ntext\r\n";
    let kind = "multipart/form-data; boundary=B";
    for (kind, body, code) in [
        ("multipart/form-data", format!("{part}--B--"), "invalid_multipart"),
        (kind, part.to_owned(), "invalid_multipart"),
        (kind, part.replace("\r\n\r\ntext", "")[..40].to_owned(), "invalid_multipart"),
        (kind, String::new(), "invalid_multipart"),
        (kind, format!("--B\r\n{}", "x".repeat(60_000)), "invalid_multipart"),
        (kind, "x".repeat(60_000), "invalid_multipart"),
    ] {
        let answer = send_raw(kind, body).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{answer:?}");
    }
    assert_eq!(get(shared(), "/v1/documents/refused.txt").await.code(), "document_not_found");
}

#[tokio::test]
async fn an_upload_has_limits_of_its_own() {
    let server = Server::start(&["--max-body-bytes=2000", "--max-upload-bytes=20000", "--max-documents=3"]).await;
    let url = server.url.as_str();
    let text = "Sentence. ".repeat(500);
    assert_eq!(send(url, file("a.txt", text.clone())).await.status, 200, "larger than another body may be");
    for (form, status, code) in [
        (file("a.txt", "x".repeat(20_001)), 413, "body_too_large"),
        (file("a.jsonl", "{\"text\": \"a\"}\n".repeat(4)), 422, "invalid_value"),
        (with(with(with(file("a.txt", "a"), "b.txt", "b"), "c.txt", "c"), "d.txt", "d"), 422, "invalid_value"),
        // A few hundred bytes that unpack to more.
        (file("a.jsonl.zst", packed(&text)), 413, "body_too_large"),
    ] {
        let answer = send(url, form).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{answer:?}");
    }
    assert_eq!(get(url, "/v1/documents").await.ok()["data"].as_array().unwrap().len(), 1);
}

/// Three documents of ten kilobytes each, compressed.
fn packed(text: &str) -> Vec<u8> {
    let lines: String = (0..3).map(|n| format!("{}\n", json!({"text": format!("{n} {text} {text}")}))).collect();
    zstd::encode_all(lines.as_bytes(), 3).unwrap()
}

#[tokio::test]
async fn names_are_data() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let names = ["../../../outside.txt", "/tmp/retro-outside.md", "C:\\evil\\a.txt", "<b>\u{202e}.txt", "a;b\"c.txt"];
    for name in names {
        let answer = send(&server.url, file(name, format!("Named {name:?}."))).await.ok();
        let id = answer["document_ids"][0].as_str().unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte)), "{id}");
        let shown = get(&server.url, &format!("/v1/documents/{id}?text=true")).await.ok();
        assert_eq!(shown["text"], format!("Named {name:?}."));
    }
    assert_eq!(get(&server.url, "/v1/documents").await.ok()["data"].as_array().unwrap().len(), names.len());
    assert!(!Path::new("/tmp/retro-outside.md").exists() && !data.path().join("../outside.txt").exists());
    assert_eq!(uploads(data.path()), 0);
}

/// A client that sends the beginning of a file, and no more.
async fn begin(url: &str) -> TcpStream {
    let address = url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/documents HTTP/1.1\r\nhost: {address}\r\ncontent-type: multipart/form-data; boundary=B\r\ncontent-length: 100000\r\n\r\n\
         --B\r\ncontent-disposition: form-data; name=\"files\"; filename=\"begun.txt\"\r\n\r\n{}",
        "begun ".repeat(1000)
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection
}

#[tokio::test]
async fn what_does_not_arrive_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let there = || async { (uploads(data.path()) == 1).then_some(()) };
    let gone = || async { (uploads(data.path()) == 0).then_some(()) };
    let mut connection = begin(&server.url).await;
    eventually("the beginning of a file", there).await;
    connection.shutdown().await.unwrap();
    let mut answer = String::new();
    // Half closed: the server may answer, or end the connection.
    let _ = tokio::time::timeout(SOON, connection.read_to_string(&mut answer)).await.expect("an end");
    drop(connection);
    eventually("the end of a file", gone).await;

    let connection = begin(&server.url).await;
    eventually("the beginning of another file", there).await;
    server.signal(libc::SIGKILL);
    server.wait();
    drop(connection);
    assert_eq!(uploads(data.path()), 1, "the process had no time for it");
    let again = Process::serve(data.path(), &[]);
    assert_eq!(uploads(data.path()), 0);
    assert_eq!(get(&again.url, "/v1/documents").await.ok()["data"], json!([]));
}
