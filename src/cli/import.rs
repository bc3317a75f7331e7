use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::interrupt::{INTERRUPTED, on_interrupt};
use super::progress::Progress;
use crate::app::Parts;
use crate::ingest::IngestLimits;
use crate::ingest::interchange::{Import, ImportOptions};
use crate::names::CollectionName;
use crate::settings::Settings;

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
}

/// Checks all files first, and then takes them in.
pub async fn run(args: ImportArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let collection = args.collection.map(|name| CollectionName::parse("collection", &name)).transpose()?;
    let options = ImportOptions { collection, embed_again: args.embed_again, limits: IngestLimits::from(&settings) };
    let parts = Parts::load(&settings).await?;
    let stop = on_interrupt()?;
    let bar = Arc::new(Progress::new(0));
    let show = |doing: &'static str| {
        let bar = Arc::clone(&bar);
        Arc::new(move |total, done| {
            bar.of(total);
            bar.reach(done);
            bar.say_rate(doing, done, "rows");
        })
    };
    let import = Import::check(&parts.ingest, &args.files, &options, &stop, show("checking")).await;
    let import = import.inspect_err(|_| bar.end())?;
    let Some(import) = import else {
        bar.end();
        eprintln!("retro: stopped before the end; nothing was written");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let imported = import.run(&stop, show("importing")).await;
    bar.end();
    let imported = imported?;
    println!("{} documents in {} chunks imported, in {:.1} s", imported.documents, imported.chunks, bar.seconds());
    if stop.is_cancelled() {
        eprintln!("retro: stopped; these documents are in, and the same command completes the rest");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
}
