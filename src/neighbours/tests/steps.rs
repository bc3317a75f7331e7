//! Random changes and searches against a model in memory: with the index absent, made once and left behind by what comes, and kept up to
//! date; and with the embeddings in memory.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{collection, id};
use crate::names::DocumentId;
use crate::neighbours::{Database, Effort, Entry, Identity, Memory, SearchOptions};

/// Small whole numbers, whose distances float32 holds exactly; many are equally far.
type Vector = [i8; 8];

#[derive(Clone, Debug)]
enum Step {
    Put { document: u8, chunks: Vec<Vector> },
    Delete { document: u8 },
    Search { query: Vector, neighbours: usize },
    KeepHouse,
    BuildIndex,
    ExtendIndex,
}

/// What serves the searches.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Serves {
    Memory,
    Files,
    /// It is made once; all that comes later is outside of it.
    HalfAnIndex,
    /// It is made anew and extended all the time.
    Index,
}

fn step(serves: Serves) -> impl Strategy<Value = Step> {
    let vector = || prop::array::uniform8(-3..=3i8);
    let upkeep = u32::from(serves == Serves::Index);
    prop_oneof![
        30 => (0..40u8, vec(vector(), 0..6)).prop_map(|(document, chunks)| Step::Put { document, chunks }),
        15 => (0..40u8).prop_map(|document| Step::Delete { document }),
        50 => (vector(), 1..6usize).prop_map(|(query, neighbours)| Step::Search { query, neighbours }),
        2 => Just(Step::KeepHouse),
        upkeep => Just(Step::BuildIndex),
        2 * upkeep => Just(Step::ExtendIndex),
    ]
}

/// Each chunk's text says which revision of the document it is of.
type Model = BTreeMap<u8, (usize, Vec<Vector>)>;

fn name(document: u8) -> DocumentId {
    id(&format!("document-{document:02}"))
}

fn text(document: u8, revision: usize, index: usize) -> String {
    format!("{document} {revision} {index}")
}

fn floats(vector: &Vector) -> Vec<f32> {
    vector.iter().map(|&number| f32::from(number)).collect()
}

fn entries(document: u8, revision: usize, chunks: &[Vector]) -> Vec<Entry> {
    let entry = |(index, vector): (usize, &Vector)| Entry {
        document_id: name(document),
        chunk_index: index as u32,
        byte_start: 0,
        byte_end: 1,
        neighbour: text(document, revision, index),
        continuation: String::new(),
        neighbour_tokens: vec![1],
        continuation_tokens: Vec::new(),
        title: String::new(),
        source: String::new(),
        metadata: "{}".to_owned(),
        embedding: floats(vector),
    };
    chunks.iter().enumerate().map(entry).collect()
}

/// Texts and distances of the nearest chunks: by distance, document and index.
fn nearest(model: &Model, query: &Vector, neighbours: usize) -> Vec<(String, f32)> {
    let distance = |vector: &Vector| vector.iter().zip(query).map(|(a, b)| f32::from(a - b).powi(2)).sum::<f32>();
    let mut all: Vec<(f32, u8, usize, usize)> = model
        .iter()
        .flat_map(|(&document, (revision, chunks))| {
            chunks.iter().enumerate().map(move |(index, vector)| (distance(vector), document, index, *revision))
        })
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    all.into_iter()
        .take(neighbours)
        .map(|(distance, document, index, revision)| (text(document, revision, index), distance))
        .collect()
}

async fn put(database: &Database, model: &mut Model, document: u8, chunks: Vec<Vector>, revision: usize) {
    let entries = entries(document, revision, &chunks);
    database.replace_documents(&collection(), vec![(name(document), entries)], false).await.unwrap();
    model.insert(document, (revision, chunks));
}

/// The first difference between the database and the model.
async fn difference(serves: Serves, steps: &[Step]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity {
        tokenizer: "a".repeat(64),
        embedder: "bert-1".to_owned(),
        dimension: 8,
        neighbour_length: 64,
        continuation_length: 64,
    };
    let vectors = if serves == Serves::Memory { 1 << 20 } else { 0 };
    let database =
        Database::open(folder.path().to_str().unwrap(), identity, Memory { vectors, ..Memory::default() }).await.unwrap();
    let mut model = Model::new();
    // An index needs some chunks to learn from.
    for document in 0..40 {
        let chunks =
            (0..8).map(|index| std::array::from_fn(|at| ((usize::from(document) * 31 + index * 7 + at * 3) % 7) as i8 - 3));
        put(&database, &mut model, document, chunks.collect(), 0).await;
    }
    if matches!(serves, Serves::HalfAnIndex | Serves::Index) {
        database.build_index(&collection()).await.unwrap();
        let stats = database.index_stats(&collection()).await.unwrap().unwrap();
        assert_eq!((stats.indexed, stats.unindexed), (320, 0));
    }
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Put { document, chunks } => put(&database, &mut model, *document, chunks.clone(), number + 1).await,
            Step::Delete { document } => {
                database.delete_documents(&collection(), &[name(*document)]).await.unwrap();
                model.remove(document);
            }
            Step::Search { query, neighbours } => {
                // As far as it can go: what an index may miss is not the subject.
                let effort = Effort { nprobes: Some(Effort::MAX_NPROBES), refine: Some(Effort::MAX_REFINE), exact: None };
                let options = SearchOptions { effort, ..SearchOptions::new(collection(), *neighbours) };
                let found = database.search(vec![floats(query)], &options).await.unwrap().neighbours.remove(0);
                let found: Vec<_> = found.into_iter().map(|found| (found.neighbour, found.distance)).collect();
                let expected = nearest(&model, query, *neighbours);
                if found != expected {
                    return Err(format!("{serves:?}, step {number}: {found:?} in place of {expected:?}"));
                }
            }
            Step::KeepHouse => drop(database.maintain(&collection()).await),
            Step::BuildIndex => {
                if model.values().any(|(_, chunks)| !chunks.is_empty()) {
                    database.build_index(&collection()).await.unwrap();
                }
            }
            Step::ExtendIndex => database.extend_index(&collection()).await.unwrap(),
        }
    }
    let chunks: usize = model.values().map(|(_, chunks)| chunks.len()).sum();
    assert_eq!(database.stats(&collection()).await.unwrap().chunks, chunks as u64);
    Ok(())
}

fn check(serves: Serves) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let config = Config { cases: 1, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let result =
        TestRunner::new_with_rng(config.clone(), proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm)).run(
            // A step that may be none can be left out, when it comes to what a failure needs.
            &vec(weighted(0.99, step(serves)), 1012),
            |steps| {
                let steps: Vec<Step> = steps.into_iter().flatten().collect();
                runtime.block_on(difference(serves, &steps)).map_err(TestCaseError::fail)
            },
        );
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn a_thousand_steps_in_memory() {
    check(Serves::Memory);
}

#[test]
fn a_thousand_steps_without_an_index() {
    check(Serves::Files);
}

#[test]
fn a_thousand_steps_with_an_index_of_what_was_there_first() {
    check(Serves::HalfAnIndex);
}

#[test]
fn a_thousand_steps_with_an_index_that_is_kept_up_to_date() {
    check(Serves::Index);
}
