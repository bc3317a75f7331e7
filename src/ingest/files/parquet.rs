//! Parquet: each row is a document, of the columns that have the names of a document's fields.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;

use arrow_json::LineDelimitedWriter;
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{DocumentInput, IngestLimits};

const COLUMNS: [&str; 5] = ["id", "text", "title", "source", "metadata"];
/// Bytes and rows of a batch, about.
const BATCH_BYTES: u64 = 8 << 20;
const BATCH_ROWS: u64 = 1024;
/// Bytes of a batch whose documents are all as large as one may be.
const WORST_BATCH_BYTES: u64 = 256 << 20;

/// A row's number from 1, the share of the file that was read with it, and its document, or the reason why it has none.
pub(super) type Row = (usize, f64, Result<DocumentInput, String>);

/// The rows of one file.
pub(super) struct Rows {
    batches: ParquetRecordBatchReader,
    waiting: VecDeque<Result<DocumentInput, String>>,
    row: usize,
    rows: usize,
    /// The rest cannot be read.
    ended: bool,
}

/// A row as JSON. Fields that are null are not there.
#[derive(Deserialize)]
struct Fields {
    id: Option<Value>,
    text: Option<String>,
    title: Option<String>,
    source: Option<String>,
    metadata: Option<Value>,
}

impl Rows {
    /// # Errors
    /// The file is no Parquet file, or has no column `text` of strings.
    pub fn open(path: &Path, limits: &IngestLimits) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| format!("it is no Parquet file, or a broken one: {error}"))?;
        let schema = builder.schema().clone();
        match schema.field_with_name("text").map(|field| field.data_type()) {
            Ok(kind) if is_text(kind) => {}
            Ok(kind) => return Err(format!("its column `text` holds no strings, but {kind}")),
            Err(_) => {
                let names: Vec<_> = schema.fields().iter().map(|field| format!("`{}`", field.name())).collect();
                return Err(format!("it has no column `text`, but {}", names.join(", ")));
            }
        }
        let columns = schema.fields().iter().enumerate().filter(|(_, field)| COLUMNS.contains(&field.name().as_str()));
        let columns: Vec<_> = columns.map(|(place, _)| place).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
        let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        // The file says how large its rows are, and may lie: a batch of the largest documents should not take too much either.
        let bytes =
            builder.metadata().row_groups().iter().map(|group| group.total_byte_size().max(0).unsigned_abs()).sum::<u64>();
        let fitting = (BATCH_BYTES / (bytes / (rows as u64).max(1)).max(1)).clamp(1, BATCH_ROWS);
        let fitting = fitting.min((WORST_BATCH_BYTES / (limits.max_document_bytes as u64).max(1)).max(1));
        let batches = builder.with_projection(mask).with_batch_size(fitting as usize).build().map_err(|e| e.to_string())?;
        Ok(Self { batches, waiting: VecDeque::new(), row: 0, rows, ended: false })
    }

    fn fill(&mut self) -> Result<(), String> {
        let Some(batch) = self.batches.next() else {
            self.ended = true;
            return Ok(());
        };
        let batch = batch.map_err(|e| e.to_string())?;
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(&batch).and_then(|()| writer.finish()).map_err(|e| e.to_string())?;
        let json = writer.into_inner();
        self.waiting.extend(json.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(document));
        Ok(())
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            if let Some(document) = self.waiting.pop_front() {
                self.row += 1;
                return Some((self.row, self.row as f64 / self.rows.max(self.row) as f64, document));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.fill() {
                self.ended = true;
                return Some((self.row + 1, 1.0, Err(format!("the rest cannot be read: {error}"))));
            }
        }
    }
}

fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

fn document(json: &[u8]) -> Result<DocumentInput, String> {
    let fields: Fields = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let id = match fields.id {
        None => None,
        Some(Value::String(id)) => Some(id),
        Some(Value::Number(id)) => Some(id.to_string()),
        Some(_) => return Err("its `id` is neither a string nor a number".to_owned()),
    };
    Ok(DocumentInput {
        id,
        text: fields.text.ok_or("it has no text")?,
        title: fields.title,
        source: fields.source,
        metadata: fields.metadata.map(metadata).transpose()?,
        collection: None,
    })
}

fn metadata(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        Value::String(json) => serde_json::from_str(&json).map_err(|e| format!("its `metadata` is no JSON object: {e}")),
        _ => Err("its `metadata` is neither a JSON object nor a struct nor a map".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ingest::files::tests::fixture;

    fn rows(file: &str) -> Result<Vec<Row>, String> {
        Ok(Rows::open(&fixture(file), &IngestLimits::default())?.collect())
    }

    #[test]
    fn rows_are_documents_of_the_columns_with_their_names() {
        let found = rows("good/lamps.parquet").unwrap();
        assert_eq!(found.iter().map(|(row, done, _)| (*row, *done)).collect::<Vec<_>>(), [(1, 0.5), (2, 1.0)]);
        let first = found[0].2.as_ref().unwrap();
        assert_eq!((first.id.as_deref(), first.title.as_deref(), first.source.as_deref()), (Some("7"), Some("Arc lamps"), None));
        assert_eq!(first.text, "The arc lamps of Verrin were lit with coal gas until 1908.");
        assert_eq!(first.metadata, json!({"year": 1908, "tags": ["gas"]}).as_object().cloned());
        let second = found[1].2.as_ref().unwrap();
        assert_eq!((second.title.as_deref(), second.source.as_deref()), (None, Some("https://example.org/lamps")));

        let found = rows("good/stamps.parquet").unwrap();
        let first = found[0].2.as_ref().unwrap();
        assert_eq!((first.id.as_deref(), first.metadata.clone()), (None, json!({"colour": "teal"}).as_object().cloned()));
        assert!(first.text.contains("plough") && found[1].2.as_ref().unwrap().metadata.is_none());
    }

    #[test]
    fn a_broken_row_spoils_no_other() {
        let found = rows("broken/rows.parquet").unwrap();
        assert!(found[0].2.as_ref().unwrap().text.contains("lock of Askel"));
        assert_eq!(found[1].2.as_ref().unwrap_err(), "it has no text");
        assert!(found[2].2.as_ref().unwrap_err().contains("`metadata` is no JSON object"));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn broken_files_have_reasons() {
        for (file, expected) in [
            ("cut.parquet", "no Parquet file, or a broken one"),
            ("other.parquet", "no column `text`, but `body`, `title`"),
            ("bytes.parquet", "`text` holds no strings, but Binary"),
        ] {
            let error = rows(&format!("broken/{file}")).unwrap_err();
            assert!(error.contains(expected), "{file}: {error}");
        }
        let found = rows("broken/damaged.parquet").unwrap();
        assert!(found.last().unwrap().2.as_ref().unwrap_err().contains("the rest cannot be read"), "{found:?}");
    }
}
