//! `GET /metrics`, for Prometheus.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use tokio::sync::Mutex;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::ingest::{Collection, IngestError};
use crate::metrics::{self, IntGaugeVec, TEXT_FORMAT};

/// Collections that have gauges, the first by name: clients make collections, and each is some ten series.
const MOST_COLLECTIONS: usize = 100;
/// How old what is told of the stores may be: counting versions and files reads them.
const READ_EVERY: Duration = Duration::from_secs(10);

/// When the stores were last read. Held while they are, so that nobody is shown half of it.
static READ: Mutex<Option<Instant>> = Mutex::const_new(None);

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(metrics))
}

const EXAMPLE: &str = r#"# HELP retro_queue_length Sequences that wait for a slot
# TYPE retro_queue_length gauge
retro_queue_length 0
"#;

/// Measure the server
///
/// Counters, gauges and histograms in the text format of Prometheus (version 0.0.4). `docs/operations.md` lists them. Figures of collections
/// are at most 10 seconds old, and are of the first 100 collections.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "Server",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain", example = json!(EXAMPLE)))
)]
async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let mut read = READ.lock().await;
    if read.is_none_or(|read| read.elapsed() >= READ_EVERY) {
        match measured(&app).await {
            Ok((collections, open_tasks)) => {
                tell(&collections, open_tasks);
                *read = Some(Instant::now());
            }
            // The rest is worth as much without.
            Err(error) => {
                tracing::warn!(%error, "the collections could not be measured");
                tell(&[], 0);
            }
        }
    }
    ([(header::CONTENT_TYPE, TEXT_FORMAT)], metrics::get().render())
}

async fn measured(app: &App) -> Result<(Vec<Collection>, u64), IngestError> {
    let collections = app.parts.ingest.collections(MOST_COLLECTIONS, None).await?.data;
    Ok((collections, app.parts.catalogue.count_open_tasks().await?))
}

/// Replaces the gauges of all collections, so that one that was removed has none.
fn tell(collections: &[Collection], open_tasks: u64) {
    let metrics = metrics::get();
    metrics.ingest_open_tasks.set(open_tasks.cast_signed());
    for all in [
        &metrics.collection_chunks,
        &metrics.collection_deleted_chunks,
        &metrics.collection_fragments,
        &metrics.collection_bytes,
        &metrics.collection_version,
        &metrics.collection_kept_versions,
        &metrics.collection_index_chunks,
        &metrics.collection_documents,
    ] {
        all.reset();
    }
    for Collection { name, figures, documents, .. } in collections {
        let name = name.as_str();
        let one = |gauge: &IntGaugeVec, number: u64| gauge.with_label_values(&[name]).set(number.cast_signed());
        one(&metrics.collection_chunks, figures.chunks);
        one(&metrics.collection_deleted_chunks, figures.deleted_chunks);
        one(&metrics.collection_fragments, figures.fragments);
        one(&metrics.collection_version, figures.version);
        one(&metrics.collection_kept_versions, figures.kept_versions.count);
        one(&metrics.collection_bytes, figures.bytes);
        let of = |gauge: &IntGaugeVec, value, number: u64| {
            gauge.with_label_values(&[name, value]).set(number.cast_signed());
        };
        if let Some(index) = figures.index {
            of(&metrics.collection_index_chunks, "covered", index.indexed);
            of(&metrics.collection_index_chunks, "uncovered", index.unindexed);
        }
        for (status, number) in [("pending", documents.pending), ("ready", documents.ready), ("failed", documents.failed)] {
            of(&metrics.collection_documents, status, number);
        }
    }
}
