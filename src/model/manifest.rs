use std::collections::BTreeMap;

use serde::Deserialize;

use crate::files::FileEntry;
use crate::onnx::Device;
use crate::text::{CHUNK_LENGTH, TokenId};

const FORMAT: u32 = 3;
const GRAPHS: [&str; 3] = ["lower.onnx", "encoder.onnx", "upper.onnx"];
pub(super) const TOKENIZER: &str = "tokenizer.json";
/// Weights of the variants that `auto` takes on a processor, the best first; docs/decisions.md has the measurements.
const BEST_ON_CPU: [&str; 2] = ["int8", "float32"];
const BEST_ON_CUDA: [&str; 1] = ["float16"];

/// `retro.json`; the fields are described in docs/model-format.md.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    pub name: String,
    pub architecture: String,
    pub parameters: u64,
    /// Tokens that a sequence may have.
    pub context: usize,
    pub vocabulary: usize,
    pub pad_token: TokenId,
    pub end_of_text_token: TokenId,
    pub chunk_length: usize,
    /// Neighbours of a chunk in training.
    pub neighbours: usize,
    pub neighbour_length: usize,
    pub continuation_length: usize,
    pub layers: usize,
    /// Counted from 1.
    pub cca_layers: Vec<usize>,
    pub hidden_size: usize,
    pub self_attention: SelfAttention,
    pub cross_attention: CrossAttention,
    pub embedder: EmbedderName,
    pub variants: BTreeMap<String, Variant>,
    pub files: BTreeMap<String, FileEntry>,
}

/// Shapes of the self-attention caches.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SelfAttention {
    pub lower_layers: usize,
    pub upper_layers: usize,
    pub kv_heads: usize,
    pub head_size: usize,
}

/// Shapes of the encoded neighbours.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct CrossAttention {
    pub layers: usize,
    pub heads: usize,
    pub head_size: usize,
}

/// The embedder that the model's neighbours were found with in training.
#[derive(Clone, Debug, Deserialize)]
pub struct EmbedderName {
    pub name: String,
    pub dimension: usize,
}

/// The same model in one format of numbers.
#[derive(Clone, Debug, Deserialize)]
pub struct Variant {
    /// Of activations and caches.
    pub data_type: String,
    pub weights: String,
    pub folder: String,
}

impl Manifest {
    pub(super) fn parse(raw: &[u8]) -> Result<Self, String> {
        // First of all: another format has other fields.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(raw).map_err(|e| format!("retro.json: {e}"))?;
        if format != FORMAT {
            return Err(format!(
                "retro.json has format {format}, this server reads format {FORMAT}; export the model again with training/export.py"
            ));
        }
        let manifest: Self = serde_json::from_slice(raw).map_err(|e| format!("retro.json: {e}"))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The name of the variant to run on a device: the one that is asked for, or the best where that is `auto`.
    pub(super) fn choose(&self, precision: &str, device: Device) -> Result<&str, String> {
        let all: Vec<&str> = self.variants.keys().map(String::as_str).collect();
        // On CUDA, GroupQueryAttention has no kernel for float32.
        let runs = |name: &str| device == Device::Cpu || self.variants[name].data_type == "float16";
        let best: &[&str] = if device == Device::Cpu { &BEST_ON_CPU } else { &BEST_ON_CUDA };
        if precision == "auto" {
            let with = |weights: &str| all.iter().copied().find(|&name| runs(name) && self.variants[name].weights == weights);
            return best.iter().find_map(|&weights| with(weights)).ok_or_else(|| match device {
                Device::Cpu => format!("`precision` has to name a variant: `auto` takes none of {}", all.join(", ")),
                Device::Cuda(_) => format!(
                    "it has no variant with float16 activations, which CUDA needs; `python -m training.export --variants fp32,int8,fp16` \
                     writes one (it has {})",
                    all.join(", ")
                ),
            });
        }
        match all.iter().copied().find(|&name| name == precision) {
            None => Err(format!("it has no variant {precision:?}; `precision` can be auto, {}", all.join(", "))),
            Some(name) if runs(name) => Ok(name),
            Some(name) => Err(format!(
                "its variant {name} has {} activations, and CUDA's attention needs float16; set `precision` to auto, or `device` to cpu",
                self.variants[name].data_type
            )),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.chunk_length != CHUNK_LENGTH {
            return Err(format!("chunk_length is {}, this server's chunks have {CHUNK_LENGTH} tokens", self.chunk_length));
        }
        if self.cross_attention.layers != self.cca_layers.len() {
            return Err(format!(
                "cross_attention.layers is {}, cca_layers has {}",
                self.cross_attention.layers,
                self.cca_layers.len()
            ));
        }
        if self.self_attention.lower_layers.checked_add(self.self_attention.upper_layers) != Some(self.layers) {
            return Err("self_attention.lower_layers and upper_layers do not add up to layers".to_owned());
        }
        let sizes = [
            ("context", self.context),
            ("vocabulary", self.vocabulary),
            ("neighbours", self.neighbours),
            ("neighbour_length", self.neighbour_length),
            ("hidden_size", self.hidden_size),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("{name} must not be 0"));
        }
        if self.neighbour_length.checked_add(self.continuation_length).is_none() {
            return Err("neighbour_length and continuation_length are too large".to_owned());
        }
        let graphs = self.variants.values().flat_map(|variant| GRAPHS.map(|graph| format!("{}/{graph}", variant.folder)));
        match graphs.chain([TOKENIZER.to_owned()]).find(|file| !self.files.contains_key(file)) {
            Some(file) => Err(format!("retro.json does not list {file}")),
            None => Ok(()),
        }
    }

    /// Tokens of one neighbour with its continuation.
    pub fn retrieved_length(&self) -> usize {
        self.neighbour_length + self.continuation_length
    }
}
