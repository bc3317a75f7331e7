//! JSON Lines, plain or compressed, one line at a time within bounds.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use super::{DocumentInput, IngestLimits};

/// A document's; others, as corpora have them, become metadata.
const FIELDS: [&str; 6] = ["id", "text", "title", "source", "metadata", "collection"];
/// JSON may write a byte as `\u0041`; title, source and metadata come to less than the rest.
const JSON_PER_BYTE: usize = 6;
const BESIDES_TEXT: usize = 1 << 20;
/// Most bytes that a compressed file may give in a row without a single document: a few bytes can be unpacked to terabytes.
const BARREN_BYTES: u64 = 1 << 30;
/// Largest window of the compression, as a power of two: what `zstd` itself accepts.
const WINDOW_LOG: u32 = 27;

/// The lines of one file.
pub(super) struct JsonLines {
    input: Box<dyn BufRead + Send>,
    /// Bytes of the file that were read.
    read: Arc<AtomicU64>,
    bytes: u64,
    line: usize,
    max_line: usize,
    barren: Option<u64>,
    /// The rest cannot be read.
    ended: bool,
}

/// A line's number, the share of the file that was read with it, and its document, or the reason why it has none.
pub(super) type Line = (usize, f64, Result<DocumentInput, String>);

struct Counted(File, Arc<AtomicU64>);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

enum Content {
    Whole(Vec<u8>),
    TooLong,
    End,
}

impl JsonLines {
    pub fn open(path: &Path, compressed: bool, limits: &IngestLimits) -> io::Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let file = Counted(file, Arc::clone(&read));
        let input: Box<dyn BufRead + Send> = if compressed {
            let mut decoder = zstd::stream::read::Decoder::new(file)?;
            decoder.window_log_max(WINDOW_LOG)?;
            Box::new(BufReader::new(decoder))
        } else {
            Box::new(BufReader::new(file))
        };
        let max_line = limits.max_document_bytes.saturating_mul(JSON_PER_BYTE).saturating_add(BESIDES_TEXT);
        Ok(Self { input, read, bytes, line: 0, max_line, barren: compressed.then_some(0), ended: false })
    }

    fn item(&self, result: Result<DocumentInput, String>) -> Line {
        let read = self.read.load(Ordering::Relaxed);
        (self.line, (read as f64 / self.bytes.max(1) as f64).min(1.0), result)
    }

    fn next_content(&mut self) -> io::Result<Content> {
        let mut line = Vec::new();
        let (mut length, mut any) = (0_u64, false);
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                break;
            }
            any = true;
            let end = available.iter().position(|&byte| byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            length += part.len() as u64;
            if length <= self.max_line as u64 {
                line.extend_from_slice(part);
            } else {
                line = Vec::new();
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if let Some(barren) = &mut self.barren {
                *barren += used as u64;
                if *barren > BARREN_BYTES {
                    let reason = format!("more than {} MiB without a document", BARREN_BYTES >> 20);
                    return Err(io::Error::other(reason));
                }
            }
            if end.is_some() {
                break;
            }
        }
        Ok(match any {
            false => Content::End,
            true if length > self.max_line as u64 => Content::TooLong,
            true => Content::Whole(line),
        })
    }
}

impl Iterator for JsonLines {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        while !self.ended {
            let content = self.next_content();
            self.line += 1;
            let line = match content {
                Ok(Content::End) => break,
                Ok(Content::TooLong) => return Some(self.item(Err(format!("the line has more than {} bytes", self.max_line)))),
                Ok(Content::Whole(line)) => line,
                Err(error) => {
                    self.ended = true;
                    return Some(self.item(Err(format!("the rest cannot be read: {error}"))));
                }
            };
            // Some programs begin a text with a byte order mark, which is no part of it.
            let line = if self.line == 1 { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line) } else { &line };
            if line.trim_ascii().is_empty() {
                continue;
            }
            let document = parse(line);
            if let (Ok(_), Some(barren)) = (&document, &mut self.barren) {
                *barren = 0;
            }
            return Some(self.item(document));
        }
        self.ended = true;
        None
    }
}

fn parse(line: &[u8]) -> Result<DocumentInput, String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("it is not UTF-8: byte {} begins no character", e.valid_up_to()))?;
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let (known, others): (Map<_, _>, Map<_, _>) = fields.into_iter().partition(|(name, _)| FIELDS.contains(&name.as_str()));
    let mut document: DocumentInput = serde_json::from_value(Value::Object(known)).map_err(|e| e.to_string())?;
    if !others.is_empty() {
        // What a document says of itself in `metadata` stands.
        let metadata = document.metadata.take().unwrap_or_default();
        document.metadata = Some(others.into_iter().chain(metadata).collect());
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(name: &str, content: &[u8], max_document_bytes: usize) -> Vec<Line> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        JsonLines::open(&path, name.ends_with(".zst"), &IngestLimits { max_document_bytes }).unwrap().collect()
    }

    fn outcome(lines: &[Line]) -> Vec<(usize, String)> {
        let said = |result: &Result<DocumentInput, String>| match result {
            Ok(document) => document.text.clone(),
            Err(reason) => format!("! {reason}"),
        };
        lines.iter().map(|(line, _, result)| (*line, said(result))).collect()
    }

    #[test]
    fn other_fields_become_metadata_and_metadata_stands() {
        let content = br#"{"text": "a", "lang": "en", "part": 3, "metadata": {"lang": "de", "year": 1999}}
{"text": "b", "lang": null}
{"text": 5, "lang": "en"}
["text"]"#;
        let found = read("a.jsonl", content, 100);
        let metadata = |at: usize| Value::Object(found[at].2.as_ref().unwrap().metadata.clone().unwrap());
        assert_eq!(metadata(0), serde_json::json!({"lang": "de", "part": 3, "year": 1999}));
        assert_eq!(metadata(1), serde_json::json!({"lang": null}));
        assert!(found[2].2.as_ref().unwrap_err().contains("expected a string"), "{found:?}");
        assert!(found[3].2.is_err());
    }

    #[test]
    fn a_line_that_is_too_long_or_no_text_spoils_no_other() {
        let mut content = b"\xef\xbb\xbf{\"text\": \"one\"}\n".to_vec();
        content.extend(vec![b'x'; 3 << 20]);
        content.extend(b"\n{\"text\": \"caf\xe9\"}\r\n\r\n{\"text\": \"two\"}");
        for compressed in [false, true] {
            let (name, content) = if compressed {
                ("a.jsonl.zst", zstd::encode_all(&content[..], 1).unwrap())
            } else {
                ("a.jsonl", content.clone())
            };
            let found = outcome(&read(name, &content, 10));
            assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 3, 5]);
            assert_eq!((found[0].1.as_str(), found[3].1.as_str()), ("one", "two"));
            assert!(found[1].1.contains("more than 1048636 bytes"), "{found:?}");
            assert!(found[2].1.contains("not UTF-8: byte 13 begins"), "{found:?}");
        }
    }

    #[test]
    fn what_comes_before_a_break_is_read() {
        let mut random = 1_u64;
        let mut noise = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random
        };
        let lines: String = (0..50_000).map(|number| format!("{{\"text\": \"{number} {}\"}}\n", noise())).collect();
        let mut content = zstd::encode_all(lines.as_bytes(), 1).unwrap();
        content.truncate(content.len() / 2);
        let found = read("cut.jsonl.zst", &content, 1000);
        assert!(found.len() > 1000, "{}", found.len());
        let (last, before) = found.split_last().unwrap();
        assert!(before.iter().all(|(_, _, result)| result.is_ok()));
        assert!(last.2.as_ref().unwrap_err().contains("the rest cannot be read"), "{last:?}");
        let found = read("no.jsonl.zst", b"{\"text\": \"plain\"}", 1000);
        assert_eq!(found.len(), 1);
        assert!(found[0].2.is_err());
    }

    #[test]
    fn a_bomb_is_given_up() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.write_all(b"{\"text\": \"one\"}\n").unwrap();
        let nothing = vec![b'\n'; 1 << 20];
        for _ in 0..1100 {
            encoder.write_all(&nothing).unwrap();
        }
        let content = encoder.finish().unwrap();
        assert!(content.len() < 1 << 20);
        let found = read("bomb.jsonl.zst", &content, 1000);
        assert_eq!(found.len(), 2);
        assert!(found[1].2.as_ref().unwrap_err().contains("without a document"), "{found:?}");
    }
}
