use super::document::{collection_name, document_id};
use super::task::{Settled, settle};
use super::{Catalogue, CatalogueError};
use crate::names::{CollectionName, DocumentId};

impl Catalogue {
    /// Promises the removal of a document: from now on the catalogue does not show it, and its text no longer waits. Gives whether there
    /// was such a document.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn begin_removal(&self, id: &DocumentId) -> Result<bool, CatalogueError> {
        let mut transaction = self.write().await?;
        let marked = sqlx::query("UPDATE documents SET status = 'deleting' WHERE id = ?")
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        if marked.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("DELETE FROM outbox WHERE document_id = ?").bind(id.as_str()).execute(&mut *transaction).await?;
        settle(&mut transaction, id.as_str(), Settled::Withdrawn).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Documents whose removal was promised and is not done.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn promised_removals(&self) -> Result<Vec<DocumentId>, CatalogueError> {
        let rows = sqlx::query("SELECT id FROM documents WHERE status = 'deleting'").fetch_all(self.reader()).await?;
        rows.iter().map(|row| document_id(row, "id")).collect()
    }

    /// Collections that may hold chunks of a document.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn placements(&self, id: &DocumentId) -> Result<Vec<CollectionName>, CatalogueError> {
        let rows = sqlx::query("SELECT collection FROM placements WHERE document_id = ?")
            .bind(id.as_str())
            .fetch_all(self.reader())
            .await?;
        rows.iter().map(|row| collection_name(row, "collection")).collect()
    }

    /// Forgets a document whose chunks are gone, unless it was submitted again since the removal was promised.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn finish_removal(&self, id: &DocumentId) -> Result<(), CatalogueError> {
        let mut transaction = self.write().await?;
        sqlx::query("DELETE FROM documents WHERE id = ? AND status = 'deleting'")
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
