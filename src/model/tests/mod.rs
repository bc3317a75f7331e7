//! The engine against itself: how a sequence is cut into steps changes nothing, and neighbours change only what attends them.

mod folder;
mod parity;

use std::path::PathBuf;

use super::{Checked, Logits, Model, ModelFolder, NeighbourTokens};
use crate::onnx::{Runtime, default_library};
use crate::text::{Grid, TokenId, Tokenizer};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn bundled(precision: &str) -> ModelFolder {
    ModelFolder::open(&root().join("models/retro-nano"), precision, Checked::Chosen).unwrap()
}

fn load(folder: &ModelFolder) -> Model {
    let runtime = Runtime::load(Some(&root().join(default_library()))).expect("`make setup` has run");
    Model::load(&runtime, folder, 0).unwrap()
}

fn model(precision: &str) -> Model {
    load(&bundled(precision))
}

/// Tokens of the sample articles, from a place that depends on `seed`: text, since the model leaves noise aside.
fn tokens(count: usize, seed: usize) -> Vec<TokenId> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root().join("samples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let tokenizer = Tokenizer::load(&root().join("models/retro-nano/tokenizer.json")).unwrap();
    let texts = paths.iter().skip(seed % paths.len()).map(|path| std::fs::read_to_string(path).unwrap());
    texts.flat_map(|text| tokenizer.encode(&text)).take(count).collect()
}

fn neighbour(seed: usize) -> NeighbourTokens {
    NeighbourTokens { neighbour: tokens(64, seed), continuation: tokens(40, seed + 1) }
}

/// A neighbour that repeats chunk `chunk` of `sequence`, as one from the same text does; the model leaves others aside.
fn repeating(sequence: &[TokenId], grid: Grid, chunk: usize, continuation: usize) -> NeighbourTokens {
    NeighbourTokens { neighbour: sequence[grid.tokens(chunk)].to_vec(), continuation: tokens(64, continuation) }
}

fn whole(model: &mut Model, tokens: &[TokenId], grid: Grid, neighbours: &[Vec<NeighbourTokens>]) -> Vec<f32> {
    model.start(grid).unwrap();
    model.extend(tokens).unwrap();
    model.finish(neighbours, Logits::All).unwrap()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn steps_of_any_size_give_the_logits_of_one_step() {
    let mut model = model("fp32");
    let tokens = tokens(230, 1);
    for grid in [Grid::prompt_start(), Grid::with_first_chunk(7), Grid::with_first_chunk(1)] {
        let chunks = grid.complete_chunks(tokens.len());
        let neighbours: Vec<Vec<NeighbourTokens>> =
            (0..chunks).map(|chunk| vec![neighbour(chunk), repeating(&tokens, grid, chunk, 9)]).collect();
        let expected = whole(&mut model, &tokens, grid, &neighbours);
        for size in [1, 5, 64, 100] {
            model.start(grid).unwrap();
            let mut found = Vec::new();
            for step in tokens.chunks(size) {
                let chunks = model.extend(step).unwrap();
                found.extend(model.finish(&neighbours[chunks], Logits::All).unwrap());
            }
            let distance = distance(&expected, &found);
            assert!(distance < 1e-4, "{grid:?}, steps of {size}: {distance}");
        }
    }
}

#[test]
fn the_last_tokens_logits_are_those_of_all() {
    let mut model = model("fp32");
    let vocabulary = model.manifest().vocabulary;
    let (tokens, grid) = (tokens(130, 2), Grid::prompt_end(130));
    let neighbours = vec![vec![neighbour(3)]; grid.complete_chunks(tokens.len())];
    let all = whole(&mut model, &tokens, grid, &neighbours);
    model.start(grid).unwrap();
    model.extend(&tokens).unwrap();
    let last = model.finish(&neighbours, Logits::Last).unwrap();
    assert_eq!(last.len(), vocabulary);
    assert!(distance(&last, &all[all.len() - vocabulary..]) < 1e-5);
}

#[test]
fn neighbours_change_what_comes_after_their_chunk_and_nothing_before() {
    let mut model = model("fp32");
    let vocabulary = model.manifest().vocabulary;
    let (tokens, grid) = (tokens(200, 3), Grid::prompt_start());
    let with = |model: &mut Model, second: NeighbourTokens| {
        whole(model, &tokens, grid, &[vec![neighbour(1)], vec![second], vec![neighbour(5)]])
    };
    let (a, b) = (repeating(&tokens, grid, 1, 20), repeating(&tokens, grid, 1, 30));
    let (a, b) = (with(&mut model, a), with(&mut model, b));
    // The last token of chunk 1 is the first that attends its neighbours.
    let first = 127 * vocabulary;
    assert_eq!(a[..first], b[..first]);
    assert!(distance(&a[first..first + vocabulary], &b[first..first + vocabulary]) > 1e-2);
}

#[test]
fn missing_neighbours_are_retrieval_off_exactly() {
    let (mut int8, mut model) = (model("int8"), model("fp32"));
    let (tokens, grid) = (tokens(150, 4), Grid::prompt_end(150));
    let chunks = grid.complete_chunks(tokens.len());
    let off_of = |model: &mut Model| {
        let off = whole(model, &tokens, grid, &vec![Vec::new(); chunks]);
        assert_eq!(off, whole(model, &tokens, grid, &vec![vec![NeighbourTokens::default(); 2]; chunks]));
        off
    };
    off_of(&mut int8);
    let off = off_of(&mut model);
    let own = |chunk| repeating(&tokens, grid, chunk, 8);
    let on = whole(&mut model, &tokens, grid, &[vec![own(0)], vec![own(1)], vec![own(2)]]);
    assert!(distance(&off, &on) > 1e-2);
    // A chunk with fewer neighbours than its fellow is padded with missing ones, which change nothing.
    let mixed = whole(&mut model, &tokens, grid, &[vec![own(0)], vec![own(1), neighbour(2)], vec![own(2)]]);
    let vocabulary = model.manifest().vocabulary;
    let second_chunk_attends = (grid.tokens(1).end - 1) * vocabulary;
    assert!(distance(&on[..second_chunk_attends], &mixed[..second_chunk_attends]) < 1e-5);
}

#[test]
fn a_new_sequence_sees_nothing_of_the_last() {
    let mut model = model("fp32");
    let grid = Grid::prompt_end(70);
    let neighbours = vec![vec![neighbour(1)]; 2];
    let first = whole(&mut model, &tokens(70, 5), grid, &neighbours);
    whole(&mut model, &tokens(400, 6), Grid::prompt_start(), &vec![vec![neighbour(7)]; 6]);
    assert_eq!(first, whole(&mut model, &tokens(70, 5), grid, &neighbours));
}
