use std::collections::HashMap;

use crate::model::caches::Caches;
use crate::onnx::{Binding, BufferId, GraphId, Workspace};

/// One graph with its caches and the bindings of steps.
pub(super) struct Stage {
    /// On all threads, for the many tokens of one sequence.
    pub wide: GraphId,
    /// Each on one thread, for a share of a step's rows.
    pub narrow: Vec<GraphId>,
    pub caches: Caches,
    /// Tokens in each row's cache after the run, minus one, and the most of any row.
    pub lengths: BufferId,
    pub total: BufferId,
    /// By the rows' share of the batch, its graph, and for the upper graph T.
    pub steps: HashMap<StepKey, Binding>,
}

/// First row, rows, number of the graph, T.
pub(super) type StepKey = (usize, usize, usize, usize);

impl Stage {
    /// Sets the tokens in each row's cache after the run.
    pub fn set_lengths(&self, work: &mut Workspace, after: &[usize]) {
        let short = |length: usize| i32::try_from(length).expect("a context is far below 2^31 tokens");
        for (to, &length) in work.write::<i32>(self.lengths).iter_mut().zip(after) {
            *to = short(length) - 1;
        }
        work.write::<i32>(self.total)[0] = short(after.iter().max().copied().unwrap_or(1));
    }
}
