//! The command line: one file a subcommand.

mod backup;
mod bench;
mod check;
mod complete;
mod completions;
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
mod output;
mod print;
mod progress;
mod read_file;
mod reindex;
mod restore;
mod retrieve;
mod search_args;
mod serve;
mod version;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use interrupt::unless_interrupted;

use crate::invalid::Invalid;
use crate::settings::{Settings, SettingsError, Sources, layer_file};
use crate::telemetry;

/// What was given cannot be right, as clap's own errors say.
const USAGE: u8 = 2;
/// What a shell gives a program that ended because nobody read its output any more.
const OUTPUT_CLOSED: u8 = 141;

/// RETRO: a small language model that looks its facts up in a database.
#[derive(Parser)]
#[command(name = "retro", version, propagate_version = true, max_term_width = 120, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong arguments or settings, 3 done but for what was skipped (ingest), 130 stopped by Ctrl-C, 141 nobody
read the output to its end. `retro COMMAND --help` has examples; docs/cli.md has more.";

#[derive(Subcommand)]
enum Command {
    /// Serve the model over HTTP
    #[command(after_help = serve::EXAMPLES)]
    Serve {
        #[command(flatten)]
        args: serve::ServeArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Put files into the database, whether a server runs or not
    #[command(after_help = ingest::EXAMPLES)]
    Ingest {
        #[command(flatten)]
        args: ingest::IngestArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Write a collection to a Parquet file, for other programs or another server
    #[command(after_help = export::EXAMPLES)]
    Export {
        #[command(flatten)]
        args: export::ExportArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Take in Parquet files that `retro export` or another program wrote
    #[command(after_help = import::EXAMPLES)]
    Import {
        #[command(flatten)]
        args: import::ImportArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Make collections anew from their own text, after a change of model, embedder or its precision
    #[command(after_help = reindex::EXAMPLES)]
    Reindex {
        #[command(flatten)]
        args: reindex::ReindexArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Embed the chunks of files and say how fast; no database is needed
    #[command(after_help = embed::EXAMPLES)]
    Embed {
        #[command(flatten)]
        args: embed::EmbedArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Complete a prompt
    #[command(after_help = complete::EXAMPLES)]
    Complete {
        #[command(flatten)]
        args: complete::CompleteArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Show the neighbours of a text
    #[command(after_help = retrieve::EXAMPLES)]
    Retrieve {
        #[command(flatten)]
        args: retrieve::RetrieveArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Index a collection, which a server does by itself where its embeddings do not fit their memory; and measure searches
    #[command(after_help = index::EXAMPLES)]
    Index {
        #[command(flatten)]
        args: index::IndexArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Measure the model on texts, with and without its database
    #[command(after_help = eval::EXAMPLES)]
    Eval {
        #[command(flatten)]
        args: eval::EvalArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Measure the engine's speed
    #[command(after_help = bench::EXAMPLES)]
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
    /// Print what a shell needs to complete this program's commands and flags
    #[command(after_help = completions::EXAMPLES)]
    Completions(completions::CompletionsArgs),
    /// Copy both stores, as they are at one moment, while a server runs
    #[command(after_help = backup::EXAMPLES)]
    Backup {
        #[command(flatten)]
        args: backup::BackupArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Make a data folder of a backup
    #[command(after_help = restore::EXAMPLES)]
    Restore {
        #[command(flatten)]
        args: restore::RestoreArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// Say what is installed, what runs, and what is wrong
    #[command(after_help = doctor::EXAMPLES)]
    Doctor {
        #[command(flatten)]
        args: doctor::DoctorArgs,
        #[command(flatten)]
        settings: Settings,
    },
}

impl Command {
    fn settings(&self) -> Option<&Settings> {
        match self {
            Self::Serve { settings, .. }
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
            | Self::Backup { settings, .. }
            | Self::Restore { settings, .. }
            | Self::Doctor { settings, .. } => Some(settings),
            Self::Keys(command) => Some(command.settings()),
            Self::Openapi | Self::Completions(_) | Self::ReadFile(_) => None,
        }
    }
}

/// Runs the command that the process was started with. An error is one sentence on standard error and a code other than 0.
pub fn main() -> ExitCode {
    // SAFETY: the process has no other thread yet.
    unsafe { crate::onnx::keep_to_itself() };
    let result = parse().and_then(|(command, sources)| {
        // It bounds its own memory, of which threads would take a part.
        if let Command::ReadFile(args) = &command {
            return read_file::run(args).map(|()| ExitCode::SUCCESS);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(run(command, sources));
        // A blocking read of the terminal or a slow thread must not hold the process.
        runtime.shutdown_background();
        result
    });
    result.unwrap_or_else(|error| {
        let code = code(&error);
        // Who closed the output, as `head` does, wants no more of it.
        if code != OUTPUT_CLOSED {
            output::note(sentence(&error));
        }
        ExitCode::from(code)
    })
}

fn code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        OUTPUT_CLOSED
    } else if error.is::<Invalid>() || error.is::<SettingsError>() {
        USAGE
    } else {
        1
    }
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
fn parse() -> anyhow::Result<(Command, Sources)> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let first = Cli::try_parse_from(&arguments).or_else(|error| refuse(&error, &arguments))?.command;
    let Some(settings) = first.settings() else { return Ok((first, Sources::default())) };
    let (command, file) = layer_file(Cli::command(), settings.config.as_deref().map(Path::new))?;
    let matches = command.try_get_matches_from(&arguments).or_else(|error| refuse(&error, &arguments))?;
    let command = Cli::from_arg_matches(&matches).or_else(|error| refuse(&error, &arguments))?.command;
    let own = matches.subcommand().map(|(_, own)| own.clone()).unwrap_or_default();
    Ok((command, Sources::new(own, file)))
}

/// Says what clap has to say, be it an error or a help text, and ends the process; except where the error is not the command line's.
fn refuse<T>(error: &clap::Error, arguments: &[OsString]) -> anyhow::Result<T> {
    if let Some(error) = SettingsError::of_variable(error, arguments) {
        return Err(error.into());
    }
    if error.kind() == ErrorKind::DisplayVersion && arguments.iter().any(|argument| argument == "--version") {
        version::print()?;
        std::process::exit(0);
    }
    error.exit()
}

async fn run(command: Command, sources: Sources) -> anyhow::Result<ExitCode> {
    let usual = if matches!(command, Command::Serve { .. }) { "info" } else { "warn" };
    let telemetry = command.settings().map(|settings| telemetry::init(settings, usual)).transpose()?;
    let result = run_command(command, &sources).await;
    if let Some(telemetry) = telemetry {
        telemetry.end().await;
    }
    result
}

async fn run_command(command: Command, sources: &Sources) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve { args, settings } => serve::run(&args, settings, sources).await,
        Command::Ingest { args, settings } => ingest::run(args, settings).await,
        Command::Export { args, settings } => export::run(args, settings).await,
        Command::Import { args, settings } => import::run(args, settings).await,
        Command::Reindex { args, settings } => reindex::run(args, settings).await,
        Command::Embed { args, settings } => unless_interrupted(embed::run(args, settings)).await,
        Command::Complete { args, settings } => unless_interrupted(complete::run(args, settings)).await,
        Command::Retrieve { args, settings } => unless_interrupted(retrieve::run(args, settings)).await,
        Command::Index { args, settings } => unless_interrupted(index::run(args, settings)).await,
        Command::Eval { args, settings } => eval::run(args, settings).await,
        Command::Bench { args, settings } => unless_interrupted(bench::run(args, settings)).await,
        Command::Keys(command) => unless_interrupted(keys::run(command)).await,
        Command::ReadFile(args) => read_file::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Openapi => openapi::run().map(|()| ExitCode::SUCCESS),
        Command::Completions(args) => completions::run(&args, Cli::command()).map(|()| ExitCode::SUCCESS),
        Command::Backup { args, settings } => unless_interrupted(backup::run(args, settings)).await,
        Command::Restore { args, settings } => unless_interrupted(restore::run(args, settings)).await,
        Command::Doctor { args, settings } => doctor::run(&args, &settings).await,
    }
}
