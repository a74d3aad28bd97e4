//! An access link: a token bucket that says when how many bytes may be read.
//!
//! The bucket holds the bytes of a twentieth of a second, so a slow link reads in small pieces and
//! the server sees a slow reader. Pure.

/// Seconds of the link's rate that may arrive at once.
const BURST_S: f64 = 0.05;
/// A bucket holds at least this many bytes, so that fast links do not read byte by byte.
const BURST_BYTES_MIN: f64 = 4096.0;

/// One viewer's link.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Bytes a second; infinite when there is no limit.
    rate: f64,
    tokens: f64,
    at: f64,
}

impl Link {
    /// A link of `bits` per second; 0 means unlimited.
    pub fn new(bits: f64, now: f64) -> Self {
        let rate = if bits > 0.0 { bits / 8.0 } else { f64::INFINITY };
        Self { rate, tokens: burst(rate), at: now }
    }

    /// Whether reading is limited at all.
    pub fn is_limited(&self) -> bool {
        self.rate.is_finite()
    }

    /// The bucket's size in bytes: a fitting SO_RCVBUF. 0 without a limit.
    pub fn burst_bytes(&self) -> usize {
        if self.is_limited() { to_bytes(burst(self.rate)) } else { 0 }
    }

    /// How many bytes may be read now; 0 means wait until [`Link::ready_at`].
    pub fn allowance(&mut self, now: f64) -> usize {
        if !self.is_limited() {
            return usize::MAX;
        }
        let passed = (now - self.at).max(0.0);
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed * self.rate).min(burst(self.rate));
        // Fewer than a quarter of the bucket are not worth a read.
        if self.tokens < burst(self.rate) / 4.0 { 0 } else { to_bytes(self.tokens) }
    }

    /// Counts bytes that were read.
    pub fn took(&mut self, bytes: usize) {
        if self.is_limited() {
            self.tokens -= bytes as f64;
        }
    }

    /// When a half-full bucket can be read.
    pub fn ready_at(&self) -> f64 {
        if !self.is_limited() {
            return self.at;
        }
        self.at + ((burst(self.rate) / 2.0 - self.tokens) / self.rate).max(0.0)
    }
}

fn burst(rate: f64) -> f64 {
    (rate * BURST_S).max(BURST_BYTES_MIN)
}

#[expect(clippy::cast_possible_truncation, reason = "at most a twentieth second of a link")]
fn to_bytes(tokens: f64) -> usize {
    tokens.max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_at_the_links_rate() {
        let mut link = Link::new(8e6, 0.0);
        let (mut now, mut read) = (0.0, 0usize);
        while read < 10_000_000 {
            let allowed = link.allowance(now);
            if allowed == 0 {
                now = link.ready_at();
                continue;
            }
            link.took(allowed);
            read += allowed;
        }
        // 10 MB at 1 MB/s, less the first burst of 50 kB.
        assert!((9.9..=10.0).contains(&now), "{now}");
        assert!(link.burst_bytes() == 50_000);
    }

    #[test]
    fn an_idle_link_saves_no_more_than_its_burst() {
        let mut link = Link::new(8e5, 0.0);
        assert_eq!(link.allowance(1000.0), 5000);
        let mut free = Link::new(0.0, 0.0);
        assert_eq!((free.allowance(1.0), free.is_limited()), (usize::MAX, false));
    }
}
