//! PDF: the text of its pages in the order in which they draw it, which nearly always is the order of reading.
//!
//! Pictures of pages (scans) have no text. Nor have fonts that do not say what their characters are.

mod font;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod page;

use std::path::Path;

use lopdf::{Dictionary, Document, Error, LoadOptions, Object};

use super::prose::{Gap, Prose};
use super::{Extracted, IngestLimits};
use page::PageReader;

/// Most bytes of a file: its objects take many times as much memory.
const MAX_FILE: u64 = 256 << 20;
/// Most bytes that one stream may unpack to.
const MAX_STREAM: usize = 64 << 20;

pub(super) fn read(path: &Path, limits: &IngestLimits) -> Result<Extracted, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_FILE {
        return Err(format!("it has {size} bytes, a PDF file may have {MAX_FILE}"));
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    text_of(&bytes, limits.max_document_bytes)
}

fn text_of(bytes: &[u8], limit: usize) -> Result<Extracted, String> {
    let options = LoadOptions { max_decompressed_size: Some(MAX_STREAM), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(bytes, options).map_err(|error| match error {
        Error::InvalidPassword | Error::Decryption(_) | Error::UnsupportedSecurityHandler(_) => "it is encrypted".to_owned(),
        other => format!("it is no PDF file, or a broken one: {}", in_full(&other)),
    })?;
    // Where the empty password opens it, it was decrypted as it was loaded.
    if document.is_encrypted() && document.encryption_state.is_none() {
        return Err("it is encrypted".to_owned());
    }
    let mut prose = Prose::new(limit);
    let mut pages = PageReader::new(&document);
    let mut number = 0;
    for page in document.page_iter() {
        number += 1;
        prose.gap(Gap::Paragraph);
        pages.read(page, &mut prose).map_err(|error| format!("page {number} cannot be read: {}", in_full(&error)))?;
        if prose.is_full() {
            break;
        }
    }
    if number == 0 {
        return Err("it has no pages".to_owned());
    }
    if prose.is_empty() && !prose.is_full() {
        return Err(format!("it has no text on its {number} pages; they may be pictures"));
    }
    Ok(Extracted { title: title(&document), text: prose.finish()? })
}

/// An error with its causes, which it does not tell itself.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The title of the document's properties, unless a program only filled it in.
fn title(document: &Document) -> Option<String> {
    const FILLED_IN: [&str; 2] = ["untitled", "(anonymous)"];
    let information = dictionary(document, document.trailer.get(b"Info").ok()?)?;
    let title = lopdf::decode_text_string(resolved(document, information.get(b"Title").ok()?)?).ok()?;
    let title = title.replace('\0', "").trim().to_owned();
    (!title.is_empty() && !FILLED_IN.contains(&title.to_lowercase().as_str())).then_some(title)
}

fn resolved<'a>(document: &'a Document, object: &'a Object) -> Option<&'a Object> {
    document.dereference(object).ok().map(|(_, object)| object)
}

fn dictionary<'a>(document: &'a Document, object: &'a Object) -> Option<&'a Dictionary> {
    match resolved(document, object)? {
        Object::Dictionary(dictionary) => Some(dictionary),
        Object::Stream(stream) => Some(&stream.dict),
        _ => None,
    }
}

/// Numbers of an array, those behind references too.
fn numbers(document: &Document, object: &Object) -> Option<Vec<f32>> {
    let array = resolved(document, object)?.as_array().ok()?;
    array.iter().map(|number| number_of(resolved(document, number)?)).collect()
}

fn number_of(object: &Object) -> Option<f32> {
    object.as_float().ok()
}

#[cfg(test)]
mod tests;
