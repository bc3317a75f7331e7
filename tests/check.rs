//! `retro doctor --check` and `--repair`: stores that agree, and stores that were damaged by hand.

mod whole;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow_array::{Array, FixedSizeListArray, Float32Array, RecordBatch};
use futures::TryStreamExt;
use lancedb::query::{ExecutableQuery, QueryBase};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retro_server::catalogue::Catalogue;
use retro_server::consistency::{Kind, Report, Stores, check};
use retro_server::text::Tokenizer;
use serde_json::{Value, json};

use crate::support::{Process, delete, eventually, get, ingest, post, put, retro, root};

/// What `retro doctor` gives with `--json`: its exit code, and what it says of the stores.
fn doctor(data: &Path, argument: &str) -> (i32, Value) {
    doctor_with(data, &[argument])
}

fn doctor_with(data: &Path, arguments: &[&str]) -> (i32, Value) {
    let output = retro("doctor", data, &[arguments, &["--json"]].concat());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code().unwrap(), said)
}

fn stops(server: Process) {
    server.signal(libc::SIGTERM);
    assert!(server.wait().success());
}

/// A text of some chunks.
fn text(name: &str) -> String {
    (0..60).map(|number| format!("Line {number} of {name}: the quick é字😀 fox. ")).collect()
}

async fn sql(data: &Path, statements: &[&str]) {
    let url = format!("sqlite://{}", data.join("catalogue.sqlite").display());
    let catalogue = sqlx::SqlitePool::connect(&url).await.unwrap();
    for &statement in statements {
        assert!(
            sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&catalogue).await.unwrap().rows_affected() > 0,
            "{statement}"
        );
    }
    catalogue.close().await;
}

async fn table(data: &Path, collection: &str) -> lancedb::Table {
    let connection = lancedb::connect(data.join("lance").to_str().unwrap()).execute().await.unwrap();
    connection.open_table(collection).execute().await.unwrap()
}

async fn rows(table: &lancedb::Table, condition: &str) -> Vec<RecordBatch> {
    table.query().only_if(condition).execute().await.unwrap().try_collect().await.unwrap()
}

#[tokio::test]
async fn after_whatever_was_done_the_stores_agree() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let url = server.url.clone();
    let mut random = ChaCha8Rng::seed_from_u64(17);
    for round in 0..60 {
        let id = format!("doc-{}", random.random_range(0..12));
        let collection = format!("c{}", random.random_range(0..3));
        match random.random_range(0..10) {
            0..6 => {
                let text = text(&format!("{id} {round}"));
                post(&url, "/v1/documents", json!({"id": id, "collection": collection, "text": text})).await.ok();
            }
            6..8 => drop(delete(&url, &format!("/v1/documents/{id}")).await),
            8 => drop(delete(&url, &format!("/v1/collections/{collection}")).await),
            _ => {
                let body = json!({"text": "Short.", "collection": collection, "title": format!("Title {round}")});
                put(&url, &format!("/v1/documents/{id}"), body).await.ok();
            }
        }
        if round == 30 {
            // Others write meanwhile.
            let (code, said) = doctor(data.path(), "--check");
            assert_eq!(code, 0, "{said}");
        }
    }
    settled(&url).await;
    let (code, said) = doctor(data.path(), "--check");
    assert_eq!((code, &said["consistency"]["found"]), (0, &json!({})), "{said}");
    assert!(said["consistency"]["documents"].as_u64().unwrap() > 0, "{said}");
    let refused = retro("doctor", data.path(), &["--repair"]);
    let said = String::from_utf8(refused.stdout).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be mended while") && said.contains("stop it first"), "{said}");
    stops(server);
    let (code, said) = doctor(data.path(), "--repair");
    assert_eq!((code, &said["consistency"]["found"]), (0, &json!({})), "{said}");
}

/// All documents have come to an end.
async fn settled(url: &str) -> Vec<Value> {
    eventually("no document waits", || async {
        let listed = get(url, "/v1/documents?limit=100").await.ok();
        let documents = listed["data"].as_array().unwrap().clone();
        documents.iter().all(|document| document["status"] != "pending").then_some(documents)
    })
    .await
}

#[tokio::test]
async fn each_damage_is_named_and_what_can_be_mended_is() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let names = [
        "altered", "counts", "doubled", "labels", "leftover", "missing", "orphan", "places", "scaled", "sound", "textless",
        "unnoted",
    ];
    for name in names {
        ingest(&server.url, json!([{"id": name, "collection": "library", "text": text(name), "title": name}])).await;
    }
    stops(server);
    assert_eq!(doctor(data.path(), "--check").0, 0);

    sql(
        data.path(),
        &[
            "UPDATE documents SET chunks = chunks + 1 WHERE id = 'counts'",
            "UPDATE documents SET title = 'another' WHERE id = 'labels'",
            "UPDATE documents SET status = 'pending' WHERE id = 'textless'",
            "INSERT INTO outbox (document_id, text) VALUES ('leftover', 'left')",
            "INSERT INTO placements (document_id, collection) VALUES ('places', 'elsewhere')",
            "DELETE FROM placements WHERE document_id = 'unnoted'",
            "DELETE FROM placements WHERE document_id = 'orphan'",
            "DELETE FROM documents WHERE id = 'orphan'",
            "UPDATE tasks SET status = 'running', finished_at = NULL WHERE id = (SELECT task_id FROM documents WHERE id = 'sound')",
        ],
    )
    .await;
    let library = table(data.path(), "library").await;
    library.delete("document_id = 'missing' AND chunk_index = 1").await.unwrap();
    library.add(rows(&library, "document_id = 'doubled' AND chunk_index = 2").await).execute().await.unwrap();
    let altered = library.update().only_if("document_id = 'altered' AND chunk_index = 0");
    altered.column("neighbour", "'Nobody wrote this.'").execute().await.unwrap();
    let scaled = rows(&library, "document_id = 'scaled'").await;
    library.delete("document_id = 'scaled'").await.unwrap();
    library.add(scaled.iter().map(twice_as_long).collect::<Vec<_>>()).execute().await.unwrap();

    let expected = [
        ("altered", "damaged_chunks"),
        ("counts", "wrong_counts"),
        ("doubled", "doubled_chunks"),
        ("labels", "wrong_labels"),
        ("leftover", "leftover_text"),
        ("missing", "missing_chunks"),
        ("orphan", "orphan_chunks"),
        ("places", "wrong_places"),
        ("scaled", "damaged_chunks"),
        ("textless", "missing_text"),
        ("unnoted", "wrong_places"),
    ];
    let (code, said) = doctor(data.path(), "--check");
    let named = |said: &Value| -> BTreeMap<String, String> {
        let findings = said["consistency"]["findings"].as_array().unwrap().iter();
        let of_documents = findings.filter(|finding| finding["document"].is_string());
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        of_documents.map(|finding| (text(finding, "document"), text(finding, "kind"))).collect()
    };
    let expected: BTreeMap<String, String> = expected.map(|(id, kind)| (id.to_owned(), kind.to_owned())).into();
    assert_eq!((code, named(&said)), (1, expected.clone()), "{said:#}");
    assert!(said["consistency"]["found"]["wrong_task"].as_u64() >= Some(2), "{said:#}");
    assert_eq!(said["consistency"]["mended"], json!({}));

    let (code, said) = doctor(data.path(), "--repair");
    assert_eq!((code, named(&said)), (0, expected), "{said:#}");
    assert_eq!(said["consistency"]["found"], said["consistency"]["mended"], "{said:#}");
    let (code, said) = doctor(data.path(), "--check");
    assert_eq!((code, &said["consistency"]["found"]), (0, &json!({})), "{said:#}");

    let server = Process::serve(data.path(), &[]);
    let documents = settled(&server.url).await;
    assert_eq!(documents.len(), names.len() - 1);
    for document in documents {
        let id = document["id"].as_str().unwrap();
        // Rows that were deleted are in the files as long as nothing has put them together.
        if id == "textless" {
            assert_eq!(document["status"], "failed", "{document}");
            assert!(document["error"].as_str().unwrap().contains("send it again"), "{document}");
            // There is no text, and no other one is given out for it.
            let shown = get(&server.url, &format!("/v1/documents/{id}?text=true")).await;
            assert_eq!((shown.status, shown.code()), (500, "data_damaged"));
        } else {
            assert_eq!(document["status"], "ready", "{document}");
            let shown = get(&server.url, &format!("/v1/documents/{id}?text=true")).await.ok();
            assert_eq!(shown["text"], text(id));
        }
    }
    ingest(&server.url, json!([{"id": "textless", "collection": "library", "text": text("textless")}])).await;
    let (code, said) = doctor(data.path(), "--check");
    assert_eq!((code, &said["consistency"]["found"]), (0, &json!({})), "{said:#}");
    stops(server);
}

fn twice_as_long(batch: &RecordBatch) -> RecordBatch {
    let place = batch.schema().index_of("embedding").unwrap();
    let vectors: &FixedSizeListArray = batch.column(place).as_any().downcast_ref().unwrap();
    let numbers: &Float32Array = vectors.values().as_any().downcast_ref().unwrap();
    let numbers = Float32Array::from_iter_values(numbers.values().iter().map(|number| number * 2.0));
    let (field, width) = match vectors.data_type() {
        arrow_schema::DataType::FixedSizeList(field, width) => (field.clone(), *width),
        other => panic!("{other}"),
    };
    let mut columns = batch.columns().to_vec();
    columns[place] = std::sync::Arc::new(FixedSizeListArray::new(field, width, std::sync::Arc::new(numbers), None));
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// Data files of a collection.
fn data_files(data: &Path, collection: &str) -> Vec<PathBuf> {
    let folder = data.join(format!("lance/{collection}.lance/data"));
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_named_and_its_documents_are_told() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &["--vectors-mb=0"]);
    for name in ["cut", "sound"] {
        ingest(&server.url, json!([{"id": name, "collection": "library", "text": text(name)}])).await;
        if name == "cut" {
            let [file]: [PathBuf; 1] = data_files(data.path(), "library").try_into().unwrap();
            std::fs::copy(&file, data.path().join("copy")).unwrap();
        }
    }
    stops(server);
    let whole = std::fs::read(data.path().join("copy")).unwrap();
    let cut = data_files(data.path(), "library").into_iter().find(|file| std::fs::read(file).unwrap() == whole).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let name = cut.file_name().unwrap().to_str().unwrap();

    let (code, said) = doctor(data.path(), "--check");
    assert_eq!((code, &said["consistency"]["found"]), (1, &json!({"unreadable_file": 1, "missing_chunks": 1})), "{said:#}");
    assert!(
        said["consistency"]["findings"][0]["text"].as_str().unwrap().contains(&format!("library.lance/data/{name}")),
        "{said:#}"
    );

    // What is damaged is named as that, without a word of where it lies; the log has more.
    let server = Process::serve(data.path(), &["--vectors-mb=0"]);
    for answer in [
        get(&server.url, "/v1/documents/cut?text=true").await,
        get(&server.url, "/v1/documents/cut/chunks").await,
        post(&server.url, "/v1/retrieve", json!({"text": "the quick fox", "collection": "library"})).await,
    ] {
        assert_eq!((answer.status, answer.code()), (500, "data_damaged"), "{answer:?}");
        assert!(!answer.body.to_string().contains(".lance"), "{answer:?}");
    }
    let log = server.log();
    assert!(log.contains("library") && log.contains("data_damaged"), "{log}");

    let (code, said) = doctor(data.path(), "--repair");
    assert_eq!(code, 0, "{said:#}");
    let server = Process::serve(data.path(), &[]);
    assert_eq!(get(&server.url, "/v1/documents/cut").await.ok()["status"], "failed");
    assert_eq!(get(&server.url, "/v1/documents/sound?text=true").await.ok()["text"], text("sound"));
    ingest(&server.url, json!([{"id": "cut", "collection": "library", "text": text("cut")}])).await;
    let (code, said) = doctor(data.path(), "--check");
    assert_eq!((code, &said["consistency"]["found"]), (0, &json!({})), "{said:#}");
    stops(server);
}

/// The check itself, without the look at the installation.
async fn stores(data: &Path) -> Report {
    let catalogue = Catalogue::open(data, None).await.unwrap();
    let stores = Stores {
        catalogue: catalogue.clone(),
        catalogue_place: data.display().to_string(),
        uri: data.join("lance").to_str().unwrap().to_owned(),
        worker_lock: data.join("writer.lock"),
        tokenizer: Some(std::sync::Arc::new(Tokenizer::load(&root().join("models/retro-nano/tokenizer.json")).unwrap())),
        embedder: None,
    };
    let report = check(&stores, None, &|_, _| {}).await.unwrap();
    catalogue.close().await;
    report
}

#[tokio::test]
async fn bytes_that_were_flipped_are_found_or_make_no_difference_to_a_text() {
    const FLIPS: usize = 200;
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let documents: Vec<Value> =
        (0..8).map(|n| json!({"id": format!("d{n}"), "collection": "library", "text": text(&format!("d{n}"))})).collect();
    ingest(&server.url, json!(documents)).await;
    stops(server);
    let [file]: [PathBuf; 1] = data_files(data.path(), "library").try_into().unwrap();
    let whole = std::fs::read(&file).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (mut found, mut kinds) = (0, BTreeMap::<Kind, usize>::new());
    for _ in 0..FLIPS {
        let mut flipped = whole.clone();
        let place = random.random_range(0..whole.len());
        flipped[place] ^= 1 << random.random_range(0..8);
        std::fs::write(&file, &flipped).unwrap();
        let report = stores(data.path()).await;
        found += usize::from(!report.is_clean());
        for kind in report.found.keys() {
            *kinds.entry(*kind).or_default() += 1;
        }
        // Whatever is not found is no part of a text: the rows of a check that is clean have the sha256 of what was taken in.
    }
    println!("{found} of {FLIPS} flipped bits were found: {kinds:?}; the file has {} bytes", whole.len());
    assert!(found > FLIPS / 20, "{found} of {FLIPS}");
    std::fs::write(&file, &whole).unwrap();
    assert!(stores(data.path()).await.found.is_empty());
}
