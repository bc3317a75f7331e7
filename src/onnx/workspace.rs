use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::IoBinding;
use ort::value::{DynTensor, DynValue, Tensor};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::graph::{dimensions, tensor, view};
use super::memory::{Element, Kind, Memory};
use super::{Graph, OnnxError};

/// A graph of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GraphId(usize);

/// A buffer of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferId(usize);

/// A part of a buffer as a tensor.
#[derive(Clone, Debug)]
pub struct Part {
    pub buffer: BufferId,
    pub kind: Kind,
    /// In bytes.
    pub offset: usize,
    pub shape: Vec<usize>,
}

/// Inputs or outputs by name.
pub type Parts = Vec<(String, Part)>;

/// One way to run a graph: its inputs and outputs, bound to buffers once and then read and written in place.
pub struct Binding {
    graph: GraphId,
    binding: IoBinding,
    /// Inputs that a device copies when they are bound, so that they are bound again before each run.
    copied: Vec<(String, DynValue)>,
}

/// Graphs with the buffers that they share.
///
/// A run reads and writes the buffers in place, and a caller reads and writes them between runs: both borrow the workspace, so never at
/// the same time. Self-attention caches bound as `past` and `present` in one place are updated without a copy (the operator compares
/// pointers).
pub struct Workspace {
    graphs: Vec<Graph>,
    buffers: Vec<Buffer>,
    /// What runs beside the caller's thread.
    threads: Option<ThreadPool>,
}

enum Buffer {
    Host(Memory),
    /// Memory of the graphs' device, as bytes.
    Device(Tensor<u8>),
}

impl Binding {
    fn run(&mut self, graph: &mut Graph) -> Result<(), OnnxError> {
        for (name, value) in &self.copied {
            self.binding.bind_input(name, value).map_err(|e| graph.error(e))?;
        }
        graph.run_bound(&mut self.binding)
    }
}

/// A job of [`Workspace::run_together`].
struct Run<'a> {
    bound: Vec<(&'a mut Binding, &'a mut Graph)>,
    result: Result<(), OnnxError>,
}

impl Run<'_> {
    fn go(&mut self) {
        self.result = self.bound.iter_mut().try_for_each(|(binding, graph)| binding.run(graph));
    }
}

impl Workspace {
    /// `jobs`: how many [`run_together`](Self::run_together) runs at the same time.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn new(jobs: usize) -> Result<Self, OnnxError> {
        let start = || ThreadPoolBuilder::new().num_threads(jobs - 1).thread_name(|number| format!("step-{number}")).build();
        let threads = (jobs > 1).then(start).transpose().map_err(|e| OnnxError::Threads(e.to_string()))?;
        Ok(Self { graphs: Vec::new(), buffers: Vec::new(), threads })
    }

    pub fn add_graph(&mut self, graph: Graph) -> GraphId {
        self.graphs.push(graph);
        GraphId(self.graphs.len() - 1)
    }

    /// Zeroed memory of the process.
    pub fn add_buffer(&mut self, bytes: usize) -> BufferId {
        self.buffers.push(Buffer::Host(Memory::zeroed(bytes)));
        BufferId(self.buffers.len() - 1)
    }

    /// Memory on the device of `graph`: of the process where that is the CPU. What it holds at first must not be read.
    ///
    /// # Errors
    /// The device has no room.
    pub fn add_device_buffer(&mut self, graph: GraphId, bytes: usize) -> Result<BufferId, OnnxError> {
        let graph = &self.graphs[graph.0];
        let Some(index) = graph.device.cuda() else { return Ok(self.add_buffer(bytes)) };
        let allocate = || -> ort::Result<Tensor<u8>> {
            let info = MemoryInfo::new(AllocationDevice::CUDA, index, AllocatorType::Device, MemoryType::Default)?;
            Tensor::new(&Allocator::new(&graph.session, info)?, [bytes])
        };
        let tensor = allocate().map_err(|e| graph.error(e))?;
        self.buffers.push(Buffer::Device(tensor));
        Ok(BufferId(self.buffers.len() - 1))
    }

    /// Binds parts of buffers to a graph's inputs and outputs.
    ///
    /// # Errors
    /// The graph has no such input or output.
    pub fn bind(&self, graph: GraphId, inputs: &Parts, outputs: &Parts) -> Result<Binding, OnnxError> {
        let owner = &self.graphs[graph.0];
        let on_device = owner.device.cuda().is_some();
        let bind = || -> ort::Result<Binding> {
            let mut binding = owner.session.create_binding()?;
            let mut copied = Vec::new();
            for (name, part) in inputs {
                let value = self.value(owner, part)?;
                if on_device && matches!(self.buffers[part.buffer.0], Buffer::Host(_)) {
                    copied.push((name.clone(), value));
                } else {
                    binding.bind_input(name.as_str(), &value)?;
                }
            }
            for (name, part) in outputs {
                binding.bind_output(name.as_str(), &mut self.value(owner, part)?)?;
            }
            Ok(Binding { graph, binding, copied })
        };
        bind().map_err(|e| owner.error(e))
    }

    /// # Errors
    /// ONNX Runtime refuses the shapes or fails in a kernel.
    pub fn run(&mut self, binding: &mut Binding) -> Result<(), OnnxError> {
        binding.run(&mut self.graphs[binding.graph.0])
    }

    /// Runs several jobs at the same time, the bindings of each one after the other. No two jobs have a graph in common, nor a part of a
    /// buffer that one of them writes.
    ///
    /// # Errors
    /// The first error of a run; all that were begun have ended.
    pub fn run_together(&mut self, jobs: &mut [Vec<Binding>]) -> Result<(), OnnxError> {
        let mut graphs: Vec<Option<&mut Graph>> = self.graphs.iter_mut().map(Some).collect();
        let mut runs: Vec<Run<'_>> = jobs
            .iter_mut()
            .map(|job| {
                let mut with_graph = |binding: &Binding| graphs[binding.graph.0].take().expect("jobs share no graph");
                let bound = job.iter_mut().map(|binding| (with_graph(binding), binding)).map(|(graph, binding)| (binding, graph));
                Run { bound: bound.collect(), result: Ok(()) }
            })
            .collect();
        match (&self.threads, runs.split_first_mut()) {
            (Some(threads), Some((first, others))) if !others.is_empty() => threads.in_place_scope(|scope| {
                others.iter_mut().for_each(|run| scope.spawn(|_| run.go()));
                first.go();
            }),
            _ => runs.iter_mut().for_each(Run::go),
        }
        runs.into_iter().try_for_each(|run| run.result)
    }

    pub fn read<T: Element>(&self, buffer: BufferId) -> &[T] {
        self.host(buffer).slice()
    }

    pub fn write<T: Element>(&mut self, buffer: BufferId) -> &mut [T] {
        match &mut self.buffers[buffer.0] {
            Buffer::Host(memory) => memory.slice_mut(),
            Buffer::Device(_) => panic!("memory of a device is not written from here"),
        }
    }

    /// Copies `bytes` bytes within a buffer; the two places do not overlap.
    ///
    /// # Errors
    /// The device fails.
    pub fn copy_within(
        &mut self,
        graph: GraphId,
        buffer: BufferId,
        from: usize,
        to: usize,
        bytes: usize,
    ) -> Result<(), OnnxError> {
        if let Buffer::Host(memory) = &mut self.buffers[buffer.0] {
            memory.slice_mut::<u8>().copy_within(from..from + bytes, to);
            return Ok(());
        }
        let owner = &self.graphs[graph.0];
        let part = |offset| Part { buffer, kind: Kind::F16, offset, shape: vec![bytes / Kind::F16.size()] };
        let copy = || -> ort::Result<()> {
            let (source, target) = (self.value(owner, &part(from))?, self.value(owner, &part(to))?);
            let (source, mut target): (DynTensor, DynTensor) = (source.downcast()?, target.downcast()?);
            source.copy_into(&mut target)
        };
        copy().map_err(|e| owner.error(e))
    }

    fn host(&self, buffer: BufferId) -> &Memory {
        match &self.buffers[buffer.0] {
            Buffer::Host(memory) => memory,
            Buffer::Device(_) => panic!("memory of a device is not read from here"),
        }
    }

    fn value(&self, graph: &Graph, part: &Part) -> ort::Result<DynValue> {
        match &self.buffers[part.buffer.0] {
            Buffer::Host(memory) => view(&graph.session, memory, part.kind, part.offset, &part.shape),
            Buffer::Device(whole) => {
                let bytes = part.shape.iter().product::<usize>() * part.kind.size();
                assert!(part.offset + bytes <= whole.shape().num_elements(), "{part:?} lies in its buffer");
                let start = whole.data_ptr().cast_mut().cast::<u8>();
                // SAFETY: the buffer holds the part, as asserted, and lives as long as the workspace.
                unsafe {
                    let data = start.add(part.offset).cast();
                    tensor(graph.session.allocator(), whole.memory_info(), data, bytes, part.kind.sys(), &dimensions(&part.shape))
                }
            }
        }
    }
}
