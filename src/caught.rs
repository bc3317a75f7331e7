//! Failures of libraries, where the server expects them: for tests and fuzzing alone.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, Once};

/// A copy of the process that takes longer hangs.
const COPY_SECONDS: u32 = 60;

/// Does what the server does where it takes the panic of a library for an answer: none where there was one. A panic of this crate ends the
/// process.
pub(crate) fn apart<T>(work: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            let file = panic.location().map_or("src/", |location| location.file());
            if file.starts_with("src/") || file.starts_with(env!("CARGO_MANIFEST_DIR")) {
                before(panic);
                std::process::abort();
            }
            tell_once(panic);
        }));
    });
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Whether `work` ends otherwise than for want of memory or of stack, which no panic tells: tried in a copy of this process.
pub(crate) fn is_within_memory(work: impl FnOnce()) -> bool {
    // SAFETY: the copy has this thread alone. It does `work`, which waits for no other one, and ends without any of this process's ends.
    let copy = unsafe { libc::fork() };
    assert!(copy >= 0, "a process cannot be copied");
    if copy == 0 {
        let no_dump = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: plain system calls, on a value that lives as long as the call. What this process does at signals is not the copy's.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &raw const no_dump);
            libc::signal(libc::SIGABRT, libc::SIG_DFL);
            libc::signal(libc::SIGALRM, libc::SIG_DFL);
            libc::alarm(COPY_SECONDS);
        }
        // SAFETY: as above.
        set_hook(Box::new(|_| unsafe { libc::_exit(0) }));
        let _ = catch_unwind(AssertUnwindSafe(work));
        // SAFETY: as above.
        unsafe { libc::_exit(0) }
    }
    let mut status = 0;
    // SAFETY: a plain system call, on a value that lives as long as the call. A signal may come between.
    while unsafe { libc::waitpid(copy, &raw mut status, 0) } != copy {}
    !(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT)
}

fn tell_once(panic: &PanicHookInfo<'_>) {
    static TOLD: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let mut told = TOLD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if told.get_or_insert_default().insert(place) {
        eprintln!("a library's own: {panic}");
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn want_of_memory_is_told_from_all_else() {
        assert!(is_within_memory(|| drop(black_box(vec![1_u8; 1000]))));
        assert!(is_within_memory(|| panic!("for another reason")));
        assert!(!is_within_memory(|| drop(black_box(Vec::<u8>::with_capacity(black_box(1 << 60))))));
    }
}
