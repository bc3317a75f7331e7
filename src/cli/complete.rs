use std::io::{self, IsTerminal, Write};

use clap::Args;

use super::search_args::{SearchArgs, ensure_searchable};
use super::{output, print};
use crate::app::Parts;
use crate::generate::{ChunkRetrieval, CompletionRequest, Event, EventStream, OnError, RetrievalRequest, Stop, fold};
use crate::http::CompletionResponse;
use crate::settings::Settings;

pub const EXAMPLES: &str = "\
Examples:
  retro complete 'The Dune film was released in' --max-tokens 24 --temperature 0
  retro complete 'The honey bee' --show-neighbours --seed 7
  retro complete 'The honey bee' --no-retrieval
  retro complete 'Tea is' --max-tokens 8 --json | jq -r .choices[0].text";

#[derive(Args)]
pub struct CompleteArgs {
    /// Text to go on from
    prompt: String,
    /// Tokens from one look-up to the next, 8 to 64 [default: 64]
    #[arg(long, value_name = "N")]
    interval: Option<usize>,
    /// Waits for neighbours at the prompt only; later ones are looked up early
    #[arg(long)]
    prefetch: bool,
    /// What a look-up that fails does to the completion: `continue` goes on without neighbours [default: fail]
    #[arg(long, value_name = "fail|continue", value_parser = parse_on_error)]
    on_error: Option<OnError>,

    /// Most tokens to make
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// 0 takes the most probable token each time
    #[arg(long, value_name = "0..2")]
    temperature: Option<f64>,
    /// Samples from the most probable tokens that together have this probability
    #[arg(long, value_name = "0..1")]
    top_p: Option<f64>,
    /// Samples from so many of the most probable tokens
    #[arg(long, value_name = "N")]
    top_k: Option<u32>,
    /// Drops tokens less probable than this share of the most probable one
    #[arg(long, value_name = "0..1")]
    min_p: Option<f64>,
    /// Divides the logits of tokens that the completion already holds
    #[arg(long, value_name = "0.5..2")]
    repetition_penalty: Option<f64>,
    /// Taken off the logits of a token for each time that the completion holds it
    #[arg(long, value_name = "-2..2", allow_negative_numbers = true)]
    frequency_penalty: Option<f64>,
    /// Taken off the logits of a token that the completion holds
    #[arg(long, value_name = "-2..2", allow_negative_numbers = true)]
    presence_penalty: Option<f64>,
    /// Makes sampling repeatable
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Text that ends the completion; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// The model without its database
    #[arg(long)]
    no_retrieval: bool,
    #[command(flatten)]
    search: SearchArgs,
    /// Shows on standard error what the model read
    #[arg(long)]
    show_neighbours: bool,
    /// Print the whole answer as JSON when it is done, as POST /v1/complete gives it
    #[arg(long)]
    json: bool,
}

/// Streams a completion to standard output, token by token.
pub async fn run(args: CompleteArgs, settings: Settings) -> anyhow::Result<()> {
    let (show_neighbours, json) = (args.show_neighbours, args.json);
    let parts = Parts::load(&settings).await?;
    let generator = parts.generator(&settings)?;
    let request = args.into_request().validate(&generator.limits(), &parts.tokenizer)?;
    if let Some(options) = request.search() {
        ensure_searchable(&parts, options).await?;
    }
    let events = generator.submit(request)?;
    let said = if json { whole(events, show_neighbours, &parts).await } else { stream(events, show_neighbours).await };
    // Whether it could be said or not: the end of a process takes the library from under a graph that runs.
    generator.shut_down().await;
    said
}

async fn whole(events: EventStream, show_neighbours: bool, parts: &Parts) -> anyhow::Result<()> {
    let completion = fold(events).await?;
    if show_neighbours {
        completion.chunks.iter().for_each(|chunk| show(chunk, false));
    }
    output::json(&CompletionResponse::new(&parts.model.manifest().name, completion, false))?;
    Ok(())
}

async fn stream(mut events: EventStream, show_neighbours: bool) -> anyhow::Result<()> {
    // Where both outputs are one terminal, neighbours begin on a line of their own, and the text goes on after them.
    let shared = io::stdout().is_terminal() && io::stderr().is_terminal();
    let mut said = false;
    while let Some(event) = events.next().await {
        match event? {
            Event::Retrieval(chunk) if show_neighbours => show(&chunk, shared && said),
            Event::Retrieval(_) => {}
            Event::Token(token) => {
                let mut out = io::stdout().lock();
                out.write_all(token.text.as_bytes()).and_then(|()| out.flush())?;
                said |= !token.text.is_empty();
            }
            Event::Done(_) => return Ok(output::line("")?),
        }
    }
    anyhow::bail!("the completion ended before it was done")
}

/// Nobody needs to read it.
fn show(chunk: &ChunkRetrieval, amid: bool) {
    let mut out = anstream::stderr().lock();
    if amid {
        let _ = writeln!(out);
    }
    let _ = print::neighbours(&mut out, chunk.chunk, &chunk.text, &chunk.neighbours);
    if let Some(error) = chunk.error {
        let _ = writeln!(out, "  {}", error.message);
    }
}

/// The names that the HTTP API has too.
fn parse_on_error(given: &str) -> Result<OnError, String> {
    serde_json::from_value(serde_json::Value::from(given)).map_err(|_| "it is fail or continue".to_owned())
}

impl CompleteArgs {
    fn into_request(self) -> CompletionRequest {
        let (alignment, search) = (self.search.alignment, self.search.into_request());
        CompletionRequest {
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            seed: self.seed,
            stop: (!self.stop.is_empty()).then_some(Stop::Many(self.stop)),
            retrieval: RetrievalRequest {
                enabled: Some(!self.no_retrieval),
                neighbours: search.neighbours,
                collection: search.collection,
                max_distance: search.max_distance,
                filter: search.filter,
                exclude_documents: search.exclude_documents,
                distinct: search.distinct,
                as_of: search.as_of,
                exact: search.effort.exact,
                nprobes: search.effort.nprobes,
                refine: search.effort.refine,
                alignment,
                interval: self.interval,
                prefetch: self.prefetch,
                provided: None,
                on_error: self.on_error,
            },
            ..CompletionRequest::new(self.prompt)
        }
    }
}
