//! `POST /v1/score`.

use serde_json::{Value, json};

use crate::support::{Server, get, ingest, long_stream, post, shared, sse};

const TEXT: &str = "The Zanthe lighthouse stands on the island of Orrin. It was built in 1871 by the engineer Maud Kessel, and its lamp was \
    lit for the first time on the second of May. The tower is forty metres high and painted red and white. Until 1963 a keeper lived there \
    with his family; since then the lamp has been worked from the mainland, and the house of the keeper has become a museum that shows the \
    old lenses, the logs of the keepers and a model of the first tower, which the storm of 1868 had taken down in a single night.";

async fn score(url: &str, body: Value) -> Value {
    post(url, "/v1/score", body).await.ok()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

fn log_probs(answer: &Value, arm: &str) -> Vec<f64> {
    answer["token_log_probs"].as_array().unwrap().iter().map(|token| number(&token[arm])).collect()
}

#[tokio::test]
async fn the_answer_has_the_documented_shape() {
    ingest(shared(), json!([{"collection": "score-shape", "text": TEXT}])).await;
    let body = json!({"text": TEXT, "token_log_probs": true, "retrieval": {"collection": "score-shape"}});
    let answer = score(shared(), body.clone()).await;
    let mut keys: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["model", "retrieval", "token_log_probs", "tokens", "with_retrieval", "without_retrieval"]);
    let tokens = answer["token_log_probs"].as_array().unwrap();
    assert_eq!(answer["tokens"], tokens.len());
    let text: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
    assert!(TEXT.ends_with(&text) && text.len() < TEXT.len(), "all tokens but the first: {text}");
    for arm in ["with_retrieval", "without_retrieval"] {
        let sum: f64 = log_probs(&answer, arm).iter().sum();
        assert!((sum - number(&answer[arm]["log_prob"])).abs() < 1e-4, "{arm}");
        assert!((number(&answer[arm]["perplexity"]).ln() + sum / tokens.len() as f64).abs() < 1e-6, "{arm}");
    }
    let retrieval = &answer["retrieval"];
    assert_eq!((&retrieval["enabled"], &retrieval["alignment"]), (&json!(true), &json!("prompt_start")));
    assert!(retrieval["database_version"].as_u64().unwrap() > 0);
    assert_eq!(retrieval["chunks"].as_array().unwrap().len(), tokens.len() / 64);
    assert!(TEXT.starts_with(retrieval["chunks"][0]["text"].as_str().unwrap()));
    assert!(
        number(&answer["with_retrieval"]["perplexity"]) < number(&answer["without_retrieval"]["perplexity"]),
        "its own neighbours make a text likelier"
    );
    // What is read of a chunk's neighbours begins with the last token of the chunk, which predicts the next one.
    let (with, without) = (log_probs(&answer, "with_retrieval"), log_probs(&answer, "without_retrieval"));
    assert_eq!(with[..63], without[..63]);
    assert_ne!(with[63], without[63]);

    let mut brief = body;
    brief["token_log_probs"] = json!(false);
    let brief = score(shared(), brief).await;
    assert_eq!(brief["token_log_probs"], Value::Null);
    assert_eq!(brief["with_retrieval"], answer["with_retrieval"]);
}

#[tokio::test]
async fn without_retrieval_there_is_one_arm() {
    let off = score(shared(), json!({"text": TEXT, "token_log_probs": true, "retrieval": {"enabled": false}})).await;
    assert_eq!(off["with_retrieval"], Value::Null);
    assert!(off["token_log_probs"].as_array().unwrap().iter().all(|token| token["with_retrieval"].is_null()));
    assert_eq!(
        off["retrieval"],
        json!({"enabled": false, "alignment": "prompt_start", "interval": 64, "prefetch": false, "late": 0, "failed": 0, "database_version": 0, "chunks": []})
    );
    let given = json!({"provided": [{"neighbour": "The Zanthe lighthouse stands on the island of Orrin."}]});
    let on = score(shared(), json!({"text": TEXT, "retrieval": given})).await;
    assert_eq!(on["without_retrieval"], off["without_retrieval"]);
    assert_ne!(on["with_retrieval"], off["without_retrieval"]);
    assert_eq!(on["retrieval"]["chunks"][0]["neighbours"][0]["document_id"], Value::Null);
}

#[tokio::test]
async fn a_prompt_is_read_and_not_counted() {
    let (prompt, text) = TEXT.split_at(TEXT.find(" and its lamp").unwrap());
    let off = json!({"enabled": false});
    let whole = score(shared(), json!({"text": TEXT, "token_log_probs": true, "retrieval": off})).await;
    let after = score(shared(), json!({"prompt": prompt, "text": text, "token_log_probs": true, "retrieval": off})).await;
    let alone = score(shared(), json!({"text": text, "retrieval": off})).await;
    assert_eq!(after["tokens"].as_u64(), alone["tokens"].as_u64().map(|tokens| tokens + 1));
    assert_ne!(after["without_retrieval"], alone["without_retrieval"]);
    let skip = (whole["tokens"].as_u64().unwrap() - after["tokens"].as_u64().unwrap()) as usize;
    assert_eq!(whole["token_log_probs"].as_array().unwrap()[skip..], after["token_log_probs"].as_array().unwrap()[..]);
    let empty = score(shared(), json!({"prompt": "", "text": text, "retrieval": off})).await;
    assert_eq!(empty["without_retrieval"], alone["without_retrieval"], "an empty prompt is none");
}

#[tokio::test]
async fn a_completion_scores_what_its_log_probabilities_say() {
    let server = Server::start(&["--precision=fp32"]).await;
    ingest(&server.url, json!([{"text": TEXT}])).await;
    let prompt = "The Zanthe lighthouse stands on the island of Orrin. It was built";
    for retrieval in [json!({}), json!({"interval": 16}), json!({"alignment": "prompt_start"}), json!({"enabled": false})] {
        let mut retrieval = retrieval;
        let completed = post(
            &server.url,
            "/v1/complete",
            json!({"prompt": prompt, "max_tokens": 100, "logprobs": 0, "retrieval": retrieval}),
        );
        let completed = completed.await.ok();
        retrieval["alignment"] = completed["retrieval"]["alignment"].clone();
        let choice = &completed["choices"][0];
        let body = json!({"prompt": prompt, "text": choice["text"], "token_log_probs": true, "retrieval": retrieval});
        let scored = score(&server.url, body).await;
        let (made, scored_tokens) = (choice["logprobs"].as_array().unwrap(), scored["token_log_probs"].as_array().unwrap());
        let ids = |tokens: &[Value]| tokens.iter().map(|token| token["token_id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(made), ids(scored_tokens), "{retrieval}");
        let arm = if retrieval["enabled"] == false { "without_retrieval" } else { "with_retrieval" };
        for (at, (made, scored)) in made.iter().zip(log_probs(&scored, arm)).enumerate() {
            let distance = (number(&made["log_prob"]) - scored).abs();
            assert!(distance < 1e-4, "{retrieval}, token {at}: {distance}");
        }
        let looked_up = |answer: &Value| answer["retrieval"]["chunks"].as_array().unwrap().len();
        assert!(looked_up(&completed).abs_diff(looked_up(&scored)) <= 1, "the last token's chunk is of no use to a score");
    }
}

#[tokio::test]
async fn an_echoed_prompt_has_the_log_probabilities_of_its_score() {
    let server = Server::start(&["--precision=fp32"]).await;
    ingest(&server.url, json!([{"text": TEXT}])).await;
    for retrieval in [json!({"alignment": "prompt_start"}), json!({"enabled": false})] {
        let body = json!({"prompt": TEXT, "max_tokens": 20, "echo": true, "logprobs": 0, "retrieval": retrieval});
        let echoed = post(&server.url, "/v1/complete", body).await.ok();
        let prompt = echoed["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
        let echoed = &echoed["choices"][0]["logprobs"].as_array().unwrap()[1..prompt];
        let scored = score(&server.url, json!({"text": TEXT, "token_log_probs": true, "retrieval": retrieval})).await;
        let arm = if retrieval["enabled"] == false { "without_retrieval" } else { "with_retrieval" };
        let scored = log_probs(&scored, arm);
        assert_eq!(echoed.len(), scored.len());
        for (at, (echoed, scored)) in echoed.iter().zip(scored).enumerate() {
            let distance = (number(&echoed["log_prob"]) - scored).abs();
            assert!(distance < 1e-4, "{retrieval}, token {at}: {distance}");
        }
    }
}

#[tokio::test]
async fn texts_that_cannot_be_scored() {
    let context = get(shared(), "/v1/info").await.ok()["limits"]["context"].as_u64().unwrap() as usize;
    // One token each, and one more at the beginning.
    let words = |count: usize| " a".repeat(count);
    let fits = score(shared(), json!({"text": words(context + 1), "retrieval": {"enabled": false}})).await;
    assert_eq!(fits["tokens"], context);
    let fits = score(shared(), json!({"prompt": words(context), "text": " a", "retrieval": {"enabled": false}})).await;
    assert_eq!(fits["tokens"], 1);
    for (body, status, code, field, detail) in [
        (json!({}), 422, "missing_field", "text", ""),
        (json!({"text": ""}), 422, "invalid_value", "text", "empty"),
        (json!({"text": " a"}), 422, "invalid_value", "text", "at least 2"),
        (json!({"text": words(context + 2)}), 422, "invalid_value", "text", "513"),
        (json!({"prompt": words(10), "text": words(context - 8)}), 422, "invalid_value", "text", "at most 503"),
        (json!({"prompt": words(context + 1), "text": "a"}), 422, "invalid_value", "prompt", "512"),
        (json!({"text": "x".repeat(4_000_000)}), 422, "invalid_value", "text", "bytes"),
        (json!({"text": 3}), 422, "invalid_type", "text", ""),
        (json!({"text": "a b", "prompt": ["a"]}), 422, "invalid_type", "prompt", ""),
        (json!({"text": "a b", "max_tokens": 3}), 422, "unknown_field", "max_tokens", ""),
        (json!({"text": "a b", "token_log_probs": 3}), 422, "invalid_type", "token_log_probs", ""),
        (json!({"text": "a b", "retrieval": {"interval": 7}}), 422, "invalid_value", "retrieval.interval", "8 to 64"),
        (json!({"text": "a b", "retrieval": {"prefetch": true}}), 422, "invalid_value", "retrieval.prefetch", "false"),
        (json!({"text": "a b", "retrieval": {"neighbours": 17}}), 422, "invalid_value", "retrieval.neighbours", "16"),
        (json!({"text": "a b", "retrieval": {"collection": "nowhere"}}), 404, "collection_not_found", "retrieval.collection", ""),
    ] {
        let answer = post(shared(), "/v1/score", body).await;
        assert_eq!((answer.status, answer.code(), answer.field()), (status, code, field), "{answer:?}");
        assert!(answer.body["detail"].as_str().unwrap().contains(detail), "{answer:?}");
    }
}

#[tokio::test]
async fn a_score_waits_in_the_queue_and_a_full_one_refuses_it() {
    let server = Server::start(&["--slots=1", "--max-queue=1"]).await;
    // Both arms have one place in the queue, so that the smallest queue and a single slot serve them.
    let alone = score(&server.url, json!({"text": TEXT, "retrieval": {"provided": [{"neighbour": "Orrin"}]}})).await;
    assert!(alone["with_retrieval"].is_object() && alone["without_retrieval"].is_object());
    let mut running = sse(&server.url, long_stream().await).await;
    running.next().await.expect("it has left the queue");
    let waiting = sse(&server.url, long_stream().await).await;
    let answer = post(&server.url, "/v1/score", json!({"text": TEXT})).await;
    assert_eq!((answer.status, answer.code()), (429, "overloaded"));
    assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
    drop((running, waiting));
}
