//! Look-ups that fail under a running server: the files of its collection are gone.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Exposition, Process, ingest, long_completion, post, retro, sse};

/// A server with one collection, `shore`.
async fn server() -> (Process, TempDir) {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let text = "The lighthouse stands on the northern shore. Its lamp was lit in 1871. ".repeat(20);
    ingest(&server.url, json!([{"id": "lighthouse", "collection": "shore", "text": text}])).await;
    (server, data)
}

/// Removes the rows of the collection and leaves what says that they are there.
fn lose_the_rows(data: &Path) {
    let files: Vec<_> = fs::read_dir(data.join("lance/shore.lance/data")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    for file in files {
        // Whoever has it open finds nothing, either.
        fs::write(&file, "").unwrap();
        fs::remove_file(&file).unwrap();
    }
}

fn body(on_error: &str) -> Value {
    json!({"prompt": "The lighthouse stands on", "max_tokens": 8, "temperature": 0,
        "retrieval": {"collection": "shore", "on_error": on_error}})
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// That the chunk says what failed, and nothing of the inside.
fn check_failed(chunk: &Value) {
    let expected = json!({"code": "search_failed", "message": "the database could not be searched"});
    assert_eq!((&chunk["error"], &chunk["neighbours"]), (&expected, &json!([])), "{chunk}");
}

#[tokio::test]
async fn a_completion_ends_or_goes_on_as_it_was_asked_to() {
    let (server, data) = server().await;
    let url = server.url.as_str();
    let whole = post(url, "/v1/complete", body("continue")).await.ok();
    assert_eq!((&whole["retrieval"]["failed"], whole["retrieval"]["chunks"][0].get("error")), (&json!(0), None));
    lose_the_rows(data.path());

    for body in [body("fail"), with(body("fail"), json!({"retrieval": {"collection": "shore"}}))] {
        let refused = post(url, "/v1/complete", body).await;
        assert_eq!((refused.status, refused.code()), (500, "data_damaged"), "{refused:?}");
    }
    let plain = with(body("fail"), json!({"retrieval": {"enabled": false}}));
    let plain = post(url, "/v1/complete", plain).await.ok();
    let answer = post(url, "/v1/complete", with(body("continue"), json!({"compare": true}))).await.ok();
    assert_eq!(answer["choices"][0]["text"], plain["choices"][0]["text"], "what the model writes without its database");
    assert_eq!((&answer["retrieval"]["failed"], &answer["retrieval"]["database_version"]), (&json!(1), &json!(0)));
    check_failed(&answer["retrieval"]["chunks"][0]);
    let gains = answer["comparison"]["gains"][0]["tokens"].as_array().unwrap();
    assert!(gains.iter().all(|token| token["gain"].as_f64().unwrap().abs() < 0.01), "{gains:?}");

    let openai = json!({"model": "retro-nano", "prompt": ["The lighthouse", "The lamp"], "max_tokens": 2,
        "retrieval": {"collection": "shore", "on_error": "continue"}});
    let answer = post(url, "/v1/completions", openai.clone()).await.ok();
    assert_eq!((&answer["retrieval"]["failed"], answer["retrieval"]["chunks"].as_array().unwrap().len()), (&json!(2), 2));
    answer["retrieval"]["chunks"].as_array().unwrap().iter().for_each(check_failed);
    let stream = post(url, "/v1/completions", with(openai, json!({"stream": true, "prompt": "The lamp"}))).await;
    assert!(stream.body.as_str().unwrap().contains(r#""error":{"code":"search_failed""#), "{stream:?}");

    let metrics = Exposition::of(url).await;
    assert_eq!(metrics.value("retro_retrieval_continued_total"), 4.0);
    assert!(metrics.value("retro_retrieval_failures_total") >= 5.0);
    let log = server.log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("the completion goes on without it")).collect();
    assert_eq!(told.len(), 4, "{log}");
    assert!(told.iter().all(|line| line.contains("id=") && line.contains("reason=")), "{told:?}");
}

#[tokio::test]
async fn what_fails_in_the_middle_of_a_stream_is_an_event_of_it() {
    for (on_error, last) in [("continue", "done"), ("fail", "error")] {
        let (server, data) = server().await;
        let retrieval = json!({"collection": "shore", "interval": 8, "on_error": on_error});
        let mut events = sse(&server.url, with(long_completion().await, json!({"stream": true, "retrieval": retrieval}))).await;
        let mut retrievals = Vec::new();
        loop {
            let (name, value) = events.next().await.expect("it goes on");
            match name.as_str() {
                "retrieval" => retrievals.push(value),
                _ => break,
            }
        }
        assert!(!retrievals.is_empty() && retrievals.iter().all(|chunk| chunk.get("error").is_none()), "{retrievals:?}");
        lose_the_rows(data.path());
        let rest = events.all().await;
        let (name, end) = rest.last().unwrap();
        assert_eq!(name, last);
        let failed: Vec<_> = rest
            .iter()
            .filter(|(name, chunk)| name == "retrieval" && chunk.get("error").is_some())
            .map(|(_, chunk)| chunk)
            .collect();
        match on_error {
            "continue" => {
                assert!(!failed.is_empty());
                failed.iter().for_each(|chunk| check_failed(chunk));
                assert_eq!(end["retrieval"]["failed"], failed.len());
            }
            _ => assert_eq!((&end["code"], failed.len()), (&json!("data_damaged"), 0)),
        }
    }
}

#[tokio::test]
async fn a_score_has_all_of_its_neighbours_or_fails() {
    let (server, data) = server().await;
    lose_the_rows(data.path());
    let score = |on_error: &str| {
        let retrieval = json!({"collection": "shore", "alignment": "prompt_end", "on_error": on_error});
        post(&server.url, "/v1/score", json!({"prompt": "The lamp was", "text": " lit.", "retrieval": retrieval}))
    };
    let refused = score("continue").await;
    assert_eq!((refused.status, refused.code(), refused.field()), (422, "invalid_value", "retrieval.on_error"), "{refused:?}");
    let failed = score("fail").await;
    assert_eq!((failed.status, failed.code()), (500, "data_damaged"), "{failed:?}");
    let unknown = post(&server.url, "/v1/complete", body("ignore")).await;
    assert_eq!((unknown.status, unknown.code(), unknown.field()), (422, "invalid_value", "retrieval.on_error"), "{unknown:?}");
}

#[tokio::test]
async fn the_command_has_the_same_choice() {
    let (server, data) = server().await;
    drop(server);
    lose_the_rows(data.path());
    let complete = |more: &[&str]| {
        let arguments = ["The lighthouse", "--max-tokens=4", "--collection=shore"];
        retro("complete", data.path(), &[&arguments, more].concat())
    };
    let failed = complete(&[]);
    assert_eq!((failed.status.code(), failed.stdout.is_empty()), (Some(1), true), "{failed:?}");
    let went_on = complete(&["--on-error=continue", "--json", "--show-neighbours"]);
    assert!(went_on.status.success(), "{went_on:?}");
    let answer: Value = serde_json::from_slice(&went_on.stdout).unwrap();
    assert_eq!(answer["retrieval"]["failed"], 1);
    assert!(String::from_utf8(went_on.stderr).unwrap().contains("the database could not be searched"));
    let unknown = complete(&["--on-error=perhaps"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("it is fail or continue"));
}
