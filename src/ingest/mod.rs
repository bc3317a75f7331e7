//! The way of a document: taken into the catalogue, and answered for, then chunked, embedded and written to the retrieval database by one
//! worker, whichever process it runs in.
//!
//! A process may be killed at any instant. What was answered for is in the catalogue by then; before the worker writes a document's chunks
//! it notes where they go, so that whoever goes on after a kill replaces what may be there; and only when the chunks are on the disk does
//! one transaction say `ready` and drop the text. So nothing is lost and nothing is there twice.

mod collections;
mod documents;
mod embed;
pub mod files;
mod holder;
mod housekeeping;
mod indexing;
mod input;
pub mod interchange;
mod lease;
mod locks;
mod once;
mod pipeline;
mod reindex;
mod removal;
mod skipped;
mod stalled;
mod tasks;
mod worker;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use collections::{Collection, CollectionDetails};
pub use documents::{Ingest, Submission};
pub use embed::Embed;
pub use holder::{holder, lease_holder};
use input::check_labels;
pub use input::{DocumentInput, IngestLimits, MAX_LABEL, NewDocument};
pub use locks::{ChangeGuard, ChangeLock, sole_lock};
pub use once::Taken;
pub use reindex::{Progress, Reindex, Reindexed};
pub use skipped::{SkippedFile, SkippedFiles};

use crate::catalogue::CatalogueError;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{DatabaseError, is_of_room};

#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the lock file {path} cannot be used: {source}")]
    Lock { path: PathBuf, source: std::io::Error },
    #[error("the chunks of document {id} do not make up its text")]
    Incomplete { id: DocumentId },
    #[error("the idempotency key was used for another request")]
    KeyUsed,
    #[error("there is no collection {0}")]
    NoCollection(CollectionName),
    #[error("another `retro reindex` is at work on these stores")]
    ReindexRuns,
    #[error("document {id} of collection {collection} cannot be made anew: {reason}; the collection is as it was")]
    NotMadeAnew { collection: CollectionName, id: DocumentId, reason: String },
    #[error("the folder {path} cannot be removed: {source}")]
    Scratch { path: PathBuf, source: std::io::Error },
    #[error("texts cannot be embedded: {reason}")]
    Embedder { reason: String },
    #[error("a part of the work ended early: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl IngestError {
    /// Whether a disk took no more.
    pub fn is_of_room(&self) -> bool {
        match self {
            Self::Catalogue(error) => error.is_of_room(),
            Self::Database(error) => error.is_of_room(),
            Self::Lock { source, .. } | Self::Scratch { source, .. } => is_of_room(source),
            _ => false,
        }
    }
}
