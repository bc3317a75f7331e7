//! Many completions at a time: each is what it would be alone.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Server, ingest, post, sse};

const PROMPTS: [&str; 8] = [
    "The Dune film was released in",
    "Tea is",
    "The honey bee lives in colonies. It collects nectar and pollen, and it makes honey, which people have taken since the stone age; a colony \
     has one queen, some hundred drones and many thousand workers, and in winter it clusters around its stores to keep warm.",
    "A",
    "The capital of France is Paris, and the capital of Italy is",
    "In 1969",
    "Water boils at",
    "The river rises in the mountains and flows",
];

fn body(number: usize) -> Value {
    let retrieval = match number % 4 {
        0 => json!({"neighbours": 2}),
        1 => json!({"enabled": false}),
        2 => json!({"neighbours": 3, "interval": 16, "alignment": "prompt_start"}),
        _ => json!({"provided": [{"neighbour": "Paris is the capital of France.", "continuation": " Rome is that of Italy."}]}),
    };
    json!({"prompt": PROMPTS[number % PROMPTS.len()], "max_tokens": 40 + 7 * (number % 8), "retrieval": retrieval})
}

async fn text(server: &Server, number: usize) -> String {
    let answer = post(&server.url, "/v1/complete", body(number)).await.ok();
    answer["choices"][0]["text"].as_str().unwrap().to_owned()
}

async fn with_documents(more: &[&str]) -> Server {
    let server = Server::start(more).await;
    let documents: Vec<Value> =
        PROMPTS.iter().map(|prompt| json!({"text": format!("{prompt} something that a document says. ").repeat(20)})).collect();
    ingest(&server.url, Value::Array(documents)).await;
    server
}

#[tokio::test]
async fn greedy_text_is_the_same_alone_and_in_company() {
    let server = with_documents(&["--slots=5"]).await;
    let mut alone = Vec::new();
    for number in 0..8 {
        alone.push(text(&server, number).await);
    }
    let together = join_all((0..24).map(|number| text(&server, number))).await;
    for (number, text) in together.iter().enumerate() {
        assert_eq!(*text, alone[number % 8], "request {number}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_lets_the_next_in() {
    let server = with_documents(&["--slots=1"]).await;
    let mut gone = sse(&server.url, json!({"prompt": "Tea is", "max_tokens": 400, "stream": true})).await;
    gone.next().await.expect("it runs");
    drop(gone);
    assert!(!text(&server, 1).await.is_empty());
}

#[tokio::test]
async fn sixty_four_clients_are_all_served() {
    let server = with_documents(&[]).await;
    let answers = join_all((0..64).map(|number| post(&server.url, "/v1/complete", body(number)))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{:?}", answers.iter().map(|a| a.status).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_interval_looks_neighbours_up_more_often() {
    let server = with_documents(&[]).await;
    for (interval, chunks) in [(64, 1), (32, 2), (16, 4), (8, 8)] {
        let body = json!({"prompt": "The river rises in", "max_tokens": 60, "retrieval": {"interval": interval}});
        let answer = post(&server.url, "/v1/complete", body).await.ok();
        if answer["usage"]["completion_tokens"] == 60 {
            assert_eq!(answer["retrieval"]["chunks"].as_array().unwrap().len(), chunks, "every {interval} tokens");
        }
        assert_eq!(answer["retrieval"]["interval"], interval);
    }
    for interval in [7, 65] {
        let body = json!({"prompt": "a", "retrieval": {"interval": interval}});
        let answer = post(&server.url, "/v1/complete", body).await;
        assert_eq!((answer.status, answer.field()), (422, "retrieval.interval"));
    }
}
