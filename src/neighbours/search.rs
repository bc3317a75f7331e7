use std::sync::Arc;
use std::time::Instant;

use arrow_array::{FixedSizeListArray, Float32Array, RecordBatch, UInt32Array, UInt64Array};
use lance::Dataset;
use lance::dataset::ProjectionRequest;
use lance_linalg::distance::DistanceType;
use lance_linalg::distance::l2::l2_distance_batch_into;
use lancedb::expr::{DfExpr, col, lit};

use super::collection::dataset;
use super::database::{store, twice};
use super::effort::{Effort, Resolved};
use super::index::{Coverage, coverage};
use super::options::{Nearest, Others};
use super::resident::{Hit, Vectors, embedding_numbers};
use super::schema::*;
use super::snapshot::guarded;
use super::{Database, DatabaseError, Neighbour, SearchOptions};
use crate::names::CollectionName;

const DISTANCE: &str = "_distance";
const ROW_ID: &str = "_rowid";
/// What a search gives of a row, beside its distance.
const COLUMNS: [&str; 9] =
    [DOCUMENT_ID, CHUNK_INDEX, NEIGHBOUR, CONTINUATION, NEIGHBOUR_TOKENS, CONTINUATION_TOKENS, TITLE, SOURCE, METADATA];
/// Rows beyond those asked for, so that rows equally near as the last one can be put in order, and copies be left out.
const SPARE: usize = 2;
/// The same where another search reads all embeddings once more.
const SPARE_OF_A_SCAN: usize = 8;
/// Most rows that are read for one query to find out which of the equally near ones come first.
const MOST_ROWS: usize = 1024;

/// The answer to a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Version of the collection that was searched; 0 before its first.
    pub version: u64,
    /// For each query its neighbours, nearest first.
    pub neighbours: Vec<Vec<Neighbour>>,
}

impl Database {
    /// The chunks nearest to each of `queries` among those that `options` admit, all in the same version of the collection. Their distances
    /// are exact and their order is fixed: by distance, then by document id and chunk index. Where an index serves the search, it may
    /// miss some.
    ///
    /// # Errors
    /// A query has another dimension or a number that is not finite; the version that `options` name is not kept; the store cannot be read.
    pub async fn search(&self, queries: Vec<Vec<f32>>, options: &SearchOptions) -> Result<Found, DatabaseError> {
        for query in &queries {
            self.check_vector(query)?;
        }
        guarded(&options.collection, twice(|| self.search_once(queries.clone(), options))).await?
    }

    async fn search_once(&self, queries: Vec<Vec<f32>>, options: &SearchOptions) -> Result<Found, DatabaseError> {
        let collection = &options.collection;
        let Some(snapshot) = self.searched(options).await? else {
            return Ok(Found { version: 0, neighbours: vec![Vec::new(); queries.len()] });
        };
        let reading = |error| store(format!("search collection {collection}"), error);
        let version = snapshot.version().await.map_err(reading)?;
        if options.neighbours == 0 || queries.is_empty() {
            return Ok(Found { version, neighbours: vec![Vec::new(); queries.len()] });
        }
        let condition = options.condition();
        let dataset = dataset(collection, &snapshot).await?;
        let vectors = match condition {
            None => {
                let vectors = self.inner.resident.vectors(collection, &dataset, options.as_of.is_none()).await;
                vectors.map_err(|error| reading(error.into()))?
            }
            Some(_) => None,
        };
        let effort = options.effort.resolve(Effort::of(&dataset));
        let coverage = match (&vectors, effort) {
            (None, Resolved::Index { .. }) => coverage(&dataset).await.map_err(|error| reading(error.into()))?,
            _ => Coverage::Nothing,
        };
        let scans = vectors.is_none() && coverage == Coverage::Nothing;
        let mut limit = options.neighbours + if scans { SPARE_OF_A_SCAN } else { SPARE };
        let scan = Scan { dataset, collection, condition, vectors, effort, coverage };
        let mut found = scan.nearest(&queries, limit, None, options.neighbours).await?;
        while limit < MOST_ROWS && !found.iter().all(|nearest| options.is_decided(nearest)) {
            limit *= 4;
            found = scan.nearest(&queries, limit, None, limit).await?;
        }
        let mut neighbours = Vec::with_capacity(queries.len());
        for (query, nearest) in queries.into_iter().zip(found) {
            neighbours.push(scan.choose(query, nearest, limit, options).await?);
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

/// The rows that a search looks at.
struct Scan<'a> {
    dataset: Arc<Dataset>,
    collection: &'a CollectionName,
    condition: Option<DfExpr>,
    /// The embeddings, where they are in memory and there is no condition.
    vectors: Option<Vectors>,
    effort: Resolved,
    /// What an index covers, where this search uses one.
    coverage: Coverage,
}

impl Scan<'_> {
    /// The neighbours of one query among its `limit` nearest rows, and beyond them where copies of few texts have taken their places.
    async fn choose(
        &self,
        query: Vec<f32>,
        nearest: Nearest,
        limit: usize,
        options: &SearchOptions,
    ) -> Result<Vec<Neighbour>, DatabaseError> {
        let mut has_all = options.has_all(&nearest);
        let mut rows = nearest.rows;
        let query = [query];
        loop {
            rows = options.chosen(&rows).into_iter().map(|place| rows[place].clone()).collect();
            if has_all || rows.len() == options.neighbours {
                return Ok(rows);
            }
            // Each text that was found is among those chosen, so every round finds another one or ends.
            let texts = rows.iter().map(|row| lit(row.neighbour.as_str())).collect();
            let unlike = Some(col(NEIGHBOUR).in_list(texts, true));
            for others in self.nearest(&query, limit, unlike, limit).await? {
                has_all = options.has_all(&others);
                rows.extend(others.rows);
            }
            rows.sort_by(Neighbour::order);
        }
    }

    /// The first of the `limit` rows nearest to each query.
    ///
    /// # Arguments
    /// * `distances` - how many different distances the rows that are read have, if there are so many: copies of a text are equally near,
    ///   so as a rule that many texts are among them.
    async fn nearest(
        &self,
        queries: &[Vec<f32>],
        limit: usize,
        condition: Option<DfExpr>,
        distances: usize,
    ) -> Result<Vec<Nearest>, DatabaseError> {
        let doing = |error: lance::Error| store(format!("search collection {}", self.collection), error.into());
        let began = Instant::now();
        let hits = match (&self.vectors, condition) {
            (Some(vectors), None) => vectors.nearest(queries.to_vec(), limit).await.map_err(doing)?,
            (_, condition) => self.hits_in_files(queries, limit, condition).await?,
        };
        let read: Vec<&[Hit]> = hits.iter().map(|hits| first(hits, distances)).collect();
        let mut addresses: Vec<u64> = read.iter().flat_map(|hits| hits.iter()).map(|hit| hit.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let searched = began.elapsed();
        let batch = self.take(&addresses, &COLUMNS).await?;
        tracing::trace!(queries = queries.len(), limit, ?searched, rows = ?began.elapsed() - searched, "searched");
        let rows = Rows { collection: self.collection.as_str(), batch: &batch };
        let found = hits.iter().zip(read).map(|(hits, read)| {
            let row = |hit: &Hit| addresses.binary_search(&hit.address).expect("every hit's address is among them");
            let found: Result<Vec<_>, _> = read.iter().map(|hit| neighbour(&rows, row(hit), hit.distance)).collect();
            let mut found = found?;
            found.sort_by(Neighbour::order);
            let others = match read.len() {
                read if read < hits.len() => Others::Farther,
                read if read < limit => Others::None,
                _ => Others::NoNearer,
            };
            Ok(Nearest { rows: found, others })
        });
        found.collect()
    }

    /// Columns of the rows at these addresses, which ascend, in their order.
    async fn take(&self, addresses: &[u64], columns: &[&str]) -> Result<RecordBatch, DatabaseError> {
        let doing = |error: lance::Error| store(format!("search collection {}", self.collection), error.into());
        let projection = self.dataset.schema().project(columns).map_err(doing)?;
        let batch = self.dataset.take_rows(addresses, ProjectionRequest::from_schema(projection)).await.map_err(doing)?;
        if batch.num_rows() != addresses.len() {
            let rows = Rows { collection: self.collection.as_str(), batch: &batch };
            return Err(rows.corrupt(format!("it gave {} rows of {}", batch.num_rows(), addresses.len())));
        }
        Ok(batch)
    }

    /// What Lance finds, by the index or in the files, nearest first: each query by a plan of its own, side by side. LanceDB's own query
    /// takes two milliseconds more for the same.
    async fn hits_in_files(
        &self,
        queries: &[Vec<f32>],
        limit: usize,
        condition: Option<DfExpr>,
    ) -> Result<Vec<Vec<Hit>>, DatabaseError> {
        // The condition comes before the distance: neighbours that fulfil it are found wherever they are.
        let condition = self.condition.clone().into_iter().chain(condition).reduce(DfExpr::and);
        let searches = queries.iter().map(|query| self.hits_of(query, limit, condition.clone()));
        futures::future::try_join_all(searches).await
    }

    async fn hits_of(&self, query: &[f32], limit: usize, condition: Option<DfExpr>) -> Result<Vec<Hit>, DatabaseError> {
        let doing = |error: lance::Error| store(format!("search collection {}", self.collection), error.into());
        let mut scanner = self.dataset.scan();
        // Where the index covers all, the exact distances are computed here, which saves a good part of the plan. Else they have to be
        // known before what the index finds and what it does not cover are put together.
        let covers_all = self.coverage == Coverage::All;
        let (candidates, in_plan) = match self.effort {
            Resolved::Index { refine, .. } if covers_all => (limit * refine as usize, None),
            Resolved::Index { refine, .. } => (limit, Some(refine)),
            Resolved::Exact => (limit, None),
        };
        let key = Float32Array::from(query.to_vec());
        scanner.prefilter(true).nearest(EMBEDDING, &key, candidates).map_err(doing)?.distance_metric(DistanceType::L2);
        match self.effort {
            Resolved::Exact => scanner.use_index(false),
            Resolved::Index { nprobes, .. } => scanner.minimum_nprobes(nprobes),
        };
        if let Some(refine) = in_plan {
            scanner.refine(refine);
        }
        if let Some(condition) = condition {
            scanner.filter_expr(condition);
        }
        scanner.project(&[DISTANCE]).map_err(doing)?.with_row_id();
        let batch = scanner.try_into_batch().await.map_err(doing)?;
        let rows = Rows { collection: self.collection.as_str(), batch: &batch };
        let (distances, addresses): (&Float32Array, &UInt64Array) = (rows.column(DISTANCE)?, rows.column(ROW_ID)?);
        if covers_all {
            let mut hits = self.exact(query, addresses.values().to_vec()).await?;
            hits.truncate(limit);
            return Ok(hits);
        }
        let hits = addresses.values().iter().zip(distances.values());
        Ok(hits.map(|(&address, &distance)| Hit { distance, address }).collect())
    }

    /// The rows at `addresses`, nearest first.
    async fn exact(&self, query: &[f32], mut addresses: Vec<u64>) -> Result<Vec<Hit>, DatabaseError> {
        addresses.sort_unstable();
        let batch = self.take(&addresses, &[EMBEDDING]).await?;
        let embeddings =
            Rows { collection: self.collection.as_str(), batch: &batch }.column::<FixedSizeListArray>(EMBEDDING)?.clone();
        let mut distances = vec![0.0; addresses.len()];
        l2_distance_batch_into(query, embedding_numbers(&embeddings), query.len(), &mut distances);
        let mut hits: Vec<Hit> =
            addresses.into_iter().zip(distances).map(|(address, distance)| Hit { distance, address }).collect();
        hits.sort_unstable();
        Ok(hits)
    }
}

/// The first of `hits`, which come nearest first: so many that they have as many different distances, and all that are as near as the last.
fn first(hits: &[Hit], distances: usize) -> &[Hit] {
    let mut groups = hits.chunk_by(|one, next| one.distance == next.distance);
    let length = groups.by_ref().take(distances).map(<[Hit]>::len).sum();
    &hits[..length]
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
