use lance::dataset::optimize::CompactionOptions;
use lancedb::Table;
use lancedb::table::{Duration, OptimizeAction};

use super::{Database, durable};
use crate::names::CollectionName;

/// Small fragments from which on they are put together: each costs every search a file.
const MANY_FRAGMENTS: usize = 32;
/// Of so many chunks one is deleted, from which on the files are written anew without them: they take room, and each search skips them.
const ONE_DELETED_OF: usize = 10;
/// How long versions that have a successor, and the files that only they use, are kept.
#[derive(Clone, Copy)]
pub(super) struct Keep {
    /// For readers that still hold them, and for searches of an earlier state.
    usually: Duration,
    /// Where old versions take more than half of the room of the present one, and nobody reads one for long as an export does; longer than
    /// any search.
    where_large: Duration,
    /// More than passes between reading the clock here and there.
    slack: Duration,
}

const KEEP: Keep = Keep { usually: Duration::hours(1), where_large: Duration::minutes(1), slack: Duration::minutes(1) };

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
        match compact(&table).await {
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
    async fn prune(&self, collection: &CollectionName, table: &Table, keep: Keep) -> lancedb::Result<usize> {
        let written = table.list_versions().await?;
        if written.len() == 1 {
            return Ok(1);
        }
        let live = table.stats().await?.total_bytes as u64;
        let all = self.bytes(collection).await.ok().flatten().unwrap_or(0);
        let is_read = self.inner.folder.as_ref().is_some_and(|folder| durable::is_read_for_long(folder));
        let kept = if all > live + live / 2 && !is_read { keep.where_large } else { keep.usually };
        let Some(age) = out_of_use(kept, written.iter().map(|version| version.timestamp.timestamp_millis())) else {
            return Ok(written.len());
        };
        let prune = OptimizeAction::Prune {
            older_than: Some(age + keep.slack),
            delete_unverified: None,
            error_if_tagged_old_versions: None,
        };
        let removed = table.optimize(prune).await?.prune.map_or(0, |removed| removed.old_versions);
        if removed > 0 {
            tracing::info!(%collection, versions = removed, "old versions were removed");
        }
        Ok(written.len().saturating_sub(removed as usize))
    }
}

/// Puts fragments together where that is worth it; gives whether it was.
async fn compact(table: &Table) -> lancedb::Result<bool> {
    let stats = table.stats().await?;
    let many = stats.fragment_stats.num_small_fragments > MANY_FRAGMENTS;
    if !many && stats.num_deleted_rows.unwrap_or(0) * ONE_DELETED_OF <= stats.num_rows {
        return Ok(false);
    }
    let compact = OptimizeAction::Compact { options: CompactionOptions::default(), remap_options: None };
    table.optimize(compact).await.map(|_| true)
}

/// How old a version is that had a successor `kept` ago, by the times at which versions were written; none if there may be none.
///
/// A version that was written long ago may have been the newest one until a moment ago, so its own age says nothing.
fn out_of_use(kept: Duration, written: impl Iterator<Item = i64>) -> Option<Duration> {
    let now = jiff::Timestamp::now().as_millisecond();
    let newest_then = written.filter(|written| *written <= now - kept.num_milliseconds()).max()?;
    Some(Duration::milliseconds(now - newest_then))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neighbours::tests::{collection, database, document, id, nearest};

    #[tokio::test]
    async fn the_room_of_old_versions_comes_back() {
        const AT_ONCE: Keep = Keep { usually: Duration::zero(), where_large: Duration::zero(), slack: Duration::zero() };
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder).await;
        assert!(database.maintain(&collection()).await, "there is nothing yet");
        let x = [1.0, 0.0, 0.0, 0.0];
        for number in 0..40 {
            database.replace_documents(&collection(), vec![document(&format!("d{number:03}"), &[x])], true).await.unwrap();
        }
        let before = database.search(vec![x.to_vec()], &nearest(16)).await.unwrap();
        let bytes = database.figures(&collection()).await.unwrap().bytes.unwrap();
        assert!(!database.maintain(&collection()).await, "versions of a moment ago are kept");
        assert!(database.figures(&collection()).await.unwrap().bytes.unwrap() > bytes, "the files from before and their copy");

        while !database.maintain_keeping(&collection(), AT_ONCE).await {}
        let figures = database.figures(&collection()).await.unwrap();
        assert!(figures.bytes.unwrap() < bytes / 2, "{figures:?}");
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
        let now = jiff::Timestamp::now().as_millisecond();
        let minutes = |minutes: i64| now - minutes * 60_000;
        let age = |written: &[i64]| out_of_use(KEEP.usually, written.iter().copied()).map(|age| age.num_minutes());
        assert_eq!(age(&[minutes(5), minutes(59)]), None);
        // The one of two hours ago was the newest until five minutes ago.
        assert_eq!(age(&[minutes(500), minutes(120), minutes(5)]), Some(120));
        assert_eq!(age(&[minutes(500), minutes(120), minutes(61), minutes(5)]), Some(61));
    }
}
