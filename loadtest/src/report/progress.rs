//! The view of a run under way: a bar, a sparkline of the rate, current percentiles.
//!
//! Drawn by a thread of its own from snapshots that the command hands out, ten times a second at
//! most, and only when stdout is a terminal. The threads that send requests never wait for it: a
//! snapshot is taken by the command's collecting thread. Prints nothing into a pipe.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::latency::Latency;
use super::stats;
use super::units;

/// Time between two drawings (10 Hz).
const BETWEEN: Duration = Duration::from_millis(100);
/// Seconds in the sparkline.
const HISTORY: usize = 40;
/// Levels of the sparkline, an eighth of a line each.
const LEVELS: [char; 8] = [
    '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}',
];

/// Names of the phases: nothing is sent before the second, nothing counted before the third.
pub const CONNECT: &str = "connect";
/// See [`CONNECT`].
pub const WARM_UP: &str = "warm-up";
/// See [`CONNECT`].
pub const MEASURE: &str = "measure";
/// See [`CONNECT`].
pub const DRAIN: &str = "drain";

/// The state of a run at one instant; counts since the start of the measured phase.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Name of the phase.
    pub phase: &'static str,
    /// Name of the run, where it is one of several; may be empty.
    pub label: String,
    /// Seconds since the run's start, and of the whole run.
    pub elapsed_s: f64,
    /// See `elapsed_s`.
    pub total_s: f64,
    /// Requests intended so far; `None` without a schedule.
    pub offered: Option<u64>,
    /// Requests that ended well so far.
    pub achieved: u64,
    /// Requests that failed or were shed so far.
    pub failed: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Viewers watching and stalled; zero without viewers.
    pub viewers: u64,
    /// See `viewers`.
    pub stalled: u64,
    /// Headline latency of the last full second.
    pub recent: Latency,
}

/// A view that is being drawn; stops when it is dropped.
pub struct View {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl View {
    /// Draws what `snapshot` returns until the view is dropped; nothing when stdout is no terminal.
    pub fn start(mut snapshot: impl FnMut() -> Snapshot + Send + 'static) -> Self {
        if !std::io::stdout().is_terminal() {
            return Self { stop: None, thread: None };
        }
        let (stop, stopped) = mpsc::channel();
        let spawned = std::thread::Builder::new().name("view".to_owned()).spawn(move || {
            let bar = bar();
            let mut rates = Rates::default();
            while stopped.recv_timeout(BETWEEN) == Err(RecvTimeoutError::Timeout) {
                let now = snapshot();
                rates.observe(&now);
                bar.set_position(share(&now));
                bar.set_message(text(&now, &rates));
            }
            bar.finish_and_clear();
        });
        // Without the thread there is no view; the run goes on.
        Self { stop: Some(stop), thread: spawned.ok() }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stdout_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template("[{bar:50}] {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Thousandths of the run that are over.
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn share(now: &Snapshot) -> u64 {
    (now.elapsed_s / now.total_s.max(f64::MIN_POSITIVE) * 1000.0).clamp(0.0, 1000.0) as u64
}

/// Achieved requests of each past second.
#[derive(Debug, Default)]
struct Rates {
    history: VecDeque<f64>,
    last: (f64, u64),
}

impl Rates {
    fn observe(&mut self, now: &Snapshot) {
        let (at, achieved) = self.last;
        if now.phase != MEASURE {
            // The first second counts from the start of the phase.
            self.last = (now.elapsed_s, now.achieved);
        } else if now.achieved < achieved || now.elapsed_s < at {
            self.last = (now.elapsed_s, now.achieved);
        } else if now.elapsed_s - at >= 1.0 {
            self.history.push_back((now.achieved - achieved) as f64 / (now.elapsed_s - at));
            self.last = (now.elapsed_s, now.achieved);
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "an index below eight")]
    fn sparkline(&self) -> String {
        let top = self.history.iter().copied().fold(0.0, f64::max);
        let level = |rate: &f64| {
            let eighth = if top > 0.0 { (rate / top * 7.0).round() } else { 0.0 };
            LEVELS[(eighth as usize).min(LEVELS.len() - 1)]
        };
        self.history.iter().map(level).collect()
    }
}

/// What stands beside and below the bar.
fn text(now: &Snapshot, rates: &Rates) -> String {
    let elapsed = now.elapsed_s.min(now.total_s);
    let mut text = format!("{elapsed:.0} s of {:.0} s  {}", now.total_s, now.phase);
    if !now.label.is_empty() {
        text.push_str(&format!("  {}", now.label));
    }
    let rate = rates.history.back().map_or("-".to_owned(), |rate| units::rate(*rate));
    text.push_str(&format!("\n  {rate:<12} {}", rates.sparkline()));
    text.push_str(&format!(
        "\n  done {}   failed {}   in flight {}",
        units::count(now.achieved),
        units::count(now.failed),
        units::count(now.in_flight)
    ));
    if let Some(offered) = now.offered.filter(|offered| *offered > 0) {
        let ended = now.achieved + now.failed + now.in_flight;
        let behind = offered.saturating_sub(ended);
        text.push_str(&format!("   waiting {}", units::count(behind)));
    }
    if now.viewers > 0 {
        text.push_str(&format!(
            "\n  viewers {}   stalled {} ({})",
            units::count(now.viewers),
            units::count(now.stalled),
            units::percent(now.stalled as f64 / now.viewers as f64)
        ));
    }
    if !now.recent.is_empty() {
        text.push_str("\n  last second:");
        for q in [0.5, 0.99, 0.999] {
            if let Ok(p) = stats::percentile(&now.recent, q) {
                let (name, value) = (units::quantile(q), units::time(p.value as f64));
                text.push_str(&format!("  {name} {value}"));
            }
        }
        text.push_str(&format!("  max {}", units::time(now.recent.max() as f64)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(elapsed_s: f64, achieved: u64) -> Snapshot {
        Snapshot { phase: MEASURE, elapsed_s, total_s: 60.0, achieved, ..Snapshot::default() }
    }

    #[test]
    fn the_sparkline_shows_the_last_seconds() {
        let mut rates = Rates::default();
        for tenth in 0..=1000u32 {
            let seconds = f64::from(tenth) / 10.0;
            let slow = if tenth > 980 { 0 } else { tenth };
            rates.observe(&at(seconds, u64::from(slow.max(tenth.min(980))) * 100));
        }
        assert_eq!(rates.history.len(), HISTORY);
        let line = rates.sparkline();
        assert_eq!(line.chars().count(), HISTORY);
        assert!(line.starts_with(LEVELS[7]) && line.ends_with(LEVELS[0]), "{line}");
    }

    #[test]
    fn percentiles_keep_the_rule_of_ten() {
        let mut now = at(12.0, 24_000);
        for i in 0..500 {
            now.recent.record(200_000 + i);
        }
        (now.viewers, now.stalled) = (1500, 30);
        let text = text(&now, &Rates::default());
        assert!(text.starts_with("12 s of 60 s"));
        assert!(text.contains("p50 200 us") && !text.contains("p99"), "{text}");
        assert!(text.contains("viewers 1,500   stalled 30 (2.00 %)"), "{text}");
        assert_eq!((share(&now), share(&at(90.0, 1)), share(&at(0.0, 1))), (200, 1000, 0));
    }

    #[test]
    fn a_run_of_several_is_named_and_counts_from_the_measured_phase() {
        let mut rates = Rates::default();
        for eighth in 0..68_u32 {
            let elapsed_s = f64::from(eighth) / 8.0;
            let phase = if eighth < 28 { WARM_UP } else { MEASURE };
            let achieved = u64::from(eighth.saturating_sub(27)) * 100;
            let label = "try of 1,000/s".to_owned();
            let now = Snapshot { phase, label, ..at(elapsed_s, achieved) };
            rates.observe(&now);
            let text = text(&now, &rates);
            assert!(text.contains(&format!("{phase}  try of 1,000/s\n")), "{text}");
            // No full second of the phase yet.
            assert_eq!(text.contains("\n  - "), eighth < 35, "{eighth} {text}");
        }
        assert_eq!(rates.sparkline(), LEVELS[7].to_string().repeat(5), "no dip at the start");
        // The drain adds nothing, nor runs beyond the end.
        let drain = Snapshot { phase: DRAIN, in_flight: 3, offered: Some(5503), ..at(63.0, 5500) };
        rates.observe(&drain);
        let text = text(&drain, &rates);
        assert!(text.starts_with("60 s of 60 s  drain\n") && rates.history.len() == 5, "{text}");
        assert!(text.contains("in flight 3   waiting 0"), "{text}");
    }

    #[test]
    fn without_a_terminal_nothing_is_asked() {
        let view = View::start(|| unreachable!("tests have no terminal"));
        if !std::io::stdout().is_terminal() {
            assert!(view.thread.is_none());
        }
    }
}
