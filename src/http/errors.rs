//! What the lower floors can fail with, as errors of the API.

use std::io;

use super::problem::{ApiError, Code};
use crate::catalogue::CatalogueError;
use crate::embedder::EmbedderError;
use crate::generate::{GenerateError, RetrievalError};
use crate::ingest::IngestError;
use crate::neighbours::{DatabaseError, is_of_room};

impl From<GenerateError> for ApiError {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::Overloaded { retry_after_seconds } => {
                Self::new(Code::Overloaded, format!("the queue is full; try again in {retry_after_seconds} seconds"))
                    .with_retry_after(retry_after_seconds)
            }
            GenerateError::ShuttingDown => Self::shutting_down(),
            GenerateError::Retrieval(error) => error.into(),
            error @ (GenerateError::Stopped | GenerateError::Model(_)) => Self::server(Code::GenerationFailed, error),
        }
    }
}

impl From<RetrievalError> for ApiError {
    fn from(error: RetrievalError) -> Self {
        match &error {
            RetrievalError::Database(error) => of_database(error),
            RetrievalError::Embedder(_) => Self::server(Code::RetrievalFailed, error),
        }
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        of_database(&error)
    }
}

fn of_database(error: &DatabaseError) -> ApiError {
    match error {
        DatabaseError::VersionNotKept { .. } => ApiError::new(Code::VersionNotKept, error.to_string()),
        error if made_anew(error) => ApiError::new(Code::CollectionMadeAnew, error.to_string()),
        error if error.is_damage() => named(ApiError::server(Code::DataDamaged, error), error),
        error => named(ApiError::server(Code::RetrievalFailed, error), error),
    }
}

/// The error with what failed: which collection it was is no secret to whoever asked for it. The rest is for the log.
fn named(answer: ApiError, error: &DatabaseError) -> ApiError {
    match error {
        DatabaseError::Store { doing, .. } => {
            ApiError { detail: format!("the database cannot {doing}; the server's log has the reason"), ..answer }
        }
        DatabaseError::Corrupt { collection, .. } => {
            ApiError { detail: format!("collection {collection:?} is damaged; the server's log has the reason"), ..answer }
        }
        _ => answer,
    }
}

/// Where texts are embedded for their own sake. A look-up's failure is a [`RetrievalError`].
impl From<EmbedderError> for ApiError {
    fn from(error: EmbedderError) -> Self {
        Self::server(Code::EmbeddingFailed, error)
    }
}

impl From<CatalogueError> for ApiError {
    fn from(error: CatalogueError) -> Self {
        match error {
            error if error.is_of_room() => Self::server(Code::InsufficientStorage, error),
            error if error.is_outage() => Self::unavailable(error),
            CatalogueError::Corrupt { .. } => Self::server(Code::DataDamaged, error),
            error => Self::server(Code::Internal, error),
        }
    }
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Database(error @ DatabaseError::NoLeave { .. }) => Self::unavailable(error),
            IngestError::Catalogue(error) => error.into(),
            IngestError::Incomplete { .. } => Self::server(Code::DataDamaged, error),
            IngestError::KeyUsed => Self::new(Code::IdempotencyKeyUsed, Code::IdempotencyKeyUsed.example()),
            error if error.is_of_room() => Self::server(Code::InsufficientStorage, error),
            IngestError::Database(error) if made_anew(&error) || error.is_damage() => error.into(),
            IngestError::Database(error) => named(Self::server(Code::Internal, &error), &error),
            error => Self::server(Code::Internal, error),
        }
    }
}

/// Whether the server lives on with what the collection was once made with: the client may know, since only a new start mends it.
fn made_anew(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::MadeAnew { .. })
}

impl ApiError {
    /// What the server needs is away, which passes by itself: the reason goes to the log.
    fn unavailable(reason: impl std::fmt::Display) -> Self {
        Self::server(Code::CatalogueUnavailable, reason).with_retry_after(5)
    }

    /// The server takes no work yet. Loading takes seconds, of a large model on a cold disk more.
    pub fn loading() -> Self {
        Self::new(Code::Loading, Code::Loading.example()).with_retry_after(2)
    }

    /// A file cannot be written.
    pub fn unwritten(what: &str, error: &io::Error) -> Self {
        let code = if is_of_room(error) { Code::InsufficientStorage } else { Code::Internal };
        Self::server(code, format_args!("{what} cannot be written: {error}"))
    }

    /// The server takes no more work.
    pub fn shutting_down() -> Self {
        Self::new(Code::ShuttingDown, Code::ShuttingDown.example()).with_retry_after(5)
    }
}
