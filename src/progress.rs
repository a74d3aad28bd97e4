//! Bars of work under way, for commands that take long.
//!
//! **Invariants**: drawn on standard error, and only when that is a terminal; what a command prints
//! otherwise never depends on it.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::limits::client::PROGRESS_PERIOD;

const SIZED: &str = "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} {msg}";
const UNSIZED: &str = "{spinner} {bytes} {binary_bytes_per_sec} {elapsed} {msg}";

/// A bar; it goes away when it is dropped.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Of so many bytes, or of nobody knows how many.
    pub fn of(total_bytes: Option<u64>) -> Self {
        if !Self::is_shown() {
            return Self::hidden();
        }
        let target = ProgressDrawTarget::stderr_with_hz(hertz(PROGRESS_PERIOD));
        let bar = ProgressBar::with_draw_target(total_bytes, target);
        let template = if total_bytes.is_some() { SIZED } else { UNSIZED };
        let style = ProgressStyle::with_template(template);
        Self { bar: bar.with_style(style.expect("the template is a constant")) }
    }

    /// Whether bars are drawn at all.
    pub fn is_shown() -> bool {
        std::io::stderr().is_terminal()
    }

    /// One that is never drawn.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// So many bytes more.
    pub fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// What is being done, or how much was found.
    pub fn say(&self, text: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_message(text());
        }
    }

    /// Takes the bar away while something is printed.
    pub fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the bar away for good.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

fn hertz(period: Duration) -> u8 {
    u8::try_from(1000 / period.as_millis().max(4)).unwrap_or(u8::MAX)
}
