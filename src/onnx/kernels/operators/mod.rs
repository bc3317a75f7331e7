//! The kernels as operators that ONNX Runtime calls.

mod attention;
mod linear;
mod product;
mod tensor;
mod text_attention;

use ort::operator::{KernelContext, OperatorDomain};

use super::linear::Matrix;
use super::rewrite::DOMAIN;

/// Multiplications below which a second thread costs more than it saves.
const SHARE: usize = 1 << 21;

/// The operators; `Linear` finds its matrices among `matrices`.
pub(super) fn domain(matrices: Vec<Matrix>) -> ort::Result<OperatorDomain> {
    OperatorDomain::new(DOMAIN)?
        .add(product::Product)?
        .add(attention::Attention)?
        .add(linear::Linear::with(matrices))?
        .add(text_attention::TextAttention)
}

/// An attribute that is a positive number.
fn size(node: &KernelContext<'_>, name: &str) -> ort::Result<usize> {
    let size = node.get::<i64>(name).and_then(|size| usize::try_from(size).ok()).filter(|&size| size > 0);
    size.ok_or_else(|| ort::Error::new(format!("no {name}")))
}
