use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use super::IngestError;

/// How long a worker waits before it asks again whether the other process's has ended.
const RETRY: Duration = Duration::from_millis(500);

/// Makes changes of the retrieval database follow one another, across tasks and processes. The system frees it when a process ends,
/// however it ends.
pub struct ChangeLock {
    path: PathBuf,
    local: Arc<Mutex<()>>,
}

/// Frees the lock when it is dropped.
pub struct ChangeGuard {
    _file: File,
    _local: OwnedMutexGuard<()>,
}

impl ChangeLock {
    /// The lock of the stores that the worker's lock file is for.
    pub fn beside(worker_lock: &Path) -> Self {
        Self { path: worker_lock.with_extension("changes.lock"), local: Arc::default() }
    }

    /// None if `stop` comes first.
    ///
    /// # Errors
    /// The lock file cannot be used.
    pub async fn hold_unless(&self, stop: &CancellationToken) -> Result<Option<ChangeGuard>, IngestError> {
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(None),
            guard = self.hold() => guard.map(Some),
        }
    }

    /// # Errors
    /// The lock file cannot be used.
    pub async fn hold(&self) -> Result<ChangeGuard, IngestError> {
        let local = self.local.clone().lock_owned().await;
        let path = self.path.clone();
        let file = tokio::task::spawn_blocking(move || {
            let file = open(&path)?;
            file.lock().map_err(|source| IngestError::Lock { path, source })?;
            Ok::<_, IngestError>(file)
        });
        Ok(ChangeGuard { _file: file.await??, _local: local })
    }
}

/// The one worker's lock on `path`, once no other process holds it; none if `stop` comes first.
pub(super) async fn worker_lock(path: &Path, stop: &CancellationToken) -> Result<Option<File>, IngestError> {
    let file = open(path)?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if !told => {
                tracing::info!("the worker of another process takes documents in; this one waits");
                told = true;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(IngestError::Lock { path: path.to_owned(), source }),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

/// A lock that is this process's alone; none if another process has it.
///
/// # Errors
/// The lock file cannot be used.
pub fn sole_lock(path: &Path) -> Result<Option<File>, IngestError> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(IngestError::Lock { path: path.to_owned(), source }),
    }
}

fn open(path: &Path) -> Result<File, IngestError> {
    let failed = |source| IngestError::Lock { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)
}
