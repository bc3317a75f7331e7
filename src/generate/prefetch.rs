use std::ops::Range;
use std::sync::Arc;

use super::events::ChunkRetrieval;
use super::lookup::Found;
use crate::model::EncodedNeighbours;
use crate::text::{CHUNK_LENGTH, Grid};

/// The look-ups of a sequence that waits for none of them after its prompt (PipeRAG, arXiv 2403.05676).
///
/// A look-up is for a boundary, the end of a chunk. It begins twice as many tokens before it as the last one took, with the tokens of that
/// moment. What it finds is attended from the first boundary on at which it is there.
#[derive(Clone)]
pub(super) struct Prefetch {
    grid: Grid,
    /// Tokens of the sequence at its end, at most.
    most: usize,
    /// Tokens that the query of the look-up under way ended at.
    asked: Option<usize>,
    arrived: Option<Arrived>,
    /// Since the last boundary.
    attended: Option<Arc<EncodedNeighbours>>,
    /// Tokens from the beginning of a look-up to its boundary.
    lead: usize,
    /// Chunks before it are not looked up again.
    next: usize,
}

/// What no token attends yet.
#[derive(Clone)]
struct Arrived {
    asked: usize,
    found: Found,
}

/// The end of a chunk of a sequence.
pub(super) struct Boundary {
    pub chunk: usize,
    /// What is attended from here on.
    pub neighbours: Option<Arc<EncodedNeighbours>>,
    /// None where they are those of the last boundary.
    pub news: Option<ChunkRetrieval>,
}

impl Prefetch {
    pub fn new(grid: Grid, most: usize) -> Self {
        // How long a look-up takes is not known yet: the first begins at once.
        Self { grid, most, asked: None, arrived: None, attended: None, lead: CHUNK_LENGTH, next: 0 }
    }

    /// Takes the neighbours that the prompt ends with.
    pub fn attend(&mut self, neighbours: Option<Arc<EncodedNeighbours>>) {
        self.attended = neighbours;
    }

    /// Where it is time to begin a look-up, the chunk at whose end it is wanted, and the tokens to ask with. The model has run over `run` tokens.
    pub fn begin(&mut self, run: usize) -> Option<(usize, Range<usize>)> {
        // The next boundary has neighbours where some wait for it.
        let chunk = self.grid.complete_chunks(run) + usize::from(self.arrived.is_some());
        let end = self.grid.end(chunk);
        // The last token of all is sampled, and attends nothing.
        if self.asked.is_some() || chunk < self.next || end >= self.most || run + self.lead < end {
            return None;
        }
        self.asked = Some(run);
        Some((chunk, run.saturating_sub(CHUNK_LENGTH)..run))
    }

    /// Takes an answer, which arrives when the model has run over `run` tokens. Gives what is to be said at once: that it failed.
    pub fn arrive(&mut self, run: usize, found: Found) -> Option<ChunkRetrieval> {
        let asked = self.asked.take()?;
        if found.error.is_some() {
            // What fails is asked again for the next boundary, and not at the next token.
            let chunk = found.chunk;
            self.next = chunk + 1;
            return Some(found.told(chunk, 0));
        }
        let took = run - asked;
        // Twice, since the next may take longer. The boundary's own token is known one step before it runs.
        self.lead = 2 * took + 2;
        self.arrived = Some(Arrived { asked, found });
        None
    }

    /// The boundary that the last of `length` tokens makes, if it makes one: to be asked once for each length.
    pub fn boundary(&mut self, length: usize) -> Option<Boundary> {
        let chunk = self.grid.complete_chunks(length - 1);
        if self.grid.end(chunk) != length {
            return None;
        }
        let news = self.arrived.take().map(|Arrived { asked, found }| {
            self.attended = found.encoded.clone();
            found.told(chunk, length - asked)
        });
        Some(Boundary { chunk, neighbours: self.attended.clone(), news })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefetch(most: usize) -> Prefetch {
        Prefetch::new(Grid::prompt_end(100).refreshed(100, 16), most)
    }

    fn found() -> Found {
        Found { chunk: 0, text: String::new(), encoded: Some(Arc::default()), shown: Vec::new(), error: None }
    }

    /// Runs from `run` tokens to `to` with look-ups that take so many tokens each, and gives those of `begun` look-ups and the boundaries with
    /// how stale what came was.
    fn simulate(prefetch: &mut Prefetch, took: usize, to: usize) -> (Vec<usize>, Vec<(usize, Option<usize>)>) {
        let (mut begun, mut boundaries) = (Vec::new(), Vec::new());
        for run in 100..to {
            if prefetch.asked.is_some_and(|asked| run - asked == took) {
                prefetch.arrive(run, found());
            }
            begun.extend(prefetch.begin(run).map(|_| run));
            let boundary = prefetch.boundary(run + 1);
            boundaries.extend(boundary.map(|boundary| (run + 1, boundary.news.map(|news| news.stale_tokens))));
        }
        (begun, boundaries)
    }

    #[test]
    fn a_look_up_begins_twice_as_early_as_the_last_one_took() {
        let (begun, boundaries) = simulate(&mut prefetch(1000), 4, 150);
        assert_eq!(begun, [100, 122, 138], "the first at once, then 10 tokens before 132 and 148");
        assert_eq!(boundaries, [(116, Some(16)), (132, Some(10)), (148, Some(10))]);
    }

    #[test]
    fn slow_look_ups_follow_each_other_while_what_came_waits_for_its_boundary() {
        let (begun, boundaries) = simulate(&mut prefetch(1000), 20, 200);
        assert_eq!(begun, [100, 120, 140, 160, 180]);
        // What comes when the model has run over 180 tokens is too late for the 180th.
        let expected = [(116, None), (132, Some(32)), (148, Some(28)), (164, Some(24)), (180, None), (196, Some(36))];
        assert_eq!(boundaries, expected);
    }

    #[test]
    fn of_two_answers_the_newer_is_attended() {
        let mut prefetch = prefetch(1000);
        prefetch.begin(100);
        prefetch.arrive(120, found());
        prefetch.boundary(132).expect("a boundary");
        prefetch.begin(133);
        prefetch.arrive(134, found());
        prefetch.lead = 30;
        assert_eq!(prefetch.begin(134), Some((5, 70..134)), "for the boundary after the one that has neighbours");
        prefetch.arrive(136, found());
        assert_eq!(prefetch.boundary(148).unwrap().news.unwrap().stale_tokens, 14);
        assert!(prefetch.boundary(164).unwrap().news.is_none());
    }

    #[test]
    fn nothing_is_looked_up_for_a_boundary_that_no_token_attends() {
        assert!(prefetch(116).begin(100).is_none(), "the 116th token is sampled last");
        assert!(prefetch(117).begin(100).is_some());
    }

    #[test]
    fn a_short_sequence_asks_with_what_there_is() {
        let mut short = Prefetch::new(Grid::prompt_start().refreshed(10, 64), 500);
        assert_eq!(short.begin(10), Some((0, 0..10)));
        let boundary = short.boundary(64).expect("the paper's first chunk");
        assert!((boundary.chunk, boundary.neighbours.is_none(), boundary.news.is_none()) == (0, true, true));
    }
}
