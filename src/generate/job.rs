use std::ops::Range;
use std::slice::ChunksExact;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tracing::Span;

use super::GenerateError;
use super::completion::{CompletionRun, Gone, Next};
use super::events::{ChunkError, ChunkRetrieval};
use super::lookup::Source;
use super::prefetch::Prefetch;
use super::score::ScoreRun;
use crate::model::Logits;
use crate::text::{Grid, TokenId};

/// A sequence that waits for a slot.
pub(super) struct Job {
    pub tokens: Vec<TokenId>,
    pub grid: Grid,
    /// None is retrieval off.
    pub source: Option<Source>,
    /// None: it waits for the neighbours of each of its chunks.
    pub prefetch: Option<Prefetch>,
    pub work: Work,
    pub queued_at: Instant,
    /// Its request's place in the queue, given up when each of the request's jobs has a slot.
    pub place: Place,
}

/// None where the queue is not bounded.
pub(super) type Place = Option<Arc<OwnedSemaphorePermit>>;

/// What becomes of a sequence's logits.
pub(super) enum Work {
    Complete(Box<CompletionRun>),
    Score(ScoreRun),
}

impl Work {
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Complete(run) => run.is_gone(),
            Self::Score(run) => run.is_gone(),
        }
    }

    /// Around all that is done for it.
    pub fn span(&self) -> &Span {
        match self {
            Self::Complete(run) => run.span(),
            Self::Score(run) => run.span(),
        }
    }

    /// Whoever asked has gone.
    pub fn left(&self) {
        match self {
            Self::Complete(run) => run.left(),
            Self::Score(_) => {}
        }
    }

    /// Sequences that will go on from its prompt besides its own.
    pub fn to_fork(&self) -> usize {
        match self {
            Self::Complete(run) => run.to_fork(),
            Self::Score(_) => 0,
        }
    }

    /// What becomes of those.
    pub fn forks(&self) -> Vec<Self> {
        match self {
            Self::Complete(run) => run.forks().map(|run| Self::Complete(Box::new(run))).collect(),
            Self::Score(_) => Vec::new(),
        }
    }

    pub fn fail(self, error: GenerateError) {
        match self {
            Self::Complete(run) => run.fail(error),
            Self::Score(run) => run.fail(error),
        }
    }

    /// Neighbours were looked up in this version of the collection, and the sequence waited so long for them.
    pub fn looked_up(&mut self, waited: Duration, version: u64) {
        match self {
            Self::Complete(run) => run.looked_up(waited, version),
            Self::Score(run) => run.looked_up(version),
        }
    }

    /// At a boundary no new neighbours were there.
    pub fn late(&mut self) {
        match self {
            Self::Complete(run) => run.late(),
            // It waits for all of its neighbours.
            Self::Score(_) => {}
        }
    }

    /// What its chunks say of a look-up that failed with `error`, where it goes on all the same.
    pub fn goes_on_after(&self, error: &GenerateError) -> Option<ChunkError> {
        match self {
            Self::Complete(run) => run.goes_on_after(error),
            // A score that lacks some of its neighbours would be another number under the same name.
            Self::Score(_) => None,
        }
    }

    pub fn announce(&mut self, chunk: ChunkRetrieval) {
        match self {
            Self::Complete(run) => run.announce(chunk),
            Self::Score(run) => run.announce(chunk),
        }
    }

    pub fn logits(&self) -> Logits {
        match self {
            Self::Complete(run) if !run.takes_prompt() => Logits::Last,
            Self::Complete(_) | Self::Score(_) => Logits::All,
        }
    }

    /// Takes the logits of all of the tokens `span`.
    pub fn take(&mut self, logits: ChunksExact<'_, f32>, tokens: &[TokenId], span: Range<usize>) {
        match self {
            Self::Complete(run) => run.take_prompt(logits, tokens, span),
            Self::Score(run) => run.take(logits, tokens, span),
        }
    }

    /// What follows from the logits [V] of the last token.
    pub fn next(&mut self, logits: &[f32]) -> Result<Next, Gone> {
        match self {
            Self::Complete(run) => run.next(logits),
            Self::Score(run) => {
                run.done();
                Ok(Next::Done)
            }
        }
    }
}
