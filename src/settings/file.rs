//! `retro.toml`: the settings' names as keys.

use std::path::{Path, PathBuf};

use clap::builder::Resettable;
use clap::{Args, Command};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Settings;

/// What is wrong with a setting, and where it was written. Flags are clap's own affair.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings file {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the settings file {path}, line {line}, is not TOML: {reason}")]
    Toml { path: PathBuf, line: usize, reason: String },
    #[error("the settings file {path}, line {line}, has an unknown key `{key}`; the keys are {known}")]
    UnknownKey { path: PathBuf, line: usize, key: String, known: String },
    #[error("the settings file {path}, line {line}: `{key}`: {reason}")]
    Value { path: PathBuf, line: usize, key: String, reason: String },
    #[error("the environment variable {variable}, which is {value:?}: {reason}")]
    Variable { variable: String, value: String, reason: String },
}

/// A settings file that was read.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    values: Vec<Value>,
}

/// A key of the file with its value as a flag would have it.
#[derive(Debug)]
struct Value {
    key: String,
    line: usize,
    texts: Vec<String>,
}

/// Puts the values of the settings file in the place of the defaults of `command` and its subcommands. Without `path`, `./retro.toml` is
/// taken where there is one.
///
/// # Errors
/// The file cannot be read or is no TOML, or a key or value is not one of [`Settings`].
pub fn layer_file(command: Command, path: Option<&Path>) -> Result<(Command, Option<SettingsFile>), SettingsError> {
    let usual = Path::new("retro.toml");
    let path = match path {
        Some(path) => path,
        None if usual.exists() => usual,
        None => return Ok((command, None)),
    };
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    let file = SettingsFile::parse(path, &text)?;
    Ok((layer(command, &file.values), Some(file)))
}

impl SettingsFile {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let path = path.to_owned();
        let line = |at: usize| text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
        let table = DeTable::parse(text).map_err(|e| SettingsError::Toml {
            path: path.clone(),
            line: line(e.span().map_or(0, |span| span.start)),
            reason: one_line(e.message()),
        })?;
        let mut entries: Vec<_> = table.into_inner().into_iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let command = alone();
        let known = || command.get_arguments().map(|arg| arg.get_id().as_str()).filter(|&id| id != "config");
        let mut values = Vec::new();
        for (key, value) in entries {
            let (line, key) = (line(key.span().start), key.into_inner().into_owned());
            if !known().any(|id| id == key) {
                return Err(SettingsError::UnknownKey { path, line, key, known: known().collect::<Vec<_>>().join(", ") });
            }
            // The same parser as for flags, asked early so that the error can name the file.
            let checked = texts(&value).and_then(|texts| check(&command, &key, &texts).map(|()| texts));
            match checked {
                Ok(texts) => values.push(Value { key, line, texts }),
                Err(reason) => return Err(SettingsError::Value { path, line, key, reason }),
            }
        }
        Ok(Self { path, values })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The line that names a setting, counted from 1.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        self.values.iter().find(|value| value.key == key).map(|value| value.line)
    }
}

/// A command of all settings' flags alone: what stands in the environment is not looked at.
pub(super) fn alone() -> Command {
    let command = Settings::augment_args(Command::new("retro").no_binary_name(true));
    command.mut_args(|arg| arg.env(Resettable::Reset))
}

/// # Errors
/// The rule that the value of a setting breaks. `command` is [`alone`].
pub(super) fn check(command: &Command, key: &str, texts: &[String]) -> Result<(), String> {
    let flags = texts.iter().map(|text| format!("--{}={text}", key.replace('_', "-")));
    command.clone().try_get_matches_from(flags).map(drop).map_err(|e| reason(&e))
}

fn layer(command: Command, values: &[Value]) -> Command {
    let command = command.mut_subcommands(|sub| layer(sub, values));
    values.iter().fold(command, |command, Value { key, texts, .. }| {
        if !command.get_arguments().any(|arg| arg.get_id() == key.as_str()) {
            return command;
        }
        // clap keeps defaults for the life of the process.
        let texts: Vec<&'static str> = texts.iter().map(|text| &*text.clone().leak()).collect();
        command.mut_arg(key, |arg| arg.default_values(texts))
    })
}

fn texts(value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
    let rule = || "it must be a string, a whole number, true, false or a list of strings".to_owned();
    match value.get_ref() {
        DeValue::String(text) => Ok(vec![text.to_string()]),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| vec![number.to_string()])
            .map_err(|_| format!("a whole number must lie within {} and {}", i64::MIN, i64::MAX)),
        DeValue::Boolean(value) => Ok(vec![value.to_string()]),
        DeValue::Array(list) => list.iter().map(|item| item.get_ref().as_str().map(str::to_owned).ok_or_else(rule)).collect(),
        _ => Err(rule()),
    }
}

fn reason(error: &clap::Error) -> String {
    std::error::Error::source(error)
        .map_or_else(|| one_line(error.to_string().trim_start_matches("error: ")), ToString::to_string)
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("For more information"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    fn settings(file: &str, flags: &[&str]) -> Result<Settings, String> {
        let file = SettingsFile::parse(Path::new("retro.toml"), file).map_err(|e| e.to_string())?;
        let command = layer(alone(), &file.values);
        let matches = command.try_get_matches_from(flags).map_err(|e| e.to_string())?;
        Settings::from_arg_matches(&matches).map_err(|e| e.to_string())
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let file = "listen = \"127.0.0.1:1\"\nmax_queue = 5\ncors_origins = [\"http://a\", \"http://b\"]\nlance_uri = \"elsewhere\"\n\
             allow_anonymous = true";
        let settings = settings(file, &["--listen", "127.0.0.1:2"]).unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.max_queue, 5);
        assert_eq!(settings.cors_origins, ["http://a", "http://b"]);
        assert_eq!(settings.lance_uri(), "elsewhere");
        assert_eq!(settings.max_documents, 1000);
        assert!(settings.allow_anonymous);
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        for (file, expected) in [
            ("lisen = \"127.0.0.1:1\"", "`lisen`"),
            ("config = \"x\"", "`config`"),
            ("device = \"gpu\"", "`device`: it is `auto`, `cpu`, `cuda`"),
            ("device = \"cuda:-1\"", "`device`: it is `auto`, `cpu`, `cuda`"),
            ("max_queue = 0", "retro.toml, line 1: `max_queue`"),
            ("listen = \"here\"", "`listen`"),
            ("cors_origins = [\"example.org\"]", "`cors_origins`: an origin is"),
            ("threads = 1.5", "`threads`: it must be a string"),
            ("threads = true", "`threads`: it must be a whole number, 0 to"),
            ("# above\n\nlog_format = \"json\"\nmax_queue = 0", "line 4: `max_queue`: it must be a whole number, 1 to"),
            ("listen = \"[::]\"", "with a port"),
            ("max_queue = 99999999999999999999", "`max_queue`: a whole number must lie within"),
            ("database_url = \"postgres://me:***@host/db\"", "`database_url`: its password is masked"),
            ("allow_anonymous = 1", "`allow_anonymous`"),
            ("threads = 2\nlisten = ", "line 2, is not TOML"),
            ("threads = 2\nthreads = 3", "line 2, is not TOML"),
        ] {
            let error = settings(file, &[]).unwrap_err();
            assert!(error.contains(expected), "{file}: {error}");
            assert!(!error.contains('\n'), "{file}: {error}");
        }
    }
}
