//! Which chunks a search may find, by what their documents say of themselves: a small language in JSON (`docs/filters.md`), parsed once
//! into a type that no further check is needed for, and translated to an expression of LanceDB.

mod condition;
mod fields;
mod function;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod json;
mod metadata;
mod number;
mod parse;
#[cfg(any(test, fuzzing))]
mod plain;
#[cfg(test)]
mod tests;
mod translate;

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

pub use fields::Fields;
pub(super) use function::one_of;
use number::Number;

/// A filter that is within every limit. Copies share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Arc<Tree<Condition>>);

impl Filter {
    pub const OPERATORS: [&str; 11] = ["eq", "ne", "lt", "le", "gt", "ge", "in", "not_in", "range", "prefix", "exists"];
    /// Most levels of `and`, `or` and `not` with the condition in them.
    pub const MAX_DEPTH: usize = 16;
    /// Most conditions, `and`s, `or`s and `not`s together.
    pub const MAX_PARTS: usize = 256;
    /// Most values of one list.
    pub const MAX_VALUES: usize = 1000;
    /// Longest text, in bytes: no title is longer.
    pub const MAX_TEXT: usize = 4096;
    /// Most names from the top of the metadata to a value.
    pub const MAX_PATH: usize = 16;
}

/// Conditions put together. `ne`, `not_in` and the like are the complements of what they deny, so that three words are enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Tree<T> {
    All(Vec<Tree<T>>),
    Any(Vec<Tree<T>>),
    Not(Box<Tree<T>>),
    Leaf(T),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Condition {
    subject: Subject,
    test: Test,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Column(Column),
    /// The keys to follow from the top of the metadata; at least one.
    Metadata(Vec<String>),
}

/// A column of text, which is never null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Column {
    DocumentId,
    Title,
    Source,
}

/// What a value has to be. A value of another type is not an error: it does not pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Test {
    Exists,
    OneOf(Values),
    Texts(Bounds<String>),
    Numbers(Bounds<Number>),
}

/// Values by their types, so that each is found without being compared with all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Values {
    texts: BTreeSet<String>,
    numbers: BTreeSet<Number>,
    booleans: BTreeSet<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Bounds<T> {
    low: Bound<T>,
    high: Bound<T>,
}

impl Bounds<String> {
    /// The texts that begin with `prefix`. In the order of UTF-8, which is that of code points, they lie side by side.
    fn prefix(prefix: &str) -> Self {
        let high = match after_all_with(prefix) {
            Some(text) => Bound::Excluded(text),
            None => Bound::Unbounded,
        };
        Self { low: Bound::Included(prefix.to_owned()), high }
    }
}

/// The first text after all that begin with `prefix`.
fn after_all_with(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}
