use super::GenerateError;
use super::sampler::log_sum_exp;
use crate::model::{Logits, Model, NeighbourTokens};
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

/// Natural-log probabilities of all tokens but the first.
pub(super) fn score(model: &mut Model, request: &ScoreRequest) -> Result<Vec<f32>, GenerateError> {
    model.start(Grid::prompt_start())?;
    model.extend(&request.tokens[..request.tokens.len() - 1])?;
    let logits = model.finish(&request.neighbours, Logits::All)?;
    let vocabulary = model.manifest().vocabulary;
    Ok(logits
        .chunks_exact(vocabulary)
        .zip(&request.tokens[1..])
        .map(|(row, &token)| (f64::from(row[token as usize]) - log_sum_exp(row)) as f32)
        .collect())
}
