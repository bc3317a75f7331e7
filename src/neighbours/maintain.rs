use lance::dataset::optimize::CompactionOptions;
use lancedb::table::{Duration, OptimizeAction};

use super::Database;
use crate::names::CollectionName;

/// Small fragments from which on they are put together: each costs every search a file.
const MANY_FRAGMENTS: usize = 100;
/// Hours that old versions, and the files that only they use, are kept for readers that still hold them.
const KEPT_HOURS: i64 = 1;

impl Database {
    /// Housekeeping that keeps searches fast and the disk small: puts small fragments together and removes old versions. The two do not
    /// depend on each other; what fails is logged, and is tried again the next time. No other writer may be at work on the collection.
    pub async fn maintain(&self, collection: &CollectionName) {
        let table = match self.current(collection).await {
            Ok(Some((table, _))) => table,
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
        let prune = OptimizeAction::Prune {
            older_than: Some(Duration::hours(KEPT_HOURS)),
            delete_unverified: None,
            error_if_tagged_old_versions: None,
        };
        if let Err(error) = table.optimize(prune).await {
            tracing::warn!(%collection, %error, "old versions cannot be removed");
        }
    }
}
