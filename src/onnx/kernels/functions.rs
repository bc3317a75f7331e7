//! Functions of 16 numbers at a time.

use std::arch::x86_64::*;

/// The lanes of 16 numbers from `first` on that lie before `end`.
pub(super) fn lanes(first: usize, end: usize) -> __mmask16 {
    ((1_u32 << end.saturating_sub(first).min(16)) - 1) as __mmask16
}

/// e^x for x <= 0, to about 1 part in 10^7.
#[target_feature(enable = "avx512f")]
pub(super) fn exp(x: __m512) -> __m512 {
    let x = _mm512_max_ps(x, _mm512_set1_ps(-200.0));
    let power = _mm512_roundscale_ps::<0>(_mm512_mul_ps(x, _mm512_set1_ps(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, so that the rest is exact.
    let rest = _mm512_fnmadd_ps(power, _mm512_set1_ps(0.693_359_4), x);
    let rest = _mm512_fnmadd_ps(power, _mm512_set1_ps(-2.121_944_4e-4), rest);
    // The series of e^x, whose next term is below 2^-24 for |x| <= ln 2 / 2.
    let mut sum = _mm512_set1_ps(1.0 / 5040.0);
    for term in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(term));
    }
    _mm512_scalef_ps(sum, power)
}

/// x Phi(x), the GELU of the error function. What the function is approximated by (Abramowitz and Stegun, formula 7.1.26) is at most
/// 1.5e-7 off.
#[target_feature(enable = "avx512f")]
pub(super) fn gelu(x: __m512) -> __m512 {
    let number = |number: f32| _mm512_set1_ps(number);
    let z = _mm512_mul_ps(_mm512_abs_ps(x), number(std::f32::consts::FRAC_1_SQRT_2));
    let t = _mm512_div_ps(number(1.0), _mm512_fmadd_ps(z, number(0.327_591_1), number(1.0)));
    let mut sum = number(1.061_405_4);
    for term in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        sum = _mm512_fmadd_ps(sum, t, number(term));
    }
    let tail = _mm512_mul_ps(_mm512_mul_ps(sum, t), exp(_mm512_mul_ps(_mm512_sub_ps(number(0.0), z), z)));
    // Half of what lies beyond |x| on one side; x times it is taken from x, or is all.
    let beyond = _mm512_mul_ps(_mm512_mul_ps(tail, number(0.5)), _mm512_abs_ps(x));
    _mm512_sub_ps(_mm512_max_ps(x, number(0.0)), beyond)
}
