use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::interrupt::{INTERRUPTED, on_interrupt};
use super::progress::Progress;
use crate::app::Models;
use crate::catalogue::Catalogue;
use crate::ingest::{Reindex, Reindexed};
use crate::names::CollectionName;
use crate::neighbours::Source;
use crate::settings::Settings;

#[derive(Args)]
pub struct ReindexArgs {
    /// Collections to make anew [default: all]
    #[arg(value_name = "COLLECTION")]
    collections: Vec<String>,
}

/// Makes collections anew with the tokenizer and the embedder of the settings; the old ones serve meanwhile.
pub async fn run(args: ReindexArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let named = args.collections.iter().map(|name| CollectionName::parse("collection", name));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let uri = settings.lance_uri();
    let all = Source::collections(&uri).await?;
    for name in &named {
        anyhow::ensure!(all.contains(name), "there is no collection `{name}` in {uri}");
    }
    let collections = if named.is_empty() { all.clone() } else { named };
    if collections.is_empty() {
        println!("there are no collections in {uri}");
        return Ok(ExitCode::SUCCESS);
    }
    let models = Models::load(&settings).await?;
    let identity = models.identity();
    let catalogue = Catalogue::open(&settings.data_dir, settings.database_url.as_deref()).await?;
    let reindex = Reindex::new(
        uri.clone(),
        identity.clone(),
        catalogue.clone(),
        Arc::clone(&models.tokenizer),
        models.embedder.clone(),
        &settings.writer_lock(),
    )?;
    let stop = on_interrupt()?;
    let mut stopped = false;
    for collection in &collections {
        let bar = Progress::new(0);
        let made = reindex
            .run(collection, &stop, &|progress| {
                bar.of(progress.total);
                bar.reach(progress.done);
                bar.say(progress.documents, progress.chunks);
            })
            .await;
        bar.end();
        match made? {
            Reindexed::Current => println!("{collection}: made with this tokenizer and embedder already"),
            Reindexed::Anew { documents, chunks } => {
                let seconds = bar.seconds();
                let rate = chunks as f64 / seconds;
                println!("{collection}: {documents} documents in {chunks} chunks, in {seconds:.1} s ({rate:.1} chunks a second)");
            }
            Reindexed::Stopped => {
                eprintln!("retro: stopped; collection {collection} is as it was");
                stopped = true;
                break;
            }
        }
    }
    catalogue.close().await;
    let mut others = Vec::new();
    for name in all {
        if Source::open(&uri, &name).await?.is_some_and(|source| *source.identity() != identity) {
            others.push(name.to_string());
        }
    }
    if !others.is_empty() {
        eprintln!(
            "retro: made with another tokenizer or embedder: {}; a server starts when all collections are made with the same",
            others.join(", ")
        );
    }
    Ok(if stopped { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}
