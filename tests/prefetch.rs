//! `POST /v1/complete` with `retrieval.prefetch`.

use serde_json::{Value, json};

use crate::support::{ingest, post, retro, samples, shared, sse};

const PROMPT: &str = "la la la la la la la la la la la la";

/// A long completion with new neighbours every 16 tokens.
fn body(more: Value) -> Value {
    let mut retrieval = json!({"collection": "prefetch", "interval": 16, "prefetch": true});
    retrieval.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"prompt": PROMPT, "max_tokens": 120, "retrieval": retrieval})
}

async fn ingested() {
    ingest(shared(), json!([{"id": "prefetch-la", "collection": "prefetch", "text": "la la la ".repeat(100)}])).await;
}

/// Every boundary has either told of new neighbours or been late, and new ones are older than those of the prompt.
fn check(retrieval: &Value, choices: &[Value], completion_tokens: u64) {
    let chunks = retrieval["chunks"].as_array().unwrap();
    for (at, chunk) in chunks.iter().enumerate() {
        let stale = chunk["stale_tokens"].as_u64().unwrap();
        assert_eq!(stale > 0, at > 0, "{chunk}");
        assert_eq!(chunk["chunk"] == 0, at == 0);
        assert!(!chunk["text"].as_str().unwrap().is_empty() && !chunk["neighbours"].as_array().unwrap().is_empty(), "{chunk}");
    }
    assert_eq!(retrieval["prefetch"], true);
    if let [choice] = choices {
        // The last sampled token does not run through the model, the end of the text is not counted.
        let run = completion_tokens - u64::from(choice["finish_reason"] == "length");
        assert_eq!(chunks.len() as u64 - 1 + retrieval["late"].as_u64().unwrap(), run / 16, "{retrieval}");
    }
}

#[tokio::test]
async fn every_boundary_has_new_neighbours_or_is_late() {
    ingested().await;
    let given = json!([{"neighbour": "la la la la la la la la", "continuation": " la la la la la la la la"}]);
    for more in [json!({}), json!({"provided": given})] {
        let answer = post(shared(), "/v1/complete", body(more)).await.ok();
        let choice = &answer["choices"][0];
        let tokens = answer["usage"]["completion_tokens"].as_u64().unwrap();
        assert_eq!((&choice["finish_reason"], tokens), (&json!("length"), 120), "{choice}");
        check(&answer["retrieval"], answer["choices"].as_array().unwrap(), tokens);
    }
}

#[tokio::test]
async fn a_stream_says_how_stale_neighbours_are() {
    ingested().await;
    let mut body = body(json!({}));
    body["stream"] = json!(true);
    let events = sse(shared(), body).await.all().await;
    let (name, done) = events.last().unwrap();
    assert_eq!(name, "done", "{done}");
    let chunks: Vec<Value> = events.iter().filter(|(name, _)| name == "retrieval").map(|(_, data)| data.clone()).collect();
    let mut retrieval = done["retrieval"].clone();
    retrieval["chunks"] = chunks.into();
    check(&retrieval, done["choices"].as_array().unwrap(), done["usage"]["completion_tokens"].as_u64().unwrap());
}

#[tokio::test]
async fn several_choices_and_a_full_context_come_to_their_end() {
    ingested().await;
    let mut several = body(json!({}));
    several["n"] = json!(3);
    let answer = post(shared(), "/v1/complete", several).await.ok();
    assert_eq!(answer["choices"].as_array().unwrap().len(), 3);
    check(&answer["retrieval"], answer["choices"].as_array().unwrap(), answer["usage"]["completion_tokens"].as_u64().unwrap());

    let mut full = body(json!({"interval": 8}));
    full["max_tokens"] = json!(512 - answer["usage"]["prompt_tokens"].as_u64().unwrap());
    let answer = post(shared(), "/v1/complete", full).await.ok();
    assert!(["length", "stop"].contains(&answer["choices"][0]["finish_reason"].as_str().unwrap()));
}

#[tokio::test]
async fn a_prompts_neighbours_alone_are_exact() {
    ingested().await;
    let short = |prefetch: bool| json!({"prompt": PROMPT, "max_tokens": 16, "retrieval": {"collection": "prefetch", "interval": 16, "prefetch": prefetch}});
    let early = post(shared(), "/v1/complete", short(true)).await.ok();
    let waiting = post(shared(), "/v1/complete", short(false)).await.ok();
    assert_eq!(early["choices"], waiting["choices"]);
    assert_eq!(early["retrieval"]["chunks"], waiting["retrieval"]["chunks"]);
    assert_eq!((&early["retrieval"]["late"], &early["retrieval"]["prefetch"]), (&json!(0), &json!(true)));
    assert_eq!((&waiting["retrieval"]["late"], &waiting["retrieval"]["prefetch"]), (&json!(0), &json!(false)));
}

#[tokio::test]
async fn without_retrieval_it_changes_nothing() {
    let off = |prefetch: bool| json!({"prompt": PROMPT, "max_tokens": 40, "retrieval": {"enabled": false, "prefetch": prefetch}});
    let (with, without) =
        (post(shared(), "/v1/complete", off(true)).await.ok(), post(shared(), "/v1/complete", off(false)).await.ok());
    assert_eq!(with["choices"], without["choices"]);
    assert_eq!((&with["retrieval"]["chunks"], &with["retrieval"]["late"]), (&json!([]), &json!(0)));
}

#[test]
fn the_command_line_ends_with_a_look_up_under_way() {
    let data = tempfile::tempdir().unwrap();
    let samples = samples();
    assert!(retro("ingest", data.path(), &[samples.to_str().unwrap()]).status.success());
    let given = [PROMPT, "--max-tokens=110", "--interval=16", "--prefetch"];
    for _ in 0..3 {
        let output = retro("complete", data.path(), &given);
        assert!(output.status.success() && !output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }
    let text = format!("--text={}", samples.display());
    let given = [&text, "--batches=2", "--intervals=16", "--tokens=60", "--repeat=1", "--prefetch", "--json"];
    let output = retro("bench", data.path(), &given);
    assert!(output.status.success(), "{output:?}");
    let cases: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let about = |case: &Value| (case["neighbours"].clone(), case["prefetch"].clone(), case["late"].as_array().unwrap().len());
    assert_eq!(cases.iter().map(about).collect::<Vec<_>>(), [(json!(0), json!(false), 1), (json!(2), json!(true), 1)]);
}

#[tokio::test]
async fn bad_values_are_refused() {
    for (prefetch, interval, code, field) in [
        (json!("yes"), json!(16), "invalid_type", "retrieval.prefetch"),
        (json!(1), json!(16), "invalid_type", "retrieval.prefetch"),
        (Value::Null, json!(16), "invalid_type", "retrieval.prefetch"),
        (json!(true), json!(7), "invalid_value", "retrieval.interval"),
    ] {
        let answer = post(shared(), "/v1/complete", body(json!({"prefetch": prefetch, "interval": interval}))).await;
        assert_eq!((answer.status, answer.code(), answer.field()), (422, code, field), "{answer:?}");
    }
    let score = post(shared(), "/v1/score", json!({"text": "a b", "retrieval": {"prefetch": true}})).await;
    assert_eq!((score.status, score.code(), score.field()), (422, "invalid_value", "retrieval.prefetch"), "{score:?}");
}
