//! The kernels as operators that ONNX Runtime calls.

use std::ffi::c_void;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput};
use ort::value::{DynTensorValueType, TensorElementType, ValueRef};
use ort::{AsPointer, sys};

use super::attention::{Caches, Layer};
use super::output::Output;
use super::product::{Matrix, Rows, multiply};
use super::rewrite::DOMAIN;
use crate::onnx::shared::Shared;

/// Multiplications below which a second thread costs more than it saves.
const SHARE: usize = 1 << 21;

pub(super) fn domain() -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?.add(Product)?.add(Attention)
}

/// x [.., K] times the transpose of an 8-bit matrix [N, K] as MatMulNBits stores it.
struct Product;

struct ProductKernel {
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
        let size = |name: &str| -> ort::Result<usize> {
            node.get::<i64>(name).and_then(|size| usize::try_from(size).ok()).ok_or_else(|| ort::Error::new(format!("no {name}")))
        };
        let shape = Shape { outputs: size("N")?, inputs: size("K")?, block: size("block_size")? };
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
            context.par_for(shares, 0, |share| {
                let at = |share: usize| share * matrix.panels() / shares;
                multiply(rows, matrix, at(share)..at(share + 1), &to);
            })
        }
    }
}

/// Causal attention onto caches: queries, keys and values side by side [B, S, (heads + 2 kv_heads) head]; caches [B, kv_heads, context,
/// head], whose keys lie in blocks (attention.rs); int32 [B], tokens in each cache after the run minus one; cosines and sines
/// [positions, rotated / 2]. Gives [B, S, heads head] and the caches.
struct Attention;

struct AttentionKernel {
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
        let count = |name: &str| -> ort::Result<usize> {
            node.get::<i64>(name)
                .and_then(|count| usize::try_from(count).ok().filter(|&count| count > 0))
                .ok_or_else(|| ort::Error::new(format!("no {name}")))
        };
        let half = node.get::<i64>("half") == Some(1);
        Ok(AttentionKernel { heads: count("num_heads")?, kv_heads: count("kv_num_heads")?, half, queries: Vec::new() })
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
            context.par_for(rows * layer.heads, 0, one)
        }
    }
}

/// A tensor in memory of the process. The wrappers of `ort` ask several times for its type, and allocate its shape.
#[derive(Clone, Copy)]
struct Tensor<'a> {
    data: *mut c_void,
    shape: &'a [i64],
}

impl<'a> Tensor<'a> {
    /// # Safety
    /// The operator has such an input.
    unsafe fn input(context: &'a ComputeContext, number: usize) -> ort::Result<Self> {
        let mut value = std::ptr::null();
        // SAFETY: the context is live.
        unsafe {
            ort::Error::result_from_status((ort::api().KernelContext_GetInput)(context.ptr(), number, &raw mut value))?;
            Self::of(value)
        }
    }

    /// # Safety
    /// The operator has such an output.
    unsafe fn output(context: &'a ComputeContext, number: usize, shape: &[i64]) -> ort::Result<Self> {
        let mut value = std::ptr::null_mut();
        // SAFETY: the context is live, and the shape is as long as it says.
        unsafe {
            let status = (ort::api().KernelContext_GetOutput)(
                context.ptr().cast_mut(),
                number,
                shape.as_ptr(),
                shape.len(),
                &raw mut value,
            );
            ort::Error::result_from_status(status)?;
            Self::of(value)
        }
    }

    /// # Safety
    /// The value is a tensor, or null.
    unsafe fn of(value: *const sys::OrtValue) -> ort::Result<Self> {
        if value.is_null() {
            return Err(ort::Error::new("a tensor is missing"));
        }
        let (mut data, mut shape, mut dimensions) = (std::ptr::null_mut(), std::ptr::null(), 0);
        let mut kind = sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        // SAFETY: the value is live; its shape lives as long as it does.
        unsafe {
            let api = ort::api();
            ort::Error::result_from_status((api.GetTensorMutableData)(value.cast_mut(), &raw mut data))?;
            let status =
                (api.GetTensorElementTypeAndShapeDataReference)(value, &raw mut kind, &raw mut shape, &raw mut dimensions);
            ort::Error::result_from_status(status)?;
            let shape = if dimensions == 0 { &[] } else { std::slice::from_raw_parts(shape, dimensions) };
            Ok(Self { data, shape })
        }
    }

    fn len(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }

    /// # Safety
    /// It holds such numbers, which nobody writes.
    unsafe fn slice<T>(&self) -> &'a [T] {
        // SAFETY: as many as its shape says.
        if self.len() == 0 { &[] } else { unsafe { std::slice::from_raw_parts(self.data.cast(), self.len()) } }
    }

    /// # Safety
    /// It holds numbers of 4 bytes, which nobody else reads or writes.
    unsafe fn bytes_mut(&self) -> &'a mut [u8] {
        // SAFETY: as many as its shape says.
        if self.len() == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(self.data.cast(), 4 * self.len()) } }
    }
}
