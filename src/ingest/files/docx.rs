//! Word documents (.docx): the text of the body, and the title of the document's properties.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::prose::{Gap, Prose};
use super::zip::Archive;
use super::{Extracted, IngestLimits};

/// Most bytes of the body's XML for each byte that its text may have, and at least.
const XML_PER_BYTE: u64 = 16;
const LEAST_XML: u64 = 8 << 20;
const MAX_PROPERTIES: u64 = 1 << 20;

pub(super) fn read(path: &Path, limits: &IngestLimits) -> Result<Extracted, String> {
    let limit = limits.max_document_bytes;
    let mut archive = Archive::open(File::open(path).map_err(|e| e.to_string())?)?;
    let max_xml = (limit as u64).saturating_mul(XML_PER_BYTE).max(LEAST_XML);
    let body = archive.part("word/document.xml", max_xml)?.ok_or("it is no Word document: it has no word/document.xml")?;
    let (styled, text) = body_text(BufReader::new(body), limit)?;
    // A document without properties, or with broken ones, still has its text.
    let title = match archive.part("docProps/core.xml", MAX_PROPERTIES) {
        Ok(Some(properties)) => element_text(BufReader::new(properties), "title", limit),
        _ => None,
    };
    Ok(Extracted { title: title.or(styled), text })
}

/// The first paragraph in the style `Title`, and the text.
pub(super) fn body_text(xml: impl BufRead, limit: usize) -> Result<(Option<String>, String), String> {
    let mut reader = Reader::from_reader(xml);
    let mut buffer = Vec::new();
    let mut body = Body { prose: Prose::new(limit), title: Prose::new(limit), ..Body::default() };
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Start(tag)) => body.open(&tag, false),
            Ok(Event::Empty(tag)) => body.open(&tag, true),
            Ok(Event::End(tag)) => body.close(tag.local_name().into_inner()),
            Ok(Event::Text(text)) => body.text(&text.xml10_content()),
            Ok(Event::CData(text)) => body.text(&text.xml10_content()),
            Ok(Event::GeneralRef(reference)) => body.text(&character(&reference)),
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(error) => return Err(format!("its text cannot be read: {error}")),
        }
        if body.prose.is_full() {
            break;
        }
    }
    if body.depth > 0 && !body.prose.is_full() {
        return Err("its text is cut short".to_owned());
    }
    Ok((body.title.finish().ok(), body.prose.finish()?))
}

#[derive(Default)]
struct Body {
    prose: Prose,
    title: Prose,
    depth: usize,
    /// Depth of an element that says again, for older programs, what was said before.
    fallback: Option<usize>,
    in_text: bool,
    in_title: bool,
    in_cell: usize,
}

impl Body {
    fn open(&mut self, tag: &BytesStart<'_>, empty: bool) {
        if !empty {
            self.depth += 1;
        }
        if self.fallback.is_some() {
            return;
        }
        match tag.local_name().into_inner() {
            "Fallback" if !empty => self.fallback = Some(self.depth),
            "t" => self.in_text = !empty,
            "tab" => self.prose.gap(Gap::Space),
            "br" | "cr" => self.prose.gap(Gap::Line),
            "noBreakHyphen" => self.prose.push_exactly("-"),
            "tc" if !empty => self.in_cell += 1,
            "pStyle" if self.title.is_empty() => {
                self.in_title = tag
                    .attributes()
                    .flatten()
                    .any(|attribute| attribute.key.local_name().into_inner() == "val" && attribute.value.as_ref() == "Title");
            }
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        if self.fallback == Some(self.depth) {
            self.fallback = None;
        }
        self.depth = self.depth.saturating_sub(1);
        match name {
            "t" => self.in_text = false,
            "p" => {
                self.in_title = false;
                self.prose.gap(if self.in_cell > 0 { Gap::Space } else { Gap::Paragraph });
            }
            "tc" => self.in_cell = self.in_cell.saturating_sub(1),
            "tr" => self.prose.gap(Gap::Line),
            "tbl" => self.prose.gap(Gap::Paragraph),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if !self.in_text || self.fallback.is_some() {
            return;
        }
        self.prose.push(text);
        if self.in_title {
            self.title.push(text);
        }
    }
}

/// The text of the first element of that name.
pub(super) fn element_text(xml: impl BufRead, name: &str, limit: usize) -> Option<String> {
    let mut reader = Reader::from_reader(xml);
    let (mut buffer, mut prose, mut inside) = (Vec::new(), Prose::new(limit), false);
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer) {
            Ok(Event::Start(tag)) if tag.local_name().into_inner() == name => inside = true,
            Ok(Event::Text(text)) if inside => prose.push(&text.xml10_content()),
            Ok(Event::GeneralRef(reference)) if inside => prose.push(&character(&reference)),
            Ok(Event::End(_)) if inside => return prose.finish().ok(),
            Ok(Event::Eof) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// What a reference like `&amp;` or `&#233;` stands for. XML knows only five by name; others are left out, since no document may define any.
fn character(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name = reference.xml10_content();
    quick_xml::escape::resolve_predefined_entity(&name).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::files::tests::fixture;

    #[test]
    fn a_document_has_its_paragraphs_its_tables_and_its_title() {
        let read = read(&fixture("good/museum.docx"), &IngestLimits::default()).unwrap();
        assert_eq!(read.title.as_deref(), Some("The Ambrel glass museum"));
        assert_eq!(
            read.text,
            "Glass & light\n\nThe glass museum of Ambrel keeps the oldest diving bell of the northern lakes, blown in 1742 by Tomas Reel.\
             \n\nOpen from April\n\nHall Piece\nNorth Bell <1742>"
        );
    }

    #[test]
    fn text_is_said_once_and_what_was_deleted_is_not() {
        let xml = "<w:document><w:body><w:p><w:pPr><w:pStyle w:val=\"Title\"/></w:pPr><w:r><w:t>The ti</w:t><w:t>tle</w:t></w:r></w:p>\
            <w:p><mc:AlternateContent><mc:Choice><w:t>box</w:t></mc:Choice><mc:Fallback><w:t>box</w:t></mc:Fallback></mc:AlternateContent>\
            <w:del><w:delText>old</w:delText></w:del><w:t xml:space=\"preserve\"> a&#233;&amp;&lt;</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:t>d</w:t>\
            <w:instrText>PAGE</w:instrText></w:p></w:body></w:document>";
        let (title, text) = body_text(xml.as_bytes(), 100).unwrap();
        assert_eq!(title.as_deref(), Some("The title"));
        assert_eq!(text, "The title\n\nbox aé&< b\nc-d");
        let deep = format!("{}<w:t>x</w:t>", "<w:p>".repeat(200_000));
        assert_eq!(body_text(deep.as_bytes(), 100).unwrap_err(), "its text is cut short");
        assert!(body_text(xml.as_bytes(), 10).unwrap_err().contains("more than 10 bytes"));
    }

    #[test]
    fn broken_files_have_reasons() {
        for (file, expected) in [
            ("noise.docx", "no ZIP archive"),
            ("cut.docx", "no ZIP archive, or it is cut short"),
            ("sheet.docx", "no word/document.xml"),
            ("open.docx", "cut short"),
            ("bomb.docx", "unpacks to more than 8388608 bytes"),
            ("damaged.docx", "cannot be read"),
        ] {
            let error = read(&fixture(&format!("broken/{file}")), &IngestLimits { max_document_bytes: 1000 }).unwrap_err();
            assert!(error.contains(expected), "{file}: {error}");
        }
    }

    #[test]
    fn no_change_of_a_byte_does_harm() {
        let whole = std::fs::read(fixture("good/museum.docx")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.docx");
        for place in (0..whole.len()).step_by(611).chain(whole.len() - 60..whole.len()) {
            let mut changed = whole.clone();
            changed[place] ^= 0x55;
            std::fs::write(&path, changed).unwrap();
            if let Ok(read) = read(&path, &IngestLimits::default()) {
                assert!(read.text.starts_with("Glass"), "at {place}: what is read has its checksum");
            }
        }
    }
}
