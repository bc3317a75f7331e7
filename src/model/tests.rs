//! The engine against the PyTorch model of `training/`: cases made by `python -m training.parity`, which computes each by one full
//! recompute. Here the prompt is one step and every further token its own.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use super::{Logits, Model, NeighbourTokens};
use crate::onnx::{Runtime, default_library};
use crate::text::{Grid, TokenId, Tokenizer};

const TOLERANCE: f32 = 1e-3;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn model() -> Model {
    let runtime = Runtime::load(Some(&root().join(default_library()))).expect("`make setup` has run");
    Model::load(&runtime, &root().join("models/retro-10m"), 0).unwrap()
}

fn ints(view: &TensorView) -> Vec<u32> {
    view.data().chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn floats(view: &TensorView) -> Vec<f32> {
    view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

struct Case {
    tokens: Vec<TokenId>,
    neighbours: Vec<Vec<NeighbourTokens>>,
    prompt: usize,
    grid: Grid,
}

impl Case {
    fn read(file: &SafeTensors, number: usize) -> Option<Self> {
        let tensor = |name: &str| file.tensor(&format!("case{number}.{name}"));
        let tokens = ints(&tensor("tokens").ok()?);
        let retrieved = tensor("neighbours").unwrap();
        let [chunks, count, length] = retrieved.shape().try_into().unwrap();
        let flat = ints(&retrieved);
        let part = |tokens: &[TokenId]| tokens.iter().copied().take_while(|&token| token != 0).collect::<Vec<_>>();
        let neighbours = (0..chunks)
            .map(|chunk| {
                (0..count)
                    .map(|at| {
                        let from = (chunk * count + at) * length;
                        let (neighbour, continuation) = flat[from..from + length].split_at(length / 2);
                        NeighbourTokens { neighbour: part(neighbour), continuation: part(continuation) }
                    })
                    .collect()
            })
            .collect();
        let prompt = ints(&tensor("prompt_length").unwrap())[0] as usize;
        let grid = Grid::with_first_chunk(ints(&tensor("first_chunk").unwrap())[0] as usize);
        Some(Self { tokens, neighbours, prompt, grid })
    }

    /// Logits of every token: the prompt in one step, then token by token.
    fn decode(&self, model: &mut Model) -> Vec<Vec<f32>> {
        let vocabulary = model.manifest().vocabulary;
        model.start(self.grid).unwrap();
        let mut rows = Vec::new();
        let steps = std::iter::once(0..self.prompt).chain((self.prompt..self.tokens.len()).map(|at| at..at + 1));
        for step in steps {
            let chunks = model.extend(&self.tokens[step]).unwrap();
            let logits = model.finish(&self.neighbours[chunks], Logits::All).unwrap();
            rows.extend(logits.chunks_exact(vocabulary).map(<[f32]>::to_vec));
        }
        rows
    }
}

/// Largest difference from the reference logits of case `number`, whole rows or the sampled places.
fn difference(file: &SafeTensors, number: usize, rows: &[Vec<f32>]) -> f32 {
    let tensor = |name: &str| file.tensor(&format!("case{number}.{name}"));
    if let Ok(full) = tensor("logits") {
        let expected = floats(&full);
        assert_eq!(expected.len(), rows.len() * rows[0].len());
        return expected.iter().zip(rows.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    }
    let (ids, values) = (ints(&tensor("logit_ids").unwrap()), floats(&tensor("logit_values").unwrap()));
    let sums = floats(&tensor("log_sum_exp").unwrap());
    assert_eq!(sums.len(), rows.len());
    let per_row = ids.len() / rows.len();
    let mut greatest = 0f32;
    for (at, row) in rows.iter().enumerate() {
        for place in at * per_row..(at + 1) * per_row {
            greatest = greatest.max((row[ids[place] as usize] - values[place]).abs());
        }
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        greatest = greatest.max((sum.ln() as f32 - sums[at]).abs());
    }
    greatest
}

#[test]
fn parity_with_pytorch() {
    let path = std::env::var_os("RETRO_PARITY_CASES")
        .map_or_else(|| root().join("tests/fixtures/parity/cases.safetensors"), |path| Path::new(&path).to_owned());
    let raw = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&raw).unwrap();
    let mut model = model();
    let (mut cases, mut positions, mut greatest) = (0, 0, 0f32);
    while let Some(case) = Case::read(&file, cases) {
        let rows = case.decode(&mut model);
        assert_eq!(rows.len(), case.tokens.len());
        let difference = difference(&file, cases, &rows);
        assert!(difference <= TOLERANCE, "case {cases}: logits differ by {difference}");
        positions += rows.len();
        greatest = greatest.max(difference);
        cases += 1;
    }
    assert!(cases >= 20, "{} has {cases} cases", path.display());
    println!("{cases} cases, {positions} positions, largest difference {greatest:e}");
}

/// Tokens of the sample articles, from a place that depends on `seed`: text, since the model leaves noise aside.
fn tokens(count: usize, seed: usize) -> Vec<TokenId> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root().join("samples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let tokenizer = Tokenizer::load(&root().join("models/retro-10m/tokenizer.json")).unwrap();
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
    let mut model = model();
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
    let mut model = model();
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
    let mut model = model();
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
    let mut model = model();
    let (tokens, grid) = (tokens(150, 4), Grid::prompt_end(150));
    let chunks = grid.complete_chunks(tokens.len());
    let off = whole(&mut model, &tokens, grid, &vec![Vec::new(); chunks]);
    let missing = whole(&mut model, &tokens, grid, &vec![vec![NeighbourTokens::default(); 2]; chunks]);
    assert_eq!(off, missing);
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
    let mut model = model();
    let grid = Grid::prompt_end(70);
    let neighbours = vec![vec![neighbour(1)]; 2];
    let first = whole(&mut model, &tokens(70, 5), grid, &neighbours);
    whole(&mut model, &tokens(400, 6), Grid::prompt_start(), &vec![vec![neighbour(7)]; 6]);
    assert_eq!(first, whole(&mut model, &tokens(70, 5), grid, &neighbours));
}
