use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::timeout;
use uuid::Uuid;

use crate::app::{Parts, Worker};
use crate::catalogue::{DocumentStatus, Task};
use crate::ingest::files::Documents;
use crate::ingest::{Ingest, IngestLimits, NewDocument, Submission};
use crate::names::{CollectionName, DocumentId};
use crate::settings::Settings;

/// Documents and bytes that are queued at once, as one task.
const BATCH_DOCUMENTS: usize = 64;
const BATCH_BYTES: usize = 4 << 20;
/// Tasks that are queued before the oldest is waited for: the queue should not grow to the size of the corpus.
const TASKS_AHEAD: usize = 4;
/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Args)]
pub struct IngestArgs {
    /// Files (.txt, .md: a document each; .jsonl: a document in each line) and folders of such files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Collection to put the documents in [default: default]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
}

/// Queues the documents in the catalogue and waits till they are searchable. The worker of this process or of a running server, whichever
/// holds the lock of the stores, takes them in.
pub async fn run(args: IngestArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let collection = args.collection.map(|name| CollectionName::parse("collection", &name)).transpose()?;
    for path in &args.paths {
        anyhow::ensure!(path.exists(), "there is no file or folder {}", path.display());
    }
    let limits = IngestLimits::from(&settings);
    let parts = Parts::load(&settings).await?;
    let worker = Worker::start(&parts.ingest);
    let mut run = Run::new(parts.ingest.clone());
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for read in Documents::find(&args.paths, limits) {
        let mut input = match read {
            Ok(input) => input,
            Err(skipped) => {
                run.skipped.push(skipped.to_string());
                continue;
            }
        };
        if let Some(collection) = &collection {
            input.collection = Some(collection.to_string());
        }
        let (place, size) = (input.source.clone().unwrap_or_default(), input.text.len());
        match NewDocument::validate("", input, &limits) {
            Ok(document) => {
                bytes += size;
                batch.push(document);
            }
            Err(invalid) => run.skipped.push(format!("{place}: {invalid}")),
        }
        if batch.len() >= BATCH_DOCUMENTS || bytes >= BATCH_BYTES {
            run.submit(std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        run.submit(batch).await?;
    }
    run.finish().await?;
    worker.stop().await;
    Ok(run.report())
}

/// What has been queued and what became of it.
struct Run {
    ingest: Ingest,
    bar: ProgressBar,
    began: Instant,
    queued: VecDeque<Submission>,
    submitted: u64,
    ready: u64,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Run {
    fn new(ingest: Ingest) -> Self {
        let style =
            ProgressStyle::with_template("{spinner} {pos} of {len} documents  {per_sec}  {elapsed}").expect("a fixed template");
        let bar = ProgressBar::new(0).with_style(style);
        bar.enable_steady_tick(LOOK);
        Self {
            ingest,
            bar,
            began: Instant::now(),
            queued: VecDeque::new(),
            submitted: 0,
            ready: 0,
            failed: Vec::new(),
            skipped: Vec::new(),
        }
    }

    async fn submit(&mut self, documents: Vec<NewDocument>) -> anyhow::Result<()> {
        self.submitted += documents.len() as u64;
        self.bar.set_length(self.submitted);
        self.queued.push_back(self.ingest.submit(documents).await?);
        while self.queued.len() > TASKS_AHEAD {
            self.settle_oldest().await?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        while !self.queued.is_empty() {
            self.settle_oldest().await?;
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    async fn settle_oldest(&mut self) -> anyhow::Result<()> {
        let Some(submission) = self.queued.pop_front() else { return Ok(()) };
        let task = self.wait(submission.task.id).await?;
        self.ready += task.documents.ready;
        if task.documents.failed > 0 {
            self.note_failures(&submission.document_ids).await?;
        }
        self.bar.set_position(self.ready + self.failed.len() as u64);
        Ok(())
    }

    /// The task at its end; the bar moves meanwhile.
    async fn wait(&self, id: Uuid) -> anyhow::Result<Task> {
        let gone = || anyhow::anyhow!("the task {id} has vanished from the catalogue");
        loop {
            if let Ok(ended) = timeout(LOOK, self.ingest.wait(id)).await {
                return ended?.ok_or_else(gone);
            }
            let task = self.ingest.task(id).await?.ok_or_else(gone)?;
            self.bar.set_position(self.ready + self.failed.len() as u64 + task.documents.ready);
        }
    }

    async fn note_failures(&mut self, ids: &[DocumentId]) -> anyhow::Result<()> {
        for id in ids {
            if let Some(document) = self.ingest.document(id).await?
                && document.status == DocumentStatus::Failed
            {
                self.failed.push(format!("{id}: {}", document.error.unwrap_or_default()));
            }
        }
        Ok(())
    }

    fn report(&self) -> ExitCode {
        for line in &self.skipped {
            eprintln!("skipped {line}");
        }
        for line in &self.failed {
            eprintln!("failed {line}");
        }
        let seconds = self.began.elapsed().as_secs_f64();
        println!(
            "{} documents ready, {} failed, {} skipped, in {seconds:.1} s ({:.1} a second)",
            self.ready,
            self.failed.len(),
            self.skipped.len(),
            self.ready as f64 / seconds
        );
        if self.submitted == 0 {
            eprintln!("retro: no documents were found");
        }
        if self.failed.is_empty() && self.submitted > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
