use std::io;
use std::process::ExitCode;

use serde::Serialize;

use super::IN_PART;
use crate::cli::output;

/// Lines that are said of one by one.
const SAID: usize = 20;

/// What happened to some of many, a line each.
#[derive(Serialize)]
#[serde(transparent)]
pub struct Listing {
    lines: Vec<String>,
    #[serde(skip)]
    number: usize,
    #[serde(skip)]
    keep: usize,
}

impl Listing {
    /// `all` lines are kept, or only those that are said.
    pub fn new(all: bool) -> Self {
        Self { lines: Vec::new(), number: 0, keep: if all { usize::MAX } else { SAID } }
    }

    pub fn push(&mut self, line: String) {
        self.number += 1;
        if self.lines.len() < self.keep {
            self.lines.push(line);
        }
    }

    pub fn len(&self) -> usize {
        self.number
    }

    /// The first few lines in full, each after what happened, and the others by their number.
    fn lines(&self, happened: &str) -> Vec<String> {
        let mut lines: Vec<_> = self.lines.iter().take(SAID).map(|line| format!("{happened} {line}")).collect();
        if self.len() > SAID {
            lines.push(format!("{happened} {} more", self.len() - SAID));
        }
        lines
    }

    fn print(&self, happened: &str) {
        self.lines(happened).iter().for_each(output::item);
    }
}

/// What became of the documents.
#[derive(Serialize)]
pub struct Report {
    pub ready: u64,
    /// They were in before, with the same content.
    pub unchanged: u64,
    /// Queued, and not taken in before the command was told to stop.
    pub waiting: u64,
    pub chunks: u64,
    pub seconds: f64,
    /// Ids with the reason.
    pub failed: Listing,
    /// Files, or places in files, with the reason.
    pub skipped: Listing,
}

impl Report {
    /// # Errors
    /// The output is closed.
    pub fn print(&self, json: bool) -> io::Result<()> {
        self.skipped.print("skipped");
        self.failed.print("failed");
        if json {
            return output::json(self);
        }
        let Self { ready, unchanged, chunks, seconds, .. } = self;
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        output::line(format_args!(
            "{ready} documents ready, {failed} failed, {skipped} skipped, {unchanged} unchanged, in {seconds:.1} s ({:.1} documents \
             and {:.1} chunks a second)",
            *ready as f64 / seconds,
            *chunks as f64 / seconds,
        ))
    }

    pub fn code(&self) -> ExitCode {
        code(self.ready + self.unchanged > 0, self.failed.len() + self.skipped.len() > 0)
    }
}

/// What would become of the documents.
#[derive(Serialize)]
pub struct DryReport {
    pub documents: usize,
    /// Of text.
    pub bytes: usize,
    pub chunks: usize,
    /// Files, or places in files, with the reason.
    pub skipped: Listing,
}

impl DryReport {
    /// # Errors
    /// The output is closed.
    pub fn print(&self, json: bool) -> io::Result<()> {
        self.skipped.print("skipped");
        if json {
            return output::json(self);
        }
        let Self { documents, bytes, chunks, skipped } = self;
        output::line(format_args!(
            "{documents} documents with {bytes} bytes of text in {chunks} chunks, {} skipped; nothing was written",
            skipped.len()
        ))
    }

    pub fn code(&self) -> ExitCode {
        code(self.documents > 0, self.skipped.len() > 0)
    }
}

fn code(some: bool, others_left_out: bool) -> ExitCode {
    match (some, others_left_out) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::from(IN_PART),
        (true, false) => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_become_a_number() {
        let mut listing = Listing::new(false);
        (0..20).for_each(|number| listing.push(number.to_string()));
        assert_eq!(listing.lines("skipped").last().unwrap(), "skipped 19");
        (20..23).for_each(|number| listing.push(number.to_string()));
        let lines = listing.lines("skipped");
        assert_eq!((lines.len(), listing.len()), (21, 23));
        assert_eq!(lines.last().unwrap(), "skipped 3 more");
    }
}
