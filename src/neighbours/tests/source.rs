use super::*;

const X: [f32; 4] = [1.0, 0.0, 0.0, 0.0];
const Y: [f32; 4] = [0.0, 1.0, 0.0, 0.0];

/// A document whose chunks make up a text.
fn tiled(name: &str, chunks: &[&str]) -> (DocumentId, Vec<Entry>) {
    let mut at = 0;
    let entry = |(chunk, index): (&&str, u32)| {
        let start = at;
        at += chunk.len() as u64;
        Entry { neighbour: (*chunk).to_owned(), byte_start: start, byte_end: at, ..entry(name, index, X) }
    };
    (id(name), chunks.iter().zip(0..).map(entry).collect())
}

async fn source(folder: &tempfile::TempDir) -> Source {
    Source::open(folder.path().to_str().unwrap(), &collection()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_source_gives_documents_chunk_after_chunk_whoever_made_them() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Source::open(folder.path().join("nowhere").to_str().unwrap(), &collection()).await.unwrap().is_none());
    assert!(!folder.path().join("nowhere").exists());
    let database = database(&folder).await;
    let documents = vec![tiled("b", &["one ", "two ", "three"]), tiled("a", &["four"])];
    database.replace_documents(&collection(), documents, true).await.unwrap();
    // Rows of a merge may lie in any order.
    let documents = vec![tiled("c", &["five ", "six ", "seven ", "eight"]), tiled("b", &["one ", "two"])];
    database.replace_documents(&collection(), documents, false).await.unwrap();
    let source = source(&folder).await;
    assert_eq!(*source.identity(), identity());
    let documents = source.documents().await.unwrap();
    let mut texts = source.texts(&documents).await.unwrap();
    texts.sort_by(|a, b| a.id.cmp(&b.id));
    let found: Vec<_> = texts.iter().map(|text| (text.id.as_str(), text.text.as_str())).collect();
    assert_eq!(found, [("a", "four"), ("b", "one two"), ("c", "five six seven eight")]);
    assert_eq!(texts[0].metadata, entry("a", 0, X).metadata);
    let mut sizes = source.sizes().await.unwrap();
    sizes.sort_by(|a, b| a.id.cmp(&b.id));
    let sizes: Vec<_> = sizes.iter().map(|size| (size.id.as_str(), size.chunks, size.tokens)).collect();
    assert_eq!(sizes, [("a", 1, 2), ("b", 2, 4), ("c", 4, 8)]);
}

#[tokio::test]
async fn a_source_stays_as_it_was_and_fingerprints_tell_what_changed() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(&folder).await;
    let documents = vec![tiled("a", &["one ", "two"]), tiled("b", &["three"]), tiled("c", &["four"])];
    database.replace_documents(&collection(), documents, true).await.unwrap();
    let before = source(&folder).await;
    let fingerprints = before.fingerprints().await.unwrap();
    database.replace_documents(&collection(), vec![tiled("a", &["one ", "six"]), tiled("b", &["three"])], false).await.unwrap();
    database.delete_documents(&collection(), &[id("c")]).await.unwrap();
    database.maintain(&collection()).await;
    let after = source(&folder).await;
    assert!(after.version() > before.version());
    let texts = before.texts(&before.documents().await.unwrap()).await.unwrap();
    assert_eq!(texts.iter().map(|text| text.text.as_str()).collect::<Vec<_>>(), ["one two", "three", "four"]);
    let changed = after.fingerprints().await.unwrap();
    assert_ne!(fingerprints[&id("a")], changed[&id("a")]);
    assert_eq!(fingerprints[&id("b")], changed[&id("b")]);
    assert_eq!(changed.len(), 2);
}

#[tokio::test]
async fn chunks_that_make_up_no_text_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut broken = tiled("broken", &["one ", "two"]);
    broken.1.remove(0);
    database(&folder).await.replace_documents(&collection(), vec![broken], true).await.unwrap();
    let source = source(&folder).await;
    let error = source.texts(&source.documents().await.unwrap()).await.unwrap_err().to_string();
    assert!(error.contains("document broken"), "{error}");
}

#[tokio::test]
async fn a_collection_is_replaced_in_one_commit_with_another_identity() {
    let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let uri = folder.path().to_str().unwrap();
    let old = database(&folder).await;
    old.replace_documents(&collection(), vec![tiled("a", &["one ", "two"])], true).await.unwrap();
    let before = source(&folder).await;
    let wide = Identity { embedder: "bert-2".to_owned(), dimension: 6, ..identity() };
    let new = Database::open_scratch(scratch.path(), wide.clone()).await.unwrap();
    let (a, mut entries) = tiled("a", &["one two"]);
    entries[0].embedding = vec![0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    new.replace_documents(&collection(), vec![(a, entries)], true).await.unwrap();
    new.put_in_place(uri, &collection()).await.unwrap();

    let after = source(&folder).await;
    assert_eq!((after.version(), after.identity()), (before.version() + 1, &wide));
    // Who has begun to read goes on.
    let texts = before.texts(&before.documents().await.unwrap()).await.unwrap();
    assert_eq!(texts[0].text, "one two");
    // Who has the old identity hears of it, whatever it does.
    let made_anew = |error| matches!(error, DatabaseError::MadeAnew { what: "embedder", .. });
    assert!(made_anew(old.search(vec![X.to_vec()], &nearest(1)).await.unwrap_err()));
    assert!(made_anew(old.replace_documents(&collection(), vec![tiled("b", &["x"])], true).await.unwrap_err()));
    assert!(made_anew(old.replace_documents(&collection(), vec![tiled("b", &["x"])], false).await.unwrap_err()));
    assert!(made_anew(old.document_chunks(&collection(), &id("a")).await.unwrap_err()));
    assert_eq!(old.stats(&collection()).await.unwrap().chunks, 1);
    let reopened = Database::open(uri, identity(), Memory::default()).await.err().unwrap();
    assert!(matches!(reopened, DatabaseError::OtherIdentity { .. }));
    let fitting = Database::open(uri, wide, Memory { vectors: 1 << 20, ..Memory::default() }).await.unwrap();
    let found = fitting.search(vec![vec![0.0, 0.0, 0.0, 0.0, 0.0, 1.0]], &nearest(1)).await.unwrap();
    assert_eq!((places(&found.neighbours[0]), found.neighbours[0][0].distance), (vec![("a", 0)], 0.0));
    // A removal needs no embedder.
    old.delete_documents(&collection(), &[id("a")]).await.unwrap();
    assert_eq!(fitting.stats(&collection()).await.unwrap().chunks, 0);
}

#[tokio::test]
async fn an_empty_collection_is_replaced_too() {
    let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = database(&folder).await;
    old.replace_documents(&collection(), vec![tiled("a", &["one"])], true).await.unwrap();
    old.delete_documents(&collection(), &[id("a")]).await.unwrap();
    assert!(source(&folder).await.documents().await.unwrap().is_empty());
    let other = Identity { embedder: "bert-2".to_owned(), ..identity() };
    let new = Database::open_scratch(scratch.path(), other.clone()).await.unwrap();
    new.put_in_place(folder.path().to_str().unwrap(), &collection()).await.unwrap();
    let fitting = Database::open(folder.path().to_str().unwrap(), other, Memory::default()).await.unwrap();
    fitting.replace_documents(&collection(), vec![document("b", &[Y])], true).await.unwrap();
    let found = fitting.search(vec![Y.to_vec()], &nearest(2)).await.unwrap();
    assert_eq!(places(&found.neighbours[0]), [("b", 0)]);
}
