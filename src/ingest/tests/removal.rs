//! Documents that go by a filter, and collections that go whole.

use super::*;
use crate::catalogue::TaskStatus;
use crate::neighbours::Filter;

fn name(text: &str) -> CollectionName {
    CollectionName::parse("collection", text).unwrap()
}

fn in_collection(document: &str, text: &str, collection: &str) -> DocumentInput {
    DocumentInput { collection: Some(collection.to_owned()), ..input(document, text) }
}

fn filter(json: serde_json::Value) -> Filter {
    Filter::parse("filter", &json).unwrap()
}

async fn idle(process: &Process) {
    tokio::time::timeout(Duration::from_secs(30), async {
        while process.catalogue.has_work().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("all work gets done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_speaks_of_the_newest_revision_and_of_what_waits_or_failed() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), FakeEmbedder::default()).await;
    let titled =
        |document: &str, text: &str, title: &str| DocumentInput { title: Some(title.to_owned()), ..input(document, text) };
    let (stop, worker) = process.worker();
    process
        .wait(&process.submit(vec![titled("a", "one", "old"), titled("b", "two", "old"), titled("c", "three", "new")]).await)
        .await;
    process.wait(&process.submit(vec![titled("d", "poison", "old")]).await).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    // Not yet done: `a` says something else now, and `e` is not there yet.
    let waiting = process.submit(vec![titled("a", "four", "new")]).await;
    let withdrawn = process.submit(vec![titled("e", "five", "old")]).await;
    let old = filter(serde_json::json!({"field": "title", "op": "eq", "value": "old"}));
    let expected = [id("b"), id("d"), id("e")];
    assert_eq!(process.ingest.matching(&CollectionName::default(), &old).await.unwrap(), expected);
    assert_eq!(process.ingest.matching(&name("other"), &old).await.unwrap(), []);
    assert_eq!(process.ingest.delete_matching(&CollectionName::default(), &old).await.unwrap(), expected);
    assert_eq!(process.ingest.delete_matching(&CollectionName::default(), &old).await.unwrap(), []);
    assert_eq!(process.wait(&withdrawn).await.status, TaskStatus::Canceled);
    assert_eq!(process.ingest.document_chunks(&id("b")).await.unwrap(), None);
    let (stop, worker) = process.worker();
    assert_eq!(process.wait(&waiting).await.status, TaskStatus::Succeeded);
    process.assert_whole(&[("a", "four"), ("c", "three")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_submitted_again_while_a_filter_is_read_stays() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), FakeEmbedder::default()).await;
    process.submit(vec![input("a", "one"), input("b", "two"), input("c", "three")]).await;
    let found = process.catalogue.documents_where(&CollectionName::default(), |labels| Ok(labels.id != "c")).await.unwrap();
    process.submit(vec![input("a", "four")]).await;
    process.ingest.delete(&id("b")).await.unwrap();
    process.submit(vec![input("b", "five")]).await;
    assert_eq!(process.catalogue.begin_removals(&found).await.unwrap(), []);
    assert!(process.catalogue.promised_removals().await.unwrap().is_empty());
    let (stop, worker) = process.worker();
    idle(&process).await;
    process.assert_whole(&[("a", "four"), ("b", "five"), ("c", "three")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promised_removal_of_a_collection_is_completed_by_the_next_worker() {
    let folder = tempfile::tempdir().unwrap();
    let before = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = before.worker();
    let documents = vec![in_collection("a", "one", "x"), in_collection("b", "two", "x"), input("c", "three"), input("d", "four")];
    before.wait(&before.submit(documents).await).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    // `d` moves to the collection, `b` away from it.
    let moved = before.submit(vec![in_collection("d", "five", "x"), input("b", "six")]).await;
    before.catalogue.begin_collection_removal(&name("x")).await.unwrap();
    // Too late for the removal: it belongs to what begins anew.
    let late = before.submit(vec![in_collection("a", "seven", "x")]).await;
    before.catalogue.close().await;

    let after = Process::start(folder.path(), FakeEmbedder::default()).await;
    assert_eq!(after.ingest.document(&id("d")).await.unwrap(), None);
    let (stop, worker) = after.worker();
    for submission in [&moved, &late] {
        assert_eq!(after.wait(submission).await.status, TaskStatus::Succeeded);
    }
    idle(&after).await;
    after.assert_whole(&[("b", "six"), ("c", "three")]).await;
    assert_eq!(after.database.stats(&name("x")).await.unwrap().chunks, 1);
    assert_eq!(after.ingest.document_text(&id("a")).await.unwrap().as_deref(), Some("seven"));
    let details = after.ingest.collection(&name("x")).await.unwrap().unwrap();
    assert_eq!((details.collection.documents.ready, details.collection.figures.chunks), (1, 1));
    assert!(details.collection.created_at.is_some());
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_document_is_written_to_a_collection_before_its_removal_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), FakeEmbedder::default()).await;
    process.submit(vec![in_collection("a", "one", "x"), input("b", "two")]).await;
    let taken = process.catalogue.take_queued(None, &[], 10, 1000).await.unwrap();
    process.catalogue.begin_collection_removal(&name("x")).await.unwrap();
    process.submit(vec![in_collection("a", "three", "x")]).await;
    let again = process.catalogue.take_queued(None, &[], 10, 1000).await.unwrap();
    assert_eq!(again.iter().map(|queued| queued.text.as_str()).collect::<Vec<_>>(), ["two"]);
    let tickets = process.catalogue.begin_write(&taken.iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(tickets.len(), 1, "of the other collection");
    process.ingest.complete_removals(&mut Default::default()).await.unwrap();
    assert_eq!(process.catalogue.take_queued(None, &[], 10, 1000).await.unwrap().len(), 2);
    assert!(process.catalogue.promised_collection_removals().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_that_go_while_the_worker_writes_them_stay_gone() {
    let folder = tempfile::tempdir().unwrap();
    let embedder = FakeEmbedder { delay: Duration::from_millis(3), ..FakeEmbedder::default() };
    let process = Process::start(folder.path(), embedder).await;
    let (stop, worker) = process.worker();
    let text = long_text("x");
    process.wait(&process.submit(vec![input("kept", "one")]).await).await;
    for round in 0..20 {
        let first = process.submit(vec![in_collection("a", &text, "x"), in_collection("b", "two", "x")]).await;
        let second = process.submit(vec![in_collection("c", &text, "x")]).await;
        tokio::time::sleep(Duration::from_millis(round * 4)).await;
        assert!(process.ingest.delete_collection(&name("x")).await.unwrap());
        assert!(!process.ingest.delete_collection(&name("x")).await.unwrap());
        assert_eq!(process.ingest.collection(&name("x")).await.unwrap(), None, "round {round}");
        for submission in [&first, &second] {
            assert!(process.wait(submission).await.status.is_final());
        }
        idle(&process).await;
        assert!(!process.database.exists(&name("x")).await.unwrap(), "round {round}");
    }
    process.assert_whole(&[("kept", "one")]).await;
    let names = process.ingest.collections(10, None).await.unwrap();
    assert_eq!(names.data.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["default"]);
    assert!(process.ingest.create_collection(&name("x")).await.unwrap());
    assert!(!process.ingest.create_collection(&name("x")).await.unwrap());
    stop.cancel();
    worker.await.unwrap().unwrap();
}
