use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use super::device::cuda_obstacle;
use super::{Device, OnnxError};
use crate::settings::DeviceChoice;

/// The loaded ONNX Runtime library. A process has one; clones share it.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: PathBuf,
}

/// The first library a process loads is its only one: ONNX Runtime cannot be unloaded.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// Where `make setup` puts the library.
pub fn default_library() -> PathBuf {
    let name = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };
    Path::new("runtime/onnxruntime").join(name)
}

impl Runtime {
    /// Loads the library from `library`, by default from where `make setup` puts it.
    ///
    /// # Errors
    /// The file is missing, is no ONNX Runtime, is older than 1.31, or the process already uses another one.
    pub fn load(library: Option<&Path>) -> Result<Self, OnnxError> {
        let asked = library.map_or_else(default_library, Path::to_owned);
        let error = |reason: String| OnnxError::Library { path: asked.display().to_string(), reason };
        // An absolute path: the loader would resolve a relative one against the executable.
        let path = asked.canonicalize().map_err(|e| error(e.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            return if runtime.library == path {
                Ok(runtime.clone())
            } else {
                Err(error(format!("this process already uses {}", runtime.library.display())))
            };
        }
        let environment = ort::init_from(&path)
            .map_err(|e| error(e.to_string()))?
            .with_name("retro")
            .build()
            .map_err(|e| error(e.to_string()))?;
        let runtime = Self { environment, library: path };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The library's own description of its build.
    pub fn version(&self) -> String {
        ort::info().to_owned()
    }

    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The device that `choice` comes to with this library on this machine.
    ///
    /// # Errors
    /// CUDA is asked for and cannot be used; the error tells the mend.
    pub fn device(&self, choice: DeviceChoice) -> Result<Device, OnnxError> {
        let obstacle = cuda_obstacle(&self.library);
        match (choice, obstacle) {
            (DeviceChoice::Cpu, _) | (DeviceChoice::Auto, Some(_)) => Ok(Device::Cpu),
            (DeviceChoice::Auto, None) => Ok(Device::Cuda(0)),
            (DeviceChoice::Cuda(index), None) => Ok(Device::Cuda(index)),
            (DeviceChoice::Cuda(index), Some(reason)) => Err(OnnxError::Device { device: Device::Cuda(index), reason }),
        }
    }
}
