use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::ModelError;
use crate::files::{FileEntry, check_files};
use crate::text::{CHUNK_LENGTH, TokenId};

const FORMAT: u32 = 1;
const FILES: [&str; 4] = ["lower.onnx", "encoder.onnx", "upper.onnx", "tokenizer.json"];

/// `retro.json`; the fields are described in docs/model-format.md.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub name: String,
    pub architecture: String,
    pub parameters: u64,
    pub data_type: String,
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

impl Manifest {
    /// Reads `retro.json` and compares every file with it.
    ///
    /// # Errors
    /// The manifest is missing or unusable, or a file is missing or altered.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let error = |reason: String| ModelError::Folder { path: folder.display().to_string(), reason };
        let raw = std::fs::read(folder.join("retro.json")).map_err(|e| error(format!("retro.json cannot be read: {e}")))?;
        let manifest: Self = serde_json::from_slice(&raw).map_err(|e| error(format!("retro.json: {e}")))?;
        manifest.check().map_err(error)?;
        check_files(folder, &manifest.files).map_err(|e| error(e.to_string()))?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("retro.json has format {}, this server reads {FORMAT}", self.format));
        }
        if self.chunk_length != CHUNK_LENGTH {
            return Err(format!("chunk_length is {}, this server's chunks have {CHUNK_LENGTH} tokens", self.chunk_length));
        }
        if self.data_type != "float32" {
            return Err(format!("data_type is {:?}, this server reads float32", self.data_type));
        }
        if self.cross_attention.layers != self.cca_layers.len() {
            return Err(format!(
                "cross_attention.layers is {}, cca_layers has {}",
                self.cross_attention.layers,
                self.cca_layers.len()
            ));
        }
        if self.self_attention.lower_layers + self.self_attention.upper_layers != self.layers {
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
        match FILES.iter().find(|&&file| !self.files.contains_key(file)) {
            Some(file) => Err(format!("retro.json does not list {file}")),
            None => Ok(()),
        }
    }

    /// Tokens of one neighbour with its continuation.
    pub fn retrieved_length(&self) -> usize {
        self.neighbour_length + self.continuation_length
    }
}
