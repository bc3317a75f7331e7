use arrow_array::{Array, Float32Array, Int32Array, UInt32Array};
use lancedb::query::{QueryBase, Select};
use lancedb::{DistanceType, Table};

use super::database::store;
use super::read::run;
use super::schema::*;
use super::{Database, DatabaseError, Neighbour};
use crate::names::{CollectionName, DocumentId};

const DISTANCE: &str = "_distance";
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
    let query =
        query.column(EMBEDDING).distance_type(DistanceType::L2).bypass_vector_index().limit(limit).select(Select::columns(&[
            DOCUMENT_ID,
            CHUNK_INDEX,
            NEIGHBOUR,
            CONTINUATION,
            NEIGHBOUR_TOKENS,
            CONTINUATION_TOKENS,
            TITLE,
            SOURCE,
            METADATA,
            DISTANCE,
        ]));
    let mut found = vec![Vec::new(); queries.len()];
    for batch in run(&query, collection).await? {
        take_neighbours(&Rows { collection: collection.as_str(), batch: &batch }, &mut found)?;
    }
    for rows in &mut found {
        rows.sort_by(Neighbour::order);
    }
    Ok(found)
}

fn take_neighbours(rows: &Rows<'_>, found: &mut [Vec<Neighbour>]) -> Result<(), DatabaseError> {
    // LanceDB leaves the column out where there is one query only.
    let of_query: Option<&Int32Array> = match found.len() {
        1 => None,
        _ => Some(rows.column("query_index")?),
    };
    let (ids, indices) = (rows.text(DOCUMENT_ID)?, rows.column::<UInt32Array>(CHUNK_INDEX)?);
    let distances: &Float32Array = rows.column(DISTANCE)?;
    let (neighbours, continuations) = (rows.text(NEIGHBOUR)?, rows.text(CONTINUATION)?);
    let (titles, sources, metadata) = (rows.text(TITLE)?, rows.text(SOURCE)?, rows.text(METADATA)?);
    for row in 0..ids.len() {
        let query = of_query.map_or(0, |column| column.value(row) as usize);
        let list = found.get_mut(query).ok_or_else(|| rows.corrupt(format!("it answered a query {query}")))?;
        list.push(Neighbour {
            document_id: DocumentId::parse(DOCUMENT_ID, ids.value(row)).map_err(|e| rows.corrupt(e.to_string()))?,
            chunk_index: indices.value(row),
            distance: distances.value(row),
            neighbour: neighbours.value(row).to_owned(),
            continuation: continuations.value(row).to_owned(),
            neighbour_tokens: rows.tokens(NEIGHBOUR_TOKENS, row)?,
            continuation_tokens: rows.tokens(CONTINUATION_TOKENS, row)?,
            title: titles.value(row).to_owned(),
            source: sources.value(row).to_owned(),
            metadata: serde_json::from_str(metadata.value(row)).map_err(|e| rows.corrupt(format!("metadata: {e}")))?,
        });
    }
    Ok(())
}
