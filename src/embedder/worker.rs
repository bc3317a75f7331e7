use std::path::Path;

use futures::executor::block_on;
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

/// Texts of documents, which may be many, and of queries, which somebody waits for.
pub(super) struct Queues {
    pub documents: mpsc::Receiver<Job>,
    pub queries: mpsc::Receiver<Job>,
}

impl Queues {
    /// The next job whose asker still waits, a query's first; none when all handles are gone.
    fn next(&mut self) -> Option<Job> {
        loop {
            let next = async {
                tokio::select! {
                    biased;
                    Some(job) = self.queries.recv() => Some(job),
                    Some(job) = self.documents.recv() => Some(job),
                    else => None,
                }
            };
            let job = block_on(next)?;
            if !job.answer.is_closed() {
                return Some(job);
            }
        }
    }
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
        let probe = worker.embed(&["probe".to_owned()], Cores::All, |_| {})?;
        if probe[0].len() != about.dimension {
            return Err(error(format!("model.onnx gives vectors of {}, embedder.json says {}", probe[0].len(), about.dimension)));
        }
        Ok(worker)
    }

    pub fn run(mut self, mut queues: Queues) {
        while let Some(job) = queues.next() {
            let result = self.embed(&job.texts, job.cores, |worker| {
                while let Ok(query) = queues.queries.try_recv() {
                    worker.answer(query);
                }
            });
            // Whoever asked may have gone meanwhile.
            let _ = job.answer.send(result);
        }
    }

    fn answer(&mut self, job: Job) {
        if !job.answer.is_closed() {
            let result = self.embed(&job.texts, job.cores, |_| {});
            let _ = job.answer.send(result);
        }
    }

    /// `between` is called before each batch but the first.
    fn embed(
        &mut self,
        texts: &[String],
        cores: Cores,
        mut between: impl FnMut(&mut Self),
    ) -> Result<Vec<Vec<f32>>, EmbedderError> {
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
        for (number, range) in batches.ranges.into_iter().enumerate() {
            if number > 0 {
                between(self);
            }
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
