use lance::dataset::optimize::CompactionOptions;
use lancedb::table::{Duration, OptimizeAction};

use super::Database;
use crate::names::CollectionName;

/// Small fragments from which on they are put together: each costs every search a file.
const MANY_FRAGMENTS: usize = 100;
/// How long versions that have a successor, and the files that only they use, are kept for readers that still hold them.
const KEPT: Duration = Duration::hours(1);
/// More than passes between reading the clock here and there.
const SLACK: Duration = Duration::minutes(1);

impl Database {
    /// Housekeeping that keeps searches fast and the disk small: puts small fragments together and removes old versions. The two do not
    /// depend on each other; what fails is logged, and is tried again the next time. No other writer may be at work on the collection.
    pub async fn maintain(&self, collection: &CollectionName) {
        let table = match self.table(collection).await {
            Ok(Some(table)) => table,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%collection, %error, "housekeeping cannot open the collection"),
        };
        match table.stats().await {
            Ok(stats) if stats.fragment_stats.num_small_fragments > MANY_FRAGMENTS => {
                let compact = OptimizeAction::Compact { options: CompactionOptions::default(), remap_options: None };
                match table.optimize(compact).await {
                    Ok(_) => tracing::info!(%collection, "small fragments were put together"),
                    Err(error) => tracing::warn!(%collection, %error, "small fragments cannot be put together"),
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%collection, %error, "fragments cannot be counted"),
        }
        let older_than = match table.list_versions().await {
            Ok(versions) => out_of_use(versions.iter().map(|version| version.timestamp.timestamp_millis())),
            Err(error) => return tracing::warn!(%collection, %error, "old versions cannot be listed"),
        };
        let Some(older_than) = older_than else { return };
        let prune =
            OptimizeAction::Prune { older_than: Some(older_than), delete_unverified: None, error_if_tagged_old_versions: None };
        if let Err(error) = table.optimize(prune).await {
            tracing::warn!(%collection, %error, "old versions cannot be removed");
        }
    }
}

/// How old a version is that had a successor `KEPT` ago, by the times at which versions were written; none if there may be none.
///
/// A version that was written long ago may have been the newest one until a moment ago, so its own age says nothing.
fn out_of_use(written: impl Iterator<Item = i64>) -> Option<Duration> {
    let now = jiff::Timestamp::now().as_millisecond();
    let newest_then = written.filter(|written| *written <= now - KEPT.num_milliseconds()).max()?;
    Some(Duration::milliseconds(now - newest_then) + SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_kept_for_an_hour_after_its_successor_came() {
        let now = jiff::Timestamp::now().as_millisecond();
        let minutes = |minutes: i64| now - minutes * 60_000;
        let age = |written: &[i64]| out_of_use(written.iter().copied()).map(|age| age.num_minutes());
        assert_eq!(age(&[minutes(5), minutes(59)]), None);
        // The one of two hours ago was the newest until five minutes ago.
        assert_eq!(age(&[minutes(500), minutes(120), minutes(5)]), Some(121));
        assert_eq!(age(&[minutes(500), minutes(120), minutes(61), minutes(5)]), Some(62));
    }
}
