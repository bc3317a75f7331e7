use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::output;
use crate::app::Parts;
use crate::generate::{Completion, CompletionRequest, Generator, ProvidedNeighbour, RetrievalRequest, ValidCompletion, fold};
use crate::settings::Settings;
use crate::text::TokenId;

pub const EXAMPLES: &str = "\
Examples:
  retro bench
  retro bench --batches 1 --neighbours 2 --tokens 64 --repeat 5 --source provided --json";

#[derive(Args)]
pub struct BenchArgs {
    /// File or folder whose text the prompts are cut from
    #[arg(long, value_name = "PATH", default_value = "samples")]
    text: PathBuf,
    /// Completions that run at a time
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,2,4,8,16,32")]
    batches: Vec<usize>,
    /// Tokens of a prompt
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "64")]
    contexts: Vec<usize>,
    /// Neighbours of a chunk; 0 is retrieval off
    #[arg(long, value_name = "K,K", value_delimiter = ',', default_value = "0,2")]
    neighbours: Vec<usize>,
    /// Tokens from one look-up to the next
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "64")]
    intervals: Vec<usize>,
    /// Waits for neighbours at the prompts only
    #[arg(long)]
    prefetch: bool,
    /// Where the neighbours come from
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t = Source::Search)]
    source: Source,
    /// Tokens to make in each completion
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one())]
    tokens: usize,
    /// Measurements of each case; the cases take turns, so that what else the machine does falls on all of them
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one())]
    repeat: usize,
    /// Print JSON, one object a line: `about`, then one for each case
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Source {
    /// The collection `default` of the data folder
    Search,
    /// Neighbours that come with the request: the model's part of retrieval alone
    Provided,
}

/// One way to run, with what was measured of it.
#[derive(Default, Serialize)]
struct Case {
    batch: usize,
    prompt_tokens: usize,
    neighbours: usize,
    interval: usize,
    prefetch: bool,
    source: Option<Source>,
    /// Made by all completions together, in each measurement.
    new_tokens: Vec<usize>,
    seconds: Vec<f64>,
    tokens_per_second: Vec<f64>,
    /// Mean over the completions: from the request until the model has read the prompt, without the wait for a slot.
    first_token_ms: Vec<f64>,
    retrieval_ms: Vec<f64>,
    prefill_ms: Vec<f64>,
    decode_ms: Vec<f64>,
    /// Mean over the neighbours that were looked up after the prompts, in tokens; 0 where there were none.
    stale_tokens: Vec<f64>,
    /// Boundaries of all completions at which no new neighbours were there.
    late: Vec<usize>,
    /// Slowest over fastest completion.
    fairness: Vec<f64>,
    /// Memory of the process afterwards.
    resident_bytes: Vec<u64>,
}

#[derive(Serialize)]
struct About<'a> {
    version: &'a str,
    model: &'a str,
    parameters: u64,
    precision: &'a str,
    weights_bytes: u64,
    provider: &'a str,
    onnxruntime: String,
    threads: usize,
    slots: usize,
    cores: usize,
}

/// Measures the engine: tokens a second for several batches, prompts and numbers of neighbours.
pub async fn run(args: BenchArgs, settings: Settings) -> anyhow::Result<()> {
    // Each measurement makes the same completions: what is kept of one would answer the next.
    let settings = Settings { cache_mb: 0, ..settings };
    let parts = Parts::load(&settings).await?;
    let generator = parts.generator(&settings)?;
    let text = parts.tokenizer.encode(&read(&args.text)?);
    let mut cases = args.cases();
    let most = cases.iter().map(|case| case.prompt_tokens + case.batch).max().unwrap_or(0);
    ensure!(text.len() > most, "{} has {} tokens; the prompts need more than {most}", args.text.display(), text.len());
    about(&parts, &generator, &settings, args.json)?;
    // Warm: the first of each shape pays for its bindings and for memory that nobody touched.
    for case in &cases {
        measure(&parts, &generator, &text, case, args.tokens.min(8)).await?;
    }
    for _ in 0..args.repeat {
        for case in &mut cases {
            let began = Instant::now();
            let done = measure(&parts, &generator, &text, case, args.tokens).await?;
            case.take(began.elapsed().as_secs_f64(), &done);
        }
    }
    for case in &cases {
        case.print(args.json)?;
    }
    generator.shut_down().await;
    Ok(())
}

fn at_least_one() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

impl BenchArgs {
    fn cases(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for &prompt_tokens in &self.contexts {
            for &neighbours in &self.neighbours {
                // Without neighbours the interval changes nothing.
                for &interval in if neighbours == 0 { &self.intervals[..1] } else { &self.intervals[..] } {
                    for &batch in &self.batches {
                        let source = (neighbours > 0).then_some(self.source);
                        let prefetch = self.prefetch && source.is_some();
                        cases.push(Case { batch, prompt_tokens, neighbours, interval, prefetch, source, ..Case::default() });
                    }
                }
            }
        }
        cases
    }
}

impl Case {
    fn take(&mut self, seconds: f64, done: &[(f64, Completion)]) {
        let tokens: usize = done.iter().map(|(_, one)| one.done.usage.completion_tokens).sum();
        let mean = |of: fn(&Completion) -> f64| done.iter().map(|(_, one)| of(one)).sum::<f64>() / done.len() as f64;
        self.new_tokens.push(tokens);
        self.seconds.push(seconds);
        self.tokens_per_second.push(tokens as f64 / seconds);
        self.first_token_ms.push(mean(|one| one.done.timings.first_token_ms));
        self.retrieval_ms.push(mean(|one| one.done.timings.retrieval_ms));
        self.prefill_ms.push(mean(|one| one.done.timings.prefill_ms));
        self.decode_ms.push(mean(|one| one.done.timings.decode_ms));
        let stale = || done.iter().flat_map(|(_, one)| &one.chunks).map(|chunk| chunk.stale_tokens).filter(|&tokens| tokens > 0);
        self.stale_tokens.push(stale().sum::<usize>() as f64 / stale().count().max(1) as f64);
        self.late.push(done.iter().map(|(_, one)| one.done.retrieval.late).sum());
        let times = || done.iter().map(|(seconds, _)| *seconds);
        self.fairness.push(times().fold(0.0, f64::max) / times().fold(f64::INFINITY, f64::min));
        self.resident_bytes.push(resident_bytes());
    }

    fn print(&self, json: bool) -> io::Result<()> {
        if json {
            return output::json(self);
        }
        output::line(format_args!(
            "batch {:2}  prompt {:4}  neighbours {}  interval {:2}  {:7.0} tokens/s  first token {:6.1} ms  retrieval {:6.1} ms  decode {:7.1} ms",
            self.batch,
            self.prompt_tokens,
            self.neighbours,
            self.interval,
            median(&self.tokens_per_second),
            median(&self.first_token_ms),
            median(&self.retrieval_ms),
            median(&self.decode_ms),
        ))
    }
}

/// Runs as many completions as the case says at a time; each with its own time in seconds.
async fn measure(
    parts: &Parts,
    generator: &Generator,
    text: &[TokenId],
    case: &Case,
    tokens: usize,
) -> anyhow::Result<Vec<(f64, Completion)>> {
    let began = Instant::now();
    let running = (0..case.batch).map(|number| {
        let request = request(parts, generator, &text[number..], case, tokens);
        async move {
            let completion = fold(generator.submit(request?)?).await?;
            anyhow::Ok((began.elapsed().as_secs_f64(), completion))
        }
    });
    futures::future::try_join_all(running).await
}

fn request(
    parts: &Parts,
    generator: &Generator,
    text: &[TokenId],
    case: &Case,
    tokens: usize,
) -> anyhow::Result<ValidCompletion> {
    let prompt = parts.tokenizer.decode(&text[..case.prompt_tokens]);
    let neighbour = |at: usize| ProvidedNeighbour {
        neighbour: parts.tokenizer.decode(&text[at..(at + 64).min(text.len())]),
        continuation: parts.tokenizer.decode(&text[(at + 64).min(text.len())..(at + 128).min(text.len())]),
    };
    let provided = (case.source == Some(Source::Provided)).then(|| (0..case.neighbours).map(|at| neighbour(7 * at)).collect());
    let request = CompletionRequest {
        max_tokens: Some(tokens),
        retrieval: RetrievalRequest {
            enabled: Some(case.neighbours > 0),
            neighbours: Some(case.neighbours),
            interval: Some(case.interval),
            prefetch: case.prefetch,
            provided,
            ..RetrievalRequest::default()
        },
        ..CompletionRequest::new(prompt)
    };
    Ok(request.validate(&generator.limits(), &parts.tokenizer)?)
}

fn about(parts: &Parts, generator: &Generator, settings: &Settings, json: bool) -> io::Result<()> {
    let manifest = parts.model.manifest();
    let about = About {
        version: env!("CARGO_PKG_VERSION"),
        model: &manifest.name,
        parameters: manifest.parameters,
        precision: parts.model.variant().0,
        weights_bytes: parts.model.files().filter(|(name, _)| name.ends_with("weights.bin")).map(|(_, file)| file.bytes).sum(),
        provider: parts.device.provider(),
        onnxruntime: parts.runtime.version(),
        threads: settings.graph_threads(),
        slots: generator.slots(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    };
    if json {
        return output::json(&serde_json::json!({ "about": about }));
    }
    let About { model, precision, provider, threads, slots, .. } = about;
    output::line(format_args!("{model} as {precision}, {provider}, {threads} threads, {slots} slots"))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
        let entry = entry.with_context(|| format!("{} cannot be read; `--text` names another", path.display()))?;
        if entry.file_type().is_file() {
            text += &std::fs::read_to_string(entry.path()).with_context(|| format!("{} is no text", entry.path().display()))?;
        }
    }
    Ok(text)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Memory that the process holds; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}
