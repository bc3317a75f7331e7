//! Products with matrices of 8-bit integers, by the VNNI instructions of AVX-512.
//!
//! A matrix [N, K] is cut into blocks of its rows, each with a scale, as MatMulNBits has it; activations are quantised in the same blocks.
//! A block's products are summed as integers and then scaled, one block after the other: a row of the result has the same bits whatever
//! rows it is computed with and however the matrix is divided among threads.

use std::arch::x86_64::*;
use std::ops::Range;

use super::functions::lanes;
use super::output::Output;
use crate::onnx::Memory;

/// The 32-bit lanes of a register.
const LANES: usize = 16;
/// Outputs of a panel: what two registers hold.
const PANEL: usize = 2 * LANES;
/// How many cache lines ahead of their use weights are asked for: what is read once a step has often left the nearer caches.
const AHEAD: usize = 64;
/// What a stored 0 stands for is this much below.
const MIDDLE: i32 = 128;

/// Whether this processor has the instructions.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni")
}

/// Whether the kernel serves such blocks.
pub(super) fn serves(block: usize) -> bool {
    block.is_multiple_of(LANES) && (LANES..=1024).contains(&block)
}

/// A matrix in the order in which it is read: panels of 32 outputs, of each 4 inputs of all 32 after the other.
pub(super) struct Matrix {
    outputs: usize,
    inputs: usize,
    block: usize,
    blocks: usize,
    /// uint8 [panels, blocks, block / 4, 2, 16 outputs, 4 inputs]
    weights: Memory,
    /// float32 [panels, blocks, 2, 16 outputs]
    scales: Memory,
}

impl Matrix {
    /// From what MatMulNBits takes: `stored` uint8 [N, blocks, block], `scales` [N, blocks].
    pub fn pack(stored: &[u8], scales: &[f32], outputs: usize, inputs: usize, block: usize) -> Self {
        let (blocks, panels) = (inputs.div_ceil(block), outputs.div_ceil(PANEL));
        assert!(serves(block) && stored.len() == outputs * blocks * block && scales.len() == outputs * blocks);
        let lines = block / 4;
        let mut packed = Memory::zeroed(panels * PANEL * blocks * block);
        let mut packed_scales = Memory::zeroed(panels * PANEL * blocks * size_of::<f32>());
        let (to, to_scales) = (packed.slice_mut::<u8>(), packed_scales.slice_mut::<f32>());
        for output in 0..outputs {
            let (panel, half, lane) = (output / PANEL, output % PANEL / LANES, output % LANES);
            for of in 0..blocks {
                let at = panel * blocks + of;
                to_scales[(2 * at + half) * LANES + lane] = scales[output * blocks + of];
                let from = &stored[(output * blocks + of) * block..][..block];
                for (line, four) in from.chunks_exact(4).enumerate() {
                    to[(2 * (at * lines + line) + half) * 64 + 4 * lane..][..4].copy_from_slice(four);
                }
            }
        }
        Self { outputs, inputs, block, blocks, weights: packed, scales: packed_scales }
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }
}

/// Rows of activations as 8-bit integers, block by block. Its memory is used again.
#[derive(Default)]
pub(super) struct Rows {
    rows: usize,
    /// [rows, blocks, block]
    values: Vec<i8>,
    /// [rows, blocks]: the scale, and what the stored weights' middle adds to a sum of products.
    scales: Vec<(f32, i32)>,
}

impl Rows {
    /// Quantises rows [rows, K] for products with `matrix`. Call only where [`is_supported`].
    pub fn quantise(&mut self, rows: &[f32], matrix: &Matrix) {
        assert!(rows.len().is_multiple_of(matrix.inputs) && is_supported());
        let width = matrix.blocks * matrix.block;
        self.rows = rows.len() / matrix.inputs;
        self.values.resize(self.rows * width, 0);
        self.scales.clear();
        for (row, to) in rows.chunks_exact(matrix.inputs).zip(self.values.chunks_exact_mut(width)) {
            for (from, to) in row.chunks(matrix.block).zip(to.chunks_exact_mut(matrix.block)) {
                // SAFETY: the processor has the instructions, as asserted.
                self.scales.push(unsafe { quantise_block(from, to) });
            }
        }
    }
}

/// The columns of `panels` of rows x matrix^T.
///
/// # Safety
/// Nobody writes those columns at the same time.
pub(super) unsafe fn multiply(rows: &Rows, matrix: &Matrix, panels: Range<usize>, output: &Output) {
    assert!(rows.values.len() == rows.rows * matrix.blocks * matrix.block && rows.scales.len() == rows.rows * matrix.blocks);
    assert!(panels.end <= matrix.panels() && output.len() == rows.rows * matrix.outputs && is_supported());
    // SAFETY: the processor has the instructions, and all that is read and written lies inside, as asserted.
    unsafe {
        for panel in panels {
            let mut row = 0;
            while row < rows.rows {
                row += match rows.rows - row {
                    1 => tile::<1, 2>(rows, matrix, row, panel, output),
                    2 | 3 => tile::<2, 1>(rows, matrix, row, panel, output),
                    _ => tile::<4, 1>(rows, matrix, row, panel, output),
                };
            }
        }
    }
}

/// R rows times a panel; returns R. A block's sum is divided over C pairs of registers, since one waits for its last addition.
///
/// # Safety
/// The processor has the instructions, and the rows, the panel and its columns are there.
#[expect(clippy::needless_range_loop, reason = "the loops walk several arrays of registers side by side")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn tile<const R: usize, const C: usize>(rows: &Rows, matrix: &Matrix, row: usize, panel: usize, output: &Output) -> usize {
    let lines = matrix.block / 4;
    let width = matrix.blocks * matrix.block;
    // SAFETY: every pointer that is read or written stays inside what the caller answers for.
    unsafe {
        let values: [*const i8; R] = std::array::from_fn(|r| rows.values.as_ptr().add((row + r) * width));
        let scales: [*const (f32, i32); R] = std::array::from_fn(|r| rows.scales.as_ptr().add((row + r) * matrix.blocks));
        let weights: *const __m512i = matrix.weights.slice::<u8>().as_ptr().add(panel * PANEL * width).cast();
        let weight_scales: *const f32 = matrix.scales.slice::<f32>().as_ptr().add(panel * PANEL * matrix.blocks);
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        for block in 0..matrix.blocks {
            let mut products = [[[_mm512_setzero_si512(); C]; 2]; R];
            for line in (0..lines).step_by(C) {
                for c in 0..C {
                    let at = block * lines + line + c;
                    for half in 0..2 {
                        _mm_prefetch::<_MM_HINT_T0>(weights.wrapping_add(2 * at + half + AHEAD).cast());
                    }
                    let pair = [_mm512_load_si512(weights.add(2 * at)), _mm512_load_si512(weights.add(2 * at + 1))];
                    for r in 0..R {
                        let four = _mm512_set1_epi32(values[r].add(4 * at).cast::<i32>().read_unaligned());
                        for half in 0..2 {
                            products[r][half][c] = _mm512_dpbusd_epi32(products[r][half][c], pair[half], four);
                        }
                    }
                }
            }
            for r in 0..R {
                let (scale, middle) = *scales[r].add(block);
                for half in 0..2 {
                    let mut sum = _mm512_set1_epi32(middle);
                    for c in 0..C {
                        sum = _mm512_add_epi32(sum, products[r][half][c]);
                    }
                    let of_weights = _mm512_load_ps(weight_scales.add((2 * block + half) * LANES));
                    let both = _mm512_mul_ps(of_weights, _mm512_set1_ps(scale));
                    sums[r][half] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), both, sums[r][half]);
                }
            }
        }
        for half in 0..2 {
            let first = panel * PANEL + half * LANES;
            let mask = lanes(first, matrix.outputs);
            if mask == 0 {
                continue;
            }
            for r in 0..R {
                _mm512_mask_storeu_ps(output.at((row + r) * matrix.outputs + first), mask, sums[r][half]);
            }
        }
    }
    R
}

/// Quantises one block, zeros behind its end; returns the scale and the sum of -128 times each integer.
///
/// # Safety
/// The processor has the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn quantise_block(from: &[f32], to: &mut [i8]) -> (f32, i32) {
    assert!(from.len() <= to.len());
    let lanes = |at: usize| lanes(at, from.len());
    // SAFETY: loads and stores are masked to the slices.
    unsafe {
        let mut largest = _mm512_setzero_ps();
        for at in (0..from.len()).step_by(LANES) {
            let values = _mm512_maskz_loadu_ps(lanes(at), from.as_ptr().add(at));
            largest = _mm512_max_ps(largest, _mm512_abs_ps(values));
        }
        let largest = _mm512_reduce_max_ps(largest);
        let (scale, inverse) = if largest > 0.0 { (largest / 127.0, 127.0 / largest) } else { (0.0, 0.0) };
        let inverse = _mm512_set1_ps(inverse);
        let mut sum = _mm512_setzero_si512();
        to[from.len()..].fill(0);
        for at in (0..from.len()).step_by(LANES) {
            let values = _mm512_mul_ps(_mm512_maskz_loadu_ps(lanes(at), from.as_ptr().add(at)), inverse);
            let integers = _mm512_cvtps_epi32(values);
            sum = _mm512_add_epi32(sum, integers);
            _mm512_mask_cvtsepi32_storeu_epi8(to.as_mut_ptr().add(at).cast(), lanes(at), integers);
        }
        (scale, -MIDDLE * _mm512_reduce_add_epi32(sum))
    }
}
