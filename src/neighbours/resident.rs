//! Embeddings in memory: an exact search over them takes a fraction of the time that reading them from their files takes.
//!
//! A data file never changes, so its embeddings are read once, whatever happens to the collection; which of its rows are deleted is asked
//! anew for each version.

use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::types::Float32Type;
use arrow_array::{Array, cast::AsArray};
use futures::{StreamExt, TryStreamExt};
use lance::Dataset;
use lance::dataset::fragment::{FileFragment, FragReadConfig};
use lance_linalg::distance::l2::l2_distance_batch_into;

use super::schema::EMBEDDING;
use crate::names::CollectionName;

/// Rows whose distances are computed at a time, for one query after the other: they stay in the nearest cache meanwhile.
const BLOCK: usize = 16;
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

/// A fragment's rows.
struct Rows<D> {
    fragment: u64,
    vectors: Arc<[f32]>,
    deleted: Option<Arc<D>>,
}

impl Resident {
    pub fn new(most_bytes: u64) -> Self {
        Self { most_bytes, held: Mutex::default() }
    }

    /// The rows nearest to each query, nearest first: `count` and those that are as near as the last of them, but at most `most`.
    /// None where the collection does not fit the memory.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn nearest(
        &self,
        collection: &CollectionName,
        dataset: &Arc<Dataset>,
        queries: &[Vec<f32>],
        count: usize,
        most: usize,
    ) -> lance::Result<Option<Vec<Vec<Hit>>>> {
        let Some(fragments) = self.fragments(collection, dataset).await? else {
            return Ok(None);
        };
        let mut rows = Vec::with_capacity(fragments.len());
        for (fragment, vectors) in fragments {
            let deleted = fragment.get_deletion_vector().await?;
            rows.push(Rows { fragment: fragment.id() as u64, vectors, deleted });
        }
        let queries = queries.to_vec();
        let search = move || {
            let mut found: Vec<Nearest> = queries.iter().map(|_| Nearest::new(count, most)).collect();
            for rows in &rows {
                let is_deleted = |row: u32| rows.deleted.as_ref().is_some_and(|deleted| deleted.contains(row));
                scan(rows.fragment, &rows.vectors, is_deleted, &queries, &mut found);
            }
            found.into_iter().map(Nearest::into_hits).collect()
        };
        let found = tokio::task::spawn_blocking(search).await;
        Ok(Some(found.map_err(|panic| lance::Error::internal(panic.to_string()))?))
    }

    /// The fragments of a version with their embeddings.
    async fn fragments(
        &self,
        collection: &CollectionName,
        dataset: &Arc<Dataset>,
    ) -> lance::Result<Option<Vec<(FileFragment, Arc<[f32]>)>>> {
        let Some(field) = dataset.schema().field(EMBEDDING) else {
            return Ok(None);
        };
        let dimension = match field.data_type() {
            arrow_schema::DataType::FixedSizeList(_, dimension) => dimension as u64,
            _ => return Ok(None),
        };
        // Addresses stand for rows only where rows have no other ids.
        if dataset.manifest().uses_stable_row_ids() {
            return Ok(None);
        }
        let fragments = dataset.get_fragments();
        let mut bytes = 0;
        let mut named = Vec::with_capacity(fragments.len());
        for fragment in fragments {
            bytes += fragment.physical_rows().await? as u64 * dimension * size_of::<f32>() as u64;
            let Some(file) = fragment.data_file_for_field(field.id as u32).map(|file| file.path.clone()) else {
                return Ok(None);
            };
            named.push((file, fragment));
        }
        if bytes > self.most_bytes {
            self.lock().collections.remove(collection);
            return Ok(None);
        }
        let known: Vec<Option<Arc<[f32]>>> = {
            let mut held = self.lock();
            held.searches += 1;
            let searches = held.searches;
            let collection = held.collections.entry(collection.clone()).or_default();
            collection.used = searches;
            named.iter().map(|(file, _)| collection.files.get(file).cloned()).collect()
        };
        let mut rows = Vec::with_capacity(named.len());
        let mut read = false;
        for ((_, fragment), known) in named.iter().zip(known) {
            let vectors = match known {
                Some(vectors) => vectors,
                None => {
                    read = true;
                    embeddings(fragment).await?
                }
            };
            rows.push((fragment.clone(), vectors));
        }
        if read {
            let files = named.iter().zip(&rows).map(|((file, _), (_, vectors))| (file.clone(), Arc::clone(vectors))).collect();
            self.keep(collection, files);
        }
        Ok(Some(rows))
    }

    /// Holds what a collection's newest search read, and lets go of files that it has no longer, and of other collections where there is
    /// no room.
    fn keep(&self, collection: &CollectionName, files: HashMap<String, Arc<[f32]>>) {
        let mut held = self.lock();
        let used = held.searches;
        held.collections.insert(collection.clone(), Collection { files, used });
        while held.collections.values().map(Collection::bytes).sum::<u64>() > self.most_bytes {
            let others = held.collections.iter().filter(|(name, _)| *name != collection);
            let Some(oldest) = others.min_by_key(|(_, held)| held.used).map(|(name, _)| name.clone()) else { break };
            held.collections.remove(&oldest);
        }
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
        let lists = batch.column(0).as_fixed_size_list();
        let numbers = lists.values().as_primitive::<Float32Type>();
        let width = lists.value_length() as usize;
        let from = lists.value_offset(0) as usize;
        vectors.extend_from_slice(&numbers.values()[from..from + lists.len() * width]);
    }
    Ok(vectors.into())
}

fn scan(fragment: u64, vectors: &[f32], is_deleted: impl Fn(u32) -> bool, queries: &[Vec<f32>], found: &mut [Nearest]) {
    let Some(dimension) = queries.first().map(Vec::len) else { return };
    let mut distances = [0.0; BLOCK];
    for (block, vectors) in vectors.chunks(BLOCK * dimension).enumerate() {
        let distances = &mut distances[..vectors.len() / dimension];
        for (query, found) in queries.iter().zip(&mut *found) {
            l2_distance_batch_into(query, vectors, dimension, distances);
            for (at, &distance) in distances.iter().enumerate() {
                let row = (block * BLOCK + at) as u32;
                if distance <= found.farthest && !is_deleted(row) {
                    found.add(Hit { distance, address: fragment << 32 | u64::from(row) });
                }
            }
        }
    }
}

/// The nearest rows so far.
struct Nearest {
    count: usize,
    most: usize,
    /// At most `count`, the farthest on top.
    inner: BinaryHeap<Hit>,
    /// Those as far as the farthest of `inner`, where that is full.
    equal: Vec<Hit>,
    /// Distance beyond which a row is none of them.
    farthest: f32,
}

impl Nearest {
    fn new(count: usize, most: usize) -> Self {
        Self { count, most, inner: BinaryHeap::with_capacity(count + 1), equal: Vec::new(), farthest: f32::INFINITY }
    }

    fn add(&mut self, hit: Hit) {
        self.inner.push(hit);
        if self.inner.len() <= self.count {
            if self.inner.len() == self.count {
                self.farthest = self.inner.peek().map_or(f32::INFINITY, |hit| hit.distance);
            }
            return;
        }
        let out = self.inner.pop().expect("it is not empty");
        let farthest = self.inner.peek().map_or(f32::NEG_INFINITY, |hit| hit.distance);
        self.farthest = farthest;
        self.equal.retain(|hit| hit.distance == farthest);
        if out.distance == farthest {
            self.equal.push(out);
        }
    }

    fn into_hits(self) -> Vec<Hit> {
        let mut hits = self.inner.into_sorted_vec();
        hits.extend(self.equal);
        hits.sort_unstable();
        hits.truncate(self.most);
        hits
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_nearest_come_with_all_that_are_as_near_as_the_last() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200 {
            let rows = random.random_range(0..40_usize);
            // Few values, so that many are equally near.
            let vectors: Vec<f32> = (0..2 * rows).map(|_| random.random_range(0..4) as f32).collect();
            let deleted: Vec<bool> = (0..rows).map(|_| random.random_range(0..4) == 0).collect();
            let query = vec![random.random_range(0..4) as f32, 1.0];
            let (count, most) = (random.random_range(1..6), random.random_range(6..12));
            let mut found = [Nearest::new(count, most)];
            scan(7, &vectors, |row| deleted[row as usize], &[query.clone()], &mut found);
            let [found] = found.map(Nearest::into_hits);

            let distance = |row: usize| (vectors[2 * row] - query[0]).powi(2) + (vectors[2 * row + 1] - query[1]).powi(2);
            let mut all: Vec<Hit> = (0..rows)
                .filter(|&row| !deleted[row])
                .map(|row| Hit { distance: distance(row), address: 7 << 32 | row as u64 })
                .collect();
            all.sort();
            if let Some(last) = all.get(count - 1).copied() {
                all.retain(|hit| hit.distance <= last.distance);
            }
            // Which of the equally near are left out where there are too many is open.
            let distances = |hits: &[Hit]| hits.iter().map(|hit| hit.distance).collect::<Vec<_>>();
            assert_eq!(distances(&found), distances(&all)[..all.len().min(most)]);
            if all.len() <= most {
                assert_eq!(found, all);
            }
        }
    }
}
