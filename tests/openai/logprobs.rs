use serde_json::{Value, json};

use super::{completions, native};
use crate::support::shared;

#[tokio::test]
async fn log_probabilities_come_in_four_lists() {
    let prompt = "Größe 字 \u{1f600}: the capital of France is";
    for (echo, count) in [(true, 3), (false, 3), (true, 0)] {
        let more = json!({"prompt": prompt, "max_tokens": 12, "temperature": 0, "logprobs": count, "echo": echo});
        let (expected, answer) = (native(more.clone()).await, completions(shared(), more).await);
        let choice = &answer["choices"][0];
        let list = |name: &str| choice["logprobs"][name].as_array().unwrap().clone();
        let (tokens, log_probs, offsets, tops) =
            (list("tokens"), list("token_logprobs"), list("text_offset"), list("top_logprobs"));
        let expected = expected["choices"][0]["logprobs"].as_array().unwrap();
        assert_eq!(log_probs, expected.iter().map(|token| token["log_prob"].clone()).collect::<Vec<Value>>());
        let text = if echo { String::new() } else { prompt.to_owned() } + choice["text"].as_str().unwrap();
        for (at, token) in tokens.iter().enumerate() {
            let (token, offset) = (token.as_str().unwrap(), offsets[at].as_u64().unwrap() as usize);
            let rest: String = text.chars().skip(offset).collect();
            assert!(rest.starts_with(token) || token.starts_with("bytes:\\x"), "{token:?} at {offset} of {text:?}");
            if at == 0 && echo {
                assert_eq!((&tops[0], &log_probs[0], offset), (&Value::Null, &Value::Null, 0));
                continue;
            }
            assert!(tops[at][token].as_f64().unwrap() >= log_probs[at].as_f64().unwrap(), "the token is among them");
            assert!((1..=count + 1).contains(&tops[at].as_object().unwrap().len()), "{}", tops[at]);
        }
        let first = if echo { 0 } else { prompt.chars().count() };
        assert_eq!(offsets[0], first, "offsets count from the beginning of the prompt");
    }
}

#[tokio::test]
async fn tokens_of_a_stop_text_are_not_shown() {
    let body = |stop: Value| json!({"max_tokens": 24, "temperature": 0, "logprobs": 0, "stop": stop});
    let free = completions(shared(), body(Value::Null)).await;
    let text = free["choices"][0]["text"].as_str().unwrap();
    let stop: String = text.chars().skip(text.chars().count() / 2).take(3).collect();
    let stopped = completions(shared(), body(json!(stop))).await;
    let choice = &stopped["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    let end = "Tea is".len() + choice["text"].as_str().unwrap().chars().count();
    let offsets = choice["logprobs"]["text_offset"].as_array().unwrap();
    assert!(offsets.iter().all(|offset| (offset.as_u64().unwrap() as usize) < end), "{choice}");
}
