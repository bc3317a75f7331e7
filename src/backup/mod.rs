//! Backups: both stores as they were at one moment, and their way back.

mod begun;
mod copy;
mod manifest;
mod restore;
mod take;

use std::path::PathBuf;

pub use manifest::{BackedUp, Manifest};
pub use restore::restore;
pub use take::{Places, take};

use crate::catalogue::CatalogueError;
use crate::files::FileError;
use crate::ingest::IngestError;
use crate::neighbours::DatabaseError;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("the folder {} is not empty", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} holds no complete backup: it has no {}", .0.display(), manifest::NAME)]
    Incomplete(PathBuf),
    #[error("{} cannot be understood: {reason}", .file.display())]
    Manifest { file: PathBuf, reason: String },
    #[error("{} holds no complete backup: its {} names no {name}", .folder.display(), manifest::NAME)]
    Lacks { folder: PathBuf, name: String },
    #[error("another `retro restore` makes the folder {}; wait for its end", .0.display())]
    Restores(PathBuf),
    #[error("another `retro backup` writes to the folder {}; wait for its end, or name another folder", .0.display())]
    Written(PathBuf),
    #[error("another `retro backup` is at work on these stores")]
    Runs,
    #[error("the database {0} is no folder of this machine; its own means make the backup, see docs/backup.md")]
    Elsewhere(String),
    #[error("{} cannot be {doing}: {source}", .file.display())]
    File { file: PathBuf, doing: &'static str, source: std::io::Error },
    #[error("the backup was altered: {0}")]
    Altered(#[from] FileError),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error("a part of the work ended early: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}
