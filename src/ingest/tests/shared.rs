//! Several processes on stores that they share by leases.

use super::*;
use crate::catalogue::TaskStatus;
use crate::neighbours::DatabaseError;

async fn replicas<const N: usize>(place: &Place, delay: Duration) -> [(Process, FakeEmbedder); N] {
    let mut replicas = Vec::with_capacity(N);
    for _ in 0..N {
        let embedder = FakeEmbedder { delay, ..FakeEmbedder::default() };
        replicas.push((Process::start_at(place, embedder.clone()).await, embedder));
    }
    replicas.try_into().unwrap_or_else(|_| unreachable!())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_of_all_replicas_take_part_and_each_document_is_there_once() {
    let Some(place) = Place::postgres() else { return };
    let replicas: [_; 3] = replicas(&place, Duration::from_millis(20)).await;
    let texts: Vec<(String, String)> = (0..400).map(|number| (format!("d{number:03}"), long_text(&number.to_string()))).collect();
    let documents = texts.iter().map(|(name, text)| input(name, text)).collect();
    let submission = replicas[0].0.submit(documents).await;
    let workers: Vec<_> = replicas.iter().map(|(process, _)| process.worker()).collect();
    assert_eq!(replicas[1].0.wait(&submission).await.status, TaskStatus::Succeeded);
    for (number, (_, embedder)) in replicas.iter().enumerate() {
        assert!(embedder.calls.load(Ordering::SeqCst) > 0, "replica {number} took part");
    }
    let calls: usize = replicas.iter().map(|(_, embedder)| embedder.calls.load(Ordering::SeqCst)).sum();
    let alone = texts.len() * 60 / 64;
    assert!(calls < alone * 2, "{calls} calls: nothing was embedded by all");
    let expected: Vec<_> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    replicas[2].0.assert_whole(&expected).await;
    for (stop, worker) in workers {
        stop.cancel();
        worker.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_a_worker_that_died_are_taken_over() {
    let Some(place) = Place::postgres() else { return };
    let [(dead, _), (alive, _)] = replicas(&place, Duration::ZERO).await;
    dead.catalogue.take_lease("worker/dead", "test").await.unwrap().unwrap();
    let submission = dead.submit(vec![input("a", "one"), input("b", "two")]).await;
    let claimed = dead.catalogue.claim_queued("worker/dead", false, &[], 10, 1 << 20).await.unwrap();
    assert_eq!(claimed.len(), 2);
    let (stop, worker) = alive.worker();
    alive.wait(&alive.submit(vec![input("c", "three")]).await).await;
    assert_eq!(alive.ingest.task(submission.task.id).await.unwrap().unwrap().status, TaskStatus::Running, "they are not its own");
    alive.catalogue.end_leases().await;
    assert_eq!(alive.wait(&submission).await.status, TaskStatus::Succeeded);
    alive.assert_whole(&[("a", "one"), ("b", "two"), ("c", "three")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_stopped_for_longer_than_its_lease_writes_nothing_more() {
    let Some(place) = Place::postgres() else { return };
    let [(stopped, _), (other, _)] = replicas(&place, Duration::ZERO).await;
    let (old, new) = (long_text("old"), long_text("new"));
    stopped.submit(vec![input("a", &old)]).await;
    let guard = stopped.ingest.inner.changes.hold().await.unwrap();
    let queued = stopped.catalogue.take_queued(None, &[], 10, 1 << 20).await.unwrap();
    stopped.catalogue.begin_write(&[&queued[0]]).await.unwrap();
    let prepared = stopped.ingest.prepare(queued, &CancellationToken::new()).await.unwrap().remove(0);
    // Here it stops, and its time passes.
    other.catalogue.end_leases().await;
    let submission = other.submit(vec![input("a", &new)]).await;
    let (stop, worker) = other.worker();
    assert_eq!(other.wait(&submission).await.status, TaskStatus::Succeeded);
    // Here it goes on.
    let documents = vec![(id("a"), prepared.entries.clone().unwrap())];
    let written = guard.over(&stopped.database).replace_documents(&CollectionName::default(), documents, true).await;
    assert!(matches!(written, Err(DatabaseError::NoLeave { .. })), "{written:?}");
    let written = stopped.ingest.write_held(&guard, &[prepared]).await;
    assert!(written.unwrap().is_empty(), "what is there is not what it had, so it has nothing to write");
    other.assert_whole(&[("a", &new)]).await;
    drop(guard);
    other.wait(&other.submit(vec![input("b", "two")]).await).await;
    other.assert_whole(&[("a", &new), ("b", "two")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_replicas_follow_one_another() {
    let Some(place) = Place::postgres() else { return };
    let [(one, _), (other, _)] = replicas(&place, Duration::ZERO).await;
    for round in 0..5 {
        let guard = one.ingest.inner.changes.hold().await.unwrap();
        let ingest = other.ingest.clone();
        let name = CollectionName::parse("collection", &format!("c{round}")).unwrap();
        let creation = tokio::spawn({
            let name = name.clone();
            async move { ingest.create_collection(&name).await }
        });
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(!creation.is_finished());
        drop(guard);
        assert!(creation.await.unwrap().unwrap());
        assert!(one.ingest.has_collection(&name).await.unwrap());
        assert!(one.ingest.delete_collection(&name).await.unwrap());
        assert!(!other.ingest.has_collection(&name).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_and_reindexing_are_one_replicas_at_a_time() {
    let Some(place) = Place::postgres() else { return };
    let [(one, _), (other, _)] = replicas(&place, Duration::ZERO).await;
    let held = one.ingest.inner.upkeep.try_hold().await.unwrap();
    assert!(held.is_some());
    assert!(one.ingest.inner.upkeep.try_hold().await.unwrap().is_none());
    assert!(other.ingest.inner.upkeep.try_hold().await.unwrap().is_none());
    drop(held);
    other.ingest.inner.upkeep.hold().await.unwrap();

    let uri = place.path().join("lance").to_string_lossy().into_owned();
    let reindex = async |process: &Process, folder: &str| {
        let lock = place.path().join(folder).join("writer.lock");
        Reindex::new(uri.clone(), identity("other"), process.catalogue.clone(), tokenizer(), FakeEmbedder::default(), &lock).await
    };
    let running = reindex(&one, "a").await.unwrap();
    assert!(matches!(reindex(&other, "b").await, Err(IngestError::ReindexRuns)));
    drop(running);
}
