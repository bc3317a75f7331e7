//! What keeps those who change the same stores out of each other's way: locks of files where the catalogue belongs to one machine, leases of
//! the catalogue where it is shared (docs/coordination.md).

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use super::IngestError;
use super::lease::{HeldLease, Leases};
use crate::catalogue::{Catalogue, CatalogueError};
use crate::neighbours::{Database, DatabaseError, Leave};

/// How long a worker waits before it asks again whether the other process's has ended.
const RETRY: Duration = Duration::from_millis(500);
/// How long a worker waits for a catalogue that does not answer.
const OUTAGE_RETRY: Duration = Duration::from_secs(2);

/// Names of leases.
const CHANGES: &str = "changes";
const UPKEEP: &str = "upkeep";
pub(super) const REINDEX: &str = "reindex";
pub(super) const WORKERS: &str = "worker/";

/// Makes changes of the retrieval database follow one another, across tasks and processes. A process that ends, however it ends, frees it:
/// where it is a lease, in a few seconds.
pub struct ChangeLock {
    path: PathBuf,
    local: Arc<Mutex<()>>,
    leases: Option<Leases>,
    stores: Stores,
}

/// Where the retrieval database is.
pub(super) enum Stores {
    Open(Database),
    At(String),
}

/// Frees the lock when it is dropped.
#[allow(private_interfaces)]
pub enum ChangeGuard {
    File { _file: File, _local: OwnedMutexGuard<()> },
    Lease(Arc<HeldLease>),
}

impl ChangeLock {
    /// The lock of the stores that the worker's lock file is for.
    pub(super) fn beside(worker_lock: &Path, leases: Option<Leases>, stores: Stores) -> Self {
        Self { path: worker_lock.with_extension("changes.lock"), local: Arc::default(), leases, stores }
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
        let Some(leases) = &self.leases else {
            let path = self.path.clone();
            let file = tokio::task::spawn_blocking(move || {
                let file = open(&path)?;
                file.lock().map_err(|source| IngestError::Lock { path, source })?;
                Ok::<_, IngestError>(file)
            });
            return Ok(ChangeGuard::File { _file: file.await??, _local: local });
        };
        let lease = Arc::new(leases.take(CHANGES, Some(local)).await?);
        if !lease.is_settled() {
            tracing::warn!(
                "a process that changed the retrieval database has let its lease run out; what it had on its way is shut out"
            );
            let gone = leases.catalogue.promised_collection_removals().await?;
            match &self.stores {
                Stores::Open(database) => database.under(Some(lease.clone())).fence(&gone).await?,
                Stores::At(uri) => Database::fence_at(uri, lease.clone(), &gone).await?,
            }
            lease.settle();
        }
        Ok(ChangeGuard::Lease(lease))
    }

    /// A claim for documents that are written as soon as they are taken in, so that no worker chunks them meanwhile; none where the lock
    /// itself keeps workers from the queue.
    pub async fn claimant(&self) -> Result<Option<WorkerGuard>, IngestError> {
        match &self.leases {
            None => Ok(None),
            Some(leases) => Ok(Some(WorkerGuard::one(leases).await?)),
        }
    }
}

impl ChangeGuard {
    /// The database, to be written to as long as the lock is held.
    pub fn over(&self, database: &Database) -> Database {
        match self {
            Self::File { .. } => database.clone(),
            Self::Lease(lease) => database.under(Some(Arc::clone(lease) as Arc<dyn Leave>)),
        }
    }

    /// Does what takes many steps, and ends early if the lock is lost.
    pub async fn while_held<T>(&self, work: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, DatabaseError> {
        match self {
            Self::File { .. } => work.await,
            Self::Lease(lease) => tokio::select! {
                biased;
                () = lease.lost() => Err(DatabaseError::NoLeave { reason: "another process has taken the lease over".to_owned() }),
                done = work => done,
            },
        }
    }
}

/// Makes the upkeep of collections, indices included, one process's and one task's at a time, for all collections together: no fragments are
/// put together while an index is made of them.
pub(super) struct UpkeepLock {
    local: Arc<Mutex<()>>,
    leases: Option<Leases>,
}

/// Frees the lock when it is dropped.
pub(super) enum UpkeepGuard {
    Local { _local: OwnedMutexGuard<()> },
    Lease { _lease: HeldLease },
}

impl UpkeepLock {
    pub fn new(leases: Option<Leases>) -> Self {
        Self { local: Arc::default(), leases }
    }

    /// None where somebody holds it.
    pub async fn try_hold(&self) -> Result<Option<UpkeepGuard>, IngestError> {
        let Ok(local) = Arc::clone(&self.local).try_lock_owned() else { return Ok(None) };
        Ok(match &self.leases {
            None => Some(UpkeepGuard::Local { _local: local }),
            Some(leases) => leases.try_take(UPKEEP, Some(local)).await?.map(|lease| UpkeepGuard::Lease { _lease: lease }),
        })
    }

    pub async fn hold(&self) -> Result<UpkeepGuard, IngestError> {
        let local = Arc::clone(&self.local).lock_owned().await;
        Ok(match &self.leases {
            None => UpkeepGuard::Local { _local: local },
            Some(leases) => UpkeepGuard::Lease { _lease: leases.take(UPKEEP, Some(local)).await? },
        })
    }
}

/// What lets a worker take documents from the queue.
pub(super) enum WorkerGuard {
    /// It is the only one.
    Sole { _file: File },
    /// It is one of several, and takes those that it claims by its lease.
    One { lease: HeldLease },
}

impl WorkerGuard {
    /// Where the catalogue belongs to one machine, when no other process's worker runs on it; none if `stop` comes first.
    pub async fn take(path: &Path, leases: Option<&Leases>, stop: &CancellationToken) -> Result<Option<Self>, IngestError> {
        let Some(leases) = leases else {
            return Ok(worker_lock(path, stop).await?.map(|file| Self::Sole { _file: file }));
        };
        loop {
            match Self::one(leases).await {
                Ok(guard) => return Ok(Some(guard)),
                Err(error) => tracing::error!(%error, "documents cannot be taken in for now"),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(OUTAGE_RETRY) => {}
            }
        }
    }

    async fn one(leases: &Leases) -> Result<Self, CatalogueError> {
        leases.catalogue.forget_leases(WORKERS).await?;
        let lease = leases.take(&format!("{WORKERS}{}", uuid::Uuid::now_v7()), None).await?;
        // Only claims of documents hang on it, and none of those outlives it.
        lease.settle();
        Ok(Self::One { lease })
    }

    /// What documents are claimed by; none where nobody else would take them.
    pub fn claim(&self) -> Option<&str> {
        match self {
            Self::Sole { .. } => None,
            Self::One { lease } => Some(lease.name()),
        }
    }

    /// Whether others may have taken what this one has claimed.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::One { lease } if lease.is_lost())
    }
}

/// The one worker's lock on `path`, once no other process holds it; none if `stop` comes first.
async fn worker_lock(path: &Path, stop: &CancellationToken) -> Result<Option<File>, IngestError> {
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

/// Keeps others from making collections of the same stores anew: the file those on this machine, which would use the same folder, the lease
/// those on others.
pub(super) struct ReindexGuard {
    _file: File,
    _lease: Option<HeldLease>,
}

impl ReindexGuard {
    /// None if another process has it.
    pub async fn take(path: &Path, leases: Option<&Leases>) -> Result<Option<Self>, IngestError> {
        let Some(file) = sole_lock(path)? else { return Ok(None) };
        let Some(leases) = leases else { return Ok(Some(Self { _file: file, _lease: None })) };
        let lease = leases.try_take(REINDEX, None).await?;
        Ok(lease.map(|lease| Self { _file: file, _lease: Some(lease) }))
    }
}

/// A lock that is this process's alone, of those on this machine; none if another process has it.
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
