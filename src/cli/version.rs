use std::path::PathBuf;

use clap::{Args, Command, FromArgMatches};

use super::output;
use crate::onnx::Runtime;
use crate::settings::{Settings, layer_file};

/// This program's version, with the commit where whoever built it gave one.
pub fn own() -> String {
    let version = env!("CARGO_PKG_VERSION");
    // A build script that asks git would build the crate anew after every commit, and fail where there is no git.
    match option_env!("RETRO_COMMIT").filter(|commit| !commit.is_empty()) {
        Some(commit) => format!("{version} (commit {commit})"),
        None => version.to_owned(),
    }
}

/// Prints the versions of this program and of the ONNX Runtime that it would load.
pub fn print() -> anyhow::Result<()> {
    output::line(format_args!("retro {}", own()))?;
    let runtime = Runtime::release(library().as_deref());
    let runtime = runtime.map(|(release, library)| format!("ONNX Runtime {release} ({})", library.display()));
    Ok(output::line(runtime.unwrap_or_else(|error| error.to_string()))?)
}

/// The setting of environment and file. Where they are wrong, that is for other commands to say.
fn library() -> Option<PathBuf> {
    let command = Settings::augment_args(Command::new("retro").no_binary_name(true));
    let read = |command: Command| {
        let matches = command.try_get_matches_from(std::iter::empty::<&str>()).ok()?;
        Settings::from_arg_matches(&matches).ok()
    };
    let config = read(command.clone())?.config;
    let (command, _) = layer_file(command, config.as_deref()).ok()?;
    read(command)?.onnxruntime
}
