use super::{ModelError, ModelFolder};
use crate::onnx::{Graph, OnnxError, Runtime};
use crate::text::{CHUNK_LENGTH, TokenId};

/// Cross-attention keys and values of one chunk's neighbours, kept as long as tokens attend the chunk.
#[derive(Clone, Debug)]
pub struct EncodedNeighbours {
    /// [L, heads, T, head_size]
    key: Vec<f32>,
    value: Vec<f32>,
    /// [T]
    mask: Vec<f32>,
}

/// The three graphs with the caches of one sequence. Shapes are those of docs/model-format.md with one row.
pub(super) struct Graphs {
    lower: Graph,
    encoder: Graph,
    upper: Graph,
    hidden_size: usize,
    retrieved_length: usize,
    pad_token: TokenId,
    cross_shape: [usize; 2],
    head_size: usize,
}

impl Graphs {
    pub fn load(runtime: &Runtime, folder: &ModelFolder, threads: usize) -> Result<Self, ModelError> {
        let mut lower = Graph::load(runtime, &folder.graph("lower.onnx"), threads, &["hidden"])?;
        let encoder = Graph::load(runtime, &folder.graph("encoder.onnx"), threads, &["cross_key", "cross_value", "cross_mask"])?;
        let mut upper = Graph::load(runtime, &folder.graph("upper.onnx"), threads, &["logits"])?;
        let manifest = folder.manifest();
        let attention = manifest.self_attention;
        let shape = [1, attention.kv_heads, manifest.context, attention.head_size];
        for (graph, layers) in [(&mut lower, attention.lower_layers), (&mut upper, attention.upper_layers)] {
            for layer in 0..layers {
                for part in ["key", "value"] {
                    graph.bind_cache(&format!("past_{part}_{layer}"), &format!("present_{part}_{layer}"), shape)?;
                }
            }
        }
        Ok(Self {
            lower,
            encoder,
            upper,
            hidden_size: manifest.hidden_size,
            retrieved_length: manifest.retrieved_length(),
            pad_token: manifest.pad_token,
            cross_shape: [manifest.cross_attention.layers, manifest.cross_attention.heads],
            head_size: manifest.cross_attention.head_size,
        })
    }

    /// Appends `tokens` to a sequence of `length` tokens; hidden states [tokens, d].
    pub fn lower(&mut self, tokens: &[TokenId], length: usize) -> Result<Vec<f32>, OnnxError> {
        let ids = tokens.iter().map(|&token| i64::from(token)).collect();
        self.lower.set_i64("tokens", &[1, tokens.len()], ids)?;
        set_lengths(&mut self.lower, length + tokens.len())?;
        Ok(self.lower.run()?.swap_remove(0))
    }

    /// Encodes the neighbours of several chunks at once. A chunk is its hidden states [1 to 64 rows, d] and its neighbours' tokens
    /// (neighbour and continuation, each padded to its length); where it has fewer neighbours than others, the rest is missing ones.
    pub fn encode(&mut self, chunks: &[(&[f32], Vec<Vec<TokenId>>)]) -> Result<Vec<EncodedNeighbours>, OnnxError> {
        let most = chunks.iter().map(|(_, neighbours)| neighbours.len()).max().unwrap_or(0);
        let mut tokens = Vec::with_capacity(chunks.len() * most * self.retrieved_length);
        let mut hidden = Vec::with_capacity(chunks.len() * CHUNK_LENGTH * self.hidden_size);
        let mut mask = Vec::with_capacity(chunks.len() * CHUNK_LENGTH);
        for (rows, neighbours) in chunks {
            for neighbour in neighbours {
                debug_assert_eq!(neighbour.len(), self.retrieved_length);
                tokens.extend(neighbour.iter().map(|&token| i64::from(token)));
            }
            let missing = (most - neighbours.len()) * self.retrieved_length;
            tokens.extend(std::iter::repeat_n(i64::from(self.pad_token), missing));
            let padding = CHUNK_LENGTH - rows.len() / self.hidden_size;
            hidden.extend(std::iter::repeat_n(0.0, padding * self.hidden_size));
            hidden.extend_from_slice(rows);
            mask.extend(std::iter::repeat_n(0.0, padding));
            mask.extend(std::iter::repeat_n(1.0, CHUNK_LENGTH - padding));
        }
        self.encoder.set_i64("neighbour_tokens", &[chunks.len(), most, self.retrieved_length], tokens)?;
        self.encoder.set_f32("chunk_hidden", &[chunks.len(), CHUNK_LENGTH, self.hidden_size], hidden)?;
        self.encoder.set_f32("chunk_mask", &[chunks.len(), CHUNK_LENGTH], mask)?;
        let outputs = self.encoder.run()?;
        let part = |output: &[f32], chunk: usize| {
            let size = output.len() / chunks.len();
            output[chunk * size..(chunk + 1) * size].to_vec()
        };
        Ok((0..chunks.len())
            .map(|chunk| EncodedNeighbours {
                key: part(&outputs[0], chunk),
                value: part(&outputs[1], chunk),
                mask: part(&outputs[2], chunk),
            })
            .collect())
    }

    /// Sets the neighbours that the next calls of `upper` attend; none is the model without retrieval.
    pub fn attend(&mut self, neighbours: Option<&EncodedNeighbours>) -> Result<(), OnnxError> {
        let [layers, heads] = self.cross_shape;
        let (key, value, mask) = match neighbours {
            Some(encoded) => (encoded.key.clone(), encoded.value.clone(), encoded.mask.clone()),
            None => (vec![0.0; layers * heads * self.head_size], vec![0.0; layers * heads * self.head_size], vec![0.0]),
        };
        let shape = [1, layers, heads, mask.len(), self.head_size];
        self.upper.set_f32("cross_key", &shape, key)?;
        self.upper.set_f32("cross_value", &shape, value)?;
        self.upper.set_f32("cross_mask", &[1, mask.len()], mask)
    }

    /// Goes on from hidden states [tokens, d] that follow `length` tokens; logits [tokens - logits_from, V].
    pub fn upper(
        &mut self,
        hidden: &[f32],
        length: usize,
        cross_position: usize,
        logits_from: usize,
    ) -> Result<Vec<f32>, OnnxError> {
        let tokens = hidden.len() / self.hidden_size;
        self.upper.set_f32("hidden", &[1, tokens, self.hidden_size], hidden.to_vec())?;
        let positions = (0..tokens).map(|at| (cross_position + at) as i64).collect();
        self.upper.set_i64("cross_position", &[1, tokens], positions)?;
        self.upper.set_i64("logits_from", &[1], vec![logits_from as i64])?;
        set_lengths(&mut self.upper, length + tokens)?;
        Ok(self.upper.run()?.swap_remove(0))
    }
}

fn set_lengths(graph: &mut Graph, total: usize) -> Result<(), OnnxError> {
    let total = i32::try_from(total).expect("a context is far below 2^31 tokens");
    graph.set_i32("seqlens_k", &[1], vec![total - 1])?;
    graph.set_i32("total_sequence_length", &[], vec![total])
}
