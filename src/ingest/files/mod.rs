//! Documents from files. A text, a page, a PDF or a Word document is one document; a line of a `.jsonl` or a row of a `.parquet` is one each.
//! `docs/ingest.md` says what becomes title, text and metadata.
//!
//! Files come from anywhere, so each reader keeps bounds: what it unpacks, how deep it nests, how long it takes. What cannot be read is
//! named with its reason, and the rest is read.

mod apart;
mod docx;
mod find;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod html;
mod lines;
mod name;
mod parquet;
mod pdf;
mod prose;
mod reader;
mod uploads;
mod zip;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::input::cut_label;
use super::{DocumentInput, IngestLimits, NewDocument};
use crate::invalid::Invalid;
use crate::names::CollectionName;
pub use apart::read_here;
use find::Source;
pub use find::is_pattern;
use reader::Reader;
pub use uploads::{FileLabels, Found, TooMuch, Upload, UploadLimits, Uploads};

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
    /// As its user names it.
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
    fn whole(result: Result<Extracted, String>) -> Self {
        let input = |Extracted { title, text }: Extracted| DocumentInput { title, text, ..DocumentInput::default() };
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
/// so is its source, and where its content has no title, the title of a document that is a file. Labels go before what is made up.
pub struct Documents {
    sources: VecDeque<Result<Source, Skipped>>,
    reader: Reader,
    labels: FileLabels,
    /// Files that are read at a time.
    workers: usize,
    /// Those whose turn comes.
    ahead: VecDeque<Result<(Source, Items), Skipped>>,
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
        Self::of(paths.iter().flat_map(|path| find::sources(path)).collect(), limits)
    }

    fn of(sources: VecDeque<Result<Source, Skipped>>, limits: IngestLimits) -> Self {
        let bytes = sources.iter().flatten().map(|source| source.bytes).sum();
        Self {
            sources,
            reader: Reader { limits, program: None },
            labels: FileLabels::default(),
            workers: 1,
            ahead: VecDeque::new(),
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
        self.reader.program = Some(program);
        self
    }

    /// Says this of all documents, where they do not say it themselves.
    fn labelled(mut self, labels: FileLabels) -> Self {
        self.labels = labels;
        self
    }

    /// Reads so many files at a time, each on a thread of its own. Documents come in the same order.
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
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
        Some(NewDocument::validate("", input, &self.reader.limits).map_err(skipped))
    }

    fn next_file(&mut self) -> Option<Result<(Source, Items), Skipped>> {
        while self.ahead.len() < self.workers {
            let Some(source) = self.sources.pop_front() else { break };
            self.ahead.push_back(source.map(|source| {
                let items = if self.workers > 1 { self.reader.begin(&source) } else { self.reader.items(&source) };
                (source, items)
            }));
        }
        self.ahead.pop_front()
    }

    fn finished(&mut self, source: &Source, item: Item) -> Result<DocumentInput, Skipped> {
        self.place = item.place;
        let skipped = |reason| Skipped { path: source.name.clone(), place: item.place, reason };
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
        if item.place.is_none() {
            // What is said of a file counts more than what is found in it.
            let title = self.labels.title.clone().or(input.title.take());
            input.title = title.or_else(|| name::stem(&source.name)).map(cut_label);
        }
        self.labels.apply(&mut input);
        input.source.get_or_insert_with(|| cut_label(source.name.display().to_string()));
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
            match self.next_file()? {
                Ok((source, items)) => {
                    (self.done, self.path) = (0.0, source.name.as_path().into());
                    self.open = Some((source, items));
                }
                Err(skipped) => return Some(Err(skipped)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
