use std::time::SystemTime;

use lancedb::query::ExecutableQuery;

use super::database::store;
use super::{Database, DatabaseError};
use crate::names::CollectionName;

impl Database {
    /// Adds all rows of a collection of another database, embeddings included, to a collection of this one that holds none of its
    /// documents. The other database is only read.
    ///
    /// # Errors
    /// The other database was made with another identity; a store cannot be read or written.
    pub async fn copy_from(
        &self,
        other: &Database,
        collection: &CollectionName,
        into: &CollectionName,
    ) -> Result<(), DatabaseError> {
        self.inner.identity.check(collection.as_str(), &other.inner.identity.to_metadata())?;
        let Some(snapshot) = other.snapshot(collection).await? else {
            return Ok(());
        };
        let begin = SystemTime::now();
        let rows = snapshot.query().execute().await.map_err(|e| store(format!("read collection {collection}"), e))?;
        let table = self.table_or_new(into).await?;
        table.add(rows).execute().await.map_err(|e| store(format!("copy collection {collection}"), e))?;
        self.make_durable(into, begin).await
    }
}
