//! Rows as they lie in the files, where a check cannot trust that they are what was written.

use arrow_array::{Array, FixedSizeListArray, Float32Array, ListArray, StringArray, UInt32Array, UInt64Array};

use super::DatabaseError;
use super::schema::*;
use crate::text::TokenId;

/// What is read of each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    All,
    /// No embeddings, and nothing of the continuations: what tells whether the text of a document is whole.
    Text,
}

/// A row as it lies there. Texts that are no UTF-8 are empty, and `damage` names the first of them.
#[derive(Debug)]
pub struct StoredRow<'a> {
    pub document_id: &'a str,
    pub chunk_index: u32,
    pub byte_start: u64,
    pub byte_end: u64,
    pub text: &'a str,
    pub title: &'a str,
    pub source: &'a str,
    pub metadata: &'a str,
    pub tokens: Vec<TokenId>,
    pub rest: Option<RestOfRow<'a>>,
    pub damage: Option<&'static str>,
}

/// What only [`Columns::All`] gives.
#[derive(Debug)]
pub struct RestOfRow<'a> {
    pub key: &'a str,
    pub continuation: &'a str,
    pub continuation_tokens: Vec<TokenId>,
    pub embedding: Vec<f32>,
}

impl Columns {
    pub(super) fn names(self) -> &'static [&'static str] {
        const TEXT: &[&str] =
            &[DOCUMENT_ID, CHUNK_INDEX, BYTE_START, BYTE_END, NEIGHBOUR, NEIGHBOUR_TOKENS, TITLE, SOURCE, METADATA];
        const ALL: &[&str] = &[
            DOCUMENT_ID,
            CHUNK_INDEX,
            BYTE_START,
            BYTE_END,
            NEIGHBOUR,
            NEIGHBOUR_TOKENS,
            TITLE,
            SOURCE,
            METADATA,
            KEY,
            CONTINUATION,
            CONTINUATION_TOKENS,
            EMBEDDING,
        ];
        match self {
            Self::All => ALL,
            Self::Text => TEXT,
        }
    }
}

/// Gives the rows of a batch to `take`.
pub(super) fn give(rows: &Rows<'_>, columns: Columns, take: &mut impl FnMut(StoredRow<'_>)) -> Result<(), DatabaseError> {
    let [ids, texts, titles, sources, metadata] =
        [rows.text(DOCUMENT_ID)?, rows.text(NEIGHBOUR)?, rows.text(TITLE)?, rows.text(SOURCE)?, rows.text(METADATA)?];
    let indices: &UInt32Array = rows.column(CHUNK_INDEX)?;
    let (starts, ends) = (rows.column::<UInt64Array>(BYTE_START)?, rows.column::<UInt64Array>(BYTE_END)?);
    let tokens: &ListArray = rows.column(NEIGHBOUR_TOKENS)?;
    let rest = match columns {
        Columns::Text => None,
        Columns::All => {
            let tokens: &ListArray = rows.column(CONTINUATION_TOKENS)?;
            Some((rows.text(KEY)?, rows.text(CONTINUATION)?, tokens, rows.column::<FixedSizeListArray>(EMBEDDING)?))
        }
    };
    for row in 0..rows.batch.num_rows() {
        let mut damage = None;
        let mut text = |column: &'static str, texts| {
            text_of(texts, row).unwrap_or_else(|| {
                damage = damage.or(Some(column));
                ""
            })
        };
        let (document_id, neighbour) = (text(DOCUMENT_ID, ids), text(NEIGHBOUR, texts));
        let (title, source, metadata) = (text(TITLE, titles), text(SOURCE, sources), text(METADATA, metadata));
        let rest = match &rest {
            None => None,
            Some((keys, continuations, tokens, embeddings)) => Some(RestOfRow {
                key: text(KEY, keys),
                continuation: text(CONTINUATION, continuations),
                continuation_tokens: tokens_of(rows, tokens, row)?,
                embedding: match embeddings.value(row).as_any().downcast_ref::<Float32Array>() {
                    Some(numbers) => numbers.values().to_vec(),
                    None => return Err(rows.corrupt(format!("{EMBEDDING} holds no numbers"))),
                },
            }),
        };
        take(StoredRow {
            document_id,
            chunk_index: indices.value(row),
            byte_start: starts.value(row),
            byte_end: ends.value(row),
            text: neighbour,
            title,
            source,
            metadata,
            tokens: tokens_of(rows, tokens, row)?,
            rest,
            damage,
        });
    }
    Ok(())
}

/// None where what the file holds is no text: nobody checks that on the way from there.
fn text_of(texts: &StringArray, row: usize) -> Option<&str> {
    let offsets = texts.value_offsets();
    let (from, to) = (usize::try_from(offsets[row]).ok()?, usize::try_from(offsets[row + 1]).ok()?);
    std::str::from_utf8(texts.value_data().get(from..to)?).ok()
}

fn tokens_of(rows: &Rows<'_>, lists: &ListArray, row: usize) -> Result<Vec<TokenId>, DatabaseError> {
    let list = lists.value(row);
    let tokens: &UInt32Array =
        list.as_any().downcast_ref().ok_or_else(|| rows.corrupt("a list holds no token ids".to_owned()))?;
    Ok(tokens.values().to_vec())
}
