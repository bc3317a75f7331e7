//! Work that has no queue of its own waits in a bounded one: who comes when it is full is told to come again, while those in it are served
//! as fast as ever. Completions and scores have theirs in the generator.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::{ApiError, Code};
use crate::metrics;

/// One of `places`, held until the work is done.
///
/// # Errors
/// All are taken.
pub fn place(places: &Semaphore) -> Result<SemaphorePermit<'_>, ApiError> {
    places.try_acquire().map_err(|_| {
        metrics::get().queue_refusals.inc();
        // A place is held for some milliseconds.
        ApiError::new(Code::Overloaded, "the queue is full; try again in 1 second").with_retry_after(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_place_is_told_to_come_again() {
        let places = Semaphore::new(2);
        let held = [place(&places).ok(), place(&places).ok()];
        let refused = place(&places).expect_err("no place is left");
        assert_eq!((refused.code, refused.retry_after), (Code::Overloaded, Some(1)));
        drop(held);
        assert!(place(&places).is_ok());
    }
}
