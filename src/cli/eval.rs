//! `retro eval`: perplexity without a database, with one that holds the evaluated documents, and with one that holds only others.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::app::{Parts, Worker};
use crate::generate::{Generator, NeighbourSource, ScoreRequest, SearchOptions};
use crate::ingest::{DocumentInput, IngestLimits, NewDocument};
use crate::names::CollectionName;
use crate::settings::Settings;
use crate::text::Tokenizer;

/// Measure what the database is worth: perplexity of the model with and without it.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// JSON lines with a field `text`; `.zst` is unpacked
    file: PathBuf,
    /// Documents to evaluate; a database of just these is made first
    #[arg(long, default_value_t = 50)]
    documents: usize,
    /// Documents of the file to pass over first
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// Documents after the evaluated ones that make the second database
    #[arg(long, default_value_t = 50)]
    others: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Line {
    text: String,
}

/// Perplexity over all tokens but each document's first, in windows of the model's context.
#[derive(Debug, Serialize)]
struct Report {
    documents: usize,
    other_documents: usize,
    tokens: usize,
    without_retrieval: f64,
    with_the_documents: f64,
    with_other_documents: Option<f64>,
    /// without / with the documents
    times_lower: f64,
    /// with others / without - 1
    others_higher: Option<f64>,
}

/// # Errors
/// The file, the model or the stores cannot be used.
pub async fn run(args: EvalArgs, settings: Settings) -> anyhow::Result<()> {
    ensure!(args.documents > 0, "--documents must be at least 1");
    let texts = read_texts(&args.file, args.skip, args.documents + args.others)?;
    let (own, others) = texts.split_at(args.documents.min(texts.len()));
    if own.len() < args.documents {
        bail!("{} has only {} documents after the first {}", args.file.display(), own.len(), args.skip);
    }

    // A database of its own, gone afterwards: what the user keeps in `data_dir` must not answer here.
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let settings = Settings { data_dir: folder.path().to_owned(), lance_uri: None, database_url: None, ..settings };
    let parts = Parts::load(&settings).await?;
    let own_collection = CollectionName::parse("collection", "own")?;
    let other_collection = CollectionName::parse("collection", "others")?;
    ingest(&parts, &settings, own, &own_collection).await?;
    ingest(&parts, &settings, others, &other_collection).await?;

    let generator = parts.generator(&settings)?;
    let neighbours = generator.limits().neighbours;
    let search = |collection: &CollectionName| {
        NeighbourSource::Search(SearchOptions { collection: collection.clone(), neighbours, max_distance: None })
    };
    let mut sources = vec![NeighbourSource::Off, search(&own_collection)];
    if !others.is_empty() {
        sources.push(search(&other_collection));
    }
    let (tokens, perplexities) = perplexities(&generator, &parts.tokenizer, own, &sources).await?;
    generator.shut_down().await;

    let report = Report {
        documents: own.len(),
        other_documents: others.len(),
        tokens,
        without_retrieval: perplexities[0],
        with_the_documents: perplexities[1],
        with_other_documents: perplexities.get(2).copied(),
        times_lower: perplexities[0] / perplexities[1],
        others_higher: perplexities.get(2).map(|others| others / perplexities[0] - 1.0),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn print(report: &Report) {
    println!("{} documents, {} tokens predicted", report.documents, report.tokens);
    println!("{:<44} perplexity", "database");
    println!("{:<44} {:10.3}", "none (retrieval off)", report.without_retrieval);
    println!(
        "{:<44} {:10.3}   {:.2} times lower than without",
        "the evaluated documents", report.with_the_documents, report.times_lower
    );
    if let (Some(perplexity), Some(higher)) = (report.with_other_documents, report.others_higher) {
        let database = format!("{} other documents", report.other_documents);
        println!("{database:<44} {perplexity:10.3}   {:+.2} % against without", higher * 100.0);
    }
}

/// Tokens predicted, and the perplexity with each source.
async fn perplexities(
    generator: &Generator,
    tokenizer: &Tokenizer,
    texts: &[String],
    sources: &[NeighbourSource],
) -> anyhow::Result<(usize, Vec<f64>)> {
    let context = generator.limits().context;
    let bar = progress("scoring", texts.len());
    let mut sums = vec![0.0; sources.len()];
    let mut count = 0;
    for text in texts {
        let tokens = tokenizer.encode(text);
        // Each window begins with the last token of the one before, so that every token but the first is predicted once.
        let starts = (0..tokens.len().saturating_sub(1)).step_by(context);
        for window in starts.map(|start| &tokens[start..tokens.len().min(start + context + 1)]) {
            count += window.len() - 1;
            for (sum, source) in sums.iter_mut().zip(sources) {
                let request = ScoreRequest { tokens: window.to_vec(), source: source.clone() };
                *sum += generator.score(request).await?.iter().map(|&log_prob| f64::from(log_prob)).sum::<f64>();
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    ensure!(count > 0, "the documents have no tokens to predict");
    Ok((count, sums.into_iter().map(|sum| (-sum / count as f64).exp()).collect()))
}

async fn ingest(parts: &Parts, settings: &Settings, texts: &[String], collection: &CollectionName) -> anyhow::Result<()> {
    if texts.is_empty() {
        return Ok(());
    }
    let limits = IngestLimits::from(settings);
    let documents = texts
        .iter()
        .map(|text| {
            let input =
                DocumentInput { collection: Some(collection.to_string()), text: text.clone(), ..DocumentInput::default() };
            NewDocument::validate("", input, &limits)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let bar = progress("ingesting", texts.len());
    let worker = Worker::start(&parts.ingest);
    let task = parts.ingest.submit(documents).await?.task;
    let done = parts.ingest.wait(task.id).await?.context("the task is gone")?;
    worker.stop().await;
    bar.finish_and_clear();
    ensure!(done.documents.failed == 0, "ingestion failed: {}", done.error.unwrap_or_default());
    Ok(())
}

fn read_texts(path: &Path, skip: usize, count: usize) -> anyhow::Result<Vec<String>> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let reader: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "zst") {
        Box::new(zstd::Decoder::new(file)?)
    } else {
        Box::new(file)
    };
    BufReader::new(reader)
        .lines()
        .enumerate()
        .skip(skip)
        .take(count)
        .map(|(number, line)| {
            let line: Line =
                serde_json::from_str(&line?).with_context(|| format!("line {} of {}", number + 1, path.display()))?;
            Ok(line.text)
        })
        .collect()
}

fn progress(what: &str, length: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_message(what.to_owned())
}
