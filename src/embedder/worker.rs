use std::path::Path;

use tokio::sync::mpsc;

use super::batches::by_length;
use super::{EmbedderError, EmbedderFiles, Job};
use crate::onnx::{Array, Cores, Graph};

/// Owns the session; runs on its own thread.
pub(super) struct Worker {
    graph: Graph,
    tokenizer: tokenizers::Tokenizer,
    pad_token: i64,
}

impl Worker {
    pub fn load(graph: Graph, folder: &Path, about: &EmbedderFiles) -> Result<Self, EmbedderError> {
        let error = |reason: String| EmbedderError::Folder { path: folder.display().to_string(), reason };
        let mut tokenizer =
            tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).map_err(|e| error(format!("tokenizer.json: {e}")))?;
        let truncation = tokenizers::TruncationParams { max_length: about.max_tokens, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| error(e.to_string()))?;
        tokenizer.with_padding(None);
        let mut worker = Self { graph, tokenizer, pad_token: about.pad_token };
        let probe = worker.embed(&["probe".to_owned()], Cores::All)?;
        if probe[0].len() != about.dimension {
            return Err(error(format!("model.onnx gives vectors of {}, embedder.json says {}", probe[0].len(), about.dimension)));
        }
        Ok(worker)
    }

    pub fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.blocking_recv() {
            if job.answer.is_closed() {
                continue;
            }
            let result = self.embed(&job.texts, job.cores);
            // Whoever asked may have gone meanwhile.
            let _ = job.answer.send(result);
        }
    }

    fn embed(&mut self, texts: &[String], cores: Cores) -> Result<Vec<Vec<f32>>, EmbedderError> {
        let ids: Vec<Vec<i64>> = texts
            .iter()
            .map(|text| {
                let encoding =
                    self.tokenizer.encode_fast(text.as_str(), true).map_err(|e| EmbedderError::Tokenise(e.to_string()))?;
                Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
            })
            .collect::<Result<_, EmbedderError>>()?;
        let lengths: Vec<usize> = ids.iter().map(Vec::len).collect();
        let batches = by_length(&lengths);
        let mut vectors = vec![Vec::new(); texts.len()];
        for range in batches.ranges {
            let places = &batches.order[range];
            let width = places.iter().map(|&at| lengths[at]).max().unwrap_or(0);
            let mut input = Vec::with_capacity(places.len() * width);
            let mut mask = Vec::with_capacity(places.len() * width);
            for &at in places {
                let padding = width - lengths[at];
                input.extend_from_slice(&ids[at]);
                input.extend(std::iter::repeat_n(self.pad_token, padding));
                mask.extend(std::iter::repeat_n(1, lengths[at]));
                mask.extend(std::iter::repeat_n(0, padding));
            }
            let shape = [places.len(), width];
            let (input, mask) = (Array::i64(&shape, &input), Array::i64(&shape, &mask));
            let outputs = self.graph.run(&[("input_ids", &input), ("attention_mask", &mask)], &["embedding"], cores)?;
            let embedding = outputs[0].memory.slice::<f32>();
            let dimension = embedding.len() / places.len();
            for (&at, vector) in places.iter().zip(embedding.chunks_exact(dimension)) {
                vectors[at] = vector.to_vec();
            }
        }
        Ok(vectors)
    }
}
