use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::tensor::Tensor;
use super::{SHARE, share_out, size};
use crate::onnx::kernels::attention::{Caches, Layer};
use crate::onnx::kernels::output::Output;

/// Causal attention onto caches: queries, keys and values side by side [B, S, (heads + 2 kv_heads) head]; caches [B, kv_heads, context,
/// head], whose keys lie in blocks (attention.rs); int32 [B], tokens in each cache after the run minus one; cosines and sines
/// [positions, rotated / 2]. Gives [B, S, heads head] and the caches.
pub(super) struct Attention;

pub(super) struct AttentionKernel {
    heads: usize,
    kv_heads: usize,
    half: bool,
    /// The queries, rotated and scaled.
    queries: Vec<f32>,
}

impl Operator for Attention {
    type Kernel<'attr> = AttentionKernel;

    fn name(&self) -> &str {
        "Attention"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let float = TensorElementType::Float32;
        [float, float, float, TensorElementType::Int32, float, float].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [TensorElementType::Float32; 3].map(OperatorOutput::required)
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<AttentionKernel> {
        let half = node.get::<i64>("half") == Some(1);
        Ok(AttentionKernel { heads: size(node, "num_heads")?, kv_heads: size(node, "kv_num_heads")?, half, queries: Vec::new() })
    }
}

impl Kernel for AttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        // SAFETY: the tensors are as their operator declares them, live as long as the call, and the outputs are the call's alone.
        unsafe {
            let input = |number| Tensor::input(context, number);
            let (packed, past_key, past_value, last) = (input(0)?, input(1)?, input(2)?, input(3)?);
            let (cos, sin) = (input(4)?, input(5)?);
            let (&[rows, step, _], &[_, _, places, head], &[positions, angles]) = (packed.shape, past_key.shape, cos.shape)
            else {
                return Err(ort::Error::new("attention with other dimensions"));
            };
            let [rows, step, positions] = [rows, step, positions].map(|size| size as usize);
            let [places, head, angles] = [places, head, angles].map(|size| size as usize);
            let layer = Layer { heads: self.heads, kv_heads: self.kv_heads, head, places, angles, half: self.half };
            let cache = rows * layer.kv_heads * places * head;
            let last: &[i32] = last.slice();
            let longest = last.iter().map(|&last| last as usize + 1).max().unwrap_or(0);
            let fits = packed.len() == rows * step * layer.packed()
                && [past_key.len(), past_value.len()] == [cache; 2]
                && (last.len(), sin.len()) == (rows, cos.len())
                && 2 * angles <= head
                && places.is_multiple_of(16)
                && last.iter().all(|&last| last >= 0 && last as usize + 1 >= step)
                && longest <= places.min(positions);
            if !fits {
                return Err(ort::Error::new("attention with other sizes, or beyond its caches"));
            }
            let mixed = Tensor::output(context, 0, &[rows as i64, step as i64, (layer.heads * head) as i64])?;
            let present = [Tensor::output(context, 1, past_key.shape)?, Tensor::output(context, 2, past_value.shape)?];
            for (past, present) in [past_key, past_value].iter().zip(&present) {
                if past.data != present.data {
                    std::ptr::copy_nonoverlapping(past.data.cast::<f32>(), present.data.cast::<f32>(), cache);
                }
            }
            let [keys, values] = present.map(|present| present.bytes_mut());
            let mut caches = Caches { keys, values, last };
            layer.append(packed.slice(), step, [cos.slice(), sin.slice()], &mut caches, &mut self.queries);
            let (caches, queries, to) = (&caches, &*self.queries, Output::new(mixed.data.cast(), mixed.len()));
            let one = |number: usize| layer.mix(queries, step, caches, (number / layer.heads, number % layer.heads), &to);
            if 2 * rows * step * layer.heads * longest * head < SHARE {
                (0..rows * layer.heads).for_each(one);
                return Ok(());
            }
            share_out(context, rows * layer.heads, one)
        }
    }
}
