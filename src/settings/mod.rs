//! One settings type in four layers: defaults < `retro.toml` < `RETRO_*` environment variables < flags.
//!
//! clap reads all four, so that a value has one parser and one rule wherever it was written; [`file`] puts the file's values in the place
//! of the defaults.

mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod sources;
mod values;

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use serde::{Serialize, Serializer};

pub use file::{SettingsError, SettingsFile, layer_file};
pub use sources::Sources;
use values::{
    address, bytes, database_url, endpoint, lance_uri, log_level, masked, megabytes, origin, rate, seconds, seconds_or_none,
    slots, things, things_or_none, threads,
};

/// The catalogue's name in a data folder.
pub const CATALOGUE_FILE: &str = "catalogue.sqlite";
/// Memory for indices where nothing else is said, in MB.
pub const INDEX_MB: u64 = 512;

/// Every setting of the server and the command line.
#[derive(Clone, Debug, Args, Serialize)]
#[command(next_help_heading = "Settings (flag, environment variable, or key in retro.toml: listen, data_dir, ...)")]
pub struct Settings {
    /// Settings file; ./retro.toml is read where there is one
    #[serde(skip)]
    #[arg(long, env = "RETRO_CONFIG", value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// Address to serve on; port 0 takes a free one
    #[arg(long, env = "RETRO_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: std::net::SocketAddr,

    /// Folder of the embedded stores
    #[arg(long, env = "RETRO_DATA_DIR", value_name = "PATH", default_value = "data")]
    pub data_dir: PathBuf,

    /// Folder of the RETRO model
    #[arg(long, env = "RETRO_MODEL", value_name = "PATH", default_value = "models/retro-nano")]
    pub model: PathBuf,

    /// Folder of the BERT that embeds texts
    #[arg(long, env = "RETRO_EMBEDDER", value_name = "PATH", default_value = "runtime/all-MiniLM-L6-v2")]
    pub embedder: PathBuf,

    /// What the embedder computes in: `int16` (13 bits, about twice as fast, x86-64 processors with AVX-512 VNNI), `fp32`, or `auto` for what
    /// the database was made with, and int16 for a new one where the processor can
    #[arg(long, env = "RETRO_EMBEDDER_PRECISION", value_name = "PRECISION", value_enum, default_value_t = EmbedderPrecision::Auto)]
    pub embedder_precision: EmbedderPrecision,

    /// ONNX Runtime's shared library [default: where `make setup` puts it]
    #[arg(long, env = "RETRO_ONNXRUNTIME", value_name = "PATH")]
    pub onnxruntime: Option<PathBuf>,

    /// Where the graphs run: `cpu`, `cuda` or `cuda:N`, or `auto` for CUDA where it is installed and else the CPU
    #[arg(long, env = "RETRO_DEVICE", value_name = "DEVICE", default_value = "auto", value_parser = DeviceChoice::parse)]
    pub device: DeviceChoice,

    /// Format of the model's numbers: a variant of its folder, like `fp32` or `int8`, or `auto` for the best on the device
    #[arg(long, env = "RETRO_PRECISION", value_name = "VARIANT", default_value = "auto")]
    pub precision: String,

    /// Catalogue of documents and tasks, sqlite://PATH or postgres://HOST/DATABASE [default: sqlite in data_dir]
    #[arg(long, env = "RETRO_DATABASE_URL", value_name = "URL", hide_env_values = true, value_parser = database_url)]
    pub database_url: Option<String>,

    /// LanceDB database of the neighbours: a folder, or s3://bucket/prefix with AWS_* variables [default: data_dir/lance]
    #[arg(long, env = "RETRO_LANCE_URI", value_name = "URI", hide_env_values = true, value_parser = lance_uri)]
    pub lance_uri: Option<String>,

    /// Threads of the model's and of the embedder's graphs, each; 0: one for each core up to 8, of more than 16 half of them, up to 32
    #[arg(long, env = "RETRO_THREADS", value_name = "N", default_value_t = 0, value_parser = threads)]
    pub threads: usize,

    /// Sequences that run at a time: each choice of a completion is one, a score two; 0: as many as fit 512 MB of key/value caches, up to 64
    #[arg(long, env = "RETRO_SLOTS", value_name = "N", default_value_t = 0, value_parser = slots)]
    pub slots: usize,

    /// Memory for embeddings and encoded neighbours that were computed before, in MB; 0 keeps none
    #[arg(long, env = "RETRO_CACHE_MB", value_name = "MB", default_value_t = 64, value_parser = megabytes)]
    pub cache_mb: u64,

    /// Memory for the embeddings of collections that fit it, in MB: a search there takes a fraction of the time that it takes in the files
    #[arg(long, env = "RETRO_VECTORS_MB", value_name = "MB", default_value_t = 256, value_parser = megabytes)]
    pub vectors_mb: u64,

    /// Memory for the indices of collections that are larger, in MB: what does not fit is read from the files by each search
    #[arg(long, env = "RETRO_INDEX_MB", value_name = "MB", default_value_t = INDEX_MB, value_parser = megabytes)]
    pub index_mb: u64,

    /// Largest request body (64 MiB)
    #[arg(long, env = "RETRO_MAX_BODY_BYTES", value_name = "BYTES", default_value_t = 64 << 20, value_parser = bytes)]
    pub max_body_bytes: usize,

    /// Largest upload of files, and most text that all of its documents may have (256 MiB)
    #[arg(long, env = "RETRO_MAX_UPLOAD_BYTES", value_name = "BYTES", default_value_t = 256 << 20, value_parser = bytes)]
    pub max_upload_bytes: usize,

    /// Largest text of one document (10 MiB)
    #[arg(long, env = "RETRO_MAX_DOCUMENT_BYTES", value_name = "BYTES", default_value_t = 10 << 20, value_parser = bytes)]
    pub max_document_bytes: usize,

    /// Most documents in one request
    #[arg(long, env = "RETRO_MAX_DOCUMENTS", value_name = "N", default_value_t = 1000, value_parser = things)]
    pub max_documents: usize,

    /// Most completions and scores that wait, look-ups and embeddings at a time, and documents on their way in; more are answered with 429
    #[arg(long, env = "RETRO_MAX_QUEUE", value_name = "N", default_value_t = 64, value_parser = things)]
    pub max_queue: usize,

    /// Serve everyone at an address that other machines reach, as long as there are no API keys; at a loopback address that needs no leave
    #[arg(long, env = "RETRO_ALLOW_ANONYMOUS", value_name = "BOOL", action = ArgAction::Set, default_value_t = false,
          num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub allow_anonymous: bool,

    /// Requests a minute of one API key, or of one client address where there are no keys; more are answered with 429; 0: no limit
    #[arg(long, env = "RETRO_REQUESTS_PER_MINUTE", value_name = "N", default_value_t = 0, value_parser = rate)]
    pub requests_per_minute: u32,

    /// Requests of one API key, or client address, that are answered at a time; more are answered with 429; 0: no limit
    #[arg(long, env = "RETRO_CONCURRENT_REQUESTS", value_name = "N", default_value_t = 0, value_parser = things_or_none)]
    pub concurrent_requests: usize,

    /// How long an answer may take to begin, then it is 504; 0: no limit. A stream that has begun may go on
    #[arg(long, env = "RETRO_REQUEST_SECONDS", value_name = "SECONDS", default_value_t = 0, value_parser = seconds_or_none)]
    pub request_seconds: u64,

    /// How long the head of a request may take to arrive, and a connection may be idle, before the connection is closed
    #[arg(long, env = "RETRO_HEADER_SECONDS", value_name = "SECONDS", default_value_t = 30, value_parser = seconds)]
    pub header_seconds: u64,

    /// How long each next 16 KiB of a body may take to arrive, or its end, before it is 408 and the connection is closed
    #[arg(long, env = "RETRO_BODY_SECONDS", value_name = "SECONDS", default_value_t = 30, value_parser = seconds)]
    pub body_seconds: u64,

    /// Most connections at a time; more wait until one ends
    #[arg(long, env = "RETRO_MAX_CONNECTIONS", value_name = "N", default_value_t = 512, value_parser = things)]
    pub max_connections: usize,

    /// Connections of one client address at a time; more are closed at once; 0: no limit. Behind a proxy all clients have one address
    #[arg(long, env = "RETRO_CONNECTIONS_PER_CLIENT", value_name = "N", default_value_t = 0, value_parser = things_or_none)]
    pub connections_per_client: usize,

    /// How long a stopping server waits for the requests it has begun
    #[arg(long, env = "RETRO_SHUTDOWN_SECONDS", value_name = "SECONDS", default_value_t = 30, value_parser = seconds_or_none)]
    pub shutdown_seconds: u64,

    /// Origins whose web pages may call the server, separated by commas; `*` is any [default: none]
    #[arg(long, env = "RETRO_CORS_ORIGINS", value_name = "ORIGINS", value_delimiter = ',', value_parser = origin)]
    pub cors_origins: Vec<String>,

    /// Form of the log on standard error
    #[arg(long, env = "RETRO_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// off, error, warn, info, debug, trace, or a tracing filter [default: info for `serve`, warn for the other commands]
    #[arg(long, env = "RETRO_LOG_LEVEL", value_name = "LEVEL", value_parser = log_level)]
    pub log_level: Option<String>,

    /// Where traces go by OTLP over HTTP, like http://127.0.0.1:4318; `/v1/traces` is added [default: nowhere]
    #[arg(long, env = "RETRO_OTLP_ENDPOINT", value_name = "URL", value_parser = endpoint)]
    pub otlp_endpoint: Option<String>,
}

/// Where the graphs are to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// On CUDA where the library and a GPU are there, else on the CPU.
    Auto,
    Cpu,
    /// On the GPU of this number or not at all: a server for a GPU must not run on the CPU in silence.
    Cuda(i32),
}

/// What the embedder is to compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EmbedderPrecision {
    Auto,
    Fp32,
    Int16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// Place of the LanceDB database.
    pub fn lance_uri(&self) -> String {
        self.lance_uri.clone().unwrap_or_else(|| self.data_dir.join("lance").to_string_lossy().into_owned())
    }

    /// `database_url` and `lance_uri` as they may be shown: without the passwords that URLs can hold.
    pub fn shown_places(&self) -> (String, String) {
        let catalogue = self.database_url.clone();
        let catalogue = catalogue.unwrap_or_else(|| self.data_dir.join(CATALOGUE_FILE).to_string_lossy().into_owned());
        (shown_place(&catalogue), shown_place(&self.lance_uri()))
    }

    /// Held by the one process that writes to LanceDB.
    pub fn writer_lock(&self) -> PathBuf {
        self.data_dir.join("writer.lock")
    }

    /// Where files that clients send lie while they are read.
    pub fn uploads_folder(&self) -> PathBuf {
        self.data_dir.join("uploads")
    }

    /// What `threads` comes to on this machine. The model and the embedder seldom work at the same time on few cores; on many they share.
    pub fn graph_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match (self.threads, cores) {
            (0, cores @ ..=8) => cores,
            (0, cores @ ..=16) => cores.min(8),
            (0, cores) => (cores / 2).min(32),
            (given, _) => given,
        }
    }

    /// Memory for the vectors of texts, each 1.5 KB or so: a small part of `cache_mb` holds thousands.
    pub fn vector_cache_bytes(&self) -> u64 {
        (self.cache_mb << 20) / 16
    }

    /// Memory for encoded neighbours, about 1 MB for a chunk's: what is left of `cache_mb`.
    pub fn encoded_cache_bytes(&self) -> u64 {
        (self.cache_mb << 20) - self.vector_cache_bytes()
    }

    /// Memory for embeddings that are searched.
    pub fn vector_bytes(&self) -> u64 {
        self.vectors_mb << 20
    }

    pub fn index_bytes(&self) -> u64 {
        self.index_mb << 20
    }

    /// Whether only this machine reaches the server.
    pub fn listens_on_loopback(&self) -> bool {
        // An IPv4 address may be written as an IPv6 one.
        self.listen.ip().to_canonical().is_loopback()
    }

    /// Whether whoever reaches the server may use it while there are no API keys.
    pub fn open_without_keys(&self) -> bool {
        self.listens_on_loopback() || self.allow_anonymous
    }

    /// None where answers may take as long as they like.
    pub fn request_deadline(&self) -> Option<Duration> {
        (self.request_seconds > 0).then(|| Duration::from_secs(self.request_seconds))
    }

    pub fn header_deadline(&self) -> Duration {
        Duration::from_secs(self.header_seconds)
    }

    pub fn body_deadline(&self) -> Duration {
        Duration::from_secs(self.body_seconds)
    }

    pub fn shutdown_deadline(&self) -> Duration {
        Duration::from_secs(self.shutdown_seconds)
    }
}

/// A place as it may be shown: without the passwords that a URL can hold.
pub fn shown_place(place: &str) -> String {
    masked(place).unwrap_or_else(|| place.to_owned())
}

impl Display for DeviceChoice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl Serialize for DeviceChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
