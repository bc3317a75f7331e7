//! Files from bytes, read as those of an upload are.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::TempDir;

use super::find::{Kind, Source};
use super::prose::Prose;
use super::{Documents, FileLabels, IngestLimits};
use crate::caught::{apart, is_within_memory};

pub(crate) use super::pdf::fuzzing::{pdf, pdf_page};

/// Small, so that they are met.
pub(crate) const LIMITS: IngestLimits = IngestLimits { max_document_bytes: 2000 };

pub(crate) fn text(bytes: &[u8]) {
    file("a.txt", Kind::Text, bytes);
}

pub(crate) fn html(bytes: &[u8]) {
    file("a.html", Kind::Html, bytes);
}

pub(crate) fn docx(bytes: &[u8]) {
    file("a.docx", Kind::Docx, bytes);
}

pub(crate) fn parquet(bytes: &[u8]) {
    let read = || file("a.parquet", Kind::Parquet, bytes);
    // The process that reads an upload ends where its allocations fail, and that is the reason why the file cannot be read.
    if is_within_memory(read) {
        apart(read);
    }
}

pub(crate) fn jsonl(bytes: &[u8]) {
    file("a.jsonl", Kind::Lines, bytes);
}

pub(crate) fn jsonl_zst(bytes: &[u8]) {
    file("a.jsonl.zst", Kind::CompressedLines, bytes);
}

/// What a Word document holds, without the archive around it, whose checksums no change of a byte survives.
pub(crate) fn docx_xml(xml: &[u8]) {
    let limit = LIMITS.max_document_bytes;
    if let Ok((title, text)) = super::docx::body_text(xml, limit) {
        readable(&text);
        assert!(title.is_none_or(|title| title.len() <= limit));
    }
    let title = super::docx::element_text(xml, "title", limit);
    assert!(title.is_none_or(|title| title.len() <= limit));
}

/// All of a file, up to what is sure to be a document or a reason why not.
fn file(name: &str, kind: Kind, bytes: &[u8]) {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("there is room for it"));
    let path: PathBuf = FOLDER.path().join(name);
    std::fs::write(&path, bytes).expect("there is room for it");
    let name = Path::new(name).to_owned();
    let source = Source { path, relative: name.clone(), name, kind, bytes: bytes.len() as u64 };
    let mut found = Documents::of([Ok(source)].into(), LIMITS).labelled(FileLabels::default());
    // A row of a Parquet file may have less than a byte of it, and no other document has.
    let mut left = if kind == Kind::Parquet { 100_000 } else { bytes.len() + 2 };
    while let Some(document) = found.next_valid(None) {
        match document {
            Ok(document) => readable(document.text()),
            Err(skipped) => assert!(!skipped.reason.is_empty()),
        }
        assert!(found.bytes_read() <= found.bytes());
        left -= 1;
        if kind == Kind::Parquet && left == 0 {
            return;
        }
    }
}

/// # Panics
/// It is not the text of a document.
pub(super) fn readable(text: &str) {
    assert!(!text.trim().is_empty() && text.len() <= LIMITS.max_document_bytes, "{} bytes", text.len());
}

/// # Panics
/// It holds what no reader gives.
pub(super) fn finished(prose: Prose) {
    if let Ok(text) = prose.finish() {
        readable(&text);
    }
}
