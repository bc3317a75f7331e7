//! Searches that an index serves.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{collection, entry, id, identity, nearest};
use crate::neighbours::collection::dataset;
use crate::neighbours::index::{Coverage, coverage};
use crate::neighbours::{Database, Effort, Entry, Identity, Memory, SearchOptions, Warmed};

const WIDTH: usize = 32;

async fn open(folder: &tempfile::TempDir, memory: Memory) -> Database {
    Database::open(folder.path().to_str().unwrap(), Identity { dimension: WIDTH, ..identity() }, memory).await.unwrap()
}

fn vector(random: &mut ChaCha8Rng) -> Vec<f32> {
    (0..WIDTH).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// A document of `chunks` chunks, of which each second one has the text and the embedding of the one before.
fn entries(document: &str, chunks: u32, random: &mut ChaCha8Rng) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for index in 0..chunks {
        let entry = entry(document, index, [0.0; 4]);
        entries.push(match entries.last() {
            Some(last) if index % 2 == 1 => {
                Entry { embedding: last.embedding.clone(), neighbour: last.neighbour.clone(), ..entry }
            }
            _ => Entry { embedding: vector(random), ..entry },
        });
    }
    entries
}

async fn put(database: &Database, document: &str, chunks: u32, random: &mut ChaCha8Rng) {
    let document = (id(document), entries(document, chunks, random));
    database.replace_documents(&collection(), vec![document], true).await.unwrap();
}

async fn covered(database: &Database) -> Coverage {
    let snapshot = database.snapshot(&collection()).await.unwrap().unwrap();
    coverage(&dataset(&collection(), &snapshot).await.unwrap()).await.unwrap()
}

/// An index all of whose clusters are looked through, and whose candidates are many, finds what an exact search finds.
async fn assert_finds_all(database: &Database, random: &mut ChaCha8Rng) {
    let all = Effort { exact: Some(false), nprobes: Some(Effort::MAX_NPROBES), refine: Some(64) };
    let queries: Vec<_> = (0..8).map(|_| vector(random)).collect();
    for distinct in [true, false] {
        let options = SearchOptions { distinct, effort: Effort::exact(), ..nearest(5) };
        let exact = database.search(queries.clone(), &options).await.unwrap();
        let indexed = database.search(queries.clone(), &SearchOptions { effort: all, ..options }).await.unwrap();
        assert!(exact.neighbours.iter().all(|neighbours| neighbours.len() == 5));
        assert_eq!(exact, indexed, "distances bit for bit, and the order of equal ones");
    }
}

#[tokio::test]
async fn an_index_finds_what_an_exact_search_finds_whether_it_covers_all_or_some() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder, Memory::default()).await;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    put(&database, "first", 600, &mut random).await;
    assert_eq!(covered(&database).await, Coverage::Nothing);
    database.build_index(&collection()).await.unwrap();
    assert_eq!(covered(&database).await, Coverage::All);
    assert_finds_all(&database, &mut random).await;
    put(&database, "second", 40, &mut random).await;
    assert_eq!(covered(&database).await, Coverage::Some);
    assert_finds_all(&database, &mut random).await;
    database.extend_index(&collection()).await.unwrap();
    assert_eq!(covered(&database).await, Coverage::All);
    assert_finds_all(&database, &mut random).await;
    put(&database, "first", 10, &mut random).await;
    assert_finds_all(&database, &mut random).await;
}

#[tokio::test]
async fn indices_are_read_beforehand_where_they_fit_the_memory_for_them_and_embeddings_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory { vectors: 0, indices: 64 << 20 };
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let database = open(&folder, memory).await;
    assert_eq!(database.warm(&mut Warmed::default()).await.unwrap(), 0, "there is nothing");
    put(&database, "first", 600, &mut random).await;
    assert_eq!(database.warm(&mut Warmed::default()).await.unwrap(), 0, "there is no index");
    database.build_index(&collection()).await.unwrap();
    let mut warmed = Warmed::default();
    let bytes = database.warm(&mut warmed).await.unwrap();
    assert!(bytes > 0);
    assert_eq!(database.warm(&mut warmed).await.unwrap(), 0, "the index is the same");
    put(&database, "second", 40, &mut random).await;
    database.extend_index(&collection()).await.unwrap();
    assert!(database.warm(&mut warmed).await.unwrap() > 0, "it has another part");
    let bytes = database.warm(&mut Warmed::default()).await.unwrap();
    for (indices, read) in [(bytes, bytes), (bytes - 1, 0)] {
        assert_eq!(open(&folder, Memory { indices, ..memory }).await.warm(&mut Warmed::default()).await.unwrap(), read);
    }
    let fits = open(&folder, Memory { vectors: 1 << 20, ..memory }).await;
    assert_eq!(fits.warm(&mut Warmed::default()).await.unwrap(), 0, "it is searched in memory");
}
