use jiff::Timestamp;

use super::document::{collection_name, document_id, json_ids};
use super::removal::withdraw;
use super::sql::{Row, Write, query};
use super::store::{count, now, parsed_option};
use super::{Catalogue, CatalogueError};
use crate::names::CollectionName;

/// A collection that was made, or that documents were submitted to.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectionRecord {
    pub name: CollectionName,
    /// None for one that is older than the catalogue's list of them.
    pub created_at: Option<Timestamp>,
}

/// What the ready documents of a collection are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub tokens: u64,
    pub bytes: u64,
}

impl Catalogue {
    /// Collections in the order of their names, without those whose removal was promised.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn collections(&self) -> Result<Vec<CollectionRecord>, CatalogueError> {
        let rows =
            query("SELECT name, created_at FROM collections WHERE NOT deleting ORDER BY name").fetch_all(self.reader()).await?;
        rows.iter().map(record).collect()
    }

    /// Whether a collection is there, or its removal is promised and not done.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn knows_collection(&self, name: &CollectionName) -> Result<bool, CatalogueError> {
        Ok(query("SELECT EXISTS (SELECT 1 FROM collections WHERE name = $1)").bind(name.as_str()).scalar(self.reader()).await?)
    }

    /// Notes a collection; one that is known stays as it is.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn add_collection(&self, name: &CollectionName) -> Result<(), CatalogueError> {
        let mut transaction = self.write().await?;
        note_collection(&mut transaction, name, &now()).await?;
        Ok(transaction.commit().await?)
    }

    /// Tokens and bytes of the ready documents of a collection.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn totals(&self, collection: &CollectionName) -> Result<Totals, CatalogueError> {
        let row = query(
            "SELECT CAST(coalesce(sum(tokens), 0) AS BIGINT) AS tokens, CAST(coalesce(sum(bytes), 0) AS BIGINT) AS bytes FROM documents \
             WHERE collection = $1 AND status = 'ready'",
        )
        .bind(collection.as_str())
        .fetch_one(self.reader())
        .await?;
        Ok(Totals { tokens: count(&row, "tokens")?, bytes: count(&row, "bytes")? })
    }

    /// Promises the removal of a collection with all of its documents: from now on the catalogue shows none of them, and no text of theirs
    /// waits. A document that is submitted to it later waits until the removal is done.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn begin_collection_removal(&self, name: &CollectionName) -> Result<(), CatalogueError> {
        let mut transaction = self.write().await?;
        query("INSERT INTO collections (name, deleting) VALUES ($1, TRUE) ON CONFLICT (name) DO UPDATE SET deleting = TRUE")
            .bind(name.as_str())
            .execute(&mut transaction)
            .await?;
        let rows = query("UPDATE documents SET status = 'deleting' WHERE collection = $1 AND status <> 'deleting' RETURNING id")
            .bind(name.as_str())
            .fetch_all(&mut transaction)
            .await?;
        let ids = rows.iter().map(|row| document_id(row, "id")).collect::<Result<Vec<_>, _>>()?;
        withdraw(&mut transaction, &json_ids(&ids.iter().collect::<Vec<_>>())).await?;
        Ok(transaction.commit().await?)
    }

    /// Collections whose removal was promised and is not done.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn promised_collection_removals(&self) -> Result<Vec<CollectionName>, CatalogueError> {
        let rows = query("SELECT name FROM collections WHERE deleting").fetch_all(self.reader()).await?;
        rows.iter().map(|row| collection_name(row, "name")).collect()
    }

    /// Forgets a collection that holds no chunk any more, and those of its documents that have none elsewhere. If documents were submitted
    /// to it since the removal was promised, it begins anew with them.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn finish_collection_removal(&self, name: &CollectionName) -> Result<(), CatalogueError> {
        let mut transaction = self.write().await?;
        for statement in [
            "DELETE FROM placements WHERE collection = $1",
            "DELETE FROM documents WHERE collection = $1 AND status = 'deleting' \
             AND NOT EXISTS (SELECT 1 FROM placements WHERE document_id = documents.id)",
            "DELETE FROM collections WHERE name = $1 AND deleting \
             AND NOT EXISTS (SELECT 1 FROM documents WHERE collection = $1 AND status <> 'deleting')",
        ] {
            query(statement).bind(name.as_str()).execute(&mut transaction).await?;
        }
        query("UPDATE collections SET deleting = FALSE, created_at = $1 WHERE name = $2 AND deleting")
            .bind(now())
            .bind(name.as_str())
            .execute(&mut transaction)
            .await?;
        Ok(transaction.commit().await?)
    }
}

/// Notes a collection unless it is known.
pub(super) async fn note_collection(
    transaction: &mut Write,
    name: &CollectionName,
    created_at: &str,
) -> Result<(), CatalogueError> {
    query("INSERT INTO collections (name, created_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(name.as_str())
        .bind(created_at)
        .execute(&mut *transaction)
        .await?;
    Ok(())
}

fn record(row: &Row) -> Result<CollectionRecord, CatalogueError> {
    Ok(CollectionRecord { name: collection_name(row, "name")?, created_at: parsed_option(row, "created_at")? })
}
