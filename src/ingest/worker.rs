use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::housekeeping::{Housekeeping, When};
use super::locks::{ChangeGuard, WorkerGuard};
use super::stalled::Stalled;
use super::{Ingest, IngestError};
use crate::catalogue::{Outcome, QueuedDocument};
use crate::metrics::{self, Taken};
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Database, DatabaseError, Entry, SourceText};
use crate::panics;

/// Most documents of one batch.
const BATCH_DOCUMENTS: u32 = 64;
/// Most bytes of text in one batch of several documents: about 512 chunks.
const BATCH_BYTES: u64 = 128 << 10;
/// How often the worker looks for what another process has submitted.
const IDLE_POLL: Duration = Duration::from_millis(300);
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
/// Collections that could not be written, with the reason.
pub(super) type Unwritten = Vec<(CollectionName, DatabaseError)>;

/// What the worker keeps from one round to the next.
struct Work {
    housekeeping: Housekeeping,
    /// What the last round prepared.
    unwritten: Vec<Prepared>,
    stalled: Stalled,
    /// Rounds that failed, one after the other.
    failures: u32,
}

impl Ingest {
    /// Takes documents in as they are submitted, by this process or another, until `stop`; then completes the write at hand and returns.
    /// Of all processes that run this on the same stores of one machine, one works at a time; when it ends, however it ends, another goes
    /// on. Where the catalogue is shared all of them work, each on documents that it has claimed.
    ///
    /// A document that cannot be chunked or embedded fails. Where a store cannot be written, which is no document's fault, those that were to
    /// be written wait and are tried again until it can; collections that can be written go on meanwhile. Chunks of an earlier revision that
    /// was ready are found as before in either case, and the text that failed or waits can still be read.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub async fn run_worker(&self, stop: CancellationToken) -> Result<(), IngestError> {
        loop {
            let panic = match AssertUnwindSafe(self.work_until(&stop)).catch_unwind().await {
                Ok(ended) => return ended,
                Err(panic) => panic,
            };
            // What it held it holds no more, and it begins anew with what waits: a bug must not keep all documents out until the next start.
            tracing::error!(panic = panics::message(&*panic), "documents cannot be taken in for now");
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause_after(1)) => {}
            }
        }
    }

    async fn work_until(&self, stop: &CancellationToken) -> Result<(), IngestError> {
        let take = || WorkerGuard::take(&self.inner.worker_lock, self.inner.leases.as_ref(), stop);
        let Some(mut worker) = take().await? else {
            return Ok(());
        };
        let mut work =
            Work { housekeeping: Housekeeping::new(), unwritten: Vec::new(), stalled: Stalled::default(), failures: 0 };
        while !stop.is_cancelled() {
            if worker.is_lost() {
                // Others have what this one had taken.
                work.unwritten.clear();
                let Some(again) = take().await? else { break };
                worker = again;
            }
            let done = self.round(&worker, &mut work, stop).await;
            if let (Some(claim), waiting @ [_, ..]) = (worker.claim(), &work.stalled.waiting()[..]) {
                // Another may be able to: it may have the embedder that a collection was made anew with. If not, the claim ends with the lease.
                let _ = self.inner.catalogue.unclaim(claim, waiting).await;
            }
            let pause = match done {
                Ok(true) => {
                    work.failures = 0;
                    continue;
                }
                Ok(false) => {
                    work.failures = 0;
                    IDLE_POLL
                }
                Err(error) => {
                    tracing::error!(%error, "documents cannot be taken in for now");
                    work.failures += 1;
                    pause_after(work.failures)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.inner.work.notified(), if work.failures == 0 => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        drop((worker, work));
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
    async fn round(&self, worker: &WorkerGuard, work: &mut Work, stop: &CancellationToken) -> Result<bool, IngestError> {
        if work.unwritten.is_empty() && !self.inner.catalogue.has_work().await? {
            self.keep_house(&mut work.housekeeping, When::Idle).await?;
            return Ok(false);
        }
        // A removal that fails holds up no document.
        let removals = self.complete_removals(&mut work.stalled).await;
        let Some(documents) = self.take(worker, work, stop).await? else {
            return Ok(false);
        };
        let Work { housekeeping, unwritten, stalled, .. } = work;
        let writing = std::mem::take(unwritten);
        let documents = self.writable(documents, stalled).await;
        if documents.is_empty() && writing.is_empty() {
            self.keep_house(housekeeping, When::Idle).await?;
            return removals.map(|()| false);
        }
        let write = async {
            let written = match writing.is_empty() {
                true => Ok(Unwritten::new()),
                false => {
                    housekeeping.note_write();
                    self.write(&writing, stop).await
                }
            };
            self.inner.progress.notify_waiters();
            written
        };
        let (prepared, written) = tokio::join!(self.prepare(documents, stop), write);
        let failed = written?;
        for Prepared { document, .. } in &writing {
            if failed.iter().all(|(collection, _)| *collection != document.collection) {
                stalled.forget(&document.collection);
            }
        }
        for (collection, error) in &failed {
            stalled.note(collection, error);
        }
        let Some(prepared) = prepared else {
            return Ok(false);
        };
        *unwritten = prepared;
        self.keep_house(housekeeping, When::Busy).await?;
        removals.map(|()| true)
    }

    /// The documents that come after those that are yet to be written. None if `stop` came before.
    async fn take(
        &self,
        worker: &WorkerGuard,
        work: &mut Work,
        stop: &CancellationToken,
    ) -> Result<Option<Vec<QueuedDocument>>, IngestError> {
        let catalogue = &self.inner.catalogue;
        let after = work.unwritten.last().map(|prepared| prepared.document.seq);
        if after.is_some() && work.stalled.is_due() {
            // What waits for another attempt comes before what was taken last.
            return Ok(Some(Vec::new()));
        }
        if after.is_none() {
            work.stalled.try_again();
        }
        let except = work.stalled.waiting();
        // After an error one document shows whether all is well again; the others need not be embedded in vain.
        let most = if work.failures == 0 { BATCH_DOCUMENTS } else { 1 };
        if let Some(claim) = worker.claim() {
            return Ok(Some(catalogue.claim_queued(claim, after.is_some(), &except, most, BATCH_BYTES).await?));
        }
        // Whoever holds the lock may be at documents that are in the queue only for the case that it is killed.
        let Some(_guard) = self.inner.changes.hold_unless(stop).await? else { return Ok(None) };
        Ok(Some(catalogue.take_queued(after, &except, most, BATCH_BYTES).await?))
    }

    /// Those of `documents` whose collections can be read, so that the others are not embedded in vain, again and again.
    async fn writable(&self, mut documents: Vec<QueuedDocument>, stalled: &mut Stalled) -> Vec<QueuedDocument> {
        let collections: BTreeSet<_> = documents.iter().map(|document| document.collection.clone()).collect();
        for collection in collections {
            if let Err(error) = self.inner.database.exists(&collection).await {
                stalled.note(&collection, &error);
                documents.retain(|document| document.collection != collection);
            }
        }
        documents
    }

    /// Writes a batch, and notes what became of each document.
    async fn write(&self, prepared: &[Prepared], stop: &CancellationToken) -> Result<Unwritten, IngestError> {
        loop {
            let Some(guard) = self.inner.changes.hold_unless(stop).await? else {
                return Ok(Unwritten::new());
            };
            let unwritten = self.write_held(&guard, prepared).await?;
            drop(guard);
            let Some((_, error)) = unwritten.iter().find(|(_, error)| matches!(error, DatabaseError::NoLeave { .. })) else {
                return Ok(unwritten);
            };
            // It is this process that failed, and not the collection; what another has taken meanwhile is passed over.
            tracing::warn!(%error, "a batch of documents is written again");
            tokio::select! {
                () = stop.cancelled() => return Ok(Unwritten::new()),
                () = tokio::time::sleep(pause_after(1)) => {}
            }
        }
    }

    /// Writes what was prepared, and notes what became of it. Documents of collections that cannot be written stay in the queue.
    pub(super) async fn write_held(&self, guard: &ChangeGuard, prepared: &[Prepared]) -> Result<Unwritten, IngestError> {
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
        let (mut failed, mut refused) = (Unwritten::new(), BTreeMap::new());
        for ((_, fresh), (collection, documents)) in groups {
            // A table that is gone is not begun anew: where it comes back, what was written would be below it.
            let written = match self.has_table(collection).await {
                Ok(_) => database.replace_documents(collection, documents, fresh).await,
                Err(IngestError::Database(error)) => Err(error),
                Err(error) => return Err(error),
            };
            match written {
                Err(error) if error.is_of_content() => drop(refused.insert((collection, fresh), error.to_string())),
                Err(error) => failed.push((collection.clone(), error)),
                Ok(()) => {}
            }
        }
        for ticket in &tickets {
            let (document, entries) = writable[&ticket.seq];
            if failed.iter().any(|(collection, _)| *collection == document.collection) {
                continue;
            }
            if let Some(reason) = refused.get(&(&document.collection, ticket.fresh)) {
                outcomes.push((document, Outcome::Failed { reason: format!("its chunks cannot be written: {reason}") }));
                continue;
            }
            match leave(&database, &document.id, &ticket.elsewhere).await {
                Ok(()) => {
                    let tokens = entries.iter().map(|entry| entry.neighbour_tokens.len() as u64).sum();
                    outcomes.push((document, Outcome::Ready { chunks: entries.len() as u64, tokens }));
                }
                Err(error) => failed.push((document.collection.clone(), error)),
            }
        }
        self.finish(&outcomes).await?;
        Ok(failed)
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

pub(super) fn pause_after(failures: u32) -> Duration {
    (Duration::from_millis(250) * 2_u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}

/// Removes a document from collections that it is no longer in.
async fn leave(database: &Database, document: &DocumentId, collections: &[CollectionName]) -> Result<(), DatabaseError> {
    for collection in collections {
        database.delete_documents(collection, std::slice::from_ref(document)).await?;
    }
    Ok(())
}
