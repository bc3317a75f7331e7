//! `retro backup` and `retro restore`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Process, delete, eventually, get, ingest, post, retro};

fn text(name: &str) -> String {
    (0..40).map(|number| format!("Line {number} of {name}: the harbour lies in fog. ")).collect()
}

/// What a server answers to a search and to a prompt that is completed greedily.
async fn answers(url: &str) -> (Value, Value) {
    let found =
        post(url, "/v1/retrieve", json!({"text": "The harbour of fixed-3", "collection": "fixed", "neighbours": 8})).await.ok();
    let body = json!({"prompt": "The harbour lies", "max_tokens": 24, "temperature": 0, "retrieval": {"collection": "fixed"}});
    let completed = post(url, "/v1/complete", body).await.ok();
    (found["chunks"].clone(), json!([completed["choices"], completed["retrieval"]["chunks"]]))
}

fn restore(backup: &Path, data: &Path) -> std::process::Output {
    retro("restore", data, &[backup.to_str().unwrap(), "--json"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_all_that_was_acknowledged_before_it() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let backup = elsewhere.path().join("backup");
    let server = Process::serve(data.path(), &[]);
    let url = server.url.clone();
    let fixed: Vec<Value> = (0..12)
        .map(|n| json!({"id": format!("fixed-{n}"), "collection": "fixed", "text": text(&format!("fixed-{n}"))}))
        .collect();
    ingest(&url, json!(fixed)).await;
    let expected = answers(&url).await;

    // Documents come, are replaced and go, before the backup, while it is made, and after.
    let (stop, sent) = (AtomicBool::new(false), tokio::sync::Mutex::new(BTreeMap::<String, Option<String>>::new()));
    let load = async {
        let mut number = 0_u32;
        while !stop.load(Ordering::SeqCst) {
            let id = format!("moving-{number}");
            let said = text(&format!("{id} once"));
            post(&url, "/v1/documents", json!({"id": id, "collection": "moving", "text": said})).await.ok();
            sent.lock().await.insert(id, Some(said));
            if number.is_multiple_of(3) && number > 6 {
                let gone = format!("moving-{}", number - 6);
                delete(&url, &format!("/v1/documents/{gone}")).await;
                sent.lock().await.insert(gone, None);
            }
            number += 1;
        }
    };
    let taking = async {
        eventually("some load", || async { (sent.lock().await.len() > 20).then_some(()) }).await;
        let before = sent.lock().await.clone();
        let (from, to) = (data.path().to_owned(), backup.clone());
        let taken = tokio::task::spawn_blocking(move || retro("backup", &from, &[to.to_str().unwrap(), "--json"])).await.unwrap();
        let during = sent.lock().await.len() - before.len();
        stop.store(true, Ordering::SeqCst);
        assert!(taken.status.success(), "{taken:?}");
        (before, during, serde_json::from_slice::<Value>(&taken.stdout).unwrap())
    };
    let ((), (before, during, manifest)) = tokio::join!(load, taking);
    assert!(during > 0, "documents came while the backup was made");
    let after = sent.into_inner();
    assert!(!data.path().join("backup-pins").exists());
    drop(server);

    let restored = elsewhere.path().join("data");
    let said = restore(&backup, &restored);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(serde_json::from_slice::<Value>(&said.stdout).unwrap(), manifest);
    let checked = retro("doctor", &restored, &["--check", "--json"]);
    let said: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(checked.status.success(), "{said:#}");

    let server = Process::serve(&restored, &[]);
    assert_eq!(answers(&server.url).await, expected);
    for (id, text) in &before {
        let shown = eventually("the document is ready", || async {
            let shown = get(&server.url, &format!("/v1/documents/{id}?text=true")).await;
            (shown.status == 404 || shown.body["status"] == "ready").then_some(shown)
        })
        .await;
        match text {
            // It may have been deleted while the backup was made.
            Some(_) if shown.status == 404 => assert_eq!(after[id], None, "{id}"),
            Some(text) => assert_eq!(shown.body["text"].as_str(), Some(text.as_str()), "{id}"),
            None => assert_eq!(shown.status, 404, "{id}"),
        }
    }
    let checked = retro("doctor", &restored, &["--check", "--json"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[tokio::test]
async fn what_is_no_whole_backup_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (backup, restored) = (elsewhere.path().join("backup"), elsewhere.path().join("data"));
    let server = Process::serve(data.path(), &[]);
    ingest(&server.url, json!([{"id": "a", "text": text("a")}])).await;
    drop(server);
    let arguments = [backup.to_str().unwrap()];
    assert!(retro("backup", data.path(), &arguments).status.success());
    let refused = |output: std::process::Output, word: &str| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(word), "{word}: {said}");
        assert!(!restored.exists(), "nothing is made");
    };
    refused(retro("backup", data.path(), &arguments), "not empty");

    let manifest = std::fs::read(backup.join("backup.json")).unwrap();
    std::fs::remove_file(backup.join("backup.json")).unwrap();
    refused(restore(&backup, &restored), "no complete backup");
    let newer = String::from_utf8(manifest.clone()).unwrap().replacen("\"format\": 1", "\"format\": 2", 1);
    std::fs::write(backup.join("backup.json"), newer).unwrap();
    refused(restore(&backup, &restored), "format 2");
    std::fs::write(backup.join("backup.json"), &manifest).unwrap();

    let catalogue = std::fs::read(backup.join("catalogue.sqlite")).unwrap();
    let mut altered = catalogue.clone();
    altered[5000] ^= 1;
    std::fs::write(backup.join("catalogue.sqlite"), &altered).unwrap();
    refused(restore(&backup, &restored), "was altered");
    std::fs::write(backup.join("catalogue.sqlite"), &catalogue).unwrap();

    // What it leaves out, no hash tells.
    let whole: Value = serde_json::from_slice(&manifest).unwrap();
    let without = |left_out: &dyn Fn(&str) -> bool| {
        let mut manifest = whole.clone();
        manifest["files"].as_object_mut().unwrap().retain(|name, _| !left_out(name));
        std::fs::write(backup.join("backup.json"), manifest.to_string()).unwrap();
        restore(&backup, &restored)
    };
    refused(without(&|_| true), "names no catalogue.sqlite");
    refused(without(&|name| name == "catalogue.sqlite"), "names no catalogue.sqlite");
    refused(without(&|name| name.contains("_versions")), "names no lance/default.lance/_versions/");
    std::fs::write(backup.join("backup.json"), &manifest).unwrap();

    let output = restore(&backup, data.path());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("not empty"), "{said}");
    assert!(restore(&backup, &restored).status.success());
    let mut left: Vec<_> = std::fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["backup", "data"], "nothing else is left");
}

#[tokio::test]
async fn a_restore_follows_a_link_and_leaves_another_one_alone() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (backup, real, link) = (elsewhere.path().join("backup"), elsewhere.path().join("real"), elsewhere.path().join("link"));
    let server = Process::serve(data.path(), &[]);
    ingest(&server.url, json!([{"id": "a", "text": text("a")}])).await;
    drop(server);
    assert!(retro("backup", data.path(), &[backup.to_str().unwrap()]).status.success());
    std::fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();

    // As a restore holds it that is at work, with what it has copied.
    let staged = elsewhere.path().join(".real.restore.partial");
    std::fs::create_dir(&staged).unwrap();
    std::fs::write(staged.join("catalogue.sqlite"), "a part").unwrap();
    let held = std::fs::File::open(&staged).unwrap();
    held.lock().unwrap();
    let output = restore(&backup, &link);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("another `retro restore` makes the folder"), "{said}");
    assert_eq!(std::fs::read_to_string(staged.join("catalogue.sqlite")).unwrap(), "a part");

    // Killed, it holds it no more.
    drop(held);
    let output = restore(&backup, &link);
    assert!(output.status.success(), "{output:?}");
    assert!(link.is_symlink() && real.join("catalogue.sqlite").exists() && !staged.exists());
    let checked = retro("doctor", &real, &["--check", "--json"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// The same command succeeds once what it failed for is mended, or after a kill.
#[tokio::test]
async fn a_backup_that_did_not_end_is_begun_anew() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let backup = elsewhere.path().join("backup");
    let server = Process::serve(data.path(), &[]);
    ingest(&server.url, json!([{"id": "a", "text": text("a")}])).await;
    drop(server);
    let take = || retro("backup", data.path(), &[backup.to_str().unwrap()]);

    // A folder where the files would be held fast.
    std::fs::write(data.path().join("backup-pins"), "in the way").unwrap();
    let output = take();
    assert!(output.status.code() == Some(1), "{output:?}");
    assert!(!backup.exists(), "nothing is left");
    std::fs::remove_file(data.path().join("backup-pins")).unwrap();

    std::fs::create_dir_all(backup.join("lance/gone.lance/data")).unwrap();
    for name in ["backup.partial", "catalogue.sqlite", "lance/gone.lance/data/x.lance"] {
        std::fs::write(backup.join(name), "a part").unwrap();
    }
    let output = take();
    assert!(output.status.success(), "{output:?}");
    assert!(!backup.join("lance/gone.lance").exists() && !backup.join("backup.partial").exists());
    assert!(restore(&backup, &elsewhere.path().join("data")).status.success());
}
