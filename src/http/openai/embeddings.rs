//! `POST /v1/embeddings`: the embedder by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{OneOfBuilder, RefOr, Response, Schema};
use utoipa::{IntoResponses, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{check_model, errors};
use crate::app::App;
use crate::embedder::Embedder;
use crate::http::admission::place;
use crate::http::complete::unless_cut;
use crate::http::json::Json;
use crate::http::openapi::BODY_ERRORS;
use crate::http::problem::{ApiError, Code};
use crate::invalid::Invalid;
use crate::onnx::Cores;
use crate::schemas;

/// OpenAI's own limit.
const MAX_INPUTS: usize = 2048;
/// Texts with more bytes than so many for each token are refused before they are tokenised: a word piece has at least one byte, and few have
/// more than 32.
const BYTES_OF_A_TOKEN: usize = 256;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(embeddings))
}

/// Texts to embed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EmbeddingRequest {
    /// The embedder's name, as `GET /v1/models` has it.
    #[schema(example = "all-MiniLM-L6-v2")]
    model: String,
    input: EmbeddingInput,
    /// `base64` is the little-endian 32-bit floats, which OpenAI's clients ask for by themselves (default `float`).
    #[serde(default)]
    encoding_format: Option<EncodingFormat>,
    /// The embedder's own number of dimensions; no other can be had.
    #[serde(default)]
    #[schema(example = 384, minimum = 1, maximum = 4_294_967_295_usize)]
    dimensions: Option<usize>,
    /// Ignored.
    #[serde(default)]
    #[expect(dead_code, reason = "taken so that it is no unknown field")]
    user: Option<String>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "invalid type: expected a string or a list of strings; lists of tokens are not taken, since OpenAI's are not the embedder's"
)]
enum EmbeddingInput {
    One(String),
    Many(Vec<String>),
}

impl PartialSchema for EmbeddingInput {
    fn schema() -> RefOr<Schema> {
        let forms = OneOfBuilder::new().item(schemas::some_text()).item(schemas::list(schemas::some_text(), 1..=MAX_INPUTS));
        let words = "One text or up to 2048, none empty and none longer than the embedder reads. Lists of tokens are refused: OpenAI's \
                     tokens are not the embedder's.";
        forms.description(Some(words)).into()
    }
}

impl ToSchema for EmbeddingInput {}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EncodingFormat {
    #[default]
    Float,
    Base64,
}

#[derive(Serialize, ToSchema)]
struct EmbeddingList {
    #[schema(value_type = String, example = "list")]
    object: &'static str,
    /// In the order of the texts.
    data: Vec<EmbeddingObject>,
    #[schema(example = "all-MiniLM-L6-v2")]
    model: String,
    usage: EmbeddingUsage,
}

#[derive(Serialize, ToSchema)]
struct EmbeddingObject {
    #[schema(value_type = String, example = "embedding")]
    object: &'static str,
    index: usize,
    embedding: Embedding,
}

/// A vector of length 1.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Embedding {
    Float(Vec<f32>),
    Base64(String),
}

/// Tokens of the embedder, those that it puts around each text included.
#[derive(Serialize, ToSchema)]
struct EmbeddingUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        errors::responses(&[
            BODY_ERRORS,
            &[Code::ModelNotFound, Code::InvalidValue, Code::Overloaded, Code::EmbeddingFailed, Code::ShuttingDown],
        ])
    }
}

/// Embed texts
///
/// The mean-pooled, normalised vectors by which neighbours are found: the squared Euclidean distance of two of them is a neighbour's
/// `distance`. A text that is longer than the embedder reads is refused and not cut.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "OpenAI",
    request_body(content = EmbeddingRequest, examples(
        ("one" = (summary = "One text", value = json!({"model": "all-MiniLM-L6-v2", "input": "Honey bees live in colonies."}))),
        ("several" = (summary = "Several texts, as base64", value = json!({
            "model": "all-MiniLM-L6-v2", "input": ["Tea is a hot drink.", "Dune is a film."], "encoding_format": "base64"})))
    )),
    responses(
        (status = 200, description = "The vectors", body = EmbeddingList, example = json!({
            "object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456, 0.0789]}],
            "model": "all-MiniLM-L6-v2", "usage": {"prompt_tokens": 8, "total_tokens": 8}})),
        Errors
    )
)]
async fn embeddings(
    State(app): State<Arc<App>>,
    Json(request): Json<EmbeddingRequest>,
) -> Result<axum::Json<EmbeddingList>, ApiError> {
    let embedder = &app.parts.embedder;
    check_model(&request.model, embedder.name())?;
    if let Some(given) = request.dimensions.filter(|&given| given != embedder.dimension()) {
        let message = format!("must be {}, the embedder's own, is {given}", embedder.dimension());
        return Err(Invalid::new("dimensions", message).into());
    }
    let _place = place(&app.places.lookups)?;
    let (texts, prompt_tokens) = checked(request.input, embedder).await?;
    // Somebody waits for a single text as for a look-up, and it takes as little of the embedder's time. A list may take seconds: it goes the
    // way of documents, which let queries pass between their batches, so that no completion waits for it.
    let cut = app.lifecycle.cut();
    let vectors = if texts.len() == 1 {
        unless_cut(&cut, embedder.embed_queries(texts, Cores::All)).await?
    } else {
        unless_cut(&cut, embedder.embed(texts)).await?
    };
    let format = request.encoding_format.unwrap_or_default();
    let data = vectors.into_iter().enumerate().map(|(index, vector)| EmbeddingObject {
        object: "embedding",
        index,
        embedding: Embedding::of(vector, format),
    });
    Ok(axum::Json(EmbeddingList {
        object: "list",
        data: data.collect(),
        model: embedder.name().to_owned(),
        usage: EmbeddingUsage { prompt_tokens, total_tokens: prompt_tokens },
    }))
}

/// The texts, at least one, and how many tokens they have together.
async fn checked(input: EmbeddingInput, embedder: &Embedder) -> Result<(Vec<String>, usize), ApiError> {
    let (texts, is_list) = match input {
        EmbeddingInput::One(text) => (vec![text], false),
        EmbeddingInput::Many(texts) => (texts, true),
    };
    if texts.is_empty() || texts.len() > MAX_INPUTS {
        return Err(Invalid::new("input", format!("must hold 1 to {MAX_INPUTS} texts, holds {}", texts.len())).into());
    }
    let embedder = embedder.clone();
    // Many texts take a while to tokenise.
    let checked = tokio::task::spawn_blocking(move || {
        let mut tokens = 0;
        for (at, text) in texts.iter().enumerate() {
            let field = if is_list { format!("input[{at}]") } else { "input".to_owned() };
            tokens += tokens_of(text, &field, &embedder)?;
        }
        Ok::<_, ApiError>((texts, tokens))
    });
    checked.await.unwrap_or_else(|panic| Err(ApiError::server(Code::EmbeddingFailed, panic)))
}

fn tokens_of(text: &str, field: &str, embedder: &Embedder) -> Result<usize, ApiError> {
    let most = embedder.max_tokens();
    if text.is_empty() {
        return Err(Invalid::new(field, "must not be empty").into());
    }
    if text.len() > most.saturating_mul(BYTES_OF_A_TOKEN) {
        return Err(Invalid::new(field, format!("has {} bytes, too many for {most} tokens", text.len())).into());
    }
    let tokens = embedder.count_tokens(text)?;
    if tokens > most {
        return Err(
            Invalid::new(field, format!("has {tokens} tokens, the embedder reads at most {most}; cut it into parts")).into()
        );
    }
    Ok(tokens)
}

impl Embedding {
    fn of(vector: Vec<f32>, format: EncodingFormat) -> Self {
        match format {
            EncodingFormat::Float => Self::Float(vector),
            EncodingFormat::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                Self::Base64(STANDARD.encode(bytes))
            }
        }
    }
}
