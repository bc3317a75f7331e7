use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};

/// A `retro serve` process.
pub struct Process {
    child: Child,
    pub url: String,
    /// The first line of its standard output.
    pub greeting: String,
    rest: Option<JoinHandle<Vec<u8>>>,
    log: Option<JoinHandle<Vec<u8>>>,
}

impl Process {
    /// Starts it on a free port of 127.0.0.1, unless `more` says otherwise, and waits till it says where it listens, which it says when it is ready.
    pub fn serve(data_dir: &Path, more: &[&str]) -> Self {
        Self::of(command("serve", data_dir).args(more))
    }

    /// The same of a [`command`] that has its arguments.
    pub fn of(command: &mut Command) -> Self {
        let mut child = command.env("RETRO_LISTEN", "127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Read to its end from the beginning on: a full pipe would stop the server, even before it says where it listens.
        let log = to_the_end(child.stderr.take().unwrap());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        out.read_line(&mut greeting).unwrap();
        let Some(url) = greeting.trim().strip_prefix("retro-server listening on ") else {
            let error = log.join().unwrap();
            panic!("the server did not start: {greeting}{}", String::from_utf8_lossy(&error));
        };
        // What listens everywhere listens here.
        let url = url.replace("//0.0.0.0:", "//127.0.0.1:");
        Self { child, url, greeting, rest: Some(to_the_end(out)), log: Some(log) }
    }

    /// Lets it end, and gives what it logged.
    pub fn log(mut self) -> String {
        self.signal(libc::SIGTERM);
        self.child.wait().unwrap();
        String::from_utf8(self.log.take().expect("it is read once").join().unwrap()).unwrap()
    }

    /// Lets it end, and gives what it said on standard output after the first line.
    pub fn banner(mut self) -> String {
        self.signal(libc::SIGTERM);
        self.child.wait().unwrap();
        String::from_utf8(self.rest.take().expect("it is read once").join().unwrap()).unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: i32) {
        send(&self.child, signal);
    }

    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A test that fails should leave no server behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A subcommand of `retro` that is still running. Its standard output is nobody's.
pub struct Running(Child);

impl Running {
    pub fn start(subcommand: &str, data_dir: &Path, arguments: &[&str]) -> Self {
        Self::of(command(subcommand, data_dir).args(arguments))
    }

    pub fn of(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub fn signal(&self, signal: i32) {
        send(&self.0, signal);
    }

    pub fn stderr(&mut self) -> ChildStderr {
        self.0.stderr.take().expect("not taken before")
    }

    pub fn wait(mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn to_the_end(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut read = Vec::new();
        pipe.read_to_end(&mut read).unwrap();
        read
    })
}

pub fn send(child: &Child, signal: i32) {
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: a plain system call; the child has not been waited for, so the id is still its own.
    assert_eq!(unsafe { libc::kill(id, signal) }, 0);
}

/// Runs a subcommand of `retro` on `data_dir` to its end.
pub fn retro(subcommand: &str, data_dir: &Path, arguments: &[&str]) -> Output {
    command(subcommand, data_dir).args(arguments).output().unwrap()
}

/// Runs `retro` with only these arguments and variables, in `folder`.
pub fn retro_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retro"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.envs(variables.iter().copied()).output().unwrap()
}

pub fn command(subcommand: &str, data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_retro"));
    command.arg(subcommand).stdin(Stdio::null());
    // As variables, so that a test can say otherwise with a flag.
    let variable = |name: &str| format!("RETRO_{}", name.to_uppercase().replace('-', "_"));
    command.envs(super::places(data_dir).map(|(name, path)| (variable(name), path)));
    command
}

/// A folder like the bundled model's, whose files may be changed one by one.
pub fn model_copy(folder: &Path) {
    let bundled = super::root().join("models/retro-nano");
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(bundled.join("retro.json")).unwrap()).unwrap();
    for file in manifest["files"].as_object().unwrap().keys().map(String::as_str).chain(["retro.json"]) {
        std::fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
        std::fs::copy(bundled.join(file), folder.join(file)).unwrap();
    }
}

/// Gives a copy of the model another tokenizer of the same meaning: its file ends in a line break more.
pub fn change_tokenizer(folder: &Path) {
    let path = folder.join("tokenizer.json");
    let mut tokenizer = std::fs::read(&path).unwrap();
    tokenizer.push(b'\n');
    std::fs::write(&path, &tokenizer).unwrap();
    let path = folder.join("retro.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let sha256: String = Sha256::digest(&tokenizer).iter().map(|byte| format!("{byte:02x}")).collect();
    manifest["files"]["tokenizer.json"] = serde_json::json!({"sha256": sha256, "bytes": tokenizer.len()});
    std::fs::write(&path, manifest.to_string()).unwrap();
}
