//! The command line: one file a subcommand.

mod bench;
mod complete;
mod doctor;
mod embed;
mod eval;
mod export;
mod import;
mod index;
mod ingest;
mod interrupt;
mod keys;
mod openapi;
mod print;
mod progress;
mod read_file;
mod reindex;
mod retrieve;
mod search_args;
mod serve;

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::settings::{Settings, layer_file};
use crate::telemetry;

/// RETRO: a small language model that looks its facts up in a database.
#[derive(Parser)]
#[command(name = "retro", version, propagate_version = true, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the model over HTTP
    Serve {
        #[command(flatten)]
        settings: Settings,
    },
    /// Put files into the database, whether a server runs or not
    Ingest {
        #[command(flatten)]
        args: ingest::IngestArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Write a collection to a Parquet file, for other programs or another server
    Export {
        #[command(flatten)]
        args: export::ExportArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Take in Parquet files that `retro export` or another program wrote
    Import {
        #[command(flatten)]
        args: import::ImportArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Make collections anew from their own text, after a change of model, embedder or its precision
    Reindex {
        #[command(flatten)]
        args: reindex::ReindexArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Embed the chunks of files and say how fast; no database is needed
    Embed {
        #[command(flatten)]
        args: embed::EmbedArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Complete a prompt
    Complete {
        #[command(flatten)]
        args: complete::CompleteArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Show the neighbours of a text
    Retrieve {
        #[command(flatten)]
        args: retrieve::RetrieveArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Index a collection, which a server does by itself where its embeddings do not fit their memory; and measure searches
    Index {
        #[command(flatten)]
        args: index::IndexArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Measure the model on texts, with and without its database
    Eval {
        #[command(flatten)]
        args: eval::EvalArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Measure the engine's speed
    Bench {
        #[command(flatten)]
        args: bench::BenchArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Make, list and revoke the keys that clients send
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Read a file for `retro ingest`, in a process of its own
    #[command(hide = true)]
    ReadFile(read_file::ReadFileArgs),
    /// Print the description of the HTTP API (OpenAPI)
    Openapi,
    /// Say what is installed, what runs, and what is wrong
    Doctor {
        #[command(flatten)]
        settings: Settings,
    },
}

impl Command {
    fn settings(&self) -> Option<&Settings> {
        match self {
            Self::Serve { settings }
            | Self::Ingest { settings, .. }
            | Self::Export { settings, .. }
            | Self::Import { settings, .. }
            | Self::Reindex { settings, .. }
            | Self::Embed { settings, .. }
            | Self::Complete { settings, .. }
            | Self::Retrieve { settings, .. }
            | Self::Index { settings, .. }
            | Self::Eval { settings, .. }
            | Self::Bench { settings, .. }
            | Self::Doctor { settings } => Some(settings),
            Self::Keys(command) => Some(command.settings()),
            Self::Openapi | Self::ReadFile(_) => None,
        }
    }
}

/// Runs the command that the process was started with. An error is one sentence on standard error and a code other than 0.
pub fn main() -> ExitCode {
    let result = parse().and_then(|command| {
        // It bounds its own memory, of which threads would take a part.
        if let Command::ReadFile(args) = &command {
            return read_file::run(args).map(|()| ExitCode::SUCCESS);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(run(command));
        // A blocking read of the terminal or a slow thread must not hold the process.
        runtime.shutdown_background();
        result
    });
    result.unwrap_or_else(|error| {
        // Who closed the output, as `head` does, wants no more of it.
        let output_closed = error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if !output_closed {
            eprintln!("retro: {}", sentence(&error));
        }
        ExitCode::FAILURE
    })
}

/// An error with its causes; many errors tell their cause themselves, which is not said twice.
fn sentence(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .reduce(|text, cause| if text.contains(&cause) { text } else { format!("{text}: {cause}") })
        .unwrap_or_default()
}

/// Reads the command line twice: the first time only tells which settings file holds the defaults of the second.
fn parse() -> anyhow::Result<Command> {
    let first = Cli::parse();
    let file = first.command.settings().and_then(|settings| settings.config.as_deref()).map(Path::to_owned);
    if first.command.settings().is_none() {
        return Ok(first.command);
    }
    let (command, _) = layer_file(Cli::command(), file.as_deref())?;
    let matches = command.get_matches();
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command)
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    if let Some(settings) = command.settings() {
        telemetry::init(settings, if matches!(command, Command::Serve { .. }) { "info" } else { "warn" });
    }
    match command {
        Command::Serve { settings } => serve::run(settings).await.map(|()| ExitCode::SUCCESS),
        Command::Ingest { args, settings } => ingest::run(args, settings).await,
        Command::Export { args, settings } => export::run(args, settings).await,
        Command::Import { args, settings } => import::run(args, settings).await,
        Command::Reindex { args, settings } => reindex::run(args, settings).await,
        Command::Embed { args, settings } => embed::run(args, settings).await.map(|()| ExitCode::SUCCESS),
        Command::Complete { args, settings } => complete::run(args, settings).await.map(|()| ExitCode::SUCCESS),
        Command::Retrieve { args, settings } => retrieve::run(args, settings).await.map(|()| ExitCode::SUCCESS),
        Command::Index { args, settings } => index::run(args, settings).await.map(|()| ExitCode::SUCCESS),
        Command::Eval { args, settings } => eval::run(args, settings).await.map(|()| ExitCode::SUCCESS),
        Command::Bench { args, settings } => bench::run(args, settings).await.map(|()| ExitCode::SUCCESS),
        Command::Keys(command) => keys::run(command).await.map(|()| ExitCode::SUCCESS),
        Command::ReadFile(args) => read_file::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Openapi => openapi::run().map(|()| ExitCode::SUCCESS),
        Command::Doctor { settings } => doctor::run(&settings).await,
    }
}
