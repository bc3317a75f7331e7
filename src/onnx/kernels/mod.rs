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

use std::path::Path;

use ort::session::Session;
use ort::session::builder::SessionBuilder;

/// Whether graphs on this processor run with these operators.
pub fn own_operators() -> bool {
    #[cfg(target_arch = "x86_64")]
    return product::is_supported() && attention::is_supported();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// A session on the processor, with these operators where they serve.
pub(super) fn commit(mut builder: SessionBuilder, path: &Path) -> ort::Result<Session> {
    #[cfg(target_arch = "x86_64")]
    if own_operators() {
        let onnx = std::fs::read(path).map_err(|e| ort::Error::new(e.to_string()))?;
        let served = rewrite::Served { product: product::serves, attention: attention::serves };
        if let Some(onnx) = rewrite::rewrite(&onnx, &served).map_err(|e| ort::Error::new(e.to_string()))? {
            let folder = path.parent().unwrap_or(Path::new("."));
            return builder
                .with_operators(operators::domain()?)?
                .with_config_entry("session.model_external_initializers_file_folder_path", folder.to_string_lossy())?
                .commit_from_memory(&onnx);
        }
    }
    builder.commit_from_file(path)
}
