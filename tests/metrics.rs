//! What the metrics say of what was done, and that the documents and the dashboard name what there is. Counters are a process's, so each
//! of these servers has one of its own.

use std::collections::BTreeSet;

use retro_server::metrics::ALL;
use serde_json::{Value, json};

use crate::support::{Exposition, Process, ask, eventually, get, ingest, long_stream, post, retro, root, sse};

const LAST: &str = "process_resident_memory_bytes";

fn requests(route: &str, method: &str, status: u16) -> String {
    format!(r#"retro_http_requests_total{{method="{method}",route="{route}",status="{status}"}}"#)
}

fn completions(reason: &str) -> String {
    format!(r#"retro_completions_total{{finish_reason="{reason}"}}"#)
}

#[tokio::test]
async fn completions_streams_and_errors_are_counted() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let url = server.url.as_str();
    let before = Exposition::of(url).await;
    assert_eq!(before.value("retro_http_requests_in_flight"), 1.0, "the scrape itself");

    let off = json!({"enabled": false});
    let whole = post(url, "/v1/complete", json!({"prompt": "Tea is", "max_tokens": 9, "retrieval": off})).await.ok();
    let stream = json!({"prompt": "The honey bee", "max_tokens": 7, "stream": true, "retrieval": off});
    let events = sse(url, stream).await.all().await;
    let done = &events.last().unwrap().1;
    assert_eq!(post(url, "/v1/complete", json!({"prompt": "a", "max_tokens": 0})).await.status, 422);
    assert_eq!(post(url, "/v1/complete", json!({"prompt": "a", "max_token": 1})).await.status, 422);

    // The stream's line is written after its last event has gone out.
    let after = eventually("the end of all requests", || async {
        let now = Exposition::of(url).await;
        let is_idle = now.value("retro_sequences_running") == 0.0 && now.value("retro_http_requests_in_flight") == 1.0;
        is_idle.then_some(now)
    })
    .await;
    let grew = |series: &str| after.since(&before, series);
    let number = |value: &Value| value.as_f64().unwrap();
    let of_both = |field: &str| number(&whole["usage"][field]) + number(&done["usage"][field]);
    assert_eq!(grew(&requests("/v1/complete", "POST", 200)), 2.0);
    assert_eq!(grew(&requests("/v1/complete", "POST", 422)), 2.0);
    assert_eq!(grew(r#"retro_http_request_duration_seconds_count{method="POST",route="/v1/complete"}"#), 4.0);
    assert_eq!(grew("retro_prompt_tokens_total"), of_both("prompt_tokens"));
    assert_eq!(grew("retro_completion_tokens_total"), of_both("completion_tokens"));
    assert_eq!(grew("retro_time_to_first_token_seconds_count"), 2.0);
    assert_eq!(grew("retro_inter_token_latency_seconds_count"), of_both("completion_tokens") - 2.0);
    assert_eq!(grew("retro_queue_wait_seconds_count"), 2.0);
    assert_eq!(grew("retro_step_rows_sum"), grew("retro_step_rows_count"), "one sequence at a time");
    assert!(grew("retro_step_rows_count") >= of_both("completion_tokens") - 2.0);
    let reasons = [&whole["choices"][0]["finish_reason"], &done["choices"][0]["finish_reason"]];
    for reason in ["length", "stop", "error", "canceled"] {
        let expected = reasons.iter().filter(|&&ended| ended == reason).count();
        assert_eq!(grew(&completions(reason)), expected as f64, "{reason}");
    }
    assert_eq!((after.value("retro_queue_length"), grew("retro_queue_refusals_total")), (0.0, 0.0));
    assert!(after.value("retro_sequence_slots") >= 1.0);
    assert!(
        after.samples.keys().any(|series| series.starts_with("retro_build_info{") && series.contains("model=\"retro-nano\""))
    );
    if cfg!(target_os = "linux") {
        assert!(after.value(LAST) > 1e6);
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_as_such() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let url = server.url.as_str();
    let before = Exposition::of(url).await;
    let mut stream = sse(url, long_stream().await).await;
    stream.next().await.expect("the completion has begun");
    drop(stream);
    let after = eventually("the end of the completion", || async {
        let now = Exposition::of(url).await;
        let ended: f64 = ["length", "stop", "canceled"].iter().map(|reason| now.since(&before, &completions(reason))).sum();
        (ended == 1.0).then_some(now)
    })
    .await;
    assert_eq!(after.since(&before, &completions("canceled")), 1.0);
}

#[tokio::test]
async fn documents_look_ups_and_collections_are_measured() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let url = server.url.as_str();
    let text = "The honey bee lives in colonies and makes honey from nectar. ".repeat(30);
    let documents: Vec<_> =
        (0..3).map(|number| json!({"id": format!("d{number}"), "text": format!("{number}: {text}")})).collect();
    ingest(url, json!(documents)).await;
    let mut chunks = 0.0;
    for number in 0..3 {
        chunks += get(url, &format!("/v1/documents/d{number}")).await.ok()["chunks"].as_f64().unwrap();
    }
    // The task ends with the catalogue's commit, a moment before it is counted.
    let before = eventually("the documents' count", || async {
        let now = Exposition::of(url).await;
        (now.value(r#"retro_ingest_documents_total{outcome="ready"}"#) == 3.0).then_some(now)
    })
    .await;
    for (series, expected) in [
        ("retro_ingest_tasks_total", 1.0),
        ("retro_ingest_submitted_documents_total", 3.0),
        ("retro_ingest_open_tasks", 0.0),
        (r#"retro_ingest_documents_total{outcome="failed"}"#, 0.0),
        ("retro_ingest_chunks_total", chunks),
        (r#"retro_embedder_texts_total{purpose="documents"}"#, chunks),
        (r#"retro_collection_chunks{collection="default"}"#, chunks),
        (r#"retro_collection_documents{collection="default",status="ready"}"#, 3.0),
        (r#"retro_collection_documents{collection="default",status="pending"}"#, 0.0),
        (r#"retro_collection_fragments{collection="default"}"#, 1.0),
    ] {
        assert_eq!(before.value(series), expected, "{series}");
    }
    assert!(before.value("retro_ingest_tokens_total") > chunks);
    assert!(before.value(r#"retro_collection_bytes{collection="default"}"#) > 1000.0);
    assert!(before.value(r#"retro_collection_version{collection="default"}"#) >= 1.0);

    let asked = json!({"text": "What do honey bees make?", "neighbours": 2});
    let found = post(url, "/v1/retrieve", asked.clone()).await.ok();
    let looked_up = found["chunks"].as_array().unwrap();
    let neighbours: usize = looked_up.iter().map(|chunk| chunk["neighbours"].as_array().unwrap().len()).sum();
    assert!(neighbours > 0);
    post(url, "/v1/retrieve", asked).await.ok();
    let body = json!({"prompt": "What do honey bees make?", "max_tokens": 2});
    post(url, "/v1/complete", body).await.ok();
    let after = Exposition::of(url).await;
    let grew = |series: &str| after.since(&before, series);
    let look_ups = looked_up.len() as f64;
    assert_eq!(look_ups, 1.0);
    // Two that were only looked at, and the completion's.
    assert_eq!(grew("retro_retrieval_lookups_total"), 3.0);
    assert_eq!(grew("retro_neighbour_distance_count"), 3.0 * neighbours as f64);
    for (stage, times) in [("embed", 3.0), ("search", 3.0), ("encode", 1.0)] {
        assert_eq!(grew(&format!(r#"retro_retrieval_duration_seconds_count{{stage="{stage}"}}"#)), times, "{stage}");
    }
    // All three ask with the same text.
    for (cache, hits, misses) in [("vectors", 2.0, 1.0), ("encoded", 0.0, 1.0), ("embeddings", 2.0, 1.0)] {
        assert_eq!(grew(&format!(r#"retro_cache_hits_total{{cache="{cache}"}}"#)), hits, "{cache}");
        assert_eq!(grew(&format!(r#"retro_cache_misses_total{{cache="{cache}"}}"#)), misses, "{cache}");
        assert!(after.value(&format!(r#"retro_cache_bytes{{cache="{cache}"}}"#)) > 0.0, "{cache}");
    }
    assert_eq!(grew(r#"retro_embedder_texts_total{purpose="queries"}"#), 1.0);
    assert_eq!(grew("retro_retrieval_failures_total"), 0.0);
}

#[tokio::test]
async fn a_thousand_paths_and_methods_make_no_series() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let url = server.url.as_str();
    let client = reqwest::Client::new();
    let ask = |method: &str, path: &str| {
        let request = client.request(method.parse().unwrap(), format!("{url}{path}"));
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!((ask("GET", "/first").await, ask("BREW", "/first").await), (404, 404));
    Exposition::of(url).await;
    let before = Exposition::of(url).await;
    for number in 0..500 {
        let path = format!("/v1/documents-{number}/{}?q={number}", number * 7919);
        assert_eq!(ask("GET", &path).await, 404);
        assert_eq!(ask(&format!("BREW{number}"), &path).await, 404);
    }
    let after = Exposition::of(url).await;
    let series = |one: &Exposition| one.samples.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(series(&after), series(&before));
    assert_eq!(after.since(&before, &requests("unmatched", "GET", 404)), 500.0);
    assert_eq!(after.since(&before, &requests("unmatched", "other", 404)), 500.0);
}

#[tokio::test]
async fn a_scrapers_key_reads_the_metrics_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let key = |scope: &str| {
        let output = retro("keys", data.path(), &["create", scope, &format!("--scope={scope}")]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (scraper, user) = (key("metrics"), key("complete"));
    let asked = async |path: &str, key: &str| {
        ask(reqwest::Client::new().get(format!("{}{path}", server.url)).bearer_auth(key)).await.status
    };
    assert_eq!(get(&server.url, "/metrics").await.status, 401);
    assert_eq!((asked("/metrics", &scraper).await, asked("/metrics", &user).await), (200, 403));
    assert_eq!((asked("/v1/info", &scraper).await, asked("/v1/info", &user).await), (403, 200));
}

#[tokio::test]
async fn the_list_is_what_is_served_and_what_is_documented() {
    let document = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for about in ALL {
        let labels: Vec<_> = about.labels.iter().map(|label| format!("`{label}`")).collect();
        let row = format!("| `{}` | {} | {} | {} |", about.name, about.kind, labels.join(", "), about.help);
        assert!(document.lines().any(|line| line == row), "docs/operations.md has no row\n{row}");
    }
    let rows = document.lines().filter(|line| line.starts_with("| `retro_")).count();
    assert_eq!(rows, ALL.len(), "docs/operations.md names metrics that are not there");

    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    ingest(&server.url, json!([{"text": "Tea is a drink."}])).await;
    let served = Exposition::of(&server.url).await;
    for (name, kind) in &served.kinds {
        let listed = ALL.iter().find(|about| about.name == name).map(|about| about.kind);
        assert!(
            listed == Some(kind) || (name.starts_with("process_") && document.contains(name)),
            "{name} {kind} is not documented"
        );
    }
    // An index is made of large collections only.
    let absent: Vec<_> = ALL.iter().map(|about| about.name).filter(|&name| !served.kinds.contains_key(name)).collect();
    assert_eq!(absent, ["retro_collection_index_chunks"]);
    check_dashboard(&served);
}

/// Every name in the queries of the dashboard is one that the server has.
fn check_dashboard(served: &Exposition) {
    let file = std::fs::read_to_string(root().join("docker/grafana/retro-server.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&file).unwrap();
    let mut queries = Vec::new();
    collect_queries(&dashboard, &mut queries);
    assert!(queries.len() > 30, "{} queries", queries.len());
    let mut used = BTreeSet::new();
    for query in queries {
        let words = query.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        for word in words.filter(|word| word.starts_with("retro_") || word.starts_with("process_")) {
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| word.strip_suffix(part));
            let name = match of_histogram {
                Some(name) if ALL.iter().any(|about| about.name == name && about.kind == "histogram") => name,
                _ => word,
            };
            assert!(
                ALL.iter().any(|about| about.name == name) || served.kinds.contains_key(name) || name.starts_with("process_"),
                "{word} in {query}"
            );
            used.insert(name.to_owned());
        }
    }
    let unused: Vec<_> = ALL.iter().map(|about| about.name).filter(|&name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "the dashboard does not show {unused:?}");
}

fn collect_queries(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            queries.extend(map.get("expr").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect_queries(value, queries));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_queries(value, queries)),
        _ => {}
    }
}
