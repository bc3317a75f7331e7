//! A page's drawing, followed as far as text needs it.

use std::collections::HashMap;
use std::rc::Rc;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Object, ObjectId};

use super::font::Font;
use super::{Gap, MAX_STREAM, Prose, dictionary, number_of, numbers, resolved};

/// How deep forms may be in forms; one that draws itself would be drawn for ever.
const MAX_FORMS: usize = 8;
/// How many forms a page may draw in all: a few that draw each other several times come to any number.
const MAX_DRAWN: usize = 10_000;
/// How many states a page may have put aside.
const MAX_STATES: usize = 256;
/// Lines of text closer than this share of the font's size are one: indices stand a little off it.
const SAME_LINE: f32 = 0.5;
/// From this many font sizes between two lines on a new paragraph begins.
const NEW_PARAGRAPH: f32 = 1.75;
/// From this share of the font's size between two characters on there is a space: kerning is less, a space more.
const SPACE: f32 = 0.16;
/// As far back as this, in font sizes, something new begins.
const BACK: f32 = -1.0;

/// An affine map: `x' = ax + cy + e`, `y' = bx + dy + f`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Matrix {
    a: f32,
    b: f32,
    c: f32,
    d: f32,
    e: f32,
    f: f32,
}

impl Matrix {
    const IDENTITY: Self = Self { a: 1.0, b: 0.0, c: 0.0, d: 1.0, e: 0.0, f: 0.0 };

    fn from(numbers: &[f32]) -> Option<Self> {
        let &[a, b, c, d, e, f] = numbers else { return None };
        Some(Self { a, b, c, d, e, f })
    }

    /// First this, then `next`.
    fn then(self, next: Self) -> Self {
        Self {
            a: self.a * next.a + self.b * next.c,
            b: self.a * next.b + self.b * next.d,
            c: self.c * next.a + self.d * next.c,
            d: self.c * next.b + self.d * next.d,
            e: self.e * next.a + self.f * next.c + next.e,
            f: self.e * next.b + self.f * next.d + next.f,
        }
    }

    fn moved(self, x: f32, y: f32) -> Self {
        Self { e: x, f: y, ..Self::IDENTITY }.then(self)
    }
}

#[derive(Clone)]
struct State<'a> {
    map: Matrix,
    font: Option<Rc<Font<'a>>>,
    size: f32,
    character_space: f32,
    word_space: f32,
    /// Horizontal.
    scale: f32,
    leading: f32,
}

/// Where the last text ended: along its line, and across it.
#[derive(Clone, Copy)]
struct End {
    direction: (f32, f32),
    along: f32,
    across: f32,
    size: f32,
}

pub(super) struct PageReader<'a> {
    document: &'a Document,
    /// By the places of their dictionaries: most pages use the same few.
    fonts: HashMap<*const Dictionary, Option<Rc<Font<'a>>>>,
}

impl<'a> PageReader<'a> {
    pub fn new(document: &'a Document) -> Self {
        Self { document, fonts: HashMap::new() }
    }

    pub fn read(&mut self, page: ObjectId, prose: &mut Prose) -> lopdf::Result<()> {
        let (own, inherited) = self.document.get_page_resources(page)?;
        let inherited = inherited.into_iter().filter_map(|id| self.document.get_dictionary(id).ok());
        let resources: Vec<_> = own.into_iter().chain(inherited).collect();
        let content = self.document.get_page_content_with_limit(page, MAX_STREAM)?;
        let mut drawing = Drawing { reader: self, prose, last: None, forms: 0, drawn: 0 };
        drawing.run(&content, &resources, Matrix::IDENTITY)
    }

    fn font(&mut self, resources: &[&'a Dictionary], name: &[u8]) -> Option<Rc<Font<'a>>> {
        let font = dictionary(self.document, self.resource(resources, b"Font", name)?)?;
        let document = self.document;
        self.fonts.entry(std::ptr::from_ref(font)).or_insert_with(|| Font::of(document, font).map(Rc::new)).clone()
    }

    fn resource(&self, resources: &[&'a Dictionary], category: &[u8], name: &[u8]) -> Option<&'a Object> {
        let found = |resources: &&'a Dictionary| {
            let category = dictionary(self.document, resources.get(category).ok()?)?;
            resolved(self.document, category.get(name).ok()?)
        };
        resources.iter().find_map(found)
    }
}

struct Drawing<'r, 'a> {
    reader: &'r mut PageReader<'a>,
    prose: &'r mut Prose,
    last: Option<End>,
    /// Those that draw one another now.
    forms: usize,
    /// All that were begun.
    drawn: usize,
}

impl<'a> Drawing<'_, 'a> {
    fn run(&mut self, content: &[u8], resources: &[&'a Dictionary], map: Matrix) -> lopdf::Result<()> {
        let mut state = State { map, font: None, size: 1.0, character_space: 0.0, word_space: 0.0, scale: 1.0, leading: 0.0 };
        let mut states = Vec::new();
        let (mut line, mut text) = (Matrix::IDENTITY, Matrix::IDENTITY);
        for operation in Content::decode_iter(content) {
            let Operation { operator, operands } = operation?;
            if self.prose.is_full() {
                return Ok(());
            }
            let number = |place: usize| operands.get(place).and_then(number_of).unwrap_or(0.0);
            match operator.as_str() {
                "q" if states.len() < MAX_STATES => states.push(state.clone()),
                "Q" => state = states.pop().unwrap_or(state),
                "cm" => state.map = matrix(&operands).map_or(state.map, |matrix| matrix.then(state.map)),
                "BT" => (line, text) = (Matrix::IDENTITY, Matrix::IDENTITY),
                "Tf" => {
                    let name = operands.first().and_then(|name| name.as_name().ok()).unwrap_or_default();
                    state.font = self.reader.font(resources, name);
                    state.size = number(1);
                }
                "Tc" => state.character_space = number(0),
                "Tw" => state.word_space = number(0),
                "Tz" => state.scale = number(0) / 100.0,
                "TL" => state.leading = number(0),
                "Tm" => {
                    line = matrix(&operands).unwrap_or(line);
                    text = line;
                }
                "Td" | "TD" => {
                    if operator == "TD" {
                        state.leading = -number(1);
                    }
                    line = line.moved(number(0), number(1));
                    text = line;
                }
                "T*" | "'" | "\"" => {
                    if operator == "\"" {
                        (state.word_space, state.character_space) = (number(0), number(1));
                    }
                    line = line.moved(0.0, -state.leading);
                    text = line;
                    if let Some(string) = operands.last() {
                        self.show(std::slice::from_ref(string), &state, &mut text);
                    }
                }
                "Tj" => self.show(&operands, &state, &mut text),
                "TJ" => {
                    if let Some(Ok(pieces)) = operands.first().map(Object::as_array) {
                        self.show(pieces, &state, &mut text);
                    }
                }
                "Do" => {
                    let name = operands.first().and_then(|name| name.as_name().ok()).unwrap_or_default();
                    self.form(name, resources, state.map)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Draws strings, between which numbers move on.
    fn show(&mut self, pieces: &[Object], state: &State<'a>, text: &mut Matrix) {
        let Some(font) = &state.font else { return };
        for piece in pieces {
            let advance = match piece {
                Object::String(string, _) => {
                    let advance = font.widths(string).fold(0.0, |sum, (width, is_space)| {
                        let word_space = if is_space { state.word_space } else { 0.0 };
                        sum + width / 1000.0 * state.size + state.character_space + word_space
                    });
                    self.place(&font.text(string), text.then(state.map), advance * state.scale, state.size);
                    advance
                }
                number => -number_of(number).unwrap_or(0.0) / 1000.0 * state.size,
            };
            *text = text.moved(advance * state.scale, 0.0);
        }
    }

    /// Appends a text that is drawn at the origin of `map`, with what separates it from the last one.
    fn place(&mut self, text: &str, map: Matrix, advance: f32, size: f32) {
        let stretch = map.a.hypot(map.b);
        let size = (size * map.c.hypot(map.d)).abs();
        if stretch == 0.0 || text.is_empty() {
            return;
        }
        let direction = (map.a / stretch, map.b / stretch);
        let along = map.e * direction.0 + map.f * direction.1;
        let across = map.f * direction.0 - map.e * direction.1;
        if let Some(last) = self.last {
            let turned = last.direction.0 * direction.0 + last.direction.1 * direction.1 < 0.99;
            let (between, down) = (along - last.along, last.across - across);
            let unit = size.max(last.size);
            let gap = if turned || down.abs() > NEW_PARAGRAPH * unit {
                Gap::Paragraph
            } else if down.abs() > SAME_LINE * unit {
                Gap::Line
            } else if between > SPACE * unit || between < BACK * unit {
                Gap::Space
            } else {
                Gap::None
            };
            self.prose.gap(gap);
        }
        self.prose.push(text);
        self.last = Some(End { direction, along: along + advance * stretch, across, size });
    }

    fn form(&mut self, name: &[u8], resources: &[&'a Dictionary], map: Matrix) -> lopdf::Result<()> {
        let document = self.reader.document;
        let Some(Object::Stream(form)) = self.reader.resource(resources, b"XObject", name) else { return Ok(()) };
        if self.forms == MAX_FORMS
            || self.drawn == MAX_DRAWN
            || !form.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|kind| kind == b"Form")
        {
            return Ok(());
        }
        let own = form.dict.get(b"Resources").ok().and_then(|own| dictionary(document, own));
        let matrix = form.dict.get(b"Matrix").ok().and_then(|matrix| numbers(document, matrix));
        let matrix = matrix.and_then(|numbers| Matrix::from(&numbers)).unwrap_or(Matrix::IDENTITY);
        let content = form.decompressed_content_with_limit(MAX_STREAM)?;
        self.forms += 1;
        self.drawn += 1;
        let read = match own {
            Some(own) => self.run(&content, &[own], matrix.then(map)),
            None => self.run(&content, resources, matrix.then(map)),
        };
        self.forms -= 1;
        read
    }
}

fn matrix(operands: &[Object]) -> Option<Matrix> {
    Matrix::from(&operands.iter().map(number_of).collect::<Option<Vec<_>>>()?)
}
