//! `retro eval`: what the database is worth, for predicting text and for facts.

mod bench;
mod facts;
mod facts_report;
mod lines;
mod recall;
mod shares;
mod text;
mod text_report;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::ArgGroup;
use clap::builder::RangedU64ValueParser;
use serde::{Deserialize, Serialize};

use bench::Bench;
use facts::Facts;
use facts_report::FactsReport;
use text::Texts;
use text_report::TextReport;

use super::interrupt::{INTERRUPTED, on_interrupt};
use crate::names::CollectionName;
use crate::settings::Settings;

pub const EXAMPLES: &str = "\
Examples:
  retro eval texts.jsonl --documents 10
  retro eval texts.jsonl.zst --skip 100 --collection library --json
  retro eval --facts facts.jsonl --misses";

/// Measure what the database is worth: perplexity of the model with and without it, and facts that are in it, changed and gone.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").args(["file", "facts"]).required(true).multiple(true))]
pub struct EvalArgs {
    /// JSON lines with a field `text`; `.zst` is unpacked
    #[arg(value_name = "FILE.jsonl")]
    file: Option<PathBuf>,
    /// Documents to evaluate; a database of just these is made first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    documents: usize,
    /// Documents of the file to pass over first
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: usize,
    /// Documents after the evaluated ones that make the second database
    #[arg(long, value_name = "N", default_value_t = 50)]
    others: usize,
    /// Collection of the own data folder to look up texts in too, and to lay facts among; it is only read
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// JSON lines with facts: prompts, their values and the documents that hold them
    #[arg(long, value_name = "FACTS.jsonl")]
    facts: Option<PathBuf>,
    /// Show up to 20 facts that were missed though their documents were there
    #[arg(long, requires = "facts")]
    misses: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Line {
    text: String,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    text: Option<TextReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<FactsReport>,
}

/// # Errors
/// A file, the model, a store or the collection cannot be used.
pub async fn run(args: EvalArgs, settings: Settings) -> Result<ExitCode> {
    let stop = on_interrupt()?;
    let texts = args.file.as_deref().map(|file| args.read_texts(file)).transpose()?;
    let facts = args.facts.as_deref().map(Facts::read).transpose()?;
    let collection = args.collection.as_deref().map(|name| CollectionName::parse("collection", name)).transpose()?;

    let bench = Bench::start(&settings, collection).await?;
    let report = tokio::select! {
        report = evaluate(&bench, texts.as_ref(), facts.as_ref()) => Some(report),
        () = stop.cancelled() => None,
    };
    // Its stores are removed with it, when nobody writes there any more.
    bench.stop().await;
    let Some(report) = report.transpose()? else { return Ok(ExitCode::from(INTERRUPTED)) };
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        report.print(&mut out, args.misses)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn evaluate(bench: &Bench, texts: Option<&(Texts, Texts)>, facts: Option<&Facts>) -> Result<Report> {
    let text = match texts {
        Some((own, others)) => Some(text::evaluate(bench, own, others).await?),
        None => None,
    };
    let facts = match facts {
        Some(facts) => Some(recall::evaluate(bench, facts).await?),
        None => None,
    };
    Ok(Report { text, facts })
}

impl EvalArgs {
    /// The evaluated documents and the others. Their ids come from their places in the file, so that a share of them is always the same.
    fn read_texts(&self, file: &Path) -> Result<(Texts, Texts)> {
        let lines = lines::read::<Line>(file, self.skip, self.documents.saturating_add(self.others))?;
        let numbered = lines.into_iter().zip(self.skip + 1..).map(|(line, number)| (format!("line-{number}"), line.text));
        let mut own: Texts = numbered.collect();
        if own.len() < self.documents {
            bail!("{} has only {} documents after the first {}", file.display(), own.len(), self.skip);
        }
        let others = own.split_off(self.documents);
        Ok((own, others))
    }
}

impl Report {
    fn print(&self, out: &mut impl Write, misses: bool) -> io::Result<()> {
        if let Some(text) = &self.text {
            text.print(out)?;
        }
        if self.text.is_some() && self.facts.is_some() {
            writeln!(out)?;
        }
        match &self.facts {
            Some(facts) => facts.print(out, misses),
            None => Ok(()),
        }
    }
}
