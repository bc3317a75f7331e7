use super::*;
use crate::catalogue::{DocumentStatus, Outcome, TaskDocuments, TaskStatus};

#[tokio::test(flavor = "multi_thread")]
async fn submitted_documents_become_searchable_and_give_their_text_back() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (long, quoted) = (long_text("a"), "It's \"quoted\" -- '; DROP TABLE default;");
    let mut second = input("b", quoted);
    second.title = Some(quoted.to_owned());
    second.metadata = Some(serde_json::from_str(r#"{"it's": "\"'"}"#).unwrap());
    let submission = process.submit(vec![input("a", &long), second]).await;
    assert_eq!(process.ingest.document_text(&id("a")).await.unwrap().as_deref(), Some(long.as_str()));
    let (stop, worker) = process.worker();
    let task = process.wait(&submission).await;
    assert_eq!(task.status, TaskStatus::Succeeded, "{task:?}");
    assert_eq!(task.documents, TaskDocuments { total: 2, ready: 2, failed: 0 });
    process.assert_whole(&[("a", &long), ("b", quoted)]).await;

    let chunks = process.ingest.document_chunks(&id("a")).await.unwrap().unwrap();
    let found =
        process.database.search(vec![vector(&chunks[1].text)], &SearchOptions::new(CollectionName::default(), 1)).await.unwrap();
    let nearest = &found.neighbours[0][0];
    assert_eq!((nearest.document_id.as_str(), nearest.chunk_index, nearest.distance), ("a", 1, 0.0));
    assert_eq!((&nearest.continuation, &nearest.continuation_tokens), (&chunks[2].text, &chunks[2].tokens));
    let found = process.database.search(vec![vector(quoted)], &SearchOptions::new(CollectionName::default(), 1)).await.unwrap();
    assert_eq!((found.neighbours[0][0].title.as_str(), found.neighbours[0][0].continuation.as_str()), (quoted, ""));
    assert_eq!(found.neighbours[0][0].metadata["it's"], "\"'");
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_be_embedded_fails_alone_and_leaves_its_earlier_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = process.worker();
    let first = process.submit(vec![input("a", "one"), input("b", "two")]).await;
    process.wait(&first).await;
    let second = process.submit(vec![input("a", "three"), input("b", "poison"), input("c", "four")]).await;
    let task = process.wait(&second).await;
    assert_eq!((task.status, task.documents), (TaskStatus::Failed, TaskDocuments { total: 3, ready: 2, failed: 1 }));
    assert!(task.error.unwrap().contains("1 of 3 documents failed, the first being b:"));
    let failed = process.ingest.document(&id("b")).await.unwrap().unwrap();
    assert_eq!(failed.status, DocumentStatus::Failed);
    assert!(failed.error.unwrap().contains("poison"));
    assert_eq!(process.ingest.document_text(&id("b")).await.unwrap().as_deref(), Some("poison"));
    assert_eq!(process.ingest.document_chunks(&id("b")).await.unwrap().unwrap()[0].text, "two");
    let third = process.submit(vec![input("b", "five")]).await;
    assert_eq!(process.wait(&third).await.status, TaskStatus::Succeeded);
    process.assert_whole(&[("a", "three"), ("b", "five"), ("c", "four")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_panics_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), FakeEmbedder { panics: 1, ..FakeEmbedder::default() }).await;
    let (stop, worker) = process.worker();
    let submission = process.submit(vec![input("a", "one"), input("b", "two")]).await;
    assert_eq!(process.wait(&submission).await.status, TaskStatus::Succeeded);
    process.assert_whole(&[("a", "one"), ("b", "two")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_without_its_table_is_not_searched_as_if_it_were_empty() {
    let folder = tempfile::tempdir().unwrap();
    let (default, other) = (CollectionName::default(), CollectionName::parse("collection", "other").unwrap());
    let process = Process::start(folder.path(), FakeEmbedder::default()).await;
    assert!(process.ingest.can_search(&default).await.unwrap(), "it is empty, and nothing is lost");
    assert!(!process.ingest.can_search(&other).await.unwrap());
    let (stop, worker) = process.worker();
    process.wait(&process.submit(vec![input("a", "one")]).await).await;
    assert!(process.ingest.can_search(&default).await.unwrap());
    stop.cancel();
    worker.await.unwrap().unwrap();
    let table = folder.path().join("lance/default.lance");
    std::fs::rename(&table, folder.path().join("aside")).unwrap();
    let error = process.ingest.can_search(&default).await.unwrap_err().to_string();
    assert!(error.contains("default") && error.contains("its table is gone"), "{error}");

    let (stop, worker) = process.worker();
    let (waits, goes_on) = (process.submit(vec![input("b", "two")]).await, input("c", "three"));
    let goes_on = process.submit(vec![DocumentInput { collection: Some("other".to_owned()), ..goes_on }]).await;
    process.wait(&goes_on).await;
    assert!(!table.exists(), "no other table is in its place");
    std::fs::rename(folder.path().join("aside"), &table).unwrap();
    assert_eq!(process.wait(&waits).await.status, TaskStatus::Succeeded);
    assert!(process.ingest.can_search(&default).await.unwrap());
    assert_eq!(process.database.stats(&default).await.unwrap().chunks, 2);
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_moves_leaves_no_chunk_behind() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = process.worker();
    process.wait(&process.submit(vec![input("a", "one"), input("b", "two")]).await).await;
    let moved = DocumentInput { collection: Some("other".to_owned()), ..input("a", "three") };
    process.wait(&process.submit(vec![moved]).await).await;
    process.assert_whole(&[("b", "two")]).await;
    let other = CollectionName::parse("collection", "other").unwrap();
    assert_eq!(process.database.stats(&other).await.unwrap().chunks, 1);
    assert_eq!(process.ingest.document_text(&id("a")).await.unwrap().as_deref(), Some("three"));
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_document_can_be_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), FakeEmbedder::default()).await;
    let submission = process.submit(vec![input("a", "one")]).await;
    assert!(process.ingest.delete(&id("a")).await.unwrap());
    assert!(!process.ingest.delete(&id("a")).await.unwrap());
    assert_eq!(process.wait(&submission).await.status, TaskStatus::Canceled);
    assert_eq!(process.ingest.document_text(&id("a")).await.unwrap(), None);
    let (stop, worker) = process.worker();
    process.wait(&process.submit(vec![input("b", "two")]).await).await;
    process.assert_whole(&[("b", "two")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_waits_for_the_write_at_hand_and_leaves_no_chunk_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let writer = Process::start(folder.path(), FakeEmbedder::default()).await;
    let other = Process::start(folder.path(), FakeEmbedder::default()).await;
    for process in [&writer, &other] {
        writer.submit(vec![input("a", "one")]).await;
        let guard = writer.ingest.inner.changes.hold().await.unwrap();
        let queued = writer.catalogue.take_queued(None, &[], 10, 1000).await.unwrap();
        writer.catalogue.begin_write(&[&queued[0]]).await.unwrap();
        let ingest = process.ingest.clone();
        let deletion = tokio::spawn(async move { ingest.delete(&id("a")).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!deletion.is_finished());
        let prepared = writer.ingest.prepare(queued, &CancellationToken::new()).await.unwrap().remove(0);
        let documents = vec![(id("a"), prepared.entries.unwrap())];
        writer.database.replace_documents(&CollectionName::default(), documents, true).await.unwrap();
        writer.catalogue.finish(&[(&prepared.document, Outcome::Ready { chunks: 1, tokens: 1 })]).await.unwrap();
        drop(guard);
        assert!(deletion.await.unwrap().unwrap());
        writer.assert_whole(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_deletion_no_search_sees_a_chunk_whatever_the_worker_was_doing() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = process.worker();
    let text = long_text("x");
    for round in 0..25 {
        let submission = process.submit(vec![input("a", &text)]).await;
        tokio::time::sleep(Duration::from_millis(round * 4)).await;
        assert!(process.ingest.delete(&id("a")).await.unwrap());
        let found =
            process.database.search(vec![vector("any")], &SearchOptions::new(CollectionName::default(), 16)).await.unwrap();
        assert!(found.neighbours[0].is_empty(), "round {round}");
        assert!(process.wait(&submission).await.status.is_final());
    }
    process.wait(&process.submit(vec![input("b", "two")]).await).await;
    process.assert_whole(&[("b", "two")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_of_many_submissions_wins_and_all_tasks_end() {
    let folder = tempfile::tempdir().unwrap();
    let process =
        Process::start(folder.path(), FakeEmbedder { delay: Duration::from_millis(5), ..FakeEmbedder::default() }).await;
    let (stop, worker) = process.worker();
    let mut submissions = Vec::new();
    for round in 0..20 {
        submissions.push(process.submit(vec![input("a", &long_text(&format!("round {round}")))]).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for submission in &submissions {
        assert_eq!(process.wait(submission).await.status, TaskStatus::Succeeded);
    }
    process.assert_whole(&[("a", &long_text("round 19"))]).await;
    assert_eq!(process.ingest.document(&id("a")).await.unwrap().unwrap().revision, 20);
    stop.cancel();
    worker.await.unwrap().unwrap();
}
