//! `POST /v1/complete` with `n`.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Server, get, ingest, long_completion, post, shared, sse};

async fn complete(url: &str, body: Value) -> Value {
    post(url, "/v1/complete", body).await.ok()
}

fn texts(answer: &Value) -> Vec<String> {
    let choices = answer["choices"].as_array().unwrap().iter().enumerate();
    choices
        .map(|(at, choice)| {
            assert_eq!(choice["index"], at);
            choice["text"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Long enough that choices come to chunks of their own.
fn sampled(more: Value) -> Value {
    let mut body = json!({
        "prompt": "A honey bee colony", "max_tokens": 90, "temperature": 0.9, "seed": 5, "retrieval": {"collection": "choices"}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn ingested(url: &str) {
    let text = "A honey bee colony has one queen, some hundred drones and many thousand workers. ".repeat(4);
    ingest(url, json!([{"id": "choices-bees", "collection": "choices", "text": text}])).await;
}

#[tokio::test]
async fn each_choice_is_a_completion_with_a_seed_of_its_own() {
    ingested(shared()).await;
    let three = complete(shared(), sampled(json!({"n": 3}))).await;
    let singles = join_all((5..8).map(|seed| complete(shared(), sampled(json!({"seed": seed}))))).await;
    assert_eq!(texts(&three), singles.iter().map(|single| texts(single).remove(0)).collect::<Vec<_>>());
    assert_ne!(texts(&three)[0], texts(&three)[1]);
    let completion_tokens = |answer: &Value| answer["usage"]["completion_tokens"].as_u64().unwrap();
    assert_eq!(completion_tokens(&three), singles.iter().map(completion_tokens).sum::<u64>());
    assert_eq!(three["usage"]["prompt_tokens"], singles[0]["usage"]["prompt_tokens"]);
    for (choice, single) in three["choices"].as_array().unwrap().iter().zip(&singles) {
        assert_eq!(choice["finish_reason"], single["choices"][0]["finish_reason"]);
    }
    // The prompt's chunk is shown with choice 0 alone, and each other one with the choice whose text it is.
    let chunks_of = |answer: &Value, choice: u64| -> Vec<Value> {
        let chunks = answer["retrieval"]["chunks"].as_array().unwrap().iter().filter(|chunk| chunk["choice"] == choice);
        chunks.map(|chunk| json!([chunk["chunk"], chunk["text"], chunk["neighbours"]])).collect()
    };
    for (choice, single) in (0..).zip(&singles) {
        let own = chunks_of(single, 0);
        assert_eq!(chunks_of(&three, choice), own[usize::from(choice > 0)..], "choice {choice}");
    }
    assert!(singles.iter().any(|single| chunks_of(single, 0).len() > 1), "no choice came to a chunk of its own");
}

#[tokio::test]
async fn greedy_choices_are_equal() {
    let body = |n: u64| json!({"prompt": "The history of", "max_tokens": 80, "n": n, "logprobs": 2});
    let (one, three) = (complete(shared(), body(1)).await, complete(shared(), body(3)).await);
    let choices = three["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 3);
    for choice in choices {
        for field in ["text", "finish_reason", "logprobs"] {
            assert_eq!(choice[field], one["choices"][0][field]);
        }
    }
}

#[tokio::test]
async fn stop_texts_log_probabilities_and_the_prompt_belong_to_each_choice() {
    ingested(shared()).await;
    let whole = complete(shared(), sampled(json!({"n": 2, "logprobs": 1, "echo": true}))).await;
    let prompt_tokens = whole["usage"]["prompt_tokens"].as_u64().unwrap();
    let mut tokens = 0;
    for choice in whole["choices"].as_array().unwrap() {
        assert!(choice["text"].as_str().unwrap().starts_with("A honey bee colony"));
        let log_probs = choice["logprobs"].as_array().unwrap();
        assert_eq!(log_probs[0]["log_prob"], Value::Null);
        assert_eq!(log_probs[1], whole["choices"][0]["logprobs"][1]);
        tokens += log_probs.len() as u64 - prompt_tokens;
    }
    assert_eq!(tokens, whole["usage"]["completion_tokens"].as_u64().unwrap());

    let free = texts(&complete(shared(), sampled(json!({"n": 2}))).await);
    // A stop that ends the first choice in its middle, wherever else it stands.
    let stop: String = free[0].chars().skip(free[0].chars().count() / 2).take(4).collect();
    let stopped = complete(shared(), sampled(json!({"n": 2, "stop": stop}))).await;
    assert_eq!(texts(&stopped), free.iter().map(|text| text.split(&stop).next().unwrap()).collect::<Vec<_>>());
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_stream_says_of_each_event_whose_it_is() {
    ingested(shared()).await;
    let whole = complete(shared(), sampled(json!({"n": 3, "echo": true}))).await;
    let events = sse(shared(), sampled(json!({"n": 3, "echo": true, "stream": true}))).await.all().await;
    let named = |wanted: &'static str| events.iter().filter(move |(name, _)| name == wanted).map(|(_, data)| data.clone());
    for (choice, text) in (0u64..).zip(texts(&whole)) {
        let own: Vec<Value> = named("token").filter(|data| data["choice"] == choice).collect();
        assert_eq!(own[0]["text"], "A honey bee colony");
        assert_eq!(own.iter().map(|data| data["text"].as_str().unwrap()).collect::<String>(), text);
    }
    let mut chunks: Vec<Value> = named("retrieval").collect();
    chunks.sort_by_key(|chunk| chunk["choice"].as_u64());
    assert_eq!(Value::from(chunks), whole["retrieval"]["chunks"]);
    let done: Vec<Value> = named("done").collect();
    assert_eq!((done.len(), &events.last().unwrap().0[..]), (1, "done"));
    assert_eq!(done[0]["usage"], whole["usage"]);
    for (at, choice) in done[0]["choices"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&choice["index"], &choice["finish_reason"]), (&json!(at), &whole["choices"][at]["finish_reason"]));
    }
}

#[tokio::test]
async fn there_are_at_most_as_many_choices_as_slots() {
    let refused = async |url: &str, n: Value, code: &str| {
        let answer = post(url, "/v1/complete", json!({"prompt": "a", "n": n})).await;
        assert_eq!((answer.status, answer.code(), answer.field()), (422, code, "n"), "{answer:?}");
    };
    let max_n = |info: Value| info["limits"]["max_n"].as_u64().unwrap();
    assert_eq!(max_n(get(shared(), "/v1/info").await.ok()), 8);
    for n in [0, 9] {
        refused(shared(), json!(n), "invalid_value").await;
    }
    refused(shared(), json!("two"), "invalid_type").await;
    let server = Server::start(&["--slots=2"]).await;
    assert_eq!(max_n(get(&server.url, "/v1/info").await.ok()), 2);
    refused(&server.url, json!(3), "invalid_value").await;
    // Both slots of the one are the other's next, and the third has its turn.
    let of = |n: u64| complete(&server.url, json!({"prompt": "Tea is", "max_tokens": 20, "n": n}));
    let answers = join_all([of(2), of(2), of(1), of(2)]).await;
    let counts: Vec<usize> = answers.iter().map(|answer| answer["choices"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [2, 2, 1, 2]);
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_slots_of_all_choices() {
    let server = Server::start(&["--slots=2"]).await;
    let mut long = long_completion().await;
    long["n"] = json!(2);
    let whole = complete(&server.url, long.clone()).await;
    let whole_ms = whole["timings"]["decode_ms"].as_f64().unwrap();
    long["stream"] = json!(true);
    let mut left = sse(&server.url, long).await;
    left.next().await.expect("the completion has begun");
    drop(left);
    let next = complete(&server.url, json!({"prompt": "Next", "max_tokens": 1, "n": 2})).await;
    let waited = next["timings"]["queue_ms"].as_f64().unwrap();
    assert!(waited < whole_ms / 2.0, "waited {waited} ms for a completion of {whole_ms} ms that nobody reads");
}
