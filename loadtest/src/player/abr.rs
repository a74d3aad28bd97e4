//! Which quality to load next: hls.js's throughput rules (abr-controller,
//! ewma-bandwidth-estimator).
//!
//! Two exponentially weighted averages of the download rate, half-lives 3 s and 9 s weighted by
//! download time; the estimate is the smaller one. Pure: rates and times go in, levels come out.

/// Rate assumed before anything was measured, in bit/s (abrEwmaDefaultEstimate).
pub const DEFAULT_RATE: f64 = 500_000.0;
/// Half-lives of the averages in seconds of download time (abrEwmaFastLive, abrEwmaSlowLive).
const FAST_S: f64 = 3.0;
const SLOW_S: f64 = 9.0;
/// Time to first byte assumed before one was measured, in seconds.
const DEFAULT_FIRST_BYTE_S: f64 = 0.1;
/// Share of the estimate that a level may need when it is not higher (abrBandWidthFactor).
const FACTOR: f64 = 0.95;
/// The same for a higher level (abrBandWidthUpFactor).
const UP_FACTOR: f64 = 0.7;
/// Longest rebuffering that a level may cause when none is without (maxStarvationDelay), seconds.
const STARVATION_S: f64 = 4.0;
/// Weight from which an average counts (minWeight).
const WEIGHT_MIN: f64 = 0.001;

/// An exponentially weighted average with zero-bias correction.
#[derive(Clone, Copy, Debug, Default)]
struct Ewma {
    estimate: f64,
    weight: f64,
}

impl Ewma {
    fn sample(&mut self, half_life: f64, weight: f64, value: f64) {
        let keep = 0.5f64.powf(weight / half_life);
        self.estimate = value * (1.0 - keep) + keep * self.estimate;
        self.weight += weight;
    }

    fn value(&self, half_life: f64) -> f64 {
        let filled = 1.0 - 0.5f64.powf(self.weight / half_life);
        if filled > 0.0 { self.estimate / filled } else { self.estimate }
    }
}

/// What was measured of one viewer's link.
#[derive(Clone, Copy, Debug)]
pub struct Estimator {
    fast: Ewma,
    slow: Ewma,
    first_byte: Ewma,
    default_rate: f64,
}

impl Default for Estimator {
    fn default() -> Self {
        Self::new(DEFAULT_RATE)
    }
}

impl Estimator {
    /// Knows nothing; takes `rate` in bit/s for granted until it does.
    pub fn new(rate: f64) -> Self {
        let none = Ewma::default();
        Self { fast: none, slow: none, first_byte: none, default_rate: rate }
    }

    /// Counts a download: `bytes` that took `seconds`, without the wait for the first byte.
    pub fn sample(&mut self, seconds: f64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        // Downloads out of a cache must not count as infinitely fast (minDelayMs).
        let least = (bytes as f64 / 100_000.0).min(50.0) / 1000.0;
        let seconds = seconds.max(least);
        let rate = 8.0 * bytes as f64 / seconds;
        self.fast.sample(FAST_S, seconds, rate);
        self.slow.sample(SLOW_S, seconds, rate);
    }

    /// Counts a wait for a first byte, in seconds; long waits weigh less.
    pub fn sample_first_byte(&mut self, seconds: f64) {
        let weight = 2f64.sqrt() * (-seconds * seconds / 2.0).exp();
        self.first_byte.sample(SLOW_S, weight, seconds.max(0.005));
    }

    /// Counts a finished download by its three stamps, as hls.js does: the wait for the first byte
    /// is taken off, but no more of it than the estimate.
    pub fn downloaded(&mut self, requested: f64, first: f64, last: f64, bytes: u64) {
        self.sample_first_byte(first - requested);
        let wait = (first - requested).min(self.first_byte());
        self.sample(last - requested - wait, bytes);
    }

    /// Begins anew with `rate` in bit/s (resetEstimator); waits for first bytes are forgotten too.
    pub fn forget(&mut self, rate: f64) {
        *self = Self::new(rate);
    }

    /// Whether any download was counted.
    pub fn knows(&self) -> bool {
        self.fast.weight >= WEIGHT_MIN
    }

    /// Estimated rate in bit/s.
    pub fn rate(&self) -> f64 {
        if !self.knows() {
            return self.default_rate;
        }
        self.fast.value(FAST_S).min(self.slow.value(SLOW_S))
    }

    /// Estimated wait for a first byte in seconds.
    pub fn first_byte(&self) -> f64 {
        if self.first_byte.weight < WEIGHT_MIN {
            return DEFAULT_FIRST_BYTE_S;
        }
        self.first_byte.value(SLOW_S)
    }
}

/// Bit rates of one level in bit/s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Peak.
    pub peak: f64,
    /// Mean.
    pub average: f64,
}

/// What a choice depends on besides the link.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Level of the last segment loaded; `None` before the first.
    pub last: Option<usize>,
    /// Level that the playlist names first.
    pub first: usize,
    /// Seconds of media in the buffer ahead of the playhead.
    pub buffered: f64,
    /// Duration of the last segment or part asked for, in seconds; 0 before the first.
    pub duration: f64,
    /// Live playlists do not bound the load time by the buffer.
    pub live: bool,
    /// How long the last playlist took from first to last byte, in seconds.
    pub playlist_load: f64,
}

/// The level to load next (getNextABRAutoLevel): the highest that the estimate carries.
pub fn next(levels: impl Levels, link: &Estimator, at: &Situation) -> usize {
    let no_starving = Bounds { rate: link.rate(), factor: FACTOR, up: UP_FACTOR, delay: 0.0 };
    if at.buffered > 0.0
        && let Some(best) = best(&levels, link, at, &no_starving, levels.count())
    {
        return best;
    }
    let delay = if at.duration > 0.0 { at.duration.min(STARVATION_S) } else { STARVATION_S };
    best(&levels, link, at, &Bounds { delay, ..no_starving }, levels.count()).unwrap_or(0)
}

/// The level to begin with (firstAutoLevel), when nothing was measured yet.
pub fn start(levels: impl Levels, link: &Estimator, first: usize) -> usize {
    let at = Situation {
        last: None,
        first,
        buffered: 0.0,
        duration: 0.0,
        live: false,
        playlist_load: 0.0,
    };
    // A first choice never goes below what the lowest level needs (start tier).
    let rate = link.rate().max(levels.level(0).peak);
    let bounds = Bounds { rate, factor: 1.0, up: 1.0, delay: STARVATION_S };
    best(&levels, link, &at, &bounds, levels.count()).unwrap_or(first)
}

/// A ladder of levels, lowest first.
pub trait Levels {
    /// How many there are; at least one.
    fn count(&self) -> usize;
    /// One of them.
    fn level(&self, index: usize) -> Level;
}

impl Levels for &[Level] {
    fn count(&self) -> usize {
        self.len()
    }

    fn level(&self, index: usize) -> Level {
        self[index]
    }
}

impl Levels for &super::playlist::Multivariant {
    fn count(&self) -> usize {
        self.variants.len()
    }

    fn level(&self, index: usize) -> Level {
        let variant = &self.variants[index];
        Level { peak: variant.bandwidth as f64, average: variant.average as f64 }
    }
}

struct Bounds {
    rate: f64,
    factor: f64,
    up: f64,
    /// Rebuffering allowed, in seconds.
    delay: f64,
}

/// findBestLevel: the highest level below `below` that fits.
fn best(
    levels: &impl Levels,
    link: &Estimator,
    at: &Situation,
    bounds: &Bounds,
    below: usize,
) -> Option<usize> {
    let base = at.last.unwrap_or(at.first);
    let duration = if at.duration > 0.0 { at.duration } else { 1.0 };
    let wait = link.first_byte();
    (0..below).rev().find(|&index| {
        let rate = bounds.rate * if index > base { bounds.up } else { bounds.factor };
        let level = levels.level(index);
        // Two segments in the buffer and no rebuffering in sight: the mean rate decides.
        let relaxed = at.duration > 0.0 && at.buffered >= 2.0 * at.duration && bounds.delay == 0.0;
        let need = if relaxed { level.average } else { level.peak };
        let load = wait + need * duration / rate + wait + at.playlist_load;
        rate >= need && (at.live || load < at.buffered + bounds.delay)
    })
}

/// A download under way.
#[derive(Clone, Copy, Debug)]
pub struct Download {
    /// Its level.
    pub level: usize,
    /// Its media in seconds.
    pub duration: f64,
    /// Seconds since it was asked for.
    pub loading: f64,
    /// Seconds that its first byte took; `None` while it is awaited.
    pub first_byte: Option<f64>,
    /// Bytes so far.
    pub bytes: u64,
}

/// Seconds after its request from when a download of `duration` is watched.
pub fn watch_after(link: &Estimator, duration: f64) -> f64 {
    link.first_byte().max(duration / 2.0)
}

/// Whether to give a download up for a lower level, and for which (_abandonRulesCheck).
pub fn abandon(
    levels: impl Levels,
    link: &mut Estimator,
    at: &Situation,
    now: &Download,
) -> Option<usize> {
    if now.level == 0 || now.loading <= watch_after(link, now.duration) {
        return None;
    }
    let wait = link.first_byte();
    let arriving = now.first_byte.filter(|_| now.bytes > 0);
    let bits = 8.0 * now.bytes as f64;
    let expected = bits.max(now.duration * levels.level(now.level).average);
    let streaming = arriving.map_or(now.loading, |first| now.loading - first).max(0.001);
    let rate = if arriving.is_some() { bits / streaming } else { link.rate() };
    let left = if arriving.is_some() { (expected - bits) / rate } else { expected / rate + wait };
    if left <= at.buffered {
        return None;
    }
    let reload = |level: usize| {
        let load = wait + now.duration * levels.level(level).peak / rate;
        load + wait + at.playlist_load
    };
    let fits = |level: &usize| reload(*level) < at.buffered.min(now.duration + wait);
    let lower = (1..now.level).rev().find(fits);
    // hls.js ends its loop at level 0 with the delay of level 1 (or infinity): level 0 is then
    // taken only if that is sooner.
    let sooner =
        lower.map_or_else(|| if now.level > 1 { reload(1) } else { f64::INFINITY }, reload);
    let (lower, sooner) = match lower {
        Some(level) => (level, sooner),
        None => (0, sooner.min(reload(0))),
    };
    if sooner >= left || sooner > now.duration * 10.0 {
        return None;
    }
    match arriving {
        Some(first) => link.sample(now.loading - wait.min(first), now.bytes),
        None => link.sample_first_byte(now.loading),
    }
    let at_once = left > 2.0 * sooner;
    Some(settle(levels, link, at, lower, at_once))
}

/// The level after a download was given up for `next`. What was measured before is forgotten where
/// it would promise more than that level. The lowest level that suits the buffer comes first where
/// the download was cut off at once; where the new level's playlist does that (always for level 0,
/// and when too little is gained), hls.js stays with `next` and with what it measured.
fn settle(
    levels: impl Levels,
    link: &mut Estimator,
    at: &Situation,
    next: usize,
    at_once: bool,
) -> usize {
    let peak = |level: usize| levels.level(level).peak;
    if link.rate() * UP_FACTOR > peak(next) {
        link.forget(peak(next));
    }
    let empty = Situation { buffered: 0.0, ..*at };
    let within = |link: &Estimator, rate: f64, below: usize| {
        let bounds = Bounds { rate, factor: 1.0, up: 1.0, delay: at.buffered };
        best(&levels, link, &empty, &bounds, below)
    };
    let next = within(link, peak(next), next + 1).unwrap_or(next);
    if next == 0 || !at_once {
        return next;
    }
    let lowest = within(link, peak(0), next + 1).unwrap_or(0);
    link.forget(peak(lowest));
    lowest
}

#[cfg(test)]
#[path = "abr_tests.rs"]
mod tests;
