//! `POST /v1/complete` with `echo`.

use serde_json::{Value, json};

use crate::support::{Server, ingest, post, shared, sse};

const PROMPT: &str = "Größe 字 \u{1f600}: the capital of France is";

async fn complete(url: &str, body: &Value) -> Value {
    post(url, "/v1/complete", body.clone()).await.ok()
}

fn with(body: &Value, field: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[field] = value;
    body
}

#[tokio::test]
async fn the_prompt_stands_before_the_completion() {
    let body = json!({"prompt": PROMPT, "max_tokens": 12, "stop": ["capital"]});
    let (plain, echoed) = (complete(shared(), &body).await, complete(shared(), &with(&body, "echo", json!(true))).await);
    let text = |answer: &Value| answer["choices"][0]["text"].as_str().unwrap().to_owned();
    // A stop text in the prompt stops nothing.
    assert_eq!(text(&echoed), PROMPT.to_owned() + &text(&plain));
    assert_eq!(echoed["choices"][0]["logprobs"], Value::Null);
    assert_eq!((&echoed["usage"], &echoed["retrieval"]), (&plain["usage"], &plain["retrieval"]));
}

#[tokio::test]
async fn the_prompts_tokens_come_first_in_the_log_probabilities() {
    let server = Server::start(&["--precision=fp32"]).await;
    let long = "The harbour clock of Ellmouth was built in 1904 by Ida Brandt. ".repeat(12);
    ingest(&server.url, json!([{"text": long}])).await;
    for prompt in ["A", PROMPT, &long] {
        let body = json!({"prompt": prompt, "max_tokens": 10, "logprobs": 3});
        let (plain, echoed) =
            (complete(&server.url, &body).await, complete(&server.url, &with(&body, "echo", json!(true))).await);
        let log_probs = |answer: &Value| answer["choices"][0]["logprobs"].as_array().unwrap().clone();
        let (made, all) = (log_probs(&plain), log_probs(&echoed));
        let prompt_tokens = echoed["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
        assert_eq!(all.len(), prompt_tokens + made.len());
        assert_eq!((&all[0]["log_prob"], &all[0]["top"]), (&Value::Null, &json!([])));
        for token in &all[1..] {
            let (own, best) = (token["log_prob"].as_f64().unwrap(), &token["top"][0]);
            assert!(own <= best["log_prob"].as_f64().unwrap() + 1e-6 && token["top"].as_array().unwrap().len() == 3, "{token}");
        }
        for (echoed, made) in all[prompt_tokens..].iter().zip(&made) {
            assert_eq!(echoed["token_id"], made["token_id"]);
            let distance = echoed["log_prob"].as_f64().unwrap() - made["log_prob"].as_f64().unwrap();
            assert!(distance.abs() < 1e-4, "{distance}");
        }
    }
}

#[tokio::test]
async fn a_stream_begins_with_the_whole_prompt() {
    for logprobs in [Value::Null, json!(0)] {
        let body = json!({"prompt": PROMPT, "max_tokens": 12, "echo": true, "logprobs": logprobs});
        let whole = complete(shared(), &body).await;
        let events = sse(shared(), with(&body, "stream", json!(true))).await.all().await;
        let tokens: Vec<_> = events.iter().filter(|(name, _)| name == "token").map(|(_, data)| data.clone()).collect();
        assert_eq!(tokens[0]["text"], PROMPT);
        let text: String = tokens.iter().map(|token| token["text"].as_str().unwrap()).collect();
        assert_eq!(text, whole["choices"][0]["text"].as_str().unwrap());
        let log_probs: Vec<_> =
            tokens.iter().filter(|token| token["logprobs"].is_object()).map(|token| token["logprobs"].clone()).collect();
        assert_eq!(log_probs, whole["choices"][0]["logprobs"].as_array().cloned().unwrap_or_default());
    }
    let answer = post(shared(), "/v1/complete", json!({"prompt": "a", "echo": "yes"})).await;
    assert_eq!((answer.status, answer.code(), answer.field()), (422, "invalid_type", "echo"));
}
