use arrow_array::{Float32Array, Int32Array, UInt32Array};
use lancedb::expr::{DfExpr, col, lit};
use lancedb::query::{QueryBase, Select};
use lancedb::{DistanceType, Table};

use super::database::store;
use super::read::run;
use super::resident::{Hit, Vectors};
use super::schema::*;
use super::{Database, DatabaseError, Neighbour, SearchOptions};
use crate::names::CollectionName;

const DISTANCE: &str = "_distance";
/// What a search gives of a row, beside its distance.
const COLUMNS: [&str; 9] =
    [DOCUMENT_ID, CHUNK_INDEX, NEIGHBOUR, CONTINUATION, NEIGHBOUR_TOKENS, CONTINUATION_TOKENS, TITLE, SOURCE, METADATA];
/// Rows beyond those asked for, so that rows equally near as the last one can be put in order, and copies be left out.
const SPARE: usize = 8;
/// The same where another search costs little.
const SPARE_IN_MEMORY: usize = 2;
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
    /// The chunks nearest to each of `queries` among those that `options` admit, all in the same version of the collection. The search is
    /// exact and its order is fixed: by distance, then by document id and chunk index.
    ///
    /// # Errors
    /// A query has another dimension or a number that is not finite; the store cannot be read.
    pub async fn search(&self, queries: Vec<Vec<f32>>, options: &SearchOptions) -> Result<Found, DatabaseError> {
        for query in &queries {
            self.check_vector(query)?;
        }
        let collection = &options.collection;
        let Some(snapshot) = self.snapshot(collection).await? else {
            return Ok(Found { version: 0, neighbours: vec![Vec::new(); queries.len()] });
        };
        let version = snapshot.version().await.map_err(|e| store(format!("read collection {collection}"), e))?;
        if options.neighbours == 0 || queries.is_empty() {
            return Ok(Found { version, neighbours: vec![Vec::new(); queries.len()] });
        }
        let condition = options.condition();
        let vectors = match condition {
            None => self.vectors(collection, &snapshot).await?,
            Some(_) => None,
        };
        let mut limit = options.neighbours + if vectors.is_some() { SPARE_IN_MEMORY } else { SPARE };
        let scan = Scan { snapshot, collection, condition, vectors };
        let found = loop {
            let found = scan.nearest(&queries, limit, None).await?;
            if limit >= MOST_ROWS || found.iter().all(|rows| options.is_decided(rows, limit)) {
                break found;
            }
            limit *= 4;
        };
        let mut neighbours = Vec::with_capacity(queries.len());
        for (query, rows) in queries.into_iter().zip(found) {
            neighbours.push(scan.choose(query, rows, limit, options).await?);
        }
        Ok(Found { version, neighbours })
    }

    /// The collection's embeddings, where they fit the memory that is for them.
    async fn vectors(&self, collection: &CollectionName, snapshot: &Table) -> Result<Option<Vectors>, DatabaseError> {
        let doing = |error| store(format!("search collection {collection}"), error);
        let Some(dataset) = snapshot.dataset() else { return Ok(None) };
        let dataset = dataset.get().await.map_err(doing)?;
        self.inner.resident.vectors(collection, dataset).await.map_err(|error| doing(error.into()))
    }

    pub(super) fn check_vector(&self, vector: &[f32]) -> Result<(), DatabaseError> {
        let expected = self.inner.identity.dimension;
        if vector.len() != expected {
            return Err(DatabaseError::Dimension { found: vector.len(), expected });
        }
        if vector.iter().all(|number| number.is_finite()) { Ok(()) } else { Err(DatabaseError::NotFinite) }
    }
}

/// The rows that a search looks at.
struct Scan<'a> {
    snapshot: Table,
    collection: &'a CollectionName,
    condition: Option<DfExpr>,
    /// The embeddings, where they are in memory and there is no condition.
    vectors: Option<Vectors>,
}

impl Scan<'_> {
    /// The neighbours of one query among its `limit` nearest rows, and beyond them where copies of few texts have taken their places.
    async fn choose(
        &self,
        query: Vec<f32>,
        mut rows: Vec<Neighbour>,
        limit: usize,
        options: &SearchOptions,
    ) -> Result<Vec<Neighbour>, DatabaseError> {
        let mut has_all = options.has_all(&rows, limit);
        let query = [query];
        loop {
            rows = options.chosen(&rows).into_iter().map(|place| rows[place].clone()).collect();
            if has_all || rows.len() == options.neighbours {
                return Ok(rows);
            }
            // Each text that was found is among those chosen, so every round finds another one or ends.
            let texts = rows.iter().map(|row| lit(row.neighbour.as_str())).collect();
            let others = self.nearest(&query, limit, Some(col(NEIGHBOUR).in_list(texts, true))).await?.concat();
            has_all = options.has_all(&others, limit);
            rows.extend(others);
            rows.sort_by(Neighbour::order);
        }
    }

    /// At most `limit` rows for each query, in their fixed order; all queries share one scan.
    async fn nearest(
        &self,
        queries: &[Vec<f32>],
        limit: usize,
        condition: Option<DfExpr>,
    ) -> Result<Vec<Vec<Neighbour>>, DatabaseError> {
        if let (Some(vectors), None) = (&self.vectors, &condition) {
            return self.nearest_in_memory(vectors, queries, limit).await;
        }
        let doing = |error| store(format!("search collection {}", self.collection), error);
        let (first, others) = queries.split_first().expect("at least one query");
        let mut query = self.snapshot.query().nearest_to(first.as_slice()).map_err(doing)?;
        for other in others {
            query = query.add_query_vector(other.as_slice()).map_err(doing)?;
        }
        // The condition comes before the distance: neighbours that fulfil it are found wherever they are.
        if let Some(condition) = self.condition.clone().into_iter().chain(condition).reduce(DfExpr::and) {
            query = query.only_if_expr(condition);
        }
        let columns = [&COLUMNS[..], &[DISTANCE]].concat();
        let query = query.column(EMBEDDING).distance_type(DistanceType::L2).bypass_vector_index().limit(limit);
        let query = query.select(Select::columns(&columns));
        let mut found = vec![Vec::new(); queries.len()];
        for batch in run(&query, self.collection).await? {
            take_neighbours(&Rows { collection: self.collection.as_str(), batch: &batch }, &mut found)?;
        }
        for rows in &mut found {
            rows.sort_by(Neighbour::order);
        }
        Ok(found)
    }

    async fn nearest_in_memory(
        &self,
        vectors: &Vectors,
        queries: &[Vec<f32>],
        limit: usize,
    ) -> Result<Vec<Vec<Neighbour>>, DatabaseError> {
        let doing = |error: lance::Error| store(format!("search collection {}", self.collection), error.into());
        let hits = vectors.nearest(queries.to_vec(), limit).await.map_err(doing)?;
        let mut addresses: Vec<u64> = hits.iter().flatten().map(|hit| hit.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let batch = vectors.rows(&addresses, &COLUMNS).await.map_err(doing)?;
        let rows = Rows { collection: self.collection.as_str(), batch: &batch };
        if batch.num_rows() != addresses.len() {
            return Err(rows.corrupt(format!("it gave {} rows of {}", batch.num_rows(), addresses.len())));
        }
        let found = hits.iter().map(|hits| {
            let row = |hit: &Hit| addresses.binary_search(&hit.address).expect("every hit's address is among them");
            let found: Result<Vec<_>, _> = hits.iter().map(|hit| neighbour(&rows, row(hit), hit.distance)).collect();
            found.map(|mut found| {
                found.sort_by(Neighbour::order);
                found
            })
        });
        found.collect()
    }
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
        document_id: rows.document_id(text(DOCUMENT_ID)?)?,
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
