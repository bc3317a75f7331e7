use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::IngestError;
use super::embed::Embed;
use super::input::NewDocument;
use super::lease::Leases;
use super::locks::{ChangeLock, Stores, UpkeepLock};
use super::pipeline::Pipeline;
use super::skipped::SkippedFiles;
use crate::catalogue::{Catalogue, Cursor, Document, DocumentStatus, Page, Task};
use crate::files::hex;
use crate::metrics;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Database, StoredChunk};
use crate::text::Tokenizer;

/// Readings of a document's text before its chunks are called incomplete: it may change between two steps of one reading.
const TEXT_READINGS: usize = 5;

/// What was taken in.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Submission {
    pub task: Task,
    /// In the order of the request.
    #[schema(value_type = Vec<String>)]
    pub document_ids: Vec<DocumentId>,
    /// What gave no document of the files that were sent; only where files were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkippedFiles>,
}

/// A handle to ingestion: cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub catalogue: Catalogue,
    pub database: Database,
    pub pipeline: Pipeline,
    pub worker_lock: PathBuf,
    /// None where the catalogue belongs to one machine.
    pub leases: Option<Leases>,
    pub changes: ChangeLock,
    /// Held while a collection is indexed: no fragments are put together meanwhile, since the index would be of those that were.
    pub upkeep: UpkeepLock,
    /// There may be work for the worker.
    pub work: Notify,
    /// A task may have come to its end.
    pub progress: Notify,
}

impl Ingest {
    /// # Arguments
    /// * `worker_lock` - the file whose lock lets one worker at a time run on these stores; a second lock file lies next to it.
    pub fn new(
        catalogue: Catalogue,
        database: Database,
        tokenizer: Arc<Tokenizer>,
        embedder: impl Embed + 'static,
        worker_lock: PathBuf,
    ) -> Self {
        let leases = Leases::of(&catalogue);
        let changes = ChangeLock::beside(&worker_lock, leases.clone(), Stores::Open(database.clone()));
        let upkeep = UpkeepLock::new(leases.clone());
        let dimension = database.identity().dimension;
        let inner = Inner {
            catalogue,
            database,
            pipeline: Pipeline { tokenizer, embedder: Box::new(embedder), dimension },
            worker_lock,
            leases,
            changes,
            upkeep,
            work: Notify::new(),
            progress: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes documents with different ids in, all or none: after the return no crash loses them. They become searchable when a worker,
    /// of this process or another, gets to them.
    ///
    /// A document whose id is known gets a new revision. Until that is ready the chunks of the earlier one are found; if the earlier one
    /// still waits it is dropped, and its task waits for the new revision instead.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn submit(&self, documents: Vec<NewDocument>) -> Result<Submission, IngestError> {
        let records: Vec<_> = documents.into_iter().map(NewDocument::into_record).collect();
        let task = self.inner.catalogue.submit(&records).await?;
        self.note_submission(records.len());
        Ok(Submission { task, document_ids: records.into_iter().map(|record| record.id).collect(), skipped: None })
    }

    /// Wakes the worker for documents that a task was made of, and counts them.
    pub(super) fn note_submission(&self, documents: usize) {
        self.inner.work.notify_one();
        metrics::get().ingest_tasks.inc();
        metrics::get().ingest_submitted.inc_by(documents as u64);
    }

    /// Those of `documents` that are not ready already with the same text, title, source, metadata and collection.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn changed(&self, documents: Vec<NewDocument>) -> Result<Vec<NewDocument>, IngestError> {
        let ids: Vec<_> = documents.iter().map(NewDocument::id).collect();
        let ready = self.inner.catalogue.ready_hashes(&ids).await?;
        let changed = |document: &NewDocument| ready.get(document.id()).is_none_or(|hash| hash != document.content_hash());
        Ok(documents.into_iter().filter(changed).collect())
    }

    /// Chunks of the ready documents among `ids`.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn count_chunks(&self, ids: &[DocumentId]) -> Result<u64, IngestError> {
        Ok(self.inner.catalogue.count_chunks(&ids.iter().collect::<Vec<_>>()).await?)
    }

    /// # Errors
    /// The catalogue cannot be read.
    pub async fn document(&self, id: &DocumentId) -> Result<Option<Document>, IngestError> {
        Ok(self.inner.catalogue.document(id).await?)
    }

    /// Documents in the order of their creation, at most `limit` after `cursor`.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn documents(
        &self,
        collection: Option<&CollectionName>,
        limit: u32,
        cursor: Option<&Cursor>,
    ) -> Result<Page<Document>, IngestError> {
        Ok(self.inner.catalogue.documents(collection, limit, cursor).await?)
    }

    /// The text of a document's newest revision, whatever its status. None if there is no such document.
    ///
    /// # Errors
    /// A store cannot be read.
    pub async fn document_text(&self, id: &DocumentId) -> Result<Option<String>, IngestError> {
        for _ in 0..TEXT_READINGS {
            if let Some(text) = self.inner.catalogue.waiting_text(id).await? {
                return Ok(Some(text));
            }
            let Some(document) = self.document(id).await? else {
                return Ok(None);
            };
            if document.status == DocumentStatus::Ready {
                let chunks = self.inner.database.document_chunks(&document.collection, id).await?;
                let text: String = chunks.into_iter().map(|chunk| chunk.text).collect();
                // What was altered on the disk is not given out as what was taken in.
                if text.len() as u64 == document.bytes && hex(&Sha256::digest(text.as_bytes())) == document.sha256 {
                    return Ok(Some(text));
                }
            }
        }
        Err(IngestError::Incomplete { id: id.clone() })
    }

    /// The chunks that a search finds of a document, in order. None if there is no such document.
    ///
    /// # Errors
    /// A store cannot be read.
    pub async fn document_chunks(&self, id: &DocumentId) -> Result<Option<Vec<StoredChunk>>, IngestError> {
        if self.document(id).await?.is_none() {
            return Ok(None);
        }
        for collection in self.inner.catalogue.placements(id).await? {
            let chunks = self.inner.database.document_chunks(&collection, id).await?;
            if !chunks.is_empty() {
                return Ok(Some(chunks));
            }
        }
        Ok(Some(Vec::new()))
    }
}
