use serde::Deserialize;
use utoipa::openapi::{OneOfBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::retrieval::{Alignment, OnError, RetrievalRequest, ValidRetrieval};
use super::{Limits, tokens};
use crate::invalid::Invalid;
use crate::neighbours::SearchOptions;
use crate::object;
use crate::schemas;
use crate::text::{TokenId, Tokenizer};

/// Most choices that `n` may ask for, where there are so many slots.
pub const MAX_CHOICES: usize = 8;
/// Most alternatives that `logprobs` may ask for.
pub const MAX_LOGPROBS: usize = 20;
const MAX_STOPS: usize = 8;
const MAX_STOP_CHARACTERS: usize = 256;
const DEFAULT_MAX_TOKENS: usize = 64;
/// Of frequency and presence, either way.
const MAX_PENALTY: f64 = 2.0;

/// A completion as clients ask for it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletionRequest {
    /// Text to go on from; not empty, and shorter than the model's context.
    #[schema(example = "The Dune film was released in", min_length = 1)]
    pub prompt: String,
    /// Most tokens of each choice (default 64, less where the context leaves less); prompt and completion must fit the context together.
    #[serde(default)]
    #[schema(example = 48, minimum = 1, maximum = 4_294_967_295_usize)]
    pub max_tokens: Option<usize>,
    /// 0 takes the most probable token each time (default 0).
    #[serde(default)]
    #[schema(example = 0.0, minimum = 0, maximum = 2)]
    pub temperature: Option<f64>,
    /// Samples from the most probable tokens that together have this probability (default 1: all).
    #[serde(default)]
    #[schema(exclusive_minimum = 0, maximum = 1)]
    pub top_p: Option<f64>,
    /// Samples from so many of the most probable tokens (default 0: all).
    #[serde(default)]
    #[schema(value_type = Option<usize>, maximum = 4_294_967_295_usize)]
    pub top_k: Option<u32>,
    /// Drops tokens less probable than this share of the most probable one (default 0).
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub min_p: Option<f64>,
    /// Divides the logits of tokens that the completion already holds (default 1: off).
    #[serde(default)]
    #[schema(minimum = 0.5, maximum = 2)]
    pub repetition_penalty: Option<f64>,
    /// Taken off the logits of a token for each time that the completion holds it, its prompt not counted (default 0: off). Below 0 it makes
    /// repetition more probable.
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub frequency_penalty: Option<f64>,
    /// Taken off once, however often the completion holds the token (default 0: off).
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    pub presence_penalty: Option<f64>,
    /// Makes sampling repeatable; drawn at random where it is missing.
    #[serde(default)]
    #[schema(value_type = Option<usize>, maximum = 18_446_744_073_709_551_615_usize)]
    pub seed: Option<u64>,
    /// Choices to make of the prompt, which is read once: 1 (the default) to 8, and at most as many as the server has slots. Choice `i` samples
    /// as a request with the seed `seed` + `i` does, so with `temperature` 0 all are equal.
    #[serde(default)]
    #[schema(example = 1, minimum = 1, maximum = 8)]
    pub n: Option<usize>,
    /// Texts that end the completion; they are not part of it. At most 8 of 1 to 256 characters.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Log-probabilities of each token and of so many alternatives, 0 to 20; with `echo` of the prompt's tokens too.
    #[serde(default)]
    #[schema(maximum = 20)]
    pub logprobs: Option<usize>,
    /// true puts the prompt before the completion.
    #[serde(default)]
    pub echo: bool,
    /// true answers with server-sent events.
    #[serde(default)]
    pub stream: bool,
    /// true makes the same completion without retrieval beside it, and says for each token how much retrieval raised its log-probability:
    /// `comparison` in the answer, events `comparison` and `gains` in a stream. Costs about three completions.
    #[serde(default)]
    pub compare: bool,
    #[serde(default, deserialize_with = "object::one")]
    pub retrieval: RetrievalRequest,
    /// What `max_tokens` is where it is missing, less where the context leaves less. It is for the interface to say, not for the client.
    #[serde(skip, default = "default_max_tokens")]
    pub default_max_tokens: usize,
}

fn default_max_tokens() -> usize {
    DEFAULT_MAX_TOKENS
}

/// Tokens of a prompt, at least one, with their text.
struct Prompt {
    tokens: Vec<TokenId>,
    text: String,
}

/// One stop text or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Stop {
    One(String),
    Many(Vec<String>),
}

impl PartialSchema for Stop {
    fn schema() -> RefOr<Schema> {
        let text = || schemas::text(1..=MAX_STOP_CHARACTERS);
        let forms = OneOfBuilder::new().item(text()).item(schemas::list(text(), 0..=MAX_STOPS));
        forms.description(Some("One stop text or several.")).into()
    }
}

impl ToSchema for Stop {}

#[derive(Clone, Debug)]
pub struct Sampling {
    pub temperature: f32,
    pub top_p: f32,
    /// 0: all.
    pub top_k: usize,
    pub min_p: f32,
    pub repetition_penalty: f32,
    /// For each time that the token was drawn.
    pub frequency_penalty: f32,
    /// For a token that was drawn at all.
    pub presence_penalty: f32,
    pub seed: u64,
}

impl Sampling {
    /// Whether tokens that were drawn before have other logits than the model's.
    pub fn penalises(&self) -> bool {
        self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }
}

/// A completion request that is within every limit.
#[derive(Clone, Debug)]
pub struct ValidCompletion {
    pub(in crate::generate) prompt: Vec<TokenId>,
    pub(in crate::generate) max_tokens: usize,
    pub(in crate::generate) choices: usize,
    pub(in crate::generate) sampling: Sampling,
    pub(in crate::generate) stop: Vec<String>,
    pub(in crate::generate) logprobs: Option<usize>,
    /// The prompt's text, where it comes before the completion's.
    pub(in crate::generate) echo: Option<String>,
    pub(in crate::generate) retrieval: ValidRetrieval,
}

impl ValidCompletion {
    /// The search for neighbours that will be made, if one will.
    pub fn search(&self) -> Option<&SearchOptions> {
        self.retrieval.search()
    }

    pub fn goes_on_without_neighbours(&self) -> bool {
        self.retrieval.on_error == OnError::Continue
    }

    /// At least one.
    pub fn prompt(&self) -> &[TokenId] {
        &self.prompt
    }

    /// How many chunks of the sequence are complete where the prompt ends: their neighbours, if any are read, all choices read.
    pub fn prompt_chunks(&self) -> usize {
        let length = self.prompt.len();
        self.retrieval.grid(length).complete_chunks(length)
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
            frequency_penalty: None,
            presence_penalty: None,
            seed: None,
            n: None,
            stop: None,
            logprobs: None,
            echo: false,
            stream: false,
            compare: false,
            retrieval: RetrievalRequest::default(),
            default_max_tokens: DEFAULT_MAX_TOKENS,
        }
    }

    /// # Errors
    /// [`Invalid`] names the first field that breaks a rule, the limit and what was given.
    pub fn validate(mut self, limits: &Limits, tokenizer: &Tokenizer) -> Result<ValidCompletion, Invalid> {
        if self.prompt.is_empty() {
            return Err(Invalid::new("prompt", "must not be empty"));
        }
        let text = std::mem::take(&mut self.prompt);
        let prompt = Prompt { tokens: tokens("prompt", &text, limits, tokenizer)?, text };
        self.validate_with(prompt, limits)
    }

    /// As [`validate`](Self::validate), for a prompt of tokens, which stands in the place of the text in `prompt`.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn validate_tokens(
        self,
        prompt: Vec<TokenId>,
        limits: &Limits,
        tokenizer: &Tokenizer,
    ) -> Result<ValidCompletion, Invalid> {
        if prompt.is_empty() {
            return Err(Invalid::new("prompt", "must not be empty"));
        }
        let vocabulary = tokenizer.vocabulary();
        if let Some((at, token)) = prompt.iter().enumerate().find(|&(_, &token)| token as usize >= vocabulary) {
            return Err(Invalid::new(
                "prompt",
                format!("has tokens from 0 to {} only, the one at place {at} is {token}", vocabulary - 1),
            ));
        }
        let prompt = Prompt { text: tokenizer.decode(&prompt), tokens: prompt };
        self.validate_with(prompt, limits)
    }

    fn validate_with(self, Prompt { tokens: prompt, text }: Prompt, limits: &Limits) -> Result<ValidCompletion, Invalid> {
        let room = limits.context.saturating_sub(prompt.len());
        if room == 0 {
            return Err(Invalid::new(
                "prompt",
                format!("has {} tokens; with at least one new token it must fit the context of {}", prompt.len(), limits.context),
            ));
        }
        let max_tokens = match self.max_tokens {
            None => self.default_max_tokens.min(room),
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
            top_k: self.top_k.unwrap_or(0) as usize,
            min_p: within("min_p", self.min_p, 0.0, 1.0, 0.0)?,
            repetition_penalty: within("repetition_penalty", self.repetition_penalty, 0.5, 2.0, 1.0)?,
            frequency_penalty: within("frequency_penalty", self.frequency_penalty, -MAX_PENALTY, MAX_PENALTY, 0.0)?,
            presence_penalty: within("presence_penalty", self.presence_penalty, -MAX_PENALTY, MAX_PENALTY, 0.0)?,
            seed: self.seed.unwrap_or_else(rand::random),
        };
        let choices = self.n.unwrap_or(1);
        if !(1..=limits.max_n).contains(&choices) {
            return Err(Invalid::new(
                "n",
                format!("must be 1 to {}, the smaller of {MAX_CHOICES} and the server's slots, is {choices}", limits.max_n),
            ));
        }
        if let Some(given) = self.logprobs.filter(|&given| given > MAX_LOGPROBS) {
            return Err(Invalid::new("logprobs", format!("must be at most {MAX_LOGPROBS}, is {given}")));
        }
        let retrieval = self.retrieval.validate(limits, Alignment::PromptEnd)?;
        if self.compare && !retrieval.uses_neighbours() {
            return Err(Invalid::new("compare", "compares with retrieval, which `retrieval` turns off"));
        }
        Ok(ValidCompletion {
            prompt,
            max_tokens,
            choices,
            sampling,
            stop: stops(self.stop)?,
            logprobs: self.logprobs,
            echo: self.echo.then_some(text),
            retrieval,
        })
    }
}

/// Rounded to the precision of the logits only when it is known to be within the limits.
fn within(field: &str, given: Option<f64>, low: f64, high: f64, default: f32) -> Result<f32, Invalid> {
    match given {
        None => Ok(default),
        Some(value) if (low..=high).contains(&value) => Ok(value as f32),
        Some(value) => Err(Invalid::new(field, format!("must be {low} to {high}, is {value}"))),
    }
}

fn above_zero(field: &str, given: Option<f64>, default: f32) -> Result<f32, Invalid> {
    match given {
        Some(value) if value <= 0.0 => Err(Invalid::new(field, format!("must be above 0 and at most 1, is {value}"))),
        // What is above 0 stays above 0.
        given => within(field, given, 0.0, 1.0, default).map(|value| value.max(f32::MIN_POSITIVE)),
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
        let characters = stop.chars().count();
        if !(1..=MAX_STOP_CHARACTERS).contains(&characters) {
            return Err(Invalid::new(
                format!("stop[{at}]"),
                format!("must have 1 to {MAX_STOP_CHARACTERS} characters, has {characters}"),
            ));
        }
    }
    Ok(stops)
}
