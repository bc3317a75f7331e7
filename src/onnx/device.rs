use std::fmt;
use std::path::Path;

use ort::ep;
use ort::session::builder::SessionBuilder;

/// Where graphs run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    #[default]
    Cpu,
    /// The GPU of this number.
    Cuda(i32),
}

impl Device {
    /// The execution provider's name in ONNX Runtime.
    pub fn provider(self) -> &'static str {
        match self {
            Self::Cpu => "CPUExecutionProvider",
            Self::Cuda(_) => "CUDAExecutionProvider",
        }
    }

    pub(super) fn cuda(self) -> Option<i32> {
        match self {
            Self::Cpu => None,
            Self::Cuda(index) => Some(index),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// Why CUDA cannot be used with a library, in words that tell the mend; none where it can, as far as that shows before a graph is loaded.
pub(super) fn cuda_obstacle(library: &Path) -> Option<String> {
    let folder = library.parent().unwrap_or(Path::new("."));
    let provider = folder.join("libonnxruntime_providers_cuda.so");
    if !provider.exists() {
        return Some(format!(
            "{} is ONNX Runtime for the CPU: {} is not beside it; the build for CUDA is in the wheel onnxruntime-gpu of PyPI, and the \
             setting `onnxruntime` names its library (docs/cuda.md)",
            library.display(),
            provider.file_name().unwrap_or_default().to_string_lossy()
        ));
    }
    // The driver makes it; in a container it is there only where the container was given the GPU.
    if !Path::new("/dev/nvidiactl").exists() && !Path::new("/dev/dxg").exists() {
        return Some(
            "this machine shows no NVIDIA GPU (no /dev/nvidiactl): install the driver, or give the container the GPU \
             (`docker run --gpus all`); `device = cpu` runs without one"
                .to_owned(),
        );
    }
    None
}

/// # Errors
/// The provider cannot be used: nothing then falls back to the CPU.
pub(super) fn with_providers(builder: SessionBuilder, device: Device) -> ort::Result<SessionBuilder> {
    match device {
        Device::Cpu => Ok(builder),
        Device::Cuda(index) => {
            let cuda = ep::CUDA::default()
                .with_device_id(index)
                // Caches grow by what is asked for, not by doubling: a GPU's memory is the batch's limit.
                .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
                .with_tf32(false)
                .build()
                .error_on_failure();
            Ok(builder.with_execution_providers([cuda])?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_without_cuda_says_how_to_get_one_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libonnxruntime.so");
        assert!(cuda_obstacle(&library).unwrap().contains("onnxruntime-gpu"));
        std::fs::write(folder.path().join("libonnxruntime_providers_cuda.so"), "").unwrap();
        if !Path::new("/dev/nvidiactl").exists() {
            assert!(cuda_obstacle(&library).unwrap().contains("no NVIDIA GPU"));
        }
    }
}
