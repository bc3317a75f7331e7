use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;

use arrow_array::types::{Float32Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Int64Array, ListArray, RecordBatch, StringArray, cast::AsArray};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::ingest::interchange::{Import, ImportOptions, Imported, InterchangeError, export};
use crate::neighbours::Source;

/// A file as a table with its metadata, to be changed.
#[derive(Clone)]
struct Table {
    columns: Vec<(String, ArrayRef)>,
    /// The rows that are written.
    order: Vec<usize>,
    metadata: HashMap<String, String>,
}

impl Table {
    fn read(path: &Path) -> Self {
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
        let pairs = builder.metadata().file_metadata().key_value_metadata().unwrap().iter();
        let metadata =
            pairs.filter(|pair| pair.key.starts_with("retro.")).map(|pair| (pair.key.clone(), pair.value.clone().unwrap()));
        let metadata = metadata.collect();
        let batches: Vec<_> = builder.build().unwrap().map(Result::unwrap).collect();
        assert_eq!(batches.len(), 1);
        let schema = batches[0].schema();
        let columns = schema.fields().iter().zip(batches[0].columns());
        let columns = columns.map(|(field, column)| (field.name().clone(), column.clone())).collect();
        Self { columns, order: (0..batches[0].num_rows()).collect(), metadata }
    }

    fn write(&self, path: &Path) {
        let fields: Vec<_> =
            self.columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
        let columns = self.columns.iter().map(|(_, column)| column.clone()).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let pairs = self.metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
        let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).build();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
        for &row in &self.order {
            writer.write(&batch.slice(row, 1)).unwrap();
        }
        writer.close().unwrap();
    }

    fn column(&mut self, name: &str) -> &mut ArrayRef {
        &mut self.columns.iter_mut().find(|(known, _)| known == name).unwrap().1
    }

    fn rows(&self) -> usize {
        self.columns[0].1.len()
    }

    /// Writes these rows only, numbered from 0.
    fn take(&mut self, rows: &[usize]) {
        self.order = rows.to_vec();
    }

    fn change(&mut self, name: &str, to: &DataType) {
        let column = self.column(name);
        *column = cast(column, to).unwrap();
    }

    fn set_text(&mut self, name: &str, row: usize, text: Option<&str>) {
        let column = self.column(name);
        let texts = column.as_string::<i32>().iter().enumerate();
        *column = Arc::new(StringArray::from_iter(texts.map(|(at, old)| if at == row { text } else { old })));
    }

    fn set_number(&mut self, name: &str, row: usize, number: i64) {
        self.change(name, &DataType::Int64);
        let column = self.column(name);
        let numbers = column.as_primitive::<Int64Type>().iter().enumerate();
        *column = Arc::new(Int64Array::from_iter(numbers.map(|(at, old)| if at == row { Some(number) } else { old })));
    }

    fn set_tokens(&mut self, name: &str, row: usize, tokens: Vec<i32>) {
        let column = self.column(name);
        let lists = column.as_list::<i32>().iter().enumerate().map(|(at, list)| {
            let old = list.map(|list| list.as_primitive::<Int32Type>().values().to_vec()).unwrap_or_default();
            Some(if at == row { tokens.clone() } else { old }.into_iter().map(Some).collect::<Vec<_>>())
        });
        *column = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists.collect::<Vec<_>>()));
    }

    fn embeddings(&mut self, change: impl Fn(usize, Vec<f32>) -> Vec<f32>) {
        let column = self.column("embedding");
        let lists: Vec<Vec<f32>> = column
            .as_fixed_size_list()
            .iter()
            .map(|list| list.unwrap().as_primitive::<Float32Type>().values().to_vec())
            .collect();
        let lists: Vec<_> = lists.into_iter().enumerate().map(|(row, list)| change(row, list)).collect();
        let width = lists[0].len() as i32;
        let lists = lists.into_iter().map(|list| Some(list.into_iter().map(Some).collect::<Vec<_>>()));
        *column = Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists, width));
    }
}

async fn exported(folder: &Path, with_embeddings: bool) -> PathBuf {
    let uri = folder.join("lance");
    let source = Source::open(uri.to_str().unwrap(), &CollectionName::default()).await.unwrap().unwrap();
    let file = folder.join("export.parquet");
    export(&source, &file, with_embeddings, &CancellationToken::new(), |_, _| {}).await.unwrap().unwrap();
    file
}

fn options() -> ImportOptions {
    ImportOptions { collection: None, embed_again: false, limits: IngestLimits::default() }
}

async fn import(process: &Process, files: &[PathBuf], options: &ImportOptions) -> Result<Imported, InterchangeError> {
    let stop = CancellationToken::new();
    let import = Import::check(&process.ingest, files, options, &stop, Arc::new(|_, _| {})).await?.unwrap();
    import.run(&stop, Arc::new(|_, _| {})).await
}

/// Two documents of several chunks, exported.
async fn two_documents(folder: &Path) -> (Process, PathBuf, [String; 2]) {
    let process = Process::start(folder, FakeEmbedder::default()).await;
    let texts = [long_text("a"), long_text("b")];
    let (stop, worker) = process.worker();
    let inputs = ["a", "b"].iter().zip(&texts).map(|(name, text)| DocumentInput {
        title: Some(format!("Title of {name}")),
        metadata: serde_json::json!({"of": name}).as_object().cloned(),
        ..input(name, text)
    });
    process.wait(&process.submit(inputs.collect()).await).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    let file = exported(folder, true).await;
    (process, file, texts)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_breaks_a_rule_is_refused_with_its_place_and_nothing_of_it_goes_in() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, file, _) = two_documents(from.path()).await;
    let process = Process::start(to.path(), FakeEmbedder::default()).await;
    let good = Table::read(&file);
    let rows = good.rows();
    assert!(rows > 10);
    type Change = Box<dyn Fn(&mut Table)>;
    let case = |change: fn(&mut Table), expected: &'static [&'static str]| -> (Change, &'static [&'static str]) {
        (Box::new(change), expected)
    };
    let cases = [
        case(|t| t.columns.retain(|(name, _)| name != "title"), &["no column `title` of strings"]),
        case(|t| t.change("chunk_index", &DataType::Utf8), &["`chunk_index` holds no integers, but Utf8"]),
        case(
            |t| {
                let list = DataType::List(Arc::new(Field::new("item", DataType::Float64, true)));
                t.change("embedding", &list);
            },
            &["`embedding` holds no lists of 32-bit floats, but List(Float64"],
        ),
        case(|t| t.take(&[0, 1, 3]), &["row 3", "`chunk_index` is 3, the next chunk of document a is 2"]),
        case(|t| t.take(&[1, 2]), &["row 1", "`chunk_index` is 1, the next chunk of document a is 0"]),
        case(|t| t.take(&[0, 1, 1]), &["row 3", "chunk 1 of document a was there before"]),
        case(
            |t| {
                let rows = t.rows();
                t.take(&(0..rows).chain([0]).collect::<Vec<_>>());
            },
            &["document a was there before", "next to each other"],
        ),
        case(|t| t.take(&[0, 1]), &["row 2", "`continuation` is not empty", "document a follows"]),
        case(|t| t.set_number("chunk_index", 0, -1), &["row 1", "`chunk_index` is -1"]),
        case(|t| t.set_number("byte_start", 1, 7), &["row 2", "`byte_start` is 7"]),
        case(|t| t.set_number("byte_end", 1, 7), &["row 2", "`byte_end` is 7"]),
        case(
            |t| t.set_tokens("neighbour_tokens", 1, vec![5, 6]),
            &["row 2", "`neighbour_tokens` are not the tokens of `neighbour`"],
        ),
        case(|t| t.set_tokens("neighbour_tokens", 1, vec![5; 65]), &["row 2", "65 tokens, at most 64"]),
        case(|t| t.set_tokens("continuation_tokens", 2, vec![-1]), &["row 3", "`continuation_tokens` holds -1"]),
        case(|t| t.set_text("continuation", 1, Some("")), &["row 2", "`continuation_tokens` are not the tokens"]),
        case(
            |t| {
                t.set_text("continuation", 1, Some(""));
                t.set_tokens("continuation_tokens", 1, vec![]);
            },
            &["row 3", "not the continuation that row 2 has"],
        ),
        case(|t| t.set_text("title", 2, Some("Another")), &["row 3", "`title` is not the same as in row 1"]),
        case(|t| t.set_text("title", 2, None), &["row 3", "`title` is null"]),
        case(|t| t.set_text("document_id", 0, Some("a/b")), &["row 1", "`document_id` may hold"]),
        case(
            |t| {
                let rows = t.rows();
                (0..rows).for_each(|row| t.set_text("metadata", row, Some("[1]")));
            },
            &["rows 1 to", "document a", "`metadata` is no JSON object"],
        ),
        case(
            |t| {
                let long = "x".repeat(1001);
                (0..t.rows()).for_each(|row| t.set_text("source", row, Some(&long)));
            },
            &["document a", "`source` may have 1000 characters, has 1001"],
        ),
        case(
            |t| {
                t.embeddings(|row, mut vector| {
                    if row == 3 {
                        vector[5] = f32::NAN;
                    }
                    vector
                })
            },
            &["row 4", "`embedding` holds NaN at 5, must be finite"],
        ),
        case(|t| t.embeddings(|_, vector| vector[..7].to_vec()), &["row 1", "`embedding` has 7 numbers, must have 8"]),
        case(
            |t| t.embeddings(|_, vector| vector.iter().map(|x| x * 3.0).collect()),
            &["row 1", "has the length 3.000, must have 1"],
        ),
        case(|t| drop(t.metadata.remove("retro.format")), &["no key `retro.format`"]),
        case(|t| drop(t.metadata.insert("retro.format".into(), "2".into())), &["`retro.format`", "\"2\"", "\"1\""]),
        case(|t| drop(t.metadata.remove("retro.embedder")), &["no key `retro.embedder`", "--embed-again"]),
        case(
            |t| {
                t.metadata.insert("retro.embedder".into(), "bert-9".into());
                t.metadata.insert("retro.dimension".into(), "9".into());
            },
            &["another embedder (it says bert-9, this server has fake)", "another dimension (it says 9", "--embed-again"],
        ),
        case(|t| drop(t.metadata.insert("retro.tokenizer".into(), "t".into())), &["another tokenizer", "--embed-again"]),
        case(|t| drop(t.metadata.insert("retro.collection".into(), "a/b".into())), &["`retro.collection`"]),
    ];
    let path = to.path().join("bad.parquet");
    for (number, (change, expected)) in cases.iter().enumerate() {
        let mut table = good.clone();
        change(&mut table);
        table.write(&path);
        let error = import(&process, std::slice::from_ref(&path), &options()).await.unwrap_err().to_string();
        assert!(error.contains("bad.parquet") && expected.iter().all(|part| error.contains(part)), "{number}: {error}");
    }
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = import(&process, std::slice::from_ref(&path), &options()).await.unwrap_err().to_string();
    assert!(error.contains("no Parquet file"), "{error}");
    let mut damaged = bytes.clone();
    damaged[4..400].fill(0xAA);
    std::fs::write(&path, &damaged).unwrap();
    let error = import(&process, std::slice::from_ref(&path), &options()).await.unwrap_err().to_string();
    assert!(error.contains("bad.parquet: row 1: it cannot be read"), "{error}");
    let small = ImportOptions { limits: IngestLimits { max_document_bytes: 500 }, ..options() };
    let error = import(&process, std::slice::from_ref(&file), &small).await.unwrap_err().to_string();
    assert!(error.contains("document a has") && error.contains("at most 500"), "{error}");
    let twice = import(&process, &[file.clone(), file.clone()], &options()).await.unwrap_err().to_string();
    assert!(twice.contains("document a was there before"), "{twice}");

    assert!(process.database.collections().await.unwrap().is_empty(), "nothing was written");
    assert_eq!(process.catalogue.count_documents(None).await.unwrap().ready, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gives_the_same_collection_whichever_types_it_has() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (original, file, texts) = two_documents(from.path()).await;
    let process = Process::start(to.path(), FakeEmbedder::default()).await;
    let whole = [("a", texts[0].as_str()), ("b", texts[1].as_str())];
    let list = |item| DataType::List(Arc::new(Field::new("element", item, true)));
    let mut table = Table::read(&file);
    table.change("document_id", &DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)));
    table.change("title", &DataType::LargeUtf8);
    table.change("neighbour", &DataType::Utf8View);
    table.change("chunk_index", &DataType::UInt64);
    table.change("byte_end", &DataType::Int32);
    table.change("neighbour_tokens", &list(DataType::Int64));
    table.change("continuation_tokens", &DataType::LargeList(Arc::new(Field::new("item", DataType::UInt16, false))));
    table.change("embedding", &list(DataType::Float32));
    let path = to.path().join("other.parquet");
    table.write(&path);
    let queries: Vec<_> = ["x", "y", "z"].map(vector).into();
    let options_of = SearchOptions::new(CollectionName::default(), 16);
    let expected = original.database.search(queries.clone(), &options_of).await.unwrap().neighbours;
    for path in [&path, &file] {
        let imported = import(&process, std::slice::from_ref(path), &options()).await.unwrap();
        assert_eq!(imported, Imported { documents: 2, chunks: table.rows() as u64 });
        process.assert_whole(&whole).await;
        assert_eq!(process.database.search(queries.clone(), &options_of).await.unwrap().neighbours, expected);
        for name in ["a", "b"] {
            let (there, here) = (original.ingest.document(&id(name)).await, process.ingest.document(&id(name)).await);
            let (there, here) = (there.unwrap().unwrap(), here.unwrap().unwrap());
            assert_eq!((there.tokens, there.sha256, there.title), (here.tokens, here.sha256, here.title));
            assert_eq!(there.metadata, here.metadata);
        }
    }
    assert_eq!(process.catalogue.count_documents(None).await.unwrap().pending, 0);
    assert!(!process.catalogue.has_work().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_means_nothing_here_is_made_anew() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, _, texts) = two_documents(from.path()).await;
    let whole = [("a", texts[0].as_str()), ("b", texts[1].as_str())];
    let file = exported(from.path(), false).await;
    let mut table = Table::read(&file);
    assert!(table.columns.iter().all(|(name, _)| name != "embedding"));
    let path = to.path().join("other.parquet");
    // Chunks that this program would not cut: they are taken over as they are.
    table.write(&path);
    let embedder = FakeEmbedder::default();
    let process = Process::start(to.path(), embedder.clone()).await;
    import(&process, std::slice::from_ref(&path), &options()).await.unwrap();
    process.assert_whole(&whole).await;
    assert!(embedder.calls.load(Ordering::SeqCst) > 0);
    let near = process.database.search(vec![vector(&texts[0][..])], &SearchOptions::new(CollectionName::default(), 1)).await;
    assert_eq!(near.unwrap().neighbours[0].len(), 1);

    // Token ids of another tokenizer mean nothing: the text is chunked here.
    table.metadata.remove("retro.tokenizer");
    for row in 0..table.rows() {
        table.set_tokens("neighbour_tokens", row, vec![1, 2]);
        table.set_tokens("continuation_tokens", row, if row + 1 == table.rows() { vec![] } else { vec![1, 2] });
    }
    let first_of_b = table.column("document_id").as_string::<i32>().iter().position(|id| id == Some("b")).unwrap();
    table.set_tokens("continuation_tokens", first_of_b - 1, vec![]);
    table.write(&path);
    let library = CollectionName::parse("collection", "library").unwrap();
    let elsewhere = ImportOptions { collection: Some(library.clone()), ..options() };
    import(&process, std::slice::from_ref(&path), &elsewhere).await.unwrap();
    assert_eq!(process.database.stats(&CollectionName::default()).await.unwrap().chunks, 0, "the documents have moved");
    let tokens: usize = texts.iter().map(|text| tokenizer().encode(text).len()).sum();
    let mut stored = 0;
    for (name, text) in whole {
        let document = process.ingest.document(&id(name)).await.unwrap().unwrap();
        assert_eq!((document.collection, document.revision), (library.clone(), 2));
        assert_eq!(process.ingest.document_text(&id(name)).await.unwrap().as_deref(), Some(text));
        stored += document.tokens as usize;
    }
    assert_eq!(stored, tokens);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_there_is_replaced_whole_and_others_stay() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, file, texts) = two_documents(from.path()).await;
    let process = Process::start(to.path(), FakeEmbedder::default()).await;
    let (stop, worker) = process.worker();
    let longer = long_text("old").repeat(3);
    process.wait(&process.submit(vec![input("a", &longer), input("other", "stays")]).await).await;
    // While a worker is at work.
    let waiting = process.submit((0..200).map(|number| input(&format!("w{number}"), "waits")).collect()).await;
    import(&process, std::slice::from_ref(&file), &options()).await.unwrap();
    process.wait(&waiting).await;
    let mut expected = vec![("a", texts[0].as_str()), ("b", texts[1].as_str()), ("other", "stays")];
    let names: Vec<_> = (0..200).map(|number| format!("w{number}")).collect();
    expected.extend(names.iter().map(|name| (name.as_str(), "waits")));
    process.assert_whole(&expected).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_does_not_end_leaves_the_file_that_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let (_, file, _) = two_documents(folder.path()).await;
    std::fs::write(&file, "before").unwrap();
    let uri = folder.path().join("lance");
    let source = Source::open(uri.to_str().unwrap(), &CollectionName::default()).await.unwrap().unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(export(&source, &file, true, &stop, |_, _| {}).await.unwrap(), None);
    assert_eq!(std::fs::read(&file).unwrap(), b"before");
    let nowhere = folder.path().join("nowhere/x.parquet");
    let error = export(&source, &nowhere, true, &CancellationToken::new(), |_, _| {}).await.unwrap_err().to_string();
    assert!(error.contains("nowhere/x.parquet") && error.contains("cannot be begun"), "{error}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}
