//! Progress bars: on terminals only, and only for work of more than a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const QUIET_FOR: Duration = Duration::from_secs(1);

/// A bar that stays hidden for its first second. It draws to stderr, and only where that is a terminal.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    shown: bool,
}

impl Progress {
    /// Counts `total_bytes` of data under the given label.
    pub fn bytes(label: &str, total_bytes: u64) -> Self {
        Self::styled(label, total_bytes, "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left")
    }

    /// Counts `total` things of the given name.
    pub fn counted(label: &str, total: u64) -> Self {
        Self::styled(label, total, "{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left")
    }

    fn styled(label: &str, total: u64, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(label.to_string());
        Self { bar, started: Instant::now(), shown: false }
    }

    /// Moves the bar on.
    pub fn advance(&mut self, amount: u64) {
        if !self.shown && self.started.elapsed() > QUIET_FOR {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.shown = true;
        }
        self.bar.inc(amount);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
