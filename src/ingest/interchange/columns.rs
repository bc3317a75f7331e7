use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema};

use super::format::*;
use crate::text::TokenId;

/// What a column holds. Programs write the same in several types: any of them will do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Integers,
    Floats,
}

const COLUMNS: [(&str, Kind); 12] = [
    (DOCUMENT_ID, Kind::Text),
    (CHUNK_INDEX, Kind::Integer),
    (BYTE_START, Kind::Integer),
    (BYTE_END, Kind::Integer),
    (NEIGHBOUR, Kind::Text),
    (CONTINUATION, Kind::Text),
    (NEIGHBOUR_TOKENS, Kind::Integers),
    (CONTINUATION_TOKENS, Kind::Integers),
    (TITLE, Kind::Text),
    (SOURCE, Kind::Text),
    (METADATA, Kind::Text),
    (EMBEDDING, Kind::Floats),
];

impl Kind {
    fn takes(self, data_type: &DataType) -> bool {
        match (self, data_type) {
            (_, DataType::Dictionary(_, value)) => self == Self::Text && self.takes(value),
            (Self::Text, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => true,
            (Self::Integer, _) => data_type.is_integer(),
            (
                Self::Integers | Self::Floats,
                DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
            ) => {
                if self == Self::Integers {
                    item.data_type().is_integer()
                } else {
                    *item.data_type() == DataType::Float32
                }
            }
            _ => false,
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Text => "strings",
            Self::Integer => "integers",
            Self::Integers => "lists of integers",
            Self::Floats => "lists of 32-bit floats",
        }
    }

    /// The one type that the rows are read from.
    fn data_type(self) -> DataType {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        match self {
            Self::Text => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Integers => list(DataType::Int64),
            Self::Floats => list(DataType::Float32),
        }
    }
}

/// Places of the columns that are read, those of the embeddings only where they are.
///
/// # Errors
/// Names the column that is missing or has another type.
pub fn find(schema: &Schema, with_embeddings: bool) -> Result<Vec<usize>, String> {
    let wanted = COLUMNS.iter().filter(|(name, _)| with_embeddings || *name != EMBEDDING);
    let place = |(name, kind): &(&str, Kind)| {
        let Ok(place) = schema.index_of(name) else {
            return Err(format!("it has no column `{name}` of {}", kind.in_words()));
        };
        let found = schema.field(place).data_type();
        if kind.takes(found) { Ok(place) } else { Err(format!("its column `{name}` holds no {}, but {found}", kind.in_words())) }
    };
    wanted.map(place).collect()
}

/// One row as it stands in the file.
pub struct Row {
    /// From 1, in the file.
    pub number: u64,
    pub document_id: String,
    pub chunk_index: i64,
    pub byte_start: i64,
    pub byte_end: i64,
    pub neighbour: String,
    pub continuation: String,
    pub neighbour_tokens: Vec<TokenId>,
    pub continuation_tokens: Vec<TokenId>,
    pub title: String,
    pub source: String,
    pub metadata: String,
    pub embedding: Option<Vec<f32>>,
}

/// The columns of one batch, in the types that rows are read from.
pub struct Columns {
    texts: [StringArray; 6],
    numbers: [Int64Array; 3],
    tokens: [ListArray; 2],
    embeddings: Option<ListArray>,
}

impl Columns {
    /// # Errors
    /// A column cannot be read.
    pub fn of(batch: &RecordBatch) -> Result<Self, String> {
        let column = |name: &str| -> Result<ArrayRef, String> {
            let (_, kind) = COLUMNS.iter().find(|(known, _)| *known == name).ok_or("it is no column of the format")?;
            let column = batch.column_by_name(name).ok_or_else(|| format!("it has no column `{name}`"))?;
            cast(column, &kind.data_type()).map_err(|e| format!("its column `{name}` cannot be read: {e}"))
        };
        let text = |name| column(name).map(|column| column.as_string::<i32>().clone());
        let number = |name| column(name).map(|column| column.as_primitive::<Int64Type>().clone());
        let list = |name| column(name).map(|column| column.as_list::<i32>().clone());
        Ok(Self {
            texts: [text(DOCUMENT_ID)?, text(NEIGHBOUR)?, text(CONTINUATION)?, text(TITLE)?, text(SOURCE)?, text(METADATA)?],
            numbers: [number(CHUNK_INDEX)?, number(BYTE_START)?, number(BYTE_END)?],
            tokens: [list(NEIGHBOUR_TOKENS)?, list(CONTINUATION_TOKENS)?],
            embeddings: batch.column_by_name(EMBEDDING).map(|_| list(EMBEDDING)).transpose()?,
        })
    }

    /// # Arguments
    /// * `number` - of the row in the file.
    ///
    /// # Errors
    /// Names the column that is null.
    pub fn row(&self, row: usize, number: u64) -> Result<Row, String> {
        let [ids, neighbours, continuations, titles, sources, metadata] = &self.texts;
        let [indices, starts, ends] = &self.numbers;
        let [neighbour_tokens, continuation_tokens] = &self.tokens;
        let text = |name, column: &StringArray| valid(name, column, row).map(|()| column.value(row).to_owned());
        let count = |name, column: &Int64Array| valid(name, column, row).map(|()| column.value(row));
        Ok(Row {
            number,
            document_id: text(DOCUMENT_ID, ids)?,
            chunk_index: count(CHUNK_INDEX, indices)?,
            byte_start: count(BYTE_START, starts)?,
            byte_end: count(BYTE_END, ends)?,
            neighbour: text(NEIGHBOUR, neighbours)?,
            continuation: text(CONTINUATION, continuations)?,
            neighbour_tokens: tokens(NEIGHBOUR_TOKENS, neighbour_tokens, row)?,
            continuation_tokens: tokens(CONTINUATION_TOKENS, continuation_tokens, row)?,
            title: text(TITLE, titles)?,
            source: text(SOURCE, sources)?,
            metadata: text(METADATA, metadata)?,
            embedding: self.embeddings.as_ref().map(|column| numbers(EMBEDDING, column, row)).transpose()?,
        })
    }
}

fn valid(name: &str, column: &dyn Array, row: usize) -> Result<(), String> {
    if column.is_valid(row) { Ok(()) } else { Err(format!("`{name}` is null")) }
}

fn tokens(name: &str, column: &ListArray, row: usize) -> Result<Vec<TokenId>, String> {
    valid(name, column, row)?;
    let list = column.value(row);
    let id = |id: Option<i64>| {
        let id = id.ok_or_else(|| format!("`{name}` holds a null"))?;
        TokenId::try_from(id).map_err(|_| format!("`{name}` holds {id}, which is no token id"))
    };
    list.as_primitive::<Int64Type>().iter().map(id).collect()
}

fn numbers(name: &str, column: &ListArray, row: usize) -> Result<Vec<f32>, String> {
    valid(name, column, row)?;
    let list = column.value(row);
    let numbers = list.as_primitive::<Float32Type>();
    if numbers.null_count() > 0 { Err(format!("`{name}` holds a null")) } else { Ok(numbers.values().to_vec()) }
}
