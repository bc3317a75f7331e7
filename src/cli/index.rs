use std::io;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;

use super::output;
use crate::app::Parts;
use crate::ingest::IngestLimits;
use crate::ingest::files::Documents;
use crate::names::CollectionName;
use crate::neighbours::{Database, Effort, IndexStats, Memory, Neighbour, SearchOptions, Warmed};
use crate::settings::Settings;
use crate::text::chunk_document;

/// Queries of one call where only the answers count.
const TOGETHER: usize = 64;

pub const EXAMPLES: &str = "\
Examples:
  retro index
  retro index library --measure held-out/ --nprobes 10,20,40 --json";

#[derive(Args)]
pub struct IndexArgs {
    /// Collection to index
    #[arg(default_value = "default")]
    collection: String,
    /// Makes an index anew that is there already; without it, it is extended by what came since
    #[arg(long)]
    rebuild: bool,
    /// Measures searches for the chunks of these files, as `retro ingest` takes them: how long one takes, and how many of the nearest chunks
    /// it finds
    #[arg(long, value_name = "PATH")]
    measure: Vec<PathBuf>,
    /// Chunks to search for
    #[arg(long, value_name = "N", default_value_t = 500)]
    queries: usize,
    /// Neighbours of each
    #[arg(long, value_name = "N", default_value_t = 2)]
    neighbours: usize,
    /// Clusters of the index to look through; several are measured one after the other
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "40")]
    nprobes: Vec<usize>,
    /// Chunks whose exact distance is computed, for each neighbour
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "4")]
    refine: Vec<u32>,
    /// Print JSON: one object for what was built, then one a line for what was measured
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Built {
    collection: CollectionName,
    chunks: u64,
    seconds: f64,
    index: Option<IndexStats>,
    bytes_on_disk: u64,
}

#[derive(Serialize)]
struct Measured {
    nprobes: Option<usize>,
    refine: Option<u32>,
    queries: usize,
    neighbours: usize,
    /// Of the nearest chunks, those that the search gives; chunks that are as near as the last one count as well.
    recall: f64,
    /// Of one search after the other.
    p50_ms: f64,
    p99_ms: f64,
}

/// Makes or extends a collection's index, and measures it.
pub async fn run(args: IndexArgs, settings: Settings) -> anyhow::Result<()> {
    let collection = CollectionName::parse("collection", &args.collection)?;
    // The index is to answer, not the memory.
    let parts = Parts::load(&Settings { vectors_mb: 0, ..settings.clone() }).await?;
    let database = &parts.database;
    let chunks = database.stats(&collection).await?.chunks;
    ensure!(chunks > 0, "collection `{collection}` has no chunks");
    let began = Instant::now();
    match database.index_stats(&collection).await? {
        Some(_) if !args.rebuild => database.tend_index(&collection).await?,
        _ => database.build_index(&collection).await?,
    }
    let built = Built {
        chunks,
        seconds: began.elapsed().as_secs_f64(),
        index: database.index_stats(&collection).await?,
        bytes_on_disk: database.bytes(&collection).await?,
        collection: collection.clone(),
    };
    built.print(args.json)?;
    if args.measure.is_empty() {
        return Ok(());
    }
    let queries = queries(&args, &parts, &settings).await?;
    // As a server does when it starts.
    database.warm(&mut Warmed::default()).await?;
    let nearest = nearest(&args, &settings, &parts, &collection, &queries).await?;
    for &nprobes in &args.nprobes {
        for &refine in &args.refine {
            let effort = Effort { exact: Some(false), nprobes: Some(nprobes), refine: Some(refine) }.validate("--")?;
            let options = SearchOptions { effort, ..SearchOptions::new(collection.clone(), args.neighbours) };
            measure(database, &options, &queries, &nearest).await?.print(args.json)?;
        }
    }
    Ok(())
}

impl Built {
    fn print(&self, json: bool) -> io::Result<()> {
        if json {
            return output::json(self);
        }
        let Self { collection, chunks, seconds, .. } = self;
        output::line(match &self.index {
            Some(index) => format!(
                "{collection}: {} of {chunks} chunks indexed, in {seconds:.1} s; {} are searched beside the index",
                index.indexed, index.unindexed
            ),
            None => format!("{collection}: {chunks} chunks without an index; all are searched"),
        })
    }
}

impl Measured {
    fn print(&self, json: bool) -> io::Result<()> {
        if json {
            return output::json(self);
        }
        let usual = || "default".to_owned();
        output::line(format_args!(
            "nprobes {:>4}, refine {:>3}: recall {:.4}, p50 {:.2} ms, p99 {:.2} ms ({} queries, {} neighbours)",
            self.nprobes.map_or_else(usual, |number| number.to_string()),
            self.refine.map_or_else(usual, |number| number.to_string()),
            self.recall,
            self.p50_ms,
            self.p99_ms,
            self.queries,
            self.neighbours
        ))
    }
}

/// Embeddings of the files' first chunks.
async fn queries(args: &IndexArgs, parts: &Parts, settings: &Settings) -> anyhow::Result<Vec<Vec<f32>>> {
    let mut texts = Vec::new();
    let mut documents = Documents::find(&args.measure, IngestLimits::from(settings)).reading_apart(std::env::current_exe()?);
    while texts.len() < args.queries
        && let Some(document) = documents.next_valid(None)
    {
        match document {
            Ok(document) => {
                let chunks = chunk_document(&parts.tokenizer, document.text());
                texts.extend(chunks.iter().map(|chunk| document.text()[chunk.bytes.clone()].to_owned()));
            }
            Err(skipped) => output::item(format_args!("skipped {skipped}")),
        }
    }
    texts.truncate(args.queries);
    ensure!(!texts.is_empty(), "no chunks were found to search for");
    Ok(parts.embedder.embed(texts).await?)
}

/// What an exact search finds, in memory: from the files each query would take a reading of all embeddings.
async fn nearest(
    args: &IndexArgs,
    settings: &Settings,
    parts: &Parts,
    collection: &CollectionName,
    queries: &[Vec<f32>],
) -> anyhow::Result<Vec<Vec<Neighbour>>> {
    let exact = Memory { vectors: u64::MAX, indices: settings.index_bytes() };
    let database = Database::open(&settings.lance_uri(), parts.database.identity().clone(), exact).await?;
    let options = SearchOptions { effort: Effort::exact(), ..SearchOptions::new(collection.clone(), args.neighbours) };
    let mut nearest = Vec::with_capacity(queries.len());
    for part in queries.chunks(TOGETHER) {
        nearest.extend(database.search(part.to_vec(), &options).await?.neighbours);
    }
    Ok(nearest)
}

async fn measure(
    database: &Database,
    options: &SearchOptions,
    queries: &[Vec<f32>],
    nearest: &[Vec<Neighbour>],
) -> anyhow::Result<Measured> {
    let (mut milliseconds, mut found, mut wanted) = (Vec::with_capacity(queries.len()), 0, 0);
    for (query, nearest) in queries.iter().zip(nearest) {
        let began = Instant::now();
        let answer = database.search(vec![query.clone()], options).await?;
        milliseconds.push(began.elapsed().as_secs_f64() * 1000.0);
        let last = nearest.last().context("an exact search found nothing")?.distance;
        wanted += nearest.len();
        found += answer.neighbours[0].iter().filter(|neighbour| neighbour.distance <= last).count().min(nearest.len());
    }
    milliseconds.sort_by(f64::total_cmp);
    let percentile = |of: usize| milliseconds[(milliseconds.len() * of / 100).min(milliseconds.len() - 1)];
    Ok(Measured {
        nprobes: options.effort.nprobes,
        refine: options.effort.refine,
        queries: queries.len(),
        neighbours: options.neighbours,
        recall: found as f64 / wanted as f64,
        p50_ms: percentile(50),
        p99_ms: percentile(99),
    })
}
