//! `POST /v1/complete`.

use serde_json::{Value, json};

use crate::support::{Server, get, ingest, long_completion, long_stream, post, shared, sse};

async fn complete(url: &str, body: Value) -> Value {
    post(url, "/v1/complete", body).await.ok()
}

#[tokio::test]
async fn the_answer_has_the_documented_shape() {
    let answer = complete(shared(), json!({"prompt": "The capital of France is", "max_tokens": 5})).await;
    let mut keys: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["choices", "created", "id", "model", "retrieval", "timings", "usage"]);
    assert_eq!(answer["model"], "retro-nano");
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    assert_eq!(answer["choices"].as_array().unwrap().len(), 1);
    let choice = &answer["choices"][0];
    assert_eq!((choice["index"].as_u64(), &choice["logprobs"]), (Some(0), &Value::Null));
    assert!(["length", "stop"].contains(&choice["finish_reason"].as_str().unwrap()));
    let usage = |name: &str| answer["usage"][name].as_u64().unwrap();
    assert_eq!(usage("prompt_tokens") + usage("completion_tokens"), usage("total_tokens"));
    assert!(usage("completion_tokens") <= 5);
    for name in ["queue_ms", "retrieval_ms", "prefill_ms", "decode_ms"] {
        assert!(answer["timings"][name].is_number(), "{name}");
    }
    assert_eq!(answer["retrieval"]["enabled"], true);
    assert_eq!(answer["retrieval"]["alignment"], "prompt_end");
    assert!(answer["retrieval"]["database_version"].is_u64());
    let chunk = &answer["retrieval"]["chunks"][0];
    assert_eq!((chunk["choice"].as_u64(), chunk["chunk"].as_u64()), (Some(0), Some(0)));
    assert_eq!(chunk["text"], "The capital of France is");
}

#[tokio::test]
async fn log_probabilities_come_when_asked_for() {
    let body = json!({"prompt": "Tea is", "max_tokens": 3, "logprobs": 4, "retrieval": {"enabled": false}});
    let answer = complete(shared(), body).await;
    let tokens = answer["choices"][0]["logprobs"].as_array().unwrap();
    assert_eq!(tokens.len() as u64, answer["usage"]["completion_tokens"]);
    for token in tokens {
        assert!(token["log_prob"].as_f64().unwrap() <= 0.0);
        assert_eq!(token["top"].as_array().unwrap().len(), 4);
        assert_eq!(token["top"][0]["token_id"], token["token_id"], "greedy takes the most probable token");
    }
    assert_eq!(
        answer["retrieval"],
        json!({"enabled": false, "alignment": "prompt_end", "interval": 64, "prefetch": false, "late": 0, "failed": 0, "database_version": 0, "chunks": []})
    );
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    ingest(
        shared(),
        json!([{"id": "stream-doc", "collection": "stream", "text": "A honey bee colony has one queen and many workers."}]),
    )
    .await;
    let body = json!({
        "prompt": "A honey bee colony", "max_tokens": 90, "temperature": 0.9, "seed": 11, "retrieval": {"collection": "stream"}});
    let whole = complete(shared(), body.clone()).await;
    let mut streaming = body;
    streaming["stream"] = json!(true);
    let events = sse(shared(), streaming).await.all().await;

    assert_eq!(events[0].0, "retrieval", "the neighbours come before the text they led to");
    assert_eq!(events.last().unwrap().0, "done");
    assert_eq!(events.iter().filter(|(name, _)| name == "done").count(), 1);
    let text: String =
        events.iter().filter(|(name, _)| name == "token").map(|(_, data)| data["text"].as_str().unwrap()).collect();
    assert_eq!(text, whole["choices"][0]["text"].as_str().unwrap());
    let chunks: Vec<_> = events.iter().filter(|(name, _)| name == "retrieval").map(|(_, data)| data.clone()).collect();
    assert_eq!(Value::from(chunks), whole["retrieval"]["chunks"]);
    let done = &events.last().unwrap().1;
    assert_eq!(done["usage"], whole["usage"]);
    assert_eq!(done["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
    assert!(done["timings"]["decode_ms"].is_number());
}

#[tokio::test]
async fn a_stop_text_ends_the_completion_and_is_no_part_of_it() {
    let free = complete(shared(), json!({"prompt": "The history of", "max_tokens": 24})).await;
    let text = free["choices"][0]["text"].as_str().unwrap();
    let stop: String = text.chars().skip(text.chars().count() / 2).take(3).collect();
    let stopped = complete(shared(), json!({"prompt": "The history of", "max_tokens": 24, "stop": [stop]})).await;
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    assert_eq!(stopped["choices"][0]["text"].as_str().unwrap(), text.split(&stop).next().unwrap());
}

#[tokio::test]
async fn the_database_changes_what_the_model_says() {
    let text = "The Zorblax festival takes place in Quillmere every seventh summer. ".repeat(8);
    ingest(shared(), json!([{"id": "zorblax", "collection": "zorblax", "text": text}])).await;
    let asked = |retrieval: Value| {
        complete(
            shared(),
            json!({"prompt": "The Zorblax festival takes place in", "max_tokens": 4, "logprobs": 1, "retrieval": retrieval}),
        )
    };
    let with = asked(json!({"collection": "zorblax"})).await;
    let without = asked(json!({"enabled": false})).await;
    assert_eq!(with["retrieval"]["chunks"][0]["neighbours"][0]["document_id"], "zorblax");
    assert_ne!(with["choices"][0]["logprobs"][0], without["choices"][0]["logprobs"][0]);

    let none = asked(json!({"collection": "zorblax", "neighbours": 0})).await;
    assert_eq!(none["choices"], without["choices"], "no neighbours are the same as no retrieval");
    let given = asked(json!({"provided": [{"neighbour": "The Zorblax festival takes place in Quillmere"}]})).await;
    let neighbour = &given["retrieval"]["chunks"][0]["neighbours"][0];
    assert_eq!(neighbour["document_id"], Value::Null);
    assert_eq!(neighbour["neighbour"], "The Zorblax festival takes place in Quillmere");
    assert_ne!(given["choices"][0]["logprobs"][0], without["choices"][0]["logprobs"][0]);

    // Of one that is longer than a chunk its beginning is read, and shown.
    let (long, longer) = (text.clone(), format!("{text}What follows is read by nobody. "));
    let [long, longer] = [long, longer].map(|text| json!([{"neighbour": text, "continuation": text}]));
    let (long, longer) = (asked(json!({"provided": long})).await, asked(json!({"provided": longer})).await);
    assert_eq!(long["choices"], longer["choices"]);
    let shown = &longer["retrieval"]["chunks"][0]["neighbours"][0];
    assert_eq!(&long["retrieval"]["chunks"][0]["neighbours"][0], shown);
    for part in ["neighbour", "continuation"] {
        let part = shown[part].as_str().unwrap();
        assert!(text.starts_with(part) && part.len() > 64 && part.len() < text.len(), "{part}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_model() {
    let server = Server::start(&[]).await;
    let long = long_completion().await;
    let whole = complete(&server.url, long.clone()).await;
    let whole_ms = whole["timings"]["decode_ms"].as_f64().unwrap();

    let mut left = sse(&server.url, long_stream().await).await;
    left.next().await.expect("the completion has begun");
    drop(left);
    let next = complete(&server.url, json!({"prompt": "Next", "max_tokens": 1})).await;
    let waited = next["timings"]["queue_ms"].as_f64().unwrap();
    assert!(waited < whole_ms / 2.0, "waited {waited} ms for a completion of {whole_ms} ms that nobody reads");

    // The same for one that waits for the whole answer.
    let waiting = reqwest::Client::new().post(format!("{}/v1/complete", server.url)).json(&long).send();
    let given_up = tokio::time::timeout(std::time::Duration::from_millis((whole_ms / 20.0) as u64), waiting).await;
    assert!(given_up.is_err(), "the answer came too early for this test");
    let next = complete(&server.url, json!({"prompt": "Next", "max_tokens": 1})).await;
    let waited = next["timings"]["queue_ms"].as_f64().unwrap();
    assert!(waited < whole_ms / 2.0, "waited {waited} ms for a completion of {whole_ms} ms that nobody waits for");
}

#[tokio::test]
async fn what_the_queue_cannot_hold_is_refused_with_a_time_to_come_again() {
    let server = Server::start(&["--slots=1", "--max-queue=1"]).await;
    let long = long_stream().await;
    let mut running = sse(&server.url, long.clone()).await;
    running.next().await.expect("it has left the queue");
    let waiting = sse(&server.url, long).await;
    for stream in [true, false] {
        let answer = post(&server.url, "/v1/complete", json!({"prompt": "a", "stream": stream})).await;
        assert_eq!((answer.status, answer.code()), (429, "overloaded"));
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(get(&server.url, "/readyz").await.status, 200);
    drop((running, waiting));
}
