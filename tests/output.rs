//! What goes to which output, in which form, and the codes that commands end with.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Process, Running, command, eventually, retro, retro_in, samples};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A folder of one document and, where `broken`, of files that cannot be taken in.
fn files(broken: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(samples().join("tea.md"), folder.path().join("tea.md")).unwrap();
    (0..broken).for_each(|number| std::fs::write(folder.path().join(format!("broken-{number:02}.txt")), b"caf\xe9").unwrap());
    folder
}

#[test]
fn codes_tell_scripts_how_it_ended() {
    let data = tempfile::tempdir().unwrap();
    let (good, mixed, empty) = (files(0), files(1), tempfile::tempdir().unwrap());
    std::fs::write(empty.path().join("broken.txt"), b"caf\xe9").unwrap();
    let [good, mixed, broken] = [&good, &mixed, &empty].map(|folder| folder.path().to_str().unwrap());
    for (subcommand, arguments, code) in [
        ("ingest", vec![good, "--dry-run"], 0),
        ("ingest", vec![mixed, "--dry-run"], 3),
        ("ingest", vec![broken, "--dry-run"], 1),
        ("ingest", vec![good], 0),
        ("ingest", vec![mixed], 3),
        ("ingest", vec![broken], 1),
        ("ingest", vec![], 2),
        ("ingest", vec!["no-such-file.md"], 1),
        ("ingest", vec![good, "--collection=a/b"], 2),
        ("complete", vec!["Tea", "--max-tokens=0"], 2),
        ("complete", vec!["Tea", "--no-such-flag"], 2),
        ("retrieve", vec![""], 2),
        ("retrieve", vec!["Tea", "--collection=nowhere"], 1),
        ("eval", vec![], 2),
        ("bench", vec!["--repeat=0"], 2),
        ("keys", vec!["list"], 0),
        ("keys", vec!["revoke", "0198c0f2-a7e0-7d3c-8f0d-1c2b3a495867"], 1),
        ("keys", vec!["create", "a/b", "--scope=admin"], 2),
        ("doctor", vec!["--embedder=/nowhere", "--json"], 1),
        ("nothing", vec![], 2),
    ] {
        let output = retro(subcommand, data.path(), &arguments);
        assert_eq!(output.status.code(), Some(code), "{subcommand} {arguments:?}: {output:?}");
    }
}

#[test]
fn the_json_of_ingest_names_all_that_was_left_out() {
    let (data, files) = (tempfile::tempdir().unwrap(), files(23));
    let path = files.path().to_str().unwrap();
    for (arguments, documents) in [(vec![path, "--json", "--dry-run"], "documents"), (vec![path, "--json"], "ready")] {
        let output = retro("ingest", data.path(), &arguments);
        let (report, said) = (json(&output), text(&output.stderr));
        assert_eq!((&report[documents], output.status.code()), (&Value::from(1), Some(3)), "{output:?}");
        assert_eq!(report["skipped"].as_array().unwrap().len(), 23);
        assert!(report["skipped"][22].as_str().unwrap().contains("broken-22.txt: "), "{report}");
        assert!(said.lines().count() == 21 && said.ends_with("skipped 3 more\n"), "{said}");
    }
}

#[test]
fn a_completion_is_the_same_as_text_and_as_json() {
    let data = tempfile::tempdir().unwrap();
    assert!(retro("ingest", data.path(), &[samples().join("tea.md").to_str().unwrap()]).status.success());
    let flags = ["Tea is a drink made of", "--max-tokens=12", "--temperature=0", "--show-neighbours"];
    let plain = retro("complete", data.path(), &flags);
    let whole = retro("complete", data.path(), &[&flags[..], &["--json"]].concat());
    let answer = json(&whole);
    assert_eq!(text(&plain.stdout), format!("{}\n", answer["choices"][0]["text"].as_str().unwrap()));
    assert_eq!(text(&plain.stderr), text(&whole.stderr), "the neighbours are shown apart from the answer");
    assert!(text(&plain.stderr).starts_with("chunk 0: Tea is a drink made of\n  1. tea.md chunk "), "{plain:?}");
    assert_eq!(answer["retrieval"]["chunks"][0]["neighbours"][0]["document_id"], "tea.md");
}

#[test]
fn a_completion_comes_token_by_token() {
    let data = tempfile::tempdir().unwrap();
    assert!(retro("ingest", data.path(), &[samples().join("tea.md").to_str().unwrap()]).status.success());
    // Long, and with a look-up every eight tokens: it takes a good part of a second.
    let flags = ["Tea", "--max-tokens=400", "--interval=8", "--temperature=1.5", "--seed=1"];
    let mut child = command("complete", data.path()).args(flags).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut buffer = [0; 1 << 16];
    let first = out.read(&mut buffer).unwrap();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(first > 0 && rest.len() > first, "{first} bytes came at once, and {} later", rest.len());
}

#[test]
fn a_reader_that_leaves_ends_a_command_in_silence() {
    let (data, files) = (tempfile::tempdir().unwrap(), files(0));
    let path = files.path().to_str().unwrap();
    for (subcommand, arguments) in [
        ("openapi", vec![]),
        ("completions", vec!["bash"]),
        ("serve", vec!["--print-config"]),
        ("keys", vec!["list"]),
        ("ingest", vec![path, "--dry-run"]),
        ("ingest", vec![path]),
        ("complete", vec!["Tea"]),
        ("retrieve", vec!["Tea"]),
        ("reindex", vec![]),
        ("--version", vec![]),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(subcommand, data.path()).args(&arguments).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(141), "{subcommand} {arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{subcommand} {arguments:?}: {output:?}");
    }
    // Where nobody hears of an error, the code still tells.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command("ingest", data.path()).arg("no-such-file.md").stdout(Stdio::null()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn ctrl_c_ends_an_evaluation_and_leaves_nothing_behind() {
    let (data, files, temporary) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let texts = files.path().join("texts.jsonl");
    let mut file = File::create(&texts).unwrap();
    (0..400).for_each(|number| {
        writeln!(file, "{{\"text\": \"{} The end of number {number}.\"}}", "A long story. ".repeat(60)).unwrap()
    });
    let mut eval = command("eval", data.path());
    let eval = eval.env("TMPDIR", temporary.path()).arg(&texts).args(["--documents=400", "--others=0"]);
    let running = Running::of(eval);
    let own = |folder: std::io::Result<std::fs::DirEntry>| folder.unwrap().path().join("lance/own.lance").exists();
    let begun = || async { std::fs::read_dir(temporary.path()).unwrap().any(own).then_some(()) };
    eventually("the collection of the evaluation", begun).await;
    running.signal(libc::SIGINT);
    assert_eq!(running.wait().code(), Some(130));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "its stores are gone");
}

/// What a command writes to its standard output where that is a terminal.
fn on_terminal(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let (mut controller, mut terminal) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: it fills in the two numbers, and takes nothing else.
    assert_eq!(unsafe { libc::openpty(&raw mut controller, &raw mut terminal, null, null.cast(), null.cast()) }, 0);
    // SAFETY: both are open, and nobody else has them.
    let (controller, terminal) = unsafe { (OwnedFd::from_raw_fd(controller), OwnedFd::from_raw_fd(terminal)) };
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_retro"));
    command.args(arguments).current_dir(folder).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CLICOLOR");
    let mut child = command.envs(variables.iter().copied()).stdout(terminal).stderr(Stdio::null()).spawn().unwrap();
    // What holds the terminal open here would keep the reading from its end.
    drop(command);
    let mut said = Vec::new();
    // Linux says at the end that the terminal is gone.
    let _ = File::from(controller).read_to_end(&mut said);
    child.wait().unwrap();
    text(&said)
}

#[test]
fn colours_are_for_terminals_and_not_where_they_are_unwanted() {
    let folder = tempfile::tempdir().unwrap();
    let coloured = on_terminal(folder.path(), &["doctor"], &[]);
    assert!(coloured.contains("\u{1b}[") && coloured.contains("wrong"), "{coloured:?}");
    let plain = on_terminal(folder.path(), &["doctor"], &[("NO_COLOR", "1")]);
    assert!(!plain.contains('\u{1b}') && plain.contains("wrong"), "{plain:?}");
    let piped = retro_in(folder.path(), &["doctor"], &[]);
    assert!(!text(&piped.stdout).contains('\u{1b}'), "{piped:?}");
}

#[test]
fn the_version_names_the_runtime() {
    let data = tempfile::tempdir().unwrap();
    let said = text(&retro("--version", data.path(), &[]).stdout);
    let (first, second) = said.trim_end().split_once('\n').unwrap();
    assert!(first.starts_with(concat!("retro ", env!("CARGO_PKG_VERSION"))), "{said}");
    assert!(second.starts_with("ONNX Runtime 1.") && second.contains("/runtime/onnxruntime/"), "{said}");
    // Also where it is not installed, and whatever the settings are.
    std::fs::write(data.path().join("retro.toml"), "max_queue = 0\n").unwrap();
    let output = retro_in(data.path(), &["--version"], &[("RETRO_ONNXRUNTIME", "/nowhere/lib.so")]);
    assert!(output.status.success() && text(&output.stdout).contains("make setup"), "{output:?}");
    let short = retro_in(data.path(), &["-V"], &[]);
    assert_eq!(text(&short.stdout), concat!("retro ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn a_server_says_where_it_is_reached_and_what_it_runs() {
    let data = tempfile::tempdir().unwrap();
    assert!(retro("ingest", data.path(), &[samples().join("tea.md").to_str().unwrap()]).status.success());
    let server = Process::serve(data.path(), &["--listen=0.0.0.0:0", "--allow-anonymous"]);
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    assert_eq!(server.greeting, format!("retro-server listening on http://0.0.0.0:{port}\n"));
    let banner = server.banner();
    let line = |name: &str| {
        let line = banner.lines().find_map(|line| line.strip_prefix(&format!("  {name:<11} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {banner}"))
    };
    assert!(
        line("reachable").starts_with(&format!("http://localhost:{port} on this machine; from others, port {port}")),
        "{banner}"
    );
    assert_eq!(line("playground"), format!("http://localhost:{port}/"));
    assert_eq!(line("docs"), format!("http://localhost:{port}/docs"));
    assert!(line("model").starts_with("retro-nano (") && line("model").ends_with("int8)"), "{banner}");
    assert!(line("provider").starts_with("CPUExecutionProvider ("), "{banner}");
    assert!(line("embedder").starts_with("all-MiniLM-L6-v2 (384 dimensions, "), "{banner}");
    assert!(line("keys").starts_with("none: open to everyone (allow_anonymous)"), "{banner}");
    assert!(line("data").starts_with(data.path().to_str().unwrap()) && line("data").contains("catalogue.sqlite"), "{banner}");
    assert!(line("collection").starts_with("default (") && line("collection").ends_with(" chunks)"), "{banner}");

    let made = retro("keys", data.path(), &["create", "web", "--scope=complete", "--json"]);
    assert!(json(&made)["secret"].as_str().unwrap().starts_with("retro_"), "{made:?}");
    let banner = Process::serve(data.path(), &[]).banner();
    assert!(banner.contains("  keys        1 active; `retro keys list` lists them\n"), "{banner}");
}
