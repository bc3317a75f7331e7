use std::sync::Arc;

use arrow_array::types::{Float32Type, UInt32Type};
use arrow_array::{Array, FixedSizeListArray, ListArray, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};

use super::{DatabaseError, Entry, Identity};
use crate::names::DocumentId;
use crate::text::TokenId;

/// Names the row: `{document_id}#{chunk_index}`. A document id never holds `#`.
pub(super) const KEY: &str = "key";
pub(super) const DOCUMENT_ID: &str = "document_id";
pub(super) const CHUNK_INDEX: &str = "chunk_index";
pub(super) const BYTE_START: &str = "byte_start";
pub(super) const BYTE_END: &str = "byte_end";
pub(super) const NEIGHBOUR: &str = "neighbour";
pub(super) const CONTINUATION: &str = "continuation";
pub(super) const NEIGHBOUR_TOKENS: &str = "neighbour_tokens";
pub(super) const CONTINUATION_TOKENS: &str = "continuation_tokens";
pub(super) const TITLE: &str = "title";
pub(super) const SOURCE: &str = "source";
pub(super) const METADATA: &str = "metadata";
pub(super) const EMBEDDING: &str = "embedding";

pub(super) fn table_schema(identity: &Identity) -> SchemaRef {
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let text = |name| Field::new(name, DataType::Utf8, false);
    let tokens = |name| Field::new(name, DataType::List(item(DataType::UInt32)), false);
    let dimension = i32::try_from(identity.dimension).expect("an embedding has fewer than 2^31 numbers");
    Arc::new(Schema::new_with_metadata(
        vec![
            text(KEY),
            text(DOCUMENT_ID),
            Field::new(CHUNK_INDEX, DataType::UInt32, false),
            Field::new(BYTE_START, DataType::UInt64, false),
            Field::new(BYTE_END, DataType::UInt64, false),
            text(NEIGHBOUR),
            text(CONTINUATION),
            tokens(NEIGHBOUR_TOKENS),
            tokens(CONTINUATION_TOKENS),
            text(TITLE),
            text(SOURCE),
            text(METADATA),
            Field::new(EMBEDDING, DataType::FixedSizeList(item(DataType::Float32), dimension), false),
        ],
        identity.to_metadata(),
    ))
}

/// Rows of `entries`, whose embeddings all have the table's dimension.
pub(super) fn to_batch(schema: &SchemaRef, dimension: usize, entries: &[Entry]) -> Result<RecordBatch, ArrowError> {
    let text = |get: fn(&Entry) -> &str| Arc::new(StringArray::from_iter_values(entries.iter().map(get)));
    let keys = entries.iter().map(|entry| format!("{}#{}", entry.document_id, entry.chunk_index));
    let embeddings = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        entries.iter().map(|entry| Some(entry.embedding.iter().copied().map(Some))),
        dimension as i32,
    );
    RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(StringArray::from_iter_values(keys)),
            text(|entry| entry.document_id.as_str()),
            Arc::new(UInt32Array::from_iter_values(entries.iter().map(|entry| entry.chunk_index))),
            Arc::new(UInt64Array::from_iter_values(entries.iter().map(|entry| entry.byte_start))),
            Arc::new(UInt64Array::from_iter_values(entries.iter().map(|entry| entry.byte_end))),
            text(|entry| &entry.neighbour),
            text(|entry| &entry.continuation),
            token_lists(entries.iter().map(|entry| &entry.neighbour_tokens)),
            token_lists(entries.iter().map(|entry| &entry.continuation_tokens)),
            text(|entry| &entry.title),
            text(|entry| &entry.source),
            text(|entry| &entry.metadata),
            Arc::new(embeddings),
        ],
    )
}

fn token_lists<'a>(lists: impl Iterator<Item = &'a Vec<TokenId>>) -> Arc<ListArray> {
    Arc::new(ListArray::from_iter_primitive::<UInt32Type, _, _>(lists.map(|tokens| Some(tokens.iter().copied().map(Some)))))
}

/// Typed access to the columns of one batch that a query gave.
pub(super) struct Rows<'a> {
    pub collection: &'a str,
    pub batch: &'a RecordBatch,
}

impl Rows<'_> {
    pub fn column<T: Array + 'static>(&self, name: &str) -> Result<&T, DatabaseError> {
        self.batch
            .column_by_name(name)
            .and_then(|column| column.as_any().downcast_ref())
            .ok_or_else(|| self.corrupt(format!("it gave no usable column {name}")))
    }

    pub fn text(&self, name: &str) -> Result<&StringArray, DatabaseError> {
        self.column(name)
    }

    pub fn tokens(&self, name: &str, row: usize) -> Result<Vec<TokenId>, DatabaseError> {
        let list = self.column::<ListArray>(name)?.value(row);
        let tokens: &UInt32Array =
            list.as_any().downcast_ref().ok_or_else(|| self.corrupt(format!("{name} holds no token ids")))?;
        Ok(tokens.values().to_vec())
    }

    pub fn document_id(&self, id: &str) -> Result<DocumentId, DatabaseError> {
        DocumentId::parse(DOCUMENT_ID, id).map_err(|e| self.corrupt(e.to_string()))
    }

    pub fn corrupt(&self, reason: String) -> DatabaseError {
        DatabaseError::Corrupt { collection: self.collection.to_owned(), reason }
    }
}
