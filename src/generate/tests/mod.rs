//! The scheduler step by step, with an engine and a look-up whose every answer the test decides.

mod choices;
mod echo;
mod fake;
mod on_error;
mod prefetch;
mod score;

use fake::{FakeLookup, Harness, completion};

use super::GenerateError;
use super::events::{Event, FinishReason};

#[test]
fn a_completion_runs_from_its_queue_to_its_end() {
    let mut harness = Harness::new(2);
    let mut one = harness.queue(completion(5, 3).without_retrieval());
    harness.tick();
    assert_eq!(harness.engine().log, ["open 0", "extend 0 5"]);
    harness.run();
    let events = one.events();
    assert!(matches!(events.last(), Some(Ok(Event::Done(done)))
        if done.choices[0].finish_reason == FinishReason::Length && done.usage.completion_tokens == 3));
    assert_eq!(harness.engine().open, 0);
}

#[test]
fn those_who_do_not_fit_wait_and_come_in_as_places_are_free() {
    let mut harness = Harness::new(2);
    let mut all: Vec<_> = [2, 9, 2].map(|tokens| harness.queue(completion(4, tokens).without_retrieval())).into();
    harness.tick();
    assert_eq!(harness.engine().open, 2);
    // The third comes in when the first is done, long before the second is.
    harness.run_until(|harness| harness.engine().log.iter().filter(|line| line.starts_with("open")).count() == 3);
    assert!(all[0].is_done());
    assert!(!all[1].is_done());
    harness.run();
    assert!(all.iter_mut().all(|one| one.is_done()));
}

#[test]
fn a_sequence_parks_at_a_chunk_boundary_and_the_others_go_on() {
    let mut harness = Harness::new(2);
    let mut parked = harness.queue(completion(5, 4));
    let mut other = harness.queue(completion(5, 4).without_retrieval());
    harness.run();
    assert!(other.is_done());
    assert!(!parked.is_done());
    assert_eq!(harness.lookup().open(), [(0, vec![0])]);
    harness.answer(0);
    harness.run();
    assert!(parked.is_done());
}

#[test]
fn who_waits_comes_in_though_the_others_are_parked() {
    let mut harness = Harness::new(2);
    let mut parked = harness.queue(completion(5, 4));
    let mut all = [2, 2].map(|tokens| harness.queue(completion(5, tokens).without_retrieval()));
    harness.run();
    assert!(all.iter_mut().all(|one| one.is_done()));
    assert!(!parked.is_done());
}

#[test]
fn sequences_that_park_together_are_looked_up_together() {
    let mut harness = Harness::new(3);
    let mut all = [16; 3].map(|interval| harness.queue(completion(64, 30).with_interval(interval)));
    harness.run();
    harness.answer_all();
    harness.run();
    assert_eq!(harness.lookup().batches.last().unwrap().len(), 3, "{:?}", harness.lookup().batches);
    while !all.iter_mut().all(|one| one.is_done()) {
        harness.answer_all();
        harness.run();
    }
}

#[test]
fn a_long_prompt_holds_others_up_for_one_slice_at_a_time() {
    let mut harness = Harness::new(2);
    let mut short = harness.queue(completion(3, 40).without_retrieval());
    harness.run_until(|harness| harness.engine().steps() == 2);
    harness.queue(completion(400, 1).without_retrieval());
    harness.run_until(|harness| harness.engine().steps() == 30);
    let log = harness.engine().log.clone();
    let steps: Vec<usize> = log.iter().enumerate().filter(|(_, line)| line.starts_with("step")).map(|(at, _)| at).collect();
    let most = steps.windows(2).map(|pair| pair[1] - pair[0] - 1).max().unwrap();
    // A slice; or the opening of a slot, and a slice.
    assert!(most <= 2, "{log:?}");
    assert!(log.iter().filter(|line| line.starts_with("extend 1")).all(|line| line.ends_with(" 64") || line.ends_with(" 16")));
    harness.run();
    assert!(short.is_done());
}

#[test]
fn prompts_that_come_together_are_read_together_and_so_are_their_neighbours() {
    let mut harness = Harness::new(10);
    let mut all: Vec<_> = (0..10).map(|_| harness.queue(completion(128, 1))).collect();
    let extended = |harness: &Harness| harness.engine().log.iter().filter(|line| line.starts_with("extend")).count();
    harness.tick();
    assert_eq!(extended(&harness), 8, "a slice of each of eight");
    harness.tick();
    assert_eq!(harness.lookup().batches.last().unwrap().len(), 8);
    harness.run();
    assert_eq!((extended(&harness), harness.lookup().batches.last().unwrap().len()), (20, 2));
    while !all.iter_mut().all(|one| one.is_done()) {
        harness.answer_all();
        harness.run();
    }
}

#[test]
fn who_leaves_frees_the_slot_at_the_next_tick() {
    let mut harness = Harness::new(1);
    let gone = harness.queue(completion(4, 100).without_retrieval());
    let mut next = harness.queue(completion(4, 1).without_retrieval());
    harness.run_until(|harness| harness.engine().steps() == 3);
    drop(gone);
    harness.tick();
    assert_eq!(harness.engine().steps(), 3);
    assert_eq!(harness.engine().log.iter().filter(|line| line.starts_with("open")).count(), 2);
    harness.run();
    assert!(next.is_done());
    // Parked or waiting, too.
    let parked = harness.queue(completion(4, 4));
    let waiting = harness.queue(completion(4, 4));
    harness.run();
    drop((parked, waiting));
    harness.tick();
    assert_eq!(harness.engine().open, 0);
    harness.answer_all();
    harness.run();
    assert_eq!(harness.engine().open, 0);
}

#[test]
fn a_failed_look_up_ends_its_sequence_alone() {
    let mut harness = Harness::new(2);
    let (mut fails, mut works) = (harness.queue(completion(4, 2)), harness.queue(completion(4, 2)));
    harness.run();
    harness.fail(0, GenerateError::Stopped);
    harness.answer(1);
    harness.run();
    assert!(matches!(fails.events().last(), Some(Err(GenerateError::Stopped))));
    assert!(works.is_done());
}

#[test]
fn a_failed_step_ends_those_that_were_in_it() {
    let mut harness = Harness::new(2);
    let mut running = harness.queue(completion(4, 50).without_retrieval());
    harness.run_until(|harness| harness.engine().steps() == 2);
    harness.engine_mut().fail_next_step = true;
    let mut later = harness.queue(completion(4, 2));
    harness.run();
    assert!(matches!(running.events().last(), Some(Err(GenerateError::Model(_)))));
    harness.answer_all();
    harness.run();
    assert!(later.is_done());
}

#[test]
fn a_stop_tells_those_who_run_park_and_wait() {
    let mut harness = Harness::new(2);
    let mut all = [completion(4, 50).without_retrieval(), completion(4, 50), completion(4, 50)].map(|one| harness.queue(one));
    harness.run_until(|harness| harness.engine().steps() == 2);
    harness.stop();
    for one in &mut all {
        assert!(matches!(one.events().last(), Some(Err(GenerateError::ShuttingDown))));
    }
}

#[test]
fn an_interval_refreshes_neighbours_more_often() {
    let mut harness = Harness::new(1);
    let mut one = harness.queue(completion(10, 40).with_interval(16));
    while !one.is_done() {
        harness.run();
        harness.answer_all();
    }
    let chunks: Vec<usize> = FakeLookup::chunks(&harness.lookup().batches);
    assert_eq!(chunks, [0, 1, 2], "at the prompt's end and 16 and 32 tokens later");
}
