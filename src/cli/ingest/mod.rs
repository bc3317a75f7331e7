//! `retro ingest`: files into the database, or with `--dry-run` only read.

mod dry_run;
mod report;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::sync::mpsc;

use super::interrupt::{INTERRUPTED, on_interrupt};
use crate::app::{Parts, Worker};
use crate::ingest::files::{Documents, Skipped, is_pattern};
use crate::ingest::{IngestLimits, NewDocument};
use crate::names::CollectionName;
use crate::settings::Settings;
use run::Run;

/// The code of an end at which some documents are in and others were left out.
const IN_PART: u8 = 3;

pub const EXAMPLES: &str = "\
Examples:
  retro ingest samples/
  retro ingest notes/ report.pdf 'corpus/**/*.jsonl.zst' --collection library
  retro ingest notes/ --dry-run --json

The exit code is 0 where all went in, 3 where some did and others were skipped or failed, 1 where none did.";

/// Documents and bytes that go together: queued as one task, or chunked at once.
const BATCH_DOCUMENTS: usize = 64;
const BATCH_BYTES: usize = 4 << 20;
/// Documents that are read ahead.
const READ_AHEAD: usize = 8;

#[derive(Args)]
pub struct IngestArgs {
    /// Files (.txt, .md, .html, .pdf, .docx: a document each; .jsonl, .jsonl.zst: a document in each line; .parquet: in each row), folders
    /// of such files, and quoted patterns like 'notes/**/*.md'
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Collection to put the documents in [default: default]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Read and check everything, say what would be taken in, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Files that are read and parsed at a time; 0: half as many as there are cores, up to 8
    #[arg(long, value_name = "N", default_value_t = 0)]
    workers: usize,
    /// Take in documents that have not changed since they were taken in, too
    #[arg(long)]
    force: bool,
    /// Print the report as JSON, with everything that was skipped or failed
    #[arg(long)]
    json: bool,
}

/// What was read of the files, and how far that was.
struct Read {
    document: Result<NewDocument, Skipped>,
    /// Bytes of the files up to here.
    bytes: u64,
}

/// Queues the documents in the catalogue and waits till they are searchable. The worker of this process or of a running server, whichever
/// holds the lock of the stores, takes them in.
pub async fn run(args: IngestArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    // From here on Ctrl-C lets the command come to an orderly end; a second one ends it at once.
    let stop = on_interrupt()?;
    let collection = args.collection.map(|name| CollectionName::parse("collection", &name)).transpose()?;
    for path in &args.paths {
        anyhow::ensure!(path.exists() || is_pattern(path), "there is no file or folder {}", path.display());
    }
    let documents = Documents::find(&args.paths, IngestLimits::from(&settings))
        .reading_apart(std::env::current_exe()?)
        .with_workers(if args.workers == 0 { usual_workers() } else { args.workers });
    if args.dry_run {
        return tokio::select! {
            done = dry_run::run(read(documents, collection), &settings, args.json) => done,
            () = stop.cancelled() => Ok(ExitCode::from(INTERRUPTED)),
        };
    }
    let parts = Parts::load(&settings).await?;
    let worker = Worker::start(&parts.ingest);
    let mut run = Run::new(parts.ingest.clone(), documents.bytes(), args.force, args.json, stop);
    run.take(read(documents, collection)).await?;
    worker.stop().await;
    run.report(args.json).await
}

/// The embedder needs the other cores.
fn usual_workers() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).clamp(1, 8)
}

/// Reads the documents on a thread of its own, so that whoever takes them can wait for something else too.
fn read(mut documents: Documents, collection: Option<CollectionName>) -> mpsc::Receiver<Read> {
    let (send, receive) = mpsc::channel(READ_AHEAD);
    tokio::task::spawn_blocking(move || {
        while let Some(document) = documents.next_valid(collection.as_ref()) {
            // Nobody takes them once the command was told to stop.
            if send.blocking_send(Read { document, bytes: documents.bytes_read() }).is_err() {
                return;
            }
        }
    });
    receive
}

/// Documents that are put together until they are enough for a batch.
#[derive(Default)]
struct Batch {
    documents: Vec<NewDocument>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, document: NewDocument) {
        self.bytes += document.text().len();
        self.documents.push(document);
    }

    fn is_full(&self) -> bool {
        self.documents.len() >= BATCH_DOCUMENTS || self.bytes >= BATCH_BYTES
    }
}
