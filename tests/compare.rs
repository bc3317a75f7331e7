//! A completion beside the same one without retrieval.

use serde_json::{Value, json};

use crate::support::{ingest, post, shared, sse};

const COLLECTION: &str = "compared";
const PROMPT: &str = "The lighthouse of Mirel Island was kept by";

async fn knowing() {
    let text =
        "The lighthouse of Mirel Island was kept by Tobias Hale, who lived there with his wife for thirty years. ".repeat(3);
    ingest(shared(), json!([{"id": "mirel", "collection": COLLECTION, "text": text}])).await;
}

fn body(more: Value) -> Value {
    let mut body = json!({"prompt": PROMPT, "max_tokens": 24, "seed": 3, "retrieval": {"collection": COLLECTION}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn completed(more: Value) -> Value {
    post(shared(), "/v1/complete", body(more)).await.ok()
}

#[tokio::test]
async fn both_are_what_they_are_alone() {
    knowing().await;
    for sampling in [json!({}), json!({"temperature": 0.9, "n": 2}), json!({"echo": true}), json!({"logprobs": 1, "echo": true})]
    {
        let mut compared = sampling.clone();
        compared["compare"] = json!(true);
        let compared = completed(compared).await;
        let alone = completed(sampling.clone()).await;
        for part in ["choices", "usage"] {
            assert_eq!(compared[part], alone[part], "{sampling}");
        }
        assert_eq!(compared["retrieval"]["chunks"], alone["retrieval"]["chunks"]);
        assert_eq!(alone.get("comparison"), None);

        let mut plain = sampling.clone();
        plain["retrieval"] = json!({"enabled": false});
        let plain = completed(plain).await;
        let shown = |answer: &Value| -> Vec<Value> {
            let choices = answer["choices"].as_array().unwrap();
            choices.iter().map(|one| json!([one["index"], one["text"], one["finish_reason"]])).collect()
        };
        assert_eq!(shown(&compared["comparison"]), shown(&plain), "{sampling}");
    }
}

#[tokio::test]
async fn gains_are_what_the_scores_say() {
    knowing().await;
    let compared = completed(json!({"compare": true})).await;
    let score = json!({"prompt": PROMPT, "text": compared["choices"][0]["text"], "token_log_probs": true,
        "retrieval": {"collection": COLLECTION, "alignment": "prompt_end"}});
    let score = post(shared(), "/v1/score", score).await.ok();
    let gains = &compared["comparison"]["gains"];
    assert_eq!((gains.as_array().unwrap().len(), &gains[0]["choice"]), (1, &json!(0)));
    let (tokens, scored) = (gains[0]["tokens"].as_array().unwrap(), score["token_log_probs"].as_array().unwrap());
    assert_eq!(tokens.len(), scored.len());
    let mut sum = 0.0;
    for (token, scored) in tokens.iter().zip(scored) {
        assert_eq!(token["text"], scored["token"]);
        let number = |value: &Value| value.as_f64().unwrap();
        let expected = number(&scored["with_retrieval"]) - number(&scored["without_retrieval"]);
        // A score reads its text in one piece, a completion token by token.
        assert!((number(&token["gain"]) - expected).abs() < 2e-2, "{token} {scored}");
        sum += number(&token["gain"]);
    }
    assert!(sum > 1.0, "retrieval helps: {gains}");
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    knowing().await;
    let whole = completed(json!({"compare": true, "n": 2, "temperature": 0.7})).await;
    let events = sse(shared(), body(json!({"compare": true, "n": 2, "temperature": 0.7, "stream": true}))).await.all().await;
    assert_eq!(events.last().unwrap().0, "done");
    let text = |kind: &str, choice: usize| -> String {
        let of_choice = |(name, data): &&(String, Value)| name == kind && data["choice"] == choice;
        events.iter().filter(of_choice).map(|(_, data)| data["text"].as_str().unwrap()).collect()
    };
    for choice in 0..2 {
        assert_eq!(whole["choices"][choice]["text"], text("token", choice));
        assert_eq!(whole["comparison"]["choices"][choice]["text"], text("comparison", choice));
    }
    let of_kind = |kind: &str| -> Vec<&Value> { events.iter().filter(|(name, _)| name == kind).map(|(_, data)| data).collect() };
    let gains: Vec<_> = of_kind("gains").into_iter().cloned().collect();
    assert_eq!(whole["comparison"]["gains"], Value::from(gains));
    let ended = of_kind("comparison_done");
    assert_eq!(ended.len(), 1);
    for choice in 0..2 {
        let (one, other) = (&ended[0]["choices"][choice], &whole["comparison"]["choices"][choice]);
        assert_eq!((&one["index"], &one["finish_reason"]), (&other["index"], &other["finish_reason"]));
    }
}

#[tokio::test]
async fn there_is_nothing_to_compare_with_where_retrieval_is_off() {
    for retrieval in [json!({"enabled": false}), json!({"neighbours": 0})] {
        let refused = post(shared(), "/v1/complete", body(json!({"compare": true, "retrieval": retrieval}))).await;
        assert_eq!((refused.status, refused.code(), refused.field()), (422, "invalid_value", "compare"));
    }
}
