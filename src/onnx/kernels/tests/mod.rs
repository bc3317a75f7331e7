//! The operators against float64, against ONNX Runtime's own, and each row against itself in other company.

mod bert;

use std::path::{Path, PathBuf};

use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::are_supported;
use super::attention::{Caches, Layer};
use super::output::Output;
use super::product::{Matrix, Rows, multiply};
use crate::onnx::graph::load;
use crate::onnx::{Device, Products, Runtime, default_library};

fn numbers(random: &mut impl Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// A matrix as MatMulNBits stores it, beside what it stands for.
fn matrix(random: &mut impl Rng, outputs: usize, inputs: usize, block: usize) -> (Matrix, Vec<f64>) {
    let blocks = inputs.div_ceil(block);
    let stored: Vec<u8> = (0..outputs * blocks * block).map(|_| random.random_range(1..=255)).collect();
    let scales: Vec<f32> = (0..outputs * blocks).map(|_| random.random_range(0.001..0.01)).collect();
    let width = blocks * block;
    let value = |at: usize| (f64::from(stored[at]) - 128.0) * f64::from(scales[at / block]);
    let values = (0..outputs).flat_map(|output| (0..inputs).map(move |input| output * width + input)).map(value).collect();
    (Matrix::pack(&stored, &scales, outputs, inputs, block), values)
}

fn product(x: &[f32], matrix: &Matrix, cuts: &[usize]) -> Vec<f32> {
    let mut rows = Rows::default();
    rows.quantise(x, matrix);
    let mut y = vec![f32::NAN; x.len() / matrix.inputs() * matrix.outputs()];
    // SAFETY: `y` is written here alone.
    unsafe {
        let output = Output::new(y.as_mut_ptr(), y.len());
        cuts.windows(2).for_each(|cut| multiply(&rows, matrix, cut[0]..cut[1], &output));
    }
    y
}

#[test]
fn products_are_those_of_the_numbers_within_what_8_bits_keep() {
    if !are_supported() {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for (outputs, inputs, block, rows) in
        [(8, 64, 64, 1), (40, 100, 32, 3), (256, 688, 64, 9), (17, 16, 16, 4), (96, 300, 128, 6)]
    {
        let (matrix, values) = matrix(&mut random, outputs, inputs, block);
        let mut x = numbers(&mut random, rows * inputs);
        // A block of zeros has no scale.
        x[..inputs.min(block)].fill(0.0);
        let found = product(&x, &matrix, &[0, matrix.panels()]);
        for (row, found) in x.chunks_exact(inputs).zip(found.chunks_exact(outputs)) {
            for (weights, &found) in values.chunks_exact(inputs).zip(found) {
                let exact: f64 = row.iter().zip(weights).map(|(&x, &weight)| f64::from(x) * weight).sum();
                // Half a step of at most 1 / 127 for each number, all of them the same way.
                let bound: f64 = weights.iter().map(|weight| weight.abs() / 254.0).sum::<f64>() + 1e-4;
                assert!((exact - f64::from(found)).abs() < bound, "{found} for {exact}, {outputs} x {inputs}");
            }
        }
    }
}

#[test]
fn a_products_row_has_the_same_bits_in_any_company_and_however_it_is_shared_out() {
    if !are_supported() {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let (matrix, _) = matrix(&mut random, 200, 300, 64);
    let x = numbers(&mut random, 11 * 300);
    let panels = matrix.panels();
    let whole = product(&x, &matrix, &[0, panels]);
    assert_eq!(whole, product(&x, &matrix, &[0, 1, 4, 5, panels]));
    for (row, expected) in x.chunks_exact(300).zip(whole.chunks_exact(200)) {
        assert_eq!(product(row, &matrix, &[0, panels]), expected);
    }
}

/// Attention over caches of a batch, in which `spans` of tokens follow each other.
struct Attending {
    layer: Layer,
    keys: Vec<u8>,
    values: Vec<u8>,
    /// [positions, angles]
    angles: [Vec<f32>; 2],
}

impl Attending {
    fn new(layer: Layer, rows: usize) -> Self {
        // What no token was written to must not be read.
        let cache = f32::NAN.to_ne_bytes().repeat(rows * layer.kv_heads * layer.places * layer.head);
        let angle = |at: usize| (at / layer.angles) as f32 / 10f32.powi((at % layer.angles) as i32 / 4);
        let table = |of: fn(f32) -> f32| (0..layer.places * layer.angles).map(|at| of(angle(at))).collect();
        Self { layer, keys: cache.clone(), values: cache, angles: [table(f32::cos), table(f32::sin)] }
    }

    fn run(&mut self, packed: &[f32], step: usize, last: &[i32]) -> Vec<f32> {
        let layer = self.layer;
        let mut queries = Vec::new();
        let mut caches = Caches { keys: &mut self.keys, values: &mut self.values, last };
        layer.append(packed, step, [&self.angles[0], &self.angles[1]], &mut caches, &mut queries);
        let mut mixed = vec![f32::NAN; last.len() * step * layer.heads * layer.head];
        // SAFETY: `mixed` is written here alone.
        unsafe {
            let output = Output::new(mixed.as_mut_ptr(), mixed.len());
            for row in 0..last.len() {
                (0..layer.heads).for_each(|head| layer.mix(&queries, step, &caches, (row, head), &output));
            }
        }
        mixed
    }

    /// What one head of the last of `tokens` mixes, in float64. `tokens`: [tokens, packed].
    fn exact(&self, tokens: &[f32], head: usize) -> Vec<f64> {
        let Layer { heads, kv_heads, head: size, angles, .. } = self.layer;
        let tokens: Vec<&[f32]> = tokens.chunks_exact(self.layer.packed()).collect();
        let rotated = |position: usize, part: usize| -> Vec<f64> {
            let numbers: Vec<f64> = tokens[position][part * size..(part + 1) * size].iter().map(|&x| f64::from(x)).collect();
            let mut turned = numbers.clone();
            for pair in 0..angles {
                let [cos, sin] = [0, 1].map(|table| f64::from(self.angles[table][position * angles + pair]));
                turned[pair] = numbers[pair] * cos - numbers[pair + angles] * sin;
                turned[pair + angles] = numbers[pair + angles] * cos + numbers[pair] * sin;
            }
            turned
        };
        let kv_head = head * kv_heads / heads;
        let query = rotated(tokens.len() - 1, head);
        let score = |position: usize| -> f64 {
            let key = rotated(position, heads + kv_head);
            query.iter().zip(&key).map(|(q, k)| q * k).sum::<f64>() / (size as f64).sqrt()
        };
        let shares: Vec<f64> = (0..tokens.len()).map(|position| score(position).exp()).collect();
        let total: f64 = shares.iter().sum();
        let value = |position: usize, at: usize| f64::from(tokens[position][(heads + kv_heads + kv_head) * size + at]);
        (0..size).map(|at| shares.iter().enumerate().map(|(position, share)| share / total * value(position, at)).sum()).collect()
    }
}

#[test]
fn attention_is_a_softmax_over_the_cache_and_has_the_same_bits_in_steps_and_spans() {
    if !are_supported() {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(3);
    for (heads, kv_heads, head, angles) in [(4, 4, 32, 16), (4, 2, 64, 32), (2, 1, 48, 8), (1, 1, 128, 64), (2, 2, 16, 8)] {
        for half in [false, true] {
            let layer = Layer { heads, kv_heads, head, places: 96, angles, half };
            let tokens = 70;
            let packed = numbers(&mut random, tokens * layer.packed());
            let mut span = Attending::new(layer, 1);
            let whole = span.run(&packed, tokens, &[tokens as i32 - 1]);
            let bound = if half { 1e-3 } else { 2e-6 };
            for of in 0..heads {
                let found = &whole[((tokens - 1) * heads + of) * head..][..head];
                for (found, exact) in found.iter().zip(span.exact(&packed, of)) {
                    assert!((f64::from(*found) - exact).abs() < bound, "{found} for {exact}, {layer:?}");
                }
            }
            // The same tokens one by one, beside a sequence of another length.
            let mut steps = Attending::new(layer, 2);
            let width = heads * head;
            for (at, token) in packed.chunks_exact(layer.packed()).enumerate() {
                let other = numbers(&mut random, layer.packed());
                let mixed = steps.run(&[&other, token].concat(), 1, &[at as i32 / 2, at as i32]);
                assert_eq!(mixed[width..], whole[at * width..(at + 1) * width], "token {at}, {layer:?}");
            }
        }
    }
}

fn bundled(graph: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/retro-nano/int8").join(graph)
}

fn run(session: &mut Session, tokens: &[i64]) -> Vec<f32> {
    let mut inputs: Vec<(String, SessionInputValue<'_>)> = Vec::new();
    let count = tokens.len();
    inputs.push(("tokens".to_owned(), Tensor::from_array(([1, count], tokens.to_vec())).unwrap().into()));
    inputs.push(("seqlens_k".to_owned(), Tensor::from_array(([1], vec![count as i32 - 1])).unwrap().into()));
    inputs.push(("total_sequence_length".to_owned(), Tensor::from_array(((), vec![count as i32])).unwrap().into()));
    for layer in 0..3 {
        for part in ["key", "value"] {
            let cache = Tensor::from_array(([1usize, 8, 512, 32], vec![0f32; 8 * 512 * 32])).unwrap();
            inputs.push((format!("past_{part}_{layer}"), cache.into()));
        }
    }
    session.run(inputs).unwrap()["hidden"].try_extract_tensor::<f32>().unwrap().1.to_vec()
}

#[test]
fn a_rewritten_graph_gives_what_onnx_runtimes_operators_give() {
    if !are_supported() {
        return;
    }
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join(default_library());
    let runtime = Runtime::load(Some(&library)).expect("`make setup` has run");
    let builder = || Session::builder(runtime.environment()).unwrap();
    let path = bundled("lower.onnx");
    let (mut ours, _weights) = load(builder(), &path, Device::Cpu, Products::Float32).unwrap();
    let mut theirs = builder().commit_from_file(&path).unwrap();
    let tokens: Vec<i64> = (0..50).map(|at| 100 + 37 * at).collect();
    let (ours, theirs) = (run(&mut ours, &tokens), run(&mut theirs, &tokens));
    let largest = theirs.iter().fold(0f32, |most, x| most.max(x.abs()));
    let distance = ours.iter().zip(&theirs).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(distance > 0.0, "the graph was not rewritten");
    assert!(distance < 0.01 * largest, "{distance} of {largest}");
}
