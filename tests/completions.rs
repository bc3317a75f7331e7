//! What `retro completions` prints for shells.

use std::path::Path;
use std::process::Command;

use crate::support::retro_in;

fn script(folder: &Path, shell: &str) -> String {
    let output = retro_in(folder, &["completions", shell], &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_shell_gets_a_script_of_all_that_people_call() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = script(folder.path(), shell);
        for word in ["ingest", "reindex", "revoke", "print-config", "completions", "max-queue"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(!script.contains("read-file"), "{shell} offers a command that nobody calls");
    }
    let output = retro_in(folder.path(), &["completions", "csh"], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("csh") && said.contains("bash, elvish, fish, powershell, zsh"), "{said}");
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("retro.bash");
    std::fs::write(&file, script(folder.path(), "bash")).unwrap();
    // What bash sets and calls when the Tab key is pressed after these words.
    let complete = r#"source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _retro retro "${@: -1}" "${@: -2:1}"; echo "${COMPREPLY[@]}""#;
    for (words, expected) in [
        (vec!["retro", "inges"], "ingest"),
        (vec!["retro", "rei"], "reindex"),
        (vec!["retro", "serve", "--print"], "--print-config"),
        (vec!["retro", "keys", "rev"], "revoke"),
        (vec!["retro", "completions", "fi"], "fish"),
        (vec!["retro", "serve", "--log-format", "js"], "json"),
    ] {
        let mut bash = Command::new("bash");
        let output = bash.args(["--norc", "-c", complete, "bash"]).arg(&file).args(&words).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected, "{words:?}: {output:?}");
    }
}
