use std::io;

use clap::Args;

use super::print;
use super::search_args::{SearchArgs, ensure_searchable};
use crate::app::Parts;
use crate::generate::Limits;
use crate::settings::Settings;

#[derive(Args)]
pub struct RetrieveArgs {
    /// Text whose neighbours are wanted
    text: String,
    #[command(flatten)]
    search: SearchArgs,
}

/// Prints what the model would see for a text.
pub async fn run(args: RetrieveArgs, settings: Settings) -> anyhow::Result<()> {
    anyhow::ensure!(!args.text.is_empty(), "`text` must not be empty");
    let parts = Parts::load(&settings).await?;
    let (alignment, limits) = (args.search.alignment, Limits::from(parts.model.manifest().as_ref()));
    let options = args.search.into_request().validate("", &limits)?;
    ensure_searchable(&parts, &options).await?;
    let found = parts.retriever.retrieve_text(&args.text, alignment.unwrap_or_default(), &options).await?;
    let mut out = io::stdout().lock();
    for chunk in &found.chunks {
        print::neighbours(&mut out, chunk.chunk, &chunk.text, &chunk.neighbours)?;
    }
    Ok(())
}
