use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::files::hex;

/// Index into the vocabulary.
pub type TokenId = u32;

/// A byte-level BPE tokenizer: every text has tokens, and the tokens' bytes joined are the text again.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bytes: Vec<Box<[u8]>>,
    identity: String,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error("cannot read the tokenizer {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a usable tokenizer: {reason}")]
    Format { path: PathBuf, reason: String },
}

impl Tokenizer {
    /// Reads a `tokenizer.json` (Hugging Face format, byte-level BPE).
    ///
    /// # Errors
    /// The file cannot be read, is no tokenizer, or is not byte-level.
    pub fn load(path: &Path) -> Result<Self, TokenizerError> {
        let format = |reason: String| TokenizerError::Format { path: path.to_owned(), reason };
        let raw = std::fs::read(path).map_err(|source| TokenizerError::Read { path: path.to_owned(), source })?;
        let inner = parse(&raw).map_err(format)?;
        let alphabet = byte_alphabet();
        if let Some(symbol) = alphabet.keys().find(|symbol| inner.token_to_id(&symbol.to_string()).is_none()) {
            return Err(format(format!("it has no token for the byte {:#04x}", alphabet[symbol])));
        }
        let size = inner.get_vocab_size(true);
        let mut bytes = Vec::with_capacity(size);
        for id in 0..size as TokenId {
            let token = inner.id_to_token(id).ok_or_else(|| format(format!("the vocabulary has no token {id}")))?;
            bytes.push(token_bytes(&token, &alphabet));
        }
        let tokenizer = Self { inner, bytes, identity: hex(&Sha256::digest(&raw)) };
        let probe = "Byte for byte: \u{0}\u{7f} é 字 \u{1f600}\r\n\t 1234  <pad>";
        if tokenizer.decode_bytes(&tokenizer.encode(probe)) != probe.as_bytes() {
            return Err(format("it does not give a text's bytes back".to_owned()));
        }
        Ok(tokenizer)
    }

    /// Tokens of `text`; none is ever a special token, whatever the text holds.
    pub fn encode(&self, text: &str) -> Vec<TokenId> {
        self.inner.encode_fast(text, false).expect("byte-level BPE has a token for every byte").get_ids().to_vec()
    }

    /// Bytes of one token; empty for an id outside the vocabulary.
    pub fn bytes(&self, token: TokenId) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], |bytes| bytes)
    }

    pub fn decode_bytes(&self, tokens: &[TokenId]) -> Vec<u8> {
        tokens.iter().flat_map(|&token| self.bytes(token)).copied().collect()
    }

    /// Text of `tokens`; where they begin or end inside a character, U+FFFD stands for its bytes.
    pub fn decode(&self, tokens: &[TokenId]) -> String {
        String::from_utf8_lossy(&self.decode_bytes(tokens)).into_owned()
    }

    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// sha256 of the tokenizer's file: databases made with another one are refused.
    pub fn identity(&self) -> &str {
        &self.identity
    }
}

fn parse(raw: &[u8]) -> Result<tokenizers::Tokenizer, String> {
    // The library panics on some files, cut ones among them.
    let read = std::panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(raw));
    read.map_err(|_| "its library fails on it".to_owned())?.map_err(|e| e.to_string())
}

/// Joins the bytes of tokens into text without ever giving out part of a character.
#[derive(Clone, Default)]
pub struct Utf8Stream {
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Text that is complete after `bytes`. A sequence that can never become a character gives U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = &self.pending[..];
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).expect("checked by valid_up_to"));
                    match error.error_len() {
                        Some(length) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = &after[length..];
                        }
                        None => {
                            rest = after;
                            break;
                        }
                    }
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }

    /// What is left at the end: U+FFFD for a character that was never completed.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

/// The characters that byte-level BPE writes bytes as (GPT-2's table): printable bytes as themselves, the others from U+0100 on.
fn byte_alphabet() -> std::collections::HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut next = 0x100;
    (0..=255u8)
        .map(|byte| {
            if printable(byte) {
                (char::from(byte), byte)
            } else {
                let symbol = char::from_u32(next).expect("below the surrogates");
                next += 1;
                (symbol, byte)
            }
        })
        .collect()
}

fn token_bytes(token: &str, alphabet: &std::collections::HashMap<char, u8>) -> Box<[u8]> {
    // A token with a character outside the alphabet is a special one: it stands for no text.
    token.chars().map(|symbol| alphabet.get(&symbol).copied()).collect::<Option<Vec<u8>>>().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_comes_out_whole_however_its_bytes_arrive() {
        let text = "aé字😀z";
        let mut stream = Utf8Stream::default();
        let mut out = String::new();
        for byte in text.bytes() {
            out.push_str(&stream.push(&[byte]));
        }
        assert_eq!(out, text);
        assert_eq!(stream.finish(), "");
    }

    #[test]
    fn bytes_that_are_no_text_are_marked_and_not_held_back() {
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(&[b'a', 0xFF, b'b']), "a\u{FFFD}b");
        assert_eq!(stream.push(&[0xE5, 0xAD]), "");
        assert_eq!(stream.finish(), "\u{FFFD}");
    }

    #[test]
    fn the_alphabet_has_every_byte_once() {
        let alphabet = byte_alphabet();
        assert_eq!(alphabet.len(), 256);
        assert_eq!(alphabet[&'Ġ'], b' ');
        assert_eq!(alphabet[&'Ċ'], b'\n');
    }
}
