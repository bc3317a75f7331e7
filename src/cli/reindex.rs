use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::interrupt::{INTERRUPTED, on_interrupt};
use super::output;
use super::progress::Progress;
use crate::app::Models;
use crate::catalogue::Catalogue;
use crate::ingest::{Reindex, Reindexed};
use crate::names::CollectionName;
use crate::neighbours::{Source, collections_at};
use crate::settings::Settings;

pub const EXAMPLES: &str = "\
Examples:
  retro reindex
  retro reindex library --embedder-precision fp32";

#[derive(Args)]
pub struct ReindexArgs {
    /// Collections to make anew [default: all]
    #[arg(value_name = "COLLECTION")]
    collections: Vec<String>,
    /// Print what became of each collection as JSON: one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    collection: &'a CollectionName,
    state: State,
    /// What it holds now; null where it was not made anew.
    documents: Option<u64>,
    chunks: Option<u64>,
    seconds: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It was made with this tokenizer and embedder already.
    Current,
    Anew,
    /// It was told to stop; the collection is as it was.
    Stopped,
}

/// Makes collections anew with the tokenizer and the embedder of the settings; the old ones serve meanwhile.
pub async fn run(args: ReindexArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let stop = on_interrupt()?;
    let named = args.collections.iter().map(|name| CollectionName::parse("collection", name));
    let named = named.collect::<Result<Vec<_>, _>>()?;
    let uri = settings.lance_uri();
    let all = collections_at(&uri).await?;
    for name in &named {
        anyhow::ensure!(all.contains(name), "there is no collection `{name}` in {uri}");
    }
    let collections = if named.is_empty() { all.clone() } else { named };
    if collections.is_empty() {
        if !args.json {
            output::line(format_args!("there are no collections in {uri}"))?;
        }
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
    )
    .await?;
    let mut stopped = false;
    for collection in &collections {
        let bar = Progress::new(0);
        let made = reindex
            .run(collection, &stop, &|progress| {
                bar.reach(progress.done, progress.total);
                bar.say(progress.documents, progress.chunks);
            })
            .await;
        bar.end();
        let (state, documents, chunks) = match made? {
            Reindexed::Current => (State::Current, None, None),
            Reindexed::Anew { documents, chunks } => (State::Anew, Some(documents), Some(chunks)),
            Reindexed::Stopped => (State::Stopped, None, None),
        };
        stopped = matches!(state, State::Stopped);
        report(&Report { collection, state, documents, chunks, seconds: bar.seconds() }, args.json)?;
        if stopped {
            break;
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
        output::note(format_args!(
            "made with another tokenizer or embedder: {}; a server starts when all collections are made with the same",
            others.join(", ")
        ));
    }
    Ok(if stopped { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn report(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        return Ok(output::json(report)?);
    }
    let &Report { collection, documents, chunks, seconds, .. } = report;
    match report.state {
        State::Current => output::line(format_args!("{collection}: made with this tokenizer and embedder already"))?,
        State::Anew => {
            let (documents, chunks) = (documents.unwrap_or_default(), chunks.unwrap_or_default());
            let rate = chunks as f64 / seconds;
            output::line(format_args!(
                "{collection}: {documents} documents in {chunks} chunks, in {seconds:.1} s ({rate:.1} chunks a second)"
            ))?;
        }
        State::Stopped => output::note(format_args!("stopped; collection {collection} is as it was")),
    }
    Ok(())
}
