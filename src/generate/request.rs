//! From what a client wrote to a request that cannot be wrong.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::invalid::Invalid;
use crate::model::{MAX_NEIGHBOURS, Manifest};
use crate::names::CollectionName;
use crate::text::{CHUNK_LENGTH, TokenId, Tokenizer};

/// Most alternatives that `logprobs` may ask for.
pub const MAX_LOGPROBS: usize = 20;
/// Fewest tokens from one look-up to the next.
const MIN_INTERVAL: usize = 8;
const MAX_STOPS: usize = 8;
const MAX_STOP_BYTES: usize = 256;
const DEFAULT_MAX_TOKENS: usize = 64;

/// A completion as clients ask for it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionRequest {
    /// Text to go on from; not empty, and shorter than the model's context.
    #[schema(example = "The Dune film was released in")]
    pub prompt: String,
    /// Most tokens to make (default 64, less where the context leaves less); prompt and completion must fit the context together.
    #[serde(default)]
    #[schema(example = 48, minimum = 1)]
    pub max_tokens: Option<usize>,
    /// 0 takes the most probable token each time (default 0).
    #[serde(default)]
    #[schema(example = 0.0, minimum = 0, maximum = 2)]
    pub temperature: Option<f32>,
    /// Samples from the most probable tokens that together have this probability (default 1: all).
    #[serde(default)]
    #[schema(maximum = 1)]
    pub top_p: Option<f32>,
    /// Samples from so many of the most probable tokens (default 0: all).
    #[serde(default)]
    pub top_k: Option<usize>,
    /// Drops tokens less probable than this share of the most probable one (default 0).
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f32>,
    /// Divides the logits of tokens that the completion already holds (default 1: off).
    #[serde(default)]
    #[schema(minimum = 0.5, maximum = 2)]
    pub repetition_penalty: Option<f32>,
    /// Makes sampling repeatable; drawn at random where it is missing.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Texts that end the completion; they are not part of it. At most 8 of 256 bytes.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Log-probabilities of each token and of so many alternatives, 0 to 20.
    #[serde(default)]
    #[schema(maximum = 20)]
    pub logprobs: Option<usize>,
    /// true answers with server-sent events.
    #[serde(default)]
    pub stream: bool,
    #[serde(default)]
    pub retrieval: RetrievalRequest,
}

/// One stop text or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Stop {
    One(String),
    Many(Vec<String>),
}

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
    #[schema(example = "default")]
    pub collection: Option<String>,
    /// Neighbours farther than this squared distance (0 to 4) are left out.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub max_distance: Option<f32>,
    /// Where the chunk grid lies (default `prompt_end`).
    #[serde(default)]
    pub alignment: Option<Alignment>,
    /// Tokens from one look-up to the next while the completion is written, 8 to 64 (default 64, the chunk that the model was trained with).
    /// Fewer follow the text more closely and cost more.
    #[serde(default)]
    #[schema(example = 64, minimum = 8, maximum = 64)]
    pub interval: Option<usize>,
    /// Neighbours to read instead of searching, the same for every chunk.
    #[serde(default)]
    pub provided: Option<Vec<ProvidedNeighbour>>,
}

/// `prompt_end`: the grid ends where the prompt ends, so that even a short prompt has neighbours. `prompt_start`: the paper's grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Alignment {
    #[default]
    PromptEnd,
    PromptStart,
}

/// A neighbour that comes with the request; each part counts up to 64 tokens.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProvidedNeighbour {
    pub neighbour: String,
    #[serde(default)]
    pub continuation: String,
}

/// What the model allows.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Limits {
    /// Tokens of prompt and completion together.
    pub context: usize,
    /// Neighbours of a chunk in training, the default.
    pub neighbours: usize,
    /// Most neighbours of a chunk.
    pub max_neighbours: usize,
}

impl From<&Manifest> for Limits {
    fn from(manifest: &Manifest) -> Self {
        Self { context: manifest.context, neighbours: manifest.neighbours, max_neighbours: MAX_NEIGHBOURS }
    }
}

/// Where the neighbours come from.
#[derive(Clone, Debug)]
pub enum NeighbourSource {
    Off,
    Search(SearchOptions),
    Provided(Vec<ProvidedNeighbour>),
}

/// How to search the database.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    pub collection: CollectionName,
    pub neighbours: usize,
    pub max_distance: Option<f32>,
}

#[derive(Clone, Debug)]
pub struct Sampling {
    pub temperature: f32,
    pub top_p: f32,
    /// 0: all.
    pub top_k: usize,
    pub min_p: f32,
    pub repetition_penalty: f32,
    pub seed: u64,
}

/// A completion request that is within every limit.
#[derive(Clone, Debug)]
pub struct ValidCompletion {
    pub(super) prompt: Vec<TokenId>,
    pub(super) max_tokens: usize,
    pub(super) sampling: Sampling,
    pub(super) stop: Vec<String>,
    pub(super) logprobs: Option<usize>,
    pub(super) source: NeighbourSource,
    pub(super) alignment: Alignment,
    pub(super) interval: usize,
}

impl ValidCompletion {
    /// Collection that will be searched, if one will.
    pub fn collection(&self) -> Option<&CollectionName> {
        match &self.source {
            NeighbourSource::Search(options) => Some(&options.collection),
            _ => None,
        }
    }

    pub(super) fn uses_neighbours(&self) -> bool {
        !matches!(self.source, NeighbourSource::Off)
    }
}

impl CompletionRequest {
    /// A request for `prompt` with every other field at its default.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            max_tokens: None,
            temperature: None,
            top_p: None,
            top_k: None,
            min_p: None,
            repetition_penalty: None,
            seed: None,
            stop: None,
            logprobs: None,
            stream: false,
            retrieval: RetrievalRequest::default(),
        }
    }

    /// # Errors
    /// [`Invalid`] names the first field that breaks a rule, the limit and what was given.
    pub fn validate(self, limits: &Limits, tokenizer: &Tokenizer) -> Result<ValidCompletion, Invalid> {
        if self.prompt.is_empty() {
            return Err(Invalid::new("prompt", "must not be empty"));
        }
        // A token has at least one byte and few have more than 32: no need to tokenise what cannot fit.
        if self.prompt.len() > limits.context.saturating_mul(256) {
            return Err(Invalid::new(
                "prompt",
                format!("has {} bytes, too many for a context of {} tokens", self.prompt.len(), limits.context),
            ));
        }
        let prompt = tokenizer.encode(&self.prompt);
        let room = limits.context.saturating_sub(prompt.len());
        if room == 0 {
            return Err(Invalid::new(
                "prompt",
                format!("has {} tokens; with at least one new token it must fit the context of {}", prompt.len(), limits.context),
            ));
        }
        let max_tokens = match self.max_tokens {
            None => DEFAULT_MAX_TOKENS.min(room),
            Some(0) => return Err(Invalid::new("max_tokens", "must be at least 1, is 0")),
            Some(given) if given > room => {
                return Err(Invalid::new(
                    "max_tokens",
                    format!(
                        "is {given}, but after the prompt's {} tokens the context of {} has room for {room}",
                        prompt.len(),
                        limits.context
                    ),
                ));
            }
            Some(given) => given,
        };
        let sampling = Sampling {
            temperature: within("temperature", self.temperature, 0.0, 2.0, 0.0)?,
            top_p: above_zero("top_p", self.top_p, 1.0)?,
            top_k: self.top_k.unwrap_or(0),
            min_p: within("min_p", self.min_p, 0.0, 1.0, 0.0)?,
            repetition_penalty: within("repetition_penalty", self.repetition_penalty, 0.5, 2.0, 1.0)?,
            seed: self.seed.unwrap_or_else(rand::random),
        };
        if let Some(given) = self.logprobs.filter(|&given| given > MAX_LOGPROBS) {
            return Err(Invalid::new("logprobs", format!("must be at most {MAX_LOGPROBS}, is {given}")));
        }
        let alignment = self.retrieval.alignment.unwrap_or_default();
        let interval = self.retrieval.interval.unwrap_or(CHUNK_LENGTH);
        if !(MIN_INTERVAL..=CHUNK_LENGTH).contains(&interval) {
            return Err(Invalid::new(
                "retrieval.interval",
                format!("must be {MIN_INTERVAL} to {CHUNK_LENGTH} tokens, is {interval}"),
            ));
        }
        Ok(ValidCompletion {
            prompt,
            max_tokens,
            sampling,
            stop: stops(self.stop)?,
            logprobs: self.logprobs,
            source: self.retrieval.validate(limits)?,
            alignment,
            interval,
        })
    }
}

impl RetrievalRequest {
    fn validate(self, limits: &Limits) -> Result<NeighbourSource, Invalid> {
        let options =
            SearchOptions::validate("retrieval.", self.neighbours, self.collection.as_deref(), self.max_distance, limits)?;
        if let Some(provided) = &self.provided {
            if provided.is_empty() || provided.len() > MAX_NEIGHBOURS {
                return Err(Invalid::new(
                    "retrieval.provided",
                    format!("must have 1 to {MAX_NEIGHBOURS} neighbours, has {}", provided.len()),
                ));
            }
            if let Some(at) = provided.iter().position(|given| given.neighbour.is_empty()) {
                return Err(Invalid::new(format!("retrieval.provided[{at}].neighbour"), "must not be empty"));
            }
        }
        Ok(match (self.enabled.unwrap_or(true), self.provided) {
            (false, _) => NeighbourSource::Off,
            (true, Some(provided)) => NeighbourSource::Provided(provided),
            (true, None) if options.neighbours == 0 => NeighbourSource::Off,
            (true, None) => NeighbourSource::Search(options),
        })
    }
}

impl SearchOptions {
    /// `prefix` stands before the names of the fields in errors.
    ///
    /// # Errors
    /// [`Invalid`] names the field and its limit.
    pub fn validate(
        prefix: &str,
        neighbours: Option<usize>,
        collection: Option<&str>,
        max_distance: Option<f32>,
        limits: &Limits,
    ) -> Result<Self, Invalid> {
        let neighbours = neighbours.unwrap_or(limits.neighbours);
        if neighbours > limits.max_neighbours {
            return Err(Invalid::new(
                format!("{prefix}neighbours"),
                format!("must be 0 to {}, is {neighbours}", limits.max_neighbours),
            ));
        }
        let collection = match collection {
            None => CollectionName::default(),
            Some(name) => CollectionName::parse(&format!("{prefix}collection"), name)?,
        };
        if let Some(given) = max_distance.filter(|given| !(0.0..=4.0).contains(given)) {
            return Err(Invalid::new(
                format!("{prefix}max_distance"),
                format!("must be 0 to 4 (squared distance of normalised vectors), is {given}"),
            ));
        }
        Ok(Self { collection, neighbours, max_distance })
    }
}

fn within(field: &str, given: Option<f32>, low: f32, high: f32, default: f32) -> Result<f32, Invalid> {
    match given {
        None => Ok(default),
        Some(value) if (low..=high).contains(&value) => Ok(value),
        Some(value) => Err(Invalid::new(field, format!("must be {low} to {high}, is {value}"))),
    }
}

fn above_zero(field: &str, given: Option<f32>, default: f32) -> Result<f32, Invalid> {
    match given {
        Some(value) if value <= 0.0 => Err(Invalid::new(field, format!("must be above 0 and at most 1, is {value}"))),
        given => within(field, given, 0.0, 1.0, default),
    }
}

fn stops(stop: Option<Stop>) -> Result<Vec<String>, Invalid> {
    let stops = match stop {
        None => Vec::new(),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    if stops.len() > MAX_STOPS {
        return Err(Invalid::new("stop", format!("may have at most {MAX_STOPS} texts, has {}", stops.len())));
    }
    for (at, stop) in stops.iter().enumerate() {
        if stop.is_empty() || stop.len() > MAX_STOP_BYTES {
            return Err(Invalid::new(
                format!("stop[{at}]"),
                format!("must have 1 to {MAX_STOP_BYTES} bytes, has {}", stop.len()),
            ));
        }
    }
    Ok(stops)
}
