use std::path::Path;

use tokenizers::{Encoding, PostProcessor, Tokenizer, TruncationDirection};

use super::{EmbedderError, EmbedderFiles};

/// The embedder's tokenizer.
pub(super) struct Tokens {
    inner: Tokenizer,
    most: usize,
}

impl Tokens {
    /// Reads the folder's `tokenizer.json`.
    ///
    /// # Errors
    /// It is no tokenizer.
    pub fn load(folder: &Path, about: &EmbedderFiles) -> Result<Self, EmbedderError> {
        let error = |reason: String| EmbedderError::Folder { path: folder.display().to_string(), reason };
        let mut inner = Tokenizer::from_file(folder.join("tokenizer.json")).map_err(|e| error(format!("tokenizer.json: {e}")))?;
        inner.with_truncation(None).map_err(|e| error(e.to_string()))?;
        inner.with_padding(None);
        let tokens = Self { inner, most: about.max_tokens };
        if tokens.added() >= tokens.most {
            return Err(error(format!("embedder.json: max_tokens is {}, which leaves no room for a text", tokens.most)));
        }
        Ok(tokens)
    }

    /// How many tokens a text has, uncut, with the special ones around it.
    pub fn count(&self, text: &str) -> Result<usize, EmbedderError> {
        self.encode(text, true).map(|encoding| encoding.len())
    }

    /// Ids of a text, cut to `max_tokens`.
    pub fn ids(&self, text: &str) -> Result<Vec<i64>, EmbedderError> {
        let mut encoding = self.encode(text, true)?;
        if encoding.len() > self.most {
            // The cut comes before the special tokens, so that the text still ends in one.
            encoding = self.encode(text, false)?;
            encoding.truncate(self.most - self.added(), 0, TruncationDirection::Right);
            encoding = self.inner.post_process(encoding, None, true).map_err(failed)?;
        }
        Ok(encoding.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    fn encode(&self, text: &str, with_special: bool) -> Result<Encoding, EmbedderError> {
        self.inner.encode_fast(text, with_special).map_err(failed)
    }

    /// Special tokens around a text.
    fn added(&self) -> usize {
        self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(false))
    }
}

fn failed(error: tokenizers::Error) -> EmbedderError {
    EmbedderError::Tokenise(error.to_string())
}
