use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::page::{Cursor, Page};
use super::sql::{Row, query};
use super::store::{count, parsed};
use super::{Catalogue, CatalogueError};
use crate::names::{CollectionName, DocumentId};
use crate::schemas;

/// What the catalogue knows of a document, which is of its newest revision.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Document {
    #[schema(value_type = String, example = "dune-2021")]
    pub id: DocumentId,
    #[schema(value_type = String, example = "default")]
    pub collection: CollectionName,
    pub title: String,
    pub source: String,
    #[schema(schema_with = schemas::any_object)]
    pub metadata: Map<String, Value>,
    pub status: DocumentStatus,
    /// Why the document failed. Chunks of an earlier revision that was ready are still found.
    pub error: Option<String>,
    /// 0 until the document is ready.
    pub chunks: u64,
    /// 0 until the document is ready.
    pub tokens: u64,
    pub bytes: u64,
    /// Of the text, lower-case hexadecimal.
    pub sha256: String,
    /// 1 for a new document; one more each time that its id is submitted again.
    pub revision: u64,
    /// The task that the newest revision was submitted with.
    #[schema(value_type = String, format = "uuid")]
    pub task_id: Uuid,
    /// When the id was first submitted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentStatus {
    /// Accepted and safe, not yet searchable; chunks of an earlier revision are still found.
    Pending,
    Ready,
    Failed,
}

/// Documents by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DocumentCounts {
    pub pending: u64,
    pub ready: u64,
    pub failed: u64,
}

impl FromStr for DocumentStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pending" => Ok(Self::Pending),
            "ready" => Ok(Self::Ready),
            "failed" => Ok(Self::Failed),
            other => Err(format!("{other} is no status of a document")),
        }
    }
}

impl fmt::Display for DocumentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Failed => "failed",
        })
    }
}

impl Catalogue {
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn document(&self, id: &DocumentId) -> Result<Option<Document>, CatalogueError> {
        let row = query("SELECT * FROM documents WHERE id = $1 AND status <> 'deleting'")
            .bind(id.as_str())
            .fetch_optional(self.reader())
            .await?;
        row.as_ref().map(document).transpose()
    }

    /// Documents in the order of their creation, at most `limit` after `cursor`.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn documents(
        &self,
        collection: Option<&CollectionName>,
        limit: u32,
        cursor: Option<&Cursor>,
    ) -> Result<Page<Document>, CatalogueError> {
        let (created_at, id) = cursor.map_or(("", ""), |cursor| (&cursor.created_at, &cursor.id));
        let page = query(match collection {
            Some(_) => {
                "SELECT * FROM documents WHERE collection = $4 AND status <> 'deleting' AND (created_at, id) > ($1, $2) \
                 ORDER BY created_at, id LIMIT $3"
            }
            None => {
                "SELECT * FROM documents WHERE status <> 'deleting' AND (created_at, id) > ($1, $2) \
                 ORDER BY created_at, id LIMIT $3"
            }
        });
        let page = page.bind(created_at).bind(id).bind(i64::from(limit) + 1);
        let page = match collection {
            Some(collection) => page.bind(collection.as_str()),
            None => page,
        };
        let rows = page.fetch_all(self.reader()).await?;
        let documents = rows.iter().map(document).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(documents, limit, |last| Cursor::new(last.created_at, last.id.as_str())))
    }

    /// How many documents there are, in one collection or in all.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn count_documents(&self, collection: Option<&CollectionName>) -> Result<DocumentCounts, CatalogueError> {
        let rows = query(
            "SELECT status, count(*) AS number FROM documents WHERE status <> 'deleting' AND collection = coalesce($1, collection) \
             GROUP BY status",
        )
        .bind(collection.map(CollectionName::to_string))
        .fetch_all(self.reader())
        .await?;
        let mut counts = DocumentCounts::default();
        for row in &rows {
            let number = count(row, "number")?;
            match parsed(row, "status")? {
                DocumentStatus::Pending => counts.pending = number,
                DocumentStatus::Ready => counts.ready = number,
                DocumentStatus::Failed => counts.failed = number,
            }
        }
        Ok(counts)
    }

    /// The hashes that ready documents among `ids` were submitted with.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn ready_hashes(&self, ids: &[&DocumentId]) -> Result<HashMap<DocumentId, String>, CatalogueError> {
        let rows = query(
            "SELECT id, content_hash FROM documents WHERE id IN (SELECT value FROM json_each($1)) AND status = 'ready' \
             AND content_hash IS NOT NULL",
        )
        .bind(json_ids(ids))
        .fetch_all(self.reader())
        .await?;
        rows.iter().map(|row| Ok((document_id(row, "id")?, row.try_get("content_hash")?))).collect()
    }

    /// Chunks of the ready documents among `ids`.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn count_chunks(&self, ids: &[&DocumentId]) -> Result<u64, CatalogueError> {
        let row = query(
            "SELECT CAST(coalesce(sum(chunks), 0) AS BIGINT) AS chunks FROM documents WHERE id IN (SELECT value FROM json_each($1)) \
             AND status = 'ready'",
        )
        .bind(json_ids(ids))
        .fetch_one(self.reader())
        .await?;
        count(&row, "chunks")
    }

    /// The text of a document that is not, or could not be, chunked.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn waiting_text(&self, id: &DocumentId) -> Result<Option<String>, CatalogueError> {
        Ok(query("SELECT text FROM outbox WHERE document_id = $1").bind(id.as_str()).optional_scalar(self.reader()).await?)
    }
}

pub(super) fn json_ids(ids: &[&DocumentId]) -> String {
    Value::from(ids.iter().map(|id| id.as_str()).collect::<Vec<_>>()).to_string()
}

fn document(row: &Row) -> Result<Document, CatalogueError> {
    Ok(Document {
        id: document_id(row, "id")?,
        collection: collection_name(row, "collection")?,
        title: row.try_get("title")?,
        source: row.try_get("source")?,
        metadata: json_object(row, "metadata")?,
        status: parsed(row, "status")?,
        error: row.try_get("error")?,
        chunks: count(row, "chunks")?,
        tokens: count(row, "tokens")?,
        bytes: count(row, "bytes")?,
        sha256: row.try_get("sha256")?,
        revision: count(row, "revision")?,
        task_id: parsed(row, "task_id")?,
        created_at: parsed(row, "created_at")?,
        updated_at: parsed(row, "updated_at")?,
    })
}

pub(super) fn document_id(row: &Row, column: &'static str) -> Result<DocumentId, CatalogueError> {
    DocumentId::parse(column, row.try_get(column)?)
        .map_err(|e| CatalogueError::Corrupt { what: "document id", reason: e.to_string() })
}

pub(super) fn collection_name(row: &Row, column: &'static str) -> Result<CollectionName, CatalogueError> {
    CollectionName::parse(column, row.try_get(column)?)
        .map_err(|e| CatalogueError::Corrupt { what: "collection", reason: e.to_string() })
}

fn json_object(row: &Row, column: &'static str) -> Result<Map<String, Value>, CatalogueError> {
    serde_json::from_str(row.try_get(column)?).map_err(|e| CatalogueError::Corrupt { what: column, reason: e.to_string() })
}
