//! How neighbours look on a terminal.

use std::io::{self, Write};

use anstyle::Style;

use crate::generate::NeighbourView;

const HEAD: Style = Style::new().bold();
const PLACE: Style = Style::new().dimmed();

/// Writes the neighbours of one chunk of text. `out` drops the styles where they are not wanted.
///
/// # Errors
/// The output is closed.
pub fn neighbours(out: &mut impl Write, chunk: u32, text: &str, neighbours: &[NeighbourView]) -> io::Result<()> {
    writeln!(out, "{HEAD}chunk {chunk}:{HEAD:#} {}", one_line(text))?;
    if neighbours.is_empty() {
        writeln!(out, "  no neighbours")?;
    }
    for (at, neighbour) in neighbours.iter().enumerate() {
        let document = neighbour.document_id.as_deref().unwrap_or("given");
        let place = neighbour.chunk_index.map_or_else(String::new, |index| format!(" chunk {index}"));
        let distance = neighbour.distance.map_or_else(String::new, |distance| format!("  distance {distance:.3}"));
        writeln!(out, "  {}. {PLACE}{document}{place}{distance}{PLACE:#}", at + 1)?;
        writeln!(out, "     {}", one_line(&neighbour.neighbour))?;
        if !neighbour.continuation.is_empty() {
            writeln!(out, "     > {}", one_line(&neighbour.continuation))?;
        }
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
