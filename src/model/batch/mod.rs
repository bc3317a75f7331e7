mod stage;
mod step;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use self::stage::Stage;
use super::caches::Caches;
use super::cross::Cross;
use super::slots::{Sequence, Slot};
use super::{EncodedNeighbours, Manifest, ModelError, ModelFolder};
use crate::onnx::{BufferId, Device, Graph, GraphId, Kind, OnnxError, Products, Runtime, Workspace};
use crate::text::{CHUNK_LENGTH, Grid, TokenId};

/// Which tokens' logits a span computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    /// Of the last token of the sequence: what generation needs.
    Last,
    /// Of every token: what scoring needs.
    All,
}

/// How a model is loaded.
#[derive(Clone, Copy, Debug)]
pub struct ModelOptions {
    /// Sequences at a time.
    pub slots: usize,
    /// 0: one for each core.
    pub threads: usize,
    pub device: Device,
}

/// The lower and upper graphs with the key/value caches of several sequences, each in a slot.
///
/// A sequence grows by [`extend`](Model::extend) (its prompt, in slices) or by one token in [`step`](Model::step) with others: both run the
/// lower graph. Where that completes a chunk, the sequence needs the chunk's neighbours, which are found and encoded elsewhere and come in
/// by [`attend`](Model::attend); [`finish`](Model::finish) then runs the upper graph. A step finishes those that need to wait for nothing.
///
/// Sequences lie in the rows of the batch without gaps, so that a step of few rows computes few.
pub struct Model {
    manifest: Arc<Manifest>,
    kind: Kind,
    work: Workspace,
    lower: Stage,
    upper: Stage,
    cross: Cross,
    buffers: Buffers,
    sequences: Vec<Option<Sequence>>,
    /// The slot in each row of the batch.
    rows: Vec<Slot>,
}

/// Inputs and outputs besides the caches and their lengths.
struct Buffers {
    tokens: BufferId,
    /// Out of the lower graph, and into the upper graph.
    hidden: BufferId,
    hidden_in: BufferId,
    cross_position: BufferId,
    logits_from: BufferId,
    logits: BufferId,
}

impl Model {
    /// Loads the chosen variant of a model folder.
    ///
    /// # Errors
    /// ONNX Runtime refuses a graph, or the device has no room for the caches.
    pub fn load(runtime: &Runtime, folder: &ModelFolder, options: ModelOptions) -> Result<Self, ModelError> {
        let (manifest, kind) = (Arc::clone(folder.manifest()), folder.kind());
        let ModelOptions { slots, threads, device } = options;
        // A GPU runs the whole batch at once; of the cores each takes a share of its rows.
        let shares = if device == Device::Cpu { threads_of(threads).min(slots) } else { 1 };
        let mut work = Workspace::new(shares)?;
        let mut stage = |file: &str, layers: usize| -> Result<Stage, ModelError> {
            let mut graph = |threads| -> Result<GraphId, OnnxError> {
                Ok(work.add_graph(Graph::load(runtime, &folder.graph(file), threads, device, Products::Float32)?))
            };
            let wide = graph(threads)?;
            let narrow = if shares == 1 { vec![wide] } else { (0..shares).map(|_| graph(1)).collect::<Result<_, _>>()? };
            let caches = Caches::new(&mut work, wide, &manifest, layers, slots, kind, device != Device::Cpu)?;
            let (lengths, total) = (work.add_buffer(slots * Kind::I32.size()), work.add_buffer(Kind::I32.size()));
            Ok(Stage { wide, narrow, caches, lengths, total, steps: HashMap::new() })
        };
        let lower = stage("lower.onnx", manifest.self_attention.lower_layers)?;
        let upper = stage("upper.onnx", manifest.self_attention.upper_layers)?;
        let cross = Cross::new(&mut work, &manifest, slots, kind);
        let most = slots.max(CHUNK_LENGTH);
        let buffers = Buffers {
            tokens: work.add_buffer(most * Kind::I64.size()),
            hidden: work.add_buffer(most * manifest.hidden_size * kind.size()),
            hidden_in: work.add_buffer(most * manifest.hidden_size * kind.size()),
            cross_position: work.add_buffer(most * Kind::I64.size()),
            logits_from: work.add_buffer(Kind::I64.size()),
            logits: work.add_buffer(most * manifest.vocabulary * Kind::F32.size()),
        };
        let sequences = (0..slots).map(|_| None).collect();
        Ok(Self { manifest, kind, work, lower, upper, cross, buffers, sequences, rows: Vec::new() })
    }

    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Sequences that it can hold.
    pub fn slots(&self) -> usize {
        self.sequences.len()
    }

    pub fn free_slots(&self) -> usize {
        self.sequences.len() - self.rows.len()
    }

    /// Begins a sequence with its chunks on `grid`; none where every slot is taken. Without `retrieval` no chunk has neighbours.
    pub fn open(&mut self, grid: Grid, retrieval: bool) -> Option<Slot> {
        self.add_row(Sequence::new(self.rows.len(), grid, retrieval, self.row_bytes()))
    }

    /// Begins a sequence that goes on from where another is; none where every slot is taken.
    ///
    /// # Errors
    /// The device fails.
    pub fn fork(&mut self, slot: Slot) -> Result<Option<Slot>, OnnxError> {
        if self.free_slots() == 0 {
            return Ok(None);
        }
        let row = self.rows.len();
        self.copy_caches(slot, row)?;
        Ok(self.add_row(self.sequence(slot).fork(row)))
    }

    /// Puts a sequence into a free slot; its row is the next one.
    fn add_row(&mut self, sequence: Sequence) -> Option<Slot> {
        let free = Slot(self.sequences.iter().position(Option::is_none)?);
        self.cross.write(&mut self.work, sequence.row, None);
        self.sequences[free.0] = Some(sequence);
        self.rows.push(free);
        Some(free)
    }

    /// Ends a sequence; the last row of the batch moves into its place.
    ///
    /// # Errors
    /// The device fails.
    pub fn close(&mut self, slot: Slot) -> Result<(), OnnxError> {
        let Some(closed) = self.sequences[slot.0].take() else { return Ok(()) };
        let last = self.rows.pop().expect("an open slot has a row");
        if last != slot {
            self.copy_caches(last, closed.row)?;
            self.rows[closed.row] = last;
            let moved = self.sequence_mut(last);
            moved.row = closed.row;
            moved.attending = None;
            self.cross.write(&mut self.work, closed.row, None);
        }
        if self.rows.is_empty() {
            self.cross.resize(1);
        }
        Ok(())
    }

    fn copy_caches(&mut self, from: Slot, to_row: usize) -> Result<(), OnnxError> {
        let sequence = self.sequence(from);
        let (row, length, finished) = (sequence.row, sequence.length, sequence.finished);
        self.lower.caches.copy(&mut self.work, row, to_row, length)?;
        self.upper.caches.copy(&mut self.work, row, to_row, finished)
    }

    /// Appends a slice of at most 64 tokens, within the context, and returns the chunks that they complete.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn extend(&mut self, slot: Slot, tokens: &[TokenId]) -> Result<Range<usize>, OnnxError> {
        let (row, length, grid) = (self.sequence(slot).row, self.sequence(slot).length, self.sequence(slot).grid);
        assert!(tokens.len() <= CHUNK_LENGTH && length + tokens.len() <= self.manifest.context, "the caller keeps to the limits");
        for (to, &token) in self.work.write::<i64>(self.buffers.tokens).iter_mut().zip(tokens) {
            *to = i64::from(token);
        }
        self.lower.set_lengths(&mut self.work, &[length + tokens.len()]);
        let mut binding = self.bind_lower(self.lower.wide, (0, row), 1, tokens.len())?;
        self.work.run(&mut binding)?;
        self.take_hidden(slot, 0, tokens.len());
        Ok(grid.complete_chunks(length)..grid.complete_chunks(length + tokens.len()))
    }

    /// Hidden states of a chunk's tokens: what its neighbours are encoded with. Of a chunk that is not complete yet, those of the newest tokens.
    pub fn chunk_hidden(&self, slot: Slot, chunk: usize) -> Vec<u8> {
        let sequence = self.sequence(slot);
        sequence.hidden(sequence.grid.tokens(chunk)).to_vec()
    }

    /// Says which neighbours a chunk has; none are missing neighbours.
    pub fn attend(&mut self, slot: Slot, chunk: usize, neighbours: Option<Arc<EncodedNeighbours>>) {
        self.sequence_mut(slot).know(chunk, neighbours);
    }

    /// Runs the upper graph on the next tokens of a sequence whose neighbours are known, at most 64. Returns them, and with `All` how many
    /// rows of [`logits`](Model::logits) they are; with `Last` there is one row, where they reach the end. None where there is nothing to run.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn finish(&mut self, slot: Slot, logits: Logits) -> Result<Option<Range<usize>>, OnnxError> {
        let sequence = self.sequence(slot);
        let Some((chunk, span)) = sequence.ready() else { return Ok(None) };
        let row = sequence.row;
        let from = match logits {
            Logits::All => 0,
            Logits::Last if span.end == sequence.length => span.len() - 1,
            Logits::Last => span.len(),
        };
        self.show(slot, chunk);
        let (work, buffers) = (&mut self.work, &self.buffers);
        let sequence = self.sequences[slot.0].as_ref().expect("an open slot");
        let hidden = sequence.hidden(span.clone());
        work.write::<u8>(buffers.hidden_in)[..hidden.len()].copy_from_slice(hidden);
        for (to, position) in work.write::<i64>(buffers.cross_position).iter_mut().zip(span.clone()) {
            *to = place(sequence, position);
        }
        work.write::<i64>(buffers.logits_from)[0] = from as i64;
        self.upper.set_lengths(&mut self.work, &[span.end]);
        let mut binding = self.bind_upper(self.upper.wide, self.buffers.hidden_in, (0, row), 1, span.len(), from)?;
        self.work.run(&mut binding)?;
        self.sequence_mut(slot).finish(span.len());
        Ok(Some(span))
    }

    /// Rows of logits [V] that the last [`finish`](Model::finish) gave, from the first on.
    pub fn logits(&self) -> std::slice::ChunksExact<'_, f32> {
        self.work.read::<f32>(self.buffers.logits).chunks_exact(self.manifest.vocabulary)
    }

    /// Logits [V] of a sequence that the last [`step`](Model::step) finished.
    pub fn logits_of(&self, slot: Slot) -> &[f32] {
        let (row, vocabulary) = (self.sequence(slot).row, self.manifest.vocabulary);
        &self.work.read::<f32>(self.buffers.logits)[row * vocabulary..(row + 1) * vocabulary]
    }

    /// Makes the sequence's row of the batch hold the neighbours of `chunk`.
    fn show(&mut self, slot: Slot, chunk: Option<usize>) {
        let sequence = self.sequence(slot);
        let neighbours = sequence.neighbours(chunk).cloned();
        let wanted = neighbours.as_ref().and(chunk);
        let needed = neighbours.as_ref().map_or(1, |neighbours| neighbours.tokens);
        if needed > self.cross.tokens() {
            self.cross.resize(needed);
            for other in self.rows.clone() {
                // What it held, which fits: what it attends next may need more room, and is shown when it does.
                self.write_cross(other, self.sequence(other).attending);
            }
        }
        if self.sequence(slot).attending != wanted {
            self.write_cross(slot, wanted);
        }
    }

    fn write_cross(&mut self, slot: Slot, chunk: Option<usize>) {
        let sequence = self.sequences[slot.0].as_mut().expect("an open slot");
        let neighbours = sequence.neighbours(chunk).cloned();
        self.cross.write(&mut self.work, sequence.row, neighbours.as_deref());
        sequence.attending = neighbours.as_ref().and(chunk);
    }

    fn take_hidden(&mut self, slot: Slot, from_row: usize, rows: usize) {
        let bytes = self.row_bytes();
        let hidden = &self.work.read::<u8>(self.buffers.hidden)[from_row * bytes..(from_row + rows) * bytes];
        self.sequences[slot.0].as_mut().expect("an open slot").extend(hidden);
    }

    fn row_bytes(&self) -> usize {
        self.manifest.hidden_size * self.kind.size()
    }

    fn sequence(&self, slot: Slot) -> &Sequence {
        self.sequences[slot.0].as_ref().expect("an open slot")
    }

    fn sequence_mut(&mut self, slot: Slot) -> &mut Sequence {
        self.sequences[slot.0].as_mut().expect("an open slot")
    }
}

fn threads_of(threads: usize) -> usize {
    if threads > 0 { threads } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

/// The token's place in its CCA chunk.
fn place(sequence: &Sequence, position: usize) -> i64 {
    sequence.grid.attended(position).map_or(0, |(_, place)| place as i64)
}
