//! Collections as Parquet files, for other programs to read or to make: one row a chunk (docs/interchange.md).

mod columns;
mod documents;
mod export;
mod format;
mod import;
mod rows;

use std::path::{Path, PathBuf};

pub use export::{Exported, export};
pub use import::{Import, ImportOptions, Imported};

use super::IngestError;
use crate::neighbours::DatabaseError;

#[derive(Debug, thiserror::Error)]
pub enum InterchangeError {
    /// The file is not as it has to be, or cannot be read or written.
    #[error("{}: {reason}", file.display())]
    File { file: PathBuf, reason: String },
    /// What was written before stays.
    #[error("{}: document {id}: {reason}", file.display())]
    NotEmbedded { file: PathBuf, id: String, reason: String },
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl InterchangeError {
    fn file(file: &Path, reason: impl ToString) -> Self {
        Self::File { file: file.to_owned(), reason: reason.to_string() }
    }
}
