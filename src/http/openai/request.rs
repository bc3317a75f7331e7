//! What a client of `/v1/completions` asks for, checked as a whole.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::generate::{CompletionRequest, Limits, RetrievalRequest, Stop, ValidCompletion};
use crate::invalid::Invalid;
use crate::schemas;
use crate::text::{TokenId, Tokenizer};

/// OpenAI's default.
const DEFAULT_MAX_TOKENS: usize = 16;
const DEFAULT_TEMPERATURE: f64 = 1.0;
/// Most prompts of one request, where the server's queue has so many places.
const MAX_PROMPTS: usize = 64;

/// A completion as OpenAI's clients ask for it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextCompletionRequest {
    /// The served model's name, as `GET /v1/models` has it.
    #[schema(example = "retro-nano")]
    pub model: String,
    pub prompt: TextPrompt,
    /// Most tokens of each choice (default 16, less where the context leaves less).
    #[serde(default)]
    #[schema(example = 24, minimum = 1, maximum = 4_294_967_295_usize)]
    max_tokens: Option<usize>,
    /// 0 takes the most probable token each time (default 1).
    #[serde(default)]
    #[schema(example = 0.0, minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    /// Samples from the most probable tokens that together have this probability, above 0 (default 1: all).
    #[serde(default)]
    #[schema(exclusive_minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    /// Choices of each prompt: 1 (the default) to 8, and at most as many as the server has slots.
    #[serde(default)]
    #[schema(example = 1, minimum = 1, maximum = 8)]
    n: Option<usize>,
    /// Makes so many choices of each prompt, `n` to 8, and answers with the `n` whose tokens have the greatest mean log-probability (default
    /// `n`). A stream can only have `n`.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 8)]
    best_of: Option<usize>,
    /// Texts that end a completion; they are not part of it. At most 8 of 1 to 256 characters.
    #[serde(default)]
    stop: Option<Stop>,
    /// Makes sampling repeatable; drawn at random where it is missing. Choice `j` of each prompt samples with `seed` + `j`.
    #[serde(default)]
    #[schema(minimum = -9_223_372_036_854_775_808_isize, maximum = 9_223_372_036_854_775_807_isize)]
    seed: Option<i64>,
    /// Log-probabilities of each token and of so many alternatives, 0 to 20; with `echo` of the prompt's tokens too.
    #[serde(default)]
    #[schema(maximum = 20)]
    logprobs: Option<usize>,
    /// true puts the prompt before the completion.
    #[serde(default)]
    echo: Option<bool>,
    /// Taken off the logits of a token for each time that the completion holds it (default 0).
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    frequency_penalty: Option<f64>,
    /// Taken off the logits of a token that the completion holds (default 0).
    #[serde(default)]
    #[schema(minimum = -2, maximum = 2)]
    presence_penalty: Option<f64>,
    /// true answers with server-sent events.
    #[serde(default)]
    pub stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    /// Refused unless empty: the model writes on at the end only.
    #[serde(default)]
    #[schema(max_length = 0)]
    suffix: Option<String>,
    /// Refused unless empty.
    #[serde(default)]
    #[schema(schema_with = empty_object)]
    logit_bias: Option<Map<String, Value>>,
    /// Ignored.
    #[serde(default)]
    #[expect(dead_code, reason = "taken so that it is no unknown field")]
    user: Option<String>,
    /// Which neighbours the model reads, as for `POST /v1/complete`. OpenAI has no such field.
    #[serde(default)]
    retrieval: Option<RetrievalRequest>,
}

fn empty_object() -> Schema {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::Object, Type::Null])).max_properties(Some(0)).into()
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "invalid type: expected a string, a list of strings, a list of token ids, or a list of such lists")]
pub enum TextPrompt {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<i64>),
    TokenLists(Vec<Vec<i64>>),
}

impl PartialSchema for TextPrompt {
    fn schema() -> RefOr<Schema> {
        let text = || schemas::some_text().examples(["The Dune film was released in"]);
        let token = || ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(u32::MAX));
        let tokens = || ArrayBuilder::new().items(token()).min_items(Some(1));
        let forms = OneOfBuilder::new()
            .item(text())
            .item(schemas::list(text(), 1..=MAX_PROMPTS))
            .item(tokens())
            .item(schemas::list(tokens(), 1..=MAX_PROMPTS));
        let words = "A text, several, a list of tokens of the model's own tokenizer, or several such lists; at most 64 prompts, none empty.";
        forms.description(Some(words)).into()
    }
}

impl ToSchema for TextPrompt {}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    /// true: a last chunk without choices says how many tokens there were.
    #[serde(default)]
    include_usage: Option<bool>,
    /// Ignored.
    #[serde(default)]
    #[expect(dead_code, reason = "taken so that it is no unknown field")]
    include_obfuscation: Option<bool>,
}

/// What is to be done for a request.
pub struct Plan {
    /// Each makes as many choices as there are candidates.
    pub completions: Vec<ValidCompletion>,
    /// What is answered with.
    pub shape: Shape,
}

/// How the answer to a request looks.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Choices of each prompt.
    pub n: usize,
    /// Whether choices are picked from more candidates.
    pub picks: bool,
    pub logprobs: bool,
    pub echo: bool,
    pub include_usage: bool,
}

enum Prompt {
    Text(String),
    Tokens(Vec<i64>),
}

impl TextCompletionRequest {
    /// `max_queue` is the number of the queue's places, of which each prompt takes one.
    ///
    /// # Errors
    /// [`Invalid`] names the first field that breaks a rule, the limit and what was given.
    pub fn validate(self, limits: &Limits, max_queue: usize, tokenizer: &Tokenizer) -> Result<Plan, Invalid> {
        if self.suffix.is_some_and(|suffix| !suffix.is_empty()) {
            return Err(Invalid::new("suffix", "must be empty: the model writes on at the end only"));
        }
        if self.logit_bias.is_some_and(|bias| !bias.is_empty()) {
            return Err(Invalid::new("logit_bias", "must be empty: this server cannot bias single tokens"));
        }
        let stream = self.stream.unwrap_or(false);
        if self.stream_options.is_some() && !stream {
            return Err(Invalid::new("stream_options", "is for streams: send `stream` true with it"));
        }
        let n = self.n.unwrap_or(1);
        if !(1..=limits.max_n).contains(&n) {
            return Err(Invalid::new("n", format!("must be 1 to {}, is {n}", limits.max_n)));
        }
        let candidates = self.best_of.unwrap_or(n);
        if !(n..=limits.max_n).contains(&candidates) {
            return Err(Invalid::new("best_of", format!("must be `n` ({n}) to {}, is {candidates}", limits.max_n)));
        }
        let picks = candidates > n;
        if picks && stream {
            return Err(Invalid::new("best_of", "must be `n` in a stream: the best are known at the end only"));
        }
        let (prompts, is_list) = match self.prompt {
            TextPrompt::Text(text) => (vec![Prompt::Text(text)], false),
            TextPrompt::Tokens(tokens) => (vec![Prompt::Tokens(tokens)], false),
            TextPrompt::Texts(texts) => (texts.into_iter().map(Prompt::Text).collect(), true),
            TextPrompt::TokenLists(lists) => (lists.into_iter().map(Prompt::Tokens).collect(), true),
        };
        let most = MAX_PROMPTS.min(max_queue);
        if !(1..=most).contains(&prompts.len()) {
            return Err(Invalid::new("prompt", format!("must hold 1 to {most} prompts, holds {}", prompts.len())));
        }
        let shape = Shape {
            n,
            picks,
            logprobs: self.logprobs.is_some(),
            echo: self.echo.unwrap_or(false),
            include_usage: self.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
        };
        let request = CompletionRequest {
            max_tokens: self.max_tokens,
            default_max_tokens: DEFAULT_MAX_TOKENS,
            temperature: Some(self.temperature.unwrap_or(DEFAULT_TEMPERATURE)),
            top_p: self.top_p,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            // A seed is 64 bits, whichever sign they are read with.
            seed: self.seed.map(i64::cast_unsigned),
            n: Some(candidates),
            stop: self.stop,
            // Candidates are compared by those of their tokens.
            logprobs: self.logprobs.or(picks.then_some(0)),
            echo: shape.echo,
            retrieval: self.retrieval.unwrap_or_default(),
            ..CompletionRequest::new("")
        };
        let completions = prompts.into_iter().enumerate().map(|(at, prompt)| {
            prompt.validate(request.clone(), limits, tokenizer).map_err(|invalid| match invalid.field.as_str() {
                "prompt" if is_list => Invalid { field: format!("prompt[{at}]"), ..invalid },
                _ => invalid,
            })
        });
        Ok(Plan { completions: completions.collect::<Result<_, _>>()?, shape })
    }
}

impl Prompt {
    fn validate(self, request: CompletionRequest, limits: &Limits, tokenizer: &Tokenizer) -> Result<ValidCompletion, Invalid> {
        match self {
            Self::Text(prompt) => CompletionRequest { prompt, ..request }.validate(limits, tokenizer),
            Self::Tokens(tokens) => {
                let ids = tokens.iter().map(|&token| TokenId::try_from(token));
                let tokens = ids
                    .collect::<Result<_, _>>()
                    .map_err(|_| Invalid::new("prompt", format!("has tokens from 0 to {} only", tokenizer.vocabulary() - 1)))?;
                request.validate_tokens(tokens, limits, tokenizer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    const LIMITS: Limits = Limits { context: 512, neighbours: 2, max_neighbours: 16, max_n: 8 };

    fn validate(more: Value) -> Result<Plan, Invalid> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/retro-nano/tokenizer.json");
        let tokenizer = Tokenizer::load(&path).unwrap();
        let mut body = json!({"model": "retro-nano", "prompt": "Tea is"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<TextCompletionRequest>(body).unwrap().validate(&LIMITS, 64, &tokenizer)
    }

    #[test]
    fn each_form_of_a_prompt_gives_its_completions() {
        for (prompt, lengths) in
            [(json!([5, 6, 7]), vec![3]), (json!([[5], [6, 7]]), vec![1, 2]), (json!(vec!["a"; 64]), vec![1; 64])]
        {
            let plan = validate(json!({"prompt": prompt})).unwrap();
            assert_eq!(plan.completions.iter().map(|one| one.prompt().len()).collect::<Vec<_>>(), lengths);
        }
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        for (more, field) in [
            (json!({"prompt": []}), "prompt"),
            (json!({"prompt": ""}), "prompt"),
            (json!({"prompt": ["a", ""]}), "prompt[1]"),
            (json!({"prompt": [[]]}), "prompt[0]"),
            (json!({"prompt": [-1]}), "prompt"),
            (json!({"prompt": [[1], [1_000_000]]}), "prompt[1]"),
            (json!({"prompt": vec!["a"; 65]}), "prompt"),
            (json!({"n": 9}), "n"),
            (json!({"n": 3, "best_of": 2}), "best_of"),
            (json!({"best_of": 9}), "best_of"),
            (json!({"best_of": 2, "stream": true}), "best_of"),
            (json!({"suffix": "."}), "suffix"),
            (json!({"logit_bias": {"50256": -100}}), "logit_bias"),
            (json!({"stream_options": {"include_usage": true}}), "stream_options"),
            (json!({"frequency_penalty": 2.1}), "frequency_penalty"),
            (json!({"presence_penalty": -2.1}), "presence_penalty"),
            (json!({"temperature": 3}), "temperature"),
            (json!({"logprobs": 21}), "logprobs"),
            (json!({"retrieval": {"neighbours": 17}}), "retrieval.neighbours"),
        ] {
            let refused = validate(more.clone()).err().unwrap_or_else(|| panic!("{more} is taken"));
            assert_eq!(refused.field, field, "{refused}");
        }
        let nothing = json!({"suffix": "", "logit_bias": {}, "user": "me", "n": null, "retrieval": null, "stop": null});
        assert!(validate(nothing).is_ok());
        assert!(validate(json!({"n": 2, "best_of": 2, "stream": true, "stream_options": {"include_usage": true}})).is_ok());
    }
}
