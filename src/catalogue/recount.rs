use super::sql::query;
use super::{Catalogue, CatalogueError};
use crate::names::{CollectionName, DocumentId};

impl Catalogue {
    /// Brings the chunks and tokens of ready documents of a collection up to date, all at once: each is (document, chunks, tokens).
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn recount(&self, collection: &CollectionName, sizes: &[(&DocumentId, u64, u64)]) -> Result<(), CatalogueError> {
        let mut transaction = self.write().await?;
        for &(id, chunks, tokens) in sizes {
            query(
                "UPDATE documents SET chunks = $1, tokens = $2 WHERE id = $3 AND collection = $4 AND status = 'ready' \
                 AND (chunks <> $1 OR tokens <> $2)",
            )
            .bind(chunks as i64)
            .bind(tokens as i64)
            .bind(id.as_str())
            .bind(collection.as_str())
            .execute(&mut transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
