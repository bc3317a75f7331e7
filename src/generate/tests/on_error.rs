use std::sync::Arc;

use super::fake::{Client, Harness, completion};
use crate::embedder::EmbedderError;
use crate::generate::events::{ChunkRetrieval, Event, FailedStage, RetrievalSummary};
use crate::generate::request::OnError;
use crate::generate::{GenerateError, RetrievalError};
use crate::metrics;
use crate::neighbours::DatabaseError;

fn search_failed() -> GenerateError {
    GenerateError::Retrieval(RetrievalError::Database(Arc::new(DatabaseError::NotFinite)))
}

fn told(client: &mut Client) -> Vec<ChunkRetrieval> {
    let chunk = |event: &Result<Event, _>| match event {
        Ok(Event::Retrieval(chunk)) => Some(chunk.clone()),
        _ => None,
    };
    client.events().iter().filter_map(chunk).collect()
}

/// Choice and chunk of what is told, and whether it failed.
fn failures(client: &mut Client) -> Vec<(u32, u32, bool)> {
    told(client).iter().map(|chunk| (chunk.choice, chunk.chunk, chunk.error.is_some())).collect()
}

fn summary(client: &mut Client) -> RetrievalSummary {
    match client.events().last() {
        Some(Ok(Event::Done(done))) => done.retrieval,
        other => panic!("not done: {other:?}"),
    }
}

#[test]
fn whichever_look_up_fails_the_completion_goes_on_where_it_was_asked_to() {
    for fails in 0..3 {
        let mut harness = Harness::new(1);
        let mut one = harness.queue(completion(10, 40).with_interval(16).on_error(OnError::Continue));
        for number in 0..3 {
            harness.run();
            if number == fails { harness.fail(0, search_failed()) } else { harness.answer(0) }
        }
        harness.run();
        let expected: Vec<_> = (0..3).map(|number| (0, number, number == fails)).collect();
        assert_eq!(failures(&mut one), expected);
        let attended: Vec<_> = harness.attended(0).iter().map(|(_, neighbours)| neighbours.is_none()).collect();
        assert_eq!(attended, expected.iter().map(|(.., failed)| *failed).collect::<Vec<_>>(), "it has none of another chunk's");
        let failed = &told(&mut one)[fails as usize];
        assert_eq!((failed.text.as_str(), failed.neighbours.len()), (format!("chunk {fails}").as_str(), 0));
        assert_eq!((summary(&mut one).failed, summary(&mut one).database_version), (1, 1));
    }
}

#[test]
fn each_stage_that_fails_has_its_name() {
    for (error, code) in [
        (search_failed(), FailedStage::SearchFailed),
        (GenerateError::Retrieval(RetrievalError::Embedder(EmbedderError::Stopped)), FailedStage::EmbedderFailed),
        (GenerateError::Model("out of memory at 0x7f".to_owned()), FailedStage::EncoderFailed),
    ] {
        let mut harness = Harness::new(2);
        let mut goes_on = harness.queue(completion(10, 4).on_error(OnError::Continue));
        let mut ends = [completion(10, 4), completion(10, 4).on_error(OnError::Fail)].map(|one| harness.queue(one));
        harness.run();
        harness.fail(0, error.clone());
        harness.fail(1, error.clone());
        harness.run();
        harness.fail(2, error.clone());
        harness.run();
        let told = told(&mut goes_on)[0].error.expect("it failed");
        assert_eq!(told.code, code);
        assert!(!told.message.contains("0x7f"), "no inside shows");
        assert!(goes_on.is_done());
        for one in &mut ends {
            assert!(matches!(one.events(), [Err(_)]), "{:?}", one.events());
        }
    }
}

#[test]
fn a_server_at_its_end_ends_those_that_go_on_too() {
    for error in [GenerateError::Stopped, GenerateError::ShuttingDown] {
        let mut harness = Harness::new(1);
        let mut one = harness.queue(completion(10, 4).on_error(OnError::Continue));
        harness.run();
        harness.fail(0, error);
        assert!(matches!(one.events(), [Err(_)]));
    }
}

#[test]
fn with_prefetch_the_old_neighbours_are_read_on_and_the_next_boundary_asks_again() {
    let mut harness = Harness::new(1);
    let mut one = harness.queue(completion(10, 60).with_interval(16).with_prefetch().on_error(OnError::Continue));
    harness.run();
    harness.answer(0);
    harness.run_until(|harness| harness.lookup().open().len() == 1);
    harness.fail(0, search_failed());
    assert_eq!(failures(&mut one)[1..], [(0, 1, true)], "it is told at once");
    harness.run_until(|harness| harness.engine().steps() == 15);
    assert!(harness.lookup().open().is_empty(), "nothing is asked again for the same boundary");
    harness.run_until(|harness| harness.lookup().open().len() == 1);
    assert_eq!(harness.attended(0), [(0, Some(0)), (1, Some(0))]);
    harness.answer(0);
    harness.run();
    assert_eq!(failures(&mut one)[2..], [(0, 2, false)]);
    assert_eq!(harness.attended(0)[2..], [(2, Some(1)), (3, Some(1))]);
    let summary = summary(&mut one);
    assert_eq!((summary.failed, summary.late), (1, 2));
}

#[test]
fn a_prompt_that_fails_with_prefetch_leaves_none_to_read_on() {
    let mut harness = Harness::new(1);
    let mut one = harness.queue(completion(10, 20).with_interval(16).with_prefetch().on_error(OnError::Continue));
    harness.run();
    harness.fail(0, search_failed());
    harness.run();
    assert_eq!(harness.attended(0), [(0, None), (1, None)]);
    assert_eq!(summary(&mut one).failed, 1);
}

#[test]
fn what_fails_at_the_prompt_counts_once_for_all_choices() {
    let mut harness = Harness::new(2);
    let mut two = harness.queue(completion(10, 20).with_interval(16).with_choices(2).on_error(OnError::Continue));
    harness.run();
    harness.fail(0, search_failed());
    harness.run();
    harness.answer(0);
    harness.fail(1, search_failed());
    harness.run();
    let mut told = failures(&mut two);
    told.sort_unstable();
    assert_eq!(told, [(0, 0, true), (0, 1, false), (1, 1, true)]);
    assert_eq!(summary(&mut two).failed, 2);
}

#[test]
fn each_choice_that_went_on_is_counted() {
    let before = metrics::get().retrieval_continued.get();
    let mut harness = Harness::new(1);
    let mut one = harness.queue(completion(130, 1).on_error(OnError::Continue));
    harness.run();
    harness.fail(0, search_failed());
    harness.run();
    assert_eq!(summary(&mut one).failed, 3, "each chunk of the prompt");
    // Other tests count at the same time.
    assert!(metrics::get().retrieval_continued.get() > before);
}

#[test]
fn a_score_never_goes_on() {
    let mut harness = Harness::new(1);
    let mut score = harness.score(100, 1, true);
    harness.run();
    harness.fail(0, search_failed());
    assert!(matches!(score.try_recv().unwrap(), Err(GenerateError::Retrieval(_))));
}
