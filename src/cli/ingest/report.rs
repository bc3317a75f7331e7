/// Lines that are said of one by one.
const SAID: usize = 20;

/// What happened to some of many: the first few in full, the others by their number.
#[derive(Default)]
pub struct Listing {
    first: Vec<String>,
    number: usize,
}

impl Listing {
    pub fn push(&mut self, line: String) {
        self.number += 1;
        if self.first.len() < SAID {
            self.first.push(line);
        }
    }

    pub fn len(&self) -> usize {
        self.number
    }

    /// The lines, each after what happened.
    fn lines(&self, happened: &str) -> Vec<String> {
        let mut lines: Vec<_> = self.first.iter().map(|line| format!("{happened} {line}")).collect();
        if self.number > self.first.len() {
            lines.push(format!("{happened} {} more", self.number - self.first.len()));
        }
        lines
    }

    pub fn print(&self, happened: &str) {
        for line in self.lines(happened) {
            eprintln!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_lines_become_a_number() {
        let mut listing = Listing::default();
        (0..20).for_each(|number| listing.push(number.to_string()));
        assert_eq!(listing.lines("skipped").last().unwrap(), "skipped 19");
        (20..23).for_each(|number| listing.push(number.to_string()));
        let lines = listing.lines("skipped");
        assert_eq!((lines.len(), listing.len()), (21, 23));
        assert_eq!(lines.last().unwrap(), "skipped 3 more");
    }
}
