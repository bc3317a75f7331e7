//! The index of a collection's embeddings: for collections that do not fit the memory for embeddings, where an exact search reads all of
//! them from their files.

use std::time::{Instant, SystemTime};

use lance::Dataset;
use lance::index::DatasetIndexExt;
use lancedb::index::Index;
use lancedb::index::vector::IvfRqIndexBuilder;
use lancedb::table::{OptimizeAction, OptimizeOptions};
use lancedb::{DistanceType, Table};

use super::database::store;
use super::schema::EMBEDDING;
use super::{Database, DatabaseError};
use crate::metrics::{self, Chore};
use crate::names::CollectionName;

/// Chunks below which reading all embeddings takes no longer than an indexed search: about 25 ms.
const INDEXED_FROM: u64 = 20_000;
/// Chunks outside the index from which on it is extended: each search reads their embeddings.
const EXTENDED_FROM: u64 = 2_000;
/// Parts of an index, one for each extension, from which on they are put together: each search looks through all.
const MANY_PARTS: u32 = 4;
/// Chunks of a cluster. Smaller ones take longer to find among, larger ones longer to look through.
const CLUSTER: u32 = 1024;
/// Bits of a number of a vector in the index.
const BITS: u32 = 5;
pub(super) const NAME: &str = "embedding_index";

/// What a collection's index covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct IndexStats {
    /// Chunks that it covers.
    pub indexed: u64,
    /// Chunks that came later: a search reads all of their embeddings.
    pub unindexed: u64,
    /// It grows by a part with each extension, until they are put together.
    pub parts: u32,
}

/// What brings an index up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Build,
    Extend,
    Merge { parts: usize },
}

impl Need {
    /// For a collection of so many chunks, whose embeddings fit the memory for them or do not.
    fn of(chunks: u64, fit: bool, index: Option<IndexStats>) -> Self {
        match index {
            None if fit || chunks < INDEXED_FROM => Self::Nothing,
            None => Self::Build,
            Some(index) if index.unindexed >= EXTENDED_FROM => Self::Extend,
            Some(index) if index.parts >= MANY_PARTS => Self::Merge { parts: index.parts as usize },
            Some(_) => Self::Nothing,
        }
    }
}

impl Database {
    /// The state of a collection's index; none where it has none.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn index_stats(&self, collection: &CollectionName) -> Result<Option<IndexStats>, DatabaseError> {
        match self.snapshot(collection).await? {
            Some(snapshot) => index_stats(&snapshot, collection).await,
            None => Ok(None),
        }
    }

    /// Brings a collection's index up to date, or makes one where a search would take long without. Writes and searches go on meanwhile.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn tend_index(&self, collection: &CollectionName) -> Result<(), DatabaseError> {
        // An extension may leave one part too many.
        for _ in 0..2 {
            let stats = self.stats(collection).await?;
            let fit =
                stats.chunks * (self.inner.identity.dimension * size_of::<f32>()) as u64 <= self.inner.resident.most_bytes();
            let need = Need::of(stats.chunks, fit, self.index_stats(collection).await?);
            match need {
                Need::Nothing => return Ok(()),
                Need::Build => return self.build_index(collection).await,
                Need::Extend => self.extend_index(collection).await?,
                Need::Merge { parts } => {
                    self.optimize_index(collection, Chore::IndexMerge, OptimizeOptions::merge(parts)).await?
                }
            }
        }
        Ok(())
    }

    /// Adds a part to a collection's index, for the chunks that came since.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn extend_index(&self, collection: &CollectionName) -> Result<(), DatabaseError> {
        self.optimize_index(collection, Chore::IndexExtend, OptimizeOptions::append()).await
    }

    async fn optimize_index(
        &self,
        collection: &CollectionName,
        chore: Chore,
        options: OptimizeOptions,
    ) -> Result<(), DatabaseError> {
        let Some(table) = self.table(collection).await? else { return Ok(()) };
        let (begin, began) = (SystemTime::now(), Instant::now());
        let optimized = table.optimize(OptimizeAction::Index(options)).await;
        metrics::get().chore(chore, began, &optimized);
        optimized.map_err(|e| store(format!("extend the index of collection {collection}"), e))?;
        self.make_durable(collection, begin).await
    }

    /// Makes a collection's index anew, of whatever size it is; the old one serves until then.
    ///
    /// # Errors
    /// The store cannot be read or written, or the collection is empty.
    pub async fn build_index(&self, collection: &CollectionName) -> Result<(), DatabaseError> {
        let Some(table) = self.table(collection).await? else { return Ok(()) };
        let chunks = self.stats(collection).await?.chunks;
        let clusters = u32::try_from(chunks / u64::from(CLUSTER)).unwrap_or(u32::MAX).max(1);
        let index = IvfRqIndexBuilder::default().distance_type(DistanceType::L2).num_partitions(clusters).num_bits(BITS);
        let (begin, began) = (SystemTime::now(), Instant::now());
        let build = table.create_index(&[EMBEDDING], Index::IvfRq(index)).name(NAME.to_owned()).replace(true);
        let built = build.execute().await;
        metrics::get().chore(Chore::IndexBuild, began, &built);
        built.map_err(|e| store(format!("index collection {collection}"), e))?;
        self.make_durable(collection, begin).await?;
        tracing::info!(%collection, chunks, clusters, "the collection was indexed");
        Ok(())
    }
}

/// How many of a version's chunks an index covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coverage {
    Nothing,
    Some,
    All,
}

pub(super) async fn coverage(dataset: &Dataset) -> lance::Result<Coverage> {
    let indices = dataset.load_indices().await?;
    let mut parts = indices.iter().filter(|index| index.name == NAME).peekable();
    if parts.peek().is_none() {
        return Ok(Coverage::Nothing);
    }
    let covered: Vec<_> = parts.filter_map(|part| part.fragment_bitmap.as_ref()).collect();
    let is_covered = |fragment: u64| covered.iter().any(|part| u32::try_from(fragment).is_ok_and(|id| part.contains(id)));
    let all = dataset.fragments().iter().all(|fragment| is_covered(fragment.id));
    Ok(if all { Coverage::All } else { Coverage::Some })
}

pub(super) async fn index_stats(table: &Table, collection: &CollectionName) -> Result<Option<IndexStats>, DatabaseError> {
    let stats = table.index_stats(NAME).await.map_err(|e| store(format!("read the index of collection {collection}"), e))?;
    Ok(stats.map(|stats| IndexStats {
        indexed: stats.num_indexed_rows as u64,
        unindexed: stats.num_unindexed_rows as u64,
        parts: stats.num_indices.unwrap_or(1),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_made_where_embeddings_fit_no_memory_and_follows_what_comes() {
        let index = |unindexed, parts| Some(IndexStats { indexed: 50_000, unindexed, parts });
        assert_eq!(Need::of(INDEXED_FROM - 1, false, None), Need::Nothing);
        assert_eq!(Need::of(INDEXED_FROM, true, None), Need::Nothing);
        assert_eq!(Need::of(INDEXED_FROM, false, None), Need::Build);
        assert_eq!(Need::of(60_000, false, index(EXTENDED_FROM - 1, 1)), Need::Nothing);
        assert_eq!(Need::of(60_000, false, index(EXTENDED_FROM, MANY_PARTS)), Need::Extend);
        assert_eq!(Need::of(60_000, true, index(0, MANY_PARTS)), Need::Merge { parts: MANY_PARTS as usize });
    }
}
