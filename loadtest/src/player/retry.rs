//! Timeouts and retries by kind of request: hls.js's default load policies.

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No first byte, or not all bytes, in time.
    Timeout,
    /// An answer with this status.
    Status(u16),
    /// The connection failed, or the answer was cut short.
    Network,
    /// The answer came and made no sense: not a playlist, or bytes that differ from what they should be.
    Content,
}

/// How long to wait for one kind of request, and how often to try again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Seconds until the first byte.
    pub first_byte: f64,
    /// Seconds until the last byte.
    pub whole: f64,
    /// Retries after timeouts; they follow at once.
    timeouts: u8,
    /// Retries after errors; 1 s, 2 s, ... apart.
    errors: u8,
}

/// Multivariant playlists (manifestLoadPolicy).
pub const MANIFEST: Policy = Policy { first_byte: 20.0, whole: 20.0, timeouts: 2, errors: 1 };
/// Media playlists (playlistLoadPolicy).
pub const PLAYLIST: Policy = Policy { first_byte: 10.0, whole: 20.0, timeouts: 2, errors: 2 };
/// Headers, segments and parts (fragLoadPolicy).
pub const FRAGMENT: Policy = Policy { first_byte: 10.0, whole: 120.0, timeouts: 4, errors: 6 };

/// Longest pause between two tries in seconds (maxRetryDelayMs).
const PAUSE_MAX: f64 = 8.0;

/// Failures in a row of one kind of request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tries {
    timeouts: u8,
    errors: u8,
}

impl Tries {
    /// Seconds until the next try; `None` when they are used up.
    pub fn pause(&mut self, policy: &Policy, failure: Failure) -> Option<f64> {
        if failure == Failure::Timeout {
            self.timeouts = self.timeouts.saturating_add(1);
            return (self.timeouts <= policy.timeouts).then_some(0.0);
        }
        self.errors = self.errors.saturating_add(1);
        (self.errors <= policy.errors).then(|| f64::from(self.errors).min(PAUSE_MAX))
    }

    /// Seconds until a try beyond the last: what a page does that restarts its player.
    pub fn pause_beyond() -> f64 {
        PAUSE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_by_a_second_and_end() {
        let mut tries = Tries::default();
        let pauses: Vec<_> = (0..7).map(|_| tries.pause(&FRAGMENT, Failure::Status(404))).collect();
        let seconds = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(Some);
        assert_eq!(pauses[..6], seconds);
        assert_eq!(pauses[6], None);
        let mut tries = Tries::default();
        let pauses: Vec<_> = (0..3).map(|_| tries.pause(&PLAYLIST, Failure::Timeout)).collect();
        assert_eq!(pauses, [Some(0.0), Some(0.0), None]);
        let other = tries.pause(&PLAYLIST, Failure::Network);
        assert_eq!(other, Some(1.0), "timeouts and errors are counted apart");
    }
}
