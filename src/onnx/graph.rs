use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, Session};
use ort::value::{DynValue, ValueType};
use ort::{AsPointer, sys};
use prost::Message;
use prost::bytes::Bytes;

use super::format::Model;
use super::memory::{Array, Kind, Memory};
use super::weights::{self, Weights};
use super::{Device, OnnxError, Products, Runtime, device, kernels};

/// Options of a session (onnxruntime_session_options_config_keys.h).
const SPIN: &str = "session.intra_op.spin_duration_us";
const SPIN_MICROSECONDS: &str = "50";
const EXTERNAL_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// The cores that a run takes, of those its graph was loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    All,
    /// One is left to what runs meanwhile. This holds for the operators of `kernels`; ONNX Runtime's own take all.
    AllButOne,
}

/// One ONNX graph in a session of its own.
///
/// Not shared between threads: ONNX Runtime does not run one session on a GPU twice at a time, so a graph has one owner.
pub struct Graph {
    name: String,
    pub(super) session: Session,
    pub(super) device: Device,
    threads: usize,
    /// Released after the session, which reads them.
    _weights: Option<Arc<Weights>>,
}

impl Graph {
    /// Loads a graph on `threads` threads (0: one for each core).
    ///
    /// # Errors
    /// The file or its external data is missing or no valid graph, or the device or the processor cannot run it so.
    pub fn load(runtime: &Runtime, path: &Path, threads: usize, device: Device, products: Products) -> Result<Self, OnnxError> {
        let build = || -> ort::Result<(Session, Option<Arc<Weights>>)> {
            // Threads that spin for long would take the cores from the database and the embedder; those that sleep at once are woken for every
            // operator. Step shapes change, so no memory pattern.
            let builder = Session::builder(runtime.environment())?
                .with_optimization_level(GraphOptimizationLevel::Level3)?
                .with_intra_threads(threads)?
                .with_intra_op_spinning(threads != 1)?
                .with_config_entry(SPIN, SPIN_MICROSECONDS)?
                .with_memory_pattern(false)?;
            let builder = device::with_providers(builder, device)?;
            load(builder, path, device, products)
        };
        let (session, weights) =
            build().map_err(|e| OnnxError::Graph { path: path.display().to_string(), reason: e.to_string() })?;
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let threads = if threads > 0 { threads } else { std::thread::available_parallelism().map_or(1, usize::from) };
        Ok(Self { name, session, device, threads, _weights: weights })
    }

    /// Runs the graph once. Outputs come in the order of `outputs`, in memory of the process.
    ///
    /// # Errors
    /// The graph has no such inputs or outputs, or ONNX Runtime fails in a kernel.
    pub fn run(&mut self, inputs: &[(&str, &Array)], outputs: &[&str], cores: Cores) -> Result<Vec<Array>, OnnxError> {
        match cores {
            Cores::All => self.run_once(inputs, outputs),
            Cores::AllButOne => kernels::with_most((self.threads - 1).max(1), || self.run_once(inputs, outputs)),
        }
    }

    fn run_once(&mut self, inputs: &[(&str, &Array)], outputs: &[&str]) -> Result<Vec<Array>, OnnxError> {
        let mut run = || -> ort::Result<Vec<Array>> {
            let mut binding = self.session.create_binding()?;
            for (name, array) in inputs {
                // The binding ends before the arrays do.
                binding.bind_input(*name, &view(&self.session, &array.memory, array.kind, 0, &array.shape)?)?;
            }
            let cpu = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
            for output in outputs {
                binding.bind_output_to_device(*output, &cpu)?;
            }
            let values = self.session.run_binding(&binding)?;
            outputs.iter().map(|output| copied(&values[*output])).collect()
        };
        run().map_err(|e| OnnxError::Run { graph: self.name.clone(), reason: e.to_string() })
    }

    /// Runs the graph on what `binding` binds.
    pub(super) fn run_bound(&mut self, binding: &mut IoBinding) -> Result<(), OnnxError> {
        // The safe call would wrap every output, caches too, in a new value at each step.
        // SAFETY: both pointers are live, the binding is of this session, and `self` is borrowed alone, so that it runs once at a time.
        let result = unsafe {
            let status = (ort::api().RunWithBinding)(self.session.ptr().cast_mut(), std::ptr::null(), binding.ptr());
            ort::Error::result_from_status(status)
        };
        result.map_err(|e| self.error(e))
    }

    pub(super) fn error(&self, error: ort::Error) -> OnnxError {
        OnnxError::Run { graph: self.name.clone(), reason: error.to_string() }
    }
}

/// A session on the device: on a processor with the operators of `kernels` and with weights that all sessions share.
pub(super) fn load(
    mut builder: SessionBuilder,
    path: &Path,
    device: Device,
    products: Products,
) -> ort::Result<(Session, Option<Arc<Weights>>)> {
    let error = |reason: String| ort::Error::new(reason);
    if device != Device::Cpu {
        if products != Products::Float32 {
            return Err(error(format!("products in integers are computed on the CPU, not on {device}")));
        }
        return Ok((builder.commit_from_file(path)?, None));
    }
    let mut model =
        Model::decode(Bytes::from(std::fs::read(path).map_err(|e| error(e.to_string()))?)).map_err(|e| error(e.to_string()))?;
    let (builder, rewritten) = kernels::put_into(&mut model, builder, products)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let (mut builder, weights) = weights::share(builder, &model, folder)?;
    let session = if rewritten {
        // Where the graph's file would lie, which its weights lie beside.
        let mut builder = builder.with_config_entry(EXTERNAL_FOLDER, folder.to_string_lossy())?;
        builder.commit_from_memory(&model.encode_to_vec())?
    } else {
        builder.commit_from_file(path)?
    };
    if let Some(weights) = &weights {
        weights.release();
    }
    Ok((session, weights))
}

/// A tensor over `memory` from byte `offset` on. It must not outlive the memory: bindings and what they bind have one owner.
pub(super) fn view(session: &Session, memory: &Memory, kind: Kind, offset: usize, shape: &[usize]) -> ort::Result<DynValue> {
    let bytes = shape.iter().product::<usize>() * kind.size();
    assert!(offset + bytes <= memory.bytes(), "{shape:?} from byte {offset} on in {} bytes", memory.bytes());
    let cpu = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)?;
    // SAFETY: the memory holds the tensor, as asserted.
    unsafe { tensor(session.allocator(), &cpu, memory.pointer().add(offset).cast(), bytes, kind.sys(), &dimensions(shape)) }
}

/// A shape as ONNX Runtime takes it.
pub(super) fn dimensions(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&size| size as i64).collect()
}

/// A tensor of the type `element`, a number of onnx.proto's `TensorProto.DataType`, over bytes of the process.
///
/// # Safety
/// The bytes outlive the value, and nobody writes to it.
pub(super) unsafe fn tensor_over(bytes: &[u8], element: i32, shape: &[i64]) -> ort::Result<DynValue> {
    let kind = match element {
        1 => sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        2 => sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        7 => sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
        10 => sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        other => return Err(ort::Error::new(format!("weights of type {other}"))),
    };
    let cpu = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)?;
    // SAFETY: the caller answers for the bytes; ONNX Runtime refuses a shape that needs more of them.
    unsafe { tensor(&Allocator::default(), &cpu, bytes.as_ptr().cast_mut().cast(), bytes.len(), kind, shape) }
}

/// # Safety
/// `data` holds `bytes` bytes on the device of `info` for as long as the value is used.
pub(super) unsafe fn tensor(
    allocator: &Allocator,
    info: &MemoryInfo<'_>,
    data: *mut std::ffi::c_void,
    bytes: usize,
    kind: sys::ONNXTensorElementDataType,
    shape: &[i64],
) -> ort::Result<DynValue> {
    let mut value: *mut sys::OrtValue = std::ptr::null_mut();
    // SAFETY: the shape is as long as it says, and the caller answers for the data.
    let status = unsafe {
        (ort::api().CreateTensorWithDataAsOrtValue)(info.ptr(), data, bytes, shape.as_ptr(), shape.len(), kind, &raw mut value)
    };
    // SAFETY: a status that ONNX Runtime gave.
    unsafe { ort::Error::result_from_status(status)? };
    let value = NonNull::new(value).ok_or_else(|| ort::Error::new("no tensor was made"))?;
    // SAFETY: a value that was just made, and is released by its wrapper. The allocator is only asked for because the value is a tensor;
    // its data is not freed, since it did not make them.
    Ok(unsafe { DynValue::from_ptr(value, Some(allocator)) })
}

fn copied(value: &DynValue) -> ort::Result<Array> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(ort::Error::new("an output is no tensor"));
    };
    let kind = match ty {
        ort::value::TensorElementType::Float32 => Kind::F32,
        ort::value::TensorElementType::Float16 => Kind::F16,
        ort::value::TensorElementType::Int32 => Kind::I32,
        ort::value::TensorElementType::Int64 => Kind::I64,
        other => return Err(ort::Error::new(format!("an output has type {other}"))),
    };
    let shape: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
    let mut array = Array::zeroed(kind, &shape);
    let mut data: *mut std::ffi::c_void = std::ptr::null_mut();
    // SAFETY: the value is a tensor in memory of the process (so it was bound) with as many bytes as its shape and type say.
    unsafe {
        ort::Error::result_from_status((ort::api().GetTensorMutableData)(value.ptr().cast_mut(), &raw mut data))?;
        let bytes = array.memory.bytes();
        if bytes > 0 {
            array.memory.slice_mut::<u8>().copy_from_slice(std::slice::from_raw_parts(data.cast::<u8>(), bytes));
        }
    }
    Ok(array)
}
