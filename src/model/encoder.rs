use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use super::{Manifest, ModelError, ModelFolder};
use crate::batch_cache::BatchCache;
use crate::metrics;
use crate::onnx::{Array, Cores, Device, Graph, Kind, OnnxError, Products, Runtime};
use crate::text::{CHUNK_LENGTH, TokenId};

/// Tokens of one retrieved neighbour; what is longer than the model reads is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighbourTokens {
    pub neighbour: Vec<TokenId>,
    pub continuation: Vec<TokenId>,
}

/// A chunk whose neighbours are to be encoded.
#[derive(Clone, Debug)]
pub struct ChunkNeighbours {
    /// The chunk's hidden states, 1 to 64 rows of [d] in the variant's data type.
    pub hidden: Vec<u8>,
    /// At least one.
    pub neighbours: Vec<NeighbourTokens>,
}

/// Cross-attention keys and values of one chunk's neighbours, kept as long as tokens attend the chunk.
#[cfg_attr(test, derive(Default))]
pub struct EncodedNeighbours {
    /// T: slots that cross-attention reads.
    pub(super) tokens: usize,
    /// For each CCA layer the keys and then the values, [heads, T, head_size].
    pub(super) parts: Vec<Vec<u8>>,
    /// [T]
    pub(super) mask: Vec<u8>,
}

impl EncodedNeighbours {
    fn bytes(&self) -> u64 {
        (self.parts.iter().map(Vec::len).sum::<usize>() + self.mask.len()) as u64
    }
}

/// A handle to the thread that owns the encoder's session; clones share it. The thread ends with the last handle.
///
/// Equal chunks with equal neighbours are encoded once, as long as the result stays in the cache.
#[derive(Clone)]
pub struct Encoder {
    jobs: mpsc::Sender<Job>,
    cache: Arc<BatchCache<Key, Arc<EncodedNeighbours>>>,
}

type Key = [u8; 32];

/// About what the neighbours of a chunk take.
const USUAL_BYTES: u64 = 1 << 20;

struct Job {
    cores: Cores,
    chunks: Vec<ChunkNeighbours>,
    /// Of whoever asks.
    span: Span,
    answer: oneshot::Sender<Result<Vec<Arc<EncodedNeighbours>>, OnnxError>>,
}

impl Encoder {
    /// Loads the chosen variant's encoder and starts its thread. `cache_bytes` bounds what is kept of finished work; 0 keeps nothing.
    ///
    /// # Errors
    /// ONNX Runtime refuses the graph, or the thread cannot be started.
    pub fn load(
        runtime: &Runtime,
        folder: &ModelFolder,
        threads: usize,
        device: Device,
        cache_bytes: u64,
    ) -> Result<Self, ModelError> {
        let graph = Graph::load(runtime, &folder.graph("encoder.onnx"), threads, device, Products::Float32)?;
        let worker = Worker { graph, manifest: Arc::clone(folder.manifest()), kind: folder.kind() };
        let weigh = |_: &Key, encoded: &Arc<EncodedNeighbours>| encoded.bytes();
        let cache = Arc::new(BatchCache::new(metrics::Cache::Encoded, cache_bytes, USUAL_BYTES, weigh));
        let (jobs, queue) = mpsc::channel(64);
        std::thread::Builder::new()
            .name("encoder".to_owned())
            .spawn(move || worker.run(queue))
            .map_err(|e| ModelError::Thread(e.to_string()))?;
        Ok(Self { jobs, cache })
    }

    /// Encodes the neighbours of each chunk, in order, on so many cores.
    ///
    /// # Errors
    /// ONNX Runtime fails, or the thread has ended.
    pub async fn encode(&self, cores: Cores, chunks: Vec<ChunkNeighbours>) -> Result<Vec<Arc<EncodedNeighbours>>, OnnxError> {
        let wanted = chunks.into_iter().map(|chunk| (chunk.key(), chunk)).collect();
        self.cache.get_or_make(wanted, |missing| self.submit(cores, missing)).await
    }

    async fn submit(&self, cores: Cores, chunks: Vec<ChunkNeighbours>) -> Result<Vec<Arc<EncodedNeighbours>>, OnnxError> {
        let stopped = || OnnxError::Run { graph: "encoder".to_owned(), reason: "its thread has ended".to_owned() };
        let (answer, result) = oneshot::channel();
        self.jobs.send(Job { cores, chunks, span: Span::current(), answer }).await.map_err(|_| stopped())?;
        result.await.map_err(|_| stopped())?
    }
}

impl ChunkNeighbours {
    fn key(&self) -> Key {
        let mut hash = Sha256::new();
        hash.update((self.hidden.len() as u64).to_le_bytes());
        hash.update(&self.hidden);
        for neighbour in &self.neighbours {
            for part in [&neighbour.neighbour, &neighbour.continuation] {
                hash.update((part.len() as u64).to_le_bytes());
                part.iter().for_each(|token| hash.update(token.to_le_bytes()));
            }
        }
        hash.finalize().into()
    }
}

struct Worker {
    graph: Graph,
    manifest: Arc<Manifest>,
    kind: Kind,
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.blocking_recv() {
            if job.answer.is_closed() {
                continue;
            }
            let run = tracing::trace_span!(parent: &job.span, "encoder_run", chunks = job.chunks.len());
            let result = run.in_scope(|| self.encode(&job.chunks, job.cores));
            // Whoever asked may have gone meanwhile.
            let _ = job.answer.send(result);
        }
    }

    /// One run for the chunks that have the same number of neighbours, so that nobody's are padded.
    fn encode(&mut self, chunks: &[ChunkNeighbours], cores: Cores) -> Result<Vec<Arc<EncodedNeighbours>>, OnnxError> {
        let mut results = vec![None; chunks.len()];
        let mut counts: Vec<usize> = chunks.iter().map(|chunk| chunk.neighbours.len()).collect();
        counts.sort_unstable();
        counts.dedup();
        for count in counts {
            let places: Vec<usize> = (0..chunks.len()).filter(|&at| chunks[at].neighbours.len() == count).collect();
            let group: Vec<&ChunkNeighbours> = places.iter().map(|&at| &chunks[at]).collect();
            for (at, encoded) in places.into_iter().zip(self.encode_group(&group, count, cores)?) {
                results[at] = Some(Arc::new(encoded));
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    fn encode_group(
        &mut self,
        chunks: &[&ChunkNeighbours],
        count: usize,
        cores: Cores,
    ) -> Result<Vec<EncodedNeighbours>, OnnxError> {
        let (manifest, size) = (&self.manifest, self.kind.size());
        let row = manifest.hidden_size * size;
        let one = one(self.kind);
        let mut tokens = Vec::with_capacity(chunks.len() * count * manifest.retrieved_length());
        let (mut hidden, mut mask) = (Vec::new(), Vec::new());
        for chunk in chunks {
            for neighbour in &chunk.neighbours {
                tokens.extend(manifest.padded(neighbour).into_iter().map(i64::from));
            }
            let rows = chunk.hidden.len() / row;
            let padding = CHUNK_LENGTH - rows;
            hidden.extend(std::iter::repeat_n(0u8, padding * row));
            hidden.extend_from_slice(&chunk.hidden);
            mask.extend(std::iter::repeat_n(0u8, padding * size));
            (0..rows).for_each(|_| mask.extend_from_slice(one));
        }
        let inputs = [
            ("neighbour_tokens", Array::i64(&[chunks.len(), count, manifest.retrieved_length()], &tokens)),
            ("chunk_hidden", Array::bytes(self.kind, &[chunks.len(), CHUNK_LENGTH, manifest.hidden_size], &hidden)),
            ("chunk_mask", Array::bytes(self.kind, &[chunks.len(), CHUNK_LENGTH], &mask)),
        ];
        let inputs: Vec<(&str, &Array)> = inputs.iter().map(|(name, array)| (*name, array)).collect();
        let names = cross_names(manifest.cross_attention.layers);
        let mut outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        outputs.push("cross_mask");
        let mut arrays = self.graph.run(&inputs, &outputs, cores)?;
        let mask = arrays.pop().expect("the mask was asked for");
        let of = |array: &Array, chunk: usize| {
            let bytes = array.memory.bytes() / chunks.len();
            array.memory.slice::<u8>()[chunk * bytes..(chunk + 1) * bytes].to_vec()
        };
        Ok((0..chunks.len())
            .map(|chunk| EncodedNeighbours {
                tokens: mask.shape[1],
                parts: arrays.iter().map(|array| of(array, chunk)).collect(),
                mask: of(&mask, chunk),
            })
            .collect())
    }
}

/// Outputs of the encoder and inputs of the upper graph, in the order of [`EncodedNeighbours::parts`].
pub(super) fn cross_names(layers: usize) -> Vec<String> {
    (0..layers).flat_map(|layer| [format!("cross_key_{layer}"), format!("cross_value_{layer}")]).collect()
}

/// The number 1 as its bytes.
fn one(kind: Kind) -> &'static [u8] {
    const F32: [u8; 4] = 1f32.to_ne_bytes();
    match kind {
        Kind::F16 => &[0x00, 0x3c],
        _ => &F32,
    }
}

impl Manifest {
    /// Neighbour and continuation at the fixed lengths that the encoder reads.
    fn padded(&self, tokens: &NeighbourTokens) -> Vec<TokenId> {
        let part = |tokens: &[TokenId], length: usize| {
            let mut part: Vec<TokenId> = tokens.iter().copied().take(length).collect();
            part.resize(length, self.pad_token);
            part
        };
        let mut padded = part(&tokens.neighbour, self.neighbour_length);
        padded.extend(part(&tokens.continuation, self.continuation_length));
        padded
    }
}
