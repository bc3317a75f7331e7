use std::io::{BufWriter, stdout};
use std::path::PathBuf;

use clap::Args;

use crate::ingest::IngestLimits;
use crate::ingest::files::read_here;

#[derive(Args)]
pub struct ReadFileArgs {
    path: PathBuf,
    #[arg(long)]
    max_document_bytes: usize,
}

/// Reads one file for a `retro ingest` that started this process, in which the file can do no harm to the other.
pub fn run(args: &ReadFileArgs) -> anyhow::Result<()> {
    let limits = IngestLimits { max_document_bytes: args.max_document_bytes };
    Ok(read_here(&args.path, &limits, &mut BufWriter::new(stdout().lock()))?)
}
