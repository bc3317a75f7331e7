//! How many cores the operators of a run take: ONNX Runtime fixes that for a session, our operators for each run.

use std::cell::Cell;

thread_local! {
    // A run computes its operators on the thread that calls it.
    static MOST: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Runs `run`, whose operators share their work out to at most `most` cores.
pub fn with_most<T>(most: usize, run: impl FnOnce() -> T) -> T {
    /// Puts back what was before, in a panic too.
    struct Before(usize);
    impl Drop for Before {
        fn drop(&mut self) {
            MOST.set(self.0);
        }
    }
    let _before = Before(MOST.replace(most));
    run()
}

/// What the run on this thread may take.
pub(super) fn most() -> usize {
    MOST.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_for_a_run_and_ends_with_it_in_a_panic_too() {
        assert_eq!(with_most(3, || (most(), with_most(1, most), most())), (3, 1, 3));
        let panicked = std::panic::catch_unwind(|| with_most(2, || assert_eq!(most(), 0)));
        assert!(panicked.is_err() && most() == usize::MAX);
    }
}
