//! The end of a server that does not come by itself.
//!
//! Whatever holds up all threads of the runtime, as a log does that nobody reads, holds up what the runtime does at a signal, too. So each
//! signal reaches a handler of the process first; the runtime's own calls it.

use std::io;
use std::mem::zeroed;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libc::{SA_RESTART, SIG_IGN, SIGALRM, SIGHUP, SIGINT, SIGTERM, c_int};

/// How much longer than its deadline a server may take to stop, in seconds: what was cut is told so, connections close, the last traces are
/// sent.
const MARGIN: u32 = 10;

static PATIENCE: AtomicU32 = AtomicU32::new(MARGIN);
/// Signals that came.
static STOPS: AtomicU32 = AtomicU32::new(0);

/// From now on the process ends with code 1 where it does not end itself in time after the first signal, or the second, and at the third.
/// Call it before the runtime listens for the signals. Says whether SIGHUP is one of them: `nohup` has it ignored, and that stays.
///
/// # Errors
/// A signal cannot be handled.
pub fn guard(deadline: Duration) -> io::Result<bool> {
    let seconds = u32::try_from(deadline.as_secs()).unwrap_or(u32::MAX);
    PATIENCE.store(seconds.saturating_add(MARGIN), Ordering::SeqCst);
    handle(SIGALRM, late)?;
    handle(SIGTERM, count)?;
    handle(SIGINT, count)?;
    let hears_hangup = !is_ignored(SIGHUP)?;
    if hears_hangup {
        handle(SIGHUP, count)?;
    }
    Ok(hears_hangup)
}

extern "C" fn count(signal: c_int) {
    // A terminal that closes says so more than once: by the system, and by its shell.
    if signal == SIGHUP && STOPS.load(Ordering::SeqCst) > 0 {
        return;
    }
    let patience = match STOPS.fetch_add(1, Ordering::SeqCst) {
        0 => PATIENCE.load(Ordering::SeqCst),
        1 => MARGIN,
        _ => give_up(),
    };
    // SAFETY: a system call that a handler may make. Its timer needs no thread that could be held up.
    unsafe { libc::alarm(patience) };
}

extern "C" fn late(_: c_int) {
    give_up()
}

fn give_up() -> ! {
    // SAFETY: a system call that a handler may make. What `exit` runs besides could wait for the thread that is held up.
    unsafe { libc::_exit(1) }
}

fn handle(signal: c_int, handler: extern "C" fn(c_int)) -> io::Result<()> {
    // SAFETY: all zeros is an action without a mask and without flags, and the handler does only what one may.
    let failed = unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = SA_RESTART;
        libc::sigaction(signal, &raw const action, null_mut())
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn is_ignored(signal: c_int) -> io::Result<bool> {
    // SAFETY: all zeros is an action, and the system writes the one in force over it.
    let (failed, action) = unsafe {
        let mut action: libc::sigaction = zeroed();
        (libc::sigaction(signal, null(), &raw mut action), action)
    };
    if failed == 0 { Ok(action.sa_sigaction == SIG_IGN) } else { Err(io::Error::last_os_error()) }
}
