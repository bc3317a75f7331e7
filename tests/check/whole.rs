//! Data that is whole although it looks lost: a repair leaves it alone, or brings it back.

use std::path::{Path, PathBuf};

use retro_server::catalogue::Catalogue;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{data_files, doctor, doctor_with, settled, stops, text};
use crate::support::{Process, get, ingest, retro};

/// Documents that are ready, wait, and have failed.
async fn counts(data: &Path) -> (u64, u64, u64) {
    let catalogue = Catalogue::open(data, None).await.unwrap();
    let counts = catalogue.count_documents(None).await.unwrap();
    catalogue.close().await;
    (counts.ready, counts.pending, counts.failed)
}

/// Stores with these documents, each in a file of its own.
async fn stores_with(documents: &[(&str, &str)]) -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    for (collection, id) in documents {
        ingest(&server.url, json!([{"id": id, "collection": collection, "text": text(id)}])).await;
    }
    stops(server);
    data
}

/// A check and a repair find this, once and nothing else, and mend nothing; gives what the repair said.
fn is_left_alone(data: &Path, kind: &str, collection: Option<&str>, more: &[&str]) -> String {
    let found = json!({kind: 1});
    let (code, said) = doctor_with(data, &[&["--check"][..], more].concat());
    assert_eq!((code, &said["consistency"]["found"]), (1, &found), "{said:#}");
    let (code, said) = doctor_with(data, &[&["--repair"][..], more].concat());
    assert_eq!((code, &said["consistency"]["found"]), (1, &found), "{said:#}");
    assert_eq!(said["consistency"]["mended"], json!({}), "{said:#}");
    let finding = &said["consistency"]["findings"][0];
    assert_eq!(finding["collection"], json!(collection), "{said:#}");
    finding["text"].as_str().unwrap().to_owned()
}

fn is_whole(data: &Path) {
    let (code, said) = doctor(data, "--check");
    assert_eq!((code, &said["consistency"]["found"]), (0, &json!({})), "{said:#}");
}

#[tokio::test]
async fn a_file_that_the_machine_withholds_is_no_damage() {
    let data = stores_with(&[("library", "a"), ("library", "b"), ("other", "c")]).await;
    let (file, aside) = (data_files(data.path(), "library").remove(0), data.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    // A link to itself is withheld from root, too, who may read what others may not.
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let said = is_left_alone(data.path(), "withheld", Some("library"), &[]);
    assert!(said.contains("(os error ") && said.contains("try again"), "{said}");
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    is_whole(data.path());
    assert_eq!(counts(data.path()).await, (3, 0, 0));
}

#[tokio::test]
async fn texts_outlive_the_file_that_says_which_rows_were_deleted() {
    type Damage = fn(&Path, &[u8]) -> std::io::Result<()>;
    let damages: [(&str, Damage); 4] = [
        ("gone", |file, _| std::fs::remove_file(file)),
        ("empty", |file, _| std::fs::write(file, [])),
        ("cut", |file, whole| std::fs::write(file, &whole[..whole.len() / 2])),
        ("flipped", |file, whole| {
            let (last, before) = whole.split_last().unwrap();
            std::fs::write(file, [before, &[last ^ 1]].concat())
        }),
    ];
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let document = |id: &str, text: String| json!({"id": id, "collection": "library", "text": text});
    let four: Vec<Value> = ["a", "b", "c", "replaced"].map(|id| document(id, text(id))).into();
    ingest(&server.url, json!(four)).await;
    ingest(&server.url, json!([document("replaced", text("newer"))])).await;
    stops(server);
    for (name, damage) in damages {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(data.path(), copy.path());
        let deletions = std::fs::read_dir(copy.path().join("lance/library.lance/_deletions")).unwrap();
        let files: Vec<PathBuf> = deletions.map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty());
        for file in files {
            damage(&file, &std::fs::read(&file).unwrap()).unwrap();
        }
        let (code, said) = doctor(copy.path(), "--repair");
        assert_eq!(code, 0, "{name}: {said:#}");
        assert_eq!(said["consistency"]["found"], json!({"unreadable_file": 1, "missing_chunks": 3}), "{name}: {said:#}");
        // What was replaced has its chunks elsewhere, and its old text does not come back.
        assert_eq!(counts(copy.path()).await, (1, 3, 0), "{name}: {said:#}");
        let server = Process::serve(copy.path(), &[]);
        settled(&server.url).await;
        for (id, written) in [("a", "a"), ("b", "b"), ("c", "c"), ("replaced", "newer")] {
            let shown = get(&server.url, &format!("/v1/documents/{id}?text=true")).await.ok();
            assert_eq!((&shown["status"], &shown["text"]), (&json!("ready"), &json!(text(written))), "{name}");
        }
        stops(server);
        is_whole(copy.path());
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, place) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if path.is_dir() {
            copy_folder(&path, &place);
        } else {
            std::fs::copy(&path, &place).unwrap();
        }
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_not_taken_for_lost() {
    let data = stores_with(&[("library", "a"), ("other", "b")]).await;
    let (lance, aside) = (data.path().join("lance"), data.path().join("aside"));
    let (library, aside_too) = (lance.join("library.lance"), data.path().join("aside.too"));

    std::fs::rename(&library, &aside_too).unwrap();
    is_left_alone(data.path(), "missing_store", Some("library"), &[]);
    std::fs::rename(&aside_too, &library).unwrap();
    is_whole(data.path());

    std::fs::rename(&lance, &aside).unwrap();
    let said = is_left_alone(data.path(), "missing_store", None, &[]);
    for named in [lance.to_str().unwrap(), data.path().join("catalogue.sqlite").to_str().unwrap(), "--accept-loss"] {
        assert!(said.contains(named), "{said}");
    }
    // An empty folder may have been made in its place.
    drop(std::fs::remove_dir_all(&lance));
    std::fs::rename(&aside, &lance).unwrap();
    is_whole(data.path());
    assert_eq!(counts(data.path()).await, (2, 0, 0));

    std::fs::rename(&lance, &aside).unwrap();
    let (code, said) = doctor_with(data.path(), &["--repair", "--accept-loss"]);
    assert_eq!((code, &said["consistency"]["found"]), (0, &said["consistency"]["mended"]), "{said:#}");
    assert_eq!(counts(data.path()).await, (0, 0, 2));
    is_whole(data.path());
    assert_eq!(retro("doctor", data.path(), &["--check", "--accept-loss"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_catalogue_that_is_away_leaves_the_chunks_alone() {
    let data = stores_with(&[("library", "a"), ("other", "b")]).await;
    let (file, aside) = (data.path().join("catalogue.sqlite"), data.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    let said = is_left_alone(data.path(), "missing_store", None, &[]);
    for named in [file.to_str().unwrap(), data.path().join("lance").to_str().unwrap(), "--accept-loss"] {
        assert!(said.contains(named), "{said}");
    }
    std::fs::rename(&aside, &file).unwrap();
    is_whole(data.path());

    std::fs::rename(&file, &aside).unwrap();
    let (code, said) = doctor_with(data.path(), &["--repair", "--accept-loss"]);
    assert_eq!((code, &said["consistency"]["found"]), (0, &said["consistency"]["mended"]), "{said:#}");
    is_whole(data.path());
}

#[tokio::test]
async fn the_database_of_another_catalogue_is_left_alone() {
    let data = stores_with(&[("library", "a")]).await;
    let other = stores_with(&[("library", "b")]).await;
    let place = other.path().join("lance");
    is_left_alone(data.path(), "missing_store", Some("library"), &["--lance-uri", place.to_str().unwrap()]);
    is_whole(data.path());
    is_whole(other.path());
}
