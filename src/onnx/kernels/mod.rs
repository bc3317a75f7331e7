//! Operators of our own, for what ONNX Runtime's do several times slower on a processor with AVX-512: products with 8-bit matrices for a
//! few rows at a time, and attention of few queries onto a long cache (docs/decisions.md). Where the processor lacks the instructions,
//! graphs run as they are.

#[cfg(target_arch = "x86_64")]
mod attention;
#[cfg(target_arch = "x86_64")]
mod operators;
#[cfg(target_arch = "x86_64")]
mod output;
#[cfg(target_arch = "x86_64")]
mod product;
#[cfg(target_arch = "x86_64")]
mod rewrite;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;

use ort::session::builder::SessionBuilder;

use super::format::Model;

/// Whether graphs on this processor run with these operators.
#[cfg(target_arch = "x86_64")]
fn are_supported() -> bool {
    product::is_supported() && attention::is_supported()
}

/// Puts these operators into a graph where they serve, and says whether any does; the session then knows them.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, clippy::unnecessary_wraps, reason = "no operators"))]
pub(super) fn put_into(model: &mut Model, builder: SessionBuilder) -> ort::Result<(SessionBuilder, bool)> {
    #[cfg(target_arch = "x86_64")]
    if are_supported() {
        let served = rewrite::Served { product: product::serves, attention: attention::serves };
        if rewrite::rewrite(model, &served).map_err(|e| ort::Error::new(e.to_string()))? {
            return Ok((builder.with_operators(operators::domain()?)?, true));
        }
    }
    Ok((builder, false))
}
