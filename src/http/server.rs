//! What the server says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::openapi::error_responses;
use super::problem::{ApiError, Code};
use crate::app::App;
use crate::catalogue::DocumentCounts;
use crate::files::FileEntry;
use crate::generate::MAX_LOGPROBS;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(info)).routes(routes!(live)).routes(routes!(ready))
}

/// The one route that needs no parts.
pub fn live_router() -> Router {
    Router::new().route("/livez", get(live))
}

#[derive(Serialize, ToSchema)]
struct Info {
    /// Version of the server.
    #[schema(example = "0.1.0")]
    version: &'static str,
    model: ModelInfo,
    embedder: EmbedderInfo,
    runtime: RuntimeInfo,
    limits: LimitsInfo,
    collections: Vec<CollectionInfo>,
}

#[derive(Serialize, ToSchema)]
struct ModelInfo {
    #[schema(example = "retro-nano")]
    name: String,
    #[schema(example = "retro")]
    architecture: String,
    parameters: u64,
    /// The variant of the model folder that runs.
    #[schema(example = "int8")]
    variant: String,
    /// Of activations and caches.
    #[schema(example = "float32")]
    data_type: String,
    #[schema(example = "int8")]
    weights: String,
    vocabulary: usize,
    layers: usize,
    /// Layers with chunked cross-attention, counted from 1.
    cca_layers: Vec<usize>,
    chunk_length: usize,
    /// The files that run, with their sha256.
    files: BTreeMap<String, FileEntry>,
}

#[derive(Serialize, ToSchema)]
struct EmbedderInfo {
    #[schema(example = "all-MiniLM-L6-v2")]
    name: String,
    #[schema(example = 384)]
    dimension: usize,
    /// What it computes in: fp32 or int16.
    #[schema(example = "int16")]
    precision: String,
    /// sha256 of the weights, with what the precision adds.
    identity: String,
}

#[derive(Serialize, ToSchema)]
struct RuntimeInfo {
    /// ONNX Runtime's description of its build.
    version: String,
    /// The execution provider that runs the graphs.
    #[schema(example = "CPUExecutionProvider")]
    provider: String,
}

#[derive(Serialize, ToSchema)]
struct LimitsInfo {
    /// Tokens of prompt and completion together.
    context: usize,
    /// Neighbours of a chunk where the request names none.
    neighbours: usize,
    max_neighbours: usize,
    /// Choices of a completion.
    max_n: usize,
    max_logprobs: usize,
    /// Completions and scores that may wait.
    max_queue: usize,
    max_body_bytes: usize,
    /// Of an upload of files, and of the text in it.
    max_upload_bytes: usize,
    max_document_bytes: usize,
    /// Documents in one request.
    max_documents: usize,
}

#[derive(Serialize, ToSchema)]
struct CollectionInfo {
    #[schema(example = "default")]
    name: String,
    /// Chunks that a search sees.
    chunks: u64,
    /// Version of the collection; grows with every change.
    version: u64,
    documents: DocumentCounts,
}

#[derive(Serialize, ToSchema)]
struct Health {
    #[schema(example = "ok")]
    status: &'static str,
}

struct InfoErrors;

impl IntoResponses for InfoErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        error_responses(&[&[Code::RetrievalFailed]])
    }
}

struct ReadyErrors;

impl IntoResponses for ReadyErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        error_responses(&[&[Code::Loading, Code::ShuttingDown]])
    }
}

/// Describe the server
///
/// The model with its files, the embedder, the execution provider that really runs, the limits, and the collections.
#[utoipa::path(
    get,
    path = "/v1/info",
    tag = "Server",
    responses(
        (status = 200, description = "The description", body = Info, example = json!({
            "version": "0.1.0",
            "model": {"name": "retro-nano", "architecture": "retro", "parameters": 9_900_000, "variant": "int8", "data_type": "float32",
                "weights": "int8", "vocabulary": 16384, "layers": 6, "cca_layers": [3, 5], "chunk_length": 64,
                "files": {"int8/lower.onnx": {"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "bytes": 10240}}},
            "embedder": {"name": "all-MiniLM-L6-v2", "dimension": 384, "precision": "int16", "identity": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db-int16"},
            "runtime": {"version": "ORT Build Info: git-branch=rel-1.31.1", "provider": "CPUExecutionProvider"},
            "limits": {"context": 512, "neighbours": 2, "max_neighbours": 16, "max_n": 8, "max_logprobs": 20, "max_queue": 64,
                "max_body_bytes": 67_108_864, "max_upload_bytes": 268_435_456, "max_document_bytes": 10_485_760, "max_documents": 1000},
            "collections": [{"name": "default", "chunks": 412, "version": 7, "documents": {"pending": 0, "ready": 32, "failed": 0}}]})),
        InfoErrors
    )
)]
async fn info(State(app): State<Arc<App>>) -> Result<Json<Info>, ApiError> {
    let (manifest, limits, settings) = (app.parts.model.manifest(), app.generator.limits(), &app.settings);
    let (name, variant) = app.parts.model.variant();
    let mut collections = Vec::new();
    for name in app.parts.database.collections().await? {
        let stats = app.parts.database.stats(&name).await?;
        let documents = app.parts.catalogue.count_documents(Some(&name)).await?;
        collections.push(CollectionInfo { name: name.to_string(), chunks: stats.chunks, version: stats.version, documents });
    }
    Ok(Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        model: ModelInfo {
            name: manifest.name.clone(),
            architecture: manifest.architecture.clone(),
            parameters: manifest.parameters,
            variant: name.to_owned(),
            data_type: variant.data_type.clone(),
            weights: variant.weights.clone(),
            vocabulary: manifest.vocabulary,
            layers: manifest.layers,
            cca_layers: manifest.cca_layers.clone(),
            chunk_length: manifest.chunk_length,
            files: app.parts.model.files().map(|(name, entry)| (name.clone(), entry.clone())).collect(),
        },
        embedder: EmbedderInfo {
            name: app.parts.embedder.name().to_owned(),
            dimension: app.parts.embedder.dimension(),
            precision: app.parts.embedder.precision().to_string(),
            identity: app.parts.embedder.identity().to_owned(),
        },
        runtime: RuntimeInfo { version: app.parts.runtime.version(), provider: app.parts.device.provider().to_owned() },
        limits: LimitsInfo {
            context: limits.context,
            neighbours: limits.neighbours,
            max_neighbours: limits.max_neighbours,
            max_n: limits.max_n,
            max_logprobs: MAX_LOGPROBS,
            max_queue: settings.max_queue,
            max_body_bytes: settings.max_body_bytes,
            max_upload_bytes: settings.max_upload_bytes,
            max_document_bytes: settings.max_document_bytes,
            max_documents: settings.max_documents,
        },
        collections,
    }))
}

/// Is the process alive
#[utoipa::path(
    get,
    path = "/livez",
    tag = "Server",
    responses((status = 200, description = "It is", body = Health, example = json!({"status": "ok"})))
)]
async fn live() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Does the server take work
///
/// 503 while the model loads, when every other route but `/livez` answers the same, 503 while the server stops, and 503 while the
/// catalogue does not answer.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "Server",
    responses((status = 200, description = "It does", body = Health, example = json!({"status": "ready"})), ReadyErrors)
)]
async fn ready(State(app): State<Arc<App>>) -> Result<Json<Health>, ApiError> {
    if app.lifecycle.is_draining() {
        return Err(ApiError::shutting_down());
    }
    app.parts.catalogue.ping().await?;
    Ok(Json(Health { status: "ready" }))
}
