use super::fake::{Client, Harness, completion};
use crate::generate::GenerateError;
use crate::generate::events::{Event, RetrievalSummary};
use crate::onnx::Cores;

/// Choice, chunk and staleness of what was announced.
fn told(client: &mut Client) -> Vec<(u32, u32, usize)> {
    let chunks = client.events().iter().filter_map(|event| match event {
        Ok(Event::Retrieval(chunk)) => Some((chunk.choice, chunk.chunk, chunk.stale_tokens)),
        _ => None,
    });
    chunks.collect()
}

fn summary(client: &mut Client) -> RetrievalSummary {
    match client.events().last() {
        Some(Ok(Event::Done(done))) => done.retrieval,
        other => panic!("not done: {other:?}"),
    }
}

/// Runs until the model has made so many steps, in which each sequence has grown by as many tokens.
fn run_to(harness: &mut Harness, steps: usize) {
    harness.run_until(|harness| harness.engine().steps() == steps);
    assert_eq!(harness.engine().steps(), steps);
}

/// A sequence that has its prompt of 10 tokens, with boundaries at 26, 42, 58 and 74 tokens.
fn prompted(harness: &mut Harness, max_tokens: usize) -> Client {
    let client = harness.queue(completion(10, max_tokens).with_interval(16).with_prefetch());
    harness.run();
    assert_eq!(harness.lookup().open(), [(0, vec![0])], "the prompt waits");
    harness.answer(0);
    client
}

#[test]
fn a_sequence_goes_on_with_the_neighbours_it_has() {
    let mut harness = Harness::new(1);
    let mut one = prompted(&mut harness, 60);
    harness.run();
    assert!(one.is_done(), "it waits for nothing");
    assert_eq!(harness.attended(0), [(0, Some(0)), (1, Some(0)), (2, Some(0)), (3, Some(0))]);
    assert_eq!(told(&mut one), [(0, 0, 0)]);
    let summary = summary(&mut one);
    assert_eq!((summary.prefetch, summary.late), (true, 3));
    // What comes after the end is nobody's.
    harness.answer(0);
    harness.run();
    assert_eq!(harness.engine().open, 0);
}

#[test]
fn an_answer_in_time_is_attended_from_the_boundary_on() {
    let mut harness = Harness::new(1);
    let mut one = prompted(&mut harness, 33);
    run_to(&mut harness, 4);
    assert_eq!(harness.lookup().queries, [(10, 10), (10, 10)], "the same tokens again");
    assert_eq!(harness.lookup().cores, [Cores::All, Cores::AllButOne], "one core is left to the steps, where there are any");
    harness.answer(0);
    run_to(&mut harness, 15);
    assert_eq!(told(&mut one).len(), 1);
    run_to(&mut harness, 16);
    assert_eq!(told(&mut one)[1..], [(0, 1, 16)]);
    assert_eq!(harness.attended(0)[1..], [(1, Some(1))]);
    // The look-up took 4 tokens, so the next begins 10 before the boundary.
    run_to(&mut harness, 22);
    assert_eq!(harness.lookup().queries[2..], [(32, 32)]);
    harness.answer(0);
    harness.run();
    assert_eq!(told(&mut one)[2..], [(0, 2, 10)]);
    assert_eq!(harness.attended(0)[2..], [(2, Some(2))]);
    assert_eq!(summary(&mut one).late, 0);
    assert_eq!(summary(&mut one).database_version, 1);
    assert!(harness.lookup().open().is_empty(), "no token would attend a third");
}

#[test]
fn a_late_answer_is_attended_from_the_next_boundary_on() {
    let mut harness = Harness::new(1);
    let mut one = prompted(&mut harness, 65);
    run_to(&mut harness, 16);
    harness.answer(0);
    run_to(&mut harness, 31);
    assert_eq!(told(&mut one).len(), 1);
    run_to(&mut harness, 32);
    assert_eq!(told(&mut one)[1..], [(0, 2, 32)]);
    assert_eq!(harness.attended(0), [(0, Some(0)), (1, Some(0)), (2, Some(1))]);
    // The next began before that, for the boundary after it.
    assert_eq!(harness.lookup().queries[2..], [(27, 27)]);
    assert_eq!(harness.lookup().batches[2..], [[[3]]]);
    harness.answer(0);
    harness.run();
    assert_eq!(told(&mut one)[2..], [(0, 3, 31)]);
    assert_eq!(harness.attended(0)[3..], [(3, Some(2)), (4, Some(2))]);
    assert_eq!(summary(&mut one).late, 2);
}

#[test]
fn no_query_has_more_than_64_tokens() {
    let mut harness = Harness::new(1);
    let _client = harness.queue(completion(130, 20).with_interval(16).with_prefetch());
    harness.run();
    harness.answer(0);
    run_to(&mut harness, 1);
    assert_eq!(harness.lookup().queries.last(), Some(&(64, 130)));
}

#[test]
fn who_leaves_while_a_look_up_is_under_way_frees_the_slot() {
    let mut harness = Harness::new(1);
    let gone = prompted(&mut harness, 60);
    run_to(&mut harness, 5);
    drop(gone);
    harness.tick();
    assert_eq!(harness.engine().open, 0);
    let mut next = harness.queue(completion(4, 2).without_retrieval());
    harness.answer(0);
    harness.run();
    assert!(next.is_done());
}

#[test]
fn a_failed_look_up_ends_its_sequence_alone() {
    let mut harness = Harness::new(2);
    let mut fails = prompted(&mut harness, 60);
    let mut works = harness.queue(completion(10, 40).without_retrieval());
    run_to(&mut harness, 5);
    harness.fail(0, GenerateError::Stopped);
    assert!(matches!(fails.events().last(), Some(Err(GenerateError::Stopped))));
    assert_eq!(harness.engine().open, 1);
    harness.run();
    assert!(works.is_done());
}

#[test]
fn a_stop_ends_who_has_a_look_up_under_way() {
    let mut harness = Harness::new(1);
    let mut one = prompted(&mut harness, 60);
    run_to(&mut harness, 5);
    harness.stop();
    assert!(matches!(one.events().last(), Some(Err(GenerateError::ShuttingDown))));
}

#[test]
fn sequences_have_their_own_look_ups_and_one_may_wait() {
    let mut harness = Harness::new(3);
    let wanted = || completion(10, 40).with_interval(16);
    let mut early = [wanted(), wanted()].map(|one| harness.queue(one.with_prefetch()));
    let mut waits = harness.queue(wanted());
    harness.run();
    harness.answer_all();
    harness.run_until(|harness| harness.lookup().batches.len() > 1);
    assert_eq!(harness.lookup().open(), [(0, vec![1]), (1, vec![1])]);
    harness.answer(1);
    harness.run();
    assert!(early.iter_mut().all(|one| one.is_done()));
    assert!(!waits.is_done());
    let [first, second] = &mut early;
    assert_eq!((summary(first).late, summary(second).late), (2, 1));
    assert_eq!(told(second)[1], (0, 1, 16));
    harness.answer(2);
    harness.run();
    harness.answer(2);
    harness.run();
    assert_eq!(told(&mut waits), [(0, 0, 0), (0, 1, 0), (0, 2, 0)]);
    assert_eq!((summary(&mut waits).prefetch, summary(&mut waits).late), (false, 0));
}

#[test]
fn choices_have_their_own_look_ups() {
    let mut harness = Harness::new(2);
    let mut two = harness.queue(completion(10, 40).with_interval(16).with_prefetch().with_choices(2));
    harness.run();
    harness.answer(0);
    run_to(&mut harness, 3);
    assert_eq!(harness.lookup().batches[1..], [[[1], [1]]]);
    harness.answer(1);
    harness.run();
    assert_eq!(told(&mut two), [(0, 0, 0), (1, 1, 16)]);
    assert_eq!(harness.attended(0), [(0, Some(0)), (1, Some(0)), (2, Some(0))]);
    assert_eq!(harness.attended(1), [(1, Some(1)), (2, Some(1))]);
    assert_eq!(summary(&mut two).late, 3, "two of one and one of the other");
}
