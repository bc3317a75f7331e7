use std::collections::{BTreeMap, BTreeSet};

use arrow_array::{Float32Array, Int32Array, RecordBatch, UInt32Array, UInt64Array};
use futures::TryStreamExt;
use lance::dataset::ProjectionRequest;
use lancedb::expr::{col, lit};
use lancedb::query::{ExecutableQuery, QueryBase, Select};
use lancedb::{DistanceType, Table};

use super::database::store;
use super::resident::Hit;
use super::schema::*;
use super::{Database, DatabaseError, Neighbour, StoredChunk};
use crate::names::{CollectionName, DocumentId};

const DISTANCE: &str = "_distance";
/// What a search gives of a row, beside its distance.
const COLUMNS: [&str; 9] =
    [DOCUMENT_ID, CHUNK_INDEX, NEIGHBOUR, CONTINUATION, NEIGHBOUR_TOKENS, CONTINUATION_TOKENS, TITLE, SOURCE, METADATA];
/// Rows beyond those asked for, so that rows equally near as the last one can be put in order.
const SPARE: usize = 8;
/// Most rows that are read for one query to find out which of the equally near ones come first.
const MOST_ROWS: usize = 1024;

/// The answer to a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Version of the collection that was searched; 0 if it has never held a chunk.
    pub version: u64,
    /// For each query its neighbours, nearest first.
    pub neighbours: Vec<Vec<Neighbour>>,
}

impl Database {
    /// The `k` chunks nearest to each of `queries`, all in the same version of the collection. The search is exact and its order is fixed:
    /// by distance, then by document id and chunk index.
    ///
    /// # Arguments
    /// * `max_distance` - squared Euclidean distance beyond which a chunk is no neighbour.
    ///
    /// # Errors
    /// A query has another dimension or a number that is not finite; the store cannot be read.
    pub async fn search(
        &self,
        collection: &CollectionName,
        queries: Vec<Vec<f32>>,
        k: usize,
        max_distance: Option<f32>,
    ) -> Result<Found, DatabaseError> {
        for query in &queries {
            self.check_vector(query)?;
        }
        let Some(snapshot) = self.snapshot(collection).await? else {
            return Ok(Found { version: 0, neighbours: vec![Vec::new(); queries.len()] });
        };
        let version = snapshot.version().await.map_err(|e| store(format!("read collection {collection}"), e))?;
        if k == 0 || queries.is_empty() {
            return Ok(Found { version, neighbours: vec![Vec::new(); queries.len()] });
        }
        if let Some(mut neighbours) = self.nearest_in_memory(collection, &snapshot, &queries, k).await? {
            for rows in &mut neighbours {
                rows.truncate(k);
                rows.retain(|row| max_distance.is_none_or(|most| row.distance <= most));
            }
            return Ok(Found { version, neighbours });
        }
        let mut limit = k + SPARE;
        let mut neighbours = loop {
            let found = nearest(&snapshot, collection, &queries, limit).await?;
            // Where all that were read beyond the last place are as near as the one in it, others outside may be as near again.
            let undecided = |rows: &Vec<Neighbour>| rows.len() >= limit && rows[limit - 1].distance == rows[k - 1].distance;
            if limit >= MOST_ROWS || !found.iter().any(undecided) {
                break found;
            }
            limit *= 4;
        };
        for rows in &mut neighbours {
            rows.truncate(k);
            rows.retain(|row| max_distance.is_none_or(|most| row.distance <= most));
        }
        Ok(Found { version, neighbours })
    }

    /// The nearest rows of each query in their fixed order, `k` and those that are as near as the last of them; none where the collection is
    /// too large to be kept in memory.
    async fn nearest_in_memory(
        &self,
        collection: &CollectionName,
        snapshot: &Table,
        queries: &[Vec<f32>],
        k: usize,
    ) -> Result<Option<Vec<Vec<Neighbour>>>, DatabaseError> {
        let doing = |error| store(format!("search collection {collection}"), error);
        let Some(dataset) = snapshot.dataset() else {
            return Ok(None);
        };
        let dataset = dataset.get().await.map_err(doing)?;
        let lance = |error| doing(lancedb::Error::from(error));
        let Some(hits) = self.inner.resident.nearest(collection, &dataset, queries, k, MOST_ROWS).await.map_err(lance)? else {
            return Ok(None);
        };
        let addresses: BTreeSet<u64> = hits.iter().flatten().map(|hit| hit.address).collect();
        let addresses: Vec<u64> = addresses.into_iter().collect();
        let projection = dataset.schema().project(&COLUMNS).map_err(lance)?;
        let batch = dataset.take_rows(&addresses, ProjectionRequest::from_schema(projection)).await.map_err(lance)?;
        let rows = Rows { collection: collection.as_str(), batch: &batch };
        if batch.num_rows() != addresses.len() {
            return Err(rows.corrupt(format!("it gave {} rows of {}", batch.num_rows(), addresses.len())));
        }
        let mut found = Vec::with_capacity(hits.len());
        for hits in &hits {
            let neighbour = |hit: &Hit| {
                let row = addresses.binary_search(&hit.address).expect("every hit's address is among them");
                neighbour(&rows, row, hit.distance)
            };
            let mut neighbours = hits.iter().map(neighbour).collect::<Result<Vec<_>, _>>()?;
            neighbours.sort_by(Neighbour::order);
            found.push(neighbours);
        }
        Ok(Some(found))
    }

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
                let id = DocumentId::parse(DOCUMENT_ID, id).map_err(|e| rows.corrupt(e.to_string()))?;
                *documents.entry(id).or_insert(0) += 1;
            }
        }
        Ok(documents)
    }

    pub(super) fn check_vector(&self, vector: &[f32]) -> Result<(), DatabaseError> {
        let expected = self.inner.identity.dimension;
        if vector.len() != expected {
            return Err(DatabaseError::Dimension { found: vector.len(), expected });
        }
        if vector.iter().all(|number| number.is_finite()) { Ok(()) } else { Err(DatabaseError::NotFinite) }
    }
}

/// At most `limit` rows for each query, in their fixed order; all queries share one scan.
async fn nearest(
    snapshot: &Table,
    collection: &CollectionName,
    queries: &[Vec<f32>],
    limit: usize,
) -> Result<Vec<Vec<Neighbour>>, DatabaseError> {
    let doing = |error| store(format!("search collection {collection}"), error);
    let (first, others) = queries.split_first().expect("at least one query");
    let mut query = snapshot.query().nearest_to(first.as_slice()).map_err(doing)?;
    for other in others {
        query = query.add_query_vector(other.as_slice()).map_err(doing)?;
    }
    let columns = [&COLUMNS[..], &[DISTANCE]].concat();
    let query = query
        .column(EMBEDDING)
        .distance_type(DistanceType::L2)
        .bypass_vector_index()
        .limit(limit)
        .select(Select::columns(&columns));
    let mut found = vec![Vec::new(); queries.len()];
    for batch in run(&query, collection).await? {
        take_neighbours(&Rows { collection: collection.as_str(), batch: &batch }, &mut found)?;
    }
    for rows in &mut found {
        rows.sort_by(Neighbour::order);
    }
    Ok(found)
}

async fn run(query: &impl ExecutableQuery, collection: &CollectionName) -> Result<Vec<RecordBatch>, DatabaseError> {
    let doing = |error| store(format!("search collection {collection}"), error);
    query.execute().await.map_err(doing)?.try_collect().await.map_err(doing)
}

fn take_neighbours(rows: &Rows<'_>, found: &mut [Vec<Neighbour>]) -> Result<(), DatabaseError> {
    // LanceDB leaves the column out where there is one query only.
    let of_query: Option<&Int32Array> = match found.len() {
        1 => None,
        _ => Some(rows.column("query_index")?),
    };
    let distances: &Float32Array = rows.column(DISTANCE)?;
    for row in 0..rows.batch.num_rows() {
        let query = of_query.map_or(0, |column| column.value(row) as usize);
        let list = found.get_mut(query).ok_or_else(|| rows.corrupt(format!("it answered a query {query}")))?;
        list.push(neighbour(rows, row, distances.value(row))?);
    }
    Ok(())
}

fn neighbour(rows: &Rows<'_>, row: usize, distance: f32) -> Result<Neighbour, DatabaseError> {
    let text = |column| rows.text(column).map(|texts| texts.value(row));
    Ok(Neighbour {
        document_id: DocumentId::parse(DOCUMENT_ID, text(DOCUMENT_ID)?).map_err(|e| rows.corrupt(e.to_string()))?,
        chunk_index: rows.column::<UInt32Array>(CHUNK_INDEX)?.value(row),
        distance,
        neighbour: text(NEIGHBOUR)?.to_owned(),
        continuation: text(CONTINUATION)?.to_owned(),
        neighbour_tokens: rows.tokens(NEIGHBOUR_TOKENS, row)?,
        continuation_tokens: rows.tokens(CONTINUATION_TOKENS, row)?,
        title: text(TITLE)?.to_owned(),
        source: text(SOURCE)?.to_owned(),
        metadata: serde_json::from_str(text(METADATA)?).map_err(|e| rows.corrupt(format!("metadata: {e}")))?,
    })
}
