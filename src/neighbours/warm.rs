//! What searches would read from the files the first time is read before they come: after a start a search of 1,000,000 chunks else takes
//! 25 ms now and then, until all clusters of the index have been looked through once.

use lance::index::DatasetIndexExt;

use super::collection::dataset;
use super::database::store;
use super::index::NAME;
use super::{Database, DatabaseError};
use crate::names::CollectionName;

impl Database {
    /// Reads what searches look through, collection by collection while there is room for it: the embeddings of those that fit the memory
    /// for embeddings, the indices of the others. Gives the bytes of indices that were read. What cannot be read is named in the log.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn warm(&self) -> Result<u64, DatabaseError> {
        let mut indices = 0;
        for collection in self.collections().await? {
            match self.warm_collection(&collection, self.inner.index_bytes - indices).await {
                Ok(bytes) => indices += bytes,
                Err(error) => tracing::warn!(%collection, %error, "what searches look through cannot be read beforehand"),
            }
        }
        Ok(indices)
    }

    /// As [`warm`](Self::warm), for one collection, whose index is read where it has at most `room` bytes.
    pub(super) async fn warm_collection(&self, collection: &CollectionName, room: u64) -> Result<u64, DatabaseError> {
        let reading = |error: lance::Error| store(format!("read the index of collection {collection}"), error.into());
        let Some(snapshot) = self.snapshot(collection).await? else { return Ok(0) };
        let dataset = dataset(collection, &snapshot).await?;
        if self.inner.resident.vectors(collection, &dataset, false).await.map_err(reading)?.is_some() {
            return Ok(0);
        }
        let parts = dataset.load_indices_by_name(NAME).await.map_err(reading)?;
        let sizes: Option<Vec<u64>> = parts.iter().map(|part| part.total_size_bytes()).collect();
        match sizes.map(|sizes| sizes.iter().sum()) {
            Some(bytes) if (1..=room).contains(&bytes) => {
                dataset.prewarm_index(NAME).await.map_err(reading)?;
                Ok(bytes)
            }
            _ => Ok(0),
        }
    }
}
