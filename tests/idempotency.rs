//! `Idempotency-Key`: requests that are sent again.

use std::path::Path;
use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use crate::support::{Answer, Process, ask, get, retro, shared};

fn request(url: &str, key: &str) -> RequestBuilder {
    reqwest::Client::new().post(format!("{url}/v1/documents")).header("idempotency-key", key)
}

async fn send(url: &str, key: &str, body: &Value) -> Answer {
    ask(request(url, key).json(body)).await
}

fn replayed(answer: &Answer) -> bool {
    answer.headers.get("idempotency-replayed").is_some_and(|value| value == "true")
}

async fn listed(url: &str, collection: &str) -> usize {
    let page = get(url, &format!("/v1/documents?limit=1000&collection={collection}")).await.ok();
    page["data"].as_array().unwrap().len()
}

#[tokio::test]
async fn the_same_key_with_the_same_body_is_the_same_task() {
    let body = json!({"text": "A document without an id.", "collection": "same-key"});
    let first = send(shared(), "same-key", &body).await;
    assert_eq!((first.status, replayed(&first)), (202, false));
    let again = ask(request(shared(), "\"same-key\"").json(&body)).await;
    assert_eq!((again.status, replayed(&again)), (202, true), "with quotes it is the same key");
    assert_eq!(again.body["task"]["id"], first.body["task"]["id"]);
    assert_eq!(again.body["document_ids"], first.body["document_ids"]);
    assert_eq!(again.header("location"), first.header("location"));
    // The task is told as it is now.
    let waited = ask(reqwest::Client::new()
        .post(format!("{}/v1/documents?wait=true", shared()))
        .header("idempotency-key", "same-key")
        .json(&body))
    .await;
    assert_eq!((waited.status, replayed(&waited), &waited.body["task"]["status"]), (200, true, &json!("succeeded")));
    assert_eq!(send(shared(), "same-key", &body).await.body["task"], waited.body["task"]);
    assert_eq!(listed(shared(), "same-key").await, 1);

    let other = send(shared(), "same-key", &json!({"text": "Another.", "collection": "same-key"})).await;
    assert_eq!((other.status, other.code()), (422, "idempotency_key_used"));
    let another = send(shared(), "another-key", &body).await;
    assert_eq!((another.status, replayed(&another)), (202, false));
    assert_eq!(listed(shared(), "same-key").await, 2);

    // What was refused is not remembered: the request can be mended.
    assert_eq!(send(shared(), "mended", &json!({"text": ""})).await.code(), "invalid_value");
    assert_eq!(send(shared(), "mended", &body).await.status, 202);
}

#[tokio::test]
async fn keys_that_break_a_rule_are_refused() {
    let body = json!({"text": "Never stored.", "collection": "bad-keys"});
    for key in ["", "with space", &"x".repeat(256)] {
        let answer = send(shared(), key, &body).await;
        assert_eq!((answer.status, answer.code()), (400, "invalid_idempotency_key"), "{key:?}");
    }
    assert_eq!(send(shared(), &"x".repeat(255), &json!({"text": ""})).await.code(), "invalid_value");
    let twice = ask(request(shared(), "a").header("idempotency-key", "a").json(&body)).await;
    assert_eq!(twice.code(), "invalid_idempotency_key");
    assert_eq!(listed(shared(), "bad-keys").await, 0);
}

#[tokio::test]
async fn of_many_at_the_same_time_one_is_taken_in() {
    let body = json!({"text": "Sent by many.", "collection": "many-keys"});
    let answers = futures::future::join_all((0..12).map(|_| send(shared(), "many", &body))).await;
    assert!(answers.iter().all(|answer| answer.status == 202 && answer.body["task"]["id"] == answers[0].body["task"]["id"]));
    assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
    assert_eq!(listed(shared(), "many-keys").await, 1);
}

#[tokio::test]
async fn lines_and_files_are_told_from_others_by_what_they_hold() {
    let lines = "{\"text\": \"one\", \"collection\": \"key-forms\"}\n{\"text\": \"two\", \"collection\": \"key-forms\"}\n";
    let send_lines =
        |body: &str| ask(request(shared(), "lines").header("content-type", "application/x-ndjson").body(body.to_owned()));
    let first = send_lines(lines).await;
    let again = send_lines(lines).await;
    assert_eq!((first.status, again.status, replayed(&again)), (202, 202, true));
    assert_eq!(send_lines(&format!("{lines}\n")).await.code(), "idempotency_key_used");

    // Each form has a boundary of its own.
    let files = |title: &str, content: &str| {
        let part = |name: &str, content: &str| Part::bytes(content.as_bytes().to_vec()).file_name(name.to_owned());
        let form = Form::new().part("files", part("key.txt", content)).part("files", part("broken.txt", "\0"));
        ask(request(shared(), "files").multipart(form.text("title", title.to_owned()).text("collection", "key-forms")))
    };
    let first = files("Title", "A text.").await;
    assert_eq!((first.status, &first.body["skipped"]["total"]), (202, &json!(1)));
    let again = files("Title", "A text.").await;
    assert_eq!((again.status, replayed(&again)), (202, true));
    assert_eq!((&again.body["skipped"], &again.body["document_ids"]), (&first.body["skipped"], &json!(["key.txt"])));
    assert_eq!(files("Title", "A Text.").await.code(), "idempotency_key_used");
    assert_eq!(files("title", "A text.").await.code(), "idempotency_key_used");
    assert_eq!(listed(shared(), "key-forms").await, 3);
    assert_eq!(get(shared(), "/v1/documents/key.txt").await.ok()["revision"], 1);
}

fn create_key(data: &Path, name: &str) -> String {
    let output = retro("keys", data, &["create", name, "--scope=ingest"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn each_owner_has_keys_of_its_own() {
    let data = tempfile::tempdir().unwrap();
    let [web, next, app] = ["web", "web", "app"].map(|name| create_key(data.path(), name));
    let server = Process::serve(data.path(), &[]);
    let body = json!({"text": "Sent by several."});
    let send = |key: &str| ask(request(&server.url, "k").bearer_auth(key).json(&body));
    let first = send(&web).await;
    let renewed = send(&next).await;
    let other = send(&app).await;
    assert_eq!((first.status, renewed.status, other.status), (202, 202, 202));
    assert!(replayed(&renewed) && renewed.body["task"]["id"] == first.body["task"]["id"], "a new key of the same name");
    assert!(!replayed(&other) && other.body["task"]["id"] != first.body["task"]["id"]);
}

#[tokio::test]
async fn a_crash_between_two_tries_doubles_nothing() {
    const DOCUMENTS: usize = 40;
    const KILLS: u64 = 6;
    let data = tempfile::tempdir().unwrap();
    // Without ids, so that only the key keeps one from being there twice.
    let body = |n: usize| json!({"text": format!("Document {n}.")});
    for round in 0..KILLS {
        let server = Process::serve(data.path(), &[]);
        let posting = async {
            for n in 0..DOCUMENTS {
                // A kill ends the round; all is sent again in the next.
                if request(&server.url, &format!("crash-{n}")).json(&body(n)).send().await.is_err() {
                    return;
                }
            }
        };
        let killing = async {
            tokio::time::sleep(Duration::from_millis(10 + 15 * round)).await;
            server.signal(libc::SIGKILL);
        };
        tokio::join!(posting, killing);
        server.wait();
    }
    let server = Process::serve(data.path(), &[]);
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let sent =
            futures::future::join_all((0..DOCUMENTS).map(async |n| send(&server.url, &format!("crash-{n}"), &body(n)).await));
        tasks.push(sent.await.into_iter().map(|answer| answer.ok()["task"]["id"].clone()).collect::<Vec<_>>());
    }
    assert_eq!(tasks[0], tasks[1]);
    assert_eq!(listed(&server.url, "default").await, DOCUMENTS);
}
