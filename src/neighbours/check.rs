//! Collections as they lie in their files: read part by part, so that what cannot be read is known by its file, and mended.

use std::error::Error;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::SystemTime;

use arrow_array::RecordBatch;
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::CommitBuilder;
use lance::dataset::fragment::FileFragment;
use lance::dataset::scanner::Scanner;
use lance::dataset::transaction::{Operation, TransactionBuilder};
use lance::index::DatasetIndexExt;
use lancedb::expr::{col, is_in, lit};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::collection::dataset;
use super::database::{connect, store};
use super::index::{NAME, index_stats};
use super::schema::{DOCUMENT_ID, Rows};
use super::snapshot::{Snapshot, corrupt, guarded};
use super::stored::{Columns, StoredRow, give};
use super::{Database, DatabaseError, Identity, IndexStats, Memory, durable};
use crate::names::CollectionName;

/// Rows that are read at a time, and batches that are read ahead.
const BATCH_ROWS: usize = 512;
const READ_AHEAD: usize = 2;

/// One version of a collection, whatever made it, to be looked at row by row.
pub struct Audit {
    snapshot: Snapshot,
    database: Database,
    dataset: Arc<Dataset>,
}

/// A chunk's text and what stands for it in searches.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEmbedding {
    pub document_id: String,
    pub chunk_index: u32,
    pub text: String,
    pub embedding: Vec<f32>,
}

/// Rows as they come, and the task that reads them.
type Batches = (mpsc::Receiver<RecordBatch>, JoinHandle<lance::Result<()>>);

impl DatabaseError {
    /// Whether files are not as they were written, or are gone, where others fail for want of memory, of leave or of time.
    pub fn is_damage(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = match self {
            Self::Corrupt { .. } => return true,
            Self::Store { source, .. } => Some(source),
            _ => None,
        };
        while let Some(error) = cause {
            if tells_of_damage(error) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

fn tells_of_damage(error: &(dyn Error + 'static)) -> bool {
    use lance::Error::{Arrow, CorruptFile, Internal, InvalidInput, NotFound, Schema};
    if let Some(error) = error.downcast_ref::<lance::Error>() {
        matches!(
            error,
            Arrow { .. } | CorruptFile { .. } | Internal { .. } | InvalidInput { .. } | NotFound { .. } | Schema { .. }
        )
    } else if let Some(error) = error.downcast_ref::<lancedb::Error>() {
        // What was asked was checked before: it is what the files say that is no input.
        matches!(error, lancedb::Error::InvalidInput { .. } | lancedb::Error::Arrow { .. })
    } else if let Some(error) = error.downcast_ref::<std::io::Error>() {
        matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::NotFound)
    } else {
        error.downcast_ref::<tokio::task::JoinError>().is_some_and(tokio::task::JoinError::is_panic)
    }
}

impl Audit {
    /// The newest version of a collection of the database at `uri`; none if there is no such collection.
    ///
    /// # Errors
    /// The collection cannot be opened, or does not say what it was made with.
    pub async fn open(uri: &str, collection: &CollectionName) -> Result<Option<Self>, DatabaseError> {
        let Some(snapshot) = Snapshot::open(uri, collection).await? else { return Ok(None) };
        let dataset = dataset(collection, &snapshot.table).await?;
        let (memory, identity) = (Memory::default(), snapshot.identity.clone());
        let database = Database::connected(connect(uri, memory).await?, identity, durable::local_folder(uri), memory);
        Ok(Some(Self { snapshot, database, dataset }))
    }

    pub fn collection(&self) -> &CollectionName {
        &self.snapshot.collection
    }

    /// The database as it is for what made this collection.
    pub fn database(&self) -> &Database {
        &self.database
    }

    pub fn identity(&self) -> &Identity {
        self.database.identity()
    }

    pub(super) fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    pub fn version(&self) -> u64 {
        self.dataset.version().version
    }

    /// Rows of all parts, as the collection's manifest counts them.
    pub fn rows(&self) -> u64 {
        self.dataset.get_fragments().iter().map(|part| part.fast_logical_rows().unwrap_or(0) as u64).sum()
    }

    /// The parts, in their order.
    pub fn parts(&self) -> Vec<u64> {
        self.dataset.fragments().iter().map(|part| part.id).collect()
    }

    /// Rows that a part should have, and its files, as places below the collection's folder.
    pub fn part(&self, part: u64) -> (u64, Vec<String>) {
        let Some(fragment) = self.dataset.get_fragment(part as usize) else { return (0, Vec::new()) };
        let metadata = fragment.metadata();
        let mut files: Vec<String> = metadata.files.iter().map(|file| format!("data/{}", file.path)).collect();
        if let Some(deleted) = &metadata.deletion_file {
            let suffix = deleted.file_type.suffix();
            files.push(format!("_deletions/{}-{}-{}.{suffix}", metadata.id, deleted.read_version, deleted.id));
        }
        (fragment.fast_logical_rows().unwrap_or(0) as u64, files)
    }

    /// Gives the rows of a part to `take`, in the order in which they lie there.
    ///
    /// # Errors
    /// The part cannot be read to its end; what came before was given.
    pub async fn read(&self, part: u64, columns: Columns, take: impl FnMut(StoredRow<'_>)) -> Result<(), DatabaseError> {
        self.read_some(part, columns, None, take).await
    }

    /// Gives the rows of some documents in a part to `take`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_documents(
        &self,
        part: u64,
        documents: &[&str],
        take: impl FnMut(StoredRow<'_>),
    ) -> Result<(), DatabaseError> {
        self.read_some(part, Columns::All, Some(documents), take).await
    }

    /// Gives the rows of a part, or of some documents in it, to `take`, some at a time and as much of each as an embedding comes from.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_embeddings(
        &self,
        part: u64,
        documents: Option<&[&str]>,
        mut take: impl AsyncFnMut(Vec<StoredEmbedding>),
    ) -> Result<(), DatabaseError> {
        let Some((mut batches, reading)) = self.batches(part, Columns::All, documents)? else { return Ok(()) };
        while let Some(batch) = batches.recv().await {
            let mut embeddings = Vec::with_capacity(batch.num_rows());
            give(&Rows { collection: self.collection().as_str(), batch: &batch }, Columns::All, &mut |row: StoredRow<'_>| {
                embeddings.push(StoredEmbedding {
                    document_id: row.document_id.to_owned(),
                    chunk_index: row.chunk_index,
                    text: row.text.to_owned(),
                    embedding: row.rest.map(|rest| rest.embedding).unwrap_or_default(),
                });
            })?;
            take(embeddings).await;
        }
        self.end(reading).await
    }

    async fn read_some(
        &self,
        part: u64,
        columns: Columns,
        documents: Option<&[&str]>,
        mut take: impl FnMut(StoredRow<'_>),
    ) -> Result<(), DatabaseError> {
        let Some((mut batches, reading)) = self.batches(part, columns, documents)? else { return Ok(()) };
        while let Some(batch) = batches.recv().await {
            give(&Rows { collection: self.collection().as_str(), batch: &batch }, columns, &mut take)?;
        }
        self.end(reading).await
    }

    /// Gives the rows of a part, or of some documents in it, to `take`, those that were deleted included: what says which they are is not
    /// read. Of each row what tells whether the text is whole ([`Columns::Text`]).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_with_deleted(
        &self,
        part: u64,
        documents: Option<&[&str]>,
        mut take: impl FnMut(StoredRow<'_>),
    ) -> Result<(), DatabaseError> {
        let Some(fragment) = self.dataset.get_fragment(part as usize) else { return Ok(()) };
        let mut metadata = fragment.metadata().clone();
        metadata.deletion_file = None;
        let fragment = FileFragment::new(Arc::clone(&self.dataset), metadata);
        let (mut batches, reading) = self.batches_of(&fragment, Columns::Text, documents)?;
        while let Some(batch) = batches.recv().await {
            give(&Rows { collection: self.collection().as_str(), batch: &batch }, Columns::Text, &mut take)?;
        }
        self.end(reading).await
    }

    fn batches(&self, part: u64, columns: Columns, documents: Option<&[&str]>) -> Result<Option<Batches>, DatabaseError> {
        let Some(fragment) = self.dataset.get_fragment(part as usize) else { return Ok(None) };
        self.batches_of(&fragment, columns, documents).map(Some)
    }

    fn batches_of(
        &self,
        fragment: &FileFragment,
        columns: Columns,
        documents: Option<&[&str]>,
    ) -> Result<Batches, DatabaseError> {
        let doing = |error: lance::Error| store(format!("read collection {}", self.collection()), error.into());
        let mut scanner: Scanner = fragment.scan();
        scanner.project(columns.names()).map_err(doing)?;
        scanner.batch_size(BATCH_ROWS).batch_readahead(READ_AHEAD).scan_in_order(true);
        if let Some(documents) = documents {
            scanner.filter_expr(is_in(col(DOCUMENT_ID), documents.iter().map(|&id| lit(id)).collect()));
        }
        let (send, receive) = mpsc::channel::<RecordBatch>(READ_AHEAD);
        let reading = tokio::spawn(async move {
            let mut batches = scanner.try_into_stream().await?;
            while let Some(batch) = batches.try_next().await? {
                if send.send(batch).await.is_err() {
                    break;
                }
            }
            Ok::<_, lance::Error>(())
        });
        Ok((receive, reading))
    }

    /// What became of the reading of a part. A decoder may panic at what is no file of its own.
    async fn end(&self, reading: JoinHandle<lance::Result<()>>) -> Result<(), DatabaseError> {
        match reading.await {
            Ok(read) => read.map_err(|error| store(format!("read collection {}", self.collection()), error.into())),
            Err(panic) => Err(corrupt(self.collection(), format!("its reader ended: {panic}"))),
        }
    }

    /// Reads the whole index of the embeddings; none where there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn read_index(&self) -> Result<Option<IndexStats>, DatabaseError> {
        let doing = |error: lance::Error| store(format!("read the index of collection {}", self.collection()), error.into());
        let read = guarded(self.collection(), async {
            let stats = index_stats(&self.snapshot.table, self.collection()).await?;
            if stats.is_some() {
                self.dataset.prewarm_index(NAME).await.map_err(doing)?;
            }
            Ok(stats)
        });
        read.await?
    }

    /// Takes parts out of the collection with all of their rows, unread. Only with the lock of changes held.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn drop_parts(&self, parts: &[u64]) -> Result<(), DatabaseError> {
        let doing = |error: lance::Error| store(format!("take parts out of collection {}", self.collection()), error.into());
        let begin = SystemTime::now();
        let operation = Operation::Delete {
            updated_fragments: Vec::new(),
            deleted_fragment_ids: parts.to_vec(),
            predicate: "true".to_owned(),
        };
        let transaction = TransactionBuilder::new(self.version(), operation).build();
        CommitBuilder::new(Arc::clone(&self.dataset)).execute(transaction).await.map_err(doing)?;
        self.database.make_durable(self.collection(), begin).await
    }

    /// Removes all rows that say that they are of these documents, ids that no document can have included. Only with the lock of changes
    /// held, and where every part can be read.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn delete(&self, documents: &[&str]) -> Result<(), DatabaseError> {
        let Some((table, _)) = self.database.unchecked(self.collection()).await? else { return Ok(()) };
        let begin = SystemTime::now();
        let rows = is_in(col(DOCUMENT_ID), documents.iter().map(|&id| lit(id)).collect());
        table.delete(&rows).await.map_err(|e| store(format!("delete from collection {}", self.collection()), e))?;
        self.database.make_durable(self.collection(), begin).await
    }
}
