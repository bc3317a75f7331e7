use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::catalogue::DocumentCounts;
use crate::files::FileEntry;

/// Written last: a folder without it is no backup.
pub const NAME: &str = "backup.json";
/// A form that was written stays readable; one that comes later is refused.
const FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Version of the program that wrote it.
    pub server: String,
    pub created_at: Timestamp,
    pub documents: Counts,
    pub collections: Vec<BackedUp>,
    /// Each file but this one, by its place in the folder.
    pub files: BTreeMap<String, FileEntry>,
}

/// Documents by status. Those that are pending go on waiting after a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub ready: u64,
    pub pending: u64,
    pub failed: u64,
}

/// A collection, and what made it: only a server with the same tokenizer and embedder opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    pub name: String,
    pub version: u64,
    pub chunks: u64,
    pub tokenizer: String,
    pub embedder: String,
}

impl From<DocumentCounts> for Counts {
    fn from(counts: DocumentCounts) -> Self {
        Self { ready: counts.ready, pending: counts.pending, failed: counts.failed }
    }
}

impl Manifest {
    pub fn new(documents: Counts, collections: Vec<BackedUp>, files: BTreeMap<String, FileEntry>) -> Self {
        let server = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, server, created_at: Timestamp::now(), documents, collections, files }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }

    /// # Errors
    /// There is none, or it cannot be understood.
    pub fn read(folder: &Path) -> Result<Self, BackupError> {
        let file = folder.join(NAME);
        let json = std::fs::read(&file).map_err(|source| match source.kind() {
            ErrorKind::NotFound => BackupError::Incomplete(folder.to_owned()),
            _ => BackupError::File { file: file.clone(), doing: "read", source },
        })?;
        let failed = |reason: String| BackupError::Manifest { file: file.clone(), reason };
        // Another form may not have the other fields.
        let value: serde_json::Value = serde_json::from_slice(&json).map_err(|error| failed(error.to_string()))?;
        match value["format"].as_u64() {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) => return Err(failed(format!("it is of format {format}, this program reads {FORMAT}"))),
            None => return Err(failed("it does not say its format".to_owned())),
        }
        serde_json::from_value(value).map_err(|error| failed(error.to_string()))
    }

    /// Puts it in its place, whole.
    pub(super) fn write(&self, folder: &Path) -> std::io::Result<()> {
        let partial = folder.join(format!("{NAME}.partial"));
        let mut file = File::create(&partial)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        std::fs::rename(&partial, folder.join(NAME))?;
        File::open(folder)?.sync_all()
    }
}
