use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::documents::{FileDocument, FileDocuments, Rules, Seen, Taken};
use super::rows::RowFile;
use super::{InterchangeError, format};
use crate::catalogue::{NewRecord, QueuedDocument};
use crate::ingest::locks::WorkerGuard;
use crate::ingest::worker::Prepared;
use crate::ingest::{Ingest, IngestError, IngestLimits};
use crate::names::CollectionName;
use crate::neighbours::{Entry, SourceText};

/// Documents and bytes of text that are written together.
const BATCH_DOCUMENTS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// Writes after which the collection gets its housekeeping.
const WRITES_BEFORE_HOUSEKEEPING: usize = 100;

/// How files are taken in.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Instead of the collection that a file names.
    pub collection: Option<CollectionName>,
    /// Embeddings that are in the files are not read.
    pub embed_again: bool,
    pub limits: IngestLimits,
}

/// What was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub documents: u64,
    pub chunks: u64,
}

/// Told how many of how many rows are done.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Files that keep all rules. Nothing of them is written yet.
pub struct Import {
    ingest: Ingest,
    files: Vec<(PathBuf, Rules)>,
    rows: u64,
}

impl Import {
    /// Reads all files from the first row to the last and checks everything. None if `stop` came before the end.
    ///
    /// # Errors
    /// Names the file, the row and the column that is not as it has to be.
    pub async fn check(
        ingest: &Ingest,
        files: &[PathBuf],
        options: &ImportOptions,
        stop: &CancellationToken,
        progress: Progress,
    ) -> Result<Option<Self>, InterchangeError> {
        let mut import = Self { ingest: ingest.clone(), files: Vec::new(), rows: 0 };
        let opening: Vec<PathBuf> = files.to_vec();
        let (this, options) = (ingest.clone(), options.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let rules = |path: PathBuf| match rules(&this, &path, &options) {
                Ok((rules, rows)) => Ok((path, rules, rows)),
                Err(reason) => Err(InterchangeError::file(&path, reason)),
            };
            opening.into_iter().map(rules).collect::<Result<Vec<_>, _>>()
        });
        for (path, rules, rows) in opened.await.map_err(IngestError::from)?? {
            import.files.push((path, rules));
            import.rows += rows;
        }
        let (seen, mut done) = (Seen::default(), 0);
        for (path, rules) in &import.files {
            let (reading, total, stop, progress) = (path.clone(), import.rows, stop.clone(), progress.clone());
            let (rules, seen) = (rules.clone(), seen.clone());
            let checked = tokio::task::spawn_blocking(move || {
                for document in documents(&reading, rules, seen)? {
                    if stop.is_cancelled() {
                        return Ok(None);
                    }
                    done += document?.rows;
                    progress(total, done);
                }
                Ok(Some(done))
            });
            let failed = |reason: String| InterchangeError::file(path, reason);
            let checked = checked.await.unwrap_or_else(|panic| Err(format!("its reader failed: {panic}")));
            match checked.map_err(failed)? {
                Some(rows) => done = rows,
                None => return Ok(None),
            }
        }
        Ok(Some(import))
    }

    /// Takes the files in: documents that are there already are replaced, each whole. What was written when an error or `stop` comes stays,
    /// and the same call again completes the rest. Gives what was taken in, which is not all if `stop` came.
    ///
    /// # Errors
    /// A text cannot be embedded, or a store cannot be written.
    pub async fn run(self, stop: &CancellationToken, progress: Progress) -> Result<Imported, InterchangeError> {
        let mut imported = Imported::default();
        let (seen, mut writes, mut rows) = (Seen::default(), 0, 0);
        for (path, rules) in &self.files {
            let mut batches = read(path.clone(), rules.clone(), seen.clone());
            while let Some(batch) = batches.recv().await {
                let batch = batch.map_err(|reason| InterchangeError::file(path, reason))?;
                rows += batch.rows;
                let Some(documents) = self.prepare(path, rules, batch.documents, stop).await? else { return Ok(imported) };
                let chunks: usize = documents.iter().map(|(_, entries)| entries.len()).sum();
                let number = documents.len() as u64;
                if !self.ingest.write_imported(documents, stop).await? {
                    return Ok(imported);
                }
                imported.documents += number;
                imported.chunks += chunks as u64;
                progress(self.rows, rows);
                writes += 1;
                if writes % WRITES_BEFORE_HOUSEKEEPING == 0 {
                    self.ingest.keep_house_of(&rules.collection).await?;
                }
            }
            self.ingest.keep_house_of(&rules.collection).await?;
        }
        Ok(imported)
    }

    /// Documents with their rows as they are to be written. None if `stop` came before the end.
    async fn prepare(
        &self,
        path: &Path,
        rules: &Rules,
        documents: Vec<FileDocument>,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<(NewRecord, Vec<Entry>)>>, InterchangeError> {
        let pipeline = &self.ingest.inner.pipeline;
        let mut written = Vec::with_capacity(documents.len());
        for FileDocument { record, mut entries, .. } in documents {
            let made = match rules.taken {
                Taken::All => Ok(entries),
                Taken::Chunks => {
                    let texts = entries.iter().map(|entry| entry.neighbour.clone()).collect();
                    let Some(vectors) = pipeline.embed(texts, stop).await else { return Ok(None) };
                    vectors.map(|vectors| {
                        entries.iter_mut().zip(vectors).for_each(|(entry, vector)| entry.embedding = vector);
                        entries
                    })
                }
                Taken::Text => {
                    let Some(mut made) = pipeline.prepare(vec![text(&record)], stop).await else { return Ok(None) };
                    made.remove(0)
                }
            };
            let failed = |reason| InterchangeError::NotEmbedded { file: path.to_owned(), id: record.id.to_string(), reason };
            let entries = made.map_err(failed)?;
            written.push((record, entries));
        }
        Ok(Some(written))
    }
}

/// What is to be taken over of a file, and its number of rows.
fn rules(ingest: &Ingest, path: &Path, options: &ImportOptions) -> Result<(Rules, u64), String> {
    let ours = ingest.inner.database.identity();
    let file = RowFile::open(path)?;
    let metadata = file.metadata();
    let takes_embeddings = file.has_embeddings() && !options.embed_again;
    let theirs = format::identity(&metadata, ours, takes_embeddings)?;
    let taken = match &theirs {
        Some(theirs) if theirs == ours && takes_embeddings => Taken::All,
        Some(theirs) if takes_embeddings => {
            let differences = ours.differences(theirs);
            let differences: Vec<_> = differences
                .iter()
                .map(|(what, ours, theirs)| format!("another {what} (it says {theirs}, this server has {ours})"))
                .collect();
            return Err(format!(
                "it was made with {}, so its embeddings mean nothing here; `--embed-again`, or an export without embeddings, makes them \
                 anew from the text",
                differences.join(" and ")
            ));
        }
        Some(theirs) if theirs.has_chunks_of(ours) => Taken::Chunks,
        _ => Taken::Text,
    };
    let collection = match (&options.collection, metadata.get(format::COLLECTION)) {
        (Some(collection), _) => collection.clone(),
        (None, Some(name)) => CollectionName::parse(format::COLLECTION, name).map_err(|e| format!("in its metadata {e}"))?,
        (None, None) => CollectionName::default(),
    };
    let rows = file.count();
    file.rows(taken == Taken::All)?;
    let tokenizer = ingest.inner.pipeline.tokenizer.clone();
    Ok((Rules { taken, collection, identity: ours.clone(), limits: options.limits, tokenizer }, rows))
}

fn documents(
    path: &Path,
    rules: Rules,
    seen: Seen,
) -> Result<impl Iterator<Item = Result<FileDocument, String>> + use<>, String> {
    let rows = RowFile::open(path)?.rows(rules.taken == Taken::All)?;
    Ok(FileDocuments::new(rows, rules, seen))
}

#[derive(Default)]
struct Batch {
    documents: Vec<FileDocument>,
    bytes: usize,
    rows: u64,
}

/// Reads a file on a thread of its own.
fn read(path: PathBuf, rules: Rules, seen: Seen) -> mpsc::Receiver<Result<Batch, String>> {
    let (send, receive) = mpsc::channel(1);
    tokio::task::spawn_blocking(move || {
        let mut batch = Batch::default();
        let documents = match documents(&path, rules, seen) {
            Ok(documents) => documents,
            // Nobody listens any more once the import was told to stop.
            Err(reason) => return drop(send.blocking_send(Err(reason))),
        };
        for document in documents {
            let document = match document {
                Ok(document) => document,
                Err(reason) => return drop(send.blocking_send(Err(reason))),
            };
            batch.bytes += document.record.text.len();
            batch.rows += document.rows;
            batch.documents.push(document);
            let full = batch.documents.len() >= BATCH_DOCUMENTS || batch.bytes >= BATCH_BYTES;
            if full && send.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
                return;
            }
        }
        if !batch.documents.is_empty() {
            drop(send.blocking_send(Ok(batch)));
        }
    });
    receive
}

fn text(record: &NewRecord) -> SourceText {
    SourceText {
        id: record.id.clone(),
        title: record.title.clone(),
        source: record.source.clone(),
        metadata: serde_json::to_string(&record.metadata).expect("an object of JSON values is JSON"),
        text: record.text.clone(),
    }
}

impl Ingest {
    /// Writes documents whose rows are there already; gives false if `stop` came before. They take the way of all documents, so that a crash
    /// at any instant leaves each as it was, or waiting with its text for a worker that chunks it.
    async fn write_imported(
        &self,
        documents: Vec<(NewRecord, Vec<Entry>)>,
        stop: &CancellationToken,
    ) -> Result<bool, IngestError> {
        let (records, entries): (Vec<NewRecord>, Vec<Vec<Entry>>) = documents.into_iter().unzip();
        // Under the lock, and the claim where there is one, no worker takes them out of the queue.
        let Some(guard) = self.inner.changes.hold_unless(stop).await? else { return Ok(false) };
        let claimant = self.inner.changes.claimant().await?;
        let claim = claimant.as_ref().and_then(WorkerGuard::claim);
        let (_, seqs) = self.inner.catalogue.submit_numbered(&records, claim).await?;
        let prepared: Vec<Prepared> = records
            .into_iter()
            .zip(seqs)
            .zip(entries)
            .map(|((record, seq), entries)| {
                let SourceText { id, title, source, metadata, .. } = text(&record);
                let document =
                    QueuedDocument { seq, id, collection: record.collection, title, source, metadata, text: record.text };
                Prepared { document, entries: Ok(entries) }
            })
            .collect();
        if let Some((_, error)) = self.write_held(&guard, &prepared).await?.into_iter().next() {
            return Err(error.into());
        }
        self.inner.progress.notify_waiters();
        Ok(true)
    }

    async fn keep_house_of(&self, collection: &CollectionName) -> Result<(), IngestError> {
        let guard = self.inner.changes.hold().await?;
        let database = guard.over(&self.inner.database);
        guard.while_held(async { Ok(database.maintain(collection).await) }).await?;
        Ok(())
    }
}
