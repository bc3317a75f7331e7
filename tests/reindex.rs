//! `retro reindex`, by what searches find afterwards, and by what a kill leaves.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Process, Running, change_tokenizer, eventually, get, model_copy, post, retro, samples};

const FP32: &str = "--embedder-precision=fp32";

fn run(subcommand: &str, data: &Path, arguments: &[&str]) -> String {
    let output = retro(subcommand, data, arguments);
    assert!(output.status.success(), "{subcommand} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(subcommand: &str, data: &Path, arguments: &[&str]) -> String {
    let output = retro(subcommand, data, arguments);
    assert!(!output.status.success(), "{subcommand} {arguments:?}: {output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Flags of a model with another tokenizer file, whose databases are therefore others, and of its folder.
fn other_model() -> (tempfile::TempDir, String) {
    let model = tempfile::tempdir().unwrap();
    model_copy(model.path());
    change_tokenizer(model.path());
    let flag = format!("--model={}", model.path().display());
    (model, flag)
}

async fn found(url: &str) -> Value {
    let body = json!({"text": "The road on which tea was carried to the harbour", "neighbours": 16});
    post(url, "/v1/retrieve", body).await.ok()["chunks"].clone()
}

async fn found_in(data: &Path, arguments: &[&str]) -> Value {
    found(&Process::serve(data, arguments).url).await
}

#[tokio::test]
async fn a_database_is_made_anew_while_the_old_one_serves() {
    let data = tempfile::tempdir().unwrap();
    let (_model, other) = other_model();
    let samples = samples();
    run("ingest", data.path(), &[samples.to_str().unwrap(), &other]);
    let server = Process::serve(data.path(), &[&other]);
    let before = found(&server.url).await;

    // Every command that cannot use it says what can.
    assert!(refused("retrieve", data.path(), &["tea", FP32]).contains("retro reindex"));
    let said = refused("doctor", data.path(), &[FP32]);
    assert!(said.lines().any(|line| line.starts_with("wrong  database") && line.contains("retro reindex")), "{said}");
    assert!(refused("reindex", data.path(), &["nowhere", FP32]).contains("no collection `nowhere`"));
    assert_eq!(found(&server.url).await, before, "the old one serves");

    let said = run("reindex", data.path(), &[FP32]);
    assert!(said.starts_with("default: 32 documents in 240 chunks, in "), "{said}");
    assert!(!data.path().join("reindex").exists());
    assert!(run("doctor", data.path(), &[FP32]).contains("made with this tokenizer and embedder"));

    // The server of the old one says why it finds nothing any more, and loses nothing.
    for (path, body) in [
        ("/v1/retrieve", json!({"text": "tea"})),
        ("/v1/complete", json!({"prompt": "tea", "max_tokens": 4})),
        ("/v1/score", json!({"text": "tea and more of it", "retrieval": {"alignment": "prompt_end"}})),
    ] {
        let answer = post(&server.url, path, body).await;
        assert_eq!((answer.status, answer.code()), (503, "collection_made_anew"), "{path}: {answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains("started again"), "{answer:?}");
    }
    let answer =
        post(&server.url, "/v1/complete", json!({"prompt": "tea", "max_tokens": 4, "retrieval": {"enabled": false}})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(get(&server.url, "/v1/info").await.ok()["collections"][0]["chunks"], 240);
    let late = json!({"id": "late", "text": "A late document about the tea road."});
    let task = post(&server.url, "/v1/documents", late).await.ok();
    let path = format!("/v1/tasks/{}", task["task"]["id"].as_str().unwrap());
    eventually("the worker's try", || async { (get(&server.url, &path).await.ok()["status"] == "running").then_some(()) }).await;
    server.signal(libc::SIGTERM);
    server.wait();
    let catalogue = retro_server::catalogue::Catalogue::open(data.path(), None).await.unwrap();
    let counts = catalogue.count_documents(None).await.unwrap();
    catalogue.close().await;
    assert_eq!((counts.pending, counts.failed), (1, 0), "the document waits");

    let server = Process::serve(data.path(), &[FP32]);
    eventually("the late document", || async {
        (get(&server.url, "/v1/documents/late").await.ok()["status"] == "ready").then_some(())
    })
    .await;
    assert_eq!(crate::support::delete(&server.url, "/v1/documents/late").await.status, 204);
    // As if it had been made so from the beginning.
    let fresh = tempfile::tempdir().unwrap();
    run("ingest", fresh.path(), &[samples.to_str().unwrap(), FP32]);
    assert_eq!(found(&server.url).await, found_in(fresh.path(), &[FP32]).await);
    drop(server);
    assert!(run("reindex", data.path(), &[FP32]).contains("made with this tokenizer and embedder already"));
    // What the embedder computes in follows the database.
    found_in(data.path(), &[]).await;
}

#[test]
fn one_collection_of_several_leaves_a_word_about_the_others() {
    let data = tempfile::tempdir().unwrap();
    let (_model, other) = other_model();
    let tea = samples().join("tea.md");
    assert!(run("reindex", data.path(), &[]).contains("there are no collections"));
    for collection in ["one", "two"] {
        let file = data.path().join(format!("{collection}.md"));
        std::fs::copy(&tea, &file).unwrap();
        run("ingest", data.path(), &[file.to_str().unwrap(), &format!("--collection={collection}"), &other]);
    }
    let output = retro("reindex", data.path(), &["two"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && error.contains("another tokenizer or embedder: one;"), "{error}");
    let said = refused("retrieve", data.path(), &["tea", "--collection=two"]);
    assert!(said.contains("\"one\"") && said.contains("retro reindex"), "{said}");
    assert!(run("reindex", data.path(), &[]).contains("two: made with this tokenizer and embedder already"));
    run("retrieve", data.path(), &["tea", "--collection=one"]);
}

#[tokio::test]
async fn a_kill_or_an_interrupt_leaves_the_old_database() {
    const DOCUMENTS: usize = 400;
    let data = tempfile::tempdir().unwrap();
    let (_model, other) = other_model();
    let lines = data.path().join("many.jsonl");
    let mut out = std::fs::File::create(&lines).unwrap();
    for number in 0..DOCUMENTS {
        let text = format!("Tea of road {number} was weighed at the harbour. ").repeat(12);
        writeln!(out, "{}", json!({"id": format!("d{number}"), "text": text})).unwrap();
    }
    run("ingest", data.path(), &[lines.to_str().unwrap(), &other]);
    let before = found_in(data.path(), &[&other]).await;
    for (signal, code) in [(libc::SIGINT, Some(130)), (libc::SIGKILL, None)] {
        let mut running = Running::start("reindex", data.path(), &[]);
        let staged = data.path().join("reindex/default.lance");
        eventually("the first rows", || async { staged.exists().then_some(()) }).await;
        running.signal(signal);
        let mut said = String::new();
        BufReader::new(running.stderr()).lines().map_while(Result::ok).for_each(|line| said += &line);
        assert_eq!(running.wait().code(), code, "{said}");
        assert_eq!(said.contains("collection default is as it was"), code.is_some(), "{said}");
        assert_eq!(staged.exists(), code.is_none(), "a kill leaves what the next run removes");
        assert_eq!(found_in(data.path(), &[&other]).await, before);
    }
    let said = run("reindex", data.path(), &[]);
    assert!(!data.path().join("reindex").exists());
    let server = Process::serve(data.path(), &[]);
    let info = get(&server.url, "/v1/info").await.ok();
    assert_eq!(info["collections"][0]["documents"]["ready"], DOCUMENTS);
    let chunks = info["collections"][0]["chunks"].as_u64().unwrap();
    assert!(said.starts_with(&format!("default: {DOCUMENTS} documents in {chunks} chunks, in ")), "{said}");
    let document = get(&server.url, "/v1/documents/d7?text=true").await.ok();
    assert_eq!(document["text"], "Tea of road 7 was weighed at the harbour. ".repeat(12));
}
