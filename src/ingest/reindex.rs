use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::IngestError;
use super::embed::Embed;
use super::lease::Leases;
use super::locks::{ChangeLock, ReindexGuard};
use super::pipeline::Pipeline;
use crate::catalogue::Catalogue;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Database, Entry, Identity, Source, SourceDocument};
use crate::text::Tokenizer;

/// Documents and chunks that are made anew together.
const BATCH_DOCUMENTS: usize = 64;
const BATCH_CHUNKS: usize = 512;
/// Changed documents that are few enough to be made anew while nobody else may write.
const FEW: usize = 64;
/// Times that what changed meanwhile is made anew before nobody else may write: a writer may be as fast as this is.
const ROUNDS: usize = 5;
/// How long one version of the old collection is read: housekeeping removes its files an hour after it has a successor.
const ROUND: Duration = Duration::from_secs(30 * 60);

/// What became of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reindexed {
    /// It was made with this tokenizer and embedder already.
    Current,
    Anew {
        documents: u64,
        chunks: u64,
    },
    /// It was told to stop; the collection is as it was.
    Stopped,
}

/// How far a collection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Chunks of the old collection.
    pub total: u64,
    /// Those of documents that are made anew.
    pub done: u64,
    pub documents: u64,
    /// Chunks of the new collection.
    pub chunks: u64,
}

/// Makes collections anew, from the texts that their chunks make up, with another tokenizer or embedder.
///
/// The new collection is put together in a folder of its own, while the old one serves and may change. What changed is made anew too; at last,
/// while nobody else may write, the new rows replace the old ones in one commit, and the catalogue gets the new counts.
pub struct Reindex {
    uri: String,
    scratch: PathBuf,
    identity: Identity,
    pipeline: Pipeline,
    catalogue: Catalogue,
    changes: ChangeLock,
    _sole: ReindexGuard,
}

/// The new collection as far as it is.
struct Staged {
    database: Database,
    /// Version of the old collection that it has all of; none as long as there is no such version.
    version: Option<u64>,
    /// The documents that it has, as the old collection had them.
    documents: HashMap<DocumentId, u128>,
}

/// What the new collection lacks.
struct Missing {
    changed: Vec<SourceDocument>,
    fingerprints: HashMap<DocumentId, u128>,
    gone: Vec<DocumentId>,
}

impl Reindex {
    /// # Arguments
    /// * `uri` - place of the database.
    /// * `worker_lock` - the lock file of the one worker on these stores; the new collections grow in a folder next to it.
    ///
    /// # Errors
    /// Another process makes collections of these stores anew.
    pub async fn new(
        uri: String,
        identity: Identity,
        catalogue: Catalogue,
        tokenizer: Arc<Tokenizer>,
        embedder: impl Embed + 'static,
        worker_lock: &Path,
    ) -> Result<Self, IngestError> {
        let lock = worker_lock.with_file_name("reindex.lock");
        let leases = Leases::of(&catalogue);
        let sole = ReindexGuard::take(&lock, leases.as_ref()).await?.ok_or(IngestError::ReindexRuns)?;
        let pipeline = Pipeline { tokenizer, embedder: Box::new(embedder), dimension: identity.dimension };
        let changes = ChangeLock::of_stores(&catalogue, uri.clone(), worker_lock);
        Ok(Self { uri, scratch: worker_lock.with_file_name("reindex"), identity, pipeline, catalogue, changes, _sole: sole })
    }

    /// Makes a collection anew.
    ///
    /// # Errors
    /// There is no such collection, a document cannot be made anew, or a store cannot be read or written. Only where the catalogue's counts
    /// could not be written is the collection the new one; the next call writes them.
    pub async fn run(
        &self,
        collection: &CollectionName,
        stop: &CancellationToken,
        progress: &(impl Fn(Progress) + Sync),
    ) -> Result<Reindexed, IngestError> {
        let source = self.source(collection).await?;
        if *source.identity() == self.identity {
            let _guard = self.changes.hold().await?;
            // A crash may have come between the last two steps.
            self.recount(&self.source(collection).await?).await?;
            return Ok(Reindexed::Current);
        }
        // What a crash has left.
        self.clear().await?;
        let made = self.make(source, stop, progress).await;
        let cleared = self.clear().await;
        let made = made?;
        cleared.map(|()| made)
    }

    async fn make(
        &self,
        mut source: Source,
        stop: &CancellationToken,
        progress: &(impl Fn(Progress) + Sync),
    ) -> Result<Reindexed, IngestError> {
        let collection = source.collection().clone();
        let mut staged = Staged {
            database: Database::open_scratch(&self.scratch, self.identity.clone()).await?,
            version: None,
            documents: HashMap::new(),
        };
        let mut so_far = Progress::default();
        let mut rounds = 0;
        loop {
            let missing = staged.missing(&source).await?;
            if rounds > 0 && missing.is_little() || rounds == ROUNDS {
                break;
            }
            if !self.stage(&mut staged, &source, missing, Some(ROUND), stop, (&mut so_far, progress)).await? {
                return Ok(Reindexed::Stopped);
            }
            rounds += usize::from(staged.version.is_some());
            source = self.source(&collection).await?;
        }
        let Some(guard) = self.changes.hold_unless(stop).await? else { return Ok(Reindexed::Stopped) };
        source = self.source(&collection).await?;
        let missing = staged.missing(&source).await?;
        if !self.stage(&mut staged, &source, missing, None, stop, (&mut so_far, progress)).await? {
            return Ok(Reindexed::Stopped);
        }
        let database = guard.over(&staged.database);
        guard.while_held(database.put_in_place(&self.uri, &collection)).await?;
        let chunks = self.recount(&self.source(&collection).await?).await?;
        Ok(Reindexed::Anew { documents: staged.documents.len() as u64, chunks })
    }

    /// Makes what is missing anew, for at most `time`; gives false if `stop` came before the end.
    async fn stage(
        &self,
        staged: &mut Staged,
        source: &Source,
        missing: Missing,
        time: Option<Duration>,
        stop: &CancellationToken,
        (so_far, progress): (&mut Progress, &(impl Fn(Progress) + Sync)),
    ) -> Result<bool, IngestError> {
        let (began, collection) = (Instant::now(), source.collection());
        staged.version = None;
        for id in &missing.gone {
            staged.database.delete_documents(collection, std::slice::from_ref(id)).await?;
            staged.documents.remove(id);
        }
        so_far.total = so_far.done + missing.changed.iter().map(|document| document.rows().len() as u64).sum::<u64>();
        progress(*so_far);
        for batch in batches(&missing.changed) {
            if stop.is_cancelled() {
                return Ok(false);
            }
            if time.is_some_and(|time| began.elapsed() > time) {
                return Ok(true);
            }
            let Some(entries) = self.pipeline.prepare(source.texts(batch).await?, stop).await else { return Ok(false) };
            let (mut fresh, mut known) = (Vec::new(), Vec::new());
            for (document, entries) in batch.iter().zip(entries) {
                let failed =
                    |reason| IngestError::NotMadeAnew { collection: collection.clone(), id: document.id.clone(), reason };
                let entries: Vec<Entry> = entries.map_err(failed)?;
                so_far.chunks += entries.len() as u64;
                let of_kind = if staged.documents.contains_key(&document.id) { &mut known } else { &mut fresh };
                of_kind.push((document.id.clone(), entries));
            }
            staged.database.replace_documents(collection, fresh, true).await?;
            staged.database.replace_documents(collection, known, false).await?;
            for document in batch {
                let fingerprint = missing.fingerprints.get(&document.id).copied().unwrap_or_default();
                staged.documents.insert(document.id.clone(), fingerprint);
                so_far.done += document.rows().len() as u64;
            }
            so_far.documents = staged.documents.len() as u64;
            progress(*so_far);
        }
        staged.version = Some(source.version());
        Ok(true)
    }

    async fn source(&self, collection: &CollectionName) -> Result<Source, IngestError> {
        Source::open(&self.uri, collection).await?.ok_or_else(|| IngestError::NoCollection(collection.clone()))
    }

    /// Brings the catalogue up to date; gives the chunks of the collection.
    async fn recount(&self, source: &Source) -> Result<u64, IngestError> {
        let sizes = source.sizes().await?;
        let counts: Vec<_> = sizes.iter().map(|size| (&size.id, size.chunks, size.tokens)).collect();
        self.catalogue.recount(source.collection(), &counts).await?;
        Ok(sizes.iter().map(|size| size.chunks).sum())
    }

    async fn clear(&self) -> Result<(), IngestError> {
        match tokio::fs::remove_dir_all(&self.scratch).await {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(IngestError::Scratch { path: self.scratch.clone(), source })
            }
            _ => Ok(()),
        }
    }
}

impl Staged {
    async fn missing(&self, source: &Source) -> Result<Missing, IngestError> {
        if self.version == Some(source.version()) {
            return Ok(Missing { changed: Vec::new(), fingerprints: HashMap::new(), gone: Vec::new() });
        }
        let fingerprints = source.fingerprints().await?;
        let mut changed = source.documents().await?;
        changed.retain(|document| self.documents.get(&document.id) != fingerprints.get(&document.id));
        let gone = self.documents.keys().filter(|id| !fingerprints.contains_key(id)).cloned().collect();
        Ok(Missing { changed, fingerprints, gone })
    }
}

impl Missing {
    fn is_little(&self) -> bool {
        self.changed.len() + self.gone.len() <= FEW
    }
}

/// Documents in their order, some at a time.
fn batches(documents: &[SourceDocument]) -> impl Iterator<Item = &[SourceDocument]> {
    let mut rest = documents;
    std::iter::from_fn(move || {
        let mut chunks = 0;
        let fitting = rest.iter().take(BATCH_DOCUMENTS).take_while(|document| {
            chunks += document.rows().len();
            chunks <= BATCH_CHUNKS
        });
        let fitting = fitting.count().max(1).min(rest.len());
        let (batch, after) = rest.split_at(fitting);
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}
