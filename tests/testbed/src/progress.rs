//! Tells the person who waits what is being done: a spinner on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// In a log, silence for longer than this looks like a hang, and more lines than this are noise.
const PLAIN_INTERVAL: Duration = Duration::from_mins(1);

/// One piece of work that takes a while.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    told: Instant,
}

impl Progress {
    /// Says that the work begins.
    #[must_use]
    pub fn start(title: &str) -> Self {
        eprintln!("{title}");
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("  {spinner} {elapsed} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        let now = Instant::now();
        Self { bar, started: now, told: now }
    }

    /// Says how far it has come.
    pub fn detail(&mut self, text: &str) {
        self.bar.set_message(text.to_owned());
        if self.bar.is_hidden() && self.told.elapsed() >= PLAIN_INTERVAL {
            self.told = Instant::now();
            eprintln!("  {text} ({} s so far)", self.started.elapsed().as_secs());
        }
    }

    /// Says that the work is done.
    pub fn done(self) {
        self.bar.finish_and_clear();
        eprintln!("  done in {:.1} s", self.started.elapsed().as_secs_f64());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
