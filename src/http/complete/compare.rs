//! A completion compared with the same one without retrieval.

use axum::response::Response;
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::sse_event;
use crate::generate::{
    Compared, Comparison, CompletedChoice, Completion, Event, FinishReason, FinishedChoice, Gains, GenerateError,
};
use crate::http::observe::RequestId;
use crate::http::problem::ApiError;
use crate::http::sse;

/// The same completion without retrieval, and what retrieval did.
#[derive(Serialize, ToSchema)]
pub struct ComparisonReport {
    /// Without retrieval, by `index`.
    choices: Vec<PlainChoice>,
    /// Of the completion with retrieval, by `choice`.
    gains: Vec<Gains>,
}

#[derive(Serialize, ToSchema)]
struct PlainChoice {
    index: u32,
    #[schema(example = " 1984")]
    text: String,
    finish_reason: FinishReason,
}

/// Text of the completion without retrieval.
#[derive(Serialize, ToSchema)]
pub struct PlainText {
    choice: u32,
    text: String,
}

/// How the completion without retrieval ended.
#[derive(Serialize, ToSchema)]
pub struct PlainEnd {
    choices: Vec<FinishedChoice>,
}

/// # Errors
/// The error of one of the two completions.
pub async fn fold(mut events: Comparison) -> Result<(Completion, ComparisonReport), GenerateError> {
    let (mut choices, mut chunks) = (Vec::<CompletedChoice>::new(), Vec::new());
    let (mut plain, mut ended, mut gains) = (Vec::<String>::new(), Vec::<FinishedChoice>::new(), Vec::new());
    while let Some(event) = events.next().await {
        match event? {
            Compared::With(Event::Retrieval(chunk)) => chunks.push(chunk),
            Compared::With(Event::Token(token)) => {
                let choice = at(&mut choices, token.choice);
                choice.text.push_str(&token.text);
                choice.logprobs.extend(token.logprobs);
            }
            Compared::Without(token) => at(&mut plain, token.choice).push_str(&token.text),
            Compared::WithoutEnded(choices) => ended = choices,
            Compared::Gains(of_choice) => gains.push(of_choice),
            Compared::With(Event::Done(done)) => {
                // One that said nothing has no text yet.
                choices.resize_with(done.choices.len(), CompletedChoice::default);
                plain.resize_with(ended.len(), String::new);
                chunks.sort_by_key(|chunk: &crate::generate::ChunkRetrieval| chunk.choice);
                let plain = plain.into_iter().zip(ended);
                let plain =
                    plain.map(|(text, FinishedChoice { index, finish_reason })| PlainChoice { index, text, finish_reason });
                let report = ComparisonReport { choices: plain.collect(), gains };
                return Ok((Completion { choices, chunks, done }, report));
            }
        }
    }
    Err(GenerateError::Stopped)
}

fn at<T: Default>(list: &mut Vec<T>, place: u32) -> &mut T {
    let place = place as usize;
    if list.len() <= place {
        list.resize_with(place + 1, T::default);
    }
    &mut list[place]
}

pub fn event_stream(events: Comparison, cut: CancellationToken, request_id: RequestId) -> Response {
    let events = stream::unfold(events, |mut events| async move {
        let next = events.next().await.unwrap_or(Err(GenerateError::Stopped));
        Some((next.map_err(ApiError::from), events))
    });
    sse::respond(events.boxed(), cut, request_id, |event| match event {
        Compared::With(event) => sse_event(event),
        Compared::Without(token) => (sse::event("comparison", &PlainText { choice: token.choice, text: token.text }), false),
        Compared::WithoutEnded(choices) => (sse::event("comparison_done", &PlainEnd { choices }), false),
        Compared::Gains(gains) => (sse::event("gains", &gains), false),
    })
}
