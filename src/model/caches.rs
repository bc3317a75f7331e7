use super::Manifest;
use crate::onnx::{BufferId, GraphId, Kind, OnnxError, Part, Parts, Workspace};

/// An operator may keep tokens in blocks of so many.
const BLOCK: usize = 16;

/// Self-attention keys and values of one graph's layers: for each a buffer [slots, kv_heads, context, head_size], of which a row is one
/// sequence's.
pub(super) struct Caches {
    graph: GraphId,
    buffers: Vec<(String, BufferId)>,
    kind: Kind,
    /// [kv_heads, context in whole blocks, head_size]
    row: [usize; 3],
    on_device: bool,
}

impl Caches {
    pub fn new(
        work: &mut Workspace,
        graph: GraphId,
        manifest: &Manifest,
        layers: usize,
        slots: usize,
        kind: Kind,
        on_device: bool,
    ) -> Result<Self, OnnxError> {
        let attention = manifest.self_attention;
        let row = [attention.kv_heads, manifest.context.next_multiple_of(BLOCK), attention.head_size];
        let bytes = slots * row.iter().product::<usize>() * kind.size();
        let names = (0..layers).flat_map(|layer| [format!("key_{layer}"), format!("value_{layer}")]);
        let buffers = names.map(|name| Ok((name, work.add_device_buffer(graph, bytes)?))).collect::<Result<_, OnnxError>>()?;
        Ok(Self { graph, buffers, kind, row, on_device })
    }

    fn row_bytes(&self) -> usize {
        self.row.iter().product::<usize>() * self.kind.size()
    }

    /// What to bind as past (read) and present (written) for rows `first..first + rows`: the same memory, so that nothing is copied.
    pub fn parts(&self, first: usize, rows: usize) -> (Parts, Parts) {
        let part =
            |buffer| Part { buffer, kind: self.kind, offset: first * self.row_bytes(), shape: [&[rows], &self.row[..]].concat() };
        let named = |side: &str| self.buffers.iter().map(|(name, id)| (format!("{side}_{name}"), part(*id))).collect();
        (named("past"), named("present"))
    }

    /// Copies the first `tokens` tokens of a row to another row.
    pub fn copy(&self, work: &mut Workspace, from: usize, to: usize, tokens: usize) -> Result<(), OnnxError> {
        let [heads, context, head_size] = self.row;
        let head = context * head_size * self.kind.size();
        let tokens = tokens.next_multiple_of(BLOCK);
        for &(_, buffer) in &self.buffers {
            if self.on_device {
                // One copy of the whole row: launching many small ones costs more.
                work.copy_within(self.graph, buffer, from * self.row_bytes(), to * self.row_bytes(), self.row_bytes())?;
                continue;
            }
            for at in 0..heads {
                let place = |row: usize| row * self.row_bytes() + at * head;
                work.copy_within(self.graph, buffer, place(from), place(to), tokens * head_size * self.kind.size())?;
            }
        }
        Ok(())
    }
}
