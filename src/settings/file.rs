//! `retro.toml`: the settings' names as keys.

use std::path::{Path, PathBuf};

use clap::{Args, Command};

use super::Settings;

/// What is wrong with a settings file.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings file {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the settings file {path} is not TOML: {reason}")]
    Toml { path: PathBuf, reason: String },
    #[error("the settings file {path} has an unknown key `{key}`; the keys are {known}")]
    UnknownKey { path: PathBuf, key: String, known: String },
    #[error("the settings file {path}: `{key}`: {reason}")]
    Value { path: PathBuf, key: String, reason: String },
}

/// Puts the values of the settings file in the place of the defaults of `command` and its subcommands. Without `path`, `./retro.toml` is
/// taken where there is one.
///
/// # Errors
/// The file cannot be read or is no TOML, or a key or value is not one of [`Settings`].
pub fn layer_file(command: Command, path: Option<&Path>) -> Result<Command, SettingsError> {
    let usual = Path::new("retro.toml");
    let path = match path {
        Some(path) => path,
        None if usual.exists() => usual,
        None => return Ok(command),
    };
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    Ok(layer(command, &parse(path, &text)?))
}

type Values = Vec<(String, Vec<String>)>;

fn parse(path: &Path, text: &str) -> Result<Values, SettingsError> {
    let table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| SettingsError::Toml { path: path.to_owned(), reason: one_line(&e.to_string()) })?;
    let command = Settings::augment_args(Command::new("retro").no_binary_name(true));
    let known = |key: &str| key != "config" && command.get_arguments().any(|arg| arg.get_id() == key);
    let mut values = Values::new();
    for (key, value) in table {
        if !known(&key) {
            let known = command.get_arguments().map(|arg| arg.get_id().as_str()).filter(|&id| id != "config");
            return Err(SettingsError::UnknownKey { path: path.to_owned(), key, known: known.collect::<Vec<_>>().join(", ") });
        }
        let refused = |reason: String| SettingsError::Value { path: path.to_owned(), key: key.clone(), reason };
        let texts = texts(value)
            .ok_or_else(|| refused("must be a string, a whole number, true, false or a list of strings".to_owned()))?;
        // The same parser as for flags, asked early so that the error can name the file.
        let flags = texts.iter().map(|text| format!("--{}={text}", key.replace('_', "-")));
        command.clone().try_get_matches_from(flags).map_err(|e| refused(reason(&e)))?;
        values.push((key, texts));
    }
    Ok(values)
}

fn layer(command: Command, values: &Values) -> Command {
    let command = command.mut_subcommands(|sub| layer(sub, values));
    values.iter().fold(command, |command, (key, texts)| {
        if !command.get_arguments().any(|arg| arg.get_id() == key.as_str()) {
            return command;
        }
        // clap keeps defaults for the life of the process.
        let texts: Vec<&'static str> = texts.iter().map(|text| &*text.clone().leak()).collect();
        command.mut_arg(key, |arg| arg.default_values(texts))
    })
}

fn texts(value: toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Boolean(value) => Some(vec![value.to_string()]),
        toml::Value::Array(list) => list.into_iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
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
        let values = parse(Path::new("retro.toml"), file).map_err(|e| e.to_string())?;
        let command = layer(Settings::augment_args(Command::new("retro").no_binary_name(true)), &values);
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
            ("max_queue = 0", "`max_queue`"),
            ("listen = \"here\"", "`listen`"),
            ("cors_origins = [\"example.org\"]", "`cors_origins`: an origin is"),
            ("threads = 1.5", "`threads`: must be a string"),
            ("threads = true", "`threads`: invalid digit"),
            ("allow_anonymous = 1", "`allow_anonymous`"),
            ("listen = ", "not TOML"),
        ] {
            let error = settings(file, &[]).unwrap_err();
            assert!(error.contains(expected), "{file}: {error}");
            assert!(!error.contains('\n'), "{file}: {error}");
        }
    }
}
