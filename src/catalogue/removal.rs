use std::collections::BTreeMap;

use futures::TryStreamExt;
use serde_json::Value;

use super::document::{collection_name, document_id, json_ids};
use super::sql::{Write, query};
use super::task::{Settled, settle};
use super::{Catalogue, CatalogueError};
use crate::names::{CollectionName, DocumentId};

/// What a document says of itself, in its newest revision.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a> {
    pub id: &'a str,
    pub title: &'a str,
    pub source: &'a str,
    /// A JSON object.
    pub metadata: &'a str,
}

/// One submission of a document: a task holds a document once, so the two together name it for ever.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    pub id: DocumentId,
    pub(super) task_id: String,
}

impl Catalogue {
    /// The documents of a collection that `accepts` takes, in the order of their ids.
    ///
    /// # Errors
    /// The catalogue cannot be read, or `accepts` says what is wrong with what it holds.
    pub async fn documents_where(
        &self,
        collection: &CollectionName,
        accepts: impl Fn(Labels<'_>) -> Result<bool, String>,
    ) -> Result<Vec<Submitted>, CatalogueError> {
        let mut rows = query(
            "SELECT id, title, source, metadata, task_id FROM documents WHERE collection = $1 AND status <> 'deleting' ORDER BY id",
        )
        .bind(collection.as_str())
        .fetch(self.reader());
        let mut found = Vec::new();
        while let Some(row) = rows.try_next().await? {
            let labels = Labels {
                id: row.try_get("id")?,
                title: row.try_get("title")?,
                source: row.try_get("source")?,
                metadata: row.try_get("metadata")?,
            };
            if accepts(labels).map_err(|reason| CatalogueError::Corrupt { what: "document", reason })? {
                found.push(Submitted { id: document_id(&row, "id")?, task_id: row.try_get("task_id")? });
            }
        }
        Ok(found)
    }

    /// Promises the removal of a document: from now on the catalogue does not show it, and its text no longer waits. Gives whether there
    /// was such a document.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn begin_removal(&self, id: &DocumentId) -> Result<bool, CatalogueError> {
        let mut transaction = self.write().await?;
        let marked =
            query("UPDATE documents SET status = 'deleting' WHERE id = $1").bind(id.as_str()).execute(&mut transaction).await?;
        if marked == 0 {
            return Ok(false);
        }
        withdraw(&mut transaction, &json_ids(&[id])).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Promises the removal of all of `documents`, or of none. One that was submitted again or removed since it was found is passed over;
    /// gives the others, in their order.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn begin_removals(&self, documents: &[Submitted]) -> Result<Vec<DocumentId>, CatalogueError> {
        let ids: Vec<_> = documents.iter().map(|document| &document.id).collect();
        let keys: Vec<_> = documents.iter().map(|document| format!("{} {}", document.task_id, document.id)).collect();
        let mut transaction = self.write().await?;
        let rows = query(
            "UPDATE documents SET status = 'deleting' WHERE status <> 'deleting' AND id IN (SELECT value FROM json_each($1)) \
             AND task_id || ' ' || id IN (SELECT value FROM json_each($2)) RETURNING id",
        )
        .bind(json_ids(&ids))
        .bind(Value::from(keys).to_string())
        .fetch_all(&mut transaction)
        .await?;
        let mut marked = rows.iter().map(|row| document_id(row, "id")).collect::<Result<Vec<_>, _>>()?;
        marked.sort();
        withdraw(&mut transaction, &json_ids(&marked.iter().collect::<Vec<_>>())).await?;
        transaction.commit().await?;
        Ok(marked)
    }

    /// Documents whose removal was promised and is not done.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn promised_removals(&self) -> Result<Vec<DocumentId>, CatalogueError> {
        let rows = query("SELECT id FROM documents WHERE status = 'deleting'").fetch_all(self.reader()).await?;
        rows.iter().map(|row| document_id(row, "id")).collect()
    }

    /// Collections that may hold chunks of a document.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn placements(&self, id: &DocumentId) -> Result<Vec<CollectionName>, CatalogueError> {
        Ok(self.placements_of(std::slice::from_ref(id)).await?.into_keys().collect())
    }

    /// Collections that may hold chunks of some of `ids`, each with those.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn placements_of(&self, ids: &[DocumentId]) -> Result<BTreeMap<CollectionName, Vec<DocumentId>>, CatalogueError> {
        let rows = query(
            "SELECT collection, document_id FROM placements WHERE document_id IN (SELECT value FROM json_each($1)) \
             ORDER BY collection, document_id",
        )
        .bind(json_ids(&ids.iter().collect::<Vec<_>>()))
        .fetch_all(self.reader())
        .await?;
        let mut placements = BTreeMap::new();
        for row in &rows {
            let documents: &mut Vec<_> = placements.entry(collection_name(row, "collection")?).or_default();
            documents.push(document_id(row, "document_id")?);
        }
        Ok(placements)
    }

    /// Forgets documents whose chunks are gone, but for those that were submitted again since the removal was promised.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn finish_removals(&self, ids: &[DocumentId]) -> Result<(), CatalogueError> {
        let mut transaction = self.write().await?;
        query("DELETE FROM documents WHERE id IN (SELECT value FROM json_each($1)) AND status = 'deleting'")
            .bind(json_ids(&ids.iter().collect::<Vec<_>>()))
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Drops the texts that wait of documents that were just marked, and tells the tasks that wait for them.
///
/// # Arguments
/// * `ids` - a JSON list.
pub(super) async fn withdraw(transaction: &mut Write, ids: &str) -> Result<(), CatalogueError> {
    query("DELETE FROM outbox WHERE document_id IN (SELECT value FROM json_each($1))")
        .bind(ids)
        .execute(&mut *transaction)
        .await?;
    // Of many documents that are ready no task waits for any.
    let awaited: Vec<String> =
        query("SELECT DISTINCT document_id FROM waiting WHERE document_id IN (SELECT value FROM json_each($1))")
            .bind(ids)
            .scalars(&mut *transaction)
            .await?;
    for id in awaited {
        settle(transaction, &id, Settled::Withdrawn).await?;
    }
    Ok(())
}
