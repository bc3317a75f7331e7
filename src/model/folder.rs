use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::TOKENIZER;
use super::{Manifest, ModelError, Variant};
use crate::files::{FileEntry, check_files};
use crate::onnx::{Device, Kind};

/// Which files of a model folder are compared with its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Those that a server runs: the tokenizer and the chosen variant.
    Chosen,
    All,
}

/// A model folder with the variant that runs, its files compared with the manifest. Clones share the manifest.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    path: PathBuf,
    manifest: Arc<Manifest>,
    variant: String,
}

impl ModelFolder {
    /// Reads `retro.json`, chooses the variant that the setting `precision` names, and compares files.
    ///
    /// # Errors
    /// The manifest is missing or unusable, the variant is not there or does not run here, or a file is missing or altered.
    pub fn open(path: &Path, precision: &str, device: Device, checked: Checked) -> Result<Self, ModelError> {
        let error = |reason: String| ModelError::Folder { path: path.display().to_string(), reason };
        let raw = std::fs::read(path.join("retro.json")).map_err(|e| error(format!("retro.json cannot be read: {e}")))?;
        let manifest = Manifest::parse(&raw).map_err(error)?;
        let variant = manifest.choose(precision, device).map_err(error)?.to_owned();
        let folder = Self { path: path.to_owned(), manifest: Arc::new(manifest), variant };
        match checked {
            Checked::Chosen => check_files(path, folder.files()),
            Checked::All => check_files(path, &folder.manifest.files),
        }
        .map_err(|e| error(e.to_string()))?;
        Ok(folder)
    }

    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The variant that runs, by its name in the manifest.
    pub fn variant(&self) -> (&str, &Variant) {
        (&self.variant, &self.manifest.variants[&self.variant])
    }

    /// The files that run, with what the manifest says of them.
    pub fn files(&self) -> impl Iterator<Item = (&String, &FileEntry)> {
        let inside = format!("{}/", self.variant().1.folder);
        self.manifest.files.iter().filter(move |(name, _)| *name == TOKENIZER || name.starts_with(&inside))
    }

    pub fn tokenizer(&self) -> PathBuf {
        Self::tokenizer_in(&self.path)
    }

    /// Where the tokenizer is in a model folder that need not be opened for it.
    pub fn tokenizer_in(path: &Path) -> PathBuf {
        path.join(TOKENIZER)
    }

    /// Sequences whose key/value caches fit so many bytes.
    pub fn slots_within(&self, bytes: usize) -> usize {
        let (manifest, attention) = (&self.manifest, self.manifest.self_attention);
        let layer = 2 * attention.kv_heads * manifest.context * attention.head_size * self.kind().size();
        bytes / (layer * manifest.layers)
    }

    /// Type of activations and caches.
    pub(super) fn kind(&self) -> Kind {
        if self.variant().1.data_type == "float16" { Kind::F16 } else { Kind::F32 }
    }

    pub(super) fn graph(&self, file: &str) -> PathBuf {
        self.path.join(&self.variant().1.folder).join(file)
    }
}
