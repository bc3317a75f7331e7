use super::fake::{Client, Harness, completion};
use crate::generate::GenerateError;
use crate::generate::events::{Done, Event};

fn opened(harness: &Harness) -> usize {
    harness.engine().log.iter().filter(|line| line.starts_with("open")).count()
}

fn done(client: &mut Client) -> Done {
    let ends: Vec<Done> = client
        .events()
        .iter()
        .filter_map(|event| match event {
            Ok(Event::Done(done)) => Some(done.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), 1, "one end for all choices");
    ends[0].clone()
}

#[test]
fn the_prompt_runs_once_and_the_choices_go_on_from_it() {
    let mut harness = Harness::new(4);
    let mut one = harness.queue(completion(70, 4).with_choices(3).with_echo(None).without_retrieval());
    harness.run();
    let log = harness.engine().log.clone();
    let prompt = ["open 0", "extend 0 64", "extend 0 6", "finish 0 Last", "finish 0 Last", "finish 0 Last"];
    assert_eq!(log[..9], [&prompt[..], &["fork 0 1", "fork 0 2", "step [0, 1, 2]"]].concat());
    assert_eq!(harness.engine().steps(), 3, "the first token of each comes from the prompt's logits: {log:?}");
    assert_eq!(harness.engine().open, 0);
    let done = done(&mut one);
    assert_eq!(done.choices.iter().map(|choice| choice.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens), (1, 12, 13));
    for choice in 0..3 {
        let texts = one.events().iter().filter(|event| matches!(event, Ok(Event::Token(token)) if token.choice == choice));
        assert_eq!(texts.count(), 5, "the prompt and four tokens of choice {choice}");
    }
}

#[test]
fn choices_wait_till_there_are_slots_for_all_and_nobody_overtakes() {
    let mut harness = Harness::new(3);
    let mut first = harness.queue(completion(4, 9).without_retrieval());
    let mut three = harness.queue(completion(4, 2).with_choices(3).without_retrieval());
    let mut last = harness.queue(completion(4, 1).without_retrieval());
    harness.run_until(|harness| harness.engine().steps() == 6);
    assert_eq!(opened(&harness), 1, "two free slots are too few for three choices, and the next waits behind them");
    harness.run_until(|harness| opened(harness) == 2);
    assert!(first.is_done());
    harness.run_until(|harness| opened(harness) == 3);
    assert!(three.is_done());
    harness.run();
    assert!(last.is_done());
}

#[test]
fn the_slots_of_choices_are_kept_while_their_prompt_is_read() {
    let mut harness = Harness::new(3);
    let mut three = harness.queue(completion(400, 5).with_choices(3).without_retrieval());
    let mut next = harness.queue(completion(4, 1).without_retrieval());
    harness.run_until(|harness| harness.engine().steps() == 1);
    assert_eq!((harness.engine().open, opened(&harness)), (3, 1));
    harness.run();
    assert!(three.is_done() && next.is_done());
}

#[test]
fn who_leaves_frees_the_slots_of_all_choices() {
    let mut harness = Harness::new(3);
    let decoding = harness.queue(completion(4, 100).with_choices(3).without_retrieval());
    harness.run_until(|harness| harness.engine().steps() == 3);
    assert_eq!(harness.engine().open, 3);
    drop(decoding);
    harness.tick();
    assert_eq!((harness.engine().open, harness.engine().steps()), (0, 3));
    // Its prompt's neighbours were not there yet, and neither were its choices: the next has all slots.
    let parked = harness.queue(completion(4, 100).with_choices(3));
    let mut next = harness.queue(completion(4, 2).with_choices(3).without_retrieval());
    harness.run();
    assert_eq!(harness.engine().open, 1);
    drop(parked);
    harness.tick();
    harness.run();
    assert!(next.is_done());
    assert_eq!(harness.engine().open, 0);
}

#[test]
fn each_choice_looks_up_its_own_chunks_and_the_prompts_are_told_once() {
    let mut harness = Harness::new(2);
    let mut two = harness.queue(completion(64, 70).with_choices(2));
    harness.run();
    assert_eq!(harness.lookup().open(), [(0, vec![0])]);
    harness.answer(0);
    harness.run();
    assert_eq!(harness.lookup().batches[1..], [[[1], [1]]], "both in one batch");
    // One goes on while the other waits.
    harness.answer(1);
    harness.run();
    assert!(!two.is_done());
    assert_eq!(harness.engine().open, 1);
    harness.answer(0);
    harness.run();
    let told: Vec<(u32, u32)> = two
        .events()
        .iter()
        .filter_map(|event| match event {
            Ok(Event::Retrieval(chunk)) => Some((chunk.choice, chunk.chunk)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(0, 0), (1, 1), (0, 1)]);
    assert_eq!(done(&mut two).usage.completion_tokens, 140);
}

#[test]
fn a_failed_fork_ends_its_completion_alone() {
    let mut harness = Harness::new(4);
    let mut other = harness.queue(completion(4, 20).without_retrieval());
    harness.engine_mut().forks_left = Some(1);
    let mut fails = harness.queue(completion(4, 20).with_choices(3).without_retrieval());
    harness.run_until(|harness| harness.engine().log.iter().any(|line| line.starts_with("fork")));
    assert!(matches!(fails.events(), [Err(GenerateError::Model(_))]), "{:?}", fails.events());
    assert_eq!(harness.engine().open, 1);
    harness.run();
    assert!(other.is_done());
}
