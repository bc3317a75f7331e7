use std::ops::Range;

use super::GenerateError;
use super::request::NeighbourSource;
use super::sampler::log_sum_exp;
use super::scheduler::Parts;
use crate::model::{Logits, Model, NeighbourTokens};
use crate::text::{Grid, TokenId};

/// A text whose tokens' probabilities are wanted, on the paper's chunk grid (`prompt_start`).
#[derive(Clone, Debug)]
pub struct ScoreRequest {
    /// At least two tokens, at most one more than the context: the first is given, each other is predicted.
    pub tokens: Vec<TokenId>,
    pub source: NeighbourSource,
}

/// Natural-log probabilities of all tokens but the first.
pub(super) fn score(model: &mut Model, parts: &Parts, request: &ScoreRequest) -> Result<Vec<f32>, GenerateError> {
    let grid = Grid::prompt_start();
    model.start(grid)?;
    let given = &request.tokens[..request.tokens.len() - 1];
    let chunks = model.extend(given)?;
    let neighbours = neighbours(parts, request, grid, chunks)?;
    let logits = model.finish(&neighbours, Logits::All)?;
    let vocabulary = model.manifest().vocabulary;
    Ok(logits
        .chunks_exact(vocabulary)
        .zip(&request.tokens[1..])
        .map(|(row, &token)| (f64::from(row[token as usize]) - log_sum_exp(row)) as f32)
        .collect())
}

fn neighbours(
    parts: &Parts,
    request: &ScoreRequest,
    grid: Grid,
    chunks: Range<usize>,
) -> Result<Vec<Vec<NeighbourTokens>>, GenerateError> {
    match &request.source {
        NeighbourSource::Off => Ok(vec![Vec::new(); chunks.len()]),
        NeighbourSource::Provided(provided) => {
            let tokens: Vec<NeighbourTokens> = provided.iter().map(|given| parts.provided_tokens(given)).collect();
            Ok(vec![tokens; chunks.len()])
        }
        NeighbourSource::Search(options) => {
            let texts = chunks.map(|chunk| parts.tokenizer.decode(&request.tokens[grid.tokens(chunk)])).collect();
            let retrieved = parts.runtime.block_on(parts.retriever.retrieve(texts, options))?;
            Ok(retrieved.neighbours.iter().map(|found| found.iter().map(NeighbourTokens::from).collect()).collect())
        }
    }
}
