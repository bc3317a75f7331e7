//! The kernels as operators that ONNX Runtime calls.

mod attention;
mod linear;
mod product;
mod tensor;
mod text_attention;

use std::sync::atomic::{AtomicUsize, Ordering};

use ort::operator::{ComputeContext, KernelContext, OperatorDomain};

use super::cores;
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

/// Calls `one` with each number below `count`, on as many of the session's threads as the run may take.
fn share_out(context: &ComputeContext, count: usize, one: impl Fn(usize) + Send + Sync) -> ort::Result<()> {
    match cores::most() {
        usize::MAX => context.par_for(count, 0, one),
        1 => {
            (0..count).for_each(one);
            Ok(())
        }
        most => {
            let next = AtomicUsize::new(0);
            let numbers = || std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|&number| number < count);
            context.par_for(most.min(count), 0, |_| numbers().for_each(&one))
        }
    }
}
