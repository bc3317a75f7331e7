//! All inputs that were kept, `fuzz/corpus` and `fuzz/found`, through their targets: each target in a process of its own, so that the system
//! bounds its memory, and an input that ends the process is told as a failure.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::*;

const TARGET: &str = "RETRO_REPLAY_TARGET";
/// Address space of the process beyond what it begins with: the bound that `make fuzz` has on memory.
const MEMORY: u64 = 1 << 30;
/// Processor time for one input, a tenth of it where the build is optimised.
const TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 50 } else { 5 });
/// Processor time for the whole process, in seconds: what an endless loop is ended by.
const ALL_SECONDS: u64 = 300;
/// Most bytes of a seed.
const LARGEST: u64 = 4096;

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind)
}

fn inputs(kind: &str, target: &Target) -> Vec<PathBuf> {
    let Ok(folder) = std::fs::read_dir(folder(kind).join(target.name)) else { return Vec::new() };
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_target_has_small_seeds_and_every_folder_a_target() {
    for target in TARGETS {
        let seeds = inputs("corpus", target);
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for seed in seeds {
            assert!(std::fs::metadata(&seed).unwrap().len() <= LARGEST, "{} is large", seed.display());
        }
    }
    for kind in ["corpus", "found"] {
        for entry in std::fs::read_dir(folder(kind)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                find(entry.file_name().to_str().unwrap());
            }
        }
    }
}

#[test]
fn every_input_that_was_kept_ends_well_in_time_and_in_memory() {
    for target in TARGETS {
        let number = inputs("corpus", target).len() + inputs("found", target).len();
        let work = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fuzzing::tests::inputs_of_one_target", "--ignored", "--nocapture", "--test-threads=1"])
            .env(TARGET, target.name)
            .env("TMPDIR", work.path())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
        assert!(output.status.success(), "{}: {}\n{said}", target.name, output.status);
        assert!(said.contains(&format!("{number} inputs of {} ended well", target.name)), "{said}");
    }
}

#[test]
#[ignore = "runs in processes of its own, one for each target"]
fn inputs_of_one_target() {
    let Ok(name) = std::env::var(TARGET) else { return };
    let target = find(&name);
    bound_process();
    let mut number = 0;
    for path in inputs("corpus", target).into_iter().chain(inputs("found", target)) {
        let bytes = std::fs::read(&path).unwrap();
        // Where the process is ended, this is the last that is said.
        println!("{}", path.display());
        let before = processor_time();
        (target.run)(&bytes);
        let took = processor_time() - before;
        assert!(took < TIME, "{} takes {took:?}", path.display());
        number += 1;
    }
    println!("{number} inputs of {} ended well", target.name);
}

fn bound_process() {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages: u64 = pages.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or_default();
    // SAFETY: plain system calls on values that live as long as the calls. A system that knows no such limit leaves the process unbounded.
    unsafe {
        let page = libc::sysconf(libc::_SC_PAGESIZE).unsigned_abs();
        for (resource, most) in
            [(libc::RLIMIT_AS, pages * page + MEMORY), (libc::RLIMIT_CPU, ALL_SECONDS), (libc::RLIMIT_CORE, 0)]
        {
            let limit = libc::rlimit { rlim_cur: most as libc::rlim_t, rlim_max: most as libc::rlim_t };
            assert_eq!(libc::setrlimit(resource, &raw const limit), 0);
        }
    }
}

fn processor_time() -> Duration {
    // SAFETY: a plain system call on a value that lives as long as the call; zero is a value of these fields of numbers.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut used), 0);
        used
    };
    let duration = |time: libc::timeval| Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_usec).unwrap() * 1000);
    duration(used.ru_utime) + duration(used.ru_stime)
}
