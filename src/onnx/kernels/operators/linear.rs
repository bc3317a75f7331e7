use std::cell::RefCell;
use std::sync::Arc;

use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput};
use ort::value::TensorElementType;

use super::share_out;
use super::tensor::Tensor;
use crate::onnx::kernels::linear::{Finish, Matrix, Rows, multiply};
use crate::onnx::kernels::output::Output;

/// x [.., K] times the matrix of number `matrix` [K, N], plus [N] or [.., N], and GELU where `gelu` is 1.
pub(super) struct Linear {
    matrices: Vec<Arc<Matrix>>,
}

impl Linear {
    pub fn with(matrices: Vec<Matrix>) -> Self {
        Self { matrices: matrices.into_iter().map(Arc::new).collect() }
    }
}

pub(super) struct LinearKernel {
    matrix: Arc<Matrix>,
    gelu: bool,
}

thread_local! {
    // One for all nodes of a graph, which a thread runs one after the other: a batch's rows take megabytes.
    static ROWS: RefCell<Rows> = RefCell::new(Rows::default());
}

impl Operator for Linear {
    type Kernel<'attr> = LinearKernel;

    fn name(&self) -> &str {
        "Linear"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [TensorElementType::Float32; 2].map(OperatorInput::required)
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<LinearKernel> {
        let number = node.get::<i64>("matrix").and_then(|number| usize::try_from(number).ok());
        let matrix = number.and_then(|number| self.matrices.get(number)).ok_or_else(|| ort::Error::new("no such matrix"))?;
        Ok(LinearKernel { matrix: Arc::clone(matrix), gelu: node.get::<i64>("gelu") == Some(1) })
    }
}

impl Kernel for LinearKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let matrix = &*self.matrix;
        // SAFETY: the tensors are as their operator declares them, live as long as the call, and the output is the call's alone.
        unsafe {
            let (input, plus) = (Tensor::input(context, 0)?, Tensor::input(context, 1)?);
            let Some((&width, outer)) = input.shape.split_last() else { return Err(ort::Error::new("a product with a scalar")) };
            let shape = [outer, &[matrix.outputs() as i64]].concat();
            let output = Tensor::output(context, 0, &shape)?;
            if width as usize != matrix.inputs() || ![matrix.outputs(), output.len()].contains(&plus.len()) {
                return Err(ort::Error::new(format!("a product of {:?} plus {:?}", input.shape, plus.shape)));
            }
            let to = Output::new(output.data.cast(), output.len());
            let finish = Finish { plus: plus.slice(), gelu: self.gelu };
            let shares = |count: usize, share: &(dyn Fn(usize) + Sync)| share_out(context, count, share);
            ROWS.with_borrow_mut(|rows| multiply(input.slice(), matrix, finish, rows, &to, shares))
        }
    }
}
