use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::columns::{Columns, Row, find};
use super::format::EMBEDDING;

/// Bytes and rows of a batch, about.
const BATCH_BYTES: u64 = 8 << 20;
const BATCH_ROWS: u64 = 1024;

/// A file that has the columns of the format.
pub struct RowFile {
    builder: ParquetRecordBatchReaderBuilder<File>,
}

/// The rows of one file.
pub struct Rows {
    batches: ParquetRecordBatchReader,
    batch: Option<(Columns, usize)>,
    next: usize,
    number: u64,
}

impl RowFile {
    /// # Errors
    /// It is no Parquet file.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| format!("it cannot be opened: {e}"))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| format!("it is no Parquet file, or a broken one: {error}"))?;
        Ok(Self { builder })
    }

    /// The file's own metadata.
    pub fn metadata(&self) -> HashMap<String, String> {
        let pairs = self.builder.metadata().file_metadata().key_value_metadata().into_iter().flatten();
        pairs.filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?))).collect()
    }

    pub fn has_embeddings(&self) -> bool {
        self.builder.schema().index_of(EMBEDDING).is_ok()
    }

    /// How many rows the file says that it has.
    pub fn count(&self) -> u64 {
        u64::try_from(self.builder.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// # Errors
    /// A column is missing or has another type.
    pub fn rows(self, with_embeddings: bool) -> Result<Rows, String> {
        let columns = find(self.builder.schema(), with_embeddings)?;
        let groups = self.builder.metadata().row_groups().iter();
        let bytes: u64 = groups.map(|group| group.total_byte_size().max(0).unsigned_abs()).sum();
        let fitting = (BATCH_BYTES / (bytes / self.count().max(1)).max(1)).clamp(1, BATCH_ROWS);
        let mask = ProjectionMask::roots(self.builder.parquet_schema(), columns);
        let batches = self.builder.with_projection(mask).with_batch_size(fitting as usize).build().map_err(|e| e.to_string())?;
        Ok(Rows { batches, batch: None, next: 0, number: 0 })
    }
}

impl Iterator for Rows {
    type Item = Result<Row, String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((columns, rows)) = &self.batch
                && self.next < *rows
            {
                let row = columns.row(self.next, self.number + 1).map_err(|reason| format!("row {}: {reason}", self.number + 1));
                self.next += 1;
                self.number += 1;
                return Some(row);
            }
            let batch = match self.batches.next()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(format!("row {}: it cannot be read: {error}", self.number + 1))),
            };
            match Columns::of(&batch) {
                Ok(columns) => self.batch = Some((columns, batch.num_rows())),
                Err(reason) => return Some(Err(reason)),
            }
            self.next = 0;
        }
    }
}
