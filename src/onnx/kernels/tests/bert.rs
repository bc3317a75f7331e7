//! What a BERT's graph runs with.

use std::convert::Infallible;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::numbers;
use crate::onnx::Products;
use crate::onnx::kernels::linear::{Finish, Matrix, Rows, multiply};
use crate::onnx::kernels::output::Output;
use crate::onnx::kernels::text_attention::Texts;

fn linear(x: &[f32], matrix: &Matrix, plus: &[f32], gelu: bool, backwards: bool) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len() / matrix.inputs() * matrix.outputs()];
    let shares = |count: usize, share: &(dyn Fn(usize) + Sync)| {
        if backwards {
            (0..count).rev().for_each(share)
        } else {
            (0..count).for_each(share)
        }
        Ok::<(), Infallible>(())
    };
    // SAFETY: `y` is written here alone.
    unsafe {
        let output = Output::new(y.as_mut_ptr(), y.len());
        let Ok(()) = multiply(x, matrix, Finish { plus, gelu }, &mut Rows::default(), &output, shares);
    }
    y
}

/// The error function by its series, which serves up to about 5.
fn erf(x: f64) -> f64 {
    let (mut sum, mut term) = (0.0, x);
    for n in 0..200 {
        sum += term / f64::from(2 * n + 1);
        term *= -x * x / f64::from(n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

#[test]
fn products_are_those_of_the_numbers_within_what_13_bits_keep() {
    if !Products::Integers.are_supported() {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(4);
    for (inputs, outputs, rows) in [(384, 96, 7), (100, 40, 1), (128, 17, 13), (300, 64, 100), (1, 1, 3), (1536, 33, 8)] {
        let weights: Vec<f32> = numbers(&mut random, inputs * outputs);
        let bytes: Vec<u8> = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        let matrix = Matrix::pack(&bytes, inputs, outputs);
        let scale = (inputs as f32).sqrt().recip();
        let mut x: Vec<f32> = numbers(&mut random, rows * inputs).iter().map(|x| 3.0 * scale * x).collect();
        // A block of zeros has no scale.
        x[..inputs.min(128)].fill(0.0);
        let row: Vec<f32> = numbers(&mut random, outputs);
        let every = numbers(&mut random, rows * outputs);
        for (plus, gelu) in [(&row, false), (&row, true), (&every, false)] {
            let found = linear(&x, &matrix, plus, gelu, false);
            for (at, &found) in found.iter().enumerate() {
                let (of, output) = (at / outputs, at % outputs);
                let pairs = || (0..inputs).map(|input| (x[of * inputs + input], weights[input * outputs + output]));
                let mut exact: f64 = pairs().map(|(x, weight)| f64::from(x) * f64::from(weight)).sum();
                exact += f64::from(plus[at % plus.len()]);
                if gelu {
                    exact *= 0.5 * (1.0 + erf(exact / 2f64.sqrt()));
                }
                // Half a step of each number, the largest being 3 scale and 1, all of them the same way; GELU's slope is at most 1.13.
                let step = |size: f32| f64::from(size) / 4095.0 / 2.0;
                let bound: f64 =
                    pairs().map(|(x, weight)| f64::from(weight.abs()) * step(3.0 * scale) + f64::from(x.abs()) * step(1.0)).sum();
                assert!((exact - f64::from(found)).abs() < 1.13 * bound + 1e-5, "{found} for {exact}, {inputs} x {outputs}");
            }
        }
    }
}

#[test]
fn gelu_is_that_of_the_error_function() {
    if !Products::Integers.are_supported() {
        return;
    }
    // A product with nothing but what is added.
    let matrix = Matrix::pack(&0f32.to_le_bytes(), 1, 1);
    let plus: Vec<f32> = (-600..=600).map(|step| step as f32 / 100.0).collect();
    let found = linear(&vec![0.0; plus.len()], &matrix, &plus, true, false);
    for (&x, &found) in plus.iter().zip(&found) {
        let exact = f64::from(x) * 0.5 * (1.0 + erf(f64::from(x) / 2f64.sqrt()));
        assert!((exact - f64::from(found)).abs() < 1e-6, "{found} for {exact}, GELU of {x}");
    }
    let far = linear(&[0.0; 2], &matrix, &[-100.0, 100.0], true, false);
    assert_eq!(far, [0.0, 100.0]);
}

#[test]
fn the_largest_numbers_of_a_block_do_not_overflow() {
    if !Products::Integers.are_supported() {
        return;
    }
    let (inputs, outputs) = (256, 32);
    let bytes = (-2f32).to_le_bytes().repeat(inputs * outputs);
    let matrix = Matrix::pack(&bytes, inputs, outputs);
    for x in [3.0, -3.0] {
        let found = linear(&[x; 256], &matrix, &[0.0; 32], false, false);
        assert!(found.iter().all(|&y| (y / (-2.0 * x * 256.0) - 1.0).abs() < 1e-5), "{found:?}");
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_company_and_in_any_order_of_work() {
    if !Products::Integers.are_supported() {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (inputs, outputs, rows) = (200, 70, 211);
    let bytes: Vec<u8> = numbers(&mut random, inputs * outputs).iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let matrix = Matrix::pack(&bytes, inputs, outputs);
    let (x, plus) = (numbers(&mut random, rows * inputs), numbers(&mut random, outputs));
    let whole = linear(&x, &matrix, &plus, true, false);
    assert_eq!(whole, linear(&x, &matrix, &plus, true, true));
    for (row, expected) in x.chunks_exact(inputs).zip(whole.chunks_exact(outputs)) {
        assert_eq!(linear(row, &matrix, &plus, true, false), expected);
    }
}

fn attend(batch: &Texts<'_>, tokens: &[usize]) -> Vec<f32> {
    let mut mixed = vec![f32::NAN; tokens.len() * batch.room * batch.heads * batch.head];
    // SAFETY: `mixed` is written here alone.
    unsafe {
        let output = Output::new(mixed.as_mut_ptr(), mixed.len());
        for (text, &tokens) in tokens.iter().enumerate() {
            (0..batch.heads).for_each(|head| batch.attend(text, head, tokens, &output));
        }
    }
    mixed
}

#[test]
fn a_thread_can_go_on_with_heads_of_another_size() {
    if !Products::Integers.are_supported() {
        return;
    }
    // A longer text of smaller heads needs less room for its values and more for its scores.
    for (head, tokens) in [(64, 33), (32, 71), (64, 71)] {
        let packed = vec![1.0; tokens * 3 * head];
        let mixed = attend(&Texts { heads: 1, head, room: tokens, packed: &packed }, &[tokens]);
        assert!(mixed.iter().all(|x| (x - 1.0).abs() < 1e-6), "{head} numbers, {tokens} tokens");
    }
}

#[test]
fn attention_is_a_softmax_over_the_text_and_knows_nothing_of_its_padding() {
    if !Products::Integers.are_supported() {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(6);
    for (heads, head) in [(3, 32), (2, 64)] {
        let (room, width) = (71, heads * head);
        let tokens = [71, 1, 33, 64, 5];
        let mut packed: Vec<f32> = (0..tokens.len() * room * 3 * width).map(|_| random.random_range(-2.0..2.0)).collect();
        for (text, &tokens) in tokens.iter().enumerate() {
            // What stands in the padding must not be read.
            packed[(text * room + tokens) * 3 * width..(text + 1) * room * 3 * width].fill(f32::NAN);
        }
        let found = attend(&Texts { heads, head, room, packed: &packed }, &tokens);
        for (text, &tokens) in tokens.iter().enumerate() {
            let number = |token: usize, part: usize, of: usize, place: usize| {
                f64::from(packed[((text * room + token) * 3 + part) * width + of * head + place])
            };
            for of in 0..heads {
                for query in 0..tokens {
                    let score = |key: usize| -> f64 {
                        let sum: f64 = (0..head).map(|place| number(query, 0, of, place) * number(key, 1, of, place)).sum();
                        (sum / (head as f64).sqrt()).exp()
                    };
                    let scores: Vec<f64> = (0..tokens).map(score).collect();
                    let total: f64 = scores.iter().sum();
                    for place in 0..head {
                        let exact: f64 = (0..tokens).map(|key| scores[key] / total * number(key, 2, of, place)).sum();
                        let found = f64::from(found[(text * room + query) * width + of * head + place]);
                        assert!((found - exact).abs() < 2e-6, "{found} for {exact}, token {query} of {tokens}");
                    }
                }
            }
            let rows = text * room * width..(text * room + tokens) * width;
            let alone = &packed[text * room * 3 * width..(text * room + tokens) * 3 * width];
            assert_eq!(attend(&Texts { heads, head, room: tokens, packed: alone }, &[tokens]), found[rows.clone()]);
            assert!(found[rows.end..(text + 1) * room * width].iter().all(|&x| x == 0.0));
        }
    }
}
