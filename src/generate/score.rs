use std::ops::Range;
use std::slice::ChunksExact;

use tokio::sync::oneshot;

use super::GenerateError;
use super::sampler::log_sum_exp;
use crate::model::NeighbourTokens;
use crate::text::{Grid, TokenId};

/// A text whose tokens' probabilities are wanted, on the paper's chunk grid (`prompt_start`).
#[derive(Clone, Debug)]
pub struct ScoreRequest {
    /// At least two tokens, at most one more than the context: the first is given, each other is predicted.
    pub tokens: Vec<TokenId>,
    /// For each of the [`chunks`](Self::chunks) of `tokens` the neighbours that the model reads; none is retrieval off.
    pub neighbours: Vec<Vec<NeighbourTokens>>,
}

impl ScoreRequest {
    /// The chunks of a text whose neighbours its score reads. The last token is only predicted, so it completes none.
    pub fn chunks(tokens: &[TokenId]) -> impl Iterator<Item = &[TokenId]> {
        let grid = Grid::prompt_start();
        (0..grid.complete_chunks(tokens.len().saturating_sub(1))).map(move |chunk| &tokens[grid.tokens(chunk)])
    }
}

/// A score under way: natural-log probabilities of all tokens but the first.
pub(super) struct ScoreRun {
    /// The text's last token, which no logits come after.
    last: TokenId,
    log_probs: Vec<f32>,
    answer: Option<oneshot::Sender<Result<Vec<f32>, GenerateError>>>,
}

impl ScoreRun {
    pub fn new(last: TokenId, answer: oneshot::Sender<Result<Vec<f32>, GenerateError>>) -> Self {
        Self { last, log_probs: Vec::new(), answer: Some(answer) }
    }

    pub fn is_gone(&self) -> bool {
        self.answer.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Takes the logits of the tokens `span` of a text that is `tokens` without its last.
    pub fn take(&mut self, logits: ChunksExact<'_, f32>, tokens: &[TokenId], span: Range<usize>) {
        for (position, row) in span.zip(logits) {
            let token = tokens.get(position + 1).copied().unwrap_or(self.last);
            self.log_probs.push((f64::from(row[token as usize]) - log_sum_exp(row)) as f32);
        }
    }

    pub fn done(&mut self) {
        let log_probs = std::mem::take(&mut self.log_probs);
        self.reply(Ok(log_probs));
    }

    pub fn fail(mut self, error: GenerateError) {
        self.reply(Err(error));
    }

    fn reply(&mut self, result: Result<Vec<f32>, GenerateError>) {
        if let Some(answer) = self.answer.take() {
            // Who has gone needs no answer.
            let _ = answer.send(result);
        }
    }
}
