use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::filter::FilterRequest;
use super::search::SearchRequest;
use super::{Limits, MAX_TOKEN_BYTES};
use crate::invalid::Invalid;
use crate::model::MAX_NEIGHBOURS;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Effort, SearchOptions};
use crate::object;
use crate::text::{CHUNK_LENGTH, Grid};

/// Most bytes of a part of a neighbour that comes with the request: no need to tokenise what the model cannot read.
const MAX_PROVIDED_BYTES: usize = CHUNK_LENGTH * MAX_TOKEN_BYTES;

/// Fewest tokens from one look-up to the next.
const MIN_INTERVAL: usize = 8;

/// Which neighbours the model reads.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrievalRequest {
    /// false: the model without its database (default true).
    #[serde(default)]
    #[schema(example = true)]
    pub enabled: Option<bool>,
    /// Neighbours of each chunk, 0 to 16 (default: what the model was trained with).
    #[serde(default)]
    #[schema(example = 2, maximum = 16)]
    pub neighbours: Option<usize>,
    /// Collection to search (default `default`).
    #[serde(default)]
    #[schema(value_type = Option<CollectionName>, example = "default")]
    pub collection: Option<String>,
    /// Neighbours farther than this squared distance (0 to 4) are left out.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 4)]
    pub max_distance: Option<f64>,
    /// Only chunks of documents that fulfil it are neighbours.
    #[serde(default)]
    pub filter: Option<FilterRequest>,
    /// Ids of documents whose chunks are no neighbours; at most 1000.
    #[serde(default)]
    #[schema(value_type = Option<Vec<DocumentId>>, example = json!(["dune-novel.md"]), max_items = 1000)]
    pub exclude_documents: Option<Vec<String>>,
    /// Chunks with the same text are one neighbour, the first by distance, document id and chunk index (default true).
    #[serde(default)]
    #[schema(example = true)]
    pub distinct: Option<bool>,
    /// Version of the collection to search instead of the newest, as an earlier answer named it in `database_version`; one that is still
    /// kept. It holds what the collection held then, documents that were deleted or replaced since included.
    #[serde(default)]
    #[schema(value_type = Option<usize>, example = json!(null), maximum = 18_446_744_073_709_551_615_usize)]
    pub as_of: Option<u64>,
    /// true: all embeddings are searched, without an index (default: what the collection says, else false).
    #[serde(default)]
    #[schema(example = false)]
    pub exact: Option<bool>,
    /// Clusters of an index that are looked through, 1 to 4096 (default: what the collection says, else 40). More find more and take longer.
    #[serde(default)]
    #[schema(example = 40, minimum = 1, maximum = 4096)]
    pub nprobes: Option<usize>,
    /// Chunks found by an index whose exact distance is computed, for each neighbour, 1 to 256 (default: what the collection says, else 4).
    #[serde(default)]
    #[schema(example = 4, minimum = 1, maximum = 256)]
    pub refine: Option<u32>,
    /// Where the chunk grid lies (default `prompt_end` for a completion, `prompt_start` for a score).
    #[serde(default)]
    pub alignment: Option<Alignment>,
    /// Tokens from one look-up to the next after the prompt, 8 to 64 (default 64, the chunk that the model was trained with). Fewer follow
    /// the text more closely and cost more.
    #[serde(default)]
    #[schema(example = 64, minimum = 8, maximum = 64)]
    pub interval: Option<usize>,
    /// true: after the prompt no token waits for neighbours (default false). A look-up begins before the end of a chunk, with the last 64
    /// tokens of that moment, and what it finds is read from the next end of a chunk on, when it is there. So the text depends on how fast
    /// the look-ups are, even with `temperature` 0. `interval` 64 without it is the exact model. Completions only.
    #[serde(default)]
    #[schema(example = false)]
    pub prefetch: bool,
    /// Neighbours to read instead of searching, the same for every chunk.
    #[serde(default, deserialize_with = "object::optional_list")]
    #[schema(min_items = 1, max_items = 16)]
    pub provided: Option<Vec<ProvidedNeighbour>>,
    /// What a look-up that fails does to the completion (default `fail`). Completions only.
    #[serde(default)]
    pub on_error: Option<OnError>,
}

/// `fail`: the completion ends with an error. `continue`: the chunk goes on without neighbours, with `prefetch` with those it has; its entry
/// has an `error`, and `failed` counts it. What is wrong with the request itself is refused either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    #[default]
    Fail,
    Continue,
}

/// `prompt_end`: the grid ends where the prompt ends, so that even a short prompt has neighbours. `prompt_start`: the paper's grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    #[default]
    PromptEnd,
    PromptStart,
}

/// A neighbour that comes with the request. Of each part, at most 16,384 bytes, the first 64 tokens are read, and shown in the answer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProvidedNeighbour {
    #[schema(min_length = 1)]
    pub neighbour: String,
    #[serde(default)]
    pub continuation: String,
}

impl ProvidedNeighbour {
    fn check(&self, place: &str) -> Result<(), Invalid> {
        if self.neighbour.is_empty() {
            return Err(Invalid::new(format!("{place}.neighbour"), "must not be empty"));
        }
        for (part, text) in [("neighbour", &self.neighbour), ("continuation", &self.continuation)] {
            if text.len() > MAX_PROVIDED_BYTES {
                let message = format!(
                    "has {} bytes, at most {MAX_PROVIDED_BYTES} are allowed, of which the first {CHUNK_LENGTH} tokens count",
                    text.len()
                );
                return Err(Invalid::new(format!("{place}.{part}"), message));
            }
        }
        Ok(())
    }
}

/// Where the neighbours come from.
#[derive(Clone, Debug)]
pub enum NeighbourSource {
    Off,
    Search(SearchOptions),
    Provided(Vec<ProvidedNeighbour>),
}

/// Retrieval for one sequence that is within every limit.
#[derive(Clone, Debug)]
pub struct ValidRetrieval {
    pub(in crate::generate) source: NeighbourSource,
    pub(in crate::generate) alignment: Alignment,
    pub(in crate::generate) interval: usize,
    pub(in crate::generate) prefetch: bool,
    pub(in crate::generate) on_error: OnError,
}

impl ValidRetrieval {
    /// The search that will be made, if one will.
    pub(super) fn search(&self) -> Option<&SearchOptions> {
        match &self.source {
            NeighbourSource::Search(options) => Some(options),
            _ => None,
        }
    }

    pub(in crate::generate) fn uses_neighbours(&self) -> bool {
        !matches!(self.source, NeighbourSource::Off)
    }

    /// The chunk grid of a sequence that begins with a prompt of `length` (at least 1) tokens.
    pub(in crate::generate) fn grid(&self, length: usize) -> Grid {
        self.alignment.grid(length).refreshed(length, self.interval)
    }
}

impl RetrievalRequest {
    /// # Errors
    /// [`Invalid`] names the first field that breaks a rule.
    pub(super) fn validate(self, limits: &Limits, alignment: Alignment) -> Result<ValidRetrieval, Invalid> {
        let interval = self.interval.unwrap_or(CHUNK_LENGTH);
        if !(MIN_INTERVAL..=CHUNK_LENGTH).contains(&interval) {
            return Err(Invalid::new(
                "retrieval.interval",
                format!("must be {MIN_INTERVAL} to {CHUNK_LENGTH} tokens, is {interval}"),
            ));
        }
        let search = SearchRequest {
            neighbours: self.neighbours,
            collection: self.collection,
            max_distance: self.max_distance,
            filter: self.filter,
            exclude_documents: self.exclude_documents,
            distinct: self.distinct,
            as_of: self.as_of,
            effort: Effort { exact: self.exact, nprobes: self.nprobes, refine: self.refine },
        };
        let options = search.validate("retrieval.", limits)?;
        if let Some(provided) = &self.provided {
            if provided.is_empty() || provided.len() > MAX_NEIGHBOURS {
                return Err(Invalid::new(
                    "retrieval.provided",
                    format!("must have 1 to {MAX_NEIGHBOURS} neighbours, has {}", provided.len()),
                ));
            }
            for (at, given) in provided.iter().enumerate() {
                given.check(&format!("retrieval.provided[{at}]"))?;
            }
        }
        let source = match (self.enabled.unwrap_or(true), self.provided) {
            (false, _) => NeighbourSource::Off,
            (true, Some(provided)) => NeighbourSource::Provided(provided),
            (true, None) if options.neighbours == 0 => NeighbourSource::Off,
            (true, None) => NeighbourSource::Search(options),
        };
        Ok(ValidRetrieval {
            source,
            alignment: self.alignment.unwrap_or(alignment),
            interval,
            prefetch: self.prefetch,
            on_error: self.on_error.unwrap_or_default(),
        })
    }
}
