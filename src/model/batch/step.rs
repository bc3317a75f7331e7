//! Steps of several sequences, their rows shared out to the cores; and what binds graphs to rows of the batch.

use super::stage::Stage;
use super::{Model, place};
use crate::model::Slot;
use crate::onnx::{Binding, BufferId, GraphId, Kind, OnnxError, Part, Parts};
use crate::text::TokenId;

impl Model {
    /// Appends one token to each of several sequences. Returns whether each was finished; [`logits_of`](Model::logits_of) then gives its
    /// logits. One that was not has completed a chunk and waits for its neighbours.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn step(&mut self, batch: &[(Slot, TokenId)]) -> Result<Vec<bool>, OnnxError> {
        let rows = 1 + batch.iter().map(|&(slot, _)| self.sequence(slot).row).max().expect("a step has sequences");
        let mut tokens = vec![self.manifest.pad_token; rows];
        let mut finishes = vec![false; rows];
        let ready: Vec<Option<Option<usize>>> = batch.iter().map(|&(slot, _)| self.sequence(slot).attends_next()).collect();
        for (&(slot, token), ready) in batch.iter().zip(&ready) {
            let row = self.sequence(slot).row;
            tokens[row] = token;
            if let Some(chunk) = *ready {
                self.show(slot, chunk);
                finishes[row] = true;
            }
        }
        self.write_step(&tokens);
        self.run_step(rows, &finishes)?;
        for &(slot, _) in batch {
            let row = self.sequence(slot).row;
            self.take_hidden(slot, row, 1);
            if finishes[row] {
                self.sequence_mut(slot).finish(1);
            }
        }
        Ok(ready.iter().map(Option::is_some).collect())
    }

    /// Writes what the rows of a step go in with. A row that rests computes into the place of its next token, which is written again when
    /// that comes.
    fn write_step(&mut self, tokens: &[TokenId]) {
        let place_of_next = |tokens: usize| tokens.min(self.manifest.context - 1) + 1;
        let sequences = || (0..tokens.len()).map(|row| self.sequence(self.rows[row]));
        let lower: Vec<usize> = sequences().map(|sequence| place_of_next(sequence.length)).collect();
        let upper: Vec<usize> = sequences().map(|sequence| place_of_next(sequence.finished)).collect();
        let places: Vec<i64> = sequences().map(|sequence| place(sequence, sequence.finished)).collect();
        self.lower.set_lengths(&mut self.work, &lower);
        self.upper.set_lengths(&mut self.work, &upper);
        self.work.write::<i64>(self.buffers.cross_position)[..places.len()].copy_from_slice(&places);
        for (to, &token) in self.work.write::<i64>(self.buffers.tokens).iter_mut().zip(tokens) {
            *to = i64::from(token);
        }
        self.work.write::<i64>(self.buffers.logits_from)[0] = 0;
    }

    /// Runs the lower graph on the first `rows` rows, and the upper graph on what it gives where any of a share `finishes`.
    fn run_step(&mut self, rows: usize, finishes: &[bool]) -> Result<(), OnnxError> {
        let shares = self.lower.narrow.len().min(rows);
        let mut keys = Vec::with_capacity(shares);
        for share in 0..shares {
            let (first, end) = (share * rows / shares, (share + 1) * rows / shares);
            let lower = (first, end - first, share, 0);
            if !self.lower.steps.contains_key(&lower) {
                self.lower.steps.insert(lower, self.bind_lower(self.lower.narrow[share], (first, first), end - first, 1)?);
            }
            let upper = finishes[first..end].contains(&true).then_some((first, end - first, share, self.cross.tokens()));
            if let Some(upper) = upper.filter(|upper| !self.upper.steps.contains_key(upper)) {
                let hidden = self.buffers.hidden;
                let graph = self.upper.narrow[share];
                self.upper.steps.insert(upper, self.bind_upper(graph, hidden, (first, first), end - first, 1, 0)?);
            }
            keys.push((lower, upper));
        }
        // Out of the tables while they run, since several run at a time.
        let mut jobs: Vec<Vec<Binding>> = keys
            .iter()
            .map(|(lower, upper)| {
                let upper = upper.as_ref().and_then(|upper| self.upper.steps.remove(upper));
                self.lower.steps.remove(lower).into_iter().chain(upper).collect()
            })
            .collect();
        let result = self.work.run_together(&mut jobs);
        for ((lower, upper), job) in keys.into_iter().zip(jobs) {
            let mut job = job.into_iter();
            self.lower.steps.extend(job.next().map(|binding| (lower, binding)));
            self.upper.steps.extend(upper.zip(job.next()));
        }
        result
    }

    /// `at`: the first row of inputs and outputs, and the row of the batch that it is.
    pub(super) fn bind_lower(&self, graph: GraphId, at: (usize, usize), rows: usize, step: usize) -> Result<Binding, OnnxError> {
        let buffers = &self.buffers;
        let inputs = vec![part("tokens", buffers.tokens, Kind::I64, at.0, vec![rows, step])];
        let outputs = vec![part("hidden", buffers.hidden, self.kind, at.0, vec![rows, step, self.manifest.hidden_size])];
        self.bind(&self.lower, graph, inputs, outputs, at, rows)
    }

    pub(super) fn bind_upper(
        &self,
        graph: GraphId,
        hidden: BufferId,
        at: (usize, usize),
        rows: usize,
        step: usize,
        logits_from: usize,
    ) -> Result<Binding, OnnxError> {
        let (buffers, manifest) = (&self.buffers, &self.manifest);
        let mut inputs = vec![
            part("hidden", hidden, self.kind, at.0, vec![rows, step, manifest.hidden_size]),
            part("cross_position", buffers.cross_position, Kind::I64, at.0, vec![rows, step]),
            part("logits_from", buffers.logits_from, Kind::I64, 0, vec![1]),
        ];
        inputs.extend(self.cross.inputs(at.1, rows));
        let logits = part("logits", buffers.logits, Kind::F32, at.0, vec![rows, step - logits_from, manifest.vocabulary]);
        self.bind(&self.upper, graph, inputs, vec![logits], at, rows)
    }

    fn bind(
        &self,
        stage: &Stage,
        graph: GraphId,
        mut inputs: Parts,
        mut outputs: Parts,
        (from, first): (usize, usize),
        rows: usize,
    ) -> Result<Binding, OnnxError> {
        let (past, present) = stage.caches.parts(first, rows);
        inputs.push(part("seqlens_k", stage.lengths, Kind::I32, from, vec![rows]));
        inputs.push(part("total_sequence_length", stage.total, Kind::I32, 0, vec![]));
        inputs.extend(past);
        outputs.extend(present);
        self.work.bind(graph, &inputs, &outputs)
    }
}

/// A buffer from its row `from` on.
fn part(name: &str, buffer: BufferId, kind: Kind, from: usize, shape: Vec<usize>) -> (String, Part) {
    let row = shape.iter().skip(1).product::<usize>() * kind.size();
    (name.to_owned(), Part { buffer, kind, offset: from * row, shape })
}
