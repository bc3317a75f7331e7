//! The commands of docs/cli.md, as they stand there.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::root;

/// Fenced blocks in their order: language and content.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let mut fences = page.split("```");
    fences.next();
    let (mut blocks, mut fence) = (Vec::new(), fences.next());
    while let Some(block) = fence {
        blocks.push(block.split_once('\n').unwrap());
        fences.next();
        fence = fences.next();
    }
    blocks
}

/// Values that follow one another.
fn values(text: &str) -> Vec<Value> {
    let values: Result<_, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    values.unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Checks that both have the same fields of the same types. Of lists the first elements stand for all.
fn assert_like(place: &str, shown: &Value, printed: &Value) {
    match (shown, printed) {
        (Value::Object(shown), Value::Object(printed)) => {
            let keys =
                |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<std::collections::BTreeSet<_>>();
            assert_eq!(keys(shown), keys(printed), "{place}");
            shown.iter().for_each(|(key, value)| assert_like(&format!("{place}.{key}"), value, &printed[key]));
        }
        (Value::Array(shown), Value::Array(printed)) => {
            assert_eq!(shown.is_empty(), printed.is_empty(), "{place}");
            if let (Some(shown), Some(printed)) = (shown.first(), printed.first()) {
                assert_like(&format!("{place}[0]"), shown, printed);
            }
        }
        _ => assert_eq!(std::mem::discriminant(shown), std::mem::discriminant(printed), "{place}: {shown} and {printed}"),
    }
}

fn run(commands: &str, folder: &Path) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_retro")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-euc", commands]).current_dir(folder).env("PATH", path).env("HOME", folder);
    let output = bash.output().unwrap();
    assert!(output.status.success(), "{commands}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_commands_of_the_page_run_and_print_what_it_shows() {
    let page = std::fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["samples", "models", "runtime"] {
        std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    let (mut printed, mut commands, mut compared) = (String::new(), "", 0);
    for (language, content) in blocks(&page) {
        match language {
            "sh" => {
                printed = run(content, folder.path());
                commands = content;
            }
            "json" => {
                let (shown, printed) = (values(content), values(&printed));
                assert_eq!(shown.len(), printed.len(), "{commands}");
                shown.iter().zip(&printed).for_each(|(shown, printed)| assert_like(commands.trim(), shown, printed));
                compared += 1;
            }
            "toml" => content.lines().for_each(|line| {
                let (first, again) = (std::fs::read_to_string(folder.path().join("settings.toml")).unwrap(), line);
                assert!(first.lines().any(|found| found == again), "{again}: {first}");
            }),
            _ => assert_eq!(language, "text", "{content}"),
        }
    }
    assert!(compared > 10, "{compared}");
    // What the page claims of the settings that were saved and read again.
    let settings = std::fs::read_to_string(folder.path().join("settings.toml")).unwrap();
    let again = run("retro serve --print-config --config settings.toml", folder.path());
    assert_eq!(settings.parse::<toml::Table>().unwrap(), again.parse::<toml::Table>().unwrap());
}

#[test]
fn the_page_names_every_command_and_its_help_has_examples() {
    let page = std::fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let help = run("retro help", folder.path());
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: Vec<&str> = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let commands: Vec<&str> = commands.into_iter().filter(|name| !name.is_empty() && *name != "help").collect();
    assert!(commands.len() > 12, "{help}");
    for name in commands {
        assert!(page.contains(&format!("`{name}")), "{name} is not on the page");
        let help = run(&format!("retro {name} --help"), folder.path());
        assert!(help.contains("Examples:") || ["keys", "openapi"].contains(&name), "{help}");
    }
}
