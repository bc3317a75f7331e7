use std::path::Path;

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::{OnnxError, Runtime};

/// One ONNX graph with its session and the bindings of its inputs and outputs.
///
/// Not shared between threads: ONNX Runtime does not run one binding twice at a time, so a graph has one owner.
pub struct Graph {
    name: String,
    session: Session,
    binding: IoBinding,
    cpu: MemoryInfo<'static>,
    /// Outputs whose shape follows the inputs: bound anew before every run, or the last run's buffer would be taken for theirs.
    outputs: Vec<String>,
}

impl Graph {
    /// Loads a graph on `threads` threads (0: one for each core). `outputs` names the outputs that `run` gives back.
    ///
    /// # Errors
    /// The file or its external data is missing or no valid graph.
    pub fn load(runtime: &Runtime, path: &Path, threads: usize, outputs: &[&str]) -> Result<Self, OnnxError> {
        let error = |e: ort::Error| OnnxError::Graph { path: path.display().to_string(), reason: e.to_string() };
        let build = || -> ort::Result<Session> {
            // Threads that spin while they wait would take the cores from the database and the embedder. Step shapes change, so no memory pattern.
            let session = Session::builder(runtime.environment())?
                .with_optimization_level(GraphOptimizationLevel::Level3)?
                .with_intra_threads(threads)?
                .with_intra_op_spinning(false)?
                .with_memory_pattern(false)?
                .commit_from_file(path)?;
            Ok(session)
        };
        let session = build().map_err(error)?;
        let binding = session.create_binding().map_err(error)?;
        let cpu = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput).map_err(error)?;
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Ok(Self { name, session, binding, cpu, outputs: outputs.iter().map(|&output| output.to_owned()).collect() })
    }

    /// Binds a zeroed cache of `shape` that the graph reads as `past` and writes as `present` in the same memory, so that a step copies
    /// nothing. It lives as long as the graph.
    ///
    /// # Errors
    /// Out of memory, or the graph has no such input and output.
    pub fn bind_cache(&mut self, past: &str, present: &str, shape: [usize; 4]) -> Result<(), OnnxError> {
        let mut tensor = Tensor::<f32>::new(self.session.allocator(), shape).map_err(|e| self.error(e))?;
        tensor.extract_tensor_mut().1.fill(0.0);
        self.binding.bind_input(past, &tensor).map_err(|e| self.error(e))?;
        self.binding.bind_output(present, &mut tensor).map_err(|e| self.error(e))
    }

    /// # Errors
    /// The graph has no input `name` of this type.
    pub fn set_i64(&mut self, name: &str, shape: &[usize], data: Vec<i64>) -> Result<(), OnnxError> {
        let tensor = Tensor::from_array((shape.to_vec(), data)).map_err(|e| self.error(e))?;
        self.binding.bind_input(name, &tensor).map_err(|e| self.error(e))
    }

    /// # Errors
    /// The graph has no input `name` of this type.
    pub fn set_i32(&mut self, name: &str, shape: &[usize], data: Vec<i32>) -> Result<(), OnnxError> {
        let tensor = Tensor::from_array((shape.to_vec(), data)).map_err(|e| self.error(e))?;
        self.binding.bind_input(name, &tensor).map_err(|e| self.error(e))
    }

    /// # Errors
    /// The graph has no input `name` of this type.
    pub fn set_f32(&mut self, name: &str, shape: &[usize], data: Vec<f32>) -> Result<(), OnnxError> {
        let tensor = Tensor::from_array((shape.to_vec(), data)).map_err(|e| self.error(e))?;
        self.binding.bind_input(name, &tensor).map_err(|e| self.error(e))
    }

    /// Runs the graph on what is bound and returns the outputs in the order they were named at `load`.
    ///
    /// # Errors
    /// ONNX Runtime refuses the shapes or fails in a kernel.
    pub fn run(&mut self) -> Result<Vec<Vec<f32>>, OnnxError> {
        let Self { session, binding, cpu, outputs, name } = self;
        let mut run = || -> ort::Result<Vec<Vec<f32>>> {
            for output in outputs.iter() {
                binding.bind_output_to_device(output.as_str(), cpu)?;
            }
            let values = session.run_binding(binding)?;
            outputs.iter().map(|output| Ok(values[output.as_str()].try_extract_tensor::<f32>()?.1.to_vec())).collect()
        };
        run().map_err(|e| OnnxError::Run { graph: name.clone(), reason: e.to_string() })
    }

    fn error(&self, error: ort::Error) -> OnnxError {
        OnnxError::Run { graph: self.name.clone(), reason: error.to_string() }
    }
}
