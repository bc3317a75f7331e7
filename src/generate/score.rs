use std::ops::Range;
use std::slice::ChunksExact;

use tokio::sync::oneshot;
use tracing::Span;

use super::GenerateError;
use super::events::{ChunkRetrieval, RetrievalSummary};
use super::sampler::log_sum_exp;
use crate::model::NeighbourTokens;
use crate::text::{Grid, TokenId};

/// A text whose tokens' probabilities are wanted, with the neighbours that the model reads, on the paper's chunk grid (`prompt_start`).
#[derive(Clone, Debug)]
pub struct GivenText {
    /// At least two tokens, at most one more than the context: the first is given, each other is predicted.
    pub tokens: Vec<TokenId>,
    /// For each of the [`chunks`](Self::chunks) of `tokens`; none is retrieval off.
    pub neighbours: Vec<Vec<NeighbourTokens>>,
}

impl GivenText {
    /// The chunks of a text whose neighbours its score reads. The last token is only predicted, so it completes none.
    pub fn chunks(tokens: &[TokenId]) -> impl Iterator<Item = &[TokenId]> {
        let grid = Grid::prompt_start();
        (0..grid.complete_chunks(tokens.len().saturating_sub(1))).map(move |chunk| &tokens[grid.tokens(chunk)])
    }
}

/// How probable a text is, with its neighbours and without them: for each scored token the natural logarithm.
#[derive(Clone, Debug)]
pub struct Score {
    /// The scored tokens.
    pub tokens: Vec<TokenId>,
    /// None where retrieval is off.
    pub with_retrieval: Option<Vec<f32>>,
    pub without_retrieval: Vec<f32>,
    pub retrieval: RetrievalSummary,
    /// The neighbours that were read.
    pub chunks: Vec<ChunkRetrieval>,
}

/// What came of one run over a text.
#[derive(Debug, Default)]
pub(super) struct Scored {
    /// Natural logarithms for the scored tokens.
    pub log_probs: Vec<f32>,
    pub chunks: Vec<ChunkRetrieval>,
    /// Version of the collection that was searched; 0 where none was.
    pub database_version: u64,
}

pub(super) type ScoreAnswer = oneshot::Receiver<Result<Scored, GenerateError>>;

/// A run over a text whose tokens are scored from a certain one on.
pub(super) struct ScoreRun {
    /// Tokens before the first that is scored.
    given: usize,
    /// The text's last token, which no logits come after.
    last: TokenId,
    scored: Scored,
    answer: Option<oneshot::Sender<Result<Scored, GenerateError>>>,
    /// Around all that is done for it.
    span: Span,
}

impl ScoreRun {
    pub fn new(given: usize, last: TokenId) -> (Self, ScoreAnswer) {
        let (answer, receiver) = oneshot::channel();
        let span = tracing::debug_span!("scoring", given);
        (Self { given, last, scored: Scored::default(), answer: Some(answer), span }, receiver)
    }

    pub fn span(&self) -> &Span {
        &self.span
    }

    pub fn is_gone(&self) -> bool {
        self.answer.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Neighbours were looked up.
    pub fn looked_up(&mut self, version: u64) {
        self.scored.database_version = version;
    }

    pub fn announce(&mut self, chunk: ChunkRetrieval) {
        self.scored.chunks.push(chunk);
    }

    /// Takes the logits of the tokens `span` of a text that is `tokens` without its last.
    pub fn take(&mut self, logits: ChunksExact<'_, f32>, tokens: &[TokenId], span: Range<usize>) {
        for (next, row) in (span.start + 1..=span.end).zip(logits).filter(|(next, _)| *next >= self.given) {
            let token = tokens.get(next).copied().unwrap_or(self.last);
            self.scored.log_probs.push((f64::from(row[token as usize]) - log_sum_exp(row)) as f32);
        }
    }

    pub fn done(&mut self) {
        let scored = std::mem::take(&mut self.scored);
        self.reply(Ok(scored));
    }

    pub fn fail(mut self, error: GenerateError) {
        self.reply(Err(error));
    }

    fn reply(&mut self, result: Result<Scored, GenerateError>) {
        if let Some(answer) = self.answer.take() {
            // Who has gone needs no answer.
            let _ = answer.send(result);
        }
    }
}
