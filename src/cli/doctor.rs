use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;

use super::{check, output};
use crate::app::{identity, load_embedder};
use crate::catalogue::Catalogue;
use crate::consistency::{self, Repair};
use crate::embedder::Embedder;
use crate::model::{Checked, Model, ModelFolder, ModelOptions};
use crate::neighbours::{Database, Memory};
use crate::onnx::{Device, Runtime};
use crate::settings::Settings;
use crate::text::Tokenizer;

pub const EXAMPLES: &str = "\
Examples:
  retro doctor
  retro doctor --device cuda
  retro doctor --json
  retro doctor --check
  retro doctor --repair

The exit code is 1 where something is wrong, and where something was that could not be mended. What may be whole is never mended: a
store that is missing (unless --accept-loss says that it is meant), and files that cannot be looked at.";

#[derive(Args)]
pub struct DoctorArgs {
    /// Print what was found as JSON, when all is looked at
    #[arg(long)]
    json: bool,
    /// Read both stores to the last row and compare them, whether a server runs or not
    #[arg(long)]
    check: bool,
    /// Check the stores and mend what can be mended; no server may run
    #[arg(long)]
    repair: bool,
    /// Where a store, or a collection of one, is missing, take what it held as lost and mend the other one
    #[arg(long, requires = "repair")]
    accept_loss: bool,
    /// Check the stores, and embed all chunks again to compare their embeddings: it takes the time of taking all in again
    #[arg(long)]
    deep: bool,
}

/// Checks each part for itself and says in a line what it is, or what is wrong with it and how to mend it.
pub async fn run(args: &DoctorArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut report = Report { healthy: true, checks: Vec::new(), consistency: None, json: args.json };
    let runtime = report.check("ONNX Runtime", Runtime::load(settings.onnxruntime.as_deref()), |runtime| {
        format!("{} from {}", runtime.version(), runtime.library().display())
    });
    // Where CUDA is asked for and is not there, the rest is looked at as far as the CPU shows it.
    let device = match &runtime {
        Some(runtime) => report
            .check("provider", runtime.device(settings.device), |device| format!("{}, as `{device}`", device.provider()))
            .unwrap_or_default(),
        None => Device::Cpu,
    };
    let opened = ModelFolder::open(&settings.model, &settings.precision, device, Checked::All);
    let folder = report.check("model files", opened, |folder| {
        let manifest = folder.manifest();
        let variants = manifest.variants.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let files = manifest.files.len();
        format!("{} ({variants}): {files} files in {} as the manifest says", manifest.name, settings.model.display())
    });
    let tokenizer = report.check("tokenizer", Tokenizer::load(&settings.model.join("tokenizer.json")), |tokenizer| {
        format!("{} tokens, identity {}", tokenizer.vocabulary(), short(tokenizer.identity()))
    });
    let mut embedder = None;
    match &runtime {
        None => report.say(State::Untried, "model and embedder", "not tried without ONNX Runtime"),
        Some(runtime) => {
            if let Some(folder) = &folder {
                let options = ModelOptions { slots: 1, threads: settings.graph_threads(), device };
                report.check("model", Model::load(runtime, folder, options), |model| {
                    let parameters = model.manifest().parameters as f64 / 1e6;
                    format!("{parameters:.1} million parameters as {}, loads", folder.variant().0)
                });
            }
            embedder = check_embedder(&mut report, runtime, device, settings).await;
        }
    }
    report.check("data folder", writable(&settings.data_dir), |()| format!("{} can be written", settings.data_dir.display()));
    report.check("catalogue", documents(settings).await, |line| line.clone());
    match (folder, &tokenizer, &embedder) {
        (Some(folder), Some(tokenizer), Some(embedder)) => {
            let identity = identity(folder.manifest(), tokenizer, embedder);
            report.check("database", collections(&settings.lance_uri(), identity).await, |line| line.clone());
        }
        _ => report.say(State::Untried, "database", "not tried: it is checked against the model's tokenizer and the embedder"),
    }
    if args.check || args.repair || args.deep {
        let repair = args.repair.then_some(Repair { accepts_loss: args.accept_loss });
        match check::stores(settings, tokenizer, embedder.filter(|_| args.deep), repair).await {
            Ok(found) => {
                let state = if found.is_clean() { State::Ok } else { State::Wrong };
                report.healthy &= found.is_clean();
                report.say(state, "stores", &check::summary(&found));
                if !args.json {
                    check::print(&found);
                }
                report.consistency = Some(found);
            }
            Err(error) => {
                report.healthy = false;
                report.say(State::Wrong, "stores", &error.to_string());
            }
        }
    }
    if args.json {
        output::json(&report)?;
    }
    Ok(if report.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Serialize)]
struct Report {
    /// Whether nothing is wrong.
    healthy: bool,
    checks: Vec<Check>,
    /// What the stores are like; only where they were checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    consistency: Option<consistency::Report>,
    #[serde(skip)]
    json: bool,
}

#[derive(Serialize)]
struct Check {
    name: String,
    state: State,
    /// What it is, or what is wrong with it and how to mend it.
    text: String,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Wrong,
    Untried,
}

impl Report {
    fn check<T, E: Display>(&mut self, name: &str, result: Result<T, E>, describe: impl FnOnce(&T) -> String) -> Option<T> {
        match result {
            Ok(part) => {
                self.say(State::Ok, name, &describe(&part));
                Some(part)
            }
            Err(error) => {
                self.healthy = false;
                self.say(State::Wrong, name, &error.to_string());
                None
            }
        }
    }

    fn say(&mut self, state: State, name: &str, text: &str) {
        if !self.json {
            let (style, word) = match state {
                State::Ok => (AnsiColor::Green.on_default(), "ok"),
                State::Wrong => (AnsiColor::Red.on_default().bold(), "wrong"),
                State::Untried => (Style::new(), "-"),
            };
            // Nobody needs to read it.
            let _ = writeln!(anstream::stdout(), "{style}{word:<6}{style:#} {name:<19} {text}");
        }
        self.checks.push(Check { name: name.to_owned(), state, text: text.to_owned() });
    }
}

async fn check_embedder(report: &mut Report, runtime: &Runtime, device: Device, settings: &Settings) -> Option<Embedder> {
    let tried = match load_embedder(runtime, settings, device).await {
        Ok(embedder) => embedder.embed(vec!["ready".to_owned()]).await.map(|_| embedder).map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    report.check("embedder", tried, |embedder| {
        format!(
            "{}, {} dimensions, {}, identity {}, runs",
            embedder.name(),
            embedder.dimension(),
            embedder.precision(),
            short(embedder.identity())
        )
    })
}

fn writable(folder: &Path) -> Result<(), String> {
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, b"x"))
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|e| {
            format!("{} cannot be written: {e}; give this user the folder, or name another with `data_dir`", folder.display())
        })
}

async fn documents(settings: &Settings) -> anyhow::Result<String> {
    let catalogue = Catalogue::open(&settings.data_dir, settings.database_url.as_deref()).await?;
    let counts = catalogue.count_documents(None).await?;
    catalogue.close().await;
    Ok(format!("{} documents ready, {} pending, {} failed", counts.ready, counts.pending, counts.failed))
}

async fn collections(uri: &str, identity: crate::neighbours::Identity) -> anyhow::Result<String> {
    let database = Database::open(uri, identity, Memory::default()).await?;
    let mut collections = Vec::new();
    for name in database.collections().await? {
        collections.push(format!("{name} ({} chunks)", database.stats(&name).await?.chunks));
    }
    let collections = if collections.is_empty() { "no collections yet".to_owned() } else { collections.join(", ") };
    Ok(format!("{uri}: {collections}, made with this tokenizer and embedder"))
}

fn short(identity: &str) -> &str {
    identity.get(..12).unwrap_or(identity)
}
