use rand::{RngExt, SeedableRng};

use super::*;
use crate::catalogue::TaskStatus;

/// Runs `work` and then ends all that it has begun, at whatever point that is.
fn killed_after<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(10));
    done
}

#[test]
fn whenever_the_process_is_killed_nothing_is_lost_and_nothing_is_there_twice() {
    killed_again_and_again(&Place::sqlite());
}

#[test]
fn whenever_a_process_with_leases_is_killed_nothing_is_lost_and_nothing_is_there_twice() {
    if let Some(place) = Place::postgres() {
        killed_again_and_again(&place);
    }
}

fn killed_again_and_again(place: &Place) {
    let embedder = FakeEmbedder { delay: Duration::from_millis(2), ..FakeEmbedder::default() };
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut texts = std::collections::BTreeMap::new();
    let mut submissions = Vec::new();
    for round in 0..40 {
        let names = ["a", "b", "c", "d"].map(|name| (name, long_text(&format!("{name} in round {round}"))));
        let changed = names.into_iter().filter(|_| random.random_bool(0.4)).collect::<Vec<_>>();
        let life = Duration::from_millis(random.random_range(0..120));
        killed_after(async {
            let process = Process::start_at(place, embedder.clone()).await;
            if process.catalogue.is_shared() {
                process.catalogue.end_leases().await;
            }
            if !changed.is_empty() {
                submissions.push(process.submit(changed.iter().map(|(name, text)| input(name, text)).collect()).await);
            }
            process.worker();
            tokio::time::sleep(life).await;
        });
        texts.extend(changed);
    }
    killed_after(async {
        let process = Process::start_at(place, embedder).await;
        if process.catalogue.is_shared() {
            process.catalogue.end_leases().await;
        }
        process.worker();
        for submission in &submissions {
            assert_eq!(process.wait(submission).await.status, TaskStatus::Succeeded);
        }
        let expected: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(expected.len(), 4);
        process.assert_whole(&expected).await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_a_write_that_was_never_noted_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let text = long_text("x");
    let before = Process::start(folder.path(), FakeEmbedder::default()).await;
    let submission = before.submit(vec![input("a", &text)]).await;
    let queued = before.catalogue.take_queued(None, &[], 10, 1 << 20).await.unwrap();
    before.catalogue.begin_write(&[&queued[0]]).await.unwrap();
    let prepared = before.ingest.prepare(queued, &CancellationToken::new()).await.unwrap().remove(0);
    let mut entries = prepared.entries.unwrap();
    entries.push(crate::neighbours::Entry { chunk_index: 99, ..entries[0].clone() });
    before.database.replace_documents(&CollectionName::default(), vec![(id("a"), entries)], true).await.unwrap();
    before.catalogue.close().await;

    let after = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = after.worker();
    assert_eq!(after.wait(&submission).await.status, TaskStatus::Succeeded);
    after.assert_whole(&[("a", &text)]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promised_removal_is_completed_by_the_next_worker() {
    let folder = tempfile::tempdir().unwrap();
    let before = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = before.worker();
    before.wait(&before.submit(vec![input("a", "one"), input("b", "two")]).await).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    before.catalogue.begin_removal(&id("a")).await.unwrap();
    before.catalogue.close().await;

    let after = Process::start(folder.path(), FakeEmbedder::default()).await;
    assert_eq!(after.ingest.document(&id("a")).await.unwrap(), None);
    let (stop, worker) = after.worker();
    tokio::time::timeout(Duration::from_secs(30), async {
        while after.catalogue.has_work().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the removal is completed");
    after.assert_whole(&[("b", "two")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_works_for_all_processes_and_another_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (FakeEmbedder::default(), FakeEmbedder::default());
    let a = Process::start(folder.path(), first.clone()).await;
    let b = Process::start(folder.path(), second.clone()).await;
    let (stop_a, worker_a) = a.worker();
    a.wait(&a.submit(vec![input("a", "one")]).await).await;
    let (stop_b, worker_b) = b.worker();
    let submission = b.submit(vec![input("b", "two")]).await;
    assert_eq!(b.wait(&submission).await.status, TaskStatus::Succeeded);
    assert_eq!(second.calls.load(Ordering::SeqCst), 0, "the worker of the first process did it");
    stop_a.cancel();
    worker_a.await.unwrap().unwrap();
    let submission = b.submit(vec![input("c", "three")]).await;
    assert_eq!(b.wait(&submission).await.status, TaskStatus::Succeeded);
    assert_eq!(second.calls.load(Ordering::SeqCst), 1);
    b.assert_whole(&[("a", "one"), ("b", "two"), ("c", "three")]).await;
    stop_b.cancel();
    worker_b.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_collection_fails_no_document_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let of = |collection: &str, name: &str| DocumentInput { collection: Some(collection.to_owned()), ..input(name, name) };
    let before = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = before.worker();
    before.wait(&before.submit(vec![of("bad", "a"), of("bad", "b"), input("c", "three")]).await).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    before.catalogue.close().await;
    let versions = folder.path().join("lance/bad.lance/_versions");
    let mut manifests: Vec<_> = std::fs::read_dir(&versions).unwrap().map(|entry| entry.unwrap().path()).collect();
    manifests.retain(|path| path.extension().is_some_and(|extension| extension == "manifest"));
    let whole: Vec<_> = manifests.iter().map(|path| (path, std::fs::read(path).unwrap())).collect();
    for (path, bytes) in &whole {
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }

    let after = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = after.worker();
    let waiting = after.submit(vec![of("bad", "d"), of("bad", "a")]).await;
    after.ingest.delete(&id("b")).await.unwrap_err();
    for round in 0..8 {
        let submission = after.submit(vec![input(&format!("e{round}"), "four")]).await;
        assert_eq!(after.wait(&submission).await.status, TaskStatus::Succeeded);
        assert!(after.ingest.delete(&id(&format!("e{round}"))).await.unwrap());
    }
    let task = after.ingest.task(waiting.task.id).await.unwrap().unwrap();
    assert_eq!((task.status.is_final(), task.documents.failed), (false, 0), "{task:?}");
    for (path, bytes) in &whole {
        std::fs::write(path, bytes).unwrap();
    }
    assert_eq!(after.wait(&waiting).await.status, TaskStatus::Succeeded);
    tokio::time::timeout(Duration::from_secs(30), async {
        while after.catalogue.has_work().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the removal is completed");
    let bad = CollectionName::parse("collection", "bad").unwrap();
    assert_eq!(after.database.stats(&bad).await.unwrap().chunks, 2, "a and d");
    after.assert_whole(&[("c", "three")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}
