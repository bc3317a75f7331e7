//! Servers to test against, and what the tests say to them.

mod answers;
pub mod contract;
mod exposition;
mod process;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use clap::{Args, FromArgMatches};
use retro_server::app::App;
use retro_server::http;
use retro_server::settings::Settings;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use answers::{
    Answer, ask, delete, events_of, get, ingest, long_completion, long_stream, patch, post, post_raw, put, sse, task,
};
pub use exposition::Exposition;
pub use process::{Process, Running, change_tokenizer, command, model_copy, retro, retro_in, send};

/// Longest wait for something that must come.
pub const SOON: Duration = Duration::from_secs(120);

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Settings that hold wherever the tests are started.
fn places(data_dir: &Path) -> [(&'static str, PathBuf); 4] {
    let library = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };
    [
        ("data-dir", data_dir.to_owned()),
        ("model", root().join("models/retro-nano")),
        ("embedder", root().join("runtime/all-MiniLM-L6-v2")),
        ("onnxruntime", root().join("runtime/onnxruntime").join(library)),
    ]
}

/// Of a server in this process on a free port.
pub fn settings(data_dir: &Path, more: &[&str]) -> Settings {
    let command = Settings::augment_args(clap::Command::new("retro").no_binary_name(true));
    let flags = places(data_dir).map(|(name, path)| format!("--{name}={}", path.display())).into_iter();
    let flags = flags.chain(["--listen=127.0.0.1:0".to_owned()]).chain(more.iter().map(|&flag| flag.to_owned()));
    Settings::from_arg_matches(&command.get_matches_from(flags)).expect("good flags")
}

/// A server in this process with a data folder of its own.
pub struct Server {
    pub url: String,
    stop: Option<oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<()>>,
    _data: TempDir,
}

impl Server {
    pub async fn start(more: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (url, serving) = start(settings(data.path(), more)).await;
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serving(Box::pin(async { drop(stopped.await) })));
        Self { url, stop: Some(stop), served: Some(served), _data: data }
    }

    /// Says what a signal would say; the server ends when it is done.
    pub fn stop(&mut self) {
        self.stop.take().expect("not stopped before").send(()).expect("the server runs");
    }

    pub async fn ended(mut self) {
        let served = self.served.take().expect("not awaited before");
        tokio::time::timeout(SOON, served).await.expect("the server ends").expect("the server does not panic");
    }
}

type Stop = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
type Serving = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn start(settings: Settings) -> (String, impl FnOnce(Stop) -> Serving) {
    let listener = TcpListener::bind(settings.listen).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Arc::new(App::start(settings).await.expect("the server starts"));
    (url, move |stop: Stop| -> Serving { Box::pin(async move { http::serve(app, listener, stop).await.unwrap() }) })
}

/// The server that tests share which change nothing that others could see: they use documents and collections of their own.
pub fn shared() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shared");
        let _ = std::fs::remove_dir_all(&data);
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (url, serving) = start(settings(&data, &[])).await;
                send.send(url).unwrap();
                serving(Box::pin(std::future::pending())).await;
            });
        });
        receive.recv().expect("the shared server starts")
    })
}

/// Looks again and again until `look` finds something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain waited for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn samples() -> PathBuf {
    root().join("samples")
}
