//! `retro export` and `retro import`, by what searches find afterwards.

use std::io::Write;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Process, Running, change_tokenizer, delete, eventually, get, ingest, model_copy, post, retro, samples};

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn run(subcommand: &str, data: &Path, arguments: &[&str]) -> String {
    let output = retro(subcommand, data, arguments);
    assert!(output.status.success(), "{subcommand} {arguments:?}: {output:?}");
    said(&output).0
}

fn refused(subcommand: &str, data: &Path, arguments: &[&str]) -> String {
    let output = retro(subcommand, data, arguments);
    let (out, error) = said(&output);
    assert!(!output.status.success() && out.is_empty() && !error.contains("panicked"), "{subcommand} {arguments:?}: {output:?}");
    error
}

/// What searches of all kinds find: texts, tokens' neighbours and distances to the last digit.
async fn searches(url: &str, collection: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for (text, filter) in [
        ("The lighthouse stood on a rock, and tea was carried along the road to the harbour.", Value::Null),
        ("Wer hat die Grüße geschickt? 😀", Value::Null),
        ("A comet was seen over the city", json!({"field": "metadata.year", "op": "ge", "value": 1900})),
    ] {
        let body = json!({"text": text, "neighbours": 16, "collection": collection, "filter": filter, "distinct": false});
        let mut answer = post(url, "/v1/retrieve", body).await.ok();
        // Another history has other versions.
        answer.as_object_mut().unwrap().remove("database_version");
        found.push(answer);
    }
    found
}

async fn listed(url: &str) -> Vec<Value> {
    let page = get(url, "/v1/documents?limit=100").await.ok();
    let mut documents = page["data"].as_array().unwrap().clone();
    documents.sort_by_key(|document| document["id"].as_str().unwrap().to_owned());
    for document in &mut documents {
        for key in ["created_at", "updated_at", "task_id", "revision"] {
            document.as_object_mut().unwrap().remove(key);
        }
    }
    documents
}

#[tokio::test]
async fn an_export_imported_elsewhere_gives_the_same_answers_to_the_last_bit() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("library.parquet");
    let path = file.to_str().unwrap();
    let original = Process::serve(from.path(), &[]);
    run("ingest", from.path(), &[samples().to_str().unwrap(), "--collection=library"]);
    let more = json!([
        {"id": "greetings", "collection": "library", "title": "Grüße", "source": "https://example.org/?a=1&b='2'",
         "metadata": {"year": 1911, "tags": ["a", "ü"], "deep": {"x": [1.5, null]}}, "text": "Grüße 😀 aus 東京.\n".repeat(40)},
        {"id": "replaced", "collection": "library", "text": "First text."},
    ]);
    ingest(&original.url, more).await;
    ingest(&original.url, json!([{"id": "replaced", "collection": "library", "text": "Another text, in its place."}])).await;

    // While the server runs.
    let exported = run("export", from.path(), &["library", path]);
    assert!(exported.starts_with("34 documents in ") && exported.contains("collection library, version"), "{exported}");
    let expected = (searches(&original.url, "library").await, listed(&original.url).await);
    assert!(expected.0[1]["chunks"][0]["neighbours"].to_string().contains("東京"));
    assert!(!expected.0[2]["chunks"][0]["neighbours"].as_array().unwrap().is_empty());

    let imported = run("import", to.path(), &[path]);
    assert!(imported.starts_with("34 documents in "), "{imported}");
    let copy = Process::serve(to.path(), &[]);
    assert_eq!(searches(&copy.url, "library").await, expected.0);
    let documents = listed(&copy.url).await;
    assert_eq!(documents, expected.1);
    assert!(documents.iter().all(|document| document["status"] == "ready" && document["chunks"].as_u64() > Some(0)));
    let greetings = get(&copy.url, "/v1/documents/greetings?text=true").await.ok();
    assert_eq!(greetings["text"], "Grüße 😀 aus 東京.\n".repeat(40));

    // Into a server that runs, once more, and into another collection: there as here each document is there once.
    run("import", to.path(), &[path]);
    assert_eq!(listed(&copy.url).await, expected.1);
    run("import", to.path(), &[path, "--collection=moved"]);
    assert_eq!(searches(&copy.url, "moved").await, expected.0);
    let info = get(&copy.url, "/v1/info").await.ok();
    let chunks: Vec<_> = info["collections"].as_array().unwrap().iter().map(|c| (&c["name"], &c["chunks"])).collect();
    assert_eq!(chunks[0], (&json!("library"), &json!(0)));
    assert_eq!(delete(&copy.url, "/v1/documents/greetings").await.status, 204);
    assert!(!searches(&copy.url, "moved").await[1].to_string().contains("東京"));

    // A text has one vector, so those that are made anew are the same.
    let bare = files.path().join("bare.parquet");
    run("export", from.path(), &["library", bare.to_str().unwrap(), "--without-embeddings"]);
    assert!(bare.metadata().unwrap().len() < file.metadata().unwrap().len() / 2);
    let third = tempfile::tempdir().unwrap();
    run("import", third.path(), &[bare.to_str().unwrap()]);
    assert_eq!(searches(&Process::serve(third.path(), &[]).url, "library").await, expected.0);
}

#[tokio::test]
async fn what_another_tokenizer_made_comes_in_by_its_text() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = tempfile::tempdir().unwrap();
    model_copy(model.path());
    change_tokenizer(model.path());
    let flag = format!("--model={}", model.path().display());
    let file = from.path().join("export.parquet");
    let path = file.to_str().unwrap();
    run("ingest", from.path(), &[&flag, samples().join("tea.md").to_str().unwrap()]);
    // No model is needed to write what is there.
    run("export", from.path(), &["default", path, "--model=/nowhere", "--embedder=/nowhere"]);
    let error = refused("import", to.path(), &[path]);
    assert!(error.contains(path) && error.contains("another tokenizer") && error.contains("--embed-again"), "{error}");
    assert!(run("doctor", to.path(), &[]).contains("no collections yet"), "nothing was begun");

    run("import", to.path(), &[path, "--embed-again"]);
    let server = Process::serve(to.path(), &[]);
    let found = searches(&server.url, "default").await;
    let fresh = tempfile::tempdir().unwrap();
    run("ingest", fresh.path(), &[samples().join("tea.md").to_str().unwrap()]);
    assert_eq!(found, searches(&Process::serve(fresh.path(), &[]).url, "default").await);
    let document = get(&server.url, "/v1/documents/tea.md?text=true").await.ok();
    assert_eq!(document["text"], std::fs::read_to_string(samples().join("tea.md")).unwrap());
}

#[test]
fn mistakes_are_answered_in_a_sentence() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("x.parquet");
    let path = file.to_str().unwrap();
    let error = refused("export", data.path(), &["nowhere", path]);
    assert!(error.contains("no collection `nowhere`"), "{error}");
    assert!(!file.exists());
    assert!(refused("export", data.path(), &["a/b", path]).contains("`collection`"));
    assert!(refused("import", data.path(), &[path]).contains("cannot be opened"));
    std::fs::write(&file, "no Parquet").unwrap();
    assert!(refused("import", data.path(), &[path]).contains("no Parquet file"));
    // A file of documents is for `retro ingest`.
    let lamps = crate::support::root().join("tests/fixtures/files/good/lamps.parquet");
    let error = refused("import", data.path(), &[lamps.to_str().unwrap()]);
    assert!(error.contains("lamps.parquet") && error.contains("`retro.format`") && error.contains("interchange.md"), "{error}");
}

#[tokio::test]
async fn an_export_follows_a_link_and_replaces_files_alone() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    ingest(&server.url, json!([{"id": "a", "text": "The lighthouse stood on a rock."}])).await;
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str| files.path().join(name);
    let export = |name: &str| retro("export", data.path(), &["default", file(name).to_str().unwrap()]);

    // A socket stands for what root could replace: a device.
    let socket = std::os::unix::net::UnixListener::bind(file("socket")).unwrap();
    std::fs::create_dir(file("folder")).unwrap();
    std::os::unix::fs::symlink("socket", file("to-socket")).unwrap();
    std::os::unix::fs::symlink("nowhere", file("to-nowhere")).unwrap();
    for (name, expected) in [
        ("socket", "is no regular file"),
        ("folder", "is no regular file"),
        ("to-socket", "is no regular file"),
        ("to-nowhere", "a link that leads nowhere"),
    ] {
        let output = export(name);
        let (out, error) = said(&output);
        assert!(output.status.code() == Some(1) && out.is_empty(), "{name}: {output:?}");
        assert!(error.contains(file(name).to_str().unwrap()) && error.contains(expected), "{name}: {error}");
    }
    let here = std::os::unix::net::UnixStream::connect(file("socket"));
    assert!(here.is_ok(), "the socket is where it was");
    drop(socket);

    std::fs::create_dir(file("elsewhere")).unwrap();
    std::fs::write(file("elsewhere/x.parquet"), "the one before").unwrap();
    std::os::unix::fs::symlink("elsewhere/x.parquet", file("link.parquet")).unwrap();
    let output = export("link.parquet");
    assert!(output.status.success(), "{output:?}");
    assert!(file("link.parquet").is_symlink());
    assert!(std::fs::read(file("elsewhere/x.parquet")).unwrap().starts_with(b"PAR1"));
}

/// `kill -9` while documents are taken in: the same command again completes them, and nothing is there twice.
#[tokio::test]
async fn an_import_that_is_killed_is_completed_by_the_same_command() {
    const DOCUMENTS: usize = 1200;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = from.path().join("many.parquet");
    let path = file.to_str().unwrap();
    let lines = from.path().join("many.jsonl");
    let mut out = std::fs::File::create(&lines).unwrap();
    for number in 0..DOCUMENTS {
        writeln!(out, "{}", json!({"id": format!("d{number}"), "text": format!("The gauge of weir {number} was read at noon.")}))
            .unwrap();
    }
    run("ingest", from.path(), &[lines.to_str().unwrap()]);
    run("export", from.path(), &["default", path, "--without-embeddings"]);
    let importing = Running::start("import", to.path(), &[path]);
    let ready = || async {
        let catalogue = retro_server::catalogue::Catalogue::open(to.path(), None).await.ok()?;
        let counts = catalogue.count_documents(None).await.ok();
        catalogue.close().await;
        counts.map(|counts| counts.ready).filter(|&ready| ready > 0)
    };
    let before = eventually("the first documents", ready).await;
    importing.signal(libc::SIGKILL);
    importing.wait();
    assert!(before < DOCUMENTS as u64, "it was killed before all was in");
    let imported = run("import", to.path(), &[path]);
    assert!(imported.starts_with(&format!("{DOCUMENTS} documents in {DOCUMENTS} chunks imported")), "{imported}");
    let server = Process::serve(to.path(), &[]);
    let info = get(&server.url, "/v1/info").await.ok();
    let collection = &info["collections"][0];
    assert_eq!((&collection["chunks"], &collection["documents"]["ready"]), (&json!(DOCUMENTS), &json!(DOCUMENTS)));
    assert_eq!(collection["documents"]["pending"], 0);
}
