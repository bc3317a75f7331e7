//! What searches would read from the files the first time is read before they come: after a start a search of 1,000,000 chunks else takes
//! 25 ms now and then, until all clusters of the index have been looked through once.

use std::collections::HashMap;

use lance::index::DatasetIndexExt;
use uuid::Uuid;

use super::collection::dataset;
use super::database::store;
use super::index::NAME;
use super::snapshot::guarded;
use super::{Database, DatabaseError};
use crate::names::CollectionName;

/// The collections that were warmed, each with the parts of its index as they were then and their bytes in memory.
#[derive(Default)]
pub struct Warmed(HashMap<CollectionName, (Vec<Uuid>, u64)>);

impl Database {
    /// Reads what searches look through, collection by collection while there is room for it: the embeddings of those that fit the memory
    /// for embeddings, the indices of the others. What `warmed` has is read again only where the index is another one since. Gives the bytes
    /// of indices that were read. A collection that cannot be read is passed over: whoever searches it is told.
    ///
    /// # Errors
    /// The collections cannot be listed.
    pub async fn warm(&self, warmed: &mut Warmed) -> Result<u64, DatabaseError> {
        let collections = self.collections().await?;
        warmed.0.retain(|name, _| collections.contains(name));
        let mut read = 0;
        for collection in collections {
            let others: u64 = warmed.0.iter().filter(|(name, _)| **name != collection).map(|(_, (_, bytes))| bytes).sum();
            let before = warmed.0.get(&collection).map(|(parts, _)| parts.as_slice());
            let room = self.inner.index_bytes.saturating_sub(others);
            match guarded(&collection, self.warm_collection(&collection, before, room)).await.flatten() {
                Ok(None) => {}
                Ok(Some((parts, bytes))) => {
                    read += bytes;
                    warmed.0.insert(collection, (parts, bytes));
                }
                Err(error) => tracing::debug!(%collection, %error, "what searches look through cannot be read beforehand"),
            }
        }
        Ok(read)
    }

    /// As [`warm`](Self::warm), for one collection, whose index is read where it has at most `room` bytes. Gives the parts of the index, and
    /// the bytes that were read; nothing where these parts were read `before`.
    async fn warm_collection(
        &self,
        collection: &CollectionName,
        before: Option<&[Uuid]>,
        room: u64,
    ) -> Result<Option<(Vec<Uuid>, u64)>, DatabaseError> {
        let reading = |error: lance::Error| store(format!("read the index of collection {collection}"), error.into());
        let Some(snapshot) = self.snapshot(collection).await? else { return Ok(None) };
        let dataset = dataset(collection, &snapshot).await?;
        let parts = dataset.load_indices_by_name(NAME).await.map_err(reading)?;
        let names: Vec<Uuid> = parts.iter().map(|part| part.uuid).collect();
        if before == Some(names.as_slice()) {
            return Ok(None);
        }
        if self.inner.resident.vectors(collection, &dataset, false).await.map_err(reading)?.is_some() {
            return Ok(Some((names, 0)));
        }
        let sizes: Option<Vec<u64>> = parts.iter().map(|part| part.total_size_bytes()).collect();
        match sizes.map(|sizes| sizes.iter().sum()) {
            Some(bytes) if (1..=room).contains(&bytes) => {
                dataset.prewarm_index(NAME).await.map_err(reading)?;
                Ok(Some((names, bytes)))
            }
            _ => Ok(Some((names, 0))),
        }
    }
}
