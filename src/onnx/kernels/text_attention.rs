//! Attention of all tokens of a text to each other, by AVX-512: BERT's.
//!
//! A text's tokens are worked on without the padding that a batch puts behind them: it has the same bits alone and in any batch.

use std::arch::x86_64::*;
use std::cell::RefCell;

use super::functions::{exp, lanes};
use super::output::Output;

const LANES: usize = 16;
/// Queries that are worked on at a time.
const QUERIES: usize = 8;
/// Tokens ahead of which theirs are asked for.
const AHEAD: usize = 8;
/// Registers of a value that are mixed at a time.
const PARTS: usize = 2;
/// The largest head.
const MAX_HEAD: usize = 64;

/// Whether this processor has the instructions.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// Whether the kernel serves heads of such a size.
pub(super) fn serves(head: usize) -> bool {
    matches!(head, 32 | MAX_HEAD)
}

/// Texts of a batch: queries, keys and values of a token lie side by side, each [heads, head].
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts<'a> {
    pub heads: usize,
    pub head: usize,
    /// Tokens that each text has room for.
    pub room: usize,
    /// [texts, room, 3, heads, head]
    pub packed: &'a [f32],
}

/// What a thread puts in the order in which it is read.
#[derive(Default)]
struct Scratch {
    /// [tokens, head], scaled
    queries: Vec<f32>,
    /// [tokens / 16, head, 16]
    keys: Vec<f32>,
    /// [tokens, head]
    values: Vec<f32>,
    /// [queries, tokens]
    scores: Vec<f32>,
}

impl Scratch {
    /// Makes room for `padded` tokens with heads of `head` numbers; what a larger text took stays.
    fn grow(&mut self, padded: usize, head: usize) {
        let rows = [&mut self.queries, &mut self.keys, &mut self.values].map(|buffer| (buffer, padded * head));
        for (buffer, numbers) in rows.into_iter().chain([(&mut self.scores, QUERIES * padded)]) {
            if buffer.len() < numbers {
                buffer.resize(numbers, 0.0);
            }
        }
    }

    fn has_room(&self, padded: usize, head: usize) -> bool {
        let rows = [&self.queries, &self.keys, &self.values].iter().all(|buffer| buffer.len() >= padded * head);
        rows && self.scores.len() >= QUERIES * padded
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

impl Texts<'_> {
    /// What one head of a text mixes for each of its first `tokens` tokens, and zeros behind them, into its part of `output`
    /// [texts, room, heads, head].
    ///
    /// # Safety
    /// Nobody else writes that part at the same time.
    pub unsafe fn attend(&self, text: usize, head: usize, tokens: usize, output: &Output) {
        let size = self.head;
        let width = self.heads * size;
        let token = |token: usize| text * self.room + token;
        assert!(is_supported() && serves(size) && tokens <= self.room && head < self.heads);
        assert!(self.packed.len() >= token(self.room) * 3 * width && output.len() >= token(self.room) * width);
        // SAFETY: the places lie inside, as asserted, and are this head's part.
        let to = |token: usize| unsafe { std::slice::from_raw_parts_mut(output.at(token * width + head * size), size) };
        (tokens..self.room).for_each(|behind| to(token(behind)).fill(0.0));
        SCRATCH.with_borrow_mut(|scratch| {
            self.pack(text, head, tokens, scratch);
            assert!(scratch.has_room(tokens.next_multiple_of(LANES), size));
            for first in (0..tokens).step_by(QUERIES) {
                let mut mixed = [[0.0; MAX_HEAD]; QUERIES];
                // SAFETY: the processor has the instructions, and there is room for whole groups of queries and keys, as asserted.
                unsafe {
                    match size {
                        32 => mix::<32>(scratch, first, tokens, &mut mixed),
                        _ => mix::<64>(scratch, first, tokens, &mut mixed),
                    }
                }
                for (query, mixed) in (first..tokens).zip(&mixed) {
                    to(token(query)).copy_from_slice(&mixed[..size]);
                }
            }
        });
    }

    fn pack(&self, text: usize, head: usize, tokens: usize, scratch: &mut Scratch) {
        let (size, width) = (self.head, self.heads * self.head);
        let padded = tokens.next_multiple_of(LANES);
        let scale = (size as f32).sqrt().recip();
        scratch.grow(padded, size);
        let (queries, values) = (scratch.queries.chunks_exact_mut(size), scratch.values.chunks_exact_mut(size));
        for (token, (queries, values)) in queries.zip(values).enumerate().take(tokens) {
            // A head's part of a token is far from that of the next: the processor does not foresee it.
            let ahead = self.packed.as_ptr().wrapping_add((text * self.room + token + AHEAD) * 3 * width + head * size);
            for part in 0..3 {
                for line in (0..size).step_by(LANES) {
                    // SAFETY: asking for memory ahead reads none.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(part * width + line).cast()) };
                }
            }
            let row = &self.packed[(text * self.room + token) * 3 * width..][..3 * width];
            let [of_query, of_key, of_value] = [0, 1, 2].map(|part| &row[part * width + head * size..][..size]);
            queries.iter_mut().zip(of_query).for_each(|(to, number)| *to = number * scale);
            values.copy_from_slice(of_value);
            let block = &mut scratch.keys[token / LANES * LANES * size..][..LANES * size];
            for (of_place, number) in block.as_chunks_mut::<LANES>().0.iter_mut().zip(of_key) {
                of_place[token % LANES] = *number;
            }
        }
    }
}

/// softmax(queries keys^T) values of `QUERIES` queries from `first` on.
///
/// # Safety
/// The processor has the instructions; the scratch holds so many tokens, in whole registers and groups of queries.
#[expect(clippy::needless_range_loop, reason = "the loops walk several arrays of registers side by side")]
#[target_feature(enable = "avx512f")]
unsafe fn mix<const HEAD: usize>(scratch: &mut Scratch, first: usize, tokens: usize, mixed: &mut [[f32; MAX_HEAD]; QUERIES]) {
    let padded = tokens.next_multiple_of(LANES);
    // SAFETY: as the caller answers for.
    unsafe {
        let queries = scratch.queries.as_ptr().add(first * HEAD);
        let (keys, values) = (scratch.keys.as_ptr(), scratch.values.as_ptr());
        let scores = scratch.scores.as_mut_ptr();
        let lowest = _mm512_set1_ps(f32::NEG_INFINITY);
        let mut greatest = [lowest; QUERIES];
        for key in (0..padded).step_by(LANES) {
            let mut sums = [_mm512_setzero_ps(); QUERIES];
            for place in 0..HEAD {
                let of_keys = _mm512_loadu_ps(keys.add(key * HEAD + place * LANES));
                for query in 0..QUERIES {
                    let number = _mm512_set1_ps(*queries.add(query * HEAD + place));
                    sums[query] = _mm512_fmadd_ps(number, of_keys, sums[query]);
                }
            }
            // What lies behind the last token is no key.
            let there = lanes(key, tokens);
            for query in 0..QUERIES {
                let score = _mm512_mask_blend_ps(there, lowest, sums[query]);
                greatest[query] = _mm512_max_ps(greatest[query], score);
                _mm512_storeu_ps(scores.add(query * padded + key), score);
            }
        }
        let mut totals = [0.0; QUERIES];
        for query in 0..QUERIES {
            let most = _mm512_set1_ps(_mm512_reduce_max_ps(greatest[query]));
            let mut total = _mm512_setzero_ps();
            for at in (0..padded).step_by(LANES) {
                let to = scores.add(query * padded + at);
                let share = exp(_mm512_sub_ps(_mm512_loadu_ps(to), most));
                total = _mm512_add_ps(total, share);
                _mm512_storeu_ps(to, share);
            }
            totals[query] = _mm512_reduce_add_ps(total);
        }
        for part in (0..HEAD / LANES).step_by(PARTS) {
            let mut sums = [[_mm512_setzero_ps(); PARTS]; QUERIES];
            for token in 0..tokens {
                let value: [__m512; PARTS] =
                    std::array::from_fn(|n| _mm512_loadu_ps(values.add(token * HEAD + (part + n) * LANES)));
                for query in 0..QUERIES {
                    let share = _mm512_set1_ps(*scores.add(query * padded + token));
                    for n in 0..PARTS {
                        sums[query][n] = _mm512_fmadd_ps(share, value[n], sums[query][n]);
                    }
                }
            }
            for query in 0..QUERIES {
                let inverse = _mm512_set1_ps(1.0 / totals[query]);
                for n in 0..PARTS {
                    let to = mixed[query].as_mut_ptr().add((part + n) * LANES);
                    _mm512_storeu_ps(to, _mm512_mul_ps(sums[query][n], inverse));
                }
            }
        }
    }
}
