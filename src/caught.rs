//! Panics of libraries, where the server expects them: for tests and fuzzing alone.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, Once};

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

fn tell_once(panic: &PanicHookInfo<'_>) {
    static TOLD: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let mut told = TOLD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if told.get_or_insert_default().insert(place) {
        eprintln!("a library's own: {panic}");
    }
}
