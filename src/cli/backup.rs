use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;

use super::output;
use super::progress::Progress;
use crate::backup::{Manifest, Places, take};
use crate::catalogue::Catalogue;
use crate::settings::Settings;

pub const EXAMPLES: &str = "\
Examples:
  retro backup /backups/2026-11-30
  retro backup /backups/2026-11-30 --json

A server may run, and documents may come and go meanwhile. `retro restore` makes a data folder of it (docs/backup.md).";

#[derive(Args)]
pub struct BackupArgs {
    /// New or empty folder for the backup
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print what the backup holds as JSON
    #[arg(long)]
    json: bool,
}

/// Copies both stores. No model is loaded.
pub async fn run(args: BackupArgs, settings: Settings) -> anyhow::Result<()> {
    let is_file = settings.database_url.as_deref().is_none_or(|url| url.starts_with("sqlite:"));
    ensure!(
        is_file,
        "the catalogue is in a database server: pg_dump makes its backup, together with the bucket's or folder's (docs/backup.md)"
    );
    ensure!(settings.database_url.is_some() || settings.data_dir.exists(), "there is no folder {}", settings.data_dir.display());
    let catalogue = Catalogue::open(&settings.data_dir, settings.database_url.as_deref()).await?;
    let places = Places { catalogue: catalogue.clone(), uri: settings.lance_uri(), worker_lock: settings.writer_lock() };
    let bar = Progress::new(0);
    let taken = take(&places, &args.folder, |done, total| {
        bar.count("copying", done, total, "files");
    })
    .await;
    bar.end();
    catalogue.close().await;
    print(&taken?, "backed up", args.json)
}

/// What a backup holds, and what became of it.
///
/// # Errors
/// The output is closed.
pub fn print(manifest: &Manifest, done: &str, json: bool) -> anyhow::Result<()> {
    if json {
        return Ok(output::json(manifest)?);
    }
    let chunks: u64 = manifest.collections.iter().map(|collection| collection.chunks).sum();
    let (ready, pending, failed) = (manifest.documents.ready, manifest.documents.pending, manifest.documents.failed);
    output::line(format_args!(
        "{done}: {ready} documents ready, {pending} pending, {failed} failed; {chunks} chunks in {} collections; {} files of {:.1} MB",
        manifest.collections.len(),
        manifest.files.len(),
        manifest.bytes() as f64 / 1e6
    ))?;
    Ok(())
}
