use std::collections::HashMap;

use arrow_array::{ListArray, RecordBatch, UInt32Array, UInt64Array};
use futures::TryStreamExt;
use lance::dataset::ProjectionRequest;
use lancedb::query::{ExecutableQuery, QueryBase, Select};
use sha2::{Digest, Sha256};

use super::database::store;
use super::schema::*;
use super::snapshot::{Snapshot, corrupt};
use super::{DatabaseError, Identity};
use crate::names::{CollectionName, DocumentId};

/// Rows that are read at a time.
const READ_ROWS: usize = 1024;
const ROW_ID: &str = "_rowid";

/// One version of a collection, read as it lies there, whatever identity it was made with: to take it elsewhere, or to make it anew.
pub struct Source {
    snapshot: Snapshot,
    version: u64,
}

/// A document of a [`Source`], and where its chunks lie there.
#[derive(Clone, Debug)]
pub struct SourceDocument {
    pub id: DocumentId,
    /// Ids of the rows, in the order of the chunks.
    rows: Vec<u64>,
}

impl SourceDocument {
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }
}

/// A document with the text that its chunks make up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    pub id: DocumentId,
    pub title: String,
    pub source: String,
    /// A JSON object.
    pub metadata: String,
    pub text: String,
}

/// How large a document is in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentSize {
    pub id: DocumentId,
    pub chunks: u64,
    pub tokens: u64,
}

impl Source {
    /// The newest version of a collection of the database at `uri`; none if there is no such collection.
    ///
    /// # Errors
    /// The place cannot be used, or the collection does not say what it was made with.
    pub async fn open(uri: &str, collection: &CollectionName) -> Result<Option<Self>, DatabaseError> {
        let Some(snapshot) = Snapshot::open(uri, collection).await? else { return Ok(None) };
        let version = snapshot.table.version().await.map_err(|error| store(format!("open collection {collection}"), error))?;
        Ok(Some(Self { snapshot, version }))
    }

    pub fn collection(&self) -> &CollectionName {
        &self.snapshot.collection
    }

    /// What the collection was made with.
    pub fn identity(&self) -> &Identity {
        &self.snapshot.identity
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The documents, in the order in which their first chunks lie in the files, so that reading one after the other jumps little.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn documents(&self) -> Result<Vec<SourceDocument>, DatabaseError> {
        let mut places: HashMap<DocumentId, usize> = HashMap::new();
        let mut chunks: Vec<Vec<(u32, u64)>> = Vec::new();
        let query = self.snapshot.table.query().select(Select::columns(&[DOCUMENT_ID, CHUNK_INDEX])).with_row_id();
        self.scan(&query, |rows| {
            let (ids, indices) = (rows.text(DOCUMENT_ID)?, rows.column::<UInt32Array>(CHUNK_INDEX)?);
            let row_ids: &UInt64Array = rows.column(ROW_ID)?;
            for row in 0..rows.batch.num_rows() {
                let place = *places.entry(rows.document_id(ids.value(row))?).or_insert(chunks.len());
                if place == chunks.len() {
                    chunks.push(Vec::new());
                }
                chunks[place].push((indices.value(row), row_ids.value(row)));
            }
            Ok(())
        })
        .await?;
        let mut ids: Vec<_> = places.into_iter().collect();
        ids.sort_unstable_by_key(|(_, place)| *place);
        let documents = ids.into_iter().zip(chunks).map(|((id, _), mut chunks)| {
            chunks.sort_unstable();
            SourceDocument { id, rows: chunks.into_iter().map(|(_, row)| row).collect() }
        });
        Ok(documents.collect())
    }

    /// For each document a number that changes with its text, its chunks, its title, its source or its metadata.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn fingerprints(&self) -> Result<HashMap<DocumentId, u128>, DatabaseError> {
        let mut fingerprints: HashMap<DocumentId, u128> = HashMap::new();
        let columns = [DOCUMENT_ID, CHUNK_INDEX, NEIGHBOUR, TITLE, SOURCE, METADATA];
        let query = self.snapshot.table.query().select(Select::columns(&columns));
        self.scan(&query, |rows| {
            let (ids, indices) = (rows.text(DOCUMENT_ID)?, rows.column::<UInt32Array>(CHUNK_INDEX)?);
            let texts = [NEIGHBOUR, TITLE, SOURCE, METADATA]
                .map(|column| rows.text(column))
                .into_iter()
                .collect::<Result<Vec<_>, _>>()?;
            for row in 0..rows.batch.num_rows() {
                let mut hasher = Sha256::new();
                hasher.update(indices.value(row).to_le_bytes());
                for text in &texts {
                    hasher.update((text.value(row).len() as u64).to_le_bytes());
                    hasher.update(text.value(row));
                }
                let first = hasher.finalize().first_chunk().copied().expect("a sha256 has 32 bytes");
                // A sum, since rows come in any order.
                let sum = fingerprints.entry(rows.document_id(ids.value(row))?).or_insert(0);
                *sum = sum.wrapping_add(u128::from_le_bytes(first));
            }
            Ok(())
        })
        .await?;
        Ok(fingerprints)
    }

    /// How many chunks and tokens each document has.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn sizes(&self) -> Result<Vec<DocumentSize>, DatabaseError> {
        let mut sizes: HashMap<DocumentId, (u64, u64)> = HashMap::new();
        let query = self.snapshot.table.query().select(Select::columns(&[DOCUMENT_ID, NEIGHBOUR_TOKENS]));
        self.scan(&query, |rows| {
            let (ids, tokens) = (rows.text(DOCUMENT_ID)?, rows.column::<ListArray>(NEIGHBOUR_TOKENS)?);
            for row in 0..rows.batch.num_rows() {
                let size = sizes.entry(rows.document_id(ids.value(row))?).or_default();
                *size = (size.0 + 1, size.1 + tokens.value_length(row) as u64);
            }
            Ok(())
        })
        .await?;
        Ok(sizes.into_iter().map(|(id, (chunks, tokens))| DocumentSize { id, chunks, tokens }).collect())
    }

    /// Columns of the rows with these ids, in this order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn rows(&self, ids: &[u64], columns: &[&str]) -> Result<RecordBatch, DatabaseError> {
        let doing = |error| store(format!("read collection {}", self.collection()), error);
        let Some(dataset) = self.snapshot.table.dataset() else {
            return Err(corrupt(self.collection(), "its rows cannot be read one by one where it lies".to_owned()));
        };
        let dataset = dataset.get().await.map_err(doing)?;
        let projection = dataset.schema().project(columns).map_err(|error| doing(error.into()))?;
        let batch = dataset.take_rows(ids, ProjectionRequest::from_schema(projection)).await;
        let batch = batch.map_err(|error| doing(error.into()))?;
        if batch.num_rows() != ids.len() {
            return Err(corrupt(self.collection(), format!("it gave {} rows of {}", batch.num_rows(), ids.len())));
        }
        Ok(batch)
    }

    /// Documents with the texts that their chunks make up.
    ///
    /// # Errors
    /// The store cannot be read, or the chunks of a document do not tile it.
    pub async fn texts(&self, documents: &[SourceDocument]) -> Result<Vec<SourceText>, DatabaseError> {
        let rows: Vec<(usize, u64)> = documents
            .iter()
            .enumerate()
            .flat_map(|(place, document)| document.rows.iter().map(move |&row| (place, row)))
            .collect();
        let mut texts: Vec<SourceText> = Vec::with_capacity(documents.len());
        for part in rows.chunks(READ_ROWS) {
            let ids: Vec<u64> = part.iter().map(|&(_, row)| row).collect();
            let batch = self.rows(&ids, &[BYTE_START, NEIGHBOUR, TITLE, SOURCE, METADATA]).await?;
            let rows = Rows { collection: self.collection().as_str(), batch: &batch };
            let (starts, chunks) = (rows.column::<UInt64Array>(BYTE_START)?, rows.text(NEIGHBOUR)?);
            let labels = [rows.text(TITLE)?, rows.text(SOURCE)?, rows.text(METADATA)?];
            for (row, &(place, _)) in part.iter().enumerate() {
                let id = &documents[place].id;
                if place == texts.len() {
                    let [title, source, metadata] = labels.map(|label| label.value(row).to_owned());
                    texts.push(SourceText { id: id.clone(), title, source, metadata, text: String::new() });
                }
                let text = &mut texts[place].text;
                if starts.value(row) != text.len() as u64 {
                    return Err(rows.corrupt(format!("the chunks of document {id} do not make up its text")));
                }
                text.push_str(chunks.value(row));
            }
        }
        Ok(texts)
    }

    async fn scan(
        &self,
        query: &impl ExecutableQuery,
        mut take: impl FnMut(&Rows<'_>) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        let doing = |error| store(format!("read collection {}", self.collection()), error);
        let mut batches = query.execute().await.map_err(doing)?;
        while let Some(batch) = batches.try_next().await.map_err(doing)? {
            take(&Rows { collection: self.collection().as_str(), batch: &batch })?;
        }
        Ok(())
    }
}
