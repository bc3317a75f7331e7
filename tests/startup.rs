//! What stops a server from starting says so in one sentence.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use serde_json::json;

use crate::support::{Process, change_tokenizer, command, ingest, model_copy, post, retro, retro_in, root, samples};

/// Runs `retro serve`, which must fail, and gives what it said.
fn refused(data: &Path, arguments: &[&str]) -> String {
    let mut all = vec!["--listen=127.0.0.1:0"];
    all.extend(arguments);
    complaint(&retro("serve", data, &all))
}

fn complaint(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(!said.contains("panicked") && !said.contains("stack backtrace"), "{said}");
    said
}

#[test]
fn a_model_with_a_missing_or_an_altered_file() {
    let data = tempfile::tempdir().unwrap();
    let model = tempfile::tempdir().unwrap();
    model_copy(model.path());
    let flag = format!("--model={}", model.path().display());

    let graph = model.path().join("int8/lower.onnx");
    let whole = std::fs::read(&graph).unwrap();
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&graph, altered).unwrap();
    let said = refused(data.path(), &[&flag]);
    assert!(said.contains("lower.onnx") && said.contains("sha256"), "{said}");
    std::fs::write(&graph, &whole[..whole.len() / 2]).unwrap();
    let said = refused(data.path(), &[&flag]);
    assert!(said.contains("lower.onnx") && said.contains("bytes"), "{said}");
    std::fs::remove_file(&graph).unwrap();
    let said = refused(data.path(), &[&flag]);
    assert!(said.contains("lower.onnx"), "{said}");
    // What does not run may be missing, but `doctor` sees it.
    let output = retro("doctor", data.path(), &[&flag, "--precision=fp32"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().any(|line| line.starts_with("wrong  model files") && line.contains("int8/lower.onnx")), "{said}");
    let output = retro("retrieve", data.path(), &[&flag, "--precision=fp32", "tea"]);
    assert!(output.status.success(), "{output:?}");
    let said = refused(data.path(), &[&flag, "--precision=int3"]);
    assert!(said.contains("int3") && said.contains("auto, fp32, int8"), "{said}");
    std::fs::remove_file(model.path().join("retro.json")).unwrap();
    let said = refused(data.path(), &[&flag]);
    assert!(said.contains("retro.json") && said.contains(model.path().to_str().unwrap()), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

#[test]
fn a_database_made_with_another_tokenizer() {
    let data = tempfile::tempdir().unwrap();
    let model = tempfile::tempdir().unwrap();
    model_copy(model.path());
    change_tokenizer(model.path());
    let flag = format!("--model={}", model.path().display());
    let sample = samples().join("tea.md");
    let output = retro("ingest", data.path(), &[&flag, sample.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let said = refused(data.path(), &[]);
    assert!(said.contains("another tokenizer") && said.contains("retro reindex") && said.contains("default"), "{said}");
    let output = retro("doctor", data.path(), &[]);
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().any(|line| line.starts_with("wrong  database") && line.contains("another tokenizer")), "{said}");
}

/// The first completion of a server, which makes all warm, looks into the default collection.
#[tokio::test]
async fn a_damaged_collection_is_no_reason_not_to_start() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    for collection in ["default", "other"] {
        let document = json!([{"id": collection, "collection": collection, "text": "Tea is a drink made of leaves."}]);
        ingest(&server.url, document).await;
    }
    server.signal(libc::SIGTERM);
    server.wait();
    for file in std::fs::read_dir(data.path().join("lance/default.lance/data")).unwrap() {
        OpenOptions::new().write(true).open(file.unwrap().path()).unwrap().set_len(10).unwrap();
    }
    let server = Process::serve(data.path(), &["--vectors-mb=0"]);
    let search = async |collection| post(&server.url, "/v1/retrieve", json!({"text": "Tea", "collection": collection})).await;
    let damaged = search("default").await;
    assert_eq!((damaged.status, damaged.code()), (500, "data_damaged"));
    assert_eq!(search("other").await.ok()["chunks"][0]["neighbours"][0]["document_id"], "other");
    let completed = post(&server.url, "/v1/complete", json!({"prompt": "Tea", "max_tokens": 4})).await;
    assert_eq!((completed.status, completed.code()), (500, "data_damaged"));
    let without = json!({"prompt": "Tea", "max_tokens": 4, "retrieval": {"enabled": false}});
    assert_eq!(post(&server.url, "/v1/complete", without).await.status, 200);
}

#[test]
fn an_embedder_or_a_runtime_that_is_not_there() {
    let data = tempfile::tempdir().unwrap();
    let said = refused(data.path(), &["--embedder=/nowhere"]);
    assert!(said.contains("/nowhere") && said.contains("make setup"), "{said}");
    let said = refused(data.path(), &["--onnxruntime=/nowhere/lib.so"]);
    assert!(said.contains("/nowhere/lib.so") && said.contains("make setup"), "{said}");
}

#[test]
fn cuda_where_the_library_has_none_is_refused_with_the_mend() {
    let data = tempfile::tempdir().unwrap();
    for device in ["cuda", "cuda:1"] {
        let said = refused(data.path(), &[&format!("--device={device}")]);
        assert!(said.contains(&format!("`device` is {device}")) && said.contains("onnxruntime-gpu"), "{said}");
    }
    let doctor = retro("doctor", data.path(), &["--device=cuda"]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(!doctor.status.success() && said.contains("wrong  provider") && said.contains("onnxruntime-gpu"), "{said}");
}

#[test]
fn settings_that_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let said = complaint(&retro_in(folder.path(), &["serve", "--device=gpu"], &[]));
    assert!(said.contains("--device") && said.contains("`cuda:N`"), "{said}");
    let said = complaint(&retro_in(folder.path(), &["serve"], &[("RETRO_MAX_QUEUE", "none")]));
    assert!(said.contains("RETRO_MAX_QUEUE"), "{said}");
    std::fs::write(folder.path().join("retro.toml"), "max_quue = 3\n").unwrap();
    let said = complaint(&retro_in(folder.path(), &["serve"], &[]));
    assert!(said.contains("retro.toml") && said.contains("`max_quue`") && said.contains("max_queue"), "{said}");
    std::fs::write(folder.path().join("retro.toml"), "device = \"gpu\"\n").unwrap();
    let said = complaint(&retro_in(folder.path(), &["serve"], &[]));
    assert!(said.contains("`device`") && said.contains("`cuda:N`"), "{said}");
    let said = complaint(&retro_in(folder.path(), &["serve", "--config=other.toml"], &[]));
    assert!(said.contains("other.toml"), "{said}");
}

#[test]
fn a_port_that_is_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--listen={}", taken.local_addr().unwrap());
    let data = tempfile::tempdir().unwrap();
    let said = complaint(&retro("serve", data.path(), &[&listen]));
    assert!(said.contains(&taken.local_addr().unwrap().to_string()), "{said}");
}

#[test]
fn the_example_of_settings_names_every_setting_with_its_default() {
    let example = std::fs::read_to_string(root().join("retro.toml.example")).unwrap();
    let filled: String = example
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(""))
        .fold(String::new(), |text, line| text + line + "\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("retro.toml"), &filled).unwrap();
    let help = String::from_utf8(retro_in(folder.path(), &["serve", "--help"], &[]).stdout).unwrap();
    let settings: Vec<_> = help.split("[env: RETRO_").skip(1).filter_map(|rest| rest.split(['=', ']']).next()).collect();
    assert!(settings.len() > 15, "{help}");
    for setting in settings.iter().filter(|&&setting| setting != "CONFIG") {
        let key = format!("{} = ", setting.to_lowercase());
        assert!(filled.lines().any(|line| line.starts_with(&key)), "retro.toml.example does not name {key}");
    }
    // What it says is accepted: the first thing that is wrong is the model, which is not in this folder.
    let said = complaint(&retro_in(folder.path(), &["serve", "--listen=127.0.0.1:0"], &[]));
    assert!(!said.contains("settings file"), "{said}");
}

/// Answers every request with `status` and S3's error `code`; gives its address.
fn store_that_refuses(status: &'static str, code: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            // A client that left needs no answer.
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    url
}

#[test]
fn an_object_store_that_cannot_be_used() {
    for (url, words) in [
        (store_that_refuses("403 Forbidden", "InvalidAccessKeyId"), "it refuses these credentials"),
        (store_that_refuses("404 Not Found", "NoSuchBucket"), "there is no such bucket"),
        // Nobody listens there.
        ("http://127.0.0.1:1".to_owned(), "error sending request"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let mut serve = command("serve", data.path());
        serve.args(["--listen=127.0.0.1:0", "--lance-uri=s3://bucket/lance"]);
        for (name, value) in [("AWS_ENDPOINT_URL", url.as_str()), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "here")] {
            serve.env(name, value);
        }
        let said = complaint(&serve.env("AWS_ACCESS_KEY_ID", "me").env("AWS_SECRET_ACCESS_KEY", "secret").output().unwrap());
        assert!(said.contains("the object store at s3://bucket/lance cannot be used") && said.contains(words), "{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("retro: ")).count(), 1, "{said}");
    }
}
