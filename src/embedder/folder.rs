use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::EmbedderError;
use crate::files::{FileEntry, check_files};

/// `embedder.json`: what the folder holds.
#[derive(Clone, Debug, Deserialize)]
pub struct EmbedderFiles {
    pub name: String,
    /// Length of a vector.
    pub dimension: usize,
    /// Longest input in word pieces, `[CLS]` and `[SEP]` included; longer texts are cut.
    pub max_tokens: usize,
    /// Id that fills up shorter texts of a batch.
    pub pad_token: i64,
    pub weights_sha256: String,
    pub files: BTreeMap<String, FileEntry>,
}

impl EmbedderFiles {
    /// Reads the manifest and checks every file that it lists.
    ///
    /// # Errors
    /// A file is missing, altered or not readable.
    pub fn check(folder: &Path) -> Result<Self, EmbedderError> {
        let error = |reason: String| EmbedderError::Folder { path: folder.display().to_string(), reason };
        let raw = std::fs::read(folder.join("embedder.json")).map_err(|e| error(format!("embedder.json: {e}")))?;
        let manifest: Self = serde_json::from_slice(&raw).map_err(|e| error(format!("embedder.json: {e}")))?;
        for needed in ["model.onnx", "tokenizer.json"] {
            if !manifest.files.contains_key(needed) {
                return Err(error(format!("embedder.json does not list {needed}")));
            }
        }
        check_files(folder, &manifest.files).map_err(|e| error(e.to_string()))?;
        Ok(manifest)
    }
}
