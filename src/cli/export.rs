use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::interrupt::{INTERRUPTED, on_interrupt};
use super::progress::Progress;
use crate::ingest::interchange::export;
use crate::names::CollectionName;
use crate::neighbours::Source;
use crate::settings::Settings;

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
}

/// Writes a collection to a file. No model is loaded, and what the collection was made with does not matter.
pub async fn run(args: ExportArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let collection = CollectionName::parse("collection", &args.collection)?;
    let source = Source::open(&settings.lance_uri(), &collection)
        .await?
        .with_context(|| format!("there is no collection `{collection}` in {}", settings.lance_uri()))?;
    let stop = on_interrupt()?;
    let bar = Progress::new(0);
    let exported = export(&source, &args.file, !args.without_embeddings, &stop, |total, done| {
        bar.of(total);
        bar.reach(done);
        bar.say_rate("exporting", done, "chunks");
    })
    .await;
    bar.end();
    let Some(exported) = exported? else {
        eprintln!("retro: stopped before the end; nothing was written");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    println!(
        "{} documents in {} chunks of collection {collection}, version {}, written to {}",
        exported.documents,
        exported.chunks,
        source.version(),
        args.file.display()
    );
    Ok(ExitCode::SUCCESS)
}
