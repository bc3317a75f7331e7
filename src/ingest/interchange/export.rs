use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{InterchangeError, format};
use crate::neighbours::Source;

/// Rows that are read and written at a time.
const BATCH_ROWS: usize = 1024;
/// Rows of a row group, which is held in memory till it is whole: 25 MB of embeddings that have 384 numbers.
const GROUP_ROWS: usize = 16 << 10;
/// Batches that wait for the file.
const READ_AHEAD: usize = 2;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    pub documents: u64,
    pub chunks: u64,
}

/// Writes one version of a collection to a Parquet file: document after document in the order in which they lie in the database, each
/// document's chunks in order. Under the name of the file there is nothing, or what was there before, until it is complete and on the disk.
/// None if `stop` came before the end.
///
/// # Arguments
/// * `progress` - is told how many chunks there are, and how many are written.
///
/// # Errors
/// The collection cannot be read, or the file cannot be written or is something else than a file.
pub async fn export(
    source: &Source,
    file: &Path,
    with_embeddings: bool,
    stop: &CancellationToken,
    progress: impl Fn(u64, u64),
) -> Result<Option<Exported>, InterchangeError> {
    let place = place_of(file).map_err(|reason| InterchangeError::file(file, reason))?;
    let schema = format::schema(with_embeddings.then_some(source.identity().dimension));
    let (send, receive) = mpsc::channel(READ_AHEAD);
    let writer = tokio::task::spawn_blocking({
        let schema = schema.clone();
        let metadata = format::metadata(source.collection(), source.identity());
        move || write(&place, schema, metadata.into_iter().collect(), receive)
    });
    let read = read(source, &schema, stop, send, progress).await;
    let written = writer.await.unwrap_or_else(|panic| Err(panic.to_string()));
    // The writer may have ended first: then its reason is the reason.
    let written = written.map_err(|reason| InterchangeError::file(file, reason))?;
    let Some((exported, ())) = read?.zip(written) else { return Ok(None) };
    Ok(Some(exported))
}

/// Where the file comes to be: a link keeps its place, and what it leads to is written. A device or a pipe would be replaced by the file.
fn place_of(file: &Path) -> Result<PathBuf, String> {
    let place = match file.canonicalize() {
        Ok(place) => place,
        Err(error) if error.kind() == ErrorKind::NotFound && file.is_symlink() => {
            return Err("it is a link that leads nowhere; name the file itself".to_owned());
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(file.to_owned()),
        Err(error) => return Err(format!("it cannot be reached: {error}")),
    };
    match place.metadata() {
        Ok(metadata) if !metadata.is_file() => Err("it is there already and is no regular file; name another".to_owned()),
        Ok(_) => Ok(place),
        Err(error) => Err(format!("it cannot be reached: {error}")),
    }
}

/// Gives the rows to the writer, and at last the word that they are complete.
async fn read(
    source: &Source,
    schema: &SchemaRef,
    stop: &CancellationToken,
    send: mpsc::Sender<Option<RecordBatch>>,
    progress: impl Fn(u64, u64),
) -> Result<Option<Exported>, InterchangeError> {
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let documents = source.documents().await?;
    let total = documents.iter().map(|document| document.rows().len() as u64).sum();
    let mut exported = Exported { documents: documents.len() as u64, chunks: 0 };
    let mut rows = documents.iter().flat_map(|document| document.rows()).copied();
    loop {
        progress(total, exported.chunks);
        let ids: Vec<u64> = rows.by_ref().take(BATCH_ROWS).collect();
        let last = ids.is_empty();
        if stop.is_cancelled() {
            return Ok(None);
        }
        let batch = match last {
            true => None,
            false => {
                let batch = source.rows(&ids, &columns).await?;
                Some(in_schema(schema, &batch).map_err(crate::neighbours::DatabaseError::from)?)
            }
        };
        if send.send(batch).await.is_err() || last {
            return Ok(Some(exported));
        }
        exported.chunks += ids.len() as u64;
    }
}

fn in_schema(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    // A number that does not fit is an error, not a null.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let column = |field: &arrow_schema::FieldRef| {
        let column = batch.column(batch.schema().index_of(field.name())?);
        cast_with_options(column, field.data_type(), &options)
    };
    RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect::<Result<_, _>>()?)
}

/// Writes batches until the word that they are complete; none, and no file, if it does not come.
fn write(
    file: &Path,
    schema: SchemaRef,
    metadata: Vec<(String, String)>,
    mut batches: mpsc::Receiver<Option<RecordBatch>>,
) -> Result<Option<()>, String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().ok_or("it names no file")?.to_string_lossy();
    let io = |doing: &str, error: std::io::Error| format!("it cannot be {doing}: {error}");
    let temporary = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".partial")
        // What the user's mask leaves of it, as of any new file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(|error| io("begun", error))?;
    let parquet = |error: ParquetError| format!("it cannot be written: {error}");
    let mut writer = ArrowWriter::try_new(temporary, schema, Some(properties(metadata).map_err(parquet)?)).map_err(parquet)?;
    loop {
        match batches.blocking_recv() {
            Some(Some(batch)) => writer.write(&batch).map_err(parquet)?,
            Some(None) => break,
            None => return Ok(None),
        }
    }
    let mut temporary: NamedTempFile = writer.into_inner().map_err(parquet)?;
    temporary.flush().and_then(|()| temporary.as_file().sync_all()).map_err(|error| io("written", error))?;
    temporary.persist(file).map_err(|error| io("put in its place", error.error))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io("put in its place", error))?;
    Ok(Some(()))
}

fn properties(mut metadata: Vec<(String, String)>) -> Result<WriterProperties, ParquetError> {
    metadata.sort();
    let metadata = metadata.into_iter().map(|(key, value)| KeyValue::new(key, value));
    let numbers = ColumnPath::from(vec![format::EMBEDDING.to_owned(), "list".to_owned(), "item".to_owned()]);
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        // No two numbers of embeddings are alike.
        .set_column_dictionary_enabled(numbers, false)
        .set_key_value_metadata(Some(metadata.collect()))
        .build())
}
