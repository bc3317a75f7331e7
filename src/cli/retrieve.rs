use clap::Args;

use super::search_args::{SearchArgs, ensure_searchable};
use super::{output, print};
use crate::app::Parts;
use crate::generate::Limits;
use crate::http::RetrieveResponse;
use crate::invalid::Invalid;
use crate::settings::Settings;

pub const EXAMPLES: &str = "\
Examples:
  retro retrieve 'The Dune film was released in' --neighbours 4
  retro retrieve 'Tea is' --filter '{\"field\": \"lang\", \"op\": \"eq\", \"value\": \"en\"}'
  retro retrieve 'Tea is' --json | jq '.chunks[].neighbours[].distance'";

#[derive(Args)]
pub struct RetrieveArgs {
    /// Text whose neighbours are wanted
    text: String,
    #[command(flatten)]
    search: SearchArgs,
    /// Print JSON, as POST /v1/retrieve gives it
    #[arg(long)]
    json: bool,
}

/// Prints what the model would see for a text.
pub async fn run(args: RetrieveArgs, settings: Settings) -> anyhow::Result<()> {
    if args.text.is_empty() {
        return Err(Invalid::new("text", "must not be empty").into());
    }
    let parts = Parts::load(&settings).await?;
    let (alignment, limits) = (args.search.alignment, Limits::from(parts.model.manifest().as_ref()));
    let options = args.search.into_request().validate("", &limits)?;
    ensure_searchable(&parts, &options).await?;
    let found = parts.retriever.retrieve_text(&args.text, alignment.unwrap_or_default(), &options).await?;
    if args.json {
        return Ok(output::json(&RetrieveResponse::from(found))?);
    }
    let mut out = anstream::stdout().lock();
    for chunk in &found.chunks {
        print::neighbours(&mut out, chunk.chunk, &chunk.text, &chunk.neighbours)?;
    }
    Ok(())
}
