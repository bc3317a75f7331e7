//! What a manifest may say, and which files are looked at.

use std::path::Path;

use serde_json::{Value, json};

use super::root;
use crate::model::{Checked, ModelFolder};
use crate::onnx::Device;

/// A folder with the bundled manifest, changed, and the files of it that `have` names.
fn folder(change: impl FnOnce(&mut Value), have: &[&str]) -> tempfile::TempDir {
    let bundled = root().join("models/retro-nano");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(bundled.join("retro.json")).unwrap()).unwrap();
    change(&mut manifest);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("retro.json"), manifest.to_string()).unwrap();
    for file in have {
        std::fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
        std::fs::copy(bundled.join(file), folder.path().join(file)).unwrap();
    }
    folder
}

fn refusal(folder: &Path, precision: &str, checked: Checked) -> String {
    ModelFolder::open(folder, precision, Device::Cpu, checked).unwrap_err().to_string()
}

const FP32: [&str; 5] = ["tokenizer.json", "fp32/lower.onnx", "fp32/encoder.onnx", "fp32/upper.onnx", "fp32/weights.bin"];

#[test]
fn only_the_files_that_run_are_needed() {
    let folder = folder(|_| {}, &FP32);
    let opened = ModelFolder::open(folder.path(), "fp32", Device::Cpu, Checked::Chosen).unwrap();
    let files: Vec<_> = opened.files().map(|(name, _)| name.as_str()).collect();
    assert_eq!(files.len(), FP32.len());
    assert!(FP32.iter().all(|file| files.contains(file)), "{files:?}");
    assert!(refusal(folder.path(), "int8", Checked::Chosen).contains("int8/encoder.onnx"));
    assert!(refusal(folder.path(), "fp32", Checked::All).contains("int8/encoder.onnx"));
    std::fs::write(folder.path().join("fp32/weights.bin"), b"short").unwrap();
    assert!(refusal(folder.path(), "fp32", Checked::Chosen).contains("fp32/weights.bin has 5 bytes"));
}

#[test]
fn auto_takes_the_best_variant_that_runs_on_a_processor() {
    let all = ModelFolder::open(&root().join("models/retro-nano"), "auto", Device::Cpu, Checked::Chosen).unwrap();
    assert_eq!((all.variant().0, all.variant().1.weights.as_str()), ("int8", "int8"));
    let only = |name: &'static str| {
        move |manifest: &mut Value| manifest["variants"].as_object_mut().unwrap().retain(|variant, _| variant == name)
    };
    let fp32 = folder(only("fp32"), &FP32);
    assert_eq!(ModelFolder::open(fp32.path(), "auto", Device::Cpu, Checked::Chosen).unwrap().variant().0, "fp32");
}

#[test]
fn a_variant_that_is_not_there_or_cannot_run_is_refused_with_those_that_can() {
    let folder = folder(
        |manifest| {
            manifest["variants"]["half"] = json!({"data_type": "float16", "weights": "float16", "folder": "fp32"});
        },
        &FP32,
    );
    let said = refusal(folder.path(), "int3", Checked::Chosen);
    assert!(said.contains("no variant \"int3\"") && said.contains("auto, fp32, half, int8"), "{said}");
    // CUDA needs float16, which the CPU runs too.
    assert_eq!(ModelFolder::open(folder.path(), "half", Device::Cpu, Checked::Chosen).unwrap().variant().0, "half");
    let on_cuda = |precision| ModelFolder::open(folder.path(), precision, Device::Cuda(0), Checked::Chosen);
    assert_eq!(on_cuda("auto").unwrap().variant().0, "half");
    let said = on_cuda("fp32").unwrap_err().to_string();
    assert!(said.contains("fp32 has float32 activations") && said.contains("needs float16"), "{said}");
    let bundled = ModelFolder::open(&root().join("models/retro-nano"), "auto", Device::Cuda(0), Checked::Chosen);
    assert!(bundled.unwrap_err().to_string().contains("--variants fp32,int8,fp16"));
}

#[test]
fn another_format_and_a_graph_that_is_not_listed_are_refused() {
    // As the first format was: other fields, and no variants.
    let older = folder(|manifest| *manifest = json!({"format": 1, "name": "retro"}), &[]);
    let said = refusal(older.path(), "auto", Checked::Chosen);
    assert!(said.contains("format 1") && said.contains("format 3") && said.contains("export"), "{said}");
    let without = folder(|manifest| drop(manifest["files"].as_object_mut().unwrap().remove("int8/upper.onnx")), &[]);
    let said = refusal(without.path(), "auto", Checked::Chosen);
    assert!(said.contains("does not list int8/upper.onnx"), "{said}");
}
