use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::{DynTensorValueType, TensorElementType, ValueRef};

use super::tensor::Tensor;
use super::{SHARE, share_out, size};
use crate::onnx::kernels::output::Output;
use crate::onnx::kernels::product::{Matrix, Rows, multiply};
use crate::onnx::shared::Shared;

/// x [.., K] times the transpose of an 8-bit matrix [N, K] as MatMulNBits stores it.
pub(super) struct Product;

pub(super) struct ProductKernel {
    matrix: Arc<Matrix>,
    rows: Rows,
}

impl Operator for Product {
    type Kernel<'attr> = ProductKernel;

    fn name(&self) -> &str {
        "Product"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [TensorElementType::Float32, TensorElementType::Uint8, TensorElementType::Float32].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<ProductKernel> {
        let shape = Shape { outputs: size(node, "N")?, inputs: size(node, "K")?, block: size(node, "block_size")? };
        let stored: ValueRef<'_, DynTensorValueType> = node.constant_input(1)?;
        let scales: ValueRef<'_, DynTensorValueType> = node.constant_input(2)?;
        let (stored, scales) = (stored.try_extract_tensor::<u8>()?.1, scales.try_extract_tensor::<f32>()?.1);
        Ok(ProductKernel { matrix: packed(shape, stored, scales)?, rows: Rows::default() })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    outputs: usize,
    inputs: usize,
    block: usize,
}

/// One copy in memory of each matrix, whichever sessions use it.
static PACKED: Shared<Key, Matrix> = Shared::new();

/// A matrix's shape and a hash of its numbers.
type Key = (Shape, u64);

fn packed(shape: Shape, stored: &[u8], scales: &[f32]) -> ort::Result<Arc<Matrix>> {
    let blocks = shape.outputs * shape.inputs.div_ceil(shape.block);
    if stored.len() != blocks * shape.block || scales.len() != blocks {
        return Err(ort::Error::new("the matrix has another size than its node says"));
    }
    let mut hasher = DefaultHasher::new();
    stored.hash(&mut hasher);
    scales.iter().for_each(|scale| scale.to_bits().hash(&mut hasher));
    PACKED.get_or_make((shape, hasher.finish()), |_| Ok(Matrix::pack(stored, scales, shape.outputs, shape.inputs, shape.block)))
}

impl Kernel for ProductKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let (matrix, rows) = (&*self.matrix, &mut self.rows);
        // SAFETY: the tensors are as their operator declares them, and live as long as the call.
        unsafe {
            let input = Tensor::input(context, 0)?;
            let Some((&width, outer)) = input.shape.split_last() else { return Err(ort::Error::new("a product with a scalar")) };
            if width as usize != matrix.inputs() {
                return Err(ort::Error::new(format!("a product of {width} numbers with a matrix for {}", matrix.inputs())));
            }
            rows.quantise(input.slice(), matrix);
            let shape = [outer, &[matrix.outputs() as i64]].concat();
            let output = Tensor::output(context, 0, &shape)?;
            let to = Output::new(output.data.cast(), output.len());
            let work = output.len() * matrix.inputs();
            let shares = (work / SHARE).clamp(1, matrix.panels());
            if shares == 1 {
                multiply(rows, matrix, 0..matrix.panels(), &to);
                return Ok(());
            }
            let rows = &*rows;
            share_out(context, shares, |share| {
                let at = |share: usize| share * matrix.panels() / shares;
                multiply(rows, matrix, at(share)..at(share + 1), &to);
            })
        }
    }
}
