//! The promise of a 202, tested with `kill -9`.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::support::{Process, eventually, get};

const DOCUMENTS: usize = 300;
const KILLS: usize = 30;
/// Requests at the same time.
const CLIENTS: usize = 4;

/// A text of one to some chunks, with characters of one to four bytes.
fn text(random: &mut ChaCha8Rng, id: usize) -> String {
    const WORDS: [&str; 12] = ["tide", "orchard", "Grüße", "字", "😀", "\n\n", "1984", "granite", "ein", "—", "voyage", "C3PO"];
    let words: Vec<_> = (0..random.random_range(5..400)).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect();
    format!("Document {id}: {}", words.join(" "))
}

/// Posts documents until one request fails, which a kill does to it. Gives back those that were answered with 202.
async fn post_until_killed(url: &str, queue: &tokio::sync::Mutex<VecDeque<(String, String)>>) -> Vec<String> {
    let client = reqwest::Client::new();
    let mut accepted = Vec::new();
    loop {
        let Some((id, text)) = queue.lock().await.pop_front() else { return accepted };
        let sent = client.post(format!("{url}/v1/documents")).json(&json!({"id": id, "text": text})).send().await;
        match sent {
            Ok(response) => {
                assert_eq!(response.status(), 202);
                accepted.push(id);
            }
            Err(_) => {
                // Nothing was promised; the same is sent again later, whether it had arrived or not.
                queue.lock().await.push_back((id, text));
                return accepted;
            }
        }
    }
}

async fn post_from_all(url: &str, queue: &tokio::sync::Mutex<VecDeque<(String, String)>>) -> Vec<String> {
    let clients = (0..CLIENTS).map(|_| post_until_killed(url, queue));
    futures::future::join_all(clients).await.concat()
}

#[tokio::test]
async fn a_crash_loses_nothing_and_doubles_nothing() {
    let seed = std::env::var("RETRO_TEST_SEED").map_or_else(
        |_| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs(),
        |seed| seed.parse().expect("RETRO_TEST_SEED is a number"),
    );
    println!("seed {seed}; RETRO_TEST_SEED={seed} repeats it");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let texts: BTreeMap<String, String> = (0..DOCUMENTS).map(|n| (format!("crash-{n:03}"), text(&mut random, n))).collect();
    let data = tempfile::tempdir().unwrap();

    let (mut accepted, mut kills_in_posting) = (Vec::new(), 0);
    let mut waiting: VecDeque<_> = texts.clone().into_iter().collect();
    for round in 0..KILLS {
        let server = Process::serve(data.path(), &[]);
        // Shares, so that each kill falls into the posting or into the work after it.
        let share: VecDeque<_> = waiting.drain(..waiting.len().div_ceil(KILLS - round + 1)).collect();
        let share = tokio::sync::Mutex::new(share);
        // Soon more often than late: the posting takes some tens of milliseconds, the work after it some hundreds.
        let life = Duration::from_millis((400.0 * random.random::<f64>().powi(3)) as u64);
        let posting = post_from_all(&server.url, &share);
        let killing = async {
            tokio::time::sleep(life).await;
            server.signal(libc::SIGKILL);
        };
        let (answered, ()) = tokio::join!(posting, killing);
        server.wait();
        accepted.extend(answered);
        let unsent = share.into_inner();
        kills_in_posting += usize::from(!unsent.is_empty());
        waiting.extend(unsent);
    }
    println!(
        "{} of {DOCUMENTS} documents accepted before the last kill; {kills_in_posting} of {KILLS} kills hit a request",
        accepted.len()
    );

    let server = Process::serve(data.path(), &[]);
    let rest = tokio::sync::Mutex::new(waiting);
    accepted.extend(post_from_all(&server.url, &rest).await);
    accepted.sort();
    accepted.dedup();
    assert_eq!(accepted.len(), DOCUMENTS);

    let documents = eventually("all documents ready", || async {
        let documents = all_documents(&server.url).await;
        documents.iter().all(|document| document["status"] != "pending").then_some(documents)
    })
    .await;
    let mut listed: Vec<_> = documents.iter().map(|document| document["id"].as_str().unwrap().to_owned()).collect();
    listed.sort();
    assert_eq!(listed, accepted, "each document is there, and once");
    let mut chunks = 0;
    for document in &documents {
        let id = document["id"].as_str().unwrap();
        assert_eq!(document["status"], "ready", "{document}");
        let shown = get(&server.url, &format!("/v1/documents/{id}?text=true")).await.ok();
        assert_eq!(shown["text"].as_str().unwrap(), texts[id], "the chunks of {id} make up its text");
        chunks += document["chunks"].as_u64().unwrap();
    }
    let info = get(&server.url, "/v1/info").await.ok();
    assert_eq!(info["collections"][0]["chunks"], chunks, "no chunk is there twice, and none is left over");
}

async fn all_documents(url: &str) -> Vec<Value> {
    let (mut documents, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(url, &format!("/v1/documents?limit=100{cursor}")).await.ok();
        documents.extend(page["data"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return documents,
        }
    }
}
