//! Where each setting came from, to tell whoever asks and to blame what is wrong on the right layer.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args};

use super::file::{SettingsFile, alone, check};
use super::values::masked;
use super::{Settings, SettingsError};

/// The layers that settings were read from.
#[derive(Default)]
pub struct Sources {
    matches: ArgMatches,
    file: Option<SettingsFile>,
}

/// The layer of one setting.
enum Source<'a> {
    Default,
    File { file: &'a SettingsFile, line: usize },
    Variable(String),
    Flag(String),
}

impl Sources {
    /// `matches` are those of the subcommand, in whose defaults `file` was layered.
    pub fn new(matches: ArgMatches, file: Option<SettingsFile>) -> Self {
        Self { matches, file }
    }

    /// The settings as a settings file that gives the same ones, each with its layer as a comment. Passwords are masked, and a file with a
    /// mask in it is refused.
    ///
    /// # Errors
    /// A path is not UTF-8, which TOML is.
    pub fn print(&self, settings: &Settings) -> Result<String, toml::ser::Error> {
        let values = toml::Table::try_from(settings)?;
        let mut lines = vec![
            "# The settings in force, each with where it came from: default, file, variable or flag.".to_owned(),
            match &self.file {
                Some(file) => format!("# Settings file: {}", one_line(&file.path().display())),
                None => "# Settings file: none".to_owned(),
            },
            String::new(),
        ];
        // The file's own name is no setting.
        for arg in alone().get_arguments().filter(|arg| arg.get_id() != "config") {
            let key = arg.get_id().as_str();
            let Some(value) = values.get(key) else {
                let usual = usual(arg).map_or_else(String::new, |usual| format!(": {usual}"));
                lines.push(format!("# {key} is not set{usual}"));
                continue;
            };
            let source = self.source(arg);
            lines.push(match value.as_str().and_then(masked) {
                Some(masked) => format!("{key} = {}  # {source}; its password is masked", toml::Value::from(masked)),
                None => format!("{key} = {value}  # {source}"),
            });
        }
        Ok(lines.join("\n") + "\n")
    }

    fn source(&self, arg: &Arg) -> Source<'_> {
        let key = arg.get_id().as_str();
        match self.matches.value_source(key) {
            Some(ValueSource::CommandLine) => Source::Flag(flag(arg)),
            Some(ValueSource::EnvVariable) => Source::Variable(variable(arg)),
            _ => match self.file.as_ref().and_then(|file| Some((file, file.line(key)?))) {
                Some((file, line)) => Source::File { file, line },
                None => Source::Default,
            },
        }
    }
}

impl Display for Source<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "file {}, line {line}", one_line(&file.path().display())),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl SettingsError {
    /// The environment variable that an error of clap is really about: clap names the flag, which nobody may have written. None where the
    /// error is about `arguments`.
    pub fn of_variable(error: &clap::Error, arguments: &[OsString]) -> Option<Self> {
        if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
            return None;
        }
        let command = Settings::augment_args(clap::Command::new("retro"));
        let checks = alone();
        command.get_arguments().find_map(|arg| {
            let flag = flag(arg);
            let given = |argument: &OsString| {
                let argument = argument.to_string_lossy();
                argument.strip_prefix(&flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            };
            let value = std::env::var(arg.get_env()?).ok().filter(|_| !arguments.iter().any(given))?;
            let reason = check(&checks, arg.get_id().as_str(), std::slice::from_ref(&value)).err()?;
            let value = masked(&value).unwrap_or(value);
            Some(Self::Variable { variable: variable(arg), value, reason })
        })
    }
}

fn flag(arg: &Arg) -> String {
    format!("--{}", arg.get_long().unwrap_or_default())
}

fn variable(arg: &Arg) -> String {
    format!("RETRO_{}", arg.get_id().as_str().to_uppercase())
}

/// What holds where an optional setting is not set, as its help says.
fn usual(arg: &Arg) -> Option<String> {
    let help = arg.get_help()?.to_string();
    let (_, usual) = help.split_once("[default: ")?;
    usual.split_once(']').map(|(usual, _)| usual.to_owned())
}

/// A comment ends where the line does.
fn one_line(path: &impl Display) -> String {
    path.to_string().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{Command, FromArgMatches};

    use super::*;

    fn printed(flags: &[&str]) -> String {
        let matches = alone().try_get_matches_from(flags).unwrap();
        let settings = Settings::from_arg_matches(&matches).unwrap();
        Sources::new(matches, None).print(&settings).unwrap()
    }

    #[test]
    fn every_setting_is_printed_once_and_can_be_read_again() {
        let text = printed(&["--max-queue=5", "--allow-anonymous", "--cors-origins=http://a,http://b", "--device=cuda:1"]);
        let file = SettingsFile::parse(Path::new("retro.toml"), &text).unwrap();
        let command = Settings::augment_args(Command::new("retro"));
        for arg in command.get_arguments().filter(|arg| arg.get_id() != "config") {
            let key = arg.get_id().as_str();
            let unset = text.lines().filter(|line| line.starts_with(&format!("# {key} is not set"))).count();
            assert_eq!(unset + usize::from(file.line(key).is_some()), 1, "{key}: {text}");
        }
        for line in [
            "max_queue = 5  # flag --max-queue",
            "allow_anonymous = true  # flag --allow-anonymous",
            "device = \"cuda:1\"  # flag --device",
            "header_seconds = 30  # default",
            "# lance_uri is not set: data_dir/lance",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn a_password_is_not_printed_and_its_mask_is_not_read() {
        let text = printed(&["--database-url=postgres://me:hidden@host/db"]);
        assert!(text.contains("postgres://me:***@host/db") && !text.contains("hidden"), "{text}");
        let error = SettingsFile::parse(Path::new("retro.toml"), &text).unwrap_err().to_string();
        assert!(error.contains("`database_url`") && error.contains("masked"), "{error}");
    }
}
