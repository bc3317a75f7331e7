use std::io::{self, Write};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::output;
use crate::catalogue::{ApiKey, Catalogue, KeyState};
use crate::keys::{Scope, Scopes, Secret};
use crate::names::KeyName;
use crate::settings::Settings;

const CREATE_EXAMPLES: &str = "\
Examples:
  retro keys create web --scope complete
  retro keys create loader --scope ingest --scope complete --expires 90d --json";

const LIST_EXAMPLES: &str = "\
Examples:
  retro keys list
  retro keys list --json";

const REVOKE_EXAMPLES: &str = "\
Examples:
  retro keys revoke 0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867";

#[derive(Subcommand)]
pub enum KeysCommand {
    /// Make a key and print it: it is shown this once
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        #[command(flatten)]
        args: CreateArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// List the keys, without what is secret of them
    #[command(after_help = LIST_EXAMPLES)]
    List {
        #[command(flatten)]
        args: ListArgs,
        #[command(flatten)]
        settings: Settings,
    },
    /// End a key for good; a running server refuses it from then on
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke {
        #[command(flatten)]
        args: RevokeArgs,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Args)]
pub struct CreateArgs {
    /// What to call it, in lists and in the server's log
    name: String,
    /// What it allows: `complete`, `ingest`, `metrics` or `admin`; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Scope>,
    /// How long it is taken, like 90d: a number of s, m, h, d or w [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
    /// Print the key, and what is known of it, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct ListArgs {
    /// Print them as JSON: one list
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct RevokeArgs {
    /// The key's id, which `retro keys list` says
    id: Uuid,
    /// Print what is known of the key as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Created<'a> {
    /// The key itself.
    secret: &'a str,
    #[serde(flatten)]
    key: Listed<'a>,
}

#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    key: &'a ApiKey,
    state: KeyState,
}

impl<'a> Listed<'a> {
    fn of(key: &'a ApiKey, now: Timestamp) -> Self {
        Self { key, state: key.state(now) }
    }
}

impl KeysCommand {
    pub fn settings(&self) -> &Settings {
        match self {
            Self::Create { settings, .. } | Self::List { settings, .. } | Self::Revoke { settings, .. } => settings,
        }
    }
}

/// Works on the catalogue alone, whether a server runs on it or not.
pub async fn run(command: KeysCommand) -> anyhow::Result<()> {
    let settings = command.settings();
    let catalogue = Catalogue::open(&settings.data_dir, settings.database_url.as_deref()).await?;
    match command {
        KeysCommand::Create { args, .. } => create(args, &catalogue).await?,
        KeysCommand::List { args, .. } => list(&args, &catalogue).await?,
        KeysCommand::Revoke { args, .. } => revoke(&args, &catalogue).await?,
    }
    catalogue.close().await;
    Ok(())
}

async fn create(args: CreateArgs, catalogue: &Catalogue) -> anyhow::Result<()> {
    let name = KeyName::parse("name", &args.name)?;
    let scopes = Scopes::new(args.scopes)?;
    let end = |after| Timestamp::now().checked_add(after).context("`--expires` is too long");
    let expires_at = args.expires.map(end).transpose()?;
    let secret = Secret::random();
    let key = catalogue.add_key(&secret, &name, &scopes, expires_at).await?;
    if args.json {
        return Ok(output::json(&Created { secret: secret.reveal(), key: Listed::of(&key, Timestamp::now()) })?);
    }
    let until = key.expires_at.map_or_else(|| "until it is revoked".to_owned(), |end| format!("until {}", to_the_second(end)));
    output::note(format_args!("key {} `{}` for {} is taken {until}. It is shown this once:", key.id, key.name, key.scopes));
    // Alone on the output, so that a script can take it.
    Ok(output::line(secret.reveal())?)
}

async fn list(args: &ListArgs, catalogue: &Catalogue) -> anyhow::Result<()> {
    let (keys, now) = (catalogue.keys().await?, Timestamp::now());
    let mut out = io::stdout().lock();
    if args.json {
        let listed: Vec<_> = keys.iter().map(|key| Listed::of(key, now)).collect();
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&listed)?)?);
    }
    if keys.is_empty() {
        return Ok(writeln!(out, "there are no keys; `retro keys create NAME --scope admin` makes one")?);
    }
    let header = ["ID", "NAME", "KEY", "SCOPES", "CREATED", "LAST USED", "STATE"].map(str::to_owned);
    let rows: Vec<_> = [header].into_iter().chain(keys.iter().map(|key| columns(key, now))).collect();
    for row in &rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[at].len()).max().unwrap_or_default();
            line += &format!("{cell:width$}  ");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn columns(key: &ApiKey, now: Timestamp) -> [String; 7] {
    let state = match (key.state(now), key.revoked_at, key.expires_at) {
        (KeyState::Revoked, Some(time), _) => format!("revoked {}", to_the_second(time)),
        (KeyState::Expired, _, Some(time)) => format!("expired {}", to_the_second(time)),
        (_, _, Some(time)) => format!("until {}", to_the_second(time)),
        _ => "active".to_owned(),
    };
    [
        key.id.to_string(),
        key.name.to_string(),
        format!("{}...", key.prefix),
        key.scopes.to_string(),
        to_the_second(key.created_at),
        key.last_used_at.map_or_else(|| "never".to_owned(), to_the_second),
        state,
    ]
}

async fn revoke(args: &RevokeArgs, catalogue: &Catalogue) -> anyhow::Result<()> {
    let id = args.id;
    let key = catalogue.revoke_key(id).await?.with_context(|| format!("there is no key {id}; `retro keys list` lists them"))?;
    if args.json {
        return Ok(output::json(&Listed::of(&key, Timestamp::now()))?);
    }
    Ok(output::line(format_args!("key {} `{}` is revoked", key.id, key.name))?)
}

fn to_the_second(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn lifetime(given: &str) -> Result<Duration, String> {
    let rule = || "it is a whole number above 0 with a unit: s, m, h, d or w".to_owned();
    let unit = given.chars().next_back().ok_or_else(rule)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        'w' => 7 * 24 * 60 * 60,
        _ => return Err(rule()),
    };
    let number: u64 = given[..given.len() - unit.len_utf8()].parse().ok().filter(|&number| number > 0).ok_or_else(rule)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "it is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_have_a_unit() {
        for (given, seconds) in [("90d", 7_776_000), ("1s", 1), ("2w", 1_209_600), ("24h", 86_400), ("5m", 300)] {
            assert_eq!(lifetime(given), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["", "d", "90", "0d", "-1d", "1.5h", "1é", "1D", "99999999999999999w"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }
}
