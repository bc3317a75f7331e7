//! What strangers send, read from bytes that may be anything: a function for each parser, which ends with a value or an error, whatever
//! it is given, and holds what the value promises. `fuzz/` runs them on random bytes, the tests below on all bytes that were ever found.
//!
//! The functions lie beside what they try. None of this is in the server.

use crate::{http, ingest, model, neighbours, settings, text};

/// A parser and how it is tried.
pub struct Target {
    pub name: &'static str,
    /// # Panics
    /// The bytes make the parser break its promise.
    pub run: fn(&[u8]),
    /// Most bytes of an input that is tried.
    pub max_bytes: usize,
}

const fn target(name: &'static str, max_bytes: usize, run: fn(&[u8])) -> Target {
    Target { name, run, max_bytes }
}

pub const TARGETS: &[Target] = &[
    target("complete", 4096, http::fuzzing::complete),
    target("score", 4096, http::fuzzing::score),
    target("retrieve", 4096, http::fuzzing::retrieve),
    target("collections", 1024, http::fuzzing::collections),
    target("completions", 4096, http::fuzzing::completions),
    target("embeddings", 2048, http::fuzzing::embeddings),
    target("headers", 512, http::fuzzing::headers),
    target("documents", 4096, http::fuzzing::documents::json),
    target("ndjson", 4096, http::fuzzing::documents::ndjson),
    target("delete", 2048, http::fuzzing::documents::delete),
    target("multipart", 4096, http::fuzzing::documents::multipart),
    target("filter", 2048, neighbours::fuzzing::filter),
    target("text", 4096, ingest::files::fuzzing::text),
    target("html", 4096, ingest::files::fuzzing::html),
    target("docx", 4096, ingest::files::fuzzing::docx),
    target("docx_xml", 4096, ingest::files::fuzzing::docx_xml),
    target("pdf", 8192, ingest::files::fuzzing::pdf),
    target("pdf_page", 4096, ingest::files::fuzzing::pdf_page),
    target("parquet", 8192, ingest::files::fuzzing::parquet),
    target("jsonl", 4096, ingest::files::fuzzing::jsonl),
    target("jsonl_zst", 4096, ingest::files::fuzzing::jsonl_zst),
    target("encoding", 1024, text::fuzzing::encoding),
    target("tokenizer", 8192, text::fuzzing::tokenizer),
    target("grid", 64, text::fuzzing::grid),
    target("manifest", 8192, model::fuzzing::manifest),
    target("settings", 2048, settings::fuzzing::settings),
];

/// # Panics
/// There is no such target.
pub fn find(name: &str) -> &'static Target {
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target {name:?}; there are {}", names()))
}

#[cfg(test)]
mod tests;
