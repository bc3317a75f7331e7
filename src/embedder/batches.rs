use std::ops::Range;

/// Most padded tokens in one run of the graph: larger batches are no faster, and their buffers leave the processor's caches.
const MAX_PADDED_TOKENS: usize = 1024;

/// Batches of texts with similar lengths: `order` holds the texts' places by length, each range of it is a batch.
pub(super) struct Batches {
    pub order: Vec<usize>,
    pub ranges: Vec<Range<usize>>,
}

/// Sorts by length and cuts so that a batch, padded to its longest text, stays within the limit (one text always fits).
pub(super) fn by_length(lengths: &[usize]) -> Batches {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&at| lengths[at]);
    let mut ranges = Vec::new();
    let mut start = 0;
    for end in 1..=order.len() {
        let full = end == order.len() || lengths[order[end]] * (end + 1 - start) > MAX_PADDED_TOKENS;
        if full {
            ranges.push(start..end);
            start = end;
        }
    }
    Batches { order, ranges }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_in_one_batch_and_no_batch_is_too_large() {
        let lengths: Vec<usize> = (0..500).map(|i| (i * 37) % 510 + 2).collect();
        let batches = by_length(&lengths);
        let mut seen = batches.order.clone();
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
        assert_eq!(batches.ranges.first().unwrap().start, 0);
        assert_eq!(batches.ranges.last().unwrap().end, 500);
        for range in &batches.ranges {
            let longest = lengths[batches.order[range.end - 1]];
            assert!(range.len() == 1 || longest * range.len() <= MAX_PADDED_TOKENS);
        }
        assert!(batches.ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(by_length(&[]).ranges.is_empty());
    }
}
