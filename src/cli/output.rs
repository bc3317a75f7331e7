//! Where commands write: what was asked for on standard output, and all else (notes, progress, errors) on standard error.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

/// A line of what was asked for.
///
/// # Errors
/// The output is closed.
pub fn line(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

/// A value as one line of JSON.
///
/// # Errors
/// The output is closed.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string(value)?)
}

/// A sentence for whoever watches. Nobody needs to read it.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "retro: {text}");
}

/// What happened to one of many things. Nobody needs to read it.
pub fn item(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
