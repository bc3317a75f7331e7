use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::interrupt::{INTERRUPTED, on_interrupt};
use super::output;
use super::progress::Progress;
use crate::ingest::interchange::export;
use crate::names::CollectionName;
use crate::neighbours::Source;
use crate::settings::Settings;

pub const EXAMPLES: &str = "\
Examples:
  retro export library library.parquet
  retro export library texts.parquet --without-embeddings";

#[derive(Args)]
pub struct ExportArgs {
    /// Collection to write
    collection: String,
    /// File to write; one that is there already is replaced when the new one is complete
    #[arg(value_name = "FILE.parquet")]
    file: PathBuf,
    /// Leave the embeddings out: whoever imports the file makes them anew
    #[arg(long)]
    without_embeddings: bool,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    collection: &'a CollectionName,
    /// Of the collection that was read.
    version: u64,
    documents: u64,
    chunks: u64,
    file: &'a Path,
}

/// Writes a collection to a file. No model is loaded, and what the collection was made with does not matter.
pub async fn run(args: ExportArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let stop = on_interrupt()?;
    let collection = CollectionName::parse("collection", &args.collection)?;
    let source = Source::open(&settings.lance_uri(), &collection)
        .await?
        .with_context(|| format!("there is no collection `{collection}` in {}", settings.lance_uri()))?;
    let bar = Progress::new(0);
    let exported = export(&source, &args.file, !args.without_embeddings, &stop, |total, done| {
        bar.count("exporting", done, total, "chunks");
    })
    .await;
    bar.end();
    let Some(exported) = exported? else {
        output::note("stopped before the end; nothing was written");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let report = Report {
        collection: &collection,
        version: source.version(),
        documents: exported.documents,
        chunks: exported.chunks,
        file: &args.file,
    };
    if args.json {
        output::json(&report)?;
    } else {
        let Report { version, documents, chunks, file, .. } = report;
        let file = file.display();
        output::line(format_args!(
            "{documents} documents in {chunks} chunks of collection {collection}, version {version}, written to {file}"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
