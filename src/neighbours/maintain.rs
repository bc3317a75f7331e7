use std::time::{Duration, Instant};

use jiff::Timestamp;
use lance::Dataset;
use lance::dataset::cleanup::CleanupPolicy;
use lance::dataset::optimize::CompactionOptions;
use lancedb::Table;
use lancedb::table::OptimizeAction;

use super::collection::dataset;
use super::database::store;
use super::{Database, DatabaseError, durable, objects};
use crate::metrics::{self, Chore};
use crate::names::CollectionName;

/// Small fragments from which on they are put together: each costs every search a file.
const MANY_FRAGMENTS: usize = 32;
/// Rows of a fragment that is put together with others no more, and the part of all rows that it is, whichever is more: a fragment is
/// written anew only until it is large, and there are never many.
const LARGE_FRAGMENT: usize = 4096;
const LARGE_PART: usize = 16;
/// Of so many chunks one is deleted, from which on the files are written anew without them: they take room, and each search skips them.
const ONE_DELETED_OF: usize = 10;

/// How long versions that have a successor, and the files that only they use, are kept.
#[derive(Clone, Copy)]
pub(super) struct Keep {
    /// For readers that still hold them, and for searches of an earlier state.
    usually: Duration,
    /// Where old versions take more than half of the room of the present one, and nobody reads one for long as an export does; longer than
    /// any search. In an object store nobody knows who reads.
    where_large: Duration,
}

const KEEP: Keep = Keep { usually: Duration::from_secs(3600), where_large: Duration::from_secs(60) };
/// In an object store versions are removed when one could have been so long ago: each time, all versions are read.
const REMOVED_LATE: Duration = Duration::from_secs(600);

impl Database {
    /// Housekeeping that keeps searches fast and the disk small: puts small fragments together and removes old versions. The two do not
    /// depend on each other; what fails is logged, and is tried again the next time. No other writer may be at work on the collection.
    ///
    /// Gives whether nothing is left for the next time, unless the collection is changed.
    pub async fn maintain(&self, collection: &CollectionName) -> bool {
        self.maintain_keeping(collection, KEEP).await
    }

    pub(super) async fn maintain_keeping(&self, collection: &CollectionName, keep: Keep) -> bool {
        let table = match self.current(collection).await {
            Ok(Some((table, _))) => table,
            Ok(None) => return true,
            Err(error) => {
                tracing::warn!(%collection, %error, "housekeeping cannot open the collection");
                return false;
            }
        };
        if let Err(error) = self.check_leave().await {
            tracing::warn!(%collection, %error, "housekeeping is left to another");
            return false;
        }
        let compacted = match dataset(collection, &table).await {
            Ok(dataset) => compact(&dataset, &table).await.map_err(|e| store(format!("compact collection {collection}"), e)),
            Err(error) => Err(error),
        };
        match compacted {
            Ok(true) => tracing::info!(%collection, "small fragments were put together"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%collection, %error, "small fragments cannot be put together"),
        }
        match self.prune(collection, &table, keep).await {
            Ok(versions) => versions == 1,
            Err(error) => {
                tracing::warn!(%collection, %error, "old versions cannot be removed");
                false
            }
        }
    }

    /// Gives the number of versions that are left.
    async fn prune(&self, collection: &CollectionName, table: &Table, keep: Keep) -> Result<u64, DatabaseError> {
        let doing = |error: lancedb::Error| store(format!("prune collection {collection}"), error);
        let dataset = dataset(collection, table).await?;
        let written = match &self.inner.folder {
            Some(_) => {
                let written = table.list_versions().await.map_err(doing)?;
                written.iter().map(|version| (version.version, version.timestamp.timestamp_millis())).collect()
            }
            None => objects::versions_written(&dataset).await.map_err(|error| doing(error.into()))?,
        };
        let versions = written.len() as u64;
        if versions <= 1 {
            return Ok(versions);
        }
        let Some(newest_then) = self.removable_before(collection, table, &written, keep).await? else {
            return Ok(versions);
        };
        let policy = CleanupPolicy { before_version: Some(newest_then), ..CleanupPolicy::default() };
        let (metrics, began) = (metrics::get(), Instant::now());
        let removed = dataset.cleanup_with_policy(policy).await;
        metrics.chore(Chore::Prune, began, &removed);
        let removed = removed.map_err(|error| doing(error.into()))?;
        metrics.removed_versions.inc_by(removed.old_versions);
        metrics.removed_bytes.inc_by(removed.bytes_removed);
        if removed.old_versions > 0 {
            tracing::info!(%collection, versions = removed.old_versions, bytes = removed.bytes_removed, "old versions were removed");
        }
        Ok(versions.saturating_sub(removed.old_versions))
    }

    /// The version before which all may be removed, of versions in order with the milliseconds at which they were written; none where that
    /// would be none, or not worth the reading.
    async fn removable_before(
        &self,
        collection: &CollectionName,
        table: &Table,
        written: &[(u64, i64)],
        keep: Keep,
    ) -> Result<Option<u64>, DatabaseError> {
        let Some(folder) = &self.inner.folder else {
            let oldest = written.first().map(|(version, _)| *version);
            let overdue = newest_before(keep.usually + REMOVED_LATE, written.iter().copied());
            return Ok(if overdue <= oldest { None } else { newest_before(keep.usually, written.iter().copied()) });
        };
        let live =
            table.stats().await.map_err(|error| store(format!("measure collection {collection}"), error))?.total_bytes as u64;
        let is_large = self.bytes(collection).await? > live + live / 2;
        let kept = if is_large && !durable::is_read_for_long(folder) { keep.where_large } else { keep.usually };
        Ok(newest_before(kept, written.iter().copied()))
    }
}

/// Puts fragments together where that is worth it; gives whether it was.
async fn compact(dataset: &Dataset, table: &Table) -> lancedb::Result<bool> {
    let rows = dataset.count_rows(None).await?;
    let large = LARGE_FRAGMENT.max(rows / LARGE_PART);
    let many = dataset.num_small_files(large).await > MANY_FRAGMENTS;
    if !many && dataset.count_deleted_rows().await? * ONE_DELETED_OF <= rows {
        return Ok(false);
    }
    let options = CompactionOptions { target_rows_per_fragment: large, ..CompactionOptions::default() };
    let began = Instant::now();
    let compacted = table.optimize(OptimizeAction::Compact { options, remap_options: None }).await;
    metrics::get().chore(Chore::Compact, began, &compacted);
    compacted.map(|_| true)
}

/// The version that was the newest `kept` ago, of versions in order with the milliseconds at which they were written: those before it have
/// had a successor since. None where none was there.
///
/// A version that was written long ago may have been the newest one until a moment ago, so its own age says nothing. After a clock that went
/// wrong more is kept than would have to be.
fn newest_before(kept: Duration, written: impl Iterator<Item = (u64, i64)>) -> Option<u64> {
    let then = Timestamp::now().as_millisecond().saturating_sub_unsigned(kept.as_millis() as u64);
    written.take_while(|(_, written)| *written <= then).last().map(|(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbours::tests::{collection, database, document, id, nearest};

    #[tokio::test]
    async fn the_room_of_old_versions_comes_back() {
        const AT_ONCE: Keep = Keep { usually: Duration::ZERO, where_large: Duration::ZERO };
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder).await;
        assert!(database.maintain(&collection()).await, "there is nothing yet");
        let x = [1.0, 0.0, 0.0, 0.0];
        for number in 0..40 {
            database.replace_documents(&collection(), vec![document(&format!("d{number:03}"), &[x])], true).await.unwrap();
        }
        let before = database.search(vec![x.to_vec()], &nearest(16)).await.unwrap();
        let bytes = database.figures(&collection()).await.unwrap().bytes;
        assert!(!database.maintain(&collection()).await, "versions of a moment ago are kept");
        assert!(database.figures(&collection()).await.unwrap().bytes > bytes, "the files from before and their copy");

        while !database.maintain_keeping(&collection(), AT_ONCE).await {}
        let figures = database.figures(&collection()).await.unwrap();
        assert!(figures.bytes < bytes / 2, "{figures:?}");
        assert_eq!((figures.kept_versions.count, figures.fragments), (1, 1));
        assert_eq!(database.search(vec![x.to_vec()], &nearest(16)).await.unwrap().neighbours, before.neighbours);
        assert!(database.maintain(&collection()).await, "nothing is left to do");

        database.delete_documents(&collection(), &[id("d007")]).await.unwrap();
        assert!(!database.maintain(&collection()).await);
    }

    #[test]
    fn a_long_read_is_known_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!durable::is_read_for_long(folder.path()));
        let reads = [(); 2].map(|()| durable::read_for_long(folder.path()).unwrap());
        assert!(durable::is_read_for_long(folder.path()));
        drop(reads);
        assert!(!durable::is_read_for_long(folder.path()));
    }

    #[test]
    fn a_version_is_kept_for_an_hour_after_its_successor_came() {
        let minutes = |minutes: i64| Timestamp::now().as_millisecond() - minutes * 60_000;
        let newest = |written: &[i64]| newest_before(KEEP.usually, (1..).zip(written.iter().copied()));
        assert_eq!(newest(&[minutes(59), minutes(5)]), None);
        // The second was the newest until five minutes ago.
        assert_eq!(newest(&[minutes(500), minutes(120), minutes(5)]), Some(2));
        assert_eq!(newest(&[minutes(500), minutes(120), minutes(61), minutes(5)]), Some(3));
        // The clock was set back between the second and the third.
        assert_eq!(newest(&[minutes(500), minutes(-90), minutes(120), minutes(5)]), Some(1));
    }
}
