//! A PostgreSQL for the tests of this machine, and databases in it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::Catalogue;

/// Where a test has its catalogue, and a folder for the rest.
pub struct Place {
    folder: tempfile::TempDir,
    database: Option<TestDatabase>,
}

impl Place {
    /// In a file.
    pub fn sqlite() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database: None }
    }

    /// None where PostgreSQL is not installed, unless all tests are to run.
    pub fn postgres() -> Option<Self> {
        Some(Self { folder: tempfile::tempdir().unwrap(), database: Some(TestDatabase::new()?) })
    }

    /// Another of the same kind.
    pub fn again(&self) -> Self {
        match &self.database {
            None => Self::sqlite(),
            Some(_) => Self::postgres().expect("it is installed"),
        }
    }

    /// With a PostgreSQL of its own, which may be [stopped](Self::stop).
    pub fn postgres_alone() -> Option<Self> {
        let server = Arc::new(Server::start(programs()?));
        Some(Self { folder: tempfile::tempdir().unwrap(), database: Some(TestDatabase::on(server)) })
    }

    /// Stops PostgreSQL.
    pub fn stop(&self) {
        self.server().stop();
    }

    /// Starts it again, with what it had.
    pub fn go_on(&self) {
        let server = self.server();
        *server.process.lock().unwrap() = run(server.programs, server.folder.path());
        server.until_ready();
    }

    fn server(&self) -> &Server {
        &self.database.as_ref().expect("it is in PostgreSQL").server
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// # Panics
    /// It is in a file.
    pub fn url(&self) -> &str {
        &self.database.as_ref().expect("it is in PostgreSQL").url
    }

    /// The catalogue as another process would open it.
    pub async fn catalogue(&self) -> Catalogue {
        let url = self.database.as_ref().map(|database| database.url.as_str());
        Catalogue::open(self.path(), url).await.unwrap()
    }
}

/// Tests of the same with a catalogue in SQLite and in PostgreSQL, of functions that take a [`Place`].
macro_rules! on_both {
    ($($name:ident,)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name(&crate::catalogue::testing::Place::sqlite()).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    if let Some(place) = crate::catalogue::testing::Place::postgres() {
                        super::$name(&place).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use on_both;

/// A running PostgreSQL with data of its own, ended when the last test lets go of it.
struct Server {
    programs: &'static Path,
    process: Mutex<Child>,
    folder: tempfile::TempDir,
}

static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of its own for one test.
struct TestDatabase {
    url: String,
    server: Arc<Server>,
}

impl TestDatabase {
    fn new() -> Option<Self> {
        let programs = programs()?;
        let server = {
            let mut server = SERVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            server.upgrade().unwrap_or_else(|| {
                let started = Arc::new(Server::start(programs));
                *server = Arc::downgrade(&started);
                started
            })
        };
        Some(Self::on(server))
    }

    fn on(server: Arc<Server>) -> Self {
        let name = format!("retro{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let made =
            Command::new(server.programs.join("createdb")).args(["-h", server.socket(), "-U", "retro", &name]).status().unwrap();
        assert!(made.success());
        let socket = server.socket().replace('/', "%2F");
        Self { url: format!("postgres://retro@{socket}/{name}"), server }
    }
}

impl Server {
    fn start(programs: &'static Path) -> Self {
        // A socket's path has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        let data = folder.path().join("data");
        if is_root() {
            assert!(Command::new("chown").arg("nobody").arg(folder.path()).status().unwrap().success());
        }
        let initdb = unprivileged(&programs.join("initdb"))
            .args(["--auth=trust", "--username=retro", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(initdb.success());
        let server = Self { programs, process: Mutex::new(run(programs, folder.path())), folder };
        server.until_ready();
        server
    }

    fn until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let asked = || Command::new(self.programs.join("pg_isready")).args(["-q", "-h", self.socket()]).status().unwrap();
        while !asked().success() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&self) {
        let mut process = self.process.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // SIGINT ends its sessions and it; SIGKILL would leave its children.
        let _ = Command::new("kill").args(["-INT", &process.id().to_string()]).status();
        let _ = process.wait();
    }

    fn socket(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(programs: &Path, folder: &Path) -> Child {
    let mut postgres = unprivileged(&programs.join("postgres"));
    postgres.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
    postgres.args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=300"]);
    postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Where PostgreSQL's programs are.
fn programs() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let packaged = glob::glob("/usr/lib/postgresql/*/bin").unwrap().filter_map(Result::ok);
        let in_path = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
        let found = packaged.chain(in_path).find(|folder| folder.join("initdb").exists());
        if found.is_none() {
            assert!(std::env::var("RETRO_TESTS").as_deref() != Ok("all"), "PostgreSQL is not installed");
            eprintln!("PostgreSQL is not installed: what is to work with it is not tested");
        }
        found
    });
    found.as_deref()
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(program);
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
