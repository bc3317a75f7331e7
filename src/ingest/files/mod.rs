//! Documents from files: `.txt` and `.md` are one document each, `.jsonl` is one for each line.

mod name;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};

use super::{DocumentInput, IngestLimits};

/// A file, or a line of one, that gives no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub path: PathBuf,
    /// From 1, in a file of many documents.
    pub line: Option<usize>,
    pub reason: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.reason),
            None => write!(f, "{}: {}", self.path.display(), self.reason),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Lines,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "txt" | "md" => Some(Self::Text),
            "jsonl" => Some(Self::Lines),
            _ => None,
        }
    }
}

/// A file that was found, with what its documents' ids are made from.
#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    /// From the folder that was named, or only the file's name where the file itself was.
    relative: PathBuf,
    kind: Kind,
}

/// Reads documents from files one after the other.
///
/// The id of a document that names none is made from its path, so that the same file read again gives a new revision of the same document;
/// its title is its first Markdown heading or the file's name, its source the path.
pub struct Documents {
    sources: VecDeque<Result<Source, Skipped>>,
    limits: IngestLimits,
    lines: Option<OpenLines>,
    /// Paths by the ids that they gave.
    ids: HashMap<String, PathBuf>,
}

struct OpenLines {
    source: Source,
    lines: Lines<BufReader<File>>,
    line: usize,
    /// The rest cannot be read.
    broken: bool,
}

impl Documents {
    /// Finds the files of `paths`: those named, whatever they are, and in folders, however deep, all that can be read, without hidden ones.
    pub fn find(paths: &[PathBuf], limits: IngestLimits) -> Self {
        let sources = paths.iter().flat_map(|path| if path.is_dir() { folder(path) } else { vec![file(path)] }).collect();
        Self { sources, limits, lines: None, ids: HashMap::new() }
    }

    /// Files that are still to be read, those that cannot be read included.
    pub fn remaining_files(&self) -> usize {
        self.sources.len()
    }

    fn text(&self, source: &Source) -> Result<DocumentInput, Skipped> {
        let skipped = |reason: String| Skipped { path: source.path.clone(), line: None, reason };
        let size = std::fs::metadata(&source.path).map_err(|e| skipped(e.to_string()))?.len();
        if size > self.limits.max_document_bytes as u64 {
            return Err(skipped(format!("it has {size} bytes, a document may have {}", self.limits.max_document_bytes)));
        }
        let bytes = std::fs::read(&source.path).map_err(|e| skipped(e.to_string()))?;
        if bytes.contains(&0) {
            return Err(skipped("it is binary".to_owned()));
        }
        let text = String::from_utf8(bytes)
            .map_err(|e| skipped(format!("it is not UTF-8: byte {} begins no character", e.utf8_error().valid_up_to())))?;
        let text = without_mark(text);
        if text.trim().is_empty() {
            return Err(skipped("it is empty".to_owned()));
        }
        Ok(DocumentInput {
            id: Some(name::document_id(&source.relative)),
            title: name::heading(&text).or_else(|| name::stem(&source.path)).map(cut_label),
            source: Some(cut_label(source.path.display().to_string())),
            text,
            metadata: None,
            collection: None,
        })
    }

    /// The next document of an open file of many; none at its end.
    fn next_line(open: &mut OpenLines) -> Option<Result<DocumentInput, Skipped>> {
        while !open.broken {
            let line = open.lines.next()?;
            open.line += 1;
            let path = &open.source.path;
            let skipped = |reason: String| Skipped { path: path.clone(), line: Some(open.line), reason };
            let line = match line {
                Ok(line) => without_mark(line),
                Err(error) => {
                    open.broken = error.kind() != std::io::ErrorKind::InvalidData;
                    return Some(Err(skipped(error.to_string())));
                }
            };
            if line.trim().is_empty() {
                continue;
            }
            let mut input: DocumentInput = match serde_json::from_str(&line) {
                Ok(input) => input,
                Err(error) => return Some(Err(skipped(error.to_string()))),
            };
            input.id.get_or_insert_with(|| name::line_id(&open.source.relative, open.line));
            input.source.get_or_insert_with(|| cut_label(path.display().to_string()));
            return Some(Ok(input));
        }
        None
    }

    /// Refuses a document whose id an earlier one has: it would replace it.
    fn unique(&mut self, input: DocumentInput, path: &Path, line: Option<usize>) -> Result<DocumentInput, Skipped> {
        let Some(id) = &input.id else {
            return Ok(input);
        };
        match self.ids.insert(id.clone(), path.to_owned()) {
            None => Ok(input),
            Some(earlier) => {
                let reason = format!("its id is {id:?}, and so is that of a document of {}", earlier.display());
                self.ids.insert(id.clone(), earlier);
                Err(Skipped { path: path.to_owned(), line, reason })
            }
        }
    }
}

impl Iterator for Documents {
    type Item = Result<DocumentInput, Skipped>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(mut open) = self.lines.take()
                && let Some(next) = Self::next_line(&mut open)
            {
                let (path, line) = (open.source.path.clone(), open.line);
                self.lines = Some(open);
                return Some(next.and_then(|input| self.unique(input, &path, Some(line))));
            }
            let source = match self.sources.pop_front()? {
                Ok(source) => source,
                Err(skipped) => return Some(Err(skipped)),
            };
            match source.kind {
                Kind::Text => return Some(self.text(&source).and_then(|input| self.unique(input, &source.path, None))),
                Kind::Lines => match File::open(&source.path) {
                    Ok(file) => {
                        self.lines = Some(OpenLines { source, lines: BufReader::new(file).lines(), line: 0, broken: false })
                    }
                    Err(error) => return Some(Err(Skipped { path: source.path, line: None, reason: error.to_string() })),
                },
            }
        }
    }
}

fn file(path: &Path) -> Result<Source, Skipped> {
    let skipped = |reason: &str| Skipped { path: path.to_owned(), line: None, reason: reason.to_owned() };
    if !path.exists() {
        return Err(skipped("there is no such file"));
    }
    let kind = Kind::of(path).ok_or_else(|| skipped("its name ends in none of .txt, .md and .jsonl"))?;
    let relative = path.file_name().map(PathBuf::from).ok_or_else(|| skipped("it has no name"))?;
    Ok(Source { path: path.to_owned(), relative, kind })
}

fn folder(root: &Path) -> Vec<Result<Source, Skipped>> {
    let hidden = |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
    let found = walkdir::WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
    let found = found.filter_entry(|entry| !hidden(entry)).filter_map(|entry| match entry {
        Ok(entry) if entry.file_type().is_file() => {
            let kind = Kind::of(entry.path())?;
            let relative = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_owned();
            Some(Ok(Source { path: entry.into_path(), relative, kind }))
        }
        Ok(_) => None,
        Err(error) => {
            let path = error.path().unwrap_or(root).to_owned();
            Some(Err(Skipped { path, line: None, reason: error.to_string() }))
        }
    });
    found.collect()
}

/// Some programs begin a text with a byte order mark, which is no part of it.
fn without_mark(text: String) -> String {
    text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)
}

/// The longest title or source that a document may have.
fn cut_label(label: String) -> String {
    label.chars().take(super::input::MAX_LABEL).collect()
}

#[cfg(test)]
mod tests;
