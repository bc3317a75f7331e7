use std::collections::VecDeque;
use std::process::ExitCode;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::report::{Listing, Report};
use super::{Batch, Read};
use crate::catalogue::{DocumentStatus, Task};
use crate::cli::interrupt::INTERRUPTED;
use crate::cli::output;
use crate::cli::progress::{LOOK, Progress};
use crate::ingest::{Ingest, NewDocument, Submission};

/// Tasks that are queued before the oldest is waited for: the queue should not grow to the size of the corpus.
const TASKS_AHEAD: usize = 4;

/// Documents that were queued as one task.
struct Queued {
    submission: Submission,
    /// Bytes of the files up to its last document.
    bytes: u64,
}

/// What has been queued and what became of it.
pub struct Run {
    ingest: Ingest,
    force: bool,
    stop: CancellationToken,
    progress: Progress,
    queued: VecDeque<Queued>,
    submitted: u64,
    ready: u64,
    chunks: u64,
    unchanged: u64,
    failed: Listing,
    skipped: Listing,
}

impl Run {
    /// `all` documents that are left out are kept for the report, or the first few.
    pub fn new(ingest: Ingest, bytes: u64, force: bool, all: bool, stop: CancellationToken) -> Self {
        Self {
            ingest,
            force,
            stop,
            progress: Progress::new(bytes),
            queued: VecDeque::new(),
            submitted: 0,
            ready: 0,
            chunks: 0,
            unchanged: 0,
            failed: Listing::new(all),
            skipped: Listing::new(all),
        }
    }

    /// Queues what is read and waits till all of it is settled, or till it is told to stop.
    pub async fn take(&mut self, mut reads: mpsc::Receiver<Read>) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        let stop = self.stop.clone();
        loop {
            let read = tokio::select! {
                read = reads.recv() => read,
                () = stop.cancelled() => break,
            };
            let Some(read) = read else { break };
            bytes = read.bytes;
            match read.document {
                Ok(document) => batch.push(document),
                Err(skipped) => self.skipped.push(skipped.to_string()),
            }
            if batch.is_full() {
                self.submit(std::mem::take(&mut batch).documents, bytes).await?;
            }
        }
        if !stop.is_cancelled() {
            self.submit(batch.documents, bytes).await?;
        }
        while !stop.is_cancelled() && !self.queued.is_empty() {
            self.settle_oldest().await?;
        }
        self.progress.end();
        if stop.is_cancelled() {
            output::note("stopping; what is being written is completed");
        }
        Ok(())
    }

    async fn submit(&mut self, documents: Vec<NewDocument>, bytes: u64) -> anyhow::Result<()> {
        let read = documents.len();
        let documents = if self.force { documents } else { self.ingest.changed(documents).await? };
        self.unchanged += (read - documents.len()) as u64;
        if documents.is_empty() {
            if self.queued.is_empty() {
                self.progress.settle(bytes);
            }
            return Ok(());
        }
        self.submitted += documents.len() as u64;
        let submission = self.ingest.submit(documents).await?;
        self.queued.push_back(Queued { submission, bytes });
        while self.queued.len() > TASKS_AHEAD && !self.stop.is_cancelled() {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    async fn settle_oldest(&mut self) -> anyhow::Result<()> {
        let Some(oldest) = self.queued.front() else { return Ok(()) };
        let Some(task) = self.wait(oldest).await? else { return Ok(()) };
        if let Some(oldest) = self.queued.pop_front() {
            self.count(&oldest.submission, &task).await?;
            self.progress.settle(oldest.bytes);
            self.progress.say(self.ready, self.chunks);
        }
        Ok(())
    }

    /// The task at its end, while the bar moves; none if it is told to stop.
    async fn wait(&self, queued: &Queued) -> anyhow::Result<Option<Task>> {
        let id = queued.submission.task.id;
        loop {
            tokio::select! {
                ended = timeout(LOOK, self.ingest.wait(id)) => {
                    if let Ok(ended) = ended {
                        return Ok(Some(ended?.ok_or_else(|| gone(id))?));
                    }
                }
                () = self.stop.cancelled() => return Ok(None),
            }
            let documents = self.ingest.task(id).await?.ok_or_else(|| gone(id))?.documents;
            self.progress.look(queued.bytes, (documents.ready + documents.failed) as f64 / documents.total.max(1) as f64);
            self.progress.say(self.ready + documents.ready, self.chunks);
        }
    }

    async fn count(&mut self, submission: &Submission, task: &Task) -> anyhow::Result<()> {
        self.ready += task.documents.ready;
        self.chunks += self.ingest.count_chunks(&submission.document_ids).await?;
        if task.documents.failed > 0 {
            for id in &submission.document_ids {
                if let Some(document) = self.ingest.document(id).await?
                    && document.status == DocumentStatus::Failed
                {
                    self.failed.push(format!("{id}: {}", document.error.unwrap_or_default()));
                }
            }
        }
        Ok(())
    }

    /// Says what became of the documents. Called when the worker has ended.
    pub async fn report(mut self, json: bool) -> anyhow::Result<ExitCode> {
        let mut waiting = 0;
        for Queued { submission, .. } in std::mem::take(&mut self.queued) {
            let id = submission.task.id;
            let task = self.ingest.task(id).await?.ok_or_else(|| gone(id))?;
            self.count(&submission, &task).await?;
            waiting += task.documents.total.saturating_sub(task.documents.ready + task.documents.failed);
        }
        let report = Report {
            ready: self.ready,
            unchanged: self.unchanged,
            waiting,
            chunks: self.chunks,
            seconds: self.progress.seconds(),
            failed: self.failed,
            skipped: self.skipped,
        };
        report.print(json)?;
        if self.stop.is_cancelled() {
            output::note(format_args!(
                "stopped before the end; {waiting} documents are queued and safe, for a running server or the next `retro ingest`. \
                 The same command goes on from here"
            ));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        if self.submitted + self.unchanged == 0 {
            output::note("no documents were found");
        }
        Ok(report.code())
    }
}

fn gone(id: Uuid) -> anyhow::Error {
    anyhow::anyhow!("the task {id} has vanished from the catalogue")
}
