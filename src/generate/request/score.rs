use serde::Deserialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};

use super::retrieval::{Alignment, OnError, RetrievalRequest, ValidRetrieval};
use super::{Limits, tokens};
use crate::invalid::Invalid;
use crate::neighbours::SearchOptions;
use crate::object;
use crate::text::{TokenId, Tokenizer};

/// A text whose probability is wanted, as clients ask for it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoreRequest {
    /// Text to score; not empty. Prompt and text together may have one token more than the model's context, since the last one is only
    /// predicted.
    #[schema(example = " 2021 by Warner Bros. Pictures.", min_length = 1)]
    pub text: String,
    /// Text before it, which the model reads and which is not counted; its tokens are its own, none spans both texts. Without one, the first
    /// token of `text` is given and not scored.
    #[serde(default)]
    #[schema(example = "The Dune film was released in")]
    pub prompt: String,
    /// true adds the log-probability of each scored token.
    #[serde(default)]
    pub token_log_probs: bool,
    #[serde(default, deserialize_with = "object::one")]
    #[schema(schema_with = retrieval_schema)]
    pub retrieval: RetrievalRequest,
}

/// A score waits for the neighbours of every chunk, and has them all.
fn retrieval_schema() -> RefOr<Schema> {
    let off = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([false]));
    let fail = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["fail"]));
    let fails = OneOfBuilder::new().item(fail).item(ObjectBuilder::new().schema_type(Type::Null));
    let narrower = ObjectBuilder::new().property("prefetch", off).property("on_error", fails);
    AllOfBuilder::new().item(Ref::from_schema_name("RetrievalRequest")).item(narrower).into()
}

/// A score request that is within every limit.
#[derive(Clone, Debug)]
pub struct ValidScore {
    /// Prompt and text.
    pub(in crate::generate) tokens: Vec<TokenId>,
    /// How many of them are given (at least 1); the others, at least one, are scored.
    pub(in crate::generate) given: usize,
    pub(in crate::generate) retrieval: ValidRetrieval,
}

impl ValidScore {
    /// The search for neighbours that will be made, if one will.
    pub fn search(&self) -> Option<&SearchOptions> {
        self.retrieval.search()
    }
}

impl ScoreRequest {
    /// # Errors
    /// [`Invalid`] names the first field that breaks a rule, the limit and what was given.
    pub fn validate(self, limits: &Limits, tokenizer: &Tokenizer) -> Result<ValidScore, Invalid> {
        if self.text.is_empty() {
            return Err(Invalid::new("text", "must not be empty"));
        }
        let prompt = tokens("prompt", &self.prompt, limits, tokenizer)?;
        let text = tokens("text", &self.text, limits, tokenizer)?;
        let room = (limits.context + 1).saturating_sub(prompt.len());
        if room == 0 {
            return Err(Invalid::new(
                "prompt",
                format!("has {} tokens, the context of the model {}", prompt.len(), limits.context),
            ));
        }
        if text.len() > room {
            let after = if prompt.is_empty() { String::new() } else { format!("after the prompt's {} ", prompt.len()) };
            return Err(Invalid::new(
                "text",
                format!(
                    "has {} tokens; {after}it may have at most {room}: the context of {}, and a last one that is only predicted",
                    text.len(),
                    limits.context
                ),
            ));
        }
        let given = prompt.len().max(1);
        if prompt.is_empty() && text.len() == given {
            return Err(Invalid::new(
                "text",
                "has 1 token; without a `prompt` it must have at least 2, since the first is only given",
            ));
        }
        if self.retrieval.prefetch {
            return Err(Invalid::new(
                "retrieval.prefetch",
                "must be false for a score, which waits for the neighbours of every chunk",
            ));
        }
        if self.retrieval.on_error == Some(OnError::Continue) {
            return Err(Invalid::new(
                "retrieval.on_error",
                "must be `fail` for a score: one that lacks some of its neighbours would be another number under the same name",
            ));
        }
        let retrieval = self.retrieval.validate(limits, Alignment::PromptStart)?;
        Ok(ValidScore { tokens: [prompt, text].concat(), given, retrieval })
    }
}
