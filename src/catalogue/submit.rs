use serde_json::{Map, Value};
use uuid::Uuid;

use super::collection::note_collection;
use super::idempotency::{find, remember};
use super::sql::query;
use super::store::now;
use super::task::task;
use super::{Catalogue, CatalogueError, Earlier, Once, Task};
use crate::names::{CollectionName, DocumentId};

/// A document to take in.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRecord {
    pub id: DocumentId,
    pub collection: CollectionName,
    pub title: String,
    pub source: String,
    pub metadata: Map<String, Value>,
    pub text: String,
    /// Of the text, lower-case hexadecimal.
    pub sha256: String,
    /// Of the text, title, source, metadata and collection together.
    pub content_hash: String,
}

impl Catalogue {
    /// Takes documents with different ids in, all or none of them. An id that the catalogue has already gets a new revision in the place
    /// of one that still waits; tasks that wait for that one wait for the new one from now on.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn submit(&self, documents: &[NewRecord]) -> Result<Task, CatalogueError> {
        Ok(self.submit_numbered(documents, None).await?.0)
    }

    /// As [`submit`](Self::submit), and gives the number of each submission ([`QueuedDocument::seq`](super::QueuedDocument::seq)).
    ///
    /// # Arguments
    /// * `claim` - the lease of the worker that they are for, where the catalogue has leases.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn submit_numbered(
        &self,
        documents: &[NewRecord],
        claim: Option<&str>,
    ) -> Result<(Task, Vec<i64>), CatalogueError> {
        let submitted = self.submit_unless(documents, None, claim).await?;
        Ok(submitted.expect("there is no key that could be known"))
    }

    /// As [`submit_numbered`](Self::submit_numbered), but for a submission whose key is known: that one is given back.
    pub(super) async fn submit_unless(
        &self,
        documents: &[NewRecord],
        once: Option<(&Once, &str)>,
        claim: Option<&str>,
    ) -> Result<Result<(Task, Vec<i64>), Earlier>, CatalogueError> {
        let task_id = Uuid::now_v7().to_string();
        let created_at = now();
        let mut transaction = self.write().await?;
        if let Some((once, _)) = once
            && let Some(earlier) = find(&mut transaction, once).await?
        {
            return Ok(Err(earlier));
        }
        let status = if documents.is_empty() { "succeeded" } else { "queued" };
        let row = query(
            "INSERT INTO tasks (id, status, total, created_at, finished_at) \
             VALUES ($1, $2, $3, $4, CASE WHEN $3 = 0 THEN $4 END) RETURNING *",
        )
        .bind(&task_id)
        .bind(status)
        .bind(documents.len() as i64)
        .bind(&created_at)
        .fetch_one(&mut transaction)
        .await?;
        let task = task(&row)?;
        let mut seqs = Vec::with_capacity(documents.len());
        for document in documents {
            note_collection(&mut transaction, &document.collection, &created_at).await?;
            query(
                "INSERT INTO documents (id, collection, title, source, metadata, status, bytes, sha256, task_id, created_at, updated_at, \
                 content_hash) VALUES ($1, $2, $3, $4, $5, 'pending', $6, $7, $8, $9, $9, $10) \
                 ON CONFLICT (id) DO UPDATE SET collection = $2, title = $3, source = $4, metadata = $5, status = 'pending', error = NULL, \
                 chunks = 0, tokens = 0, bytes = $6, sha256 = $7, task_id = $8, updated_at = $9, content_hash = $10, \
                 revision = CASE WHEN documents.status = 'deleting' THEN 1 ELSE documents.revision + 1 END, \
                 created_at = CASE WHEN documents.status = 'deleting' THEN $9 ELSE documents.created_at END",
            )
            .bind(document.id.as_str())
            .bind(document.collection.as_str())
            .bind(&document.title)
            .bind(&document.source)
            .bind(serde_json::to_string(&document.metadata).expect("an object of JSON values is JSON"))
            .bind(document.text.len() as i64)
            .bind(&document.sha256)
            .bind(&task_id)
            .bind(&created_at)
            .bind(&document.content_hash)
            .execute(&mut transaction)
            .await?;
            query("DELETE FROM outbox WHERE document_id = $1").bind(document.id.as_str()).execute(&mut transaction).await?;
            let seq = query("INSERT INTO outbox (document_id, text) VALUES ($1, $2) RETURNING seq")
                .bind(document.id.as_str())
                .bind(&document.text)
                .scalar(&mut transaction)
                .await?;
            seqs.push(seq);
            query("INSERT INTO waiting (document_id, task_id) VALUES ($1, $2)")
                .bind(document.id.as_str())
                .bind(&task_id)
                .execute(&mut transaction)
                .await?;
        }
        if let Some(claim) = claim {
            query("UPDATE outbox SET claimed_by = $1 WHERE seq IN (SELECT CAST(value AS BIGINT) FROM json_each($2))")
                .bind(claim)
                .bind(Value::from(seqs.clone()).to_string())
                .execute(&mut transaction)
                .await?;
        }
        if let Some((once, answer)) = once {
            remember(&mut transaction, once, &task_id, answer).await?;
        }
        transaction.commit().await?;
        Ok(Ok((task, seqs)))
    }
}
