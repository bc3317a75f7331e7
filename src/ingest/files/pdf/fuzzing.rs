//! PDF from bytes: a file, and what stands on a page.

use lopdf::{Document, Stream, dictionary};

use super::page::PageReader;
use super::{Prose, text_of};
use crate::caught::apart;
use crate::ingest::files::fuzzing::{LIMITS, finished, readable};

pub(crate) fn pdf(bytes: &[u8]) {
    match apart(|| text_of(bytes, LIMITS.max_document_bytes)) {
        Some(Ok(read)) => readable(&read.text),
        Some(Err(reason)) => assert!(!reason.is_empty()),
        None => {}
    }
}

/// The parts between zeros are what a page draws, what it draws by `/X1 Do`, and what the codes of its font `F2` mean; `F1` is Helvetica.
pub(crate) fn pdf_page(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |&byte| byte == 0).map(<[u8]>::to_vec);
    let mut part = || parts.next().unwrap_or_default();
    let mut document = Document::with_version("1.5");
    let content = document.add_object(Stream::new(dictionary! {}, part()));
    let form = dictionary! { "Type" => "XObject", "Subtype" => "Form" };
    let form = document.add_object(Stream::new(form, part()));
    let meaning = document.add_object(Stream::new(dictionary! {}, part()));
    let simple = document.add_object(dictionary! { "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica" });
    let descendant = document.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "CIDFontType2", "BaseFont" => "A", "W" => vec![1.into(), 2.into(), 500.into()],
    });
    let composite = document.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type0", "BaseFont" => "A", "Encoding" => "Identity-H", "ToUnicode" => meaning,
        "DescendantFonts" => vec![descendant.into()],
    });
    let fonts = dictionary! { "F1" => simple, "F2" => composite };
    let pages = document.new_object_id();
    let page = document.add_object(dictionary! {
        "Type" => "Page", "Parent" => pages, "Contents" => content,
        "Resources" => dictionary! { "Font" => fonts, "XObject" => dictionary! { "X1" => form } },
    });
    document.objects.insert(pages, dictionary! { "Type" => "Pages", "Kids" => vec![page.into()], "Count" => 1 }.into());
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
    document.trailer.set("Root", catalog);
    let mut prose = Prose::new(LIMITS.max_document_bytes);
    if let Some(Ok(())) = apart(|| PageReader::new(&document).read(page, &mut prose)) {
        finished(prose);
    }
}
