//! What the server counts and measures, as Prometheus reads it: the one list of names, labels, buckets and meanings.
//!
//! What is counted is the process's own, so there is one set of it, which every floor reaches without being handed it. To count is an
//! atomic addition; what has labels from outside (`route`, `collection`) takes a lock and is kept out of the way of a token.

mod kinds;
mod labels;

use std::sync::LazyLock;
use std::time::Instant;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder};

pub use kinds::{About, Counters, Gauges, Histograms, Label};
pub use labels::{Cache, Chore, Ended, Purpose, Stage, Taken};
pub use prometheus::IntGaugeVec;
/// Content type of [`Metrics::render`].
pub use prometheus::TEXT_FORMAT;

use kinds::Kind;

/// Seconds of what takes as long as a client waits: answers, queues, first tokens.
const WAITS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Seconds of what happens once a token.
const STEPS: &[f64] = &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];
/// Seconds of a part of a look-up.
const LOOKUPS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];
/// Seconds of housekeeping.
const CHORES: &[f64] = &[0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0];
/// Sequences.
const ROWS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
/// Squared distances of vectors of length 1.
const DISTANCES: &[f64] = &[0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0];

/// The list: field, kind, name, labels, buckets of a histogram, and meaning.
macro_rules! metrics {
    ($($field:ident: $type:ty = $name:literal [$($label:literal),*] $(in $buckets:ident)?, $help:literal;)*) => {
        /// All of them.
        pub struct Metrics {
            registry: Registry,
            $(pub $field: $type,)*
        }

        /// What there is, for the documentation.
        pub const ALL: &[About] = &[$(About {
            name: $name,
            kind: <$type as Kind>::NAME,
            labels: &[$($label),*],
            help: $help,
            buckets: first_or_none(&[$($buckets)?]),
        },)*];

        impl Metrics {
            fn new() -> Self {
                let registry = Registry::new();
                let mut list = ALL.iter();
                $(let $field = <$type as Kind>::made(list.next().expect("an entry for each field"), &registry);)*
                Self { registry, $($field,)* }
            }
        }
    };
}

const fn first_or_none(given: &[&'static [f64]]) -> &'static [f64] {
    if given.is_empty() { &[] } else { given[0] }
}

metrics! {
    http_requests: IntCounterVec = "retro_http_requests_total" ["route", "method", "status"],
        "Requests whose answer has ended; `status` 499 is a client that left before there was one";
    http_request_duration: HistogramVec = "retro_http_request_duration_seconds" ["route", "method"] in WAITS,
        "From the head of a request to the end of its answer, of a stream to its last event";
    http_requests_in_flight: IntGauge = "retro_http_requests_in_flight" [],
        "Requests that are being answered";
    http_connections: IntGauge = "retro_http_connections" [],
        "Connections that are open";
    http_connections_refused: IntCounter = "retro_http_connections_refused_total" [],
        "Connections that were closed at once because their client had its share (`connections_per_client`)";

    queue_length: IntGauge = "retro_queue_length" [],
        "Sequences that wait for a slot";
    queue_wait: Histogram = "retro_queue_wait_seconds" [] in WAITS,
        "How long a sequence waited for its slot";
    queue_refusals: IntCounter = "retro_queue_refusals_total" [],
        "Requests that were refused because a queue was full";
    sequences_running: IntGauge = "retro_sequences_running" [],
        "Sequences in a slot, those that wait for neighbours included";
    sequence_slots: IntGauge = "retro_sequence_slots" [],
        "Sequences that can run at a time";
    step_rows: Histogram = "retro_step_rows" [] in ROWS,
        "Sequences that take a decoding step together";
    step_duration: Histogram = "retro_step_duration_seconds" [] in STEPS,
        "A decoding step of all of its sequences";
    time_to_first_token: Histogram = "retro_time_to_first_token_seconds" [] in WAITS,
        "From the queue to the first token of a completion";
    inter_token_latency: Histogram = "retro_inter_token_latency_seconds" [] in STEPS,
        "From a token of a sequence to its next, waiting for neighbours included";
    prompt_tokens: IntCounter = "retro_prompt_tokens_total" [],
        "Tokens of prompts that the model has read";
    completion_tokens: IntCounter = "retro_completion_tokens_total" [],
        "Tokens that were generated, those of completions that were broken off too";
    completions: Counters<Ended> = "retro_completions_total" ["finish_reason"],
        "Choices of completions that ended: `length`, `stop`, `error`, or `canceled` because the client left";

    retrieval_duration: Histograms<Stage> = "retro_retrieval_duration_seconds" ["stage"] in LOOKUPS,
        "A batch of look-ups: to `embed` its queries, to `search`, to `encode` what was found";
    retrieval_lookups: IntCounter = "retro_retrieval_lookups_total" [],
        "Chunks whose neighbours were looked up";
    retrieval_failures: IntCounter = "retro_retrieval_failures_total" [],
        "Batches of look-ups that failed";
    retrieval_continued: IntCounter = "retro_retrieval_continued_total" [],
        "Choices of completions that went on after a look-up that failed (`on_error` `continue`); a prompt's failure is one";
    retrieval_late: IntCounter = "retro_retrieval_late_total" [],
        "Ends of chunks at which `prefetch` had no new neighbours";
    neighbour_distance: Histogram = "retro_neighbour_distance" [] in DISTANCES,
        "Squared Euclidean distance of each neighbour that was found, 0 to 4";
    cache_hits: Counters<Cache> = "retro_cache_hits_total" ["cache"],
        "Look-ups in memory that found what they wanted: `vectors` of queries, `encoded` neighbours, `embeddings` of collections";
    cache_misses: Counters<Cache> = "retro_cache_misses_total" ["cache"],
        "Look-ups in memory that did not";
    cache_bytes: Gauges<Cache> = "retro_cache_bytes" ["cache"],
        "Memory that a cache fills";

    embedder_texts: Counters<Purpose> = "retro_embedder_texts_total" ["purpose"],
        "Texts that were embedded, for `documents` or `queries`";
    embedder_tokens: Counters<Purpose> = "retro_embedder_tokens_total" ["purpose"],
        "Tokens of these texts, as the embedder counts them";
    embedder_run_duration: Histograms<Purpose> = "retro_embedder_run_duration_seconds" ["purpose"] in LOOKUPS,
        "A run of the embedder's graph";

    ingest_tasks: IntCounter = "retro_ingest_tasks_total" [],
        "Tasks that were accepted";
    ingest_submitted: IntCounter = "retro_ingest_submitted_documents_total" [],
        "Documents that were accepted";
    ingest_open_tasks: IntGauge = "retro_ingest_open_tasks" [],
        "Tasks that wait for documents";
    ingest_documents: Counters<Taken> = "retro_ingest_documents_total" ["outcome"],
        "Documents that became searchable (`ready`) or `failed`";
    ingest_chunks: IntCounter = "retro_ingest_chunks_total" [],
        "Chunks of the documents that became ready";
    ingest_tokens: IntCounter = "retro_ingest_tokens_total" [],
        "Tokens of these chunks, as the model counts them";

    housekeeping: Counters<Chore> = "retro_housekeeping_total" ["operation"],
        "Housekeeping of collections that was done";
    housekeeping_failures: Counters<Chore> = "retro_housekeeping_failures_total" ["operation"],
        "Housekeeping that failed; it is tried again";
    housekeeping_duration: Histograms<Chore> = "retro_housekeeping_duration_seconds" ["operation"] in CHORES,
        "How long it took, done or failed";
    removed_versions: IntCounter = "retro_removed_versions_total" [],
        "Old versions of collections that were removed";
    removed_bytes: IntCounter = "retro_removed_bytes_total" [],
        "Bytes on the disk that came free with them";

    collection_chunks: IntGaugeVec = "retro_collection_chunks" ["collection"],
        "Chunks that a search sees";
    collection_deleted_chunks: IntGaugeVec = "retro_collection_deleted_chunks" ["collection"],
        "Chunks that are deleted or replaced and still in the files";
    collection_fragments: IntGaugeVec = "retro_collection_fragments" ["collection"],
        "Parts of the newest version, each with files of its own";
    collection_bytes: IntGaugeVec = "retro_collection_bytes" ["collection"],
        "All files, those of earlier versions too; only where the database is a folder";
    collection_version: IntGaugeVec = "retro_collection_version" ["collection"],
        "Version; grows with every change";
    collection_kept_versions: IntGaugeVec = "retro_collection_kept_versions" ["collection"],
        "Versions that `as_of` can name";
    collection_index_chunks: IntGaugeVec = "retro_collection_index_chunks" ["collection", "state"],
        "Chunks that the index has (`covered`) and that came later (`uncovered`); only where there is an index";
    collection_documents: IntGaugeVec = "retro_collection_documents" ["collection", "status"],
        "Documents by status: `pending`, `ready`, `failed`";

    build_info: IntGaugeVec = "retro_build_info" ["version", "model", "variant", "embedder", "provider"],
        "1, with what runs as labels";
}

/// Those of this process.
pub fn get() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
        let metrics = Metrics::new();
        // Memory, CPU time and file descriptors, under the names that they have everywhere.
        #[cfg(target_os = "linux")]
        metrics
            .registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("no name of the list begins with `process_`");
        metrics
    });
    &METRICS
}

impl Metrics {
    /// All that there is, in the text format of Prometheus.
    ///
    /// # Panics
    /// Never: what one registry gathers is consistent.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).expect("families with names and values")
    }

    /// Notes that housekeeping which began at `began` was done or failed.
    pub fn chore<T, E>(&self, chore: Chore, began: Instant, result: &Result<T, E>) {
        let counters = if result.is_ok() { &self.housekeeping } else { &self.housekeeping_failures };
        counters.of(chore).inc();
        self.housekeeping_duration.of(chore).observe(began.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are() {
        for about in ALL {
            let name = about.name;
            assert!(name.starts_with("retro_") && !about.help.is_empty(), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(about.kind == "counter", name.ends_with("_total"), "{name}");
            assert_eq!(about.kind == "histogram", !about.buckets.is_empty(), "{name}");
            assert!(about.buckets.is_sorted(), "{name}");
            for unit in ["_ms", "_milliseconds", "_kb", "_mb", "_percent"] {
                assert!(!name.contains(unit), "{name}: base units only");
            }
        }
    }

    #[test]
    fn what_has_known_labels_is_there_before_anything_happens() {
        let text = Metrics::new().render();
        for line in [
            r#"retro_completions_total{finish_reason="canceled"} 0"#,
            r#"retro_cache_misses_total{cache="encoded"} 0"#,
            r#"retro_housekeeping_failures_total{operation="index_build"} 0"#,
            r#"retro_retrieval_duration_seconds_count{stage="search"} 0"#,
            "retro_queue_length 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
