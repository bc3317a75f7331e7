//! The upkeep of collections, by the worker: it looks at all that were changed, whoever changed them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::{Ingest, IngestError};
use crate::names::CollectionName;

/// Writes after which collections get their housekeeping even if more work waits.
const WRITES_BEFORE_HOUSEKEEPING: u32 = 32;
/// Least time between two housekeepings while there is nothing else to do.
const INTERVAL: Duration = Duration::from_secs(60);

/// What the worker knows of its housekeeping.
pub(super) struct Housekeeping {
    /// Versions of collections at which nothing was left to be done.
    settled: HashMap<CollectionName, u64>,
    writes: u32,
    last: Instant,
    /// Brings indices up to date.
    indexing: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Nothing waits.
    Idle,
    /// Documents may wait.
    Busy,
}

impl Housekeeping {
    pub fn new() -> Self {
        Self { settled: HashMap::new(), writes: 0, last: Instant::now(), indexing: None }
    }

    pub fn note_write(&mut self) {
        self.writes += 1;
    }

    fn is_due(&self, when: When) -> bool {
        match when {
            When::Idle => self.last.elapsed() >= INTERVAL,
            When::Busy => self.writes >= WRITES_BEFORE_HOUSEKEEPING,
        }
    }
}

impl Drop for Housekeeping {
    fn drop(&mut self) {
        if let Some(indexing) = &self.indexing {
            // A half-made index is files that nothing refers to.
            indexing.abort();
        }
    }
}

impl Ingest {
    /// Does the housekeeping that is due, and brings indices up to date in the background.
    pub(super) async fn keep_house(&self, housekeeping: &mut Housekeeping, when: When) -> Result<(), IngestError> {
        if !housekeeping.is_due(when) {
            return Ok(());
        }
        (housekeeping.writes, housekeeping.last) = (0, Instant::now());
        let Some(upkeep) = self.inner.upkeep.try_hold().await? else { return Ok(()) };
        let database = self.inner.database.clone();
        let mut changed = Vec::new();
        for collection in database.collections().await? {
            let version = match database.version(&collection).await {
                Ok(version) => version,
                Err(error) => {
                    tracing::warn!(%collection, %error, "housekeeping cannot read the collection");
                    continue;
                }
            };
            if housekeeping.settled.get(&collection) != Some(&version) {
                changed.push((collection, version));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let guard = self.inner.changes.hold().await?;
        let held = guard.over(&database);
        for (collection, version) in &changed {
            if guard.while_held(async { Ok(held.maintain(collection).await) }).await? {
                housekeeping.settled.insert(collection.clone(), *version);
            }
        }
        drop((guard, held));
        housekeeping.indexing = Some(tokio::spawn(async move {
            for (collection, _) in changed {
                if let Err(error) = database.tend_index(&collection).await {
                    tracing::warn!(%collection, %error, "the index is not up to date; searches are complete but slower");
                }
            }
            drop(upkeep);
        }));
        Ok(())
    }
}
