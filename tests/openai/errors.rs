use serde_json::{Value, json};

use super::{EMBEDDER, MODEL, completions, request, with};
use crate::support::{Server, events_of, get, long_stream, post, post_raw, shared, sse};

#[tokio::test]
async fn completions_that_break_a_rule() {
    for (more, status, code, param) in [
        (json!({"model": "gpt-4"}), 404, "model_not_found", "model"),
        (json!({"model": EMBEDDER}), 404, "model_not_found", "model"),
        (json!({"prompt": ""}), 400, "invalid_value", "prompt"),
        (json!({"prompt": ["a", ""]}), 400, "invalid_value", "prompt[1]"),
        (json!({"prompt": []}), 400, "invalid_value", "prompt"),
        (json!({"prompt": vec!["a"; 65]}), 400, "invalid_value", "prompt"),
        (json!({"prompt": [1_000_000]}), 400, "invalid_value", "prompt"),
        (json!({"prompt": [[1], [-1]]}), 400, "invalid_value", "prompt[1]"),
        (json!({"prompt": vec![1; 1000]}), 400, "invalid_value", "prompt"),
        (json!({"prompt": 7}), 400, "invalid_type", "prompt"),
        (json!({"prompt": [1, "a"]}), 400, "invalid_type", "prompt"),
        (json!({"prompt": null}), 400, "invalid_type", "prompt"),
        (json!({"max_tokens": 0}), 400, "invalid_value", "max_tokens"),
        (json!({"max_tokens": 100_000}), 400, "invalid_value", "max_tokens"),
        (json!({"temperature": 2.5}), 400, "invalid_value", "temperature"),
        (json!({"frequency_penalty": 3}), 400, "invalid_value", "frequency_penalty"),
        (json!({"presence_penalty": -3}), 400, "invalid_value", "presence_penalty"),
        (json!({"n": 0}), 400, "invalid_value", "n"),
        (json!({"n": 2, "best_of": 1}), 400, "invalid_value", "best_of"),
        (json!({"best_of": 2, "stream": true}), 400, "invalid_value", "best_of"),
        (json!({"logprobs": 21}), 400, "invalid_value", "logprobs"),
        (json!({"logprobs": true}), 400, "invalid_type", "logprobs"),
        (json!({"suffix": "the end"}), 400, "invalid_value", "suffix"),
        (json!({"logit_bias": {"50256": -100}}), 400, "invalid_value", "logit_bias"),
        (json!({"stream": false, "stream_options": {"include_usage": true}}), 400, "invalid_value", "stream_options"),
        (json!({"max_token": 5}), 400, "unknown_field", "max_token"),
        (json!({"retrieval": {"neighbours": 17}}), 400, "invalid_value", "retrieval.neighbours"),
        (json!({"retrieval": {"collection": "nowhere"}}), 404, "collection_not_found", "retrieval.collection"),
    ] {
        // A stream is refused before it begins.
        for stream in [false, true] {
            let body = with(request(json!({"stream": stream})), more.clone());
            let answer = post(shared(), "/v1/completions", body).await;
            assert_eq!((answer.status, answer.code(), answer.field()), (status, code, param), "{more}: {answer:?}");
        }
    }
    let nothing = json!({"suffix": "", "logit_bias": {}, "user": "me", "n": null, "stop": null, "echo": null, "max_tokens": 1});
    assert_eq!(post(shared(), "/v1/completions", request(nothing)).await.status, 200);
}

#[tokio::test]
async fn texts_to_embed_that_break_a_rule() {
    let long = "word ".repeat(600);
    for (more, status, code, param) in [
        (json!({"model": MODEL, "input": "a"}), 404, "model_not_found", "model"),
        (json!({"input": ""}), 400, "invalid_value", "input"),
        (json!({"input": ["a", ""]}), 400, "invalid_value", "input[1]"),
        (json!({"input": []}), 400, "invalid_value", "input"),
        (json!({"input": vec!["a"; 2049]}), 400, "invalid_value", "input"),
        (json!({"input": [1, 2]}), 400, "invalid_type", "input"),
        (json!({"input": [[1], [2]]}), 400, "invalid_type", "input"),
        (json!({"input": null}), 400, "invalid_type", "input"),
        (json!({"input": ["a", long]}), 400, "invalid_value", "input[1]"),
        (json!({"input": "x".repeat(4_000_000)}), 400, "invalid_value", "input"),
        (json!({"input": "a", "dimensions": 3}), 400, "invalid_value", "dimensions"),
        (json!({"input": "a", "encoding_format": "int8"}), 400, "invalid_value", "encoding_format"),
        (json!({"input": "a", "truncate": true}), 400, "unknown_field", "truncate"),
    ] {
        let answer = post(shared(), "/v1/embeddings", with(json!({"model": EMBEDDER}), more)).await;
        assert_eq!((answer.status, answer.code(), answer.field()), (status, code, param), "{answer:?}");
    }
    let tokens = post(shared(), "/v1/embeddings", json!({"model": EMBEDDER, "input": [1]})).await;
    assert!(tokens.body["error"]["message"].as_str().unwrap().contains("lists of tokens"), "{tokens:?}");
}

#[tokio::test]
async fn what_is_wrong_before_a_route_is_asked_has_the_same_form() {
    for path in ["/v1/completions", "/v1/embeddings"] {
        let broken = post_raw(shared(), path, "application/json", "{").await;
        assert_eq!((broken.status, broken.code()), (400, "invalid_json"));
        let kind = post_raw(shared(), path, "text/plain", "{}").await;
        assert_eq!((kind.status, kind.code()), (415, "unsupported_media_type"));
        let missing = post(shared(), path, json!({"model": MODEL})).await;
        assert_eq!((missing.status, missing.code()), (400, "missing_field"));
        let method = get(shared(), path).await;
        assert_eq!((method.status, method.code(), method.header("allow")), (405, "method_not_allowed", "POST"));
    }
    for (id, status, code) in [("gpt-4", 404, "model_not_found"), ("%FF", 400, "invalid_utf8"), ("a%2Fb", 404, "model_not_found")]
    {
        let answer = get(shared(), &format!("/v1/models/{id}")).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{id}");
    }
    let method = post(shared(), "/v1/models", json!({})).await;
    assert_eq!((method.status, method.code()), (405, "method_not_allowed"));
    let elsewhere = post(shared(), "/v1/chat/completions", json!({})).await;
    assert_eq!((elsewhere.status, elsewhere.code()), (404, "not_found"), "other routes have the server's own form");
}

#[tokio::test]
async fn what_the_queue_cannot_hold_is_refused_as_a_whole() {
    let server = Server::start(&["--slots=1", "--max-queue=2"]).await;
    let long = long_stream().await;
    let mut running = sse(&server.url, long.clone()).await;
    running.next().await.expect("it has left the queue");
    let waiting = sse(&server.url, long).await;
    for stream in [true, false] {
        let answer = post(&server.url, "/v1/completions", request(json!({"prompt": ["a", "b"], "stream": stream}))).await;
        assert_eq!((answer.status, answer.code()), (429, "rate_limit_exceeded"), "one place is left");
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    let never = post(&server.url, "/v1/completions", request(json!({"prompt": ["a", "b", "c"]}))).await;
    assert_eq!((never.status, never.code(), never.field()), (400, "invalid_value", "prompt"));
    drop((running, waiting));
}

#[tokio::test]
async fn prompts_that_fill_the_queue_are_taken() {
    let server = Server::start(&["--slots=1", "--max-queue=2"]).await;
    let answer = completions(&server.url, json!({"prompt": ["a", "b"], "max_tokens": 1})).await;
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_stream_that_is_cut_ends_in_an_error_of_openais_form() {
    let mut server = Server::start(&["--shutdown-seconds=0"]).await;
    let body = with(long_stream().await, json!({"model": MODEL, "temperature": 0}));
    let mut stream = events_of(reqwest::Client::new().post(format!("{}/v1/completions", server.url)).json(&body)).await;
    let mut last = stream.next_text().await.expect("the completion has begun");
    server.stop();
    while let Some(event) = stream.next_text().await {
        last = event;
    }
    let error: Value = serde_json::from_str(last.strip_prefix("data: ").expect("it has no name")).unwrap();
    assert_eq!((&error["error"]["type"], &error["error"]["code"]), (&json!("server_error"), &json!("shutting_down")));
    server.ended().await;
}
