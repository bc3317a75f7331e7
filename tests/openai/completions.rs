use serde_json::{Value, json};

use super::{MODEL, completions, native, request, sampled, texts, with};
use crate::support::{events_of, shared};

/// The chunks of a stream that comes to its end.
async fn chunks(more: Value) -> Vec<Value> {
    let body = with(request(more), json!({"stream": true}));
    let mut stream = events_of(reqwest::Client::new().post(format!("{}/v1/completions", shared())).json(&body)).await;
    let mut data = Vec::new();
    while let Some(event) = stream.next_text().await {
        if !event.starts_with(':') {
            data.push(event.strip_prefix("data: ").expect("events have no names").to_owned());
        }
    }
    assert_eq!(data.pop().as_deref(), Some("[DONE]"));
    data.iter().map(|one| serde_json::from_str(one).unwrap()).collect()
}

#[tokio::test]
async fn an_answer_has_openais_form() {
    let answer = completions(shared(), json!({"max_tokens": 5})).await;
    let mut keys: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["choices", "created", "id", "model", "object", "retrieval", "usage"]);
    assert_eq!((&answer["object"], &answer["model"]), (&json!("text_completion"), &json!(MODEL)));
    assert!(answer["id"].as_str().unwrap().starts_with("cmpl-") && answer["created"].as_u64().unwrap() > 1_700_000_000);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["index"], &choice["logprobs"]), (&json!(0), &Value::Null));
    assert!(["length", "stop"].contains(&choice["finish_reason"].as_str().unwrap()));
    let usage = |name: &str| answer["usage"][name].as_u64().unwrap();
    assert_eq!(usage("prompt_tokens") + usage("completion_tokens"), usage("total_tokens"));
    let free = json!({"prompt": "la la la la la la la la la la la la", "temperature": 0, "retrieval": {"enabled": false}});
    assert_eq!(completions(shared(), free).await["usage"]["completion_tokens"], 16, "OpenAI's default");
}

#[tokio::test]
async fn it_says_what_the_native_route_says() {
    let more = with(sampled("openai-same").await, json!({"n": 2}));
    let (expected, answer) = (native(more.clone()).await, completions(shared(), more).await);
    assert_eq!(texts(&answer), texts(&expected));
    assert_eq!((&answer["usage"], &answer["retrieval"]), (&expected["usage"], &expected["retrieval"]));
    assert!(expected["retrieval"]["chunks"].as_array().unwrap().len() > 1, "a choice came to a chunk of its own");
    let greedy = json!({"max_tokens": 24, "temperature": 0, "stop": ["\n"]});
    assert_eq!(texts(&completions(shared(), greedy.clone()).await), texts(&native(greedy).await));
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let body = sampled("openai-stream").await;
    for more in [
        json!({"n": 2, "prompt": ["A honey bee colony", "Größe 字 \u{1f600}:"]}),
        json!({"logprobs": 2, "echo": true}),
        json!({"logprobs": 0, "stop": ["a", " the"]}),
    ] {
        let more = with(body.clone(), more);
        let whole = completions(shared(), more.clone()).await;
        let all = chunks(with(more.clone(), json!({"stream_options": {"include_usage": true}}))).await;
        let (last, chunks) = all.split_last().unwrap();
        assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
        assert!(chunks.iter().all(|chunk| chunk["usage"].is_null() && chunk["choices"].as_array().unwrap().len() == 1));
        assert!(all.iter().all(|chunk| chunk["object"] == "text_completion" && chunk["id"] == last["id"]));
        for choice in whole["choices"].as_array().unwrap() {
            let choices = chunks.iter().map(|chunk| &chunk["choices"][0]);
            let own: Vec<&Value> = choices.filter(|one| one["index"] == choice["index"]).collect();
            let text: String = own.iter().map(|one| one["text"].as_str().unwrap()).collect();
            assert_eq!(text, choice["text"].as_str().unwrap());
            let (end, before) = own.split_last().unwrap();
            assert_eq!(end["finish_reason"], choice["finish_reason"]);
            assert!(before.iter().all(|one| one["finish_reason"].is_null()));
            for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
                let joined: Vec<&Value> = own.iter().filter_map(|one| one["logprobs"][list].as_array()).flatten().collect();
                let expected: Vec<&Value> = choice["logprobs"][list].as_array().into_iter().flatten().collect();
                assert_eq!(joined, expected, "{list} of {more}");
            }
        }
        assert!(chunks[0]["retrieval"]["chunks"].as_array().is_some_and(|read| !read.is_empty()), "{}", chunks[0]);
        let read = chunks.iter().filter_map(|chunk| chunk["retrieval"]["chunks"].as_array()).flatten();
        let mut read: Vec<Value> = read.cloned().collect();
        read.sort_by_key(|chunk| chunk["choice"].as_u64());
        assert_eq!(Value::from(read), whole["retrieval"]["chunks"]);
        let ends = chunks.iter().filter(|chunk| chunk["retrieval"]["database_version"].is_u64());
        assert_eq!(ends.count(), more["prompt"].as_array().map_or(1, Vec::len), "one for each prompt");
    }
    let plain = chunks(json!({"max_tokens": 3})).await;
    assert!(plain.iter().all(|chunk| chunk.get("usage").is_none()), "the usage was not asked for");
}

#[tokio::test]
async fn best_of_picks_by_the_mean_log_probability() {
    let body = with(sampled("openai-best").await, json!({"logprobs": 0, "max_tokens": 70}));
    let candidates = native(with(body.clone(), json!({"n": 4}))).await;
    let mean = |choice: &Value| {
        let made = choice["logprobs"].as_array().unwrap();
        made.iter().map(|token| token["log_prob"].as_f64().unwrap()).sum::<f64>() / made.len() as f64
    };
    let mut best: Vec<&Value> = candidates["choices"].as_array().unwrap().iter().collect();
    best.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
    for more in [json!({}), json!({"logprobs": null}), json!({"echo": true, "logprobs": null})] {
        let found = completions(shared(), with(body.clone(), with(json!({"n": 2, "best_of": 4}), more.clone()))).await;
        let prompt = if more["echo"] == true { "A honey bee colony" } else { "" };
        let expected: Vec<String> = best[..2].iter().map(|choice| prompt.to_owned() + choice["text"].as_str().unwrap()).collect();
        assert_eq!(texts(&found), expected);
        assert_eq!(found["usage"], candidates["usage"], "all candidates count");
        assert_eq!(found["choices"][0]["logprobs"].is_null(), more.get("logprobs").is_some());
        let chunks = found["retrieval"]["chunks"].as_array().unwrap();
        assert_eq!((&chunks[0]["choice"], &chunks[0]["chunk"]), (&json!(0), &json!(0)), "the prompt's");
        assert!(chunks.iter().all(|chunk| chunk["choice"].as_u64().unwrap() < 2));
    }
}

#[tokio::test]
async fn penalties_keep_the_model_from_repeating_itself() {
    let body = json!({"prompt": "la la la la la la la la la la la la", "max_tokens": 40, "temperature": 0, "logprobs": 0,
        "retrieval": {"enabled": false}});
    let distinct = |answer: &Value| {
        let tokens = answer["choices"][0]["logprobs"].as_array().unwrap();
        tokens.iter().map(|token| token["token_id"].as_u64().unwrap()).collect::<std::collections::HashSet<_>>().len()
    };
    let plain = native(body.clone()).await;
    for penalty in ["frequency_penalty", "presence_penalty"] {
        let more = with(body.clone(), json!({penalty: 2.0}));
        let penalised = native(more.clone()).await;
        assert!(distinct(&penalised) > distinct(&plain), "{penalty}: {:?}", texts(&penalised));
        assert_eq!(texts(&completions(shared(), more).await), texts(&penalised));
        assert_eq!(native(with(body.clone(), json!({penalty: 0}))).await["choices"], plain["choices"]);
    }
}
