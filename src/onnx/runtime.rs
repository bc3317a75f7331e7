use std::ffi::CStr;
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

/// Has ONNX Runtime, once it is loaded, send nothing to its maker: the builds of 1.29 and later do unless the environment says otherwise, and
/// the call of the library that says so comes after its first report.
///
/// # Safety
/// No other thread may read or write the environment meanwhile.
pub unsafe fn keep_to_itself() {
    // SAFETY: the caller's promise.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}

impl Runtime {
    /// Loads the library from `library`, by default from where `make setup` puts it.
    ///
    /// # Errors
    /// The file is missing, is no ONNX Runtime, is older than 1.31, or the process already uses another one.
    pub fn load(library: Option<&Path>) -> Result<Self, OnnxError> {
        let path = find(library)?;
        let error = |reason: String| OnnxError::Library { path: path.display().to_string(), reason };
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
            .with_telemetry(false)
            .build()
            .map_err(|e| error(e.to_string()))?;
        let runtime = Self { environment, library: path.clone() };
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The release of the library that [`load`](Self::load) would take, like `1.31.0`, and where it is. Nothing of it is started.
    ///
    /// # Errors
    /// The file is missing or is no ONNX Runtime.
    pub fn release(library: Option<&Path>) -> Result<(String, PathBuf), OnnxError> {
        let path = find(library)?;
        let error = |reason: String| OnnxError::Library { path: path.display().to_string(), reason };
        // SAFETY: what runs as it is loaded also runs when `load` loads it.
        let loaded = unsafe { libloading::Library::new(&path) }.map_err(|e| error(e.to_string()))?;
        // SAFETY: this is the type of the one function that every ONNX Runtime has under this name.
        let base = unsafe { loaded.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase") };
        let base = base.map_err(|e| error(e.to_string()))?;
        // SAFETY: it gives a structure that lives as long as the library, and so does the text.
        let text = unsafe { CStr::from_ptr(((*base()).GetVersionString)()) };
        let release = text.to_string_lossy().into_owned();
        // It cannot be unloaded.
        std::mem::forget(loaded);
        Ok((release, path))
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

/// An absolute path: the loader would resolve a relative one against the executable.
fn find(library: Option<&Path>) -> Result<PathBuf, OnnxError> {
    let asked = library.map_or_else(default_library, Path::to_owned);
    let missing = |e: std::io::Error| OnnxError::Library { path: asked.display().to_string(), reason: e.to_string() };
    asked.canonicalize().map_err(missing)
}
