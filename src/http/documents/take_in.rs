//! How submissions are answered, whatever form they came in.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::catalogue::Once;
use crate::http::admission::place;
use crate::http::idempotency::{REPLAYED, TRUE};
use crate::http::problem::ApiError;
use crate::ingest::{NewDocument, SkippedFiles, Submission, Taken};

/// Submits documents and answers: at once, or when their task has ended.
pub async fn take_in(
    app: &App,
    documents: Vec<NewDocument>,
    skipped: Option<SkippedFiles>,
    once: Option<&Once>,
    wait: bool,
) -> Result<Response, ApiError> {
    let taken = {
        // Not held by those who then wait for the documents.
        let _place = place(&app.places.documents)?;
        app.parts.ingest.submit_once(documents, skipped, once).await?
    };
    answer(app, taken, wait).await
}

/// The answer to what was submitted before with the same key; none if nothing was. It needs no second look at the body, which may be one
/// that the settings would not let in any more.
///
/// # Errors
/// The key was used for something else.
pub async fn answer_again(app: &App, once: Option<&Once>, wait: bool) -> Result<Option<Response>, ApiError> {
    let Some(once) = once else { return Ok(None) };
    match app.parts.ingest.submitted_before(once).await? {
        Some(submission) => answer(app, Taken { submission, again: true }, wait).await.map(Some),
        None => Ok(None),
    }
}

async fn answer(app: &App, taken: Taken, wait: bool) -> Result<Response, ApiError> {
    let Taken { submission: Submission { mut task, document_ids, skipped }, again } = taken;
    let mut status = StatusCode::ACCEPTED;
    if wait {
        let cut = app.lifecycle.cut();
        let ended = tokio::select! {
            // The documents are safe, so the answer is what it would have been without `wait`.
            () = cut.cancelled() => None,
            ended = app.parts.ingest.wait(task.id) => ended?,
        };
        if let Some(ended) = ended {
            (task, status) = (ended, StatusCode::OK);
        }
    }
    let location = HeaderValue::try_from(format!("/v1/tasks/{}", task.id)).expect("an id is visible ASCII");
    let mut headers = HeaderMap::from_iter([(header::LOCATION, location)]);
    if again {
        headers.insert(REPLAYED, TRUE);
    }
    Ok((status, headers, Json(Submission { task, document_ids, skipped })).into_response())
}
