use std::path::Path;

use sha2::{Digest, Sha256};

use crate::files::hex;
use crate::names::MAX_DOCUMENT_ID;

/// Digits of the hash that keeps ids of different paths apart.
const HASH_DIGITS: usize = 8;

/// An id from a path: `/` becomes `:`, and what no id may hold becomes `_`. Where that, or the length, hides a difference between paths, a
/// part of the path's hash is added.
pub(super) fn document_id(relative: &Path) -> String {
    id_from(relative, "")
}

/// An id for one line of a file.
pub(super) fn line_id(relative: &Path, line: usize) -> String {
    id_from(relative, &format!(":{line}"))
}

fn id_from(relative: &Path, end: &str) -> String {
    let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let path = parts.join("/");
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let mut id = String::with_capacity(path.len());
    let mut same = path.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !same {
        id.push_str("file");
    }
    for c in path.chars() {
        same &= c == '/' || allowed(c);
        id.push(if c == '/' {
            ':'
        } else if allowed(c) {
            c
        } else {
            '_'
        });
    }
    if same && id.len() + end.len() <= MAX_DOCUMENT_ID {
        return id + end;
    }
    let hash = hex(&Sha256::digest(path.as_bytes()));
    id.truncate(MAX_DOCUMENT_ID - HASH_DIGITS - 1 - end.len());
    format!("{id}-{}{end}", &hash[..HASH_DIGITS])
}

/// The first Markdown heading of a text (`# ...` to `###### ...`), outside of code.
pub(super) fn heading(text: &str) -> Option<String> {
    let mut in_code = false;
    text.lines().find_map(|line| {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let rest = line.trim_start_matches('#');
        let marks = line.len() - rest.len();
        let title = rest.trim().trim_end_matches('#').trim_end();
        let is_heading = !in_code && (1..=6).contains(&marks) && rest.starts_with([' ', '\t']) && !title.is_empty();
        is_heading.then(|| title.to_owned())
    })
}

/// The file's name without its extension.
pub(super) fn stem(path: &Path) -> Option<String> {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned())
}
