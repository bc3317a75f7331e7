//! Which files there are to read: those that were named, those of folders, and those that a pattern matches.

use std::path::{Component, Path, PathBuf};

use super::Skipped;

/// Extensions that are read, as they are told to the user.
pub(super) const EXTENSIONS: &str = ".txt, .md, .html, .htm, .pdf, .docx, .jsonl, .jsonl.zst and .parquet";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Html,
    Pdf,
    Docx,
    Lines,
    CompressedLines,
    Parquet,
}

impl Kind {
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        // A name that is all extension is a hidden file without one.
        let (stem, extension) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
        match extension {
            "txt" | "md" => Some(Self::Text),
            "html" | "htm" => Some(Self::Html),
            "pdf" => Some(Self::Pdf),
            "docx" => Some(Self::Docx),
            "jsonl" => Some(Self::Lines),
            "zst" if stem.ends_with(".jsonl") => Some(Self::CompressedLines),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// An extension that a file of this kind may have.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Html => "html",
            Self::Pdf => "pdf",
            Self::Docx => "docx",
            Self::Lines => "jsonl",
            Self::CompressedLines => "jsonl.zst",
            Self::Parquet => "parquet",
        }
    }
}

/// A file that was found, with what its documents' ids are made from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Where it lies.
    pub path: PathBuf,
    /// What its user calls it: the path, unless it was sent.
    pub name: PathBuf,
    /// From the folder that was named, or only the file's name where the file itself was.
    pub relative: PathBuf,
    pub kind: Kind,
    pub bytes: u64,
}

/// Whether a path that does not exist can still name files.
pub fn is_pattern(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

/// The files of a path: the file itself, those of a folder, however deep, or those that a pattern matches. Of folders and patterns those
/// that can be read, without hidden ones.
pub(super) fn sources(path: &Path) -> Vec<Result<Source, Skipped>> {
    if path.is_dir() {
        folder(path)
    } else if !path.exists() && is_pattern(path) {
        pattern(path)
    } else {
        vec![file(path)]
    }
}

fn file(path: &Path) -> Result<Source, Skipped> {
    let skipped = |reason: &str| Skipped::file(path, reason);
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => skipped("there is no such file"),
        _ => skipped(&error.to_string()),
    })?;
    // A pipe would be waited for.
    if !metadata.is_file() {
        return Err(skipped("it is no file"));
    }
    let kind = Kind::of(path).ok_or_else(|| unknown_kind(path))?;
    let relative = path.file_name().map(PathBuf::from).ok_or_else(|| skipped("it has no name"))?;
    Ok(Source { path: path.to_owned(), name: path.to_owned(), relative, kind, bytes: metadata.len() })
}

pub(super) fn unknown_kind(name: &Path) -> Skipped {
    Skipped::file(name, format!("its name ends in none of {EXTENSIONS}"))
}

fn folder(root: &Path) -> Vec<Result<Source, Skipped>> {
    let hidden = |entry: &walkdir::DirEntry| entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
    let found = walkdir::WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
    let found = found.filter_entry(|entry| !hidden(entry)).filter_map(|entry| match entry {
        Ok(entry) if entry.file_type().is_file() => {
            let kind = Kind::of(entry.path())?;
            let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
            let relative = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_owned();
            let name = entry.path().to_owned();
            Some(Ok(Source { path: entry.into_path(), name, relative, kind, bytes }))
        }
        Ok(_) => None,
        Err(error) => Some(Err(Skipped::file(error.path().unwrap_or(root), error.to_string()))),
    });
    found.collect()
}

fn pattern(path: &Path) -> Vec<Result<Source, Skipped>> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let Some(text) = path.to_str() else {
        return vec![Err(Skipped::file(path, "a pattern must be UTF-8"))];
    };
    let matched = match glob::glob_with(text, options) {
        Ok(matched) => matched,
        Err(error) => return vec![Err(Skipped::file(path, format!("it is no pattern: {error}")))],
    };
    // Ids come from here on, so that `notes/**/*.md` gives a file the id that `notes` gives it.
    let root: PathBuf = path.components().take_while(|part| !is_pattern(Path::new(part))).collect();
    let mut found = Vec::new();
    for entry in matched {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                found.push(Err(Skipped::file(error.path(), error.error().to_string())));
                continue;
            }
        };
        let Ok(metadata) = std::fs::metadata(&entry) else {
            found.push(Err(Skipped::file(&entry, "it cannot be read")));
            continue;
        };
        // The pattern's own `.` and `..` hide nothing.
        let relative = entry.strip_prefix(&root).unwrap_or(&entry).to_owned();
        let hidden =
            relative.components().any(|part| matches!(part, Component::Normal(name) if name.to_string_lossy().starts_with('.')));
        if let Some(kind) = Kind::of(&entry)
            && metadata.is_file()
            && !hidden
        {
            found.push(Ok(Source { name: entry.clone(), path: entry, relative, kind, bytes: metadata.len() }));
        }
    }
    if found.is_empty() {
        found.push(Err(Skipped::file(path, format!("it matches no file whose name ends in one of {EXTENSIONS}"))));
    }
    found
}
