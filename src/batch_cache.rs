//! What was computed before, kept within a bound of memory, for work that is done in batches.

use std::hash::Hash;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::metrics;

/// Results by what they were computed of.
pub struct BatchCache<K, V> {
    results: Cache<K, V, Weight<K, V>>,
    name: metrics::Cache,
}

/// Bytes of an entry.
struct Weight<K, V>(fn(&K, &V) -> u64);

impl<K, V> Clone for Weight<K, V> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<K, V> Weighter<K, V> for Weight<K, V> {
    fn weight(&self, key: &K, value: &V) -> u64 {
        (self.0)(key, value)
    }
}

impl<K: Clone + Eq + Hash, V: Clone> BatchCache<K, V> {
    /// Keeps up to `bytes` (0: nothing) of entries that have `usual_entry` bytes or so; `weigh` says how many one has.
    pub fn new(name: metrics::Cache, bytes: u64, usual_entry: u64, weigh: fn(&K, &V) -> u64) -> Self {
        let entries = usize::try_from(bytes / usual_entry).unwrap_or(usize::MAX).clamp(1, 1 << 16);
        Self { results: Cache::with_weighter(entries, bytes, Weight(weigh)), name }
    }

    /// The results of all that is wanted, in order. `make` computes those that are not kept, in one batch and in their order.
    ///
    /// # Errors
    /// Those of `make`.
    pub async fn get_or_make<Q, E, F>(&self, wanted: Vec<(K, Q)>, make: impl FnOnce(Vec<Q>) -> F) -> Result<Vec<V>, E>
    where
        F: Future<Output = Result<Vec<V>, E>>,
    {
        let known: Vec<Option<V>> = wanted.iter().map(|(key, _)| self.results.get(key)).collect();
        let (keys, missing): (Vec<K>, Vec<Q>) =
            wanted.into_iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(wanted, _)| wanted).unzip();
        let metrics = metrics::get();
        metrics.cache_hits.of(self.name).inc_by((known.len() - missing.len()) as u64);
        metrics.cache_misses.of(self.name).inc_by(missing.len() as u64);
        let made = if missing.is_empty() { Vec::new() } else { make(missing).await? };
        for (key, value) in keys.into_iter().zip(&made) {
            self.results.insert(key, value.clone());
        }
        metrics.cache_bytes.of(self.name).set(self.results.weight().cast_signed());
        let mut made = made.into_iter();
        Ok(known.into_iter().filter_map(|known| known.or_else(|| made.next())).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::executor::block_on;

    use super::*;

    /// Squares, and which of them had to be computed.
    fn squares(cache: &BatchCache<u32, u32>, wanted: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let mut computed = Vec::new();
        let results = block_on(cache.get_or_make(wanted.iter().map(|&number| (number, number)).collect(), |missing| {
            computed.clone_from(&missing);
            async move { Ok::<_, Infallible>(missing.into_iter().map(|number| number * number).collect()) }
        }));
        (results.unwrap(), computed)
    }

    #[test]
    fn what_is_kept_is_not_computed_again_and_results_keep_their_order() {
        let cache = BatchCache::new(metrics::Cache::Vectors, 1 << 10, 8, |_, _| 8);
        assert_eq!(squares(&cache, &[2, 3]), (vec![4, 9], vec![2, 3]));
        assert_eq!(squares(&cache, &[5, 3, 4, 2]), (vec![25, 9, 16, 4], vec![5, 4]));
        assert_eq!(squares(&cache, &[]), (vec![], vec![]));
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let cache = BatchCache::new(metrics::Cache::Vectors, 0, 8, |_, _| 8);
        assert_eq!(squares(&cache, &[2]), (vec![4], vec![2]));
        assert_eq!(squares(&cache, &[2]), (vec![4], vec![2]));
    }

    #[test]
    fn a_failure_keeps_nothing() {
        let cache: BatchCache<u32, u32> = BatchCache::new(metrics::Cache::Vectors, 1 << 10, 8, |_, _| 8);
        assert_eq!(block_on(cache.get_or_make(vec![(2, 2)], |_| async { Err::<Vec<u32>, _>("no") })), Err("no"));
        assert_eq!(squares(&cache, &[2]), (vec![4], vec![2]));
    }
}
