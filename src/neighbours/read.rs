use std::collections::BTreeMap;

use arrow_array::{RecordBatch, UInt32Array, UInt64Array};
use futures::TryStreamExt;
use lancedb::expr::{col, lit};
use lancedb::query::{ExecutableQuery, QueryBase, Select};

use super::database::store;
use super::schema::*;
use super::{Database, DatabaseError, StoredChunk};
use crate::names::{CollectionName, DocumentId};

impl Database {
    /// The chunks of a document in order; none if the collection holds no such document.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn document_chunks(
        &self,
        collection: &CollectionName,
        document: &DocumentId,
    ) -> Result<Vec<StoredChunk>, DatabaseError> {
        let Some(snapshot) = self.snapshot(collection).await? else {
            return Ok(Vec::new());
        };
        let query = snapshot.query().only_if_expr(col(DOCUMENT_ID).eq(lit(document.as_str()))).select(Select::columns(&[
            CHUNK_INDEX,
            BYTE_START,
            BYTE_END,
            NEIGHBOUR,
            NEIGHBOUR_TOKENS,
        ]));
        let mut chunks = Vec::new();
        for batch in run(&query, collection).await? {
            let rows = Rows { collection: collection.as_str(), batch: &batch };
            let indices: &UInt32Array = rows.column(CHUNK_INDEX)?;
            let (starts, ends) = (rows.column::<UInt64Array>(BYTE_START)?, rows.column::<UInt64Array>(BYTE_END)?);
            let texts = rows.text(NEIGHBOUR)?;
            for row in 0..batch.num_rows() {
                chunks.push(StoredChunk {
                    chunk_index: indices.value(row),
                    byte_start: starts.value(row),
                    byte_end: ends.value(row),
                    text: texts.value(row).to_owned(),
                    tokens: rows.tokens(NEIGHBOUR_TOKENS, row)?,
                });
            }
        }
        chunks.sort_by_key(|chunk| chunk.chunk_index);
        Ok(chunks)
    }

    /// The documents of a collection, each with the number of its chunks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn documents(&self, collection: &CollectionName) -> Result<BTreeMap<DocumentId, usize>, DatabaseError> {
        let mut documents = BTreeMap::new();
        let Some(snapshot) = self.snapshot(collection).await? else {
            return Ok(documents);
        };
        let query = snapshot.query().select(Select::columns(&[DOCUMENT_ID]));
        for batch in run(&query, collection).await? {
            let rows = Rows { collection: collection.as_str(), batch: &batch };
            for id in rows.text(DOCUMENT_ID)?.iter().flatten() {
                *documents.entry(rows.document_id(id)?).or_insert(0) += 1;
            }
        }
        Ok(documents)
    }
}

pub(super) async fn run(query: &impl ExecutableQuery, collection: &CollectionName) -> Result<Vec<RecordBatch>, DatabaseError> {
    let doing = |error| store(format!("search collection {collection}"), error);
    query.execute().await.map_err(doing)?.try_collect().await.map_err(doing)
}
