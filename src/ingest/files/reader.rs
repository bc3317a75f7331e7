//! From one file to what it holds, whatever kind it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use super::find::{Kind, Source};
use super::{Extracted, Item, Items, Place, apart, docx, html, lines, name};
use crate::ingest::IngestLimits;

/// Most bytes of a page for each byte that its text may have: pages are mostly not text.
const HTML_PER_BYTE: u64 = 8;

/// How files are read.
#[derive(Clone)]
pub(super) struct Reader {
    pub limits: IngestLimits,
    /// What reads the formats that are read in a process of their own; none: this process reads them.
    pub program: Option<PathBuf>,
}

impl Reader {
    pub fn items(&self, source: &Source) -> Items {
        let (path, limits) = (&source.path, &self.limits);
        match source.kind {
            Kind::Text => whole(text(path, limits)),
            Kind::Html => whole(html(path, limits)),
            Kind::Docx => whole(docx::read(path, limits)),
            Kind::Lines | Kind::CompressedLines => {
                match lines::JsonLines::open(path, source.kind == Kind::CompressedLines, limits) {
                    Ok(lines) => {
                        Box::new(lines.map(|(line, done, result)| Item { place: Some(Place::Line(line)), done, result }))
                    }
                    Err(error) => failed(error.to_string()),
                }
            }
            Kind::Pdf | Kind::Parquet => match &self.program {
                None => apart::items(path, limits),
                Some(program) => match apart::Apart::start(program, path, limits) {
                    Ok(items) => Box::new(items),
                    Err(error) => failed(format!("its reader does not start: {error}")),
                },
            },
        }
    }

    /// Begins to read a file on a thread of its own, which is ahead by two items at most and ends when nobody wants more.
    pub fn begin(&self, source: &Source) -> Items {
        let (send, items) = sync_channel(1);
        let (reader, source) = (self.clone(), source.clone());
        std::thread::spawn(move || {
            let read = catch_unwind(AssertUnwindSafe(|| reader.items(&source).all(|item| send.send(item).is_ok())));
            if read.is_err() {
                // A file that gives nothing must have a reason; who has gone needs none.
                let _ = send.send(Item::failed("its reader failed".to_owned()));
            }
        });
        Box::new(items.into_iter())
    }
}

fn whole(result: Result<Extracted, String>) -> Items {
    Box::new(std::iter::once(Item::whole(result)))
}

fn failed(reason: String) -> Items {
    Box::new(std::iter::once(Item::failed(reason)))
}

fn text(path: &Path, limits: &IngestLimits) -> Result<Extracted, String> {
    let bytes = bytes_of(path, limits.max_document_bytes as u64, "a document may have")?;
    if bytes.contains(&0) {
        return Err("it is binary".to_owned());
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| format!("it is not UTF-8: byte {} begins no character", e.utf8_error().valid_up_to()))?;
    // Some programs begin a text with a byte order mark, which is no part of it.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(Extracted { title: name::heading(&text), text })
}

fn html(path: &Path, limits: &IngestLimits) -> Result<Extracted, String> {
    let most = (limits.max_document_bytes as u64).saturating_mul(HTML_PER_BYTE);
    html::read(&bytes_of(path, most, "an HTML file may have")?, limits.max_document_bytes)
}

fn bytes_of(path: &Path, most: u64, rule: &str) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > most {
        return Err(format!("it has {size} bytes, {rule} {most}"));
    }
    std::fs::read(path).map_err(|e| e.to_string())
}
