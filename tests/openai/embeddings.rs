use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{EMBEDDER, MODEL, embeddings, with};
use crate::support::{get, ingest, post, shared};

fn vectors(answer: &Value) -> Vec<Vec<f64>> {
    let vector = |one: &Value| one["embedding"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    answer["data"].as_array().unwrap().iter().map(vector).collect()
}

#[tokio::test]
async fn embeddings_are_those_that_neighbours_are_found_by() {
    let text = "Tea is a hot drink made of leaves.";
    ingest(shared(), json!([{"id": "openai-tea", "collection": "openai-tea", "text": text}])).await;
    let query = "What is tea made of?";
    let found = post(shared(), "/v1/retrieve", json!({"text": query, "collection": "openai-tea"})).await.ok();
    let neighbour = &found["chunks"][0]["neighbours"][0];
    let answer = embeddings(json!({"input": [query, neighbour["neighbour"]]})).await;
    assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!(EMBEDDER)));
    for (at, one) in answer["data"].as_array().unwrap().iter().enumerate() {
        assert_eq!((&one["object"], &one["index"]), (&json!("embedding"), &json!(at)));
    }
    let both = vectors(&answer);
    let distance: f64 = both[0].iter().zip(&both[1]).map(|(a, b)| (a - b).powi(2)).sum();
    assert!((distance - neighbour["distance"].as_f64().unwrap()).abs() < 1e-3, "{distance}, {neighbour}");
    assert!((both[0].iter().map(|value| value * value).sum::<f64>() - 1.0).abs() < 1e-3);
    let one = embeddings(json!({"input": query, "dimensions": both[0].len()})).await;
    assert_eq!(vectors(&one)[0], both[0], "alone and in a list the same");
    // Five words, a mark, and the special tokens around them.
    assert_eq!(one["usage"], json!({"prompt_tokens": 8, "total_tokens": 8}));
}

#[tokio::test]
async fn base64_is_the_same_floats() {
    let input = json!({"input": ["a", "Tea is a hot drink."]});
    let floats = vectors(&embeddings(input.clone()).await);
    let coded = embeddings(with(input, json!({"encoding_format": "base64"}))).await;
    for (one, floats) in coded["data"].as_array().unwrap().iter().zip(floats) {
        let bytes = STANDARD.decode(one["embedding"].as_str().unwrap()).unwrap();
        let values: Vec<f32> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(values, floats.into_iter().map(|value| value as f32).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_longest_text_is_embedded_whole_and_a_longer_one_is_refused() {
    let longest = embeddings(json!({"input": "word ".repeat(510)})).await;
    assert_eq!(longest["usage"]["prompt_tokens"], 512);
    let refused = post(shared(), "/v1/embeddings", json!({"model": EMBEDDER, "input": "word ".repeat(511)})).await;
    assert_eq!((refused.status, refused.code(), refused.field()), (400, "invalid_value", "input"));
    let message = refused.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("513 tokens") && message.contains("at most 512"), "{message}");
}

#[tokio::test]
async fn models_are_the_model_and_the_embedder() {
    let list = get(shared(), "/v1/models").await.ok();
    assert_eq!(list["object"], "list");
    let models = list["data"].as_array().unwrap();
    assert_eq!(models.iter().map(|model| model["id"].as_str().unwrap()).collect::<Vec<_>>(), [MODEL, EMBEDDER]);
    for model in models {
        assert_eq!((&model["object"], &model["owned_by"]), (&json!("model"), &json!("retro-server")));
        assert!(model["created"].as_u64().unwrap() > 1_600_000_000);
        assert_eq!(get(shared(), &format!("/v1/models/{}", model["id"].as_str().unwrap())).await.ok(), *model);
    }
}
