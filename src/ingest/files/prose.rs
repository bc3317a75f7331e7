//! Text put together from pieces of a page: white space collapsed, blocks on lines of their own, within a limit.

/// What stands between two blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    #[default]
    None,
    Space,
    Line,
    Paragraph,
}

/// Collects a text.
#[derive(Debug, Default)]
pub(super) struct Prose {
    text: String,
    /// Written once something follows.
    gap: Gap,
    limit: usize,
    full: bool,
}

impl Prose {
    /// Takes at most `limit` bytes; what comes after is left out, and [`Self::finish`] says so.
    pub fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub fn gap(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    /// Appends running text: any white space in it counts as one space.
    pub fn push(&mut self, text: &str) {
        for (place, word) in text.split(char::is_whitespace).enumerate() {
            if place > 0 {
                self.gap(Gap::Space);
            }
            self.push_exactly(word);
        }
    }

    /// Appends text whose white space counts.
    pub fn push_exactly(&mut self, text: &str) {
        if text.is_empty() || self.full {
            return;
        }
        let gap = match self.gap {
            _ if self.text.is_empty() => "",
            Gap::None => "",
            Gap::Space => " ",
            Gap::Line => "\n",
            Gap::Paragraph => "\n\n",
        };
        self.full = self.text.len() + gap.len() + text.len() > self.limit;
        if !self.full {
            self.text.push_str(gap);
            self.text.push_str(text);
            self.gap = Gap::None;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether the limit was met, so that reading on is of no use.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// # Errors
    /// There is no text, or more than the limit.
    pub fn finish(self) -> Result<String, String> {
        if self.full {
            return Err(too_long(self.limit));
        }
        if self.text.trim().is_empty() {
            return Err("it has no text".to_owned());
        }
        Ok(self.text)
    }
}

pub(super) fn too_long(limit: usize) -> String {
    format!("its text has more than {limit} bytes, which a document may have")
}
