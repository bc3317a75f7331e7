//! Whether the catalogue and the retrieval database agree and can be read, to the last row, and the mending of what does not.
//!
//! A check reads while others write. What looks wrong in a version of a collection is looked at again while nobody else changes the database,
//! and is told only then.

mod check;
mod collection;
mod document;
mod embeddings;
mod findings;
mod look;
mod mend;
mod missing;
mod reach;

use std::path::PathBuf;
use std::sync::Arc;

pub use check::{Repair, check};
pub use findings::{Checked, Finding, Kind, Report};

use crate::catalogue::{Catalogue, CatalogueError};
use crate::ingest::{Embed, IngestError};
use crate::neighbours::DatabaseError;
use crate::text::Tokenizer;

/// What is checked.
#[derive(Clone)]
pub struct Stores {
    pub catalogue: Catalogue,
    /// Place of the catalogue, as it may be shown.
    pub catalogue_place: String,
    /// Place of the retrieval database.
    pub uri: String,
    /// The lock file of the one worker on these stores.
    pub worker_lock: PathBuf,
    /// Compares token ids with their texts in collections that were made with it.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// Embeds all chunks again, to compare their embeddings, in collections that were made with it: the second is its identity.
    pub embedder: Option<(Arc<dyn Embed>, String)>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConsistencyError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error("the stores cannot be mended while {holder} works on them; stop it first (a check may run meanwhile)")]
    InUse { holder: String },
}
