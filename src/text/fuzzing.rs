//! Texts, tokenizers and grids from bytes.

use std::path::Path;
use std::sync::LazyLock;

use tempfile::TempDir;

use super::{CHUNK_LENGTH, Grid, TokenId, Tokenizer, Utf8Stream, chunk_document};
use crate::caught::apart;

/// The bundled model's.
pub(crate) fn nano() -> &'static Tokenizer {
    static NANO: LazyLock<Tokenizer> = LazyLock::new(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/retro-nano/tokenizer.json");
        Tokenizer::load(&path).expect("it is in the repository")
    });
    &NANO
}

/// A text, and the same bytes as tokens.
pub(crate) fn encoding(bytes: &[u8]) {
    round(nano(), &String::from_utf8_lossy(bytes));
    let tokens: Vec<TokenId> =
        bytes.chunks(2).map(|pair| pair.iter().fold(0, |id, &byte| id << 8 | TokenId::from(byte))).collect();
    streamed(nano(), &tokens);
}

fn round(tokenizer: &Tokenizer, text: &str) {
    let tokens = tokenizer.encode(text);
    assert_eq!(tokenizer.decode_bytes(&tokens), text.as_bytes(), "{text:?} has other tokens: {tokens:?}");
    assert!(tokens.iter().all(|&token| (token as usize) < tokenizer.vocabulary()));
    streamed(tokenizer, &tokens);
    let mut byte = 0;
    for (place, chunk) in chunk_document(tokenizer, text).iter().enumerate() {
        assert_eq!((chunk.index, chunk.bytes.start), (place, byte));
        assert!((1..=CHUNK_LENGTH).contains(&chunk.tokens.len()));
        assert_eq!(tokenizer.decode_bytes(&chunk.tokens), text[chunk.bytes.clone()].as_bytes());
        byte = chunk.bytes.end;
    }
    assert_eq!(byte, text.len(), "chunks tile a text");
}

/// Text that comes a token at a time is the text that comes at once.
fn streamed(tokenizer: &Tokenizer, tokens: &[TokenId]) {
    let mut stream = Utf8Stream::default();
    let mut text: String = tokens.iter().map(|&token| stream.push(tokenizer.bytes(token))).collect();
    text.push_str(&stream.finish());
    assert_eq!(text, tokenizer.decode(tokens));
}

/// A `tokenizer.json`. One that is taken has tokens for every text.
pub(crate) fn tokenizer(bytes: &[u8]) {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("there is room for it"));
    let path = FOLDER.path().join("tokenizer.json");
    std::fs::write(&path, bytes).expect("there is room for it");
    let Some(Ok(tokenizer)) = apart(|| Tokenizer::load(&path)) else { return };
    for text in ["Tea is \u{1f375}\u{0}, and <pad> is none.\r\n\t7", &(0..=255).map(char::from).collect::<String>()] {
        let tokens = tokenizer.encode(text);
        assert!(tokens.iter().all(|&token| (token as usize) < tokenizer.vocabulary()));
        streamed(&tokenizer, &tokens);
    }
}

/// A prompt's length, where its grid begins, and from when on it is refreshed.
pub(crate) fn grid(bytes: &[u8]) {
    let byte = |at: usize| usize::from(bytes.get(at).copied().unwrap_or_default());
    let within = |at: usize| byte(at) % CHUNK_LENGTH + 1;
    let length = byte(0) << 8 | byte(1);
    let grid = match byte(2) % 3 {
        0 => Grid::prompt_start(),
        1 => Grid::prompt_end(length.max(1)),
        _ => Grid::with_first_chunk(within(3)),
    };
    let grid = if byte(4) % 2 == 0 { grid } else { grid.refreshed(length, within(5)) };
    let from = byte(6) << 8 | byte(7);
    let chunks = grid.complete_chunks(from);
    assert!(chunks.checked_sub(1).is_none_or(|last| grid.end(last) <= from) && grid.end(chunks) > from);
    let tokens = grid.tokens(chunks);
    assert!((1..=CHUNK_LENGTH).contains(&tokens.len()) && tokens.end == grid.end(chunks));
    if let Some((chunk, place)) = grid.attended(from) {
        assert!(place < CHUNK_LENGTH && grid.end(chunk) + place == from + 1);
    }
    let range = from..from + 1 + byte(8);
    let (mut at, mut spans) = (range.start, 0);
    while at < range.end {
        let (chunk, span) = grid.span(at..range.end);
        assert!(span.start == at && span.end > at && span.end <= range.end);
        assert!(span.clone().all(|token| grid.attended(token).map(|(chunk, _)| chunk) == chunk));
        (at, spans) = (span.end, spans + 1);
    }
    assert!(spans <= range.len());
}
