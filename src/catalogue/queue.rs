use serde_json::Value;

use super::document::{collection_name, document_id};
use super::sql::{Row, Write, query};
use super::store::{count, now};
use super::task::{Settled, settle};
use super::{Catalogue, CatalogueError};
use crate::names::{CollectionName, DocumentId};

/// A document that waits to be chunked.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedDocument {
    /// Names this submission of this document for ever.
    pub seq: i64,
    pub id: DocumentId,
    pub collection: CollectionName,
    pub title: String,
    pub source: String,
    /// A JSON object.
    pub metadata: String,
    pub text: String,
}

/// Leave to write a document's chunks.
#[derive(Clone, Debug, PartialEq)]
pub struct WriteTicket {
    pub seq: i64,
    /// The collection surely holds no chunk of the document.
    pub fresh: bool,
    /// Other collections that may hold chunks of the document.
    pub elsewhere: Vec<CollectionName>,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Ready { chunks: u64, tokens: u64 },
    Failed { reason: String },
}

impl Catalogue {
    /// Whether a document waits to be chunked or to be removed, or a collection to be removed.
    ///
    /// # Errors
    /// The catalogue cannot be read.
    pub async fn has_work(&self) -> Result<bool, CatalogueError> {
        Ok(query(
            "SELECT EXISTS (SELECT 1 FROM outbox CROSS JOIN documents WHERE documents.id = outbox.document_id AND status = 'pending') \
             OR EXISTS (SELECT 1 FROM documents WHERE status = 'deleting') OR EXISTS (SELECT 1 FROM collections WHERE deleting)",
        )
        .scalar(self.reader())
        .await?)
    }

    /// The documents that wait longest of those with a number beyond `after`, at least one and then at most `documents` with at most `bytes`
    /// of text together. Their tasks run from now on. Documents of a collection whose removal is promised wait till it is done, and those of
    /// `except` are passed over.
    ///
    /// # Errors
    /// The catalogue cannot be read or written.
    pub async fn take_queued(
        &self,
        after: Option<i64>,
        except: &[&CollectionName],
        documents: u32,
        bytes: u64,
    ) -> Result<Vec<QueuedDocument>, CatalogueError> {
        // The cross join keeps SQLite from sorting all that waits for the sake of the first few.
        let rows = query(
            "SELECT seq, bytes FROM outbox CROSS JOIN documents WHERE documents.id = outbox.document_id AND status = 'pending' \
             AND seq > $1 AND collection NOT IN (SELECT name FROM collections WHERE deleting) \
             AND collection NOT IN (SELECT value FROM json_each($2)) ORDER BY seq LIMIT $3",
        )
        .bind(after.unwrap_or(i64::MIN))
        .bind(json_names(except))
        .bind(i64::from(documents))
        .fetch_all(self.reader())
        .await?;
        self.taken(first_within(&rows, bytes)?).await
    }

    /// As [`take_queued`](Self::take_queued), where several workers take documents at the same time: of those that no other has claimed, or
    /// whose claim has ended with the lease `claim` of the worker that had it.
    ///
    /// # Arguments
    /// * `claim` - name of this worker's lease. Documents that it has claimed already are taken only if it is not `busy`.
    ///
    /// # Errors
    /// As [`take_queued`](Self::take_queued).
    pub async fn claim_queued(
        &self,
        claim: &str,
        busy: bool,
        except: &[&CollectionName],
        documents: u32,
        bytes: u64,
    ) -> Result<Vec<QueuedDocument>, CatalogueError> {
        let mut transaction = self.reader().begin().await?;
        let rows = query(
            "SELECT seq, bytes FROM outbox JOIN documents ON documents.id = outbox.document_id WHERE status = 'pending' \
             AND collection NOT IN (SELECT name FROM collections WHERE deleting) \
             AND collection NOT IN (SELECT value FROM json_each($4)) \
             AND (claimed_by IS NULL OR claimed_by = $1 AND $2 = 0 OR claimed_by <> $1 AND NOT EXISTS \
             (SELECT 1 FROM leases WHERE leases.name = claimed_by AND until > clock_timestamp())) \
             ORDER BY seq LIMIT $3 FOR UPDATE OF outbox SKIP LOCKED",
        )
        .bind(claim)
        .bind(i64::from(busy))
        .bind(i64::from(documents))
        .bind(json_names(except))
        .fetch_all(&mut transaction)
        .await?;
        let seqs = first_within(&rows, bytes)?;
        query("UPDATE outbox SET claimed_by = $1 WHERE seq IN (SELECT CAST(value AS BIGINT) FROM json_each($2))")
            .bind(claim)
            .bind(Value::from(seqs.clone()).to_string())
            .execute(&mut transaction)
            .await?;
        transaction.commit().await?;
        self.taken(seqs).await
    }

    /// Leaves what a worker has claimed of some collections to the others.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn unclaim(&self, claim: &str, collections: &[&CollectionName]) -> Result<(), CatalogueError> {
        query(
            "UPDATE outbox SET claimed_by = NULL WHERE claimed_by = $1 AND document_id IN \
             (SELECT id FROM documents WHERE collection IN (SELECT value FROM json_each($2)))",
        )
        .bind(claim)
        .bind(json_names(collections))
        .execute(self.reader())
        .await?;
        Ok(())
    }

    /// The documents with these numbers, unless they were submitted again or deleted meanwhile. Their tasks run from now on.
    async fn taken(&self, seqs: Vec<i64>) -> Result<Vec<QueuedDocument>, CatalogueError> {
        if seqs.is_empty() {
            return Ok(Vec::new());
        }
        let seqs = Value::from(seqs).to_string();
        let mut transaction = self.write().await?;
        query(
            "UPDATE tasks SET status = 'running', started_at = $1 WHERE status = 'queued' AND id IN (SELECT task_id FROM waiting \
             WHERE document_id IN (SELECT document_id FROM outbox WHERE seq IN (SELECT CAST(value AS BIGINT) FROM json_each($2))))",
        )
        .bind(now())
        .bind(&seqs)
        .execute(&mut transaction)
        .await?;
        let rows = query(
            "SELECT seq, id, collection, title, source, metadata, text FROM outbox JOIN documents ON documents.id = outbox.document_id \
             WHERE seq IN (SELECT CAST(value AS BIGINT) FROM json_each($1)) AND status = 'pending' ORDER BY seq",
        )
        .bind(&seqs)
        .fetch_all(&mut transaction)
        .await?;
        transaction.commit().await?;
        rows.iter().map(queued).collect()
    }

    /// Asks leave to write the chunks of `documents`, and notes where they will be, which makes the writing safe to interrupt. A document
    /// that was submitted again or deleted since it was taken gets no ticket, and neither has one whose collection is to be removed first.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn begin_write(&self, documents: &[&QueuedDocument]) -> Result<Vec<WriteTicket>, CatalogueError> {
        let mut tickets = Vec::with_capacity(documents.len());
        let mut transaction = self.write().await?;
        for document in documents {
            if !is_current(&mut transaction, document).await? {
                continue;
            }
            let rows = query("SELECT collection FROM placements WHERE document_id = $1")
                .bind(document.id.as_str())
                .fetch_all(&mut transaction)
                .await?;
            let mut elsewhere = rows.iter().map(|row| collection_name(row, "collection")).collect::<Result<Vec<_>, _>>()?;
            let places = elsewhere.len();
            elsewhere.retain(|place| *place != document.collection);
            let fresh = elsewhere.len() == places;
            if fresh {
                query("INSERT INTO placements (document_id, collection) VALUES ($1, $2)")
                    .bind(document.id.as_str())
                    .bind(document.collection.as_str())
                    .execute(&mut transaction)
                    .await?;
            }
            tickets.push(WriteTicket { seq: document.seq, fresh, elsewhere });
        }
        transaction.commit().await?;
        Ok(tickets)
    }

    /// Notes what became of documents, all at once. One that was submitted again or deleted meanwhile is passed over. A ready one has
    /// chunks in its own collection only; the text of a failed one is kept.
    ///
    /// # Errors
    /// The catalogue cannot be written.
    pub async fn finish(&self, outcomes: &[(&QueuedDocument, Outcome)]) -> Result<(), CatalogueError> {
        let mut transaction = self.write().await?;
        for (document, outcome) in outcomes {
            if !is_current(&mut transaction, document).await? {
                continue;
            }
            let id = document.id.as_str();
            match outcome {
                Outcome::Ready { chunks, tokens } => {
                    query(
                        "UPDATE documents SET status = 'ready', error = NULL, chunks = $1, tokens = $2, updated_at = $3 WHERE id = $4",
                    )
                    .bind(*chunks as i64)
                    .bind(*tokens as i64)
                    .bind(now())
                    .bind(id)
                    .execute(&mut transaction)
                    .await?;
                    query("DELETE FROM outbox WHERE seq = $1").bind(document.seq).execute(&mut transaction).await?;
                    query("DELETE FROM placements WHERE document_id = $1 AND collection <> $2")
                        .bind(id)
                        .bind(document.collection.as_str())
                        .execute(&mut transaction)
                        .await?;
                    settle(&mut transaction, id, Settled::Ready).await?;
                }
                Outcome::Failed { reason } => {
                    query("UPDATE documents SET status = 'failed', error = $1, updated_at = $2 WHERE id = $3")
                        .bind(reason)
                        .bind(now())
                        .bind(id)
                        .execute(&mut transaction)
                        .await?;
                    settle(&mut transaction, id, Settled::Failed(reason)).await?;
                }
            }
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// Numbers of the first of `rows`, at least one, with at most `most` bytes of text together.
fn first_within(rows: &[Row], most: u64) -> Result<Vec<i64>, CatalogueError> {
    let mut total = 0;
    let mut seqs = Vec::new();
    for row in rows {
        total += count(row, "bytes")?;
        if total > most && !seqs.is_empty() {
            break;
        }
        seqs.push(row.try_get("seq")?);
    }
    Ok(seqs)
}

async fn is_current(transaction: &mut Write, document: &QueuedDocument) -> Result<bool, CatalogueError> {
    Ok(query(
        "SELECT EXISTS (SELECT 1 FROM outbox JOIN documents ON documents.id = outbox.document_id \
         WHERE seq = $1 AND status = 'pending' AND collection NOT IN (SELECT name FROM collections WHERE deleting))",
    )
    .bind(document.seq)
    .scalar(&mut *transaction)
    .await?)
}

fn json_names(collections: &[&CollectionName]) -> String {
    Value::from(collections.iter().map(|name| name.as_str()).collect::<Vec<_>>()).to_string()
}

fn queued(row: &Row) -> Result<QueuedDocument, CatalogueError> {
    Ok(QueuedDocument {
        seq: row.try_get("seq")?,
        id: document_id(row, "id")?,
        collection: collection_name(row, "collection")?,
        title: row.try_get("title")?,
        source: row.try_get("source")?,
        metadata: row.try_get("metadata")?,
        text: row.try_get("text")?,
    })
}
