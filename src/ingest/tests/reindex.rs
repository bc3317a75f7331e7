use tokio::sync::Semaphore;

use super::*;
use crate::catalogue::{DocumentStatus, TaskStatus};
use crate::neighbours::{DatabaseError, Source};

/// An embedder that gives a permit at each call, and takes one before it goes on.
#[derive(Clone)]
struct Gated {
    reached: Arc<Semaphore>,
    gate: Arc<Semaphore>,
}

impl Gated {
    fn new() -> Self {
        Self { reached: Arc::new(Semaphore::new(0)), gate: Arc::new(Semaphore::new(0)) }
    }
}

#[async_trait]
impl Embed for Gated {
    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, String> {
        self.reached.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        FakeEmbedder::default().embed(texts).await
    }
}

async fn reindex(process: &Process, folder: &Path, embedder: impl Embed + 'static) -> Reindex {
    let uri = folder.join("lance").to_string_lossy().into_owned();
    Reindex::new(uri, identity("other"), process.catalogue.clone(), tokenizer(), embedder, &folder.join("writer.lock"))
        .await
        .unwrap()
}

async fn run(reindex: &Reindex, stop: &CancellationToken) -> Result<Reindexed, IngestError> {
    reindex.run(&CollectionName::default(), stop, &|_| {}).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_made_anew_with_the_texts_and_counts_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let old = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = old.worker();
    let texts: Vec<String> = (0..150).map(|number| long_text(&number.to_string())).collect();
    let documents: Vec<_> = texts.iter().enumerate().map(|(number, text)| input(&format!("d{number}"), text)).collect();
    old.wait(&old.submit(documents).await).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    // Counts of another tokenizer.
    old.catalogue.recount(&CollectionName::default(), &[(&id("d7"), 1, 1)]).await.unwrap();

    let reindex = reindex(&old, folder.path(), FakeEmbedder::default()).await;
    let never = CancellationToken::new();
    let chunks = old.database.stats(&CollectionName::default()).await.unwrap().chunks;
    assert_eq!(run(&reindex, &never).await.unwrap(), Reindexed::Anew { documents: 150, chunks });
    assert!(!folder.path().join("reindex").exists());
    assert!(matches!(
        old.database.search(vec![vector("x")], &SearchOptions::new(CollectionName::default(), 1)).await,
        Err(DatabaseError::MadeAnew { .. })
    ));
    let new = Process::start_as(folder.path(), FakeEmbedder::default(), "other").await;
    let expected: Vec<_> = texts.iter().enumerate().map(|(number, text)| (format!("d{number}"), text.as_str())).collect();
    new.assert_whole(&expected.iter().map(|(id, text)| (id.as_str(), *text)).collect::<Vec<_>>()).await;

    old.catalogue.recount(&CollectionName::default(), &[(&id("d7"), 1, 1)]).await.unwrap();
    assert_eq!(run(&reindex, &never).await.unwrap(), Reindexed::Current, "it goes no second time");
    assert!(new.ingest.document(&id("d7")).await.unwrap().unwrap().chunks > 1, "but the counts are mended");
    let elsewhere = CollectionName::parse("collection", "elsewhere").unwrap();
    let error = reindex.run(&elsewhere, &never, &|_| {}).await.unwrap_err();
    assert!(matches!(error, IngestError::NoCollection(_)));
    assert!(matches!(
        Reindex::new(
            String::new(),
            identity("other"),
            old.catalogue.clone(),
            tokenizer(),
            FakeEmbedder::default(),
            &folder.path().join("writer.lock")
        )
        .await,
        Err(IngestError::ReindexRuns)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_meanwhile_is_made_anew_too() {
    let folder = tempfile::tempdir().unwrap();
    let old = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = old.worker();
    let text = long_text("x");
    let documents = ["stays", "changes", "goes"].map(|name| input(name, &text)).into();
    old.wait(&old.submit(documents).await).await;
    let gated = Gated::new();
    let reindex = reindex(&old, folder.path(), gated.clone()).await;
    let running = tokio::spawn(async move { run(&reindex, &CancellationToken::new()).await });
    // The old collection was looked at by now.
    gated.reached.acquire().await.unwrap().forget();
    let changed = long_text("changed");
    old.wait(&old.submit(vec![input("changes", &changed), input("comes", "new")]).await).await;
    assert!(old.ingest.delete(&id("goes")).await.unwrap());
    let found = old.database.search(vec![vector("new")], &SearchOptions::new(CollectionName::default(), 1)).await.unwrap();
    assert_eq!(found.neighbours[0][0].document_id, id("comes"), "the old one serves");
    gated.gate.add_permits(1000);
    assert!(matches!(running.await.unwrap().unwrap(), Reindexed::Anew { documents: 3, .. }));

    // The worker that has the old embedder leaves documents to one that has the new one.
    let late = old.submit(vec![input("late", "too late")]).await;
    while old.ingest.task(late.task.id).await.unwrap().unwrap().status != TaskStatus::Running {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    worker.await.unwrap().unwrap();
    assert_eq!(old.ingest.document(&id("late")).await.unwrap().unwrap().status, DocumentStatus::Pending);
    let new = Process::start_as(folder.path(), FakeEmbedder::default(), "other").await;
    let (stop, worker) = new.worker();
    new.wait(&late).await;
    new.assert_whole(&[("stays", &text), ("changes", &changed), ("comes", "new"), ("late", "too late")]).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_or_a_failure_leaves_the_collection_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let old = Process::start(folder.path(), FakeEmbedder::default()).await;
    let (stop, worker) = old.worker();
    let text = long_text("x");
    old.wait(&old.submit(vec![input("a", &text)]).await).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    let before = old.database.stats(&CollectionName::default()).await.unwrap();

    let gated = Gated::new();
    let stopped = reindex(&old, folder.path(), gated.clone()).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { run(&stopped, &stop).await }
    });
    gated.reached.acquire().await.unwrap().forget();
    stop.cancel();
    gated.gate.add_permits(1000);
    assert_eq!(running.await.unwrap().unwrap(), Reindexed::Stopped);

    struct Failing;
    #[async_trait]
    impl Embed for Failing {
        async fn embed(&self, _: Vec<String>) -> Result<Vec<Vec<f32>>, String> {
            Err("no more memory".to_owned())
        }
    }
    let error = run(&reindex(&old, folder.path(), Failing).await, &CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.contains("document a ") && error.contains("no more memory") && error.contains("as it was"), "{error}");
    assert!(!folder.path().join("reindex").exists());
    assert_eq!(old.database.stats(&CollectionName::default()).await.unwrap(), before);
    let source = Source::open(folder.path().join("lance").to_str().unwrap(), &CollectionName::default()).await.unwrap().unwrap();
    assert_eq!(*source.identity(), identity("fake"));
    old.assert_whole(&[("a", &text)]).await;
}
