//! Formats whose libraries unpack and parse within memory are read in a process of their own, with bounds that the system keeps: a file that
//! asks for too much memory or time, or that a library fails on, costs that process and is named with its reason.
//!
//! Both sides are here. What the process finds it writes as JSON, one line an item.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use super::find::Kind;
use super::{IngestLimits, Item, Place, parquet, pdf};
use crate::panics;

/// Address space of the process, its program included.
const MEMORY: u64 = 2 << 30;
/// Processor time for one item, in seconds.
const SECONDS: u64 = 60;
/// Most bytes that are kept of what the process says of its failure.
const SAID: u64 = 16 << 10;

/// Reads a file in this process, and writes what it holds: the work of the process that [`Apart`] starts.
///
/// # Errors
/// What was found cannot be written.
pub fn read_here(path: &Path, limits: &IngestLimits, out: &mut impl Write) -> io::Result<()> {
    bound_memory();
    // The failure is told as an item.
    std::panic::set_hook(Box::new(|_| {}));
    let mut items: Option<Box<dyn Iterator<Item = Item> + Send>> = None;
    loop {
        bound_time();
        let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            items.get_or_insert_with(|| self::items(path, limits)).next()
        }));
        let (item, last) = match next {
            Ok(None) => return out.flush(),
            Ok(Some(item)) => (item, false),
            Err(panic) => (Item::failed(format!("its reader failed: {}", panics::message(&*panic))), true),
        };
        serde_json::to_writer(&mut *out, &item)?;
        out.write_all(b"\n")?;
        if last {
            return out.flush();
        }
    }
}

/// What is in a file of a kind that is read apart.
pub(super) fn items(path: &Path, limits: &IngestLimits) -> Box<dyn Iterator<Item = Item> + Send> {
    match Kind::of(path) {
        Some(Kind::Pdf) => Box::new(std::iter::once(Item::whole(pdf::read(path, limits)))),
        Some(Kind::Parquet) => match parquet::Rows::open(path, limits) {
            Ok(rows) => Box::new(rows.map(|(row, done, result)| Item { place: Some(Place::Row(row)), done, result })),
            Err(reason) => Box::new(std::iter::once(Item::failed(reason))),
        },
        _ => Box::new(std::iter::once(Item::failed("it is not read in a process of its own".to_owned()))),
    }
}

fn bound_memory() {
    let memory = libc::rlimit { rlim_cur: MEMORY as libc::rlim_t, rlim_max: MEMORY as libc::rlim_t };
    let no_dump = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls on values that live as long as the calls. A system that knows no such limit, as macOS does not bound
    // address space, leaves the bounds that the readers keep themselves.
    unsafe {
        libc::setrlimit(libc::RLIMIT_AS, &raw const memory);
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_dump);
    }
}

/// Gives the next item its time.
fn bound_time() {
    // SAFETY: plain system calls on values that live as long as the calls; zero is a value of these fields of numbers.
    unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        let mut time: libc::rlimit = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_SELF, &raw mut used) == 0 && libc::getrlimit(libc::RLIMIT_CPU, &raw mut time) == 0 {
            let seconds = (used.ru_utime.tv_sec + used.ru_stime.tv_sec).unsigned_abs() + SECONDS;
            time.rlim_cur = (seconds as libc::rlim_t).min(time.rlim_max);
            libc::setrlimit(libc::RLIMIT_CPU, &raw const time);
        }
    }
}

/// A process that reads a file. It is ended when this is dropped.
pub(super) struct Apart {
    child: Child,
    found: BufReader<ChildStdout>,
    ended: bool,
}

impl Apart {
    /// # Arguments
    /// * `program` - the program whose command `read-file` calls [`read_here`].
    pub fn start(program: &PathBuf, path: &Path, limits: &IngestLimits) -> io::Result<Self> {
        use std::os::unix::process::CommandExt;

        let mut child = Command::new(program)
            .arg("read-file")
            .arg(format!("--max-document-bytes={}", limits.max_document_bytes))
            .arg("--")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is for this process, which ends the other when it is time.
            .process_group(0)
            .spawn()?;
        let found = child.stdout.take().ok_or_else(|| io::Error::other("the process has no output"))?;
        Ok(Self { child, found: BufReader::new(found), ended: false })
    }

    fn end(&mut self) -> io::Result<Option<Item>> {
        let mut said = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            stderr.take(SAID).read_to_string(&mut said)?;
        }
        let status = self.child.wait()?;
        Ok((!status.success()).then(|| Item::failed(reason(status, &said))))
    }
}

impl Iterator for Apart {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        if self.ended {
            return None;
        }
        let mut line = Vec::new();
        match self.found.read_until(b'\n', &mut line) {
            // What is cut off in the middle was written by a process that was ended.
            Ok(_) if line.ends_with(b"\n") => match serde_json::from_slice(&line) {
                Ok(item) => return Some(item),
                Err(error) => {
                    self.ended = true;
                    return Some(Item::failed(format!("its reader cannot be understood: {error}")));
                }
            },
            Ok(_) => {}
            Err(error) => {
                self.ended = true;
                return Some(Item::failed(format!("its reader cannot be heard: {error}")));
            }
        }
        self.ended = true;
        self.end().unwrap_or_else(|error| Some(Item::failed(format!("its reader cannot be heard: {error}"))))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn reason(status: ExitStatus, said: &str) -> String {
    use std::os::unix::process::ExitStatusExt;

    if status.signal() == Some(libc::SIGXCPU) {
        return format!("reading it takes more than {SECONDS} seconds");
    }
    if said.contains("memory allocation of") {
        return format!("reading it takes more than {} MiB of memory", MEMORY >> 20);
    }
    if said.contains("overflowed its stack") {
        return "it is nested too deeply".to_owned();
    }
    format!("its reader ended with {status}: {}", said.lines().rev().find(|line| !line.is_empty()).unwrap_or("it said nothing"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn an_end_is_told_in_words() {
        let by_signal = ExitStatus::from_raw;
        assert!(reason(by_signal(libc::SIGXCPU), "").contains("60 seconds"));
        assert!(reason(by_signal(libc::SIGABRT), "memory allocation of 99 bytes failed\n").contains("2048 MiB"));
        assert!(reason(by_signal(libc::SIGABRT), "thread 'main' (7) has overflowed its stack\n").contains("nested"));
        assert!(reason(by_signal(libc::SIGKILL), "one\nlast\n\n").ends_with(": last"));
    }

    #[test]
    fn a_program_that_does_not_answer_is_named() {
        let limits = IngestLimits::default();
        let items: Vec<_> = Apart::start(&"/bin/false".into(), Path::new("x.pdf"), &limits).unwrap().collect();
        assert_eq!(items.len(), 1);
        assert!(items[0].result.as_ref().unwrap_err().contains("its reader ended"), "{items:?}");
        let items: Vec<_> = Apart::start(&"/bin/echo".into(), Path::new("x.pdf"), &limits).unwrap().collect();
        assert!(items[0].result.as_ref().unwrap_err().contains("cannot be understood"), "{items:?}");
        assert_eq!(items.len(), 1);
    }
}
