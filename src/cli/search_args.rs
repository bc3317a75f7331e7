use clap::Args;

use crate::app::Parts;
use crate::generate::{Alignment, FilterRequest, SearchRequest};
use crate::neighbours::{Effort, SearchOptions};

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
    pub max_distance: Option<f64>,
    /// Takes neighbours from documents that fulfil this only, for instance '{"field": "lang", "op": "eq", "value": "en"}'
    #[arg(long, value_name = "JSON", value_parser = parse_filter)]
    pub filter: Option<FilterRequest>,
    /// Takes no neighbours from this document; may be given several times
    #[arg(long, value_name = "ID")]
    pub exclude_document: Vec<String>,
    /// Takes chunks with the same text for different neighbours
    #[arg(long)]
    pub no_distinct: bool,
    /// Searches this version of the collection, which must still be kept, instead of the newest
    #[arg(long, value_name = "VERSION")]
    pub as_of: Option<u64>,
    /// Searches all embeddings, without an index
    #[arg(long)]
    pub exact: bool,
    /// Clusters of an index to look through [default: what the collection says, else 40]
    #[arg(long, value_name = "1..4096")]
    pub nprobes: Option<usize>,
    /// Chunks found by an index whose exact distance is computed, for each neighbour [default: what the collection says, else 4]
    #[arg(long, value_name = "1..256")]
    pub refine: Option<u32>,
    /// Where the chunk grid lies: prompt_end or prompt_start [default: prompt_end]
    #[arg(long, value_name = "GRID", value_parser = parse_alignment)]
    pub alignment: Option<Alignment>,
}

impl SearchArgs {
    pub fn into_request(self) -> SearchRequest {
        SearchRequest {
            neighbours: self.neighbours,
            collection: self.collection,
            max_distance: self.max_distance,
            filter: self.filter,
            exclude_documents: Some(self.exclude_document),
            distinct: Some(!self.no_distinct),
            as_of: self.as_of,
            effort: Effort { exact: self.exact.then_some(true), nprobes: self.nprobes, refine: self.refine },
        }
    }
}

/// What it says is checked with the rest of the request.
fn parse_filter(given: &str) -> Result<FilterRequest, serde_json::Error> {
    serde_json::from_str(given)
}

/// The names that the HTTP API has too.
fn parse_alignment(given: &str) -> Result<Alignment, String> {
    serde_json::from_value(serde_json::Value::from(given)).map_err(|_| "it is prompt_end or prompt_start".to_owned())
}

/// # Errors
/// The collection does not exist, or does not keep the version that is to be searched.
pub async fn ensure_searchable(parts: &Parts, options: &SearchOptions) -> anyhow::Result<()> {
    let collection = &options.collection;
    anyhow::ensure!(parts.ingest.has_collection(collection).await?, "there is no collection `{collection}`");
    Ok(parts.database.check_version(options).await?)
}
