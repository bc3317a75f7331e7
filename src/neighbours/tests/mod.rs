mod damage;
mod indexed;
mod options;
mod source;
mod steps;
mod versions;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::*;
use crate::names::{CollectionName, DocumentId};

fn identity() -> Identity {
    Identity {
        tokenizer: "a".repeat(64),
        embedder: "bert-1".to_owned(),
        dimension: 4,
        neighbour_length: 64,
        continuation_length: 64,
    }
}

pub(super) async fn database(folder: &tempfile::TempDir) -> Database {
    Database::open(folder.path().to_str().unwrap(), identity(), Memory { vectors: 1 << 20, ..Memory::default() }).await.unwrap()
}

pub(super) fn id(text: &str) -> DocumentId {
    DocumentId::parse("id", text).unwrap()
}

pub(super) fn collection() -> CollectionName {
    CollectionName::default()
}

pub(super) fn nearest(k: usize) -> SearchOptions {
    SearchOptions::new(collection(), k)
}

pub(super) fn entry(document: &str, index: u32, embedding: [f32; 4]) -> Entry {
    Entry {
        document_id: id(document),
        chunk_index: index,
        byte_start: u64::from(index) * 10,
        byte_end: u64::from(index) * 10 + 10,
        neighbour: format!("{document} {index}"),
        continuation: format!("{document} {}", index + 1),
        neighbour_tokens: vec![index, 7],
        continuation_tokens: vec![],
        title: "It's \"quoted\"; DROP TABLE x; --".to_owned(),
        source: "a'b".to_owned(),
        metadata: json!({"it's": ["\"", 1]}).to_string(),
        embedding: embedding.to_vec(),
    }
}

pub(super) fn document(name: &str, embeddings: &[[f32; 4]]) -> (DocumentId, Vec<Entry>) {
    let entries = embeddings.iter().zip(0..).map(|(embedding, index)| entry(name, index, *embedding));
    (id(name), entries.collect())
}

pub(super) fn places(neighbours: &[Neighbour]) -> Vec<(&str, u32)> {
    neighbours.iter().map(|found| (found.document_id.as_str(), found.chunk_index)).collect()
}

#[tokio::test]
async fn a_search_gives_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let documents = vec![document("a", &[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])];
    database.replace_documents(&collection(), documents, true).await.unwrap();
    let found = database.search(vec![vec![1.0, 0.0, 0.0, 0.0]], &nearest(1)).await.unwrap();
    assert_eq!(found.version, database.stats(&collection()).await.unwrap().version);
    let expected = entry("a", 0, [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(found.neighbours.len(), 1);
    assert_eq!(
        found.neighbours[0],
        vec![Neighbour {
            document_id: expected.document_id,
            chunk_index: 0,
            distance: 0.0,
            neighbour: expected.neighbour,
            continuation: expected.continuation,
            neighbour_tokens: expected.neighbour_tokens,
            continuation_tokens: expected.continuation_tokens,
            title: expected.title,
            source: expected.source,
            metadata: serde_json::from_str(&expected.metadata).unwrap(),
        }]
    );
}

#[tokio::test]
async fn queries_of_one_search_are_answered_apart_nearest_first() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let documents = vec![document("a", &[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])];
    database.replace_documents(&collection(), documents, true).await.unwrap();
    let queries = vec![vec![0.0, 0.9, 0.1, 0.0], vec![0.9, 0.0, 0.1, 0.0], vec![0.0, 0.1, 0.9, 0.0]];
    let found = database.search(queries, &nearest(2)).await.unwrap();
    let found: Vec<_> = found.neighbours.iter().map(|rows| places(rows)).collect();
    assert_eq!(found, [[("a", 1), ("a", 2)], [("a", 0), ("a", 2)], [("a", 2), ("a", 1)]]);
}

#[tokio::test]
async fn equally_near_chunks_come_in_the_order_of_their_ids_however_they_were_written() {
    let same = [0.5, 0.5, 0.5, 0.5];
    let names: Vec<String> = (0..60).map(|number| format!("d{number:02}")).collect();
    let mut orders = [names.clone(), names.clone()];
    orders[1].reverse();
    for order in orders {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder).await;
        for part in order.chunks(7) {
            let documents = part.iter().map(|name| document(name, &[same])).collect();
            database.replace_documents(&collection(), documents, true).await.unwrap();
        }
        for queries in [vec![same.to_vec()], vec![same.to_vec(), vec![1.0, 0.0, 0.0, 0.0]]] {
            let found = database.search(queries, &nearest(3)).await.unwrap();
            assert_eq!(places(&found.neighbours[0]), [("d00", 0), ("d01", 0), ("d02", 0)]);
        }
    }
}

#[tokio::test]
async fn max_distance_is_the_largest_that_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let documents = vec![document("a", &[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])];
    database.replace_documents(&collection(), documents, true).await.unwrap();
    let query = vec![vec![1.0, 0.0, 0.0, 0.0]];
    for (most, expected) in [(2.0, 2), (1.9, 1), (0.0, 1)] {
        let found = database.search(query.clone(), &SearchOptions { max_distance: Some(most), ..nearest(5) }).await.unwrap();
        assert_eq!(found.neighbours[0].len(), expected, "{most}");
    }
    let none = database.search(query, &nearest(0)).await.unwrap();
    assert_eq!(none.neighbours, [vec![]]);
}

#[tokio::test]
async fn a_collection_that_never_held_a_chunk_gives_no_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let found = database.search(vec![vec![0.0; 4]; 2], &nearest(2)).await.unwrap();
    assert_eq!(found, Found { version: 0, neighbours: vec![vec![], vec![]] });
    assert!(!database.exists(&collection()).await.unwrap());
    assert!(database.collections().await.unwrap().is_empty());
    database.delete_documents(&collection(), &[id("a")]).await.unwrap();
    assert!(database.document_chunks(&collection(), &id("a")).await.unwrap().is_empty());
}

#[tokio::test]
async fn vectors_that_cannot_be_compared_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let short = database.search(vec![vec![0.0; 3]], &nearest(2)).await;
    assert!(matches!(short, Err(DatabaseError::Dimension { found: 3, expected: 4 })));
    let documents = vec![document("a", &[[f32::NAN, 0.0, 0.0, 0.0]])];
    let nan = database.replace_documents(&collection(), documents, true).await;
    assert!(matches!(nan, Err(DatabaseError::NotFinite)));
}

#[tokio::test]
async fn another_identity_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let documents = vec![document("a", &[[1.0, 0.0, 0.0, 0.0]])];
    database(&folder).await.replace_documents(&collection(), documents, true).await.unwrap();
    let others = [
        Identity { tokenizer: "b".repeat(64), ..identity() },
        Identity { embedder: "bert-2".to_owned(), ..identity() },
        Identity { dimension: 8, ..identity() },
    ];
    for (other, what) in others.into_iter().zip(["tokenizer", "embedder", "dimension"]) {
        let error = Database::open(folder.path().to_str().unwrap(), other, Memory::default()).await.err().unwrap();
        let message = error.to_string();
        assert!(message.contains(what) && message.contains("retro reindex") && message.contains("data_dir"), "{message}");
    }
    database(&folder).await;
}

#[tokio::test]
async fn a_replaced_document_leaves_no_old_chunk_and_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let (x, y) = ([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]);
    let first = vec![document("a", &[x; 5]), document("b", &[x; 2]), document("c", &[x; 3])];
    database.replace_documents(&collection(), first, true).await.unwrap();
    let before = database.stats(&collection()).await.unwrap();
    let second = vec![document("a", &[y; 2]), document("c", &[]), document("d", &[y])];
    database.replace_documents(&collection(), second, false).await.unwrap();
    let after = database.stats(&collection()).await.unwrap();
    assert_eq!((before.chunks, after.chunks), (10, 5));
    assert_eq!(after.version, before.version + 1, "one commit, so that no reader sees a part of it");
    let found = database.search(vec![x.to_vec()], &nearest(10)).await.unwrap();
    assert_eq!(places(&found.neighbours[0]), [("b", 0), ("b", 1), ("a", 0), ("a", 1), ("d", 0)]);
    database.replace_documents(&collection(), vec![document("a", &[]), document("d", &[])], false).await.unwrap();
    assert_eq!(database.stats(&collection()).await.unwrap().chunks, 2);
}

#[tokio::test]
async fn a_deleted_document_is_not_found_by_another_handle() {
    let folder = tempfile::tempdir().unwrap();
    let (writer, reader) = (database(&folder).await, database(&folder).await);
    let x = [1.0, 0.0, 0.0, 0.0];
    writer.replace_documents(&collection(), vec![document("a", &[x; 20]), document("a.b", &[x])], true).await.unwrap();
    let chunks = reader.document_chunks(&collection(), &id("a")).await.unwrap();
    assert_eq!(chunks.iter().map(|chunk| chunk.chunk_index).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    assert_eq!(chunks[3].text, "a 3");
    assert_eq!(chunks[3].tokens, [3, 7]);
    assert_eq!((chunks[3].byte_start, chunks[3].byte_end), (30, 40));
    writer.delete_documents(&collection(), &[id("a")]).await.unwrap();
    let found = reader.search(vec![x.to_vec()], &nearest(5)).await.unwrap();
    assert_eq!(places(&found.neighbours[0]), [("a.b", 0)]);
}

#[tokio::test]
async fn readers_see_a_replacement_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let (x, y) = ([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]);
    database.replace_documents(&collection(), vec![document("a", &[x; 3])], true).await.unwrap();
    let writer = database.clone();
    let writing = tokio::spawn(async move {
        for round in 0..20 {
            let embeddings = if round % 2 == 0 { vec![y; 5] } else { vec![x; 3] };
            writer.replace_documents(&collection(), vec![document("a", &embeddings)], false).await.unwrap();
        }
    });
    while !writing.is_finished() {
        let found = database.search(vec![x.to_vec()], &nearest(16)).await.unwrap();
        let distances: Vec<f32> = found.neighbours[0].iter().map(|found| found.distance).collect();
        assert!(distances == [0.0; 3] || distances == [2.0; 5], "{distances:?}");
    }
    writing.await.unwrap();
}

#[tokio::test]
async fn housekeeping_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let x = [1.0, 0.0, 0.0, 0.0];
    for number in 0..105 {
        let documents = vec![document(&format!("d{number:03}"), &[x])];
        database.replace_documents(&collection(), documents, true).await.unwrap();
    }
    let before = database.search(vec![x.to_vec()], &nearest(16)).await.unwrap();
    database.maintain(&collection()).await;
    let after = database.search(vec![x.to_vec()], &nearest(16)).await.unwrap();
    assert!(after.version > before.version, "the fragments were put together");
    assert_eq!(before.neighbours, after.neighbours);
}

#[tokio::test]
async fn a_copy_gives_the_answers_of_its_original_and_leaves_it_as_it_was() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let original = database(&from).await;
    let (x, y) = ([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]);
    original.replace_documents(&collection(), vec![document("a", &[x; 3]), document("b", &[y; 2])], true).await.unwrap();
    original.replace_documents(&collection(), vec![document("a", &[y])], false).await.unwrap();
    let before = original.stats(&collection()).await.unwrap();
    let copy = database(&to).await;
    let into = CollectionName::parse("collection", "copy").unwrap();
    copy.copy_from(&original, &collection(), &into).await.unwrap();
    copy.replace_documents(&into, vec![document("c", &[x])], true).await.unwrap();
    assert_eq!(copy.documents(&into).await.unwrap(), [(id("a"), 1), (id("b"), 2), (id("c"), 1)].into());
    let found = copy.search(vec![y.to_vec()], &SearchOptions::new(into.clone(), 3)).await.unwrap();
    let expected = original.search(vec![y.to_vec()], &nearest(3)).await.unwrap();
    assert_eq!(found.neighbours, expected.neighbours);
    assert_eq!(original.stats(&collection()).await.unwrap(), before);

    let elsewhere = tempfile::tempdir().unwrap();
    let other = Identity { embedder: "bert-2".to_owned(), ..identity() };
    let other = Database::open(elsewhere.path().to_str().unwrap(), other, Memory::default()).await.unwrap();
    assert!(matches!(other.copy_from(&original, &collection(), &into).await, Err(DatabaseError::OtherIdentity { .. })));
}

#[tokio::test]
async fn a_database_that_is_only_read_is_not_begun() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("lance");
    let opened = Database::open_existing(nowhere.to_str().unwrap(), identity(), Memory::default()).await.unwrap();
    assert!(opened.is_none() && !nowhere.exists());
    assert!(Database::open_existing(folder.path().to_str().unwrap(), identity(), Memory::default()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_search_in_memory_gives_what_a_search_of_the_files_gives() {
    let folder = tempfile::tempdir().unwrap();
    let in_memory = database(&folder).await;
    let of_files = Database::open(folder.path().to_str().unwrap(), identity(), Memory::default()).await.unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(8);
    // More rows than a core looks through at a time.
    let many: Vec<[f32; 4]> = (0..5000).map(|_| std::array::from_fn(|_| random.random_range(0..9) as f32)).collect();
    in_memory.replace_documents(&collection(), vec![document("many", &many)], true).await.unwrap();
    for step in 0..60 {
        // Few values, so that many chunks are equally near.
        let mut vector = || std::array::from_fn(|_| random.random_range(0..3) as f32);
        let vectors: Vec<[f32; 4]> = (0..step % 7).map(|_| vector()).collect();
        let query = vector().to_vec();
        let name = format!("d{}", random.random_range(0..12));
        match step % 5 {
            0 => in_memory.delete_documents(&collection(), &[id(&name)]).await.unwrap(),
            1 if step % 3 == 0 => drop(in_memory.maintain(&collection()).await),
            _ => in_memory.replace_documents(&collection(), vec![document(&name, &vectors)], false).await.unwrap(),
        }
        let queries = vec![query.clone(), query, vec![0.5; 4]];
        for (k, max_distance, distinct) in [(1, None, false), (3, Some(2.0), true), (16, None, false)] {
            let options = SearchOptions { max_distance, distinct, ..SearchOptions::new(collection(), k) };
            let expected = of_files.search(queries.clone(), &options).await.unwrap();
            assert_eq!(in_memory.search(queries.clone(), &options).await.unwrap(), expected);
        }
    }
}
