//! The sample documents, as a user meets them first.

use serde_json::json;

use crate::support::{Process, get, ingest, post, retro, samples};

const QUESTION: &str = "The Dune film was released in";

#[tokio::test]
async fn the_samples_answer_the_question_about_dune() {
    let data = tempfile::tempdir().unwrap();
    let folder = samples();
    let output = retro("ingest", data.path(), &[folder.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let files = std::fs::read_dir(&folder).unwrap().count();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with(&format!("{files} documents ready, 0 failed, 0 skipped")), "{said}");

    let output = retro("retrieve", data.path(), &[QUESTION]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("dune-2021-film"));
    let output = retro("complete", data.path(), &[QUESTION, "--max-tokens=8", "--show-neighbours"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("dune-2021-film"));
    let silent = retro("complete", data.path(), &[QUESTION, "--max-tokens=8"]);
    assert_eq!(silent.stdout, output.stdout, "the same text, without the neighbours");
    assert!(silent.stderr.is_empty(), "{silent:?}");

    let server = Process::serve(data.path(), &[]);
    let prompt = json!({"prompt": QUESTION, "max_tokens": 8});
    let answer = post(&server.url, "/v1/complete", prompt).await.ok();
    let neighbours = answer["retrieval"]["chunks"][0]["neighbours"].as_array().unwrap();
    assert_eq!(neighbours.len(), 2);
    assert!(neighbours.iter().any(|one| one["document_id"].as_str().unwrap().starts_with("dune-2021-film")), "{neighbours:?}");
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim_end_matches('\n'),
        answer["choices"][0]["text"].as_str().unwrap().trim_end_matches('\n')
    );
    let info = get(&server.url, "/v1/info").await.ok();
    assert_eq!(info["collections"][0]["documents"]["ready"], files);

    // What the model knows is what the database says now: the model is not touched by any of this.
    assert!(year(&server.url).await.starts_with("2021"));
    let found = neighbours.iter().find(|one| one["document_id"].as_str().unwrap().starts_with("dune-2021-film")).unwrap();
    let id = found["document_id"].as_str().unwrap();
    let document = get(&server.url, &format!("/v1/documents/{id}?text=true")).await.ok();
    let text = document["text"].as_str().unwrap();
    assert!(text.contains("2021"));
    for other in ["1987", "2035"] {
        ingest(&server.url, json!([{"id": id, "text": text.replace("2021", other)}])).await;
        assert!(year(&server.url).await.starts_with(other));
    }
}

/// The greedy answer to the question.
async fn year(url: &str) -> String {
    let answer = post(url, "/v1/complete", json!({"prompt": QUESTION, "max_tokens": 8, "temperature": 0})).await.ok();
    answer["choices"][0]["text"].as_str().unwrap().trim_start().to_owned()
}
