use super::testing::{Place, on_both};
use super::*;
use crate::names::{CollectionName, DocumentId};

fn id(text: &str) -> DocumentId {
    DocumentId::parse("id", text).unwrap()
}

pub(super) fn record(name: &str, text: &str) -> NewRecord {
    NewRecord {
        id: id(name),
        collection: CollectionName::default(),
        title: "It's a 'title'".to_owned(),
        source: "\"; --".to_owned(),
        metadata: serde_json::from_str(r#"{"a'": "b\""}"#).unwrap(),
        text: text.to_owned(),
        sha256: "0".repeat(64),
        content_hash: format!("hash of {text}"),
    }
}

fn ready() -> Outcome {
    Outcome::Ready { chunks: 2, tokens: 100 }
}

async fn task(catalogue: &Catalogue, task: &Task) -> (TaskStatus, u64, u64) {
    let task = catalogue.task(task.id).await.unwrap().unwrap();
    (task.status, task.documents.ready, task.documents.failed)
}

on_both! {
    a_document_goes_from_pending_to_ready,
    an_interrupted_write_is_not_fresh_the_next_time,
    a_newer_submission_supersedes_and_settles_both_tasks,
    a_failed_document_says_why_and_keeps_its_text,
    a_removal_withdraws_the_text_and_is_remembered,
    a_ready_document_is_known_by_the_hash_of_its_content,
    what_was_submitted_with_a_key_is_submitted_once,
    keys_are_forgotten_after_a_day_and_beyond_a_number,
    a_batch_is_bounded_by_bytes_and_never_empty,
    a_list_is_read_page_by_page_while_it_changes,
    several_processes_may_begin_the_same_catalogue,
}

async fn a_document_goes_from_pending_to_ready(place: &Place) {
    let catalogue = place.catalogue().await;
    assert!(!catalogue.has_work().await.unwrap());
    let submitted = catalogue.submit(&[record("a", "one"), record("b", "two")]).await.unwrap();
    assert_eq!(submitted.status, TaskStatus::Queued);
    assert_eq!(submitted.documents, TaskDocuments { total: 2, ready: 0, failed: 0 });
    let pending = catalogue.document(&id("a")).await.unwrap().unwrap();
    assert_eq!((pending.status, pending.bytes, pending.revision), (DocumentStatus::Pending, 3, 1));
    assert_eq!((pending.title.as_str(), pending.metadata["a'"].as_str().unwrap()), ("It's a 'title'", "b\""));
    assert!(catalogue.has_work().await.unwrap());

    let queued = catalogue.take_queued(None, &[], 10, 1000).await.unwrap();
    assert_eq!(queued.iter().map(|document| document.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(task(&catalogue, &submitted).await, (TaskStatus::Running, 0, 0));
    let tickets = catalogue.begin_write(&queued.iter().collect::<Vec<_>>()).await.unwrap();
    assert!(tickets.iter().all(|ticket| ticket.fresh && ticket.elsewhere.is_empty()));
    catalogue.finish(&[(&queued[0], ready())]).await.unwrap();
    assert_eq!(task(&catalogue, &submitted).await, (TaskStatus::Running, 1, 0));
    catalogue.finish(&[(&queued[1], ready())]).await.unwrap();
    let ended = catalogue.task(submitted.id).await.unwrap().unwrap();
    assert_eq!(ended.status, TaskStatus::Succeeded);
    assert!(ended.started_at.unwrap() <= ended.finished_at.unwrap());
    let document = catalogue.document(&id("a")).await.unwrap().unwrap();
    assert_eq!((document.status, document.chunks, document.tokens), (DocumentStatus::Ready, 2, 100));
    assert_eq!(catalogue.waiting_text(&id("a")).await.unwrap(), None);
    assert!(!catalogue.has_work().await.unwrap());
    let counts = catalogue.count_documents(Some(&CollectionName::default())).await.unwrap();
    assert_eq!(counts, DocumentCounts { pending: 0, ready: 2, failed: 0 });
}

async fn an_interrupted_write_is_not_fresh_the_next_time(place: &Place) {
    let before = place.catalogue().await;
    before.submit(&[record("a", "one")]).await.unwrap();
    let queued = before.take_queued(None, &[], 10, 1000).await.unwrap();
    assert!(before.begin_write(&[&queued[0]]).await.unwrap()[0].fresh);
    before.close().await;

    let after = place.catalogue().await;
    let queued = after.take_queued(None, &[], 10, 1000).await.unwrap();
    assert!(!after.begin_write(&[&queued[0]]).await.unwrap()[0].fresh);
    let elsewhere = NewRecord { collection: CollectionName::parse("c", "other").unwrap(), ..record("a", "two") };
    after.submit(&[elsewhere]).await.unwrap();
    let queued = after.take_queued(None, &[], 10, 1000).await.unwrap();
    let ticket = after.begin_write(&[&queued[0]]).await.unwrap().remove(0);
    assert_eq!((ticket.fresh, ticket.elsewhere), (true, vec![CollectionName::default()]));
    after.finish(&[(&queued[0], ready())]).await.unwrap();
    assert_eq!(after.placements(&id("a")).await.unwrap(), [CollectionName::parse("c", "other").unwrap()]);
}

async fn a_newer_submission_supersedes_and_settles_both_tasks(place: &Place) {
    let catalogue = place.catalogue().await;
    let first = catalogue.submit(&[record("a", "old"), record("b", "b")]).await.unwrap();
    let taken = catalogue.take_queued(None, &[], 10, 1000).await.unwrap();
    let second = catalogue.submit(&[record("a", "new")]).await.unwrap();
    let tickets = catalogue.begin_write(&taken.iter().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(tickets.iter().map(|ticket| ticket.seq).collect::<Vec<_>>(), [taken[1].seq], "the old text is not written");
    catalogue.finish(&[(&taken[0], ready()), (&taken[1], ready())]).await.unwrap();
    assert_eq!(catalogue.document(&id("a")).await.unwrap().unwrap().status, DocumentStatus::Pending);
    assert_eq!(task(&catalogue, &first).await, (TaskStatus::Running, 1, 0));

    let taken = catalogue.take_queued(None, &[], 10, 1000).await.unwrap();
    assert_eq!(taken.iter().map(|document| document.text.as_str()).collect::<Vec<_>>(), ["new"]);
    catalogue.begin_write(&[&taken[0]]).await.unwrap();
    catalogue.finish(&[(&taken[0], ready())]).await.unwrap();
    assert_eq!(task(&catalogue, &first).await, (TaskStatus::Succeeded, 2, 0));
    assert_eq!(task(&catalogue, &second).await, (TaskStatus::Succeeded, 1, 0));
    assert_eq!(catalogue.document(&id("a")).await.unwrap().unwrap().revision, 2);
}

async fn a_failed_document_says_why_and_keeps_its_text(place: &Place) {
    let catalogue = place.catalogue().await;
    let submitted = catalogue.submit(&[record("a", "one"), record("b", "two")]).await.unwrap();
    let taken = catalogue.take_queued(None, &[], 10, 1000).await.unwrap();
    let failed = Outcome::Failed { reason: "no vectors".to_owned() };
    catalogue.finish(&[(&taken[0], failed), (&taken[1], ready())]).await.unwrap();
    let task = catalogue.task(submitted.id).await.unwrap().unwrap();
    assert_eq!(task.status, TaskStatus::Failed);
    assert_eq!(task.error.as_deref(), Some("1 of 2 documents failed, the first being a: no vectors"));
    let document = catalogue.document(&id("a")).await.unwrap().unwrap();
    assert_eq!((document.status, document.error.as_deref()), (DocumentStatus::Failed, Some("no vectors")));
    assert_eq!(catalogue.waiting_text(&id("a")).await.unwrap().as_deref(), Some("one"));
    assert!(!catalogue.has_work().await.unwrap(), "what failed is not tried for ever");
}

async fn a_removal_withdraws_the_text_and_is_remembered(place: &Place) {
    let before = place.catalogue().await;
    let submitted = before.submit(&[record("a", "one")]).await.unwrap();
    let taken = before.take_queued(None, &[], 10, 1000).await.unwrap();
    before.begin_write(&[&taken[0]]).await.unwrap();
    assert!(!before.begin_removal(&id("b")).await.unwrap());
    assert!(before.begin_removal(&id("a")).await.unwrap());
    assert_eq!(task(&before, &submitted).await, (TaskStatus::Canceled, 0, 0));
    assert_eq!(before.document(&id("a")).await.unwrap(), None);
    before.finish(&[(&taken[0], ready())]).await.unwrap();
    assert!(before.documents(None, 10, None).await.unwrap().data.is_empty());
    before.close().await;

    let after = place.catalogue().await;
    assert!(after.has_work().await.unwrap());
    assert_eq!(after.promised_removals().await.unwrap(), [id("a")]);
    assert_eq!(after.placements(&id("a")).await.unwrap(), [CollectionName::default()]);
    after.submit(&[record("a", "again")]).await.unwrap();
    after.finish_removals(&[id("a")]).await.unwrap();
    let document = after.document(&id("a")).await.unwrap().unwrap();
    assert_eq!((document.status, document.revision), (DocumentStatus::Pending, 1), "what came later stays");
    after.begin_removal(&id("a")).await.unwrap();
    after.finish_removals(&[id("a")]).await.unwrap();
    assert!(after.placements(&id("a")).await.unwrap().is_empty());
    assert!(!after.has_work().await.unwrap());
}

async fn a_ready_document_is_known_by_the_hash_of_its_content(place: &Place) {
    let catalogue = place.catalogue().await;
    let (a, b, c) = (id("a"), id("b"), id("c"));
    let ids = [&a, &b, &c];
    catalogue.submit(&[record("a", "one"), record("b", "two")]).await.unwrap();
    assert!(catalogue.ready_hashes(&ids).await.unwrap().is_empty(), "what waits may still fail");
    assert_eq!(catalogue.count_chunks(&ids).await.unwrap(), 0);
    let taken = catalogue.take_queued(None, &[], 10, 1000).await.unwrap();
    let failed = Outcome::Failed { reason: "no vectors".to_owned() };
    catalogue.finish(&[(&taken[0], ready()), (&taken[1], failed)]).await.unwrap();
    let hashes = catalogue.ready_hashes(&ids).await.unwrap();
    assert_eq!((hashes.len(), hashes[&a].as_str()), (1, "hash of one"));
    assert_eq!(catalogue.count_chunks(&ids).await.unwrap(), 2);
    catalogue.submit(&[record("a", "other")]).await.unwrap();
    assert!(catalogue.ready_hashes(&ids).await.unwrap().is_empty());
    let taken = catalogue.take_queued(None, &[], 10, 1000).await.unwrap();
    catalogue.finish(&[(&taken[0], ready())]).await.unwrap();
    assert_eq!(catalogue.ready_hashes(&ids).await.unwrap()[&a], "hash of other");
    catalogue.begin_removal(&a).await.unwrap();
    assert!(catalogue.ready_hashes(&ids).await.unwrap().is_empty());
}

fn once(owner: &str, key: &str, sent: u8) -> Once {
    Once { owner: owner.to_owned(), key: crate::names::IdempotencyKey::parse(key).unwrap(), fingerprint: [sent; 32] }
}

async fn what_was_submitted_with_a_key_is_submitted_once(place: &Place) {
    let first = place.catalogue().await;
    let task = first.submit_once(&[record("a", "one")], &once("web", "k", 1), "answer").await.unwrap().unwrap();
    // Another process, or the same one after a crash.
    let second = place.catalogue().await;
    let again = second.submit_once(&[record("b", "two")], &once("web", "k", 1), "other").await.unwrap();
    let same = Earlier::Same { task: task.clone(), answer: "answer".to_owned() };
    assert_eq!(again, Err(same.clone()));
    assert_eq!(second.submitted_before(&once("web", "k", 1)).await.unwrap(), Some(same));
    assert_eq!(second.submit_once(&[record("b", "two")], &once("web", "k", 2), "").await.unwrap(), Err(Earlier::Other));
    assert_eq!(second.document(&id("b")).await.unwrap(), None, "nothing of it was taken in");
    for other in [once("app", "k", 2), once("web", "K", 2)] {
        assert_eq!(second.submitted_before(&other).await.unwrap(), None);
        assert_ne!(second.submit_once(&[], &other, "").await.unwrap().unwrap().id, task.id);
    }
}

async fn keys_are_forgotten_after_a_day_and_beyond_a_number(place: &Place) {
    let catalogue = place.catalogue().await;
    let run = async |sql: &'static str| {
        let mut transaction = catalogue.write().await.unwrap();
        sql::query(sql).execute(&mut transaction).await.unwrap();
        transaction.commit().await.unwrap();
    };
    let known = async |key: &str| catalogue.submitted_before(&once("web", key, 1)).await.unwrap().is_some();
    for key in ["old", "new"] {
        catalogue.submit_once(&[], &once("web", key, 1), "").await.unwrap().unwrap();
    }
    run("UPDATE idempotency SET created_at = '2026-01-01T00:00:00.000000Z' WHERE key = 'old'").await;
    assert_eq!((known("old").await, known("new").await), (false, true));
    catalogue.submit_once(&[], &once("web", "old", 1), "").await.unwrap().expect("it is new again");

    run("INSERT INTO idempotency (owner, key, fingerprint, task_id, answer, created_at) \
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
         SELECT 'web', 'n' || i, fingerprint, task_id, '', created_at FROM n, idempotency WHERE key = 'old'")
    .await;
    catalogue.submit_once(&[], &once("app", "k", 1), "").await.unwrap().unwrap();
    assert!(known("new").await, "another owner's keys push none out");
    catalogue.submit_once(&[], &once("web", "last", 1), "").await.unwrap().unwrap();
    assert_eq!((known("new").await, known("old").await, known("n1").await), (false, false, false));
    assert!(known("n2").await && known("n10000").await && known("last").await);
}

async fn a_batch_is_bounded_by_bytes_and_never_empty(place: &Place) {
    let catalogue = place.catalogue().await;
    catalogue.submit(&[record("a", &"x".repeat(50)), record("b", "y"), record("c", "z")]).await.unwrap();
    let ids = |queued: Vec<QueuedDocument>| queued.into_iter().map(|document| document.id).collect::<Vec<_>>();
    assert_eq!(ids(catalogue.take_queued(None, &[], 10, 10).await.unwrap()), [id("a")]);
    assert_eq!(ids(catalogue.take_queued(None, &[], 10, 51).await.unwrap()), [id("a"), id("b")]);
    let taken = catalogue.take_queued(None, &[], 2, 1000).await.unwrap();
    let after = Some(taken[0].seq);
    assert_eq!(ids(taken), [id("a"), id("b")]);
    assert_eq!(ids(catalogue.take_queued(after, &[], 1, 1000).await.unwrap()), [id("b")]);
}

async fn a_list_is_read_page_by_page_while_it_changes(place: &Place) {
    let catalogue = place.catalogue().await;
    for names in [["e", "d"], ["c", "b"]] {
        catalogue.submit(&names.map(|name| record(name, "text"))).await.unwrap();
    }
    let other = CollectionName::parse("collection", "other").unwrap();
    catalogue.submit(&[NewRecord { collection: other.clone(), ..record("a", "text") }]).await.unwrap();
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = catalogue.documents(None, 2, cursor.as_ref()).await.unwrap();
        assert!(page.data.len() <= 2);
        seen.extend(page.data.iter().map(|document| document.id.as_str().to_owned()));
        catalogue.begin_removal(&id("e")).await.unwrap();
        match page.next_cursor {
            Some(next) => cursor = Some(Cursor::parse("cursor", &next).unwrap()),
            None => break,
        }
    }
    assert_eq!(seen, ["d", "e", "b", "c", "a"]);
    let page = catalogue.documents(Some(&other), 10, None).await.unwrap();
    assert_eq!((page.data.len(), page.next_cursor), (1, None));

    let first = catalogue.tasks(None, 2, None).await.unwrap();
    let cursor = Cursor::parse("cursor", &first.next_cursor.unwrap()).unwrap();
    let second = catalogue.tasks(None, 2, Some(&cursor)).await.unwrap();
    let times: Vec<_> = first.data.iter().chain(&second.data).map(|task| task.created_at).collect();
    assert_eq!(times.len(), 3);
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
    let never_said = ["yesterday a", "2026-01-02T03:04:05Z a\0b"].map(|text| crate::files::hex(text.as_bytes()));
    for bad in ["", "zz", "é", "20", "+1+1"].into_iter().chain(never_said.iter().map(String::as_str)) {
        assert_eq!(Cursor::parse("cursor", bad).unwrap_err().field, "cursor", "{bad:?}");
    }
}

async fn several_processes_may_begin_the_same_catalogue(place: &Place) {
    for _ in 0..5 {
        let again = place.again();
        let catalogues = futures::future::join_all((0..4).map(|_| again.catalogue())).await;
        let submitted = catalogues[0].submit(&[record("a", "one")]).await.unwrap();
        assert_eq!(catalogues[3].task(submitted.id).await.unwrap(), Some(submitted));
        catalogues[1].ping().await.unwrap();
    }
}

#[tokio::test]
async fn other_databases_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let error = Catalogue::open(folder.path(), Some("mysql://localhost/retro")).await.err().unwrap();
    assert!(error.to_string().contains("mysql"), "{error}");
    let url = format!("sqlite://{}", folder.path().join("sub/other.sqlite").display());
    Catalogue::open(folder.path(), Some(&url)).await.unwrap();
    assert!(folder.path().join("sub/other.sqlite").exists());
}

#[test]
fn records_have_the_shape_that_clients_rely_on() {
    let task = Task {
        id: uuid::Uuid::nil(),
        status: TaskStatus::Queued,
        documents: TaskDocuments { total: 1, ready: 0, failed: 0 },
        error: None,
        created_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        started_at: None,
        finished_at: None,
    };
    assert_eq!(
        serde_json::to_value(task).unwrap(),
        serde_json::json!({
            "id": "00000000-0000-0000-0000-000000000000", "status": "queued", "documents": {"total": 1, "ready": 0, "failed": 0},
            "error": null, "created_at": "2026-01-02T03:04:05Z", "started_at": null, "finished_at": null
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_claim_documents_of_their_own_until_their_leases_end() {
    let Some(place) = Place::postgres() else { return };
    let catalogue = place.catalogue().await;
    let records: Vec<_> = (0..40).map(|number| record(&format!("d{number:02}"), "text")).collect();
    catalogue.submit(&records).await.unwrap();
    let workers = ["worker/a", "worker/b", "worker/c", "worker/d"];
    for worker in workers {
        catalogue.take_lease(worker, "test").await.unwrap().unwrap();
    }
    let mut all = Vec::new();
    let mut claimed_by_a = 0;
    for _ in 0..3 {
        let claims = workers.map(|worker| catalogue.claim_queued(worker, true, &[], 4, 1000));
        let claims = futures::future::try_join_all(claims).await.unwrap();
        // The last eight go to those who come first.
        claimed_by_a += claims[0].len();
        for claimed in claims {
            all.extend(claimed.into_iter().map(|document| document.id.as_str().to_owned()));
        }
    }
    assert_eq!(all.len(), 40, "each once");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 40);
    assert!(catalogue.claim_queued("worker/a", true, &[], 100, 1000).await.unwrap().is_empty());
    let own = catalogue.claim_queued("worker/a", false, &[], 100, 1000).await.unwrap();
    assert_eq!(own.len(), claimed_by_a, "one that has nothing at hand begins anew with what it had");

    catalogue.end_leases().await;
    catalogue.take_lease("worker/e", "test").await.unwrap().unwrap();
    assert_eq!(catalogue.claim_queued("worker/e", true, &[], 100, 1000).await.unwrap().len(), 40, "the others are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_of_many_processes_follow_one_another() {
    let Some(place) = Place::postgres() else { return };
    let catalogues = futures::future::join_all((0..4).map(|_| place.catalogue())).await;
    let submissions = (0..40).map(|number| {
        let catalogue = &catalogues[number % catalogues.len()];
        async move {
            catalogue.submit_once(&[record("a", &number.to_string())], &once("web", &format!("k{}", number / 4), 1), "").await
        }
    });
    let taken = futures::future::try_join_all(submissions).await.unwrap();
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 10, "each key once");
    assert_eq!(catalogues[0].document(&id("a")).await.unwrap().unwrap().revision, 10);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let Some(place) = Place::postgres() else { return };
    let url = place.url().replace("retro@", "retro:secret@") + "-not";
    let error = Catalogue::open(folder.path(), Some(&url)).await.err().unwrap().to_string();
    assert!(error.contains("does not exist") && error.contains("-not") && !error.contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_told_apart_and_passes_by_itself() {
    let Some(place) = Place::postgres_alone() else { return };
    let catalogue = place.catalogue().await;
    catalogue.submit(&[record("a", "one")]).await.unwrap();
    place.stop();
    let began = std::time::Instant::now();
    assert!(catalogue.ping().await.unwrap_err().is_outage());
    assert!(catalogue.submit(&[record("b", "two")]).await.unwrap_err().is_outage());
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    // One that is started meanwhile waits for a while.
    let (url, folder) = (place.url().to_owned(), place.path().to_owned());
    let opening = tokio::spawn(async move { Catalogue::open(&folder, Some(&url)).await.map(drop) });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!opening.is_finished());
    place.go_on();
    opening.await.unwrap().unwrap();
    catalogue.submit(&[record("b", "two")]).await.unwrap();
    assert_eq!(catalogue.count_documents(None).await.unwrap().pending, 2);
}

#[tokio::test]
async fn a_catalogue_that_nobody_answers_for_is_given_up_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let error = Catalogue::open(folder.path(), Some("postgres://me:secret@127.0.0.1:1/retro")).await.err().unwrap().to_string();
    assert!(error.contains("postgres://127.0.0.1:1/retro") && error.contains("refused") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn after_a_full_disk_the_catalogue_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::open(folder.path(), None).await.unwrap();
    let mut transaction = catalogue.write().await.unwrap();
    sql::query("PRAGMA max_page_count = 1").execute(&mut transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let error = catalogue.submit(&[record("a", &"no room ".repeat(10_000))]).await.unwrap_err();
    assert!(error.is_of_room() && !error.is_outage(), "{error}");
    // What SQLite does by itself where there is no room for a commit, and sqlx does not see.
    let mut transaction = catalogue.write().await.unwrap();
    sql::query("ROLLBACK").execute(&mut transaction).await.unwrap();
    drop(transaction);
    let submitted = catalogue.submit(&[record("a", "one")]).await.unwrap();
    assert_eq!(task(&catalogue, &submitted).await, (TaskStatus::Queued, 0, 0));
    assert_eq!(catalogue.document(&id("a")).await.unwrap().unwrap().revision, 1, "the first was not taken in");
}
