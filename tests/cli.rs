//! The command line, by its output.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;

use serde_json::json;

use crate::support::{Process, command, eventually, get, long_stream, post, retro, retro_in, root, send, sse};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn the_first_line_says_where_the_server_listens() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    assert!(server.greeting.starts_with("retro-server listening on http://127.0.0.1:"), "{}", server.greeting);
    assert!(!server.greeting.contains(":0\n"));
    assert_eq!(get(&server.url, "/readyz").await.status, 200, "what it says is true at once");
}

#[test]
fn help_names_every_setting_with_its_default_and_its_variable() {
    let folder = tempfile::tempdir().unwrap();
    let help = text(&retro_in(folder.path(), &["serve", "--help"], &[]).stdout);
    for (name, default) in [
        ("listen", "127.0.0.1:8080"),
        ("data-dir", "data"),
        ("model", "models/retro-nano"),
        ("embedder", "runtime/all-MiniLM-L6-v2"),
        ("onnxruntime", "where `make setup` puts it"),
        ("device", "auto"),
        ("precision", "auto"),
        ("database-url", "sqlite in data_dir"),
        ("lance-uri", "data_dir/lance"),
        ("threads", "0"),
        ("max-body-bytes", "67108864"),
        ("max-upload-bytes", "268435456"),
        ("max-document-bytes", "10485760"),
        ("max-documents", "1000"),
        ("max-queue", "64"),
        ("requests-per-minute", "0"),
        ("concurrent-requests", "0"),
        ("request-seconds", "0"),
        ("header-seconds", "30"),
        ("max-connections", "512"),
        ("shutdown-seconds", "30"),
        ("cors-origins", "none"),
        ("log-format", "text"),
        ("log-level", "info for `serve`, warn for the other commands"),
    ] {
        // What may hold a password shows no value.
        let end = if ["database-url", "lance-uri"].contains(&name) { "]" } else { "=]" };
        let variable = format!("[env: RETRO_{}{end}", name.to_uppercase().replace('-', "_"));
        // The text is wrapped at the width of the terminal.
        let entry = help.split(&format!("--{name} ")).nth(1).unwrap_or_else(|| panic!("--{name} is not in {help}"));
        let entry = entry.split("\n      --").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(entry.contains(&format!("[default: {default}]")), "{name}: {entry}");
        assert!(entry.contains(&variable), "{name}: {entry}");
    }
}

#[tokio::test]
async fn a_flag_beats_a_variable_and_a_variable_beats_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("retro.toml"), "model = \"from-the-file\"\n").unwrap();
    let named = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut all = vec!["doctor"];
        all.extend(arguments);
        text(&retro_in(folder.path(), &all, variables).stdout)
    };
    assert!(named(&[], &[]).contains("from-the-file"));
    let variable = [("RETRO_MODEL", "from-the-variable")];
    assert!(named(&[], &variable).contains("from-the-variable"));
    assert!(named(&["--model=from-the-flag"], &variable).contains("from-the-flag"));
}

#[tokio::test]
async fn files_are_taken_in_while_a_server_runs() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::serve(data.path(), &[]);
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(files.path().join(name), text).unwrap();
    write("lighthouse.md", b"# The lighthouse\n\nThe lighthouse of Brandoria was lit in 1911.");
    write("notes.txt", "Grüße aus Brandoria".as_bytes());
    write(
        "many.jsonl",
        b"{\"id\": \"many-1\", \"text\": \"First of many.\"}\n{\"id\": \"many-2\", \"text\": \"Second of many.\"}\nnot json\n",
    );
    write("binary.txt", b"\x00\x01\x02");
    write("latin1.txt", b"caf\xe9");
    write("empty.md", b"");
    write("picture.png", b"\x89PNG");
    let output = retro("ingest", data.path(), &[files.path().to_str().unwrap(), "--collection=cli"]);
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(said.starts_with("4 documents ready, 0 failed, 4 skipped"), "{said}");
    for (file, reason) in [("binary.txt", "binary"), ("latin1.txt", "UTF-8"), ("empty.md", "empty"), ("many.jsonl:3", "expected")]
    {
        let line = complained.lines().find(|line| line.starts_with("skipped") && line.contains(file));
        assert!(line.is_some_and(|line| line.contains(reason)), "{file}: {complained}");
    }

    // The running server sees them at once.
    let found = post(&server.url, "/v1/retrieve", json!({"text": "The lighthouse of Brandoria", "collection": "cli"})).await.ok();
    let neighbour = &found["chunks"][0]["neighbours"][0];
    assert_eq!(neighbour["title"], "The lighthouse");
    let listed = get(&server.url, "/v1/documents?collection=cli").await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 4);
    assert!(listed["data"].as_array().unwrap().iter().all(|document| document["status"] == "ready"));

    // Read again they are the same documents.
    let output = retro("ingest", data.path(), &[files.path().to_str().unwrap(), "--collection=cli"]);
    assert!(text(&output.stdout).starts_with("0 documents ready, 0 failed, 4 skipped, 4 unchanged"), "{output:?}");
    let listed = get(&server.url, "/v1/documents?collection=cli").await.ok();
    assert_eq!(listed["data"].as_array().unwrap().len(), 4);
}

#[test]
fn mistakes_are_answered_in_a_sentence() {
    let data = tempfile::tempdir().unwrap();
    for (subcommand, arguments, expected) in [
        ("ingest", vec!["no-such-file.md"], "no-such-file.md"),
        ("ingest", vec!["--collection=a/b", "."], "`collection`"),
        ("complete", vec![""], "`prompt` must not be empty"),
        ("complete", vec!["a", "--max-tokens=0"], "`max_tokens` must be at least 1"),
        ("complete", vec!["a", "--alignment=middle"], "prompt_end or prompt_start"),
        ("complete", vec!["a", "--collection=nowhere"], "no collection `nowhere`"),
        ("retrieve", vec![""], "`text` must not be empty"),
        ("retrieve", vec!["a", "--neighbours=17"], "`neighbours` must be 0 to 16"),
        ("retrieve", vec!["a", "--collection=nowhere"], "no collection `nowhere`"),
    ] {
        let output = retro(subcommand, data.path(), &arguments);
        let said = text(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty(), "{subcommand} {arguments:?}: {output:?}");
        assert!(said.contains(expected), "{subcommand} {arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let empty = tempfile::tempdir().unwrap();
    let output = retro("ingest", data.path(), &[empty.path().to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("no documents"), "{output:?}");
}

#[test]
fn a_seed_makes_sampling_repeatable() {
    let data = tempfile::tempdir().unwrap();
    let sampled = |seed: &str| {
        let output = retro("complete", data.path(), &["The", "--max-tokens=12", "--temperature=1.2", "--no-retrieval", seed]);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    assert_eq!(sampled("--seed=1"), sampled("--seed=1"));
    assert_ne!(sampled("--seed=1"), sampled("--seed=2"));
}

#[test]
fn onnx_runtime_keeps_nothing_for_its_maker() {
    let (data, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut doctor = command("doctor", data.path());
    doctor.env("HOME", home.path()).env_remove("XDG_CACHE_HOME").env_remove("ORT_DISABLE_TELEMETRY");
    assert!(doctor.output().unwrap().status.success());
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn doctor_says_what_is_right_and_what_is_wrong() {
    let data = tempfile::tempdir().unwrap();
    let output = retro("doctor", data.path(), &[]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}");
    for name in
        ["ONNX Runtime", "provider", "model files", "tokenizer", "model", "embedder", "data folder", "catalogue", "database"]
    {
        assert!(said.lines().any(|line| line.starts_with(&format!("ok     {name} "))), "{name}: {said}");
    }
    assert!(said.contains("CPUExecutionProvider"));
    let output = retro("doctor", data.path(), &["--embedder=/nowhere"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let wrong: Vec<_> = said.lines().filter(|line| line.starts_with("wrong")).collect();
    assert_eq!(wrong.len(), 1, "{said}");
    assert!(wrong[0].contains("/nowhere") && wrong[0].contains("make setup"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("-      database")), "{said}");
}

#[test]
fn the_description_is_printed() {
    let output = retro_in(root(), &["openapi"], &[]);
    assert!(output.status.success());
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(printed["paths"]["/v1/complete"]["post"].is_object());
}

/// Starts the program with this way to take SIGHUP, whatever the tests were started with.
fn taking_hangup(command: &mut Command, how: libc::sighandler_t) -> &mut Command {
    // SAFETY: one system call, which may be made between `fork` and `exec`.
    unsafe {
        command.pre_exec(move || {
            libc::signal(libc::SIGHUP, how);
            Ok(())
        })
    }
}

#[tokio::test]
async fn a_terminal_that_closes_ends_a_server_in_order() {
    let data = tempfile::tempdir().unwrap();
    let mut serve = command("serve", data.path());
    let server = Process::of(taking_hangup(serve.arg("--shutdown-seconds=100"), libc::SIG_DFL));
    let mut stream = sse(&server.url, long_stream().await).await;
    stream.next().await.expect("the completion has begun");
    server.signal(libc::SIGHUP);
    eventually("the refusal", || async { (get(&server.url, "/readyz").await.status == 503).then_some(()) }).await;
    // By its shell, too.
    server.signal(libc::SIGHUP);
    assert_eq!(stream.all().await.last().unwrap().0, "done");
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn a_server_under_nohup_outlives_its_terminal() {
    let data = tempfile::tempdir().unwrap();
    let server = Process::of(taking_hangup(&mut command("serve", data.path()), libc::SIG_IGN));
    server.signal(libc::SIGHUP);
    assert_eq!(get(&server.url, "/readyz").await.status, 200);
    server.signal(libc::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
}

/// A server whose log nobody reads: all that is done in the runtime may wait for it.
struct Mute {
    child: Mutex<Child>,
    _log: (std::fs::File, tempfile::TempDir),
}

impl Mute {
    fn start(arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("log");
        let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a system call with the name of a file.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        // Opened apart from each other: the server's own end blocks.
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let log = OpenOptions::new().write(true).open(&path).unwrap();
        let mut filled = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let mut child = command("serve", data.path())
            .args(["--listen=127.0.0.1:0", "--log-level=info"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("retro-server listening"), "{greeting}");
        for bytes in [&[b'.'; 4096][..], b"."] {
            let refused = std::iter::repeat_with(|| filled.write_all(bytes)).find_map(Result::err).unwrap();
            assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        }
        Self { child: Mutex::new(child), _log: (reader, data) }
    }

    fn signal(&self, signal: i32) {
        send(&self.child.lock().unwrap(), signal);
    }

    fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[tokio::test]
async fn a_server_that_cannot_stop_is_ended_by_the_third_signal() {
    let server = Mute::start(&["--shutdown-seconds=100000"]);
    let ended = eventually("the end of the process", || async {
        // Two that come too fast are one.
        server.signal(libc::SIGTERM);
        server.ended()
    });
    assert_eq!(ended.await.code(), Some(1));
}

#[tokio::test]
async fn a_server_that_cannot_stop_is_ended_by_its_deadline() {
    let server = Mute::start(&["--shutdown-seconds=0"]);
    server.signal(libc::SIGTERM);
    let ended = eventually("the end of the process", || async { server.ended() });
    assert_eq!(ended.await.code(), Some(1));
}
