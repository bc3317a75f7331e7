//! ONNX Runtime: finding and loading the library, sessions with bound inputs and outputs. Knows nothing of RETRO.

mod graph;
mod runtime;

pub use graph::Graph;
pub use runtime::{Runtime, default_library};

/// What went wrong in ONNX Runtime.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OnnxError {
    #[error(
        "cannot load ONNX Runtime from {path}: {reason}; `make setup` installs it, the setting `onnxruntime` names another place"
    )]
    Library { path: String, reason: String },
    #[error("cannot load the graph {path}: {reason}")]
    Graph { path: String, reason: String },
    #[error("ONNX Runtime failed in {graph}: {reason}")]
    Run { graph: String, reason: String },
}
