//! Embeddings in memory: an exact search over them takes a fraction of the time that reading them from their files takes.
//!
//! A data file never changes, so its embeddings are read once, whatever happens to the collection; which of its rows are deleted is asked
//! anew for each version.

use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, FixedSizeListArray};
use arrow_schema::DataType;
use futures::{StreamExt, TryStreamExt};
use lance::Dataset;
use lance::dataset::fragment::{FileFragment, FragReadConfig};
use lance_linalg::distance::l2::l2_distance_batch_into;
use rayon::prelude::*;

use super::schema::EMBEDDING;
use crate::metrics::{self, Cache};
use crate::names::CollectionName;

/// Rows whose distances are computed at a time, for one query after the other: they stay in the nearest cache meanwhile.
const BLOCK: usize = 16;
/// Rows that a core looks through at a time.
const PART: usize = 2048;
/// Rows that are read from a file at a time.
const READ_ROWS: u32 = 8192;

/// What a search found: the row's address and its squared Euclidean distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hit {
    pub distance: f32,
    pub address: u64,
}

impl Eq for Hit {}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.address.cmp(&other.address))
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The embeddings of the collections that were searched last, within a bound of memory.
pub(super) struct Resident {
    most_bytes: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    collections: HashMap<CollectionName, Collection>,
    searches: u64,
}

impl Held {
    fn bytes(&self) -> u64 {
        self.collections.values().map(Collection::bytes).sum()
    }

    fn tell_size(&self) {
        metrics::get().cache_bytes.of(Cache::Embeddings).set(self.bytes().cast_signed());
    }
}

/// One collection's, by data file.
#[derive(Default)]
struct Collection {
    files: HashMap<String, Arc<[f32]>>,
    /// Number of the search that used it last.
    used: u64,
}

impl Collection {
    fn bytes(&self) -> u64 {
        self.files.values().map(|vectors| size_of_val(&**vectors) as u64).sum()
    }
}

/// A version of a collection, with its embeddings.
pub(super) struct Vectors {
    fragments: Arc<[Rows]>,
}

/// A fragment's rows.
struct Rows {
    fragment: u64,
    vectors: Arc<[f32]>,
    is_deleted: Option<Box<dyn Fn(u32) -> bool + Send + Sync>>,
}

impl Vectors {
    /// At most `limit` rows for each query, nearest first.
    ///
    /// # Errors
    /// The search panics.
    pub async fn nearest(&self, queries: Vec<Vec<f32>>, limit: usize) -> lance::Result<Vec<Vec<Hit>>> {
        let fragments = Arc::clone(&self.fragments);
        let search = move || {
            let Some(dimension) = queries.first().map(Vec::len) else { return Vec::new() };
            let none = || queries.iter().map(|_| Nearest::new(limit)).collect::<Vec<_>>();
            let parts = fragments.par_iter().flat_map(|rows| {
                let parts = rows.vectors.par_chunks(PART * dimension).enumerate();
                parts.map(move |(part, vectors)| (rows, part * PART, vectors))
            });
            let search = |mut found: Vec<Nearest>, (rows, first, vectors): (&Rows, usize, &[f32])| {
                rows.search(first, vectors, &queries, &mut found);
                found
            };
            let found = parts.fold(none, search).reduce(none, |mut found, others| {
                found.iter_mut().zip(others).for_each(|(found, others)| others.hits.into_iter().for_each(|hit| found.take(hit)));
                found
            });
            found.into_iter().map(Nearest::into_hits).collect()
        };
        tokio::task::spawn_blocking(search).await.map_err(|panic| lance::Error::internal(panic.to_string()))
    }
}

impl Resident {
    pub fn new(most_bytes: u64) -> Self {
        Self { most_bytes, held: Mutex::default() }
    }

    pub fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// The embeddings of a version of a collection, read where they are not held; none where they do not fit the memory.
    ///
    /// # Arguments
    /// * `is_newest` - no earlier version was asked for: what is read is held, whatever has to go for it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn vectors(
        &self,
        collection: &CollectionName,
        dataset: &Dataset,
        is_newest: bool,
    ) -> lance::Result<Option<Vectors>> {
        let Some(field) = dataset.schema().field(EMBEDDING) else { return Ok(None) };
        let DataType::FixedSizeList(_, dimension) = field.data_type() else { return Ok(None) };
        // Addresses stand for rows only where rows have no other ids.
        if dataset.manifest().uses_stable_row_ids() {
            return Ok(None);
        }
        let mut bytes = 0;
        let mut named = Vec::new();
        for fragment in dataset.get_fragments() {
            bytes += (fragment.physical_rows().await? * dimension as usize * size_of::<f32>()) as u64;
            let Some(file) = fragment.data_file_for_field(field.id as u32) else { return Ok(None) };
            named.push((file.path.clone(), fragment));
        }
        if bytes > self.most_bytes {
            if is_newest {
                self.forget(collection);
            }
            return Ok(None);
        }
        let known = self.known(collection, named.iter().map(|(file, _)| file));
        let mut fragments = Vec::with_capacity(named.len());
        let mut read = false;
        for ((_, fragment), known) in named.iter().zip(known) {
            read |= known.is_none();
            let vectors = match known {
                Some(vectors) => vectors,
                None => embeddings(fragment).await?,
            };
            let is_deleted: Option<Box<dyn Fn(u32) -> bool + Send + Sync>> = match fragment.get_deletion_vector().await? {
                Some(deleted) => Some(Box::new(move |row| deleted.contains(row))),
                None => None,
            };
            fragments.push(Rows { fragment: fragment.id() as u64, vectors, is_deleted });
        }
        let metrics = metrics::get();
        if read { metrics.cache_misses.of(Cache::Embeddings) } else { metrics.cache_hits.of(Cache::Embeddings) }.inc();
        if read {
            let files = named.into_iter().zip(&fragments).map(|((file, _), rows)| (file, Arc::clone(&rows.vectors)));
            if is_newest {
                self.keep(collection, files.collect());
            } else {
                self.keep_if_room(collection, files.collect());
            }
        }
        Ok(Some(Vectors { fragments: fragments.into() }))
    }

    /// Lets go of a collection.
    pub fn forget(&self, collection: &CollectionName) {
        let mut held = self.lock();
        held.collections.remove(collection);
        held.tell_size();
    }

    /// What is held of a collection's files; it counts as used.
    fn known<'a>(&self, collection: &CollectionName, files: impl Iterator<Item = &'a String>) -> Vec<Option<Arc<[f32]>>> {
        let mut held = self.lock();
        held.searches += 1;
        let searches = held.searches;
        let collection = held.collections.entry(collection.clone()).or_default();
        collection.used = searches;
        files.map(|file| collection.files.get(file).cloned()).collect()
    }

    /// Holds what a collection's newest search read, and lets go of files that it has no longer, and of other collections where there is
    /// no room.
    fn keep(&self, collection: &CollectionName, files: HashMap<String, Arc<[f32]>>) {
        let mut held = self.lock();
        let used = held.searches;
        held.collections.insert(collection.clone(), Collection { files, used });
        while held.bytes() > self.most_bytes {
            let others = held.collections.iter().filter(|(name, _)| *name != collection);
            let Some(oldest) = others.min_by_key(|(_, held)| held.used).map(|(name, _)| name.clone()) else { break };
            held.collections.remove(&oldest);
        }
        held.tell_size();
    }

    /// Holds what a search of an earlier version read, where nothing has to go for it.
    fn keep_if_room(&self, collection: &CollectionName, files: HashMap<String, Arc<[f32]>>) {
        let mut held = self.lock();
        let of_all = held.bytes();
        let collection = held.collections.entry(collection.clone()).or_default();
        let new = files.iter().filter(|(file, _)| !collection.files.contains_key(*file));
        if of_all + new.map(|(_, vectors)| size_of_val(&**vectors) as u64).sum::<u64>() <= self.most_bytes {
            collection.files.extend(files);
        }
        held.tell_size();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All embeddings of a fragment's file, those of deleted rows too.
async fn embeddings(fragment: &FileFragment) -> lance::Result<Arc<[f32]>> {
    let projection = fragment.schema().project(&[EMBEDDING])?;
    let reader = fragment.open(&projection, FragReadConfig::default().with_ignore_deletions(true)).await?;
    let batches: Vec<_> = reader.read_all(READ_ROWS).await?.buffered(1).try_collect().await?;
    let mut vectors = Vec::new();
    for batch in batches {
        vectors.extend_from_slice(embedding_numbers(batch.column(0).as_fixed_size_list()));
    }
    Ok(vectors.into())
}

/// The numbers of embeddings, one after the other.
pub(super) fn embedding_numbers(embeddings: &FixedSizeListArray) -> &[f32] {
    let width = embeddings.value_length() as usize;
    let from = embeddings.value_offset(0) as usize;
    &embeddings.values().as_primitive::<Float32Type>().values()[from..from + embeddings.len() * width]
}

impl Rows {
    /// Looks through those of its embeddings that begin at row `first`.
    fn search(&self, first: usize, vectors: &[f32], queries: &[Vec<f32>], found: &mut [Nearest]) {
        let Some(dimension) = queries.first().map(Vec::len) else { return };
        let is_deleted = |row: u32| self.is_deleted.as_ref().is_some_and(|is_deleted| is_deleted(row));
        let mut distances = [0.0; BLOCK];
        for (block, vectors) in vectors.chunks(BLOCK * dimension).enumerate() {
            let distances = &mut distances[..vectors.len() / dimension];
            for (query, found) in queries.iter().zip(&mut *found) {
                l2_distance_batch_into(query, vectors, dimension, distances);
                for (at, &distance) in distances.iter().enumerate() {
                    let row = (first + block * BLOCK + at) as u32;
                    if found.would_take(distance) && !is_deleted(row) {
                        found.take(Hit { distance, address: self.fragment << 32 | u64::from(row) });
                    }
                }
            }
        }
    }
}

/// The nearest rows so far.
struct Nearest {
    limit: usize,
    /// The farthest on top.
    hits: BinaryHeap<Hit>,
}

impl Nearest {
    fn new(limit: usize) -> Self {
        Self { limit, hits: BinaryHeap::new() }
    }

    fn would_take(&self, distance: f32) -> bool {
        self.hits.len() < self.limit || self.hits.peek().is_some_and(|farthest| distance <= farthest.distance)
    }

    fn take(&mut self, hit: Hit) {
        self.hits.push(hit);
        if self.hits.len() > self.limit {
            self.hits.pop();
        }
    }

    fn into_hits(self) -> Vec<Hit> {
        self.hits.into_sorted_vec()
    }
}
