use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::tensor::Tensor;
use super::{share_out, size};
use crate::onnx::kernels::output::Output;
use crate::onnx::kernels::text_attention::Texts;

/// Attention of each text's tokens to each other: queries, keys and values side by side [texts, tokens, 3 heads head]; int32
/// [texts, tokens], 1 for a token and 0 for the padding behind the last. Gives [texts, tokens, heads head].
pub(super) struct TextAttention;

pub(super) struct TextAttentionKernel {
    heads: usize,
}

impl Operator for TextAttention {
    type Kernel<'attr> = TextAttentionKernel;

    fn name(&self) -> &str {
        "TextAttention"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [TensorElementType::Float32, TensorElementType::Int32].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<TextAttentionKernel> {
        Ok(TextAttentionKernel { heads: size(node, "num_heads")? })
    }
}

impl Kernel for TextAttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        // SAFETY: the tensors are as their operator declares them, live as long as the call, and the output is the call's alone.
        unsafe {
            let (packed, mask) = (Tensor::input(context, 0)?, Tensor::input(context, 1)?);
            let &[texts, room, width] = packed.shape else { return Err(ort::Error::new("attention with other dimensions")) };
            let (mask, width): (&[i32], usize) = (mask.slice(), width as usize);
            if !width.is_multiple_of(3 * self.heads) || mask.len() as i64 != texts * room {
                return Err(ort::Error::new("attention with other sizes"));
            }
            let mixed = Tensor::output(context, 0, &[texts, room, (width / 3) as i64])?;
            if mask.is_empty() {
                return Ok(());
            }
            let tokens = |text: &[i32]| text.iter().take_while(|&&token| token != 0).count();
            let tokens: Vec<usize> = mask.chunks_exact(room as usize).map(tokens).collect();
            if tokens.iter().sum::<usize>() != mask.iter().filter(|&&token| token != 0).count() {
                return Err(ort::Error::new("attention with padding that is not behind the text"));
            }
            let head = width / 3 / self.heads;
            let batch = Texts { heads: self.heads, head, room: room as usize, packed: packed.slice() };
            let to = Output::new(mixed.data.cast(), mixed.len());
            let one = |number: usize| {
                let text = number / self.heads;
                batch.attend(text, number % self.heads, tokens[text], &to);
            };
            share_out(context, tokens.len() * self.heads, one)
        }
    }
}
