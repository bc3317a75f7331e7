//! The engine against the PyTorch model of `training/`: cases made by `python -m training.parity`, which computes each by one full
//! recompute.

use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{Driver, load, load_on, model, root};
use crate::files::hex;
use crate::model::{Checked, ModelFolder, NeighbourTokens};
use crate::onnx::{Device, default_library};
use crate::text::{Grid, TokenId};

/// Largest difference of a logit where products are computed in floating point.
const TOLERANCE: f32 = 1e-3;
/// As it runs, int8 rounds activations to 8 bits too, which the reference does not: one logit then says little, all of them much.
/// Root mean square of the differences, as a share of that of the logits about their mean: a model that is surer of itself has
/// larger logits, and larger differences.
const SHARE: f64 = 0.1;
/// Mean divergence of the predictions of int8 from those of fp32, in nats a token: 0.01 is 1 % of perplexity.
const DIVERGENCE: f64 = 0.01;
/// Of int8 the cases have the logits of every fourth token.
const EVERY: usize = 4;

fn cases() -> Vec<u8> {
    let path = std::env::var_os("RETRO_PARITY_CASES")
        .map_or_else(|| root().join("tests/fixtures/parity/cases.safetensors"), |path| Path::new(&path).to_owned());
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
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

    fn all(file: &SafeTensors) -> Vec<Self> {
        let cases: Vec<Self> = (0..).map_while(|number| Self::read(file, number)).collect();
        assert!(cases.len() >= 20, "{} cases", cases.len());
        cases
    }

    /// Logits of every token: the prompt in one step, then token by token.
    fn decode(&self, model: &mut Driver) -> Vec<Vec<f32>> {
        self.logits(model, self.prompt)
    }

    /// Logits of every token, all in one step.
    fn whole(&self, model: &mut Driver) -> Vec<Vec<f32>> {
        self.logits(model, self.tokens.len())
    }

    fn logits(&self, model: &mut Driver, first_step: usize) -> Vec<Vec<f32>> {
        let vocabulary = model.vocabulary();
        let slot = model.open(self.grid);
        let mut rows = Vec::new();
        let steps = std::iter::once(0..first_step).chain((first_step..self.tokens.len()).map(|at| at..at + 1));
        for step in steps {
            let logits = model.extend(slot, &self.tokens[step], &self.neighbours);
            rows.extend(logits.chunks_exact(vocabulary).map(<[f32]>::to_vec));
        }
        model.model.close(slot).unwrap();
        assert_eq!(rows.len(), self.tokens.len());
        rows
    }
}

/// Differences from the reference: of every logit, or of the sampled ones and the log-sum-exp of each row.
fn differences(file: &SafeTensors, prefix: &str, rows: &[Vec<f32>]) -> Vec<f32> {
    let tensor = |name: &str| file.tensor(&format!("{prefix}.{name}"));
    if let Ok(full) = tensor("logits") {
        let full = floats(&full);
        assert_eq!(full.len(), rows.len() * rows[0].len());
        return full.iter().zip(rows.iter().flat_map(|row| row.iter())).map(|(a, b)| (a - b).abs()).collect();
    }
    let (ids, values) = (ints(&tensor("logit_ids").unwrap()), floats(&tensor("logit_values").unwrap()));
    let sums = floats(&tensor("log_sum_exp").unwrap());
    assert_eq!(sums.len(), rows.len());
    let per_row = ids.len() / rows.len();
    let logits = ids.iter().zip(&values).enumerate().map(|(at, (&id, value))| (rows[at / per_row][id as usize] - value).abs());
    logits.chain(rows.iter().zip(&sums).map(|(row, sum)| (log_sum_exp(row) as f32 - sum).abs())).collect()
}

fn log_sum_exp(row: &[f32]) -> f64 {
    row.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln()
}

/// Of the logits of one token.
fn variance(row: &[f32]) -> f64 {
    let mean = row.iter().map(|&logit| f64::from(logit)).sum::<f64>() / row.len() as f64;
    row.iter().map(|&logit| (f64::from(logit) - mean).powi(2)).sum::<f64>() / row.len() as f64
}

/// Kullback-Leibler divergence of the prediction `b` from `a`, in nats.
fn divergence(a: &[f32], b: &[f32]) -> f64 {
    let shift = log_sum_exp(b) - log_sum_exp(a);
    let sum = log_sum_exp(a);
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - sum).exp() * (f64::from(a) - f64::from(b) + shift)).sum()
}

#[test]
fn parity_with_pytorch_fp32() {
    let raw = cases();
    let file = SafeTensors::deserialize(&raw).unwrap();
    let mut model = model("fp32");
    let (mut positions, mut greatest) = (0, 0f32);
    let cases = Case::all(&file);
    for (number, case) in cases.iter().enumerate() {
        let rows = case.decode(&mut model);
        let difference = differences(&file, &format!("case{number}"), &rows).into_iter().fold(0.0, f32::max);
        assert!(difference <= TOLERANCE, "case {number}: logits differ by {difference}");
        positions += rows.len();
        greatest = greatest.max(difference);
    }
    println!("fp32: {} cases, {positions} positions, largest difference {greatest:e}", cases.len());
}

/// The bundled int8 with its products in floating point: its weights alone, and the same numbers on every processor.
fn int8_in_floating_point() -> (TempDir, ModelFolder) {
    let (bundled, folder) = (root().join("models/retro-nano"), tempfile::tempdir().unwrap());
    std::fs::create_dir(folder.path().join("int8")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(bundled.join("retro.json")).unwrap()).unwrap();
    for name in ["tokenizer.json", "int8/lower.onnx", "int8/encoder.onnx", "int8/upper.onnx", "int8/weights.bin"] {
        let mut content = std::fs::read(bundled.join(name)).unwrap();
        // A node's attribute in protocol buffers: the name, then field 3, the number. 4 is products of integers, 1 float32.
        let attribute = b"accuracy_level\x18\x04";
        let places: Vec<usize> = (0..content.len().saturating_sub(attribute.len() - 1))
            .filter(|&at| name.ends_with(".onnx") && content[at..].starts_with(attribute))
            .collect();
        assert_eq!(places.is_empty(), !name.ends_with(".onnx"), "{name}");
        for at in places {
            content[at + attribute.len() - 1] = 1;
        }
        let sha256 = hex(&Sha256::digest(&content));
        manifest["files"][name] = serde_json::json!({"sha256": sha256, "bytes": content.len()});
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    std::fs::write(folder.path().join("retro.json"), manifest.to_string()).unwrap();
    let opened = ModelFolder::open(folder.path(), "int8", Device::Cpu, Checked::Chosen).unwrap();
    (folder, opened)
}

#[test]
fn parity_with_pytorch_int8_weights() {
    let raw = cases();
    let file = SafeTensors::deserialize(&raw).unwrap();
    let (_folder, int8) = int8_in_floating_point();
    let mut model = load(&int8);
    let mut greatest = 0f32;
    for (number, case) in Case::all(&file).iter().enumerate() {
        let rows: Vec<Vec<f32>> = case.whole(&mut model).into_iter().step_by(EVERY).collect();
        let difference = differences(&file, &format!("case{number}.int8"), &rows).into_iter().fold(0.0, f32::max);
        assert!(difference <= TOLERANCE, "case {number}: logits differ by {difference}");
        greatest = greatest.max(difference);
    }
    println!("int8 in floating point: largest difference {greatest:e}");
}

#[test]
fn parity_with_pytorch_int8() {
    let raw = cases();
    let file = SafeTensors::deserialize(&raw).unwrap();
    let (mut int8, mut fp32) = (model("int8"), model("fp32"));
    let (mut squares, mut divergences, mut spreads) = (Vec::new(), Vec::new(), Vec::new());
    for (number, case) in Case::all(&file).iter().enumerate() {
        let (rows, exact) = (case.decode(&mut int8), case.whole(&mut fp32));
        divergences.extend(exact.iter().zip(&rows).map(|(exact, row)| divergence(exact, row)));
        spreads.extend(exact.iter().map(|row| variance(row)));
        let rows: Vec<Vec<f32>> = rows.into_iter().step_by(EVERY).collect();
        squares.extend(differences(&file, &format!("case{number}.int8"), &rows).into_iter().map(|by| f64::from(by).powi(2)));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (share, divergence) = ((mean(&squares) / mean(&spreads)).sqrt(), mean(&divergences));
    println!("int8: the logits differ by {share:.2e} of their size, divergence from fp32 {divergence:.2e} nats");
    assert!(share <= SHARE, "logits differ by {share} of their size");
    assert!(divergence <= DIVERGENCE, "predictions diverge from those of fp32 by {divergence} nats a token");
}

/// An architecture that is not ours, by the graphs of `training/importers`: every logit of `retro-pytorch` 0.3.9 itself.
#[test]
fn parity_with_retro_pytorch() {
    let folders = match std::env::var_os("RETRO_ORACLE") {
        Some(made) => std::fs::read_dir(made).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect(),
        None => vec![root().join("tests/fixtures/retro-pytorch/tiny")],
    };
    assert!(!folders.is_empty());
    for path in folders {
        let raw = std::fs::read(path.join("cases.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&raw).unwrap();
        let mut model = load(&ModelFolder::open(&path, "fp32", Device::Cpu, Checked::Chosen).unwrap());
        let mut greatest = 0f32;
        let cases = Case::all(&file);
        for (number, case) in cases.iter().enumerate() {
            let rows = case.decode(&mut model);
            let difference = differences(&file, &format!("case{number}"), &rows).into_iter().fold(0.0, f32::max);
            assert!(difference <= TOLERANCE, "{}, case {number}: logits differ by {difference}", path.display());
            greatest = greatest.max(difference);
        }
        println!("{}: {} cases, largest difference {greatest:e}", path.display(), cases.len());
    }
}

/// The device that `RETRO_TEST_DEVICE` names, by default the CPU, against float32 on the CPU. `make cuda-check` runs it on a GPU, with
/// ONNX Runtime's build for it and a model folder that has a variant in float16.
#[test]
fn parity_cuda() {
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let device = match setting("RETRO_TEST_DEVICE", "cpu").as_str() {
        "cpu" => Device::Cpu,
        cuda => Device::Cuda(cuda.strip_prefix("cuda").unwrap().strip_prefix(':').map_or(0, |index| index.parse().unwrap())),
    };
    let library = root().join(setting("RETRO_ONNXRUNTIME", default_library().to_str().unwrap()));
    let path = root().join(setting("RETRO_MODEL", "models/retro-nano"));
    let open = |precision, device| ModelFolder::open(&path, precision, device, Checked::Chosen).unwrap();
    let mut reference = load_on(&open("fp32", Device::Cpu), &library, Device::Cpu);
    let chosen = open("auto", device);
    let mut model = load_on(&chosen, &library, device);
    let raw = cases();
    let file = SafeTensors::deserialize(&raw).unwrap();
    let (mut sum, mut tokens) = (0.0, 0);
    for case in Case::all(&file).iter().take(5) {
        for (expected, found) in case.decode(&mut reference).iter().zip(&case.decode(&mut model)) {
            sum += divergence(expected, found);
            tokens += 1;
        }
    }
    let mean = sum / f64::from(tokens);
    println!("{} on {device}: divergence from fp32 on the CPU {mean:.2e} nats, of {tokens} tokens", chosen.variant().0);
    assert!(mean <= DIVERGENCE, "{mean} nats");
}
