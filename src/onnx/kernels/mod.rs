//! Operators of our own, for what ONNX Runtime's do several times slower on a processor with AVX-512: products with 8-bit matrices for a
//! few rows at a time, and attention of few queries onto a long cache (docs/decisions.md). Where the processor lacks the instructions,
//! graphs run as they are.

#[cfg(target_arch = "x86_64")]
mod attention;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no operators"))]
mod cores;
#[cfg(target_arch = "x86_64")]
mod functions;
#[cfg(target_arch = "x86_64")]
mod linear;
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
#[cfg(target_arch = "x86_64")]
mod text_attention;

use ort::session::builder::SessionBuilder;

pub(super) use cores::with_most;

use super::format::Model;

/// In what a graph computes its products with float32 matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    Float32,
    /// Integers of 13 bits (kernels/linear.rs), which only some processors have the instructions for: for a BERT.
    Integers,
}

impl Products {
    /// Whether graphs can run so on this machine's processor.
    pub fn are_supported(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        let integers = linear::is_supported() && text_attention::is_supported();
        #[cfg(not(target_arch = "x86_64"))]
        let integers = false;
        self == Self::Float32 || integers
    }
}

/// Whether graphs on this processor run with the operators for a decoder.
#[cfg(target_arch = "x86_64")]
fn are_supported() -> bool {
    product::is_supported() && attention::is_supported()
}

/// Puts these operators into a graph where they serve, and says whether any does; the session then knows them.
///
/// # Errors
/// The graph is no ONNX, or cannot run with such products.
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables, reason = "no operators"))]
pub(super) fn put_into(model: &mut Model, builder: SessionBuilder, products: Products) -> ort::Result<(SessionBuilder, bool)> {
    if !products.are_supported() {
        return Err(ort::Error::new("this processor lacks the instructions for products in integers (AVX-512 VNNI)"));
    }
    #[cfg(target_arch = "x86_64")]
    {
        let error = |error: prost::DecodeError| ort::Error::new(error.to_string());
        if products == Products::Integers {
            let matrices = rewrite::in_integers(model, text_attention::serves).map_err(error)?;
            if matrices.is_empty() {
                return Err(ort::Error::new("none of its products can be computed in integers"));
            }
            return Ok((builder.with_operators(operators::domain(matrices)?)?, true));
        }
        let served = rewrite::Served { product: product::serves, attention: attention::serves };
        if are_supported() && rewrite::steps(model, &served).map_err(error)? {
            return Ok((builder.with_operators(operators::domain(Vec::new())?)?, true));
        }
    }
    Ok((builder, false))
}
