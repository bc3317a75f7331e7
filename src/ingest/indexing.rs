use super::{Ingest, IngestError};
use crate::names::CollectionName;
use crate::neighbours::Effort;

impl Ingest {
    /// Sets how far searches of a collection go that do not say so themselves; gives whether there is such a collection. One that has only
    /// been submitted to is begun with it.
    ///
    /// # Errors
    /// A store cannot be read or written.
    pub async fn set_effort(&self, name: &CollectionName, effort: Effort) -> Result<bool, IngestError> {
        let guard = self.inner.changes.hold().await?;
        if !self.has_collection(name).await? {
            return Ok(false);
        }
        let database = guard.over(&self.inner.database);
        database.create(name).await?;
        Ok(database.set_effort(name, effort).await?)
    }

    /// Indexes a collection, whatever its size: anew where there is no index or `rebuild` says so, else by what came since. Gives whether
    /// there is such a collection. Writes and searches go on meanwhile; the call goes on if its caller stops waiting.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn index_collection(&self, name: &CollectionName, rebuild: bool) -> Result<bool, IngestError> {
        if !self.has_collection(name).await? {
            return Ok(false);
        }
        let (this, name) = (self.clone(), name.clone());
        tokio::spawn(async move {
            let _guard = this.inner.upkeep.hold().await?;
            let database = &this.inner.database;
            if database.stats(&name).await?.chunks == 0 {
                return Ok(true);
            }
            match database.index_stats(&name).await? {
                Some(index) if !rebuild && index.unindexed > 0 => database.extend_index(&name).await?,
                Some(_) if !rebuild => {}
                _ => database.build_index(&name).await?,
            }
            Ok(true)
        })
        .await?
    }
}
