//! Causal attention of a few queries onto a long cache, by AVX-512.
//!
//! What a query reads and in which order it is summed depends on nothing but its position: it has the same bits alone, in a batch, and as
//! one of many queries of a prompt.

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

use super::functions::{exp, lanes};
use super::output::Output;

const LANES: usize = 16;

/// Whether this processor has the instructions.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f")
}

/// The largest head that is served.
const MAX_HEAD: usize = 256;

/// Whether the kernel serves heads of such a size.
pub(super) fn serves(head: usize) -> bool {
    head.is_multiple_of(LANES) && (LANES..=MAX_HEAD).contains(&head)
}

/// Sizes of one layer: queries, keys and values of a token lie side by side, [heads, head], [kv_heads, head] and [kv_heads, head].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    pub heads: usize,
    pub kv_heads: usize,
    pub head: usize,
    /// Tokens that a cache has room for, a multiple of 16.
    pub places: usize,
    /// Pairs of numbers of a head that are rotated.
    pub angles: usize,
    /// Keys and values are kept as float16, in the first half of their places: half as much to read.
    pub half: bool,
}

/// The caches of a batch, each float32 [rows, kv_heads, places, head], as bytes.
pub(super) struct Caches<'a> {
    pub keys: &'a mut [u8],
    pub values: &'a mut [u8],
    /// Tokens in each row's cache after the run, minus one.
    pub last: &'a [i32],
}

impl Layer {
    /// Numbers of a token's queries, keys and values.
    pub fn packed(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head
    }

    /// The bytes of one head's cache.
    fn cache(&self, row: usize, kv_head: usize) -> Range<usize> {
        let size = self.places * self.head * size_of::<f32>();
        let at = (row * self.kv_heads + kv_head) * size;
        at..at + size
    }

    /// Puts the keys and values of `step` new tokens of each row [rows, step, packed] into the caches, and the queries, ready to attend,
    /// into `queries` [rows, step, heads, head]. `angles`: cosines and sines [positions, angles].
    pub fn append(&self, packed: &[f32], step: usize, angles: [&[f32]; 2], caches: &mut Caches<'_>, queries: &mut Vec<f32>) {
        let scale = (self.head as f32).sqrt().recip();
        queries.clear();
        let mut key = [0.0; MAX_HEAD];
        let key = &mut key[..self.head];
        let mut rounded = [0; MAX_HEAD];
        for (number, token) in packed.chunks_exact(self.packed()).enumerate() {
            let row = number / step;
            let position = caches.last[row] as usize + 1 - step + number % step;
            let [cos, sin] = angles.map(|table| &table[position * self.angles..(position + 1) * self.angles]);
            let (of_queries, rest) = token.split_at(self.heads * self.head);
            let (of_keys, of_values) = rest.split_at(self.kv_heads * self.head);
            let from = queries.len();
            queries.extend_from_slice(of_queries);
            for query in queries[from..].chunks_exact_mut(self.head) {
                rotate(query, cos, sin);
                query.iter_mut().for_each(|number| *number *= scale);
            }
            for kv_head in 0..self.kv_heads {
                let part = kv_head * self.head..(kv_head + 1) * self.head;
                key.copy_from_slice(&of_keys[part.clone()]);
                rotate(key, cos, sin);
                let cache = self.cache(row, kv_head);
                let (keys, values) = (&mut caches.keys[cache.clone()], &mut caches.values[cache]);
                let first = position / LANES * LANES * self.head + position % LANES;
                if self.half {
                    store(keys, first, LANES, halves(key, &mut rounded));
                    store(values, position * self.head, 1, halves(&of_values[part], &mut rounded));
                } else {
                    store(keys, first, LANES, key.iter().map(|number| number.to_ne_bytes()));
                    store(values, position * self.head, 1, of_values[part].iter().map(|number| number.to_ne_bytes()));
                }
            }
        }
    }

    /// What one head of one row mixes, for each of its `step` tokens, into its part of `output` [rows, step, heads, head].
    ///
    /// # Safety
    /// Nobody else writes that part at the same time.
    pub unsafe fn mix(&self, queries: &[f32], step: usize, caches: &Caches<'_>, (row, head): (usize, usize), output: &Output) {
        let cache = self.cache(row, head * self.kv_heads / self.heads);
        let (keys, values) = (&caches.keys[cache.clone()], &caches.values[cache]);
        // Scratch of the thread: a step has no time for an allocation for each head.
        SCORES.with_borrow_mut(|scores| {
            for token in 0..step {
                let at = ((row * step + token) * self.heads + head) * self.head;
                let tokens = caches.last[row] as usize + 2 + token - step;
                assert!(at + self.head <= output.len());
                // SAFETY: it lies inside, and is this head's part, which the caller answers for.
                let mixed = unsafe { std::slice::from_raw_parts_mut(output.at(at), self.head) };
                let query = &queries[at..at + self.head];
                if self.half {
                    attend::<true>(query, keys, values, tokens, scores, mixed);
                } else {
                    attend::<false>(query, keys, values, tokens, scores, mixed);
                }
            }
        });
    }
}

thread_local! {
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Writes numbers of N bytes into a cache, from number `first` on, every `stride`th.
///
/// Keys of one head lie in blocks of 16 tokens, [places / 16, head, 16], so that 16 scores come from one pass over a block. Whole blocks
/// take the place that their tokens have in [places, head].
fn store<const N: usize>(cache: &mut [u8], first: usize, stride: usize, numbers: impl Iterator<Item = [u8; N]>) {
    for (to, number) in cache.as_chunks_mut::<N>().0[first..].iter_mut().step_by(stride).zip(numbers) {
        *to = number;
    }
}

/// The nearest float16 of each number of a head, as bits.
fn halves<'a>(numbers: &[f32], halves: &'a mut [u16; MAX_HEAD]) -> impl Iterator<Item = [u8; 2]> + 'a {
    assert!(is_supported() && numbers.len().is_multiple_of(LANES) && numbers.len() <= MAX_HEAD);
    // SAFETY: the processor has the instructions, and the numbers are whole registers that `halves` has room for, as asserted.
    unsafe { round(numbers, halves) };
    halves[..numbers.len()].iter().map(|half| half.to_ne_bytes())
}

/// # Safety
/// The processor has the instructions; `halves` has room for the numbers, which are whole registers.
#[target_feature(enable = "avx512f")]
unsafe fn round(numbers: &[f32], halves: &mut [u16]) {
    for at in (0..numbers.len()).step_by(LANES) {
        // SAFETY: as the caller answers for.
        unsafe {
            let rounded = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm512_loadu_ps(numbers.as_ptr().add(at)));
            _mm256_storeu_si256(halves.as_mut_ptr().add(at).cast(), rounded);
        }
    }
}

/// Rotates the first numbers of a head by its position's angles, pairing each with the one half of them further (NeoX's order).
fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, rest) = head.split_at_mut(cos.len());
    for (((a, b), &cos), &sin) in first.iter_mut().zip(rest).zip(cos).zip(sin) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}

/// softmax(query keys^T) values over the first `tokens` of a head's caches, into `mixed`. `query` is scaled already; `scores` is scratch.
fn attend<const HALF: bool>(query: &[f32], keys: &[u8], values: &[u8], tokens: usize, scores: &mut Vec<f32>, mixed: &mut [f32]) {
    let padded = tokens.next_multiple_of(LANES);
    let head = query.len();
    let needed = padded * head * if HALF { 2 } else { 4 };
    assert!(is_supported() && serves(head) && tokens > 0 && mixed.len() == head && keys.len().min(values.len()) >= needed);
    if scores.len() < padded {
        scores.resize(padded, 0.0);
    }
    // SAFETY: the processor has the instructions, and all that is read and written lies inside, as asserted.
    unsafe {
        let total = match head {
            32 => score::<HALF, 32>(query, keys, tokens, scores),
            64 => score::<HALF, 64>(query, keys, tokens, scores),
            128 => score::<HALF, 128>(query, keys, tokens, scores),
            _ => score::<HALF, 0>(query, keys, tokens, scores),
        };
        let shares = &scores[..tokens];
        match head / LANES {
            2 => mix::<HALF, 2>(shares, values, 0, total, mixed),
            4 => mix::<HALF, 4>(shares, values, 0, total, mixed),
            parts => (0..parts).for_each(|part| mix::<HALF, 1>(shares, values, part, total, mixed)),
        }
    }
}

/// 16 numbers of a cache, from number `first` on.
///
/// # Safety
/// The processor has the instructions, and the numbers are there.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load<const HALF: bool>(cache: *const u8, first: usize) -> __m512 {
    // SAFETY: the caller answers for it.
    unsafe {
        if HALF {
            _mm512_cvtph_ps(_mm256_loadu_si256(cache.add(2 * first).cast()))
        } else {
            _mm512_loadu_ps(cache.add(4 * first).cast())
        }
    }
}

/// Writes e^(score - greatest) of each token and returns their sum. HEAD is the head's size where the compiler should know it.
///
/// # Safety
/// The processor has the instructions; `keys` and `scores` hold whole blocks of 16 tokens.
#[target_feature(enable = "avx512f")]
unsafe fn score<const HALF: bool, const HEAD: usize>(query: &[f32], keys: &[u8], tokens: usize, scores: &mut [f32]) -> f32 {
    let head = if HEAD == 0 { query.len() } else { HEAD };
    let last = tokens.div_ceil(LANES) - 1;
    let tail = lanes(last * LANES, tokens);
    // SAFETY: the slices hold what is read and written, as the caller answers for.
    unsafe {
        let lowest = _mm512_set1_ps(f32::NEG_INFINITY);
        let mut greatest = lowest;
        for block in 0..=last {
            // Four sums in turn, since one waits for its last addition.
            let mut sums = [_mm512_setzero_ps(); 4];
            for place in (0..head).step_by(4) {
                for (c, sum) in sums.iter_mut().enumerate() {
                    let number = _mm512_set1_ps(*query.get_unchecked(place + c));
                    *sum = _mm512_fmadd_ps(number, load::<HALF>(keys.as_ptr(), (block * head + place + c) * LANES), *sum);
                }
            }
            let mut sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
            if block == last {
                // What lies behind the last token is no key.
                sum = _mm512_mask_blend_ps(tail, lowest, sum);
            }
            greatest = _mm512_max_ps(greatest, sum);
            _mm512_storeu_ps(scores.as_mut_ptr().add(block * LANES), sum);
        }
        let greatest = _mm512_set1_ps(_mm512_reduce_max_ps(greatest));
        let mut total = _mm512_setzero_ps();
        for block in 0..=last {
            let at = scores.as_mut_ptr().add(block * LANES);
            let share = exp(_mm512_sub_ps(_mm512_loadu_ps(at), greatest));
            total = _mm512_add_ps(total, share);
            _mm512_storeu_ps(at, share);
        }
        _mm512_reduce_add_ps(total)
    }
}

/// Mixes a part of N x 16 numbers of the values.
///
/// # Safety
/// The processor has the instructions; `values` holds a head's numbers for each share.
#[expect(clippy::needless_range_loop, reason = "the loop walks several arrays of registers side by side")]
#[target_feature(enable = "avx512f")]
unsafe fn mix<const HALF: bool, const N: usize>(shares: &[f32], values: &[u8], part: usize, total: f32, mixed: &mut [f32]) {
    let (head, from) = (mixed.len(), part * N * LANES);
    let mut sums = [[_mm512_setzero_ps(); N]; 4];
    // SAFETY: the slices hold what is read and written, as the caller answers for.
    unsafe {
        let mut at = 0;
        while at < shares.len() {
            for (c, sum) in sums.iter_mut().enumerate() {
                if at + c >= shares.len() {
                    break;
                }
                let share = _mm512_set1_ps(*shares.get_unchecked(at + c));
                for (n, sum) in sum.iter_mut().enumerate() {
                    *sum = _mm512_fmadd_ps(share, load::<HALF>(values.as_ptr(), (at + c) * head + from + n * LANES), *sum);
                }
            }
            at += 4;
        }
        let inverse = _mm512_set1_ps(1.0 / total);
        for n in 0..N {
            let sum = _mm512_add_ps(_mm512_add_ps(sums[0][n], sums[1][n]), _mm512_add_ps(sums[2][n], sums[3][n]));
            _mm512_storeu_ps(mixed.as_mut_ptr().add(from + n * LANES), _mm512_mul_ps(sum, inverse));
        }
    }
}
