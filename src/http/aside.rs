//! Work that takes long enough to hold up others.

use super::problem::{ApiError, Code};

/// Most bytes that are read or written between other requests' turns, as by parsing or compressing them: a few milliseconds.
const AT_ONCE: usize = 64 << 10;

/// Does what takes its time over megabytes, as to parse and to hash, where it holds nobody up.
///
/// # Errors
/// The work panics.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| ApiError::server(Code::Internal, e))
}

/// As [`aside`], but at once where there are few bytes to work on.
///
/// # Errors
/// As [`aside`].
pub async fn aside_if_long<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    if bytes <= AT_ONCE { Ok(work()) } else { aside(work).await }
}
