//! HTML: what a reader of the page would read of it.
//!
//! The tokenizer keeps no tree, so nesting costs neither stack nor memory, and it is as lenient as a browser: nothing is too broken to read.

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};

use super::Extracted;
use super::prose::{Gap, Prose};

/// What is inside is no text of the page.
const DROPPED: [&[u8]; 14] = [
    b"script",
    b"style",
    b"noscript",
    b"template",
    b"nav",
    b"svg",
    b"math",
    b"iframe",
    b"object",
    b"canvas",
    b"button",
    b"select",
    b"textarea",
    b"dialog",
];
const PARAGRAPHS: [&[u8]; 13] =
    [b"p", b"h1", b"h2", b"h3", b"h4", b"h5", b"h6", b"pre", b"blockquote", b"ul", b"ol", b"dl", b"table"];
const LINES: [&[u8]; 24] = [
    b"div",
    b"br",
    b"hr",
    b"li",
    b"tr",
    b"section",
    b"article",
    b"header",
    b"footer",
    b"aside",
    b"main",
    b"dt",
    b"dd",
    b"figure",
    b"figcaption",
    b"form",
    b"fieldset",
    b"address",
    b"details",
    b"summary",
    b"caption",
    b"option",
    b"body",
    b"legend",
];
/// Elements that SVG or MathML close by `/>`.
const FOREIGN: [&[u8]; 2] = [b"svg", b"math"];

/// Reads a page: its `<title>`, and the text of `<main>` where it has one, else of all.
pub(super) fn read(bytes: &[u8], limit: usize) -> Result<Extracted, String> {
    let html = decode(bytes)?;
    let mut emitter = DefaultEmitter::default();
    // Else a `<` in a script would begin a tag.
    emitter.naively_switch_states(true);
    let mut page = Page::new(limit);
    for Ok(token) in Tokenizer::new_with_emitter(html.as_str(), emitter) {
        match token {
            Token::StartTag(tag) => page.open(&tag.name, tag.self_closing),
            Token::EndTag(tag) => page.close(&tag.name),
            Token::String(text) => page.text(&String::from_utf8_lossy(&text)),
            _ => {}
        }
        if page.all.is_full() && page.main.as_ref().is_none_or(Prose::is_full) {
            break;
        }
    }
    page.finish()
}

struct Page {
    title: Prose,
    heading: Prose,
    all: Prose,
    main: Option<Prose>,
    /// How deep the reader is in elements of these names.
    in_main: usize,
    in_title: bool,
    in_heading: bool,
    in_pre: usize,
    /// The element that is left out, and how often it is open within itself.
    dropped: Option<(Vec<u8>, usize)>,
    limit: usize,
}

impl Page {
    fn new(limit: usize) -> Self {
        Self {
            title: Prose::new(limit),
            heading: Prose::new(limit),
            all: Prose::new(limit),
            main: None,
            in_main: 0,
            in_title: false,
            in_heading: false,
            in_pre: 0,
            dropped: None,
            limit,
        }
    }

    fn open(&mut self, name: &[u8], self_closing: bool) {
        let closed = self_closing && FOREIGN.contains(&name);
        if let Some((dropped, depth)) = &mut self.dropped {
            *depth += usize::from(dropped == name && !closed);
            return;
        }
        if DROPPED.contains(&name) {
            if !closed {
                self.dropped = Some((name.to_owned(), 1));
            }
            // Words on both sides of a picture are two.
            self.gap(Gap::Space);
            return;
        }
        self.block(name);
        match name {
            b"title" => self.in_title = true,
            b"h1" => self.in_heading = self.heading.is_empty(),
            b"pre" => self.in_pre += 1,
            b"main" => {
                self.in_main += 1;
                self.main.get_or_insert_with(|| Prose::new(self.limit));
            }
            b"td" | b"th" => self.gap(Gap::Space),
            _ => {}
        }
    }

    fn close(&mut self, name: &[u8]) {
        if let Some((dropped, depth)) = &mut self.dropped {
            *depth -= usize::from(dropped == name);
            if *depth == 0 {
                self.dropped = None;
            }
            return;
        }
        self.block(name);
        match name {
            b"title" => self.in_title = false,
            b"h1" => self.in_heading = false,
            b"pre" => self.in_pre = self.in_pre.saturating_sub(1),
            b"main" => self.in_main = self.in_main.saturating_sub(1),
            b"td" | b"th" => self.gap(Gap::Space),
            _ => {}
        }
    }

    fn block(&mut self, name: &[u8]) {
        if PARAGRAPHS.contains(&name) {
            self.gap(Gap::Paragraph);
        } else if LINES.contains(&name) {
            self.gap(Gap::Line);
        }
    }

    fn gap(&mut self, gap: Gap) {
        self.all.gap(gap);
        if self.in_main > 0
            && let Some(main) = &mut self.main
        {
            main.gap(gap);
        }
        if self.in_heading {
            self.heading.gap(Gap::Space);
        }
    }

    fn text(&mut self, text: &str) {
        if self.dropped.is_some() {
            return;
        }
        if self.in_title {
            self.title.push(text);
            return;
        }
        if self.in_heading {
            self.heading.push(text);
        }
        let exactly = self.in_pre > 0;
        let push = |prose: &mut Prose| if exactly { prose.push_exactly(text) } else { prose.push(text) };
        push(&mut self.all);
        if self.in_main > 0
            && let Some(main) = &mut self.main
        {
            push(main);
        }
    }

    fn finish(self) -> Result<Extracted, String> {
        let text = self.main.filter(|main| !main.is_empty()).unwrap_or(self.all).finish()?;
        let title = self.title.finish().or_else(|_| self.heading.finish()).ok();
        Ok(Extracted { title, text })
    }
}

/// The page's characters: what its mark, else UTF-8, else its `<meta charset>`, else windows-1252 makes of the bytes, as browsers do.
fn decode(bytes: &[u8]) -> Result<String, String> {
    /// Where browsers look for the charset.
    const HEAD: usize = 1024;
    let text = match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, mark)) => encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned(),
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => charset(&bytes[..bytes.len().min(HEAD)])
                .unwrap_or(encoding_rs::WINDOWS_1252)
                .decode_without_bom_handling(bytes)
                .0
                .into_owned(),
        },
    };
    if text.contains('\0') {
        return Err("it is binary".to_owned());
    }
    Ok(text)
}

fn charset(head: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let after = head.split_once("charset=")?.1.trim_start_matches(['"', '\'', ' ']);
    let label = after.split(|c: char| !c.is_ascii_alphanumeric() && !"-_:.+".contains(c)).next()?;
    encoding_rs::Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(html: &str) -> String {
        read(html.as_bytes(), 1000).unwrap().text
    }

    #[test]
    fn a_page_is_read_without_what_is_around_its_text() {
        let page = "<!doctype html><html><head><title> The  ferry\n&amp; its bell </title><style>p { color: red }</style>\
            <script>if (1 < 2) document.write('<p>no</p>')</script></head><body><nav><ul><li>Home<nav>deeper</nav></ul></nav>\
            <h1>Old <em>ferry</em></h1><p>It crossed\n  the sound&nbsp;&mdash; caf&eacute; &#x1F600; and&lt;all.<p>Then<br>not.\
            <table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table><pre>x\n  y</pre><svg/>end<!-- no --></body></html>";
        let read = read(page.as_bytes(), 1000).unwrap();
        assert_eq!(read.title.as_deref(), Some("The ferry & its bell"));
        assert_eq!(read.text, "Old ferry\n\nIt crossed the sound — café 😀 and<all.\n\nThen\nnot.\n\na b\nc\n\nx\n  y\n\nend");
    }

    #[test]
    fn the_main_part_is_all_where_there_is_one() {
        assert_eq!(text("<div>Menu</div><main><p>One.</p><div>Two.</div></main><footer>Imprint</footer>"), "One.\n\nTwo.");
        assert_eq!(text("<main> </main><p>All."), "All.");
        assert_eq!(read(b"<h1>A <b>name</b></h1>b", 99).unwrap().title.as_deref(), Some("A name"));
        assert_eq!(read(b"b", 99).unwrap().title, None);
    }

    #[test]
    fn other_encodings_are_read_as_browsers_do() {
        let read = |bytes: &[u8]| read(bytes, 1000).unwrap().text;
        assert_eq!(read(b"<meta charset=\"iso-8859-2\"><p>\xb1"), "ą");
        assert_eq!(read(b"<p>\x93caf\xe9\x94"), "“café”");
        assert_eq!(read(b"\xff\xfe<\0p\0>\0\xe9\0"), "é");
    }

    #[test]
    fn broken_and_hostile_pages_end_in_a_reason_or_a_text() {
        assert_eq!(read(b"a\0b", 10).unwrap_err(), "it is binary");
        assert_eq!(read(b"<script>alert(1)", 10).unwrap_err(), "it has no text");
        assert!(read(b"<p>12345678901", 10).unwrap_err().contains("more than 10 bytes"));
        assert_eq!(text("<p <div>>></q></main>&bogus; <b"), ">>\n&bogus;");
        let deep = format!("{}deep", "<div><b>".repeat(200_000));
        assert_eq!(text(&deep), "deep");
        let attributes = format!("<p {}>x", "a=b ".repeat(200_000));
        assert_eq!(text(&attributes), "x");
    }
}
