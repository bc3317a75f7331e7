use super::fake::{Client, Harness, completion};
use crate::generate::events::{Event, TokenEvent};

fn tokens(client: &mut Client) -> Vec<TokenEvent> {
    let token = |event: &Result<Event, _>| match event {
        Ok(Event::Token(token)) => Some(token.clone()),
        _ => None,
    };
    client.events().iter().filter_map(token).collect()
}

#[test]
fn an_echo_without_log_probabilities_costs_no_logits() {
    let mut harness = Harness::new(1);
    let mut one = harness.queue(completion(130, 3).with_echo(None).without_retrieval());
    harness.run();
    assert!(one.is_done());
    let tokens = tokens(&mut one);
    assert_eq!((tokens.len(), tokens[0].text.as_str()), (4, "a"), "the prompt, then the completion");
    assert!(tokens.iter().all(|token| token.logprobs.is_none()));
    assert!(harness.engine().log.iter().all(|line| !line.ends_with("All")), "{:?}", harness.engine().log);
}

#[test]
fn the_prompts_log_probabilities_come_from_its_prefill() {
    let mut harness = Harness::new(1);
    let mut one = harness.queue(completion(130, 70).with_echo(Some(2)));
    while !one.is_done() {
        harness.run();
        harness.answer_all();
    }
    let tokens = tokens(&mut one);
    assert_eq!(tokens.iter().map(|token| token.text.as_str()).next(), Some("a"));
    assert!(tokens[1..130].iter().all(|token| token.text.is_empty()));
    let log_probs: Vec<_> = tokens.iter().map(|token| token.logprobs.clone().expect("asked for")).collect();
    assert_eq!(log_probs.len(), 200);
    assert!(log_probs[0].log_prob.is_none() && log_probs[0].top.is_empty());
    assert!(log_probs[1..].iter().all(|one| one.token_id == 300 && one.log_prob == log_probs[1].log_prob && one.top.len() == 2));
    let log = harness.engine().log.clone();
    assert_eq!(log.iter().filter(|line| line.starts_with("extend")).count(), 3, "the prompt runs once: {log:?}");
    let (prompt, boundary) =
        (log.iter().filter(|line| *line == "finish 0 All"), log.iter().filter(|line| *line == "finish 0 Last"));
    assert_eq!((prompt.count(), boundary.count()), (4, 1), "{log:?}");
}
