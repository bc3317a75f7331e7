//! Documents from files. A text, a page, a PDF or a Word document is one document; a line of a `.jsonl` or a row of a `.parquet` is one each.
//! `docs/ingest.md` says what becomes title, text and metadata.
//!
//! Files come from anywhere, so each reader keeps bounds: what it unpacks, how deep it nests, how long it takes. What cannot be read is
//! named with its reason, and the rest is read.

mod apart;
mod docx;
mod find;
mod html;
mod lines;
mod name;
mod parquet;
mod pdf;
mod prose;
mod zip;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DocumentInput, IngestLimits, NewDocument};
use crate::invalid::Invalid;
use crate::names::CollectionName;
pub use apart::read_here;
pub use find::is_pattern;
use find::{Kind, Source};

/// Most bytes of a page for each byte that its text may have: pages are mostly not text.
const HTML_PER_BYTE: u64 = 8;

/// Where in a file of many documents one is, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Line(usize),
    Row(usize),
}

impl Place {
    fn number(self) -> usize {
        match self {
            Self::Line(number) | Self::Row(number) => number,
        }
    }
}

/// A file, or a part of one, that gives no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub path: PathBuf,
    pub place: Option<Place>,
    pub reason: String,
}

impl Skipped {
    fn file(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), place: None, reason: reason.into() }
    }
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place {
            Some(Place::Line(line)) => write!(f, "{}:{line}: {}", self.path.display(), self.reason),
            Some(Place::Row(row)) => write!(f, "{}: row {row}: {}", self.path.display(), self.reason),
            None => write!(f, "{}: {}", self.path.display(), self.reason),
        }
    }
}

/// What a reader makes of a file that is one document.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Extracted {
    title: Option<String>,
    text: String,
}

/// What a file holds, or the reason why it does not.
#[derive(Debug, Serialize, Deserialize)]
struct Item {
    place: Option<Place>,
    /// The share of the file that was read with it.
    done: f64,
    result: Result<DocumentInput, String>,
}

impl Item {
    fn whole(path: &Path, result: Result<Extracted, String>) -> Self {
        let input = |Extracted { title, text }: Extracted| DocumentInput {
            title: title.or_else(|| name::stem(path)).map(cut_label),
            text,
            ..DocumentInput::default()
        };
        Self { place: None, done: 1.0, result: result.map(input) }
    }

    fn failed(reason: String) -> Self {
        Self { place: None, done: 1.0, result: Err(reason) }
    }
}

type Items = Box<dyn Iterator<Item = Item> + Send>;

/// Reads documents from files one after the other.
///
/// The id of a document that names none is made from its path, so that the same file read again gives a new revision of the same document;
/// so is its source, and where its content has no title, the title of a document that is a file.
pub struct Documents {
    sources: VecDeque<Result<Source, Skipped>>,
    limits: IngestLimits,
    reader: Option<PathBuf>,
    open: Option<(Source, Items)>,
    /// The open file's, shared by its ids.
    path: Arc<Path>,
    /// Of the last document.
    place: Option<Place>,
    /// Paths by the ids that they gave.
    ids: HashMap<String, Arc<Path>>,
    bytes: u64,
    /// Of the files that were read to their ends.
    read: u64,
    /// Share of the open file.
    done: f64,
}

impl Documents {
    /// Finds the files of `paths`: those named, whatever they are; in folders, however deep, and of patterns, all that can be read, without
    /// hidden ones.
    pub fn find(paths: &[PathBuf], limits: IngestLimits) -> Self {
        let sources: VecDeque<_> = paths.iter().flat_map(|path| find::sources(path)).collect();
        let bytes = sources.iter().flatten().map(|source| source.bytes).sum();
        Self {
            sources,
            limits,
            reader: None,
            open: None,
            path: Path::new("").into(),
            place: None,
            ids: HashMap::new(),
            bytes,
            read: 0,
            done: 0.0,
        }
    }

    /// Lets `program read-file` read the formats whose libraries may fail on a file or take too much of it, each file in a process of its
    /// own. Without, they are read in this process.
    pub fn reading_apart(mut self, program: PathBuf) -> Self {
        self.reader = Some(program);
        self
    }

    /// Bytes of all files that were found.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the files, or shares of one, whose documents were given.
    pub fn bytes_read(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |(source, _)| source.bytes);
        self.read + (open as f64 * self.done) as u64
    }

    /// The next document that keeps all rules, in `collection` if that is given.
    pub fn next_valid(&mut self, collection: Option<&CollectionName>) -> Option<Result<NewDocument, Skipped>> {
        let mut input = match self.next()? {
            Ok(input) => input,
            Err(skipped) => return Some(Err(skipped)),
        };
        if let Some(collection) = collection {
            input.collection = Some(collection.to_string());
        }
        let skipped =
            |invalid: Invalid| Skipped { path: self.path.to_path_buf(), place: self.place, reason: invalid.to_string() };
        Some(NewDocument::validate("", input, &self.limits).map_err(skipped))
    }

    fn items(&self, source: &Source) -> Items {
        let (path, limits) = (&source.path, &self.limits);
        match source.kind {
            Kind::Text => whole(path, text(path, limits)),
            Kind::Html => whole(path, html(path, limits)),
            Kind::Docx => whole(path, docx::read(path, limits)),
            Kind::Lines | Kind::CompressedLines => {
                match lines::JsonLines::open(path, source.kind == Kind::CompressedLines, limits) {
                    Ok(lines) => {
                        Box::new(lines.map(|(line, done, result)| Item { place: Some(Place::Line(line)), done, result }))
                    }
                    Err(error) => failed(error.to_string()),
                }
            }
            Kind::Pdf | Kind::Parquet => match &self.reader {
                None => apart::items(path, limits),
                Some(program) => match apart::Apart::start(program, path, limits) {
                    Ok(items) => Box::new(items),
                    Err(error) => failed(format!("its reader does not start: {error}")),
                },
            },
        }
    }

    fn finished(&mut self, source: &Source, item: Item) -> Result<DocumentInput, Skipped> {
        self.place = item.place;
        let skipped = |reason| Skipped { path: source.path.clone(), place: item.place, reason };
        let mut input = item.result.map_err(skipped)?;
        let id = input.id.get_or_insert_with(|| match item.place {
            None => name::document_id(&source.relative),
            Some(place) => name::line_id(&source.relative, place.number()),
        });
        // It would replace the earlier one.
        if let Some(earlier) = self.ids.get(id) {
            return Err(skipped(format!("its id is {id:?}, and so is that of a document of {}", earlier.display())));
        }
        self.ids.insert(id.clone(), Arc::clone(&self.path));
        input.source.get_or_insert_with(|| cut_label(source.path.display().to_string()));
        Ok(input)
    }
}

impl Iterator for Documents {
    type Item = Result<DocumentInput, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((source, mut items)) = self.open.take() {
                if let Some(item) = items.next() {
                    self.done = item.done;
                    let finished = self.finished(&source, item);
                    self.open = Some((source, items));
                    return Some(finished);
                }
                self.read += source.bytes;
            }
            match self.sources.pop_front()? {
                Ok(source) => {
                    let items = self.items(&source);
                    (self.done, self.path) = (0.0, source.path.as_path().into());
                    self.open = Some((source, items));
                }
                Err(skipped) => return Some(Err(skipped)),
            }
        }
    }
}

fn whole(path: &Path, result: Result<Extracted, String>) -> Items {
    Box::new(std::iter::once(Item::whole(path, result)))
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

/// The longest title or source that a document may have.
fn cut_label(label: String) -> String {
    label.chars().take(super::input::MAX_LABEL).collect()
}

#[cfg(test)]
mod tests;
