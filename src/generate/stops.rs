/// Finds stop texts in a stream of pieces, wherever the pieces are cut, and holds back what may become one.
#[derive(Clone)]
pub(super) struct Stops {
    stops: Vec<String>,
    held: String,
}

/// What a piece of text led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Text that is certain.
    Text(String),
    /// The last certain text; a stop text follows it.
    Stop(String),
}

impl Stops {
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    pub fn push(&mut self, piece: &str) -> Found {
        self.held.push_str(piece);
        // The stop that begins first ends the text; what it overlaps does not count.
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return Found::Stop(std::mem::take(&mut self.held));
        }
        let certain = self.held.len() - self.possible_start();
        let rest = self.held.split_off(certain);
        Found::Text(std::mem::replace(&mut self.held, rest))
    }

    /// What was held back when no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end that begin a stop text.
    fn possible_start(&self) -> usize {
        let begins = |length: usize| {
            let from = self.held.len() - length;
            self.held.is_char_boundary(from)
                && self.stops.iter().any(|stop| stop.len() > length && stop.starts_with(&self.held[from..]))
        };
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        (1..=self.held.len().min(longest)).rev().find(|&length| begins(length)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = Stops::new(stops.iter().map(|&stop| stop.to_owned()).collect());
        let mut out = String::new();
        for piece in pieces {
            match matcher.push(piece) {
                Found::Text(text) => out.push_str(&text),
                Found::Stop(text) => return (out + &text, true),
            }
        }
        (out + &matcher.finish(), false)
    }

    #[test]
    fn a_stop_is_found_wherever_the_pieces_are_cut() {
        let text = "one two\n\nthree";
        for cut in 0..text.len() {
            let (head, tail) = text.split_at(cut);
            assert_eq!(run(&["\n\n"], &[head, tail]), ("one two".to_owned(), true), "cut at {cut}");
        }
    }

    #[test]
    fn what_only_looked_like_a_stop_comes_out() {
        assert_eq!(run(&["END"], &["EN", "EEN", "x"]), ("ENEENx".to_owned(), false));
        assert_eq!(run(&["END"], &["EN"]), ("EN".to_owned(), false));
    }

    #[test]
    fn nothing_that_is_given_out_is_part_of_a_stop() {
        let mut matcher = Stops::new(vec!["abc".to_owned(), "bcd".to_owned()]);
        assert_eq!(matcher.push("xab"), Found::Text("x".to_owned()));
        assert_eq!(matcher.push("c"), Found::Stop(String::new()));
    }

    #[test]
    fn the_stop_that_begins_first_wins() {
        assert_eq!(run(&["b", "ab"], &["xab"]), ("x".to_owned(), true));
    }

    #[test]
    fn stops_may_hold_characters_of_several_bytes() {
        assert_eq!(run(&["é字"], &["a字é", "字b"]), ("a字".to_owned(), true));
    }
}
