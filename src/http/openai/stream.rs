//! A completion as OpenAI's stream of chunks.

use std::sync::Arc;

use axum::response::Response;
use axum::response::sse::Event as SseEvent;
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::OpenAiError;
use super::answer::{Head, Prompt, TextChoice, add, end};
use super::logprobs::TokenTexts;
use super::request::Shape;
use crate::generate::{ChunkRetrieval, Done, Event, EventStream, GenerateError, RetrievalSummary, TokenEvent, Usage};
use crate::http::problem::ApiError;
use crate::http::sse;
use crate::text::Tokenizer;

/// What follows the last chunk.
const END: &str = "[DONE]";

/// A part of a completion, or what is to be said at the end of a stream.
#[derive(Serialize, ToSchema)]
#[schema(as = TextCompletionChunk)]
pub struct Chunk {
    #[serde(flatten)]
    head: Head,
    choices: Vec<TextChoice>,
    /// Where the request asked for it: null in every chunk but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Usage>)]
    usage: Option<Option<Usage>>,
    /// What was looked up since the chunk before, and in the last chunk of a prompt how its retrieval went.
    #[serde(skip_serializing_if = "Option::is_none")]
    retrieval: Option<ChunkReport>,
}

/// What was looked up since the chunk before.
#[derive(Serialize)]
struct ChunkReport {
    /// In the last chunk of a prompt.
    #[serde(flatten)]
    summary: Option<RetrievalSummary>,
    chunks: Vec<ChunkRetrieval>,
}

impl PartialSchema for ChunkReport {
    fn schema() -> RefOr<Schema> {
        let chunks = ArrayBuilder::new().items(Ref::from_schema_name("ChunkRetrieval"));
        let alone = ObjectBuilder::new().property("chunks", chunks).required("chunks");
        AnyOfBuilder::new().item(Ref::from_schema_name("RetrievalReport")).item(alone).into()
    }
}

impl ToSchema for ChunkReport {}

/// The events of several completions as they come, in chunks. An error ends them all.
pub fn respond(
    head: Head,
    prompts: &[Prompt],
    completions: Vec<EventStream>,
    shape: Shape,
    tokenizer: Arc<Tokenizer>,
    cut: CancellationToken,
) -> Response {
    let texts =
        |prompt: &Prompt| Text { written: prompt.before(shape), tokens: shape.logprobs.then(|| prompt.token_texts(shape)) };
    let mut writer = Writer {
        head,
        shape,
        tokenizer,
        texts: prompts.iter().flat_map(|prompt| std::iter::repeat_n(texts(prompt), shape.n)).collect(),
        read: Vec::new(),
        usage: Usage::default(),
        left: completions.len(),
    };
    let events = stream::select_all(completions.into_iter().enumerate().map(|(at, events)| of_prompt(at, events).boxed()));
    let items = events.flat_map(move |next| {
        let items = match next {
            Ok((prompt, event)) => writer.take(prompt, event).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(ApiError::from(error))],
        };
        stream::iter(items)
    });
    sse::respond_in(items.boxed(), cut, |item| item, |error| data(&OpenAiError::from(error)))
}

/// A completion's events with the number of its prompt, up to its end or error.
fn of_prompt(prompt: usize, events: EventStream) -> impl Stream<Item = Result<(usize, Event), GenerateError>> {
    stream::unfold(Some(events), move |events| async move {
        let mut events = events?;
        let next = events.next().await.unwrap_or(Err(GenerateError::Stopped));
        let goes_on = matches!(next, Ok(Event::Retrieval(_) | Event::Token(_)));
        Some((next.map(|event| (prompt, event)), goes_on.then_some(events)))
    })
}

/// # Panics
/// `value` is no plain JSON.
fn data(value: &impl Serialize) -> SseEvent {
    SseEvent::default().json_data(value).expect("chunks are plain JSON")
}

/// From events to chunks.
struct Writer {
    head: Head,
    shape: Shape,
    tokenizer: Arc<Tokenizer>,
    /// By `index`.
    texts: Vec<Text>,
    /// What was looked up and not told yet.
    read: Vec<ChunkRetrieval>,
    usage: Usage,
    /// Prompts that have not come to their ends.
    left: usize,
}

/// How far a choice has come.
#[derive(Clone)]
struct Text {
    /// Characters from the beginning of the prompt.
    written: usize,
    /// Where log-probabilities are wanted.
    tokens: Option<TokenTexts>,
}

/// An event of the stream, and whether it is the last.
type Item = (SseEvent, bool);

impl Writer {
    fn take(&mut self, prompt: usize, event: Event) -> Vec<Item> {
        let first = prompt * self.shape.n;
        match event {
            Event::Retrieval(chunk) => {
                self.read.push(ChunkRetrieval { choice: first as u32 + chunk.choice, ..chunk });
                Vec::new()
            }
            Event::Token(token) => self.token(first + token.choice as usize, token).into_iter().collect(),
            Event::Done(done) => self.done(first, done),
        }
    }

    /// A chunk of what became certain, if anything did.
    fn token(&mut self, index: usize, token: TokenEvent) -> Option<Item> {
        let text = &mut self.texts[index];
        text.written += token.text.chars().count();
        let logprobs = text.tokens.as_mut().map(|tokens| {
            token.logprobs.into_iter().for_each(|logprobs| tokens.push(logprobs, &self.tokenizer));
            tokens.take(text.written, &self.tokenizer)
        });
        let logprobs = logprobs.filter(|logprobs| !logprobs.is_empty());
        if token.text.is_empty() && logprobs.is_none() {
            return None;
        }
        Some(self.chunk(TextChoice { index, text: token.text, logprobs, finish_reason: None }, None))
    }

    /// The last chunk of each of a prompt's choices; after all prompts the usage, if it is wanted, and the end.
    fn done(&mut self, first: usize, done: Done) -> Vec<Item> {
        let last = done.choices.len() - 1;
        let mut items: Vec<Item> = Vec::new();
        for (at, ended) in done.choices.iter().enumerate() {
            let (index, finish_reason) = (first + at, ended.finish_reason);
            let text = &mut self.texts[index];
            let until = end(text.written, finish_reason);
            let logprobs = text.tokens.as_mut().map(|tokens| tokens.take(until, &self.tokenizer));
            let logprobs = logprobs.filter(|logprobs| !logprobs.is_empty());
            let choice = TextChoice { index, text: String::new(), logprobs, finish_reason: Some(finish_reason) };
            items.push(self.chunk(choice, (at == last).then_some(done.retrieval)));
        }
        add(&mut self.usage, done.usage);
        self.left -= 1;
        if self.left > 0 {
            return items;
        }
        if self.shape.include_usage {
            let chunk = Chunk { head: self.head.clone(), choices: Vec::new(), usage: Some(Some(self.usage)), retrieval: None };
            items.push((data(&chunk), false));
        }
        items.push((SseEvent::default().data(END), true));
        items
    }

    fn chunk(&mut self, choice: TextChoice, summary: Option<RetrievalSummary>) -> Item {
        let chunks = std::mem::take(&mut self.read);
        let retrieval = (summary.is_some() || !chunks.is_empty()).then_some(ChunkReport { summary, chunks });
        let usage = self.shape.include_usage.then_some(None);
        (data(&Chunk { head: self.head.clone(), choices: vec![choice], usage, retrieval }), false)
    }
}
