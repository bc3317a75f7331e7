use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Things that a process has once, by what they are made of, for as long as anything uses them.
pub(super) struct Shared<K, V>(Mutex<Option<HashMap<K, Weak<V>>>>);

impl<K: Eq + Hash, V> Shared<K, V> {
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The one that is there, or a new one.
    pub fn get_or_make<E>(&self, key: K, make: impl FnOnce(&K) -> Result<V, E>) -> Result<Arc<V>, E> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.get_or_insert_default();
        held.retain(|_, value| value.strong_count() > 0);
        if let Some(value) = held.get(&key).and_then(Weak::upgrade) {
            return Ok(value);
        }
        let value = Arc::new(make(&key)?);
        held.insert(key, Arc::downgrade(&value));
        Ok(value)
    }
}
