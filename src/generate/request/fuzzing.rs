//! What a request that was checked promises.

use super::{Limits, ValidCompletion, ValidScore};
use crate::neighbours::SearchOptions;

impl ValidCompletion {
    /// # Panics
    /// It promises too much.
    pub(crate) fn assert_within(&self, limits: &Limits) {
        assert!(!self.prompt.is_empty() && self.max_tokens > 0 && self.prompt.len() + self.max_tokens <= limits.context);
        assert!((1..=limits.max_n).contains(&self.choices) && self.stop.iter().all(|stop| !stop.is_empty()));
        let sampling = &self.sampling;
        assert!((0.0..=2.0).contains(&sampling.temperature) && sampling.top_p > 0.0 && sampling.top_p <= 1.0);
        assert!((0.0..=1.0).contains(&sampling.min_p) && (0.5..=2.0).contains(&sampling.repetition_penalty));
        assert!(self.prompt_chunks() <= self.prompt.len());
        search_within(self.search(), limits);
    }
}

impl ValidScore {
    /// # Panics
    /// It promises too much.
    pub(crate) fn assert_within(&self, limits: &Limits) {
        assert!((1..self.tokens.len()).contains(&self.given) && self.tokens.len() <= limits.context + 1);
        search_within(self.search(), limits);
    }
}

fn search_within(search: Option<&SearchOptions>, limits: &Limits) {
    let Some(search) = search else { return };
    assert!(search.neighbours <= limits.max_neighbours);
    assert!(search.max_distance.is_none_or(|distance| (0.0..=4.0).contains(&distance)));
}
