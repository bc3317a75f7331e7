//! The graph against vectors that `scripts/make_embedder_fixture.py` computed with transformers' BertModel.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use super::tokens::Tokens;
use super::{Embedder, EmbedderError, EmbedderFiles, Precision};
use crate::onnx::{Cores, Device, Runtime, default_library};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn runtime() -> Runtime {
    Runtime::load(Some(&root().join(default_library()))).expect("`make setup` has run")
}

fn folder() -> PathBuf {
    root().join("runtime/all-MiniLM-L6-v2")
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn load(folder: &Path, precision: Precision) -> Result<Embedder, EmbedderError> {
    Embedder::load(&runtime(), folder, 0, Device::Cpu, precision)
}

/// Those that this processor can compute in.
fn precisions() -> impl Iterator<Item = Precision> {
    [Precision::Fp32, Precision::Int16].into_iter().filter(|precision| precision.is_supported(Device::Cpu))
}

#[tokio::test]
async fn vectors_are_those_of_bert() {
    let fixtures = root().join("tests/fixtures/embedder");
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(fixtures.join("texts.json")).unwrap()).unwrap();
    let raw = std::fs::read(fixtures.join("vectors.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&raw).unwrap();
    let expected: Vec<f32> = file
        .tensor("embeddings")
        .unwrap()
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    assert!(texts.len() >= 100);

    for precision in precisions() {
        let embedder = load(&folder(), precision).unwrap();
        let dimension = embedder.dimension();
        assert_eq!(expected.len(), texts.len() * dimension);
        // All at once, so that texts of different lengths share batches.
        let found = embedder.embed(texts.clone()).await.unwrap();
        let least = if precision == Precision::Fp32 { 0.999_999 } else { 0.999_99 };
        for ((text, found), expected) in texts.iter().zip(&found).zip(expected.chunks_exact(dimension)) {
            let cosine = cosine(found, expected);
            assert!(cosine >= least, "{cosine} for {text:?} in {precision}");
            let length: f32 = found.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-4, "{text:?} has length {length}");
        }
    }
}

#[tokio::test]
async fn many_callers_get_their_own_vectors_to_the_last_bit() {
    for precision in precisions() {
        let embedder = load(&folder(), precision).unwrap();
        let texts: Vec<String> = (0..20).map(|i| format!("text {i} {}", "word ".repeat(i))).collect();
        let together = embedder.embed(texts.clone()).await.unwrap();
        let one_by_one = futures::future::join_all(texts.iter().map(|text| embedder.embed(vec![text.clone()]))).await;
        for (together, alone) in together.iter().zip(one_by_one) {
            assert_eq!(*together, alone.unwrap()[0], "in {precision}");
        }
        assert!(embedder.embed(Vec::new()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn vectors_are_the_same_to_the_last_bit_on_any_number_of_cores() {
    let texts: Vec<String> = (0..6).map(|i| format!("text {i} {}", "word ".repeat(9 * i))).collect();
    for precision in precisions() {
        let mut found = Vec::new();
        for threads in [1, 2, 3] {
            let embedder = Embedder::load(&runtime(), &folder(), threads, Device::Cpu, precision).unwrap();
            for cores in [Cores::All, Cores::AllButOne] {
                found.push(embedder.embed_queries(texts.clone(), cores).await.unwrap());
            }
        }
        assert!(found.iter().all(|vectors| *vectors == found[0]), "in {precision}");
    }
}

#[test]
fn a_long_text_is_cut_as_the_tokenizer_cuts_it() {
    let about = EmbedderFiles::check(&folder()).unwrap();
    let tokens = Tokens::load(&folder(), &about).unwrap();
    let mut cutting = tokenizers::Tokenizer::from_file(folder().join("tokenizer.json")).unwrap();
    let truncation = tokenizers::TruncationParams { max_length: about.max_tokens, ..Default::default() };
    cutting.with_truncation(Some(truncation)).unwrap();
    for words in [0, 1, about.max_tokens - 2, about.max_tokens - 1, about.max_tokens, 3 * about.max_tokens] {
        let text = "word ".repeat(words);
        let expected: Vec<i64> = cutting.encode(text.as_str(), true).unwrap().get_ids().iter().map(|&id| i64::from(id)).collect();
        assert_eq!(tokens.ids(&text).unwrap(), expected, "{words} words");
        assert_eq!(tokens.count(&text).unwrap(), words + 2);
    }
}

#[test]
fn a_database_is_read_in_the_precision_that_made_it() {
    let sha = "53aa51172d142c89";
    let best = precisions().last().unwrap();
    for made in precisions() {
        assert_eq!(Precision::for_database(Some(&made.identity(sha)), Device::Cpu), made);
    }
    assert_eq!(Precision::for_database(None, Device::Cpu), best);
    assert_eq!(Precision::for_database(None, Device::Cuda(0)), Precision::Fp32);
    assert_ne!(Precision::Fp32.identity(sha), Precision::Int16.identity(sha));
}

#[test]
fn an_altered_folder_is_refused() {
    let copy = tempfile::tempdir().unwrap();
    for file in ["embedder.json", "tokenizer.json", "model.onnx"] {
        std::fs::copy(folder().join(file), copy.path().join(file)).unwrap();
    }
    let graph = copy.path().join("model.onnx");
    let mut bytes = std::fs::read(&graph).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&graph, bytes).unwrap();
    let error = load(copy.path(), Precision::Fp32).err().unwrap();
    assert!(matches!(&error, EmbedderError::Folder { reason, .. } if reason.contains("model.onnx was altered")), "{error}");
    std::fs::remove_file(graph).unwrap();
    assert!(load(copy.path(), Precision::Fp32).is_err());
}

#[test]
fn a_library_that_is_none_is_an_error_and_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Runtime::load(Some(&folder.path().join("libonnxruntime.so"))).err().unwrap();
    assert!(missing.to_string().contains("make setup"), "{missing}");
}
