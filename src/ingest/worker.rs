use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::housekeeping::{Housekeeping, When};
use super::locks::{ChangeGuard, WorkerGuard};
use super::{Ingest, IngestError};
use crate::catalogue::{Outcome, QueuedDocument};
use crate::metrics::{self, Taken};
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{DatabaseError, Entry, SourceText};

/// Most documents of one batch.
const BATCH_DOCUMENTS: u32 = 64;
/// Most bytes of text in one batch of several documents: about 512 chunks.
const BATCH_BYTES: u64 = 128 << 10;
/// How often the worker looks for what another process has submitted.
const IDLE_POLL: Duration = Duration::from_millis(300);
/// Attempts at a batch that the retrieval database does not take.
const WRITE_ATTEMPTS: u32 = 5;
/// Longest pause after an error.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A document on its way, and what became of it so far.
pub(super) struct Prepared {
    /// Its text has gone into the chunks.
    pub document: QueuedDocument,
    /// What is to be written, or why nothing is.
    pub entries: Result<Vec<Entry>, String>,
}

/// Documents that one commit puts into one collection.
type Group<'a> = (&'a CollectionName, Vec<(DocumentId, Vec<Entry>)>);

impl Ingest {
    /// Takes documents in as they are submitted, by this process or another, until `stop`; then completes the write at hand and returns.
    /// Of all processes that run this on the same stores of one machine, one works at a time; when it ends, however it ends, another goes
    /// on. Where the catalogue is shared all of them work, each on documents that it has claimed.
    ///
    /// A document that cannot be chunked or embedded fails. One that the retrieval database does not take, though it answers, fails after
    /// some attempts.
    /// Chunks of an earlier revision that was ready are found as before in either case, and the text that failed can still be read.
    /// Errors of the catalogue fail no document: the worker tries again until it can.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub async fn run_worker(&self, stop: CancellationToken) -> Result<(), IngestError> {
        let take = || WorkerGuard::take(&self.inner.worker_lock, self.inner.leases.as_ref(), &stop);
        let Some(mut worker) = take().await? else {
            return Ok(());
        };
        let mut housekeeping = Housekeeping::new();
        let (mut unwritten, mut failures) = (Vec::new(), 0);
        while !stop.is_cancelled() {
            if worker.is_lost() {
                // Others have what this one had taken.
                unwritten.clear();
                let Some(again) = take().await? else { break };
                worker = again;
            }
            let pause = match self.round(&worker, &mut housekeeping, &mut unwritten, &stop).await {
                Ok(true) => {
                    failures = 0;
                    continue;
                }
                Ok(false) => {
                    failures = 0;
                    IDLE_POLL
                }
                Err(error) => {
                    tracing::error!(%error, "documents cannot be taken in for now");
                    failures += 1;
                    if let (Some(claim), true) = (worker.claim(), unwritten.is_empty()) {
                        // Another may be able to: it may have the embedder that a collection was made anew with.
                        let _ = self.inner.catalogue.unclaim(claim).await;
                    }
                    pause_after(failures)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.inner.work.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        drop((worker, housekeeping));
        if let Some(leases) = &self.inner.leases {
            leases.given_back().await;
        }
        Ok(())
    }

    /// Chunks and embeds documents. None if `stop` came before the end.
    pub(super) async fn prepare(&self, mut documents: Vec<QueuedDocument>, stop: &CancellationToken) -> Option<Vec<Prepared>> {
        let text = |document: &mut QueuedDocument| SourceText {
            id: document.id.clone(),
            title: document.title.clone(),
            source: document.source.clone(),
            metadata: document.metadata.clone(),
            text: std::mem::take(&mut document.text),
        };
        let texts = documents.iter_mut().map(text).collect();
        let entries = self.inner.pipeline.prepare(texts, stop).await?;
        Some(documents.into_iter().zip(entries).map(|(document, entries)| Prepared { document, entries }).collect())
    }

    /// Does a piece of work; gives whether there was one. Writes what the last round prepared while it prepares the next batch, so that the
    /// embedder waits for no disk.
    async fn round(
        &self,
        worker: &WorkerGuard,
        housekeeping: &mut Housekeeping,
        unwritten: &mut Vec<Prepared>,
        stop: &CancellationToken,
    ) -> Result<bool, IngestError> {
        if unwritten.is_empty() && !self.inner.catalogue.has_work().await? {
            self.keep_house(housekeeping, When::Idle).await?;
            return Ok(false);
        }
        // A removal that fails holds up no document.
        let removals = self.complete_removals().await;
        let Some(documents) = self.take(worker, unwritten, stop).await? else {
            return Ok(false);
        };
        let writing = std::mem::take(unwritten);
        let worked = !documents.is_empty() || !writing.is_empty();
        let collections: BTreeSet<_> = documents.iter().map(|document| &document.collection).collect();
        for collection in collections {
            match self.inner.database.exists(collection).await {
                // Before they are embedded in vain, again and again.
                Err(error) if error.is_of_identity() => return Err(error.into()),
                _ => {}
            }
        }
        let write = async {
            let written = match writing.is_empty() {
                true => Ok(()),
                false => {
                    housekeeping.note_write();
                    self.write(&writing, stop).await
                }
            };
            self.inner.progress.notify_waiters();
            written
        };
        let (prepared, written) = tokio::join!(self.prepare(documents, stop), write);
        written?;
        let Some(prepared) = prepared else {
            return Ok(false);
        };
        *unwritten = prepared;
        self.keep_house(housekeeping, When::Busy).await?;
        removals.map(|()| worked)
    }

    /// The documents that come after those that are yet to be written. None if `stop` came before.
    async fn take(
        &self,
        worker: &WorkerGuard,
        unwritten: &[Prepared],
        stop: &CancellationToken,
    ) -> Result<Option<Vec<QueuedDocument>>, IngestError> {
        let catalogue = &self.inner.catalogue;
        if let Some(claim) = worker.claim() {
            return Ok(Some(catalogue.claim_queued(claim, !unwritten.is_empty(), BATCH_DOCUMENTS, BATCH_BYTES).await?));
        }
        // Whoever holds the lock may be at documents that are in the queue only for the case that it is killed.
        let Some(_guard) = self.inner.changes.hold_unless(stop).await? else { return Ok(None) };
        let after = unwritten.last().map(|prepared| prepared.document.seq);
        Ok(Some(catalogue.take_queued(after, BATCH_DOCUMENTS, BATCH_BYTES).await?))
    }

    /// Writes a batch, which may take some attempts, and notes what became of each document.
    async fn write(&self, prepared: &[Prepared], stop: &CancellationToken) -> Result<(), IngestError> {
        let mut attempt = 1;
        loop {
            let Some(guard) = self.inner.changes.hold_unless(stop).await? else {
                return Ok(());
            };
            let written = self.write_held(&guard, prepared).await;
            drop(guard);
            let error = match written {
                // It is this process that failed, and not what was written; whoever has taken it meanwhile is passed over.
                Err(IngestError::Database(error @ DatabaseError::NoLeave { .. })) => {
                    tracing::warn!(%error, "a batch of documents is written again");
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep(pause_after(1)) => continue,
                    }
                }
                // Documents wait in the catalogue for a process that fits the collection.
                Err(IngestError::Database(error)) if !error.is_of_identity() => error,
                other => return other,
            };
            tracing::warn!(%error, attempt, "a batch of documents cannot be written");
            // Where the database is away as a whole, documents wait until it comes back.
            if attempt == WRITE_ATTEMPTS && self.inner.database.collections().await.is_ok() {
                let failed = |batch: &Prepared| {
                    batch.entries.as_ref().err().cloned().unwrap_or_else(|| format!("its chunks cannot be written: {error}"))
                };
                let outcomes: Vec<_> =
                    prepared.iter().map(|batch| (&batch.document, Outcome::Failed { reason: failed(batch) })).collect();
                return self.finish(&outcomes).await;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause_after(attempt)) => {}
            }
            attempt = WRITE_ATTEMPTS.min(attempt + 1);
        }
    }

    /// Writes what was prepared, and notes what became of it.
    pub(super) async fn write_held(&self, guard: &ChangeGuard, prepared: &[Prepared]) -> Result<(), IngestError> {
        let database = guard.over(&self.inner.database);
        let mut outcomes: Vec<(&QueuedDocument, Outcome)> = Vec::with_capacity(prepared.len());
        let mut writable: BTreeMap<i64, (&QueuedDocument, &Vec<Entry>)> = BTreeMap::new();
        for Prepared { document, entries } in prepared {
            match entries {
                Ok(entries) => drop(writable.insert(document.seq, (document, entries))),
                Err(reason) => outcomes.push((document, Outcome::Failed { reason: reason.clone() })),
            }
        }
        let documents: Vec<_> = writable.values().map(|(document, _)| *document).collect();
        let tickets = self.inner.catalogue.begin_write(&documents).await?;
        let mut groups: BTreeMap<(&str, bool), Group<'_>> = BTreeMap::new();
        for ticket in &tickets {
            let (document, entries) = writable[&ticket.seq];
            let group = groups.entry((document.collection.as_str(), ticket.fresh));
            group.or_insert_with(|| (&document.collection, Vec::new())).1.push((document.id.clone(), entries.clone()));
        }
        for ((_, fresh), (collection, documents)) in groups {
            database.replace_documents(collection, documents, fresh).await?;
        }
        for ticket in &tickets {
            let (document, entries) = writable[&ticket.seq];
            for collection in &ticket.elsewhere {
                database.delete_documents(collection, std::slice::from_ref(&document.id)).await?;
            }
            let tokens = entries.iter().map(|entry| entry.neighbour_tokens.len() as u64).sum();
            outcomes.push((document, Outcome::Ready { chunks: entries.len() as u64, tokens }));
        }
        self.finish(&outcomes).await
    }

    async fn finish(&self, outcomes: &[(&QueuedDocument, Outcome)]) -> Result<(), IngestError> {
        self.inner.catalogue.finish(outcomes).await?;
        let metrics = metrics::get();
        for (_, outcome) in outcomes {
            match outcome {
                Outcome::Ready { chunks, tokens } => {
                    metrics.ingest_documents.of(Taken::Ready).inc();
                    metrics.ingest_chunks.inc_by(*chunks);
                    metrics.ingest_tokens.inc_by(*tokens);
                }
                Outcome::Failed { .. } => metrics.ingest_documents.of(Taken::Failed).inc(),
            }
        }
        Ok(())
    }
}

fn pause_after(failures: u32) -> Duration {
    (Duration::from_millis(250) * 2_u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}
