//! What a repair of the stores writes. Nothing else is at work on them then.

use super::sql::query;
use super::store::now;
use super::task::{Settled, settle};
use super::{Catalogue, CatalogueError};

impl Catalogue {
    /// Notes that a document's newest revision is lost: it has failed, and has no text.
    ///
    /// # Arguments
    /// * `keeps_chunks` - chunks of an earlier revision may be found on.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn give_up(&self, id: &str, reason: &str, keeps_chunks: bool) -> Result<(), CatalogueError> {
        let mut transaction = self.write().await?;
        query("UPDATE documents SET status = 'failed', error = $1, chunks = 0, tokens = 0, updated_at = $2 WHERE id = $3")
            .bind(reason)
            .bind(now())
            .bind(id)
            .execute(&mut transaction)
            .await?;
        query("DELETE FROM outbox WHERE document_id = $1").bind(id).execute(&mut transaction).await?;
        if !keeps_chunks {
            query("DELETE FROM placements WHERE document_id = $1").bind(id).execute(&mut transaction).await?;
        }
        settle(&mut transaction, id, Settled::Failed(reason)).await?;
        Ok(transaction.commit().await?)
    }

    /// Notes that a collection may, or does not, hold chunks of a document.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn place(&self, id: &str, collection: &str, there: bool) -> Result<(), CatalogueError> {
        let statement = match there {
            true => "INSERT INTO placements (document_id, collection) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            false => "DELETE FROM placements WHERE document_id = $1 AND collection = $2",
        };
        let mut transaction = self.write().await?;
        query(statement).bind(id).bind(collection).execute(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Drops a text that waits.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn drop_text(&self, seq: i64) -> Result<(), CatalogueError> {
        let mut transaction = self.write().await?;
        query("DELETE FROM outbox WHERE seq = $1").bind(seq).execute(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Brings tasks to what goes with the documents: each waits for the documents that are pending with it and for no others, has counted no
    /// more than it has, and has ended when it waits for nothing.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn mend_tasks(&self) -> Result<(), CatalogueError> {
        const STATEMENTS: [&str; 6] = [
            "DELETE FROM waiting WHERE document_id NOT IN (SELECT id FROM documents WHERE status = 'pending')",
            "INSERT INTO waiting (document_id, task_id) SELECT id, task_id FROM documents WHERE status = 'pending' \
             ON CONFLICT DO NOTHING",
            "UPDATE tasks SET ready = CASE WHEN ready < 0 THEN 0 ELSE ready END, failed = CASE WHEN failed < 0 THEN 0 ELSE failed END \
             WHERE ready < 0 OR failed < 0",
            "UPDATE tasks SET total = ready + failed + (SELECT count(*) FROM waiting WHERE task_id = tasks.id) \
             WHERE total < ready + failed + (SELECT count(*) FROM waiting WHERE task_id = tasks.id)",
            "UPDATE tasks SET status = 'running', finished_at = NULL, error = NULL WHERE (status NOT IN ('queued', 'running') \
             OR finished_at IS NOT NULL) AND EXISTS (SELECT 1 FROM waiting WHERE task_id = tasks.id)",
            "UPDATE tasks SET finished_at = coalesce(finished_at, $1), error = CASE WHEN failed > 0 THEN coalesce(error, 'documents failed') END, \
             status = CASE WHEN failed > 0 THEN 'failed' WHEN ready > 0 OR total = 0 THEN 'succeeded' ELSE 'canceled' END \
             WHERE NOT EXISTS (SELECT 1 FROM waiting WHERE task_id = tasks.id) AND (status IN ('queued', 'running') \
             OR finished_at IS NULL OR (status = 'failed' AND failed = 0) \
             OR (status = 'succeeded' AND (failed > 0 OR ready = 0) AND total > 0))",
        ];
        let mut transaction = self.write().await?;
        for statement in STATEMENTS {
            let change = query(statement);
            let change = if statement.contains("$1") { change.bind(now()) } else { change };
            change.execute(&mut transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}
