use lance::dataset::optimize::CompactionOptions;
use lancedb::Table;
use lancedb::table::{Duration, OptimizeAction};

use super::{Database, durable};
use crate::names::CollectionName;

/// Small fragments from which on they are put together: each costs every search a file.
const MANY_FRAGMENTS: usize = 32;
/// Of so many chunks one is deleted, from which on the files are written anew without them: they take room, and each search skips them.
const ONE_DELETED_OF: usize = 10;
/// How long versions that have a successor, and the files that only they use, are kept for readers that still hold them and for searches of
/// an earlier state.
const KEPT: Duration = Duration::hours(1);
/// The same where old versions take more room than the present one, and nobody reads one for long as an export does; longer than any search.
const KEPT_WHERE_LARGE: Duration = Duration::minutes(1);
/// More than passes between reading the clock here and there.
const SLACK: Duration = Duration::minutes(1);

impl Database {
    /// Housekeeping that keeps searches fast and the disk small: puts small fragments together and removes old versions. The two do not
    /// depend on each other; what fails is logged, and is tried again the next time. No other writer may be at work on the collection.
    pub async fn maintain(&self, collection: &CollectionName) {
        let table = match self.current(collection).await {
            Ok(Some((table, _))) => table,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%collection, %error, "housekeeping cannot open the collection"),
        };
        let compacted = compact(&table).await;
        match compacted {
            Ok(true) => tracing::info!(%collection, "small fragments were put together"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%collection, %error, "small fragments cannot be put together"),
        }
        if let Err(error) = self.prune(collection, &table).await {
            tracing::warn!(%collection, %error, "old versions cannot be removed");
        }
    }

    async fn prune(&self, collection: &CollectionName, table: &Table) -> lancedb::Result<()> {
        let live = table.stats().await?.total_bytes as u64;
        let all = self.bytes(collection).await.ok().flatten().unwrap_or(0);
        let is_read = self.inner.folder.as_ref().is_some_and(|folder| durable::is_read_for_long(folder));
        let kept = if all > 2 * live && !is_read { KEPT_WHERE_LARGE } else { KEPT };
        let written = table.list_versions().await?;
        let Some(older_than) = out_of_use(kept, written.iter().map(|version| version.timestamp.timestamp_millis())) else {
            return Ok(());
        };
        let prune =
            OptimizeAction::Prune { older_than: Some(older_than), delete_unverified: None, error_if_tagged_old_versions: None };
        table.optimize(prune).await.map(drop)
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
    Some(Duration::milliseconds(now - newest_then) + SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let age = |written: &[i64]| out_of_use(KEPT, written.iter().copied()).map(|age| age.num_minutes());
        assert_eq!(age(&[minutes(5), minutes(59)]), None);
        // The one of two hours ago was the newest until five minutes ago.
        assert_eq!(age(&[minutes(500), minutes(120), minutes(5)]), Some(121));
        assert_eq!(age(&[minutes(500), minutes(120), minutes(61), minutes(5)]), Some(62));
    }
}
