//! The engine against itself: how a sequence is cut into steps changes nothing, and neighbours change only what attends them.

mod company;
mod folder;
mod parity;

use std::path::{Path, PathBuf};

use futures::executor::block_on;

use super::{Checked, ChunkNeighbours, Encoder, Logits, Model, ModelFolder, ModelOptions, NeighbourTokens, Slot};
use crate::onnx::{Cores, Device, Runtime, default_library};
use crate::text::{CHUNK_LENGTH, Grid, TokenId, Tokenizer};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn bundled(precision: &str) -> ModelFolder {
    ModelFolder::open(&root().join("models/retro-nano"), precision, Device::Cpu, Checked::Chosen).unwrap()
}

/// A model with its encoder, driven by hand.
struct Driver {
    model: Model,
    encoder: Encoder,
}

fn load(folder: &ModelFolder) -> Driver {
    load_on(folder, &root().join(default_library()), Device::Cpu)
}

fn load_on(folder: &ModelFolder, library: &Path, device: Device) -> Driver {
    let runtime = Runtime::load(Some(library)).expect("`make setup` has run");
    let model = Model::load(&runtime, folder, ModelOptions { slots: 8, threads: 0, device }).unwrap();
    let encoder = Encoder::load(&runtime, folder, 0, device, 0).unwrap();
    Driver { model, encoder }
}

fn model(precision: &str) -> Driver {
    load(&bundled(precision))
}

impl Driver {
    fn vocabulary(&self) -> usize {
        self.model.manifest().vocabulary
    }

    fn open(&mut self, grid: Grid) -> Slot {
        self.model.open(grid, true).unwrap()
    }

    /// Finds the neighbours of chunks in a list by number of chunk.
    fn attend(&mut self, slot: Slot, chunks: std::ops::Range<usize>, neighbours: &[Vec<NeighbourTokens>]) {
        for chunk in chunks {
            let of_chunk = neighbours[chunk].clone();
            let encoded = (!of_chunk.is_empty()).then(|| {
                let chunk = ChunkNeighbours { hidden: self.model.chunk_hidden(slot, chunk), neighbours: of_chunk };
                block_on(self.encoder.encode(Cores::All, vec![chunk])).unwrap().remove(0)
            });
            self.model.attend(slot, chunk, encoded);
        }
    }

    /// Appends tokens in slices and gives the logits of all of them, a row each.
    fn extend(&mut self, slot: Slot, tokens: &[TokenId], neighbours: &[Vec<NeighbourTokens>]) -> Vec<f32> {
        for slice in tokens.chunks(CHUNK_LENGTH) {
            let chunks = self.model.extend(slot, slice).unwrap();
            self.attend(slot, chunks, neighbours);
        }
        let mut rows = Vec::new();
        while let Some(span) = self.model.finish(slot, Logits::All).unwrap() {
            self.model.logits().take(span.len()).for_each(|row| rows.extend_from_slice(row));
        }
        rows
    }

    /// Appends a token to each of several sequences in one step, and gives their logits.
    fn step(&mut self, batch: &[(Slot, TokenId)], complete: &[usize], neighbours: &[&[Vec<NeighbourTokens>]]) -> Vec<Vec<f32>> {
        let finished = self.model.step(batch).unwrap();
        let mut logits: Vec<Option<Vec<f32>>> = batch
            .iter()
            .zip(&finished)
            .map(|(&(slot, _), &finished)| finished.then(|| self.model.logits_of(slot).to_vec()))
            .collect();
        for (at, &(slot, _)) in batch.iter().enumerate().filter(|&(at, _)| !finished[at]) {
            self.attend(slot, complete[at]..complete[at] + 1, neighbours[at]);
            assert!(self.model.finish(slot, Logits::Last).unwrap().is_some());
            logits[at] = Some(self.model.logits().next().unwrap().to_vec());
        }
        logits.into_iter().map(Option::unwrap).collect()
    }
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

fn whole(driver: &mut Driver, tokens: &[TokenId], grid: Grid, neighbours: &[Vec<NeighbourTokens>]) -> Vec<f32> {
    let slot = driver.open(grid);
    let logits = driver.extend(slot, tokens, neighbours);
    driver.model.close(slot).unwrap();
    logits
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
            let slot = model.open(grid);
            let found: Vec<f32> = tokens.chunks(size).flat_map(|step| model.extend(slot, step, &neighbours)).collect();
            model.model.close(slot).unwrap();
            let distance = distance(&expected, &found);
            assert!(distance < 1e-4, "{grid:?}, steps of {size}: {distance}");
        }
    }
}

#[test]
fn the_last_tokens_logits_are_those_of_all() {
    let mut model = model("fp32");
    let vocabulary = model.vocabulary();
    let (tokens, grid) = (tokens(130, 2), Grid::prompt_end(130));
    let neighbours = vec![vec![neighbour(3)]; grid.complete_chunks(tokens.len())];
    let all = whole(&mut model, &tokens, grid, &neighbours);
    let slot = model.open(grid);
    let mut last = Vec::new();
    for slice in tokens.chunks(CHUNK_LENGTH) {
        let chunks = model.model.extend(slot, slice).unwrap();
        model.attend(slot, chunks, &neighbours);
    }
    while model.model.finish(slot, Logits::Last).unwrap().is_some() {
        last = model.model.logits().next().unwrap().to_vec();
    }
    assert!(distance(&last, &all[all.len() - vocabulary..]) < 1e-5);
}

#[test]
fn neighbours_change_what_comes_after_their_chunk_and_nothing_before() {
    let mut model = model("fp32");
    let vocabulary = model.vocabulary();
    let (tokens, grid) = (tokens(200, 3), Grid::prompt_start());
    let with = |model: &mut Driver, second: NeighbourTokens| {
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
    let off_of = |model: &mut Driver| {
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
    let vocabulary = model.vocabulary();
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
