//! Server-sent events: what all streams have in common.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;

use axum::Extension;
use axum::http::HeaderName;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, Ref, RefOr, Schema};

use super::observe::{RequestId, StreamEnd};
use super::problem::ApiError;

pub type Items<T> = Pin<Box<dyn Stream<Item = Result<T, ApiError>> + Send>>;

/// An answer of an event for each item, up to the one that `event` calls the last. An error, and `cut`, end it with `error`.
pub fn respond<T: Send + 'static>(
    items: Items<T>,
    cut: CancellationToken,
    request_id: RequestId,
    event: impl Fn(T) -> (Event, bool) + Send + 'static,
) -> Response {
    respond_in(items, cut, event, move |error| self::event("error", &error.problem(request_id.as_str())))
}

/// As [`respond`], with errors in a form of its own.
pub fn respond_in<T: Send + 'static>(
    items: Items<T>,
    cut: CancellationToken,
    event: impl Fn(T) -> (Event, bool) + Send + 'static,
    error_event: impl Fn(ApiError) -> Event + Send + 'static,
) -> Response {
    let end = StreamEnd::default();
    let state = Some((items, cut, event, error_event, end.clone()));
    let events = stream::unfold(state, |state| async move {
        let (mut items, cut, event, error_event, end) = state?;
        let next = tokio::select! {
            biased;
            () = cut.cancelled() => Err(ApiError::shutting_down()),
            next = items.next() => next?,
        };
        let (text, is_last) = match next {
            Ok(item) => event(item),
            Err(error) => (error_event(error), true),
        };
        if is_last {
            end.reached();
        }
        Some((Ok::<_, Infallible>(text), (!is_last).then_some((items, cut, event, error_event, end))))
    });
    // Proxies that buffer would hold every event back.
    let headers = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Extension(end), Sse::new(events).keep_alive(KeepAlive::default())).into_response()
}

/// # Panics
/// `data` is no plain JSON.
pub fn event(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).json_data(data).expect("events are plain JSON")
}

/// What the events of a stream hold, for the description: OpenAPI 3.1 has no words for it, so it stands in `x-events`, from the name of an
/// event to the schema of its data.
#[derive(Default)]
pub struct StreamEvents {
    forms: BTreeMap<&'static str, Vec<Value>>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl StreamEvents {
    /// Events of this name hold a `T`, or what was said of the name before.
    pub fn with<T: ToSchema>(mut self, name: &'static str) -> Self {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        self.forms.entry(name).or_default().push(json!(Ref::from_schema_name(T::name())));
        self
    }

    /// Adds it to the stream that `operation` of `api` answers with.
    ///
    /// # Panics
    /// The operation has no stream.
    pub fn describe(self, api: &mut OpenApi, operation: impl FnOnce(&mut OpenApi) -> Option<&mut Operation>) {
        api.components.get_or_insert_default().schemas.extend(self.schemas);
        let events: BTreeMap<&str, Value> = self
            .forms
            .into_iter()
            .map(|(name, mut forms)| {
                let one = if forms.len() == 1 { forms.pop() } else { None };
                (name, one.unwrap_or_else(|| json!({"anyOf": forms})))
            })
            .collect();
        let response = operation(api).and_then(|operation| operation.responses.responses.get_mut("200"));
        let Some(RefOr::T(response)) = response else { panic!("no such operation") };
        let Some(RefOr::T(content)) = response.content.get_mut("text/event-stream") else { panic!("no stream") };
        content.extensions = Some(Extensions::from_iter([("x-events", json!(events))]));
    }
}
