use jiff::Timestamp;
use serde::Serialize;

use super::store::stored_time;
use crate::invalid::Invalid;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    /// Gives the next page; null on the last one.
    pub next_cursor: Option<String>,
}

/// A place in a list. It stays right while the list changes: what is inserted or removed elsewhere moves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub(super) created_at: String,
    pub(super) id: String,
}

impl Cursor {
    pub(super) fn new(created_at: Timestamp, id: &str) -> Self {
        Self { created_at: stored_time(created_at), id: id.to_owned() }
    }

    /// Reads what a page said in `next_cursor`.
    ///
    /// # Errors
    /// [`Invalid`] names `field`: no page said this.
    pub fn parse(field: &str, value: &str) -> Result<Self, Invalid> {
        let bytes = (0..value.len()).step_by(2).map(|at| {
            value.get(at..at + 2).filter(|pair| !pair.starts_with('+')).and_then(|pair| u8::from_str_radix(pair, 16).ok())
        });
        bytes
            .collect::<Option<Vec<u8>>>()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| {
                let (created_at, id) = text.split_once(' ').filter(|(_, id)| !id.contains(char::is_control))?;
                Some(Self::new(created_at.parse().ok()?, id))
            })
            .ok_or_else(|| Invalid::new(field, "is not a `next_cursor` of a list"))
    }

    fn encode(&self) -> String {
        crate::files::hex(format!("{} {}", self.created_at, self.id).as_bytes())
    }
}

impl<T> Page<T> {
    /// A page from `limit` + 1 items, of which the last only says that there are more.
    pub(super) fn cut(mut items: Vec<T>, limit: u32, place: impl Fn(&T) -> Cursor) -> Self {
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next_cursor = items.last().filter(|_| more).map(|last| place(last).encode());
        Self { data: items, next_cursor }
    }
}
