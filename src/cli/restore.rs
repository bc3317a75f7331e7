use std::path::PathBuf;

use anyhow::ensure;
use clap::Args;

use super::backup::print;
use super::progress::Progress;
use crate::backup::restore;
use crate::settings::Settings;

pub const EXAMPLES: &str = "\
Examples:
  retro restore /backups/2026-11-30
  retro restore /backups/2026-11-30 --data-dir /srv/retro/data

The data folder must be empty, or not be there. API keys come back with the backup, those too that were revoked since it was made.";

#[derive(Args)]
pub struct RestoreArgs {
    /// Folder that `retro backup` wrote
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print what the backup holds as JSON
    #[arg(long)]
    json: bool,
}

/// Makes the data folder of a backup. No model is loaded.
pub async fn run(args: RestoreArgs, settings: Settings) -> anyhow::Result<()> {
    ensure!(
        settings.database_url.is_none() && settings.lance_uri.is_none(),
        "a backup becomes a data folder with both stores in it: leave `database_url` and `lance_uri` out"
    );
    let (folder, data) = (args.folder, settings.data_dir);
    let restored = tokio::task::spawn_blocking(move || {
        let bar = Progress::new(0);
        let restored = restore(&folder, &data, |done, total| {
            bar.count("copying", done, total, "files");
        });
        bar.end();
        restored
    });
    print(&restored.await??, "restored", args.json)
}
