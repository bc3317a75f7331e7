//! The routes for OpenAI's clients, as HTTP. `tests/clients` asks them by the clients themselves.

mod completions;
mod embeddings;
mod errors;
mod logprobs;
mod prompts;

use serde_json::{Value, json};

use crate::support::{ingest, post, shared};

const MODEL: &str = "retro-nano";
const EMBEDDER: &str = "all-MiniLM-L6-v2";

async fn completions(url: &str, more: Value) -> Value {
    post(url, "/v1/completions", request(more)).await.ok()
}

async fn embeddings(more: Value) -> Value {
    post(shared(), "/v1/embeddings", with(json!({"model": EMBEDDER}), more)).await.ok()
}

/// The same by the server's own route.
async fn native(more: Value) -> Value {
    post(shared(), "/v1/complete", with(json!({"prompt": "Tea is"}), more)).await.ok()
}

fn request(more: Value) -> Value {
    with(json!({"model": MODEL, "prompt": "Tea is"}), more)
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn texts(answer: &Value) -> Vec<&str> {
    answer["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect()
}

/// A sampled completion that reads this collection, long enough that choices come to chunks of their own.
async fn sampled(collection: &str) -> Value {
    let text = "A honey bee colony has one queen, some hundred drones and many thousand workers. ".repeat(4);
    ingest(shared(), json!([{"id": format!("{collection}-bees"), "collection": collection, "text": text}])).await;
    json!({"prompt": "A honey bee colony", "max_tokens": 80, "temperature": 0.9, "top_p": 0.95, "seed": 5, "frequency_penalty": 0.3,
        "presence_penalty": -0.2, "retrieval": {"collection": collection}})
}
