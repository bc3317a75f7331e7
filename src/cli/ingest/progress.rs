use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often the progress is looked at.
pub const LOOK: Duration = Duration::from_millis(200);

/// How far the files are, by bytes, since nobody knows how many documents a file holds before it is read. A terminal sees it.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    /// Bytes of files whose documents are all settled.
    settled: u64,
}

impl Progress {
    pub fn new(bytes: u64) -> Self {
        let style = ProgressStyle::with_template("{spinner} {wide_bar} {percent}%  {msg}  {elapsed}, {eta} left")
            .expect("a fixed template");
        let bar = ProgressBar::new(bytes).with_style(style);
        bar.enable_steady_tick(LOOK);
        Self { bar, began: Instant::now(), settled: 0 }
    }

    /// All up to this many bytes is settled.
    pub fn settle(&mut self, bytes: u64) {
        self.settled = bytes;
        self.bar.set_position(bytes);
    }

    /// `share` of what comes before `end` is settled too.
    pub fn look(&self, end: u64, share: f64) {
        self.bar.set_position(self.settled + (end.saturating_sub(self.settled) as f64 * share) as u64);
    }

    pub fn say(&self, documents: u64, chunks: u64) {
        let rate = |number: u64| number as f64 / self.seconds();
        self.bar.set_message(format!("{documents} documents, {:.1} documents/s, {:.1} chunks/s", rate(documents), rate(chunks)));
    }

    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
