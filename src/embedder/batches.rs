/// Places of texts by their lengths, shortest first, from which batches of similar lengths are taken.
pub(super) struct Batches<'a> {
    lengths: &'a [usize],
    order: Vec<usize>,
    taken: usize,
}

impl<'a> Batches<'a> {
    pub fn of(lengths: &'a [usize]) -> Self {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&at| lengths[at]);
        Self { lengths, order, taken: 0 }
    }

    /// The places of as many texts as have at most so many tokens when each is padded to the longest of them, one at least; none after the
    /// last.
    pub fn next(&mut self, most_padded_tokens: usize) -> Option<&[usize]> {
        let left = &self.order[self.taken..];
        if left.is_empty() {
            return None;
        }
        let larger = (1..left.len()).find(|&number| self.lengths[left[number]] * (number + 1) > most_padded_tokens);
        let count = larger.unwrap_or(left.len());
        self.taken += count;
        Some(&left[..count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_in_one_batch_and_no_batch_is_too_large() {
        let lengths: Vec<usize> = (0..500).map(|i| (i * 37) % 510 + 2).collect();
        let mut batches = Batches::of(&lengths);
        let mut seen = Vec::new();
        for most in [1024, 256].into_iter().cycle() {
            let Some(places) = batches.next(most) else { break };
            let longest = places.iter().map(|&at| lengths[at]).max().unwrap();
            assert!(places.len() == 1 || longest * places.len() <= most);
            assert!(seen.iter().all(|&earlier: &usize| lengths[earlier] <= lengths[places[0]]), "shortest first");
            seen.extend_from_slice(places);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
        assert_eq!(Batches::of(&[]).next(1024), None);
    }

    #[test]
    fn a_batch_is_as_large_as_the_limit_allows() {
        let mut batches = Batches::of(&[66; 40]);
        assert_eq!(batches.next(1024).map(<[usize]>::len), Some(15));
        assert_eq!(batches.next(256).map(<[usize]>::len), Some(3));
        assert_eq!(batches.next(10).map(<[usize]>::len), Some(1));
    }
}
