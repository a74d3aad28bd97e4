//! The buffer and the playhead: playback that follows the clock, and where it stalls.
//!
//! Positions are seconds on the viewer's media timeline. The playhead is a function of time and of
//! what was appended, so stalls begin at their exact instant however seldom `advance` is called.

/// Below so many seconds ahead of the playhead playback stalls.
pub const STALL_BELOW_S: f64 = 0.1;

/// What playback is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playing {
    /// Waits for enough to begin.
    Starting,
    /// The playhead follows the clock.
    Running,
    /// The buffer ran dry.
    Stalled,
    /// The last segment was played.
    Ended,
}

/// Playback of one viewer.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    state: Playing,
    /// Time of the last `advance`.
    at: f64,
    /// Position on the media timeline.
    playhead: f64,
    /// End of what is buffered.
    end: f64,
    /// Seconds needed ahead of the playhead to begin, and to go on after a stall.
    start_at: f64,
    resume_at: f64,
    /// Nothing will follow `end`.
    complete: bool,
    played: f64,
    stalled: f64,
    stalls: u32,
}

impl Buffer {
    /// Begins at `position`; plays once `start_at` seconds are there, goes on at `resume_at`.
    pub fn new(now: f64, position: f64, start_at: f64, resume_at: f64) -> Self {
        Self {
            state: Playing::Starting,
            at: now,
            playhead: position,
            end: position,
            start_at,
            resume_at,
            complete: false,
            played: 0.0,
            stalled: 0.0,
            stalls: 0,
        }
    }

    /// Lets time pass up to `now`.
    pub fn advance(&mut self, now: f64) {
        let passed = (now - self.at).max(0.0);
        self.at = self.at.max(now);
        match self.state {
            Playing::Starting | Playing::Ended => {}
            Playing::Stalled => self.stalled += passed,
            Playing::Running => {
                let room = self.until_dry();
                let ran = passed.min(room);
                self.playhead += ran;
                self.played += ran;
                // Rounding must not leave a rest too small to add to the clock.
                if passed + 1e-6 >= room {
                    self.run_dry((passed - room).max(0.0));
                }
            }
        }
    }

    fn run_dry(&mut self, since: f64) {
        if self.complete {
            self.state = Playing::Ended;
            return;
        }
        self.state = Playing::Stalled;
        self.stalls += 1;
        self.stalled += since;
    }

    /// Seconds until playback stalls or ends, if nothing is appended.
    fn until_dry(&self) -> f64 {
        let reserve = if self.complete { 0.0 } else { STALL_BELOW_S };
        (self.ahead() - reserve).max(0.0)
    }

    /// Media up to `end` is there now.
    pub fn append(&mut self, now: f64, end: f64) {
        self.advance(now);
        self.end = self.end.max(end);
        self.settle();
    }

    /// Nothing will follow what is buffered.
    pub fn complete(&mut self, now: f64) {
        self.advance(now);
        self.complete = true;
        self.settle();
    }

    /// Jumps to `position`, as a seek does: what lies before it is dropped.
    pub fn seek(&mut self, now: f64, position: f64) {
        self.advance(now);
        self.playhead = position;
        self.end = if self.end > position { self.end } else { position };
    }

    /// Drops what is buffered, keeping `position` (a seek backwards).
    pub fn restart(&mut self, now: f64, position: f64) {
        self.advance(now);
        self.playhead = position;
        self.end = position;
        self.complete = false;
    }

    fn settle(&mut self) {
        let needed = match self.state {
            Playing::Starting => self.start_at,
            Playing::Stalled => self.resume_at,
            Playing::Running | Playing::Ended => return,
        };
        let ahead = self.ahead();
        // A millisecond of slack: sums of durations are not exact.
        if ahead > 0.0 && (self.complete || ahead + 0.001 >= needed) {
            self.state = Playing::Running;
        } else if self.complete && ahead <= 0.0 {
            self.state = Playing::Ended;
        }
    }

    /// When something changes if nothing is appended: a stall or the end; infinity when never.
    pub fn wake_at(&self) -> f64 {
        match self.state {
            Playing::Running => self.at + self.until_dry(),
            _ => f64::INFINITY,
        }
    }

    /// Time of the last `advance`.
    pub fn at(&self) -> f64 {
        self.at
    }

    /// What playback is doing.
    pub fn state(&self) -> Playing {
        self.state
    }

    /// Seconds of media ahead of the playhead.
    pub fn ahead(&self) -> f64 {
        (self.end - self.playhead).max(0.0)
    }

    /// Position of the playhead as of the last `advance`.
    pub fn playhead(&self) -> f64 {
        self.playhead
    }

    /// End of what is buffered.
    pub fn end(&self) -> f64 {
        self.end
    }

    /// Seconds of media played.
    pub fn played(&self) -> f64 {
        self.played
    }

    /// Seconds stalled after the start.
    pub fn stalled(&self) -> f64 {
        self.stalled
    }

    /// Number of stalls.
    pub fn stalls(&self) -> u32 {
        self.stalls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn playback_begins_stalls_and_resumes_at_exact_instants() {
        let mut buffer = Buffer::new(10.0, 100.0, 4.0, 4.0);
        buffer.append(11.0, 103.0);
        assert_eq!(buffer.state(), Playing::Starting);
        buffer.append(12.0, 104.0);
        assert_eq!((buffer.state(), buffer.ahead()), (Playing::Running, 4.0));
        // Four seconds, of which the last tenth is kept: dry at 15.9.
        assert!((buffer.wake_at() - 15.9).abs() < 1e-9);
        buffer.advance(17.0);
        assert_eq!((buffer.state(), buffer.stalls()), (Playing::Stalled, 1));
        assert!((buffer.stalled() - 1.1).abs() < 1e-9, "{}", buffer.stalled());
        buffer.append(18.0, 107.0);
        assert_eq!(buffer.state(), Playing::Stalled, "3.1 s are fewer than 4");
        buffer.append(19.0, 108.0);
        assert_eq!(buffer.state(), Playing::Running);
        assert!((buffer.stalled() - 3.1).abs() < 1e-9);
        assert!((buffer.played() - 3.9).abs() < 1e-9);
        assert!((buffer.playhead() - 103.9).abs() < 1e-9);
    }

    #[test]
    fn the_end_is_no_stall() {
        let mut buffer = Buffer::new(0.0, 0.0, 4.0, 4.0);
        buffer.append(0.0, 2.0);
        assert_eq!(buffer.state(), Playing::Starting);
        buffer.complete(1.0);
        assert_eq!((buffer.state(), buffer.wake_at()), (Playing::Running, 3.0));
        buffer.advance(5.0);
        assert_eq!((buffer.state(), buffer.stalls(), buffer.played()), (Playing::Ended, 0, 2.0));
    }

    #[test]
    fn a_seek_moves_the_playhead_and_keeps_what_lies_behind_it() {
        let mut buffer = Buffer::new(0.0, 0.0, 1.0, 1.0);
        buffer.append(0.0, 8.0);
        buffer.seek(2.0, 5.0);
        assert_eq!((buffer.ahead(), buffer.state()), (3.0, Playing::Running));
        buffer.restart(2.0, 1.0);
        assert_eq!(buffer.ahead(), 0.0);
        buffer.advance(3.0);
        assert_eq!((buffer.state(), buffer.stalled()), (Playing::Stalled, 1.0));
    }
}
