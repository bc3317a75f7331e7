use std::io;

use clap::Args;

use super::print;
use crate::app::Parts;
use crate::generate::{Alignment, Limits, MAX_NEIGHBOURS, SearchOptions};
use crate::names::CollectionName;
use crate::settings::Settings;

#[derive(Args)]
pub struct RetrieveArgs {
    /// Text whose neighbours are wanted
    text: String,
    /// Neighbours of each chunk
    #[arg(long, value_name = "0..16")]
    neighbours: Option<usize>,
    /// Collection to search [default: default]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Leaves out neighbours farther than this squared distance
    #[arg(long, value_name = "0..4")]
    max_distance: Option<f32>,
    /// Where the chunk grid lies: prompt_end or prompt_start [default: prompt_end]
    #[arg(long, value_name = "GRID", value_parser = parse_alignment)]
    alignment: Option<Alignment>,
}

/// Prints what the model would see for a text.
pub async fn run(args: RetrieveArgs, settings: Settings) -> anyhow::Result<()> {
    anyhow::ensure!(!args.text.is_empty(), "`text` must not be empty");
    let parts = Parts::load(&settings).await?;
    let manifest = parts.model.manifest();
    let limits = Limits { context: manifest.context, neighbours: manifest.neighbours, max_neighbours: MAX_NEIGHBOURS };
    let options = SearchOptions::validate("", args.neighbours, args.collection.as_deref(), args.max_distance, &limits)?;
    let collection = &options.collection;
    let exists = *collection == CollectionName::default() || parts.database.exists(collection).await?;
    anyhow::ensure!(exists, "there is no collection `{collection}`");
    let found = parts.retriever.retrieve_text(&args.text, args.alignment.unwrap_or_default(), &options).await?;
    let mut out = io::stdout().lock();
    for chunk in &found.chunks {
        print::neighbours(&mut out, chunk.chunk, &chunk.text, &chunk.neighbours)?;
    }
    Ok(())
}

/// The names that the HTTP API has too.
pub fn parse_alignment(given: &str) -> Result<Alignment, String> {
    serde_json::from_value(serde_json::Value::from(given)).map_err(|_| "it is prompt_end or prompt_start".to_owned())
}
