//! Groups the fragments of one segment into parts.
//!
//! A part is closed as soon as it lasts 85 % of the target and another fragment like its last would
//! be too much; the last part of a segment is whatever is left. A group that would break the rule
//! (too long, or too short with no room for the next fragment) ends the parts of its segment.
//!
//! **Invariants**: the parts of a segment lie behind each other from its first byte on; what was
//! closed never changes.

use super::target::FILL_PERCENT;
use crate::media::boxes::{self, Fragment};

/// A part of a segment, by its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Its first byte in the segment.
    pub offset: u64,
    /// Its number of bytes.
    pub length: u64,
    /// Its duration in microseconds.
    pub duration_us: u64,
    /// Whether it can be decoded without others.
    pub independent: bool,
}

/// The fragments of a segment that is arriving.
#[derive(Clone, Copy, Debug, Default)]
pub struct Group {
    timescale: u32,
    /// Units up to the first fragment that is in no part yet.
    closed: u64,
    /// Units of all fragments.
    total: u64,
    /// The first byte that is in no part yet.
    from: u64,
    /// The byte behind the last fragment.
    to: u64,
    independent: bool,
    is_over: bool,
}

impl Group {
    /// No fragments.
    pub const NEW: Self = Self {
        timescale: 0,
        closed: 0,
        total: 0,
        from: 0,
        to: 0,
        independent: false,
        is_over: false,
    };

    /// Takes a fragment; up to two parts are closed by it.
    pub fn take(&mut self, fragment: &Fragment, target_us: u64) -> [Option<Part>; 2] {
        self.timescale = fragment.timescale;
        let mut closed = [None, None];
        let open = self.total - self.closed;
        let total = self.total.saturating_add(fragment.duration);
        if !self.is_over {
            if self.is_beyond(fragment.duration, target_us) {
                self.is_over = true;
            } else if self.is_beyond(open.saturating_add(fragment.duration), target_us) {
                //= draft section 4.4.4.9: at least 85 %, with the exception of Partial Segments
                //= with the INDEPENDENT=YES attribute
                self.is_over = !self.independent && !self.is_long(open, target_us);
                if !self.is_over {
                    closed[0] = self.close(target_us);
                }
            }
        }
        self.independent |= fragment.independent;
        self.total = total;
        self.to = fragment.end;
        let open = self.total - self.closed;
        let has_room = !self.is_beyond(open.saturating_add(fragment.duration), target_us);
        if self.is_long(open, target_us) && !has_room && !self.is_over {
            closed[1] = self.close(target_us);
        }
        closed
    }

    /// The segment has ended: the part that is left, when there is one.
    pub fn finish(&mut self, target_us: u64) -> Option<Part> {
        let part = if self.is_over { None } else { self.close(target_us) };
        self.is_over = true;
        part
    }

    /// The segment gets no further parts.
    pub fn stop(&mut self) {
        self.is_over = true;
    }

    /// Whether it gets no further parts.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The first byte that is in no part yet.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// The duration of all fragments, in microseconds.
    pub fn total_us(&self) -> u64 {
        boxes::to_us(self.total, self.timescale).unwrap_or(0)
    }

    fn close(&mut self, target_us: u64) -> Option<Part> {
        let start_us = boxes::to_us(self.closed, self.timescale)?;
        let end_us = boxes::to_us(self.total, self.timescale)?;
        if self.to <= self.from || self.total == self.closed {
            return None;
        }
        let part = Part {
            offset: self.from,
            length: self.to - self.from,
            // Rounding both ends may add a microsecond, which the target has no room for.
            duration_us: (end_us - start_us).min(target_us),
            independent: self.independent,
        };
        (self.closed, self.from, self.independent) = (self.total, self.to, false);
        Some(part)
    }

    /// Whether so many units are more than a part may last.
    fn is_beyond(&self, units: u64, target_us: u64) -> bool {
        self.scaled(units) > self.target(target_us)
    }

    /// Whether they are as many as a part must last.
    fn is_long(&self, units: u64, target_us: u64) -> bool {
        self.scaled(units) * 100 >= self.target(target_us) * FILL_PERCENT
    }

    fn scaled(&self, units: u64) -> u128 {
        u128::from(units) * 1_000_000
    }

    fn target(&self, target_us: u64) -> u128 {
        u128::from(target_us) * u128::from(self.timescale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The durations of the parts of a segment of these fragments (milliseconds, independent), and
    /// whether it went without further ones.
    fn parts(target_ms: u64, fragments: &[(u64, bool)]) -> (Vec<(u64, bool)>, bool) {
        let mut group = Group::default();
        let mut parts: Vec<Part> = Vec::new();
        let (mut end, target_us) = (0, target_ms * 1000);
        for &(duration, independent) in fragments {
            let start = end;
            end += 100;
            let fragment = Fragment {
                start,
                end,
                duration,
                timescale: 1000,
                independent,
                ..Fragment::default()
            };
            parts.extend(group.take(&fragment, target_us).into_iter().flatten());
        }
        let is_over = group.is_over();
        parts.extend(group.finish(target_us));
        assert_eq!(group.finish(target_us), None);
        let mut at = 0;
        for part in &parts {
            assert_eq!(part.offset, at);
            at += part.length;
        }
        assert!(is_over || at == end, "all bytes are in parts");
        assert_eq!(group.total_us(), fragments.iter().map(|one| one.0 * 1000).sum::<u64>());
        let parts = parts.iter().map(|part| (part.duration_us / 1000, part.independent)).collect();
        (parts, is_over)
    }

    #[test]
    fn a_part_is_closed_when_it_has_no_room_for_another_fragment() {
        let (yes, no) = (true, false);
        let even = [(200, yes), (200, no), (200, no), (200, no), (200, no)];
        assert_eq!(parts(400, &even), (vec![(400, yes), (400, no), (200, no)], false));
        let fine: Vec<(u64, bool)> = (0..25).map(|at| (40, at == 13)).collect();
        assert_eq!(parts(500, &fine), (vec![(480, no), (480, yes), (40, no)], false));
        assert_eq!(parts(500, &[]), (vec![], false));
    }

    #[test]
    fn a_group_that_would_break_the_rule_ends_the_parts() {
        let (yes, no) = (true, false);
        assert_eq!(parts(400, &[(400, yes), (500, no), (400, no)]), (vec![(400, yes)], true));
        assert_eq!(parts(400, &[(400, no), (300, no), (200, no)]), (vec![(400, no)], true));
        let exempt = [(300, yes), (200, no), (200, no), (300, no)];
        assert_eq!(parts(400, &exempt), (vec![(300, yes), (400, no), (300, no)], false));
        assert!(parts(400, &[(1 << 40, no)]).1);
    }

    #[test]
    fn rounded_durations_add_up_and_stay_within_the_target() {
        let mut group = Group::default();
        let mut sum = 0;
        for at in 0..1000 {
            let fragment = Fragment {
                start: at,
                end: at + 1,
                duration: 10_240,
                timescale: 48_000,
                ..Fragment::default()
            };
            for part in group.take(&fragment, 426_667).into_iter().flatten() {
                assert!((426_666..=426_667).contains(&part.duration_us));
                sum += part.duration_us;
            }
        }
        assert_eq!((sum, group.total_us()), (213_333_333, 213_333_333));
    }
}
