mod input;
mod interchange;
mod lifecycle;
mod recovery;
mod reindex;
mod removal;
mod shared;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::catalogue::testing::Place;
use crate::catalogue::{Catalogue, Task};
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Database, Identity, Memory, SearchOptions};
use crate::text::Tokenizer;

const DIMENSION: usize = 8;

/// Vectors from hashes: the same text always has the same one, and texts with `poison` have none.
#[derive(Clone, Default)]
struct FakeEmbedder {
    calls: Arc<AtomicUsize>,
    delay: Duration,
    /// Calls, from the first, at which it panics.
    panics: usize,
}

#[async_trait]
impl Embed for FakeEmbedder {
    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, String> {
        let before = self.calls.fetch_add(1, Ordering::SeqCst);
        assert!(before >= self.panics, "a bug");
        tokio::time::sleep(self.delay).await;
        if texts.iter().any(|text| text.contains("poison")) {
            return Err("poison".to_owned());
        }
        Ok(texts.iter().map(|text| vector(text)).collect())
    }
}

fn vector(text: &str) -> Vec<f32> {
    let numbers: Vec<f32> = Sha256::digest(text.as_bytes())[..DIMENSION].iter().map(|&byte| f32::from(byte)).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
    numbers.into_iter().map(|number| number / length).collect()
}

fn identity(embedder: &str) -> Identity {
    Identity {
        tokenizer: tokenizer().identity().to_owned(),
        embedder: embedder.to_owned(),
        dimension: DIMENSION,
        neighbour_length: 64,
        continuation_length: 64,
    }
}

fn tokenizer() -> Arc<Tokenizer> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/retro-nano/tokenizer.json");
    Arc::new(Tokenizer::load(&path).unwrap())
}

/// The stores of `folder` as a process opens them.
struct Process {
    ingest: Ingest,
    catalogue: Catalogue,
    database: Database,
}

impl Process {
    async fn start(folder: &Path, embedder: FakeEmbedder) -> Self {
        Self::start_as(folder, embedder, "fake").await
    }

    /// `name` tells the embedder from all others.
    async fn start_as(folder: &Path, embedder: FakeEmbedder, name: &str) -> Self {
        let catalogue = Catalogue::open(folder, None).await.unwrap();
        Self::start_with(catalogue, folder, embedder, name).await
    }

    async fn start_at(place: &Place, embedder: FakeEmbedder) -> Self {
        Self::start_with(place.catalogue().await, place.path(), embedder, "fake").await
    }

    async fn start_with(catalogue: Catalogue, folder: &Path, embedder: FakeEmbedder, name: &str) -> Self {
        let (tokenizer, identity) = (tokenizer(), identity(name));
        let database =
            Database::open(folder.join("lance").to_str().unwrap(), identity, Memory { vectors: 1 << 20, ..Memory::default() })
                .await
                .unwrap();
        let lock = folder.join("writer.lock");
        let ingest = Ingest::new(catalogue.clone(), database.clone(), tokenizer, embedder, lock);
        Self { ingest, catalogue, database }
    }

    fn worker(&self) -> (CancellationToken, JoinHandle<Result<(), IngestError>>) {
        let stop = CancellationToken::new();
        let (ingest, token) = (self.ingest.clone(), stop.clone());
        (stop, tokio::spawn(async move { ingest.run_worker(token).await }))
    }

    async fn submit(&self, documents: Vec<DocumentInput>) -> Submission {
        let documents = NewDocument::validate_all(documents, &IngestLimits::default(), |i| format!("documents[{i}]"));
        self.ingest.submit(documents.unwrap()).await.unwrap()
    }

    async fn wait(&self, submission: &Submission) -> Task {
        let ended = tokio::time::timeout(Duration::from_secs(60), self.ingest.wait(submission.task.id)).await;
        ended.expect("the task ends").unwrap().unwrap()
    }

    /// Chunks of the default collection that belong to no document as the catalogue has it, or are missing.
    async fn assert_whole(&self, expected: &[(&str, &str)]) {
        let mut chunks = 0;
        for (name, text) in expected {
            let document = self.ingest.document(&id(name)).await.unwrap().unwrap();
            assert_eq!(document.status, crate::catalogue::DocumentStatus::Ready, "{name}: {:?}", document.error);
            let stored = self.ingest.document_chunks(&id(name)).await.unwrap().unwrap();
            assert_eq!(stored.len() as u64, document.chunks);
            let mut end = 0;
            for (chunk, index) in stored.iter().zip(0..) {
                assert_eq!((chunk.chunk_index, chunk.byte_start), (index, end), "chunks tile the document");
                end = chunk.byte_end;
                assert_eq!(&text[chunk.byte_start as usize..end as usize], chunk.text);
            }
            assert_eq!(end, text.len() as u64);
            assert_eq!(self.ingest.document_text(&id(name)).await.unwrap().as_deref(), Some(*text));
            chunks += document.chunks;
        }
        let stats = self.database.stats(&CollectionName::default()).await.unwrap();
        assert_eq!(stats.chunks, chunks, "no chunk is there twice or belongs to nothing");
    }
}

fn id(text: &str) -> DocumentId {
    DocumentId::parse("id", text).unwrap()
}

fn input(name: &str, text: &str) -> DocumentInput {
    DocumentInput { id: Some(name.to_owned()), text: text.to_owned(), ..DocumentInput::default() }
}

/// A text of several chunks with characters of all lengths.
fn long_text(seed: &str) -> String {
    (0..60).map(|number| format!("{seed} {number}: the quick é字😀 fox.\n")).collect()
}
