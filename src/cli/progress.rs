use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often the progress is looked at.
pub const LOOK: Duration = Duration::from_millis(200);

/// How far a command is, with the rate and the time that is left. A terminal sees it.
pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    /// What is settled for good.
    settled: u64,
}

impl Progress {
    /// `total` is counted in whatever grows most evenly: the bytes of files, chunks, rows.
    pub fn new(total: u64) -> Self {
        let style = ProgressStyle::with_template("{spinner} {wide_bar} {percent}%  {msg}  {elapsed}, {eta} left")
            .expect("a fixed template");
        let bar = ProgressBar::new(total).with_style(style);
        bar.enable_steady_tick(LOOK);
        Self { bar, began: Instant::now(), settled: 0 }
    }

    /// All up to here is settled.
    pub fn settle(&mut self, position: u64) {
        self.settled = position;
        self.bar.set_position(position);
    }

    /// So much of `total`, which may change, is done.
    pub fn reach(&self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// The same, and how many of it a second.
    pub fn count(&self, doing: &str, done: u64, total: u64, what: &str) {
        self.reach(done, total);
        self.bar.set_message(format!("{doing}: {done} {what}, {:.1} {what}/s", done as f64 / self.seconds()));
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
