use super::fake::Harness;
use crate::generate::GenerateError;

#[test]
fn the_tokens_after_the_given_ones_are_scored() {
    let mut harness = Harness::new(2);
    let (mut with, mut without) = (harness.score(200, 10, true), harness.score(200, 10, false));
    harness.run();
    assert_eq!(harness.lookup().open(), [(0, vec![0, 1, 2])]);
    let without = without.try_recv().expect("it waits for nobody").unwrap();
    assert!(with.try_recv().is_err());
    harness.answer(0);
    harness.run();
    let with = with.try_recv().expect("it is done").unwrap();
    assert_eq!((with.log_probs.len(), without.log_probs.len()), (190, 190));
    assert_eq!((with.database_version, without.database_version), (1, 0));
    assert_eq!(with.chunks.iter().map(|chunk| chunk.chunk).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(without.chunks.is_empty());
    assert_eq!(harness.engine().open, 0);
}

#[test]
fn a_text_of_one_scored_token_has_one() {
    let mut harness = Harness::new(1);
    for (tokens, given) in [(2, 1), (64, 63), (65, 64), (66, 65)] {
        let mut answer = harness.score(tokens, given, false);
        harness.run();
        assert_eq!(answer.try_recv().unwrap().unwrap().log_probs.len(), 1, "{tokens} tokens, {given} given");
    }
}

#[test]
fn who_leaves_frees_the_slots_of_a_score() {
    let mut harness = Harness::new(1);
    let parked = harness.score(100, 1, true);
    let waiting = harness.score(100, 1, false);
    harness.run();
    assert_eq!(harness.engine().open, 1);
    drop((parked, waiting));
    harness.tick();
    assert_eq!(harness.engine().open, 0);
    harness.answer_all();
    harness.run();
    assert_eq!(harness.engine().open, 0);
}

#[test]
fn a_score_hears_why_it_failed() {
    let mut harness = Harness::new(1);
    let (mut fails, mut stopped) = (harness.score(100, 1, true), harness.score(100, 1, true));
    harness.run();
    harness.fail(0, GenerateError::Stopped);
    harness.run();
    harness.stop();
    assert!(matches!(fails.try_recv().unwrap(), Err(GenerateError::Stopped)));
    assert!(matches!(stopped.try_recv().unwrap(), Err(GenerateError::ShuttingDown)));
}
