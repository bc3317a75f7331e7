//! Fonts: what characters a string draws, and how wide they are.

use std::collections::HashMap;

use lopdf::{Dictionary, Document, Encoding, Object};

use super::{MAX_STREAM, dictionary, number_of, numbers, resolved};

/// Codes of a composite font that have a width of their own.
const MAX_CODES: u32 = 0xffff;
/// Most widths that a font may give them: a run of a few bytes can have all codes, and be there again and again.
const MAX_WIDTHS: usize = 4 * MAX_CODES as usize;

pub(super) struct Font<'a> {
    encoding: Encoding<'a>,
    /// Bytes of a character's code.
    code_length: usize,
    widths: Widths,
}

/// In thousandths of the font's size.
enum Widths {
    Simple {
        first: usize,
        widths: Vec<f32>,
        missing: f32,
    },
    Composite {
        widths: HashMap<u32, f32>,
        default: f32,
    },
    /// Of one of the fonts that every reader has, from the space on.
    Standard(&'static [u16; 95]),
    Fixed(f32),
}

impl<'a> Font<'a> {
    pub fn of(document: &'a Document, font: &'a Dictionary) -> Option<Self> {
        let encoding = font.get_font_encoding_with_limit(document, MAX_STREAM).ok()?;
        let composite = font.get(b"Subtype").and_then(Object::as_name).is_ok_and(|subtype| subtype == b"Type0");
        let widths = if composite { composite_widths(document, font) } else { simple_widths(document, font) };
        Some(Self { encoding, code_length: if composite { 2 } else { 1 }, widths })
    }

    /// The characters of a string. What stands for none is left out, and ligatures, which are a matter of print, are taken apart.
    pub fn text(&self, string: &[u8]) -> String {
        let mut text = String::new();
        for character in self.encoding.bytes_to_string(string).unwrap_or_default().chars() {
            match character {
                '\u{fb00}' => text.push_str("ff"),
                '\u{fb01}' => text.push_str("fi"),
                '\u{fb02}' => text.push_str("fl"),
                '\u{fb03}' => text.push_str("ffi"),
                '\u{fb04}' => text.push_str("ffl"),
                '\u{fb05}' | '\u{fb06}' => text.push_str("st"),
                control if control.is_control() && !control.is_whitespace() => {}
                other => text.push(other),
            }
        }
        text
    }

    /// The widths of a string's characters, and whether each is the single byte 32, which word spacing widens.
    pub fn widths<'s>(&'s self, string: &'s [u8]) -> impl Iterator<Item = (f32, bool)> + 's {
        string.chunks(self.code_length).map(|code| {
            let number = code.iter().fold(0, |number, &byte| number << 8 | u32::from(byte));
            (self.widths.of(number), code == b" ")
        })
    }
}

impl Widths {
    fn of(&self, code: u32) -> f32 {
        match self {
            Self::Simple { first, widths, missing } => {
                let place = (code as usize).checked_sub(*first);
                place.and_then(|place| widths.get(place)).copied().unwrap_or(*missing)
            }
            Self::Composite { widths, default } => widths.get(&code).copied().unwrap_or(*default),
            Self::Standard(widths) => {
                let width = code.checked_sub(32).and_then(|place| widths.get(place as usize));
                // Accented letters are about as wide as a digit.
                f32::from(width.copied().unwrap_or(widths[16]))
            }
            Self::Fixed(width) => *width,
        }
    }
}

fn simple_widths(document: &Document, font: &Dictionary) -> Widths {
    let number = |dictionary: &Dictionary, key: &[u8]| number_of(resolved(document, dictionary.get(key).ok()?)?);
    let Some(mut widths) = font.get(b"Widths").ok().and_then(|widths| numbers(document, widths)) else {
        return standard_widths(font);
    };
    // The widths of a font that is drawn by procedures are in units of its own.
    let matrix = font.get(b"FontMatrix").ok().and_then(|matrix| numbers(document, matrix));
    if let Some(scale) = matrix.and_then(|matrix| matrix.first().copied()) {
        widths.iter_mut().for_each(|width| *width *= scale * 1000.0);
    }
    let descriptor = font.get(b"FontDescriptor").ok().and_then(|descriptor| dictionary(document, descriptor));
    let missing = descriptor.and_then(|descriptor| number(descriptor, b"MissingWidth")).unwrap_or(0.0);
    let first = number(font, b"FirstChar").unwrap_or(0.0).max(0.0) as usize;
    Widths::Simple { first, widths, missing }
}

fn standard_widths(font: &Dictionary) -> Widths {
    let name = font.get(b"BaseFont").and_then(Object::as_name).unwrap_or_default();
    let name = String::from_utf8_lossy(name);
    match (name.contains("Courier"), name.contains("Times"), name.contains("Bold")) {
        (true, ..) => Widths::Fixed(600.0),
        (_, true, false) => Widths::Standard(&TIMES),
        (_, true, true) => Widths::Standard(&TIMES_BOLD),
        (_, _, false) => Widths::Standard(&HELVETICA),
        (_, _, true) => Widths::Standard(&HELVETICA_BOLD),
    }
}

/// `/W` holds runs: a first code with an array of widths, or two codes with the width of all from one to the other.
fn composite_widths(document: &Document, font: &Dictionary) -> Widths {
    let mut widths = HashMap::new();
    let descendant = || {
        let descendants = resolved(document, font.get(b"DescendantFonts").ok()?)?.as_array().ok()?;
        dictionary(document, descendants.first()?)
    };
    let Some(descendant) = descendant() else {
        return Widths::Fixed(1000.0);
    };
    let default = descendant.get(b"DW").ok().and_then(number_of).unwrap_or(1000.0);
    let runs = descendant.get(b"W").ok().and_then(|runs| resolved(document, runs)).and_then(|runs| runs.as_array().ok());
    let mut runs = runs.into_iter().flatten().filter_map(|object| resolved(document, object));
    let mut left = MAX_WIDTHS;
    while let (Some(first), Some(second)) = (runs.next().and_then(number_of), runs.next()) {
        let first = first.max(0.0) as u32;
        if let Ok(array) = second.as_array() {
            let numbers = array.iter().filter_map(|width| resolved(document, width).and_then(number_of));
            widths.extend((first..=MAX_CODES).zip(numbers));
        } else if let (Some(last), Some(width)) = (number_of(second), runs.next().and_then(number_of)) {
            let codes = first..=(last.max(0.0) as u32).min(MAX_CODES);
            let Some(rest) = left.checked_sub(codes.clone().count()) else { break };
            left = rest;
            widths.extend(codes.map(|code| (code, width)));
        }
    }
    Widths::Composite { widths, default }
}

// Widths of the fonts that a file need not describe (Adobe's font metrics), from the space to the tilde.
const HELVETICA: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556, 556, 556,
    556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778,
    722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222,
    500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];
const HELVETICA_BOLD: [u16; 95] = [
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556, 556, 556,
    556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778, 667, 778,
    722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278,
    556, 278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
];
const TIMES: [u16; 95] = [
    250, 333, 408, 500, 500, 833, 778, 180, 333, 333, 500, 564, 250, 333, 250, 278, 500, 500, 500, 500, 500, 500, 500, 500, 500,
    500, 278, 278, 564, 564, 564, 444, 921, 722, 667, 667, 722, 611, 556, 722, 722, 333, 389, 722, 611, 889, 722, 722, 556, 722,
    667, 556, 611, 722, 722, 944, 722, 722, 611, 333, 278, 333, 469, 500, 333, 444, 500, 444, 500, 444, 333, 500, 500, 278, 278,
    500, 278, 778, 500, 500, 500, 500, 333, 389, 278, 500, 500, 722, 500, 500, 444, 480, 200, 480, 541,
];
const TIMES_BOLD: [u16; 95] = [
    250, 333, 555, 500, 500, 1000, 833, 278, 333, 333, 500, 570, 250, 333, 250, 278, 500, 500, 500, 500, 500, 500, 500, 500, 500,
    500, 333, 333, 570, 570, 570, 500, 930, 722, 667, 722, 722, 667, 611, 778, 778, 389, 500, 778, 667, 944, 722, 778, 611, 778,
    722, 556, 667, 722, 722, 1000, 722, 722, 667, 333, 278, 333, 581, 500, 333, 500, 556, 444, 556, 444, 333, 500, 556, 278, 333,
    556, 278, 833, 556, 500, 556, 556, 444, 389, 333, 556, 500, 722, 500, 500, 444, 394, 220, 394, 520,
];
