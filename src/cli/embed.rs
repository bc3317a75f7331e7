use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Serialize;

use super::output;
use crate::app::load_embedder;
use crate::ingest::IngestLimits;
use crate::ingest::files::Documents;
use crate::model::ModelFolder;
use crate::onnx::Runtime;
use crate::settings::Settings;
use crate::text::{Tokenizer, chunk_document};

/// Texts of one call: many full batches.
const TOGETHER: usize = 1024;

pub const EXAMPLES: &str = "\
Examples:
  retro embed samples/
  retro embed notes/ --vectors notes.f32 --texts notes.jsonl --json";

#[derive(Args)]
pub struct EmbedArgs {
    /// Files and folders, as `retro ingest` takes them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Most chunks to embed, from the first document on [default: all]
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// File for the vectors: float32, little-endian, one after the other
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
    /// File for the texts of the chunks: a JSON string a line, in the order of the vectors
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// Print how fast as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Embedded<'a> {
    embedder: &'a str,
    precision: String,
    dimension: usize,
    chunks: usize,
    /// Of the embedder alone.
    seconds: f64,
    chunks_per_second: f64,
}

/// Cuts files into chunks and embeds them, without a database; prints how fast.
pub async fn run(args: EmbedArgs, settings: Settings) -> anyhow::Result<()> {
    let tokenizer = Tokenizer::load(&ModelFolder::tokenizer_in(&settings.model))?;
    let runtime = Runtime::load(settings.onnxruntime.as_deref())?;
    let embedder = load_embedder(&runtime, &settings, runtime.device(settings.device)?).await?;
    let most = args.chunks.unwrap_or(usize::MAX);
    let mut texts = Vec::new();
    let mut documents = Documents::find(&args.paths, IngestLimits::from(&settings)).reading_apart(std::env::current_exe()?);
    while let Some(document) = documents.next_valid(None) {
        match document {
            Ok(document) => {
                let chunks = chunk_document(&tokenizer, document.text());
                texts.extend(chunks.iter().map(|chunk| document.text()[chunk.bytes.clone()].to_owned()));
            }
            Err(skipped) => output::item(format_args!("skipped {skipped}")),
        }
        if texts.len() >= most {
            texts.truncate(most);
            break;
        }
    }
    ensure!(!texts.is_empty(), "no chunks were found");
    if let Some(path) = &args.texts {
        let lines: Vec<String> = texts.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        std::fs::write(path, lines.join("\n") + "\n").with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let create = |path: &PathBuf| File::create(path).with_context(|| format!("{} cannot be written", path.display()));
    let mut out = args.vectors.as_ref().map(create).transpose()?.map(BufWriter::new);
    // The first call pays for memory that nobody touched.
    embedder.embed(texts[..texts.len().min(64)].to_vec()).await?;
    let mut seconds = 0.0;
    for part in texts.chunks(TOGETHER) {
        let began = Instant::now();
        let vectors = embedder.embed(part.to_vec()).await?;
        seconds += began.elapsed().as_secs_f64();
        if let Some(out) = &mut out {
            let bytes: Vec<u8> = vectors.iter().flatten().flat_map(|number| number.to_le_bytes()).collect();
            out.write_all(&bytes)?;
        }
    }
    if let Some(mut out) = out {
        out.flush()?;
    }
    let chunks = texts.len();
    let embedded = Embedded {
        embedder: embedder.name(),
        precision: embedder.precision().to_string(),
        dimension: embedder.dimension(),
        chunks,
        seconds,
        chunks_per_second: chunks as f64 / seconds,
    };
    if args.json {
        return Ok(output::json(&embedded)?);
    }
    let Embedded { embedder, precision, dimension, chunks_per_second, .. } = embedded;
    Ok(output::line(format_args!(
        "{chunks} chunks embedded in {seconds:.1} s ({chunks_per_second:.1} a second), by {embedder} ({dimension} dimensions, {precision})"
    ))?)
}
