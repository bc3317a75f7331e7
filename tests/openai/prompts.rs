use futures::future::join_all;
use serde_json::{Value, json};

use super::{completions, native, sampled, texts, with};
use crate::support::{Server, shared};

#[tokio::test]
async fn several_prompts_are_answered_in_their_order() {
    let prompts = ["A honey bee colony", "Tea is", "The history of"];
    let body = with(sampled("openai-prompts").await, json!({"n": 2, "prompt": prompts}));
    let answer = completions(shared(), body.clone()).await;
    let singles = join_all(prompts.map(|prompt| completions(shared(), with(body.clone(), json!({"prompt": prompt}))))).await;
    let indices: Vec<&Value> = answer["choices"].as_array().unwrap().iter().map(|choice| &choice["index"]).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
    assert_eq!(texts(&answer), singles.iter().flat_map(texts).collect::<Vec<_>>());
    for name in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        let sum: u64 = singles.iter().map(|single| single["usage"][name].as_u64().unwrap()).sum();
        assert_eq!(answer["usage"][name], sum);
    }
    let chunks_of = |answer: &Value, from: u64| -> Vec<Value> {
        let chunks = answer["retrieval"]["chunks"].as_array().unwrap().iter();
        let own = chunks.filter(|chunk| (from..from + 2).contains(&chunk["choice"].as_u64().unwrap()));
        let plain = own
            .map(|chunk| json!([chunk["choice"].as_u64().unwrap() - from, chunk["chunk"], chunk["text"], chunk["neighbours"]]));
        plain.collect()
    };
    for (prompt, single) in (0..).zip(&singles) {
        assert_eq!(chunks_of(&answer, 2 * prompt), chunks_of(single, 0), "prompt {prompt}");
    }
    let server = Server::start(&[]).await;
    let most = completions(&server.url, json!({"prompt": vec!["a"; 64], "max_tokens": 1})).await;
    assert_eq!(most["choices"].as_array().unwrap().len(), 64);
}

#[tokio::test]
async fn prompts_of_tokens_go_to_the_model_as_they_are() {
    let echoed = native(json!({"prompt": "Tea is a drink", "max_tokens": 1, "echo": true, "logprobs": 0})).await;
    let count = echoed["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
    let tokens = &echoed["choices"][0]["logprobs"].as_array().unwrap()[..count];
    let ids: Vec<Value> = tokens.iter().map(|token| token["token_id"].clone()).collect();
    let more = json!({"max_tokens": 20, "temperature": 0.7, "seed": 3, "echo": true, "logprobs": 1});
    let text = completions(shared(), with(more.clone(), json!({"prompt": "Tea is a drink"}))).await;
    for prompt in [json!(ids), json!([ids])] {
        let tokens = completions(shared(), with(more.clone(), json!({"prompt": prompt}))).await;
        assert_eq!((&tokens["choices"], &tokens["usage"]), (&text["choices"], &text["usage"]));
    }
    let backwards: Vec<Value> = ids.iter().rev().cloned().collect();
    let both = completions(shared(), json!({"prompt": [ids, backwards], "max_tokens": 1, "echo": true})).await;
    assert!(texts(&both)[0].starts_with("Tea is a drink") && !texts(&both)[1].starts_with("Tea"));
}
