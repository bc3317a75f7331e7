use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::interrupt::{INTERRUPTED, on_interrupt};
use super::output;
use super::progress::Progress;
use crate::app::Parts;
use crate::ingest::IngestLimits;
use crate::ingest::interchange::{Import, ImportOptions};
use crate::names::CollectionName;
use crate::settings::Settings;

pub const EXAMPLES: &str = "\
Examples:
  retro import library.parquet
  retro import part-*.parquet --collection library";

#[derive(Args)]
pub struct ImportArgs {
    /// Files that `retro export` wrote, or that another program wrote in the same form (docs/interchange.md)
    #[arg(required = true, value_name = "FILE.parquet")]
    files: Vec<PathBuf>,
    /// Collection to put the documents in [default: the one that the file names, else default]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Embed all texts here, whatever embeddings the files have
    #[arg(long)]
    embed_again: bool,
    /// Print what was taken in as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    documents: u64,
    chunks: u64,
    seconds: f64,
    /// False where Ctrl-C came before the end.
    complete: bool,
}

/// Checks all files first, and then takes them in.
pub async fn run(args: ImportArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let collection = args.collection.map(|name| CollectionName::parse("collection", &name)).transpose()?;
    let options = ImportOptions { collection, embed_again: args.embed_again, limits: IngestLimits::from(&settings) };
    let stop = on_interrupt()?;
    let parts = Parts::load(&settings).await?;
    let bar = Arc::new(Progress::new(0));
    let show = |doing: &'static str| {
        let bar = Arc::clone(&bar);
        Arc::new(move |total, done| {
            bar.count(doing, done, total, "rows");
        })
    };
    let import = Import::check(&parts.ingest, &args.files, &options, &stop, show("checking")).await;
    let import = import.inspect_err(|_| bar.end())?;
    let Some(import) = import else {
        bar.end();
        output::note("stopped before the end; nothing was written");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let imported = import.run(&stop, show("importing")).await;
    bar.end();
    let imported = imported?;
    let report =
        Report { documents: imported.documents, chunks: imported.chunks, seconds: bar.seconds(), complete: !stop.is_cancelled() };
    if args.json {
        output::json(&report)?;
    } else {
        let Report { documents, chunks, seconds, .. } = report;
        output::line(format_args!("{documents} documents in {chunks} chunks imported, in {seconds:.1} s"))?;
    }
    if !report.complete {
        output::note("stopped; these documents are in, and the same command completes the rest");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
}
