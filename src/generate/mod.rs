//! Completions: validated request -> scheduler -> sampler -> stream of events; and the scores of texts. Knows nothing of HTTP.

mod compare;
mod completion;
mod engine;
mod events;
mod generator;
mod job;
mod lookup;
mod prefetch;
mod request;
mod retriever;
mod sampler;
mod scheduler;
mod score;
mod stops;
#[cfg(test)]
mod tests;

pub use compare::{Compared, Comparison, Gains, TokenGain};
pub use events::{
    ChunkError, ChunkRetrieval, CompletedChoice, Completion, Done, Event, EventStream, FailedStage, FinishReason, FinishedChoice,
    NeighbourView, RetrievalSummary, Timings, TokenEvent, TokenLogProb, TokenLogProbs, Usage, fold,
};
pub use generator::Generator;
pub use request::{
    Alignment, CompletionRequest, FilterRequest, Limits, MAX_LOGPROBS, NeighbourSource, OnError, ProvidedNeighbour,
    RetrievalRequest, Sampling, ScoreRequest, SearchRequest, Stop, ValidCompletion, ValidScore,
};
pub use retriever::{RetrievalError, Retrieved, Retriever, TextNeighbours};
pub use score::{GivenText, Score};

use crate::onnx::OnnxError;

/// Why a completion did not come to its end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GenerateError {
    #[error("the queue is full")]
    Overloaded { retry_after_seconds: u64 },
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("the completion ended before it was done")]
    Stopped,
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
    #[error("the model failed: {0}")]
    Model(String),
}

impl From<OnnxError> for GenerateError {
    fn from(error: OnnxError) -> Self {
        Self::Model(error.to_string())
    }
}
