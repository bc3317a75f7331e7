//! What strangers send, read from bytes that may be anything: a function for each parser, which ends with a value or an error, whatever
//! it is given, and holds what the value promises. `fuzz/` runs them on random bytes, the tests below on all bytes that were ever found.
//!
//! The functions lie beside what they try. None of this is in the server.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, Once};

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

/// Does what the server does where it takes the panic of a library for an answer: none where there was one. A panic of this crate ends the
/// process.
pub(crate) fn apart<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("src/", |location| location.file());
            if file.starts_with("src/") || file.starts_with(env!("CARGO_MANIFEST_DIR")) {
                before(panic);
                std::process::abort();
            }
            tell_once(panic);
        }));
    });
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn tell_once(panic: &PanicHookInfo<'_>) {
    static TOLD: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let mut told = TOLD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if told.get_or_insert_default().insert(place) {
        eprintln!("a library's own: {panic}");
    }
}

#[cfg(test)]
mod tests;
