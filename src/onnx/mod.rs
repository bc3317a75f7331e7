//! ONNX Runtime: finding and loading the library, execution providers, sessions, and the memory that graphs share. Knows nothing of RETRO.

mod device;
mod format;
mod graph;
mod kernels;
mod memory;
mod runtime;
mod shared;
mod weights;
mod workspace;

pub use device::Device;
pub use graph::{Cores, Graph};
pub use kernels::Products;
pub use memory::{Array, Element, Kind, Memory};
pub use runtime::{Runtime, default_library, keep_to_itself};
pub use workspace::{Binding, BufferId, GraphId, Part, Parts, Workspace};

/// What went wrong in ONNX Runtime.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OnnxError {
    #[error(
        "cannot load ONNX Runtime from {path}: {reason}; `make setup` installs it, the setting `onnxruntime` names another place"
    )]
    Library { path: String, reason: String },
    #[error("`device` is {device}, but {reason}")]
    Device { device: Device, reason: String },
    #[error("threads cannot be started: {0}")]
    Threads(String),
    #[error("cannot load the graph {path}: {reason}")]
    Graph { path: String, reason: String },
    #[error("ONNX Runtime failed in {graph}: {reason}")]
    Run { graph: String, reason: String },
}
