use clap::Args;

use crate::app::Parts;
use crate::generate::Alignment;
use crate::names::CollectionName;

/// What a search for neighbours can be told.
#[derive(Args)]
pub struct SearchArgs {
    /// Neighbours of each chunk
    #[arg(long, value_name = "0..16")]
    pub neighbours: Option<usize>,
    /// Collection to search [default: default]
    #[arg(long, value_name = "NAME")]
    pub collection: Option<String>,
    /// Leaves out neighbours farther than this squared distance
    #[arg(long, value_name = "0..4")]
    pub max_distance: Option<f32>,
    /// Where the chunk grid lies: prompt_end or prompt_start [default: prompt_end]
    #[arg(long, value_name = "GRID", value_parser = parse_alignment)]
    pub alignment: Option<Alignment>,
}

/// The names that the HTTP API has too.
fn parse_alignment(given: &str) -> Result<Alignment, String> {
    serde_json::from_value(serde_json::Value::from(given)).map_err(|_| "it is prompt_end or prompt_start".to_owned())
}

/// # Errors
/// The collection does not exist.
pub async fn ensure_collection(parts: &Parts, collection: &CollectionName) -> anyhow::Result<()> {
    anyhow::ensure!(parts.has_collection(collection).await?, "there is no collection `{collection}`");
    Ok(())
}
