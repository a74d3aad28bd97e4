//! Delta updates (draft section 6.2.5.1): a playlist without the segments that a player has.
//!
//! Segments that end farther from the end of the last whole segment than CAN-SKIP-UNTIL give way to
//! one EXT-X-SKIP, with the tags that apply to them. Every other line stays, date ranges too: a
//! store does not know when a date range came or went, so `v2` is answered like `YES`.
//!
//! **Invariants**: what a playlist does not offer is not made; the text is handed out in pieces of
//! the playlist itself, so nothing is copied here; work is linear.

use super::line::Lines;
use super::number::Digits;
use super::playlist::Media;
use super::tag::{self, Scope, Tag};

/// How many segments a delta update of this playlist leaves out; zero when it makes none.
pub fn skippable(media: &Media) -> u64 {
    let Some(boundary_us) = media.control.can_skip_until_us else { return 0 };
    //= draft section 6.2.5.1: MUST ignore the _HLS_skip directive if the Playlist does not contain
    //= the CAN-SKIP-UNTIL attribute, or if it contains an EXT-X-ENDLIST tag
    if media.ended || media.skipped > 0 {
        return 0;
    }
    let mut behind_us = media.duration_us;
    // The first segment that stays names its range itself, or its players would look in vain.
    let (mut count, mut cut) = (0, 0);
    for segment in media.segments() {
        if !segment.continues {
            cut = count;
        }
        behind_us = behind_us.saturating_sub(segment.duration_us);
        if behind_us <= boundary_us {
            return cut;
        }
        count += 1;
    }
    count
}

/// Hands out a delta update of `media` in pieces, and says whether it leaves out anything; if not,
/// nothing was handed out and the playlist itself is the answer.
pub fn write(media: &Media, out: &mut dyn FnMut(&[u8])) -> bool {
    let skipped = skippable(media);
    if skipped == 0 {
        return false;
    }
    let mut left = skipped;
    let mut is_told = false;
    // Lines that stay are handed out in runs.
    let (mut from, mut to) = (0, 0);
    for line in Lines::new(media.bytes) {
        let tag = tag::of(line.text);
        let is_of_segment = match tag {
            Tag::Uri(_) => true,
            Tag::Known(name, _) => name.scope() == Scope::Segment,
            Tag::Other => false,
        };
        if left == 0 || !is_of_segment {
            to = line.end;
            continue;
        }
        out(&media.bytes[from..to]);
        (from, to) = (line.end, line.end);
        if !is_told {
            is_told = true;
            out(b"#EXT-X-SKIP:SKIPPED-SEGMENTS=");
            out(Digits::whole(skipped).as_bytes());
            out(b"\n");
        }
        left -= u64::from(matches!(tag, Tag::Uri(_)));
    }
    out(&media.bytes[from..to]);
    true
}
