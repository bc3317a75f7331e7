//! Products of many rows with a matrix, in integers of 13 bits, by the VNNI instructions of AVX-512.
//!
//! They take half the time of products in float32. 13 bits are as many as let a 32-bit sum hold the products of a block of 128 inputs, and
//! leave a row's error far below what 8 bits or bfloat16 leave (docs/decisions.md). Rows and the matrix's columns have a scale for each
//! block; a block's products are summed as integers and then scaled, one block after the other: a row of the result has the same bits
//! whatever rows it is computed with and however the work is divided among threads.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::functions::{gelu, lanes};
use super::output::Output;
use crate::onnx::Memory;

/// The 32-bit lanes of a register.
const LANES: usize = 16;
/// Outputs of a panel: what two registers hold.
const PANEL: usize = 2 * LANES;
/// Inputs that share a scale.
const BLOCK: usize = 128;
/// The largest integer: 128 products of two such are below 2^31.
const LARGEST: f32 = 4095.0;
/// Rows that a panel is multiplied with at a time: their sums, and what is added to them, fill the registers.
const TILE: usize = 6;
/// Rows of one share of work: their integers stay in a core's cache while the panels pass.
const GROUP: usize = 16 * TILE;

/// Whether this processor has the instructions.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni")
}

/// A matrix in the order in which it is read: panels of 32 outputs, of each 2 inputs of all 32 after the other.
pub(super) struct Matrix {
    inputs: usize,
    outputs: usize,
    blocks: usize,
    /// int16 [panels, blocks, block / 2, 2, 16 outputs, 2 inputs]
    weights: Memory,
    /// float32 [panels, blocks, 2, 16 outputs]
    scales: Memory,
}

impl Matrix {
    /// From `values` float32 [K, N], as Gemm has them, as bytes.
    pub fn pack(values: &[u8], inputs: usize, outputs: usize) -> Self {
        let (blocks, panels) = (inputs.div_ceil(BLOCK), outputs.div_ceil(PANEL));
        assert_eq!(values.len(), 4 * inputs * outputs, "a number for each input and output");
        let numbers: Vec<f32> = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let mut weights = Memory::zeroed(panels * PANEL * blocks * BLOCK * size_of::<i16>());
        let mut scales = Memory::zeroed(panels * PANEL * blocks * size_of::<f32>());
        let (to, to_scales) = (weights.slice_mut::<i16>(), scales.slice_mut::<f32>());
        for output in 0..outputs {
            let (panel, half, lane) = (output / PANEL, output % PANEL / LANES, output % LANES);
            for block in 0..blocks {
                let number = |input: usize| numbers[input * outputs + output];
                let of_block = block * BLOCK..((block + 1) * BLOCK).min(inputs);
                let largest = of_block.clone().fold(0f32, |most, input| most.max(number(input).abs()));
                let inverse = if largest > 0.0 { LARGEST / largest } else { 0.0 };
                let at = panel * blocks + block;
                to_scales[(2 * at + half) * LANES + lane] = largest / LARGEST;
                for input in of_block {
                    let (line, place) = (input % BLOCK / 2, input % 2);
                    let integer = (number(input) * inverse).round_ties_even();
                    to[((at * BLOCK / 2 + line) * 2 + half) * 2 * LANES + 2 * lane + place] = integer as i16;
                }
            }
        }
        Self { inputs, outputs, blocks, weights, scales }
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Integers of a row, padded to whole blocks.
    fn width(&self) -> usize {
        self.blocks * BLOCK
    }
}

/// Rows of activations as integers, block by block. Its memory is used again.
#[derive(Default)]
pub(super) struct Rows {
    /// [rows, blocks, block]
    values: Vec<i16>,
    /// [rows, blocks]
    scales: Vec<f32>,
}

/// What is done with a product.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    /// Added to it: float32 [N] or [rows, N].
    pub plus: &'a [f32],
    /// Whether GELU follows.
    pub gelu: bool,
}

/// rows x matrix, `finish`ed, into `output`. `shares` runs so many shares of work, perhaps at the same time.
///
/// # Errors
/// Those of `shares`.
///
/// # Safety
/// Nobody else writes to the output, and `shares` runs each share once.
pub(super) unsafe fn multiply<E>(
    input: &[f32],
    matrix: &Matrix,
    finish: Finish<'_>,
    rows: &mut Rows,
    output: &Output,
    shares: impl Fn(usize, &(dyn Fn(usize) + Sync)) -> Result<(), E>,
) -> Result<(), E> {
    let count = output.len() / matrix.outputs.max(1);
    assert!(input.len() == count * matrix.inputs && output.len() == count * matrix.outputs && is_supported());
    assert!([matrix.outputs, output.len()].contains(&finish.plus.len()));
    rows.values.resize(count * matrix.width(), 0);
    rows.scales.resize(count * matrix.blocks, 0.0);
    let groups = count.div_ceil(GROUP);
    let at = |share: usize| share * GROUP..((share + 1) * GROUP).min(count);
    {
        // SAFETY: each share writes its own rows.
        let (values, scales) = unsafe {
            let values = Output::new(rows.values.as_mut_ptr(), rows.values.len());
            (values, Output::new(rows.scales.as_mut_ptr(), rows.scales.len()))
        };
        // SAFETY: the processor has the instructions, and all lies inside, as asserted.
        let quantise = |share: usize| unsafe { quantise(input, matrix, at(share), &values, &scales) };
        if groups == 1 { quantise(0) } else { shares(groups, &quantise)? }
    }
    // Few rows are shared out by panels, so that each core reads its own part of the matrix.
    let parts = (FEW_SHARES / groups.max(1)).clamp(1, matrix.panels());
    let rows = &*rows;
    let part = |part: usize| part * matrix.panels() / parts..(part + 1) * matrix.panels() / parts;
    shares(groups * parts, &|share| {
        // SAFETY: the processor has the instructions, all lies inside, as asserted, and each share writes columns of its own rows.
        unsafe { group(rows, matrix, at(share / parts), part(share % parts), finish, output) }
    })
}

/// Shares that let some cores end together though they run at different speeds.
const FEW_SHARES: usize = 8;

/// # Safety
/// As [`tile`], for all rows and panels.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn group(rows: &Rows, matrix: &Matrix, range: Range<usize>, panels: Range<usize>, finish: Finish<'_>, output: &Output) {
    for panel in panels {
        let mut row = range.start;
        while row < range.end {
            // SAFETY: as the caller answers for.
            unsafe {
                row += match range.end - row {
                    1 => tile::<1>(rows, matrix, row, panel, finish, output),
                    2 => tile::<2>(rows, matrix, row, panel, finish, output),
                    3 => tile::<3>(rows, matrix, row, panel, finish, output),
                    4 => tile::<4>(rows, matrix, row, panel, finish, output),
                    5 => tile::<5>(rows, matrix, row, panel, finish, output),
                    _ => tile::<TILE>(rows, matrix, row, panel, finish, output),
                };
            }
        }
    }
}

/// R rows times a panel; returns R.
///
/// # Safety
/// The processor has the instructions, the rows, the panel and its columns are there, and nobody else writes the columns.
#[expect(clippy::needless_range_loop, reason = "the loops walk several arrays of registers side by side")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn tile<const R: usize>(
    rows: &Rows,
    matrix: &Matrix,
    row: usize,
    panel: usize,
    finish: Finish<'_>,
    output: &Output,
) -> usize {
    let (width, lines) = (matrix.width(), BLOCK / 2);
    // SAFETY: every pointer that is read or written stays inside what the caller answers for.
    unsafe {
        let values: [*const i32; R] = std::array::from_fn(|r| rows.values.as_ptr().add((row + r) * width).cast());
        let scales: [*const f32; R] = std::array::from_fn(|r| rows.scales.as_ptr().add((row + r) * matrix.blocks));
        let weights: *const __m512i = matrix.weights.slice::<u8>().as_ptr().add(panel * PANEL * width * size_of::<i16>()).cast();
        let weight_scales: *const f32 = matrix.scales.slice::<f32>().as_ptr().add(panel * PANEL * matrix.blocks);
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        for block in 0..matrix.blocks {
            let mut products = [[_mm512_setzero_si512(); 2]; R];
            for line in block * lines..(block + 1) * lines {
                let pair = [_mm512_load_si512(weights.add(2 * line)), _mm512_load_si512(weights.add(2 * line + 1))];
                for r in 0..R {
                    let two = _mm512_set1_epi32(values[r].add(line).read_unaligned());
                    for half in 0..2 {
                        add_products(&mut products[r][half], pair[half], two);
                    }
                }
            }
            for half in 0..2 {
                let of_weights = _mm512_load_ps(weight_scales.add((2 * block + half) * LANES));
                for r in 0..R {
                    let both = _mm512_mul_ps(of_weights, _mm512_set1_ps(*scales[r].add(block)));
                    sums[r][half] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[r][half]), both, sums[r][half]);
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
                let at = (row + r) * matrix.outputs + first;
                let from = if finish.plus.len() == matrix.outputs { first } else { at };
                let plus = _mm512_maskz_loadu_ps(mask, finish.plus.as_ptr().add(from));
                let mut sum = _mm512_add_ps(sums[r][half], plus);
                if finish.gelu {
                    sum = gelu(sum);
                }
                _mm512_mask_storeu_ps(output.at(at), mask, sum);
            }
        }
    }
    R
}

/// Adds the products of two pairs of integers in each lane, by one instruction: the compiler makes two of the intrinsic unless it is told
/// which processor it compiles for.
///
/// # Safety
/// The processor has the instruction.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn add_products(sum: &mut __m512i, a: __m512i, b: __m512i) {
    // SAFETY: it works on registers alone.
    unsafe {
        asm!(
            "vpdpwssd {sum}, {a}, {b}",
            sum = inout(zmm_reg) *sum,
            a = in(zmm_reg) a,
            b = in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
}

/// # Safety
/// The processor has the instructions; the rows are there, and nobody else writes to them.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn quantise(input: &[f32], matrix: &Matrix, range: Range<usize>, values: &Output<i16>, scales: &Output<f32>) {
    for row in range {
        let from = &input[row * matrix.inputs..(row + 1) * matrix.inputs];
        for (block, from) in from.chunks(BLOCK).enumerate() {
            // SAFETY: a row has room for whole blocks; loads are masked to the slice.
            unsafe {
                let to = values.at(row * matrix.width() + block * BLOCK);
                let mut numbers = [_mm512_setzero_ps(); BLOCK / LANES];
                let mut largest = _mm512_setzero_ps();
                for (at, numbers) in numbers.iter_mut().enumerate() {
                    *numbers = _mm512_maskz_loadu_ps(lanes(at * LANES, from.len()), from.as_ptr().wrapping_add(at * LANES));
                    largest = _mm512_max_ps(largest, _mm512_abs_ps(*numbers));
                }
                let largest = _mm512_reduce_max_ps(largest);
                let inverse = _mm512_set1_ps(if largest > 0.0 { LARGEST / largest } else { 0.0 });
                scales.at(row * matrix.blocks + block).write(largest / LARGEST);
                for (at, numbers) in numbers.iter().enumerate() {
                    let integers = _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(_mm512_mul_ps(*numbers, inverse)));
                    _mm256_storeu_si256(to.add(at * LANES).cast(), integers);
                }
            }
        }
    }
}
