//! One rule per clause of draft-pantos-hls-rfc8216bis over a sequence of versions of a playlist.
//!
//! `Checker::version` takes each version of one playlist in order, `delta` a delta update of the
//! version before, `reports` what it says of other renditions; each returns what breaks a rule.
//! `planted.rs` shows for every rule that it catches a fault.

use std::collections::BTreeMap;
use std::fmt;

use headwater::media::hls::playlist::{Hint, Range, Report};
use headwater::media::hls::tag::{self, Name, Tag};
use headwater::media::hls::{Item, Media, Position};

/// A rule that is broken, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static str,
    pub what: String,
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// Every rule, with the clause from which it comes.
pub const RULES: &[(&str, &str)] = &[
    ("readable", "section 4: the playlist can be read"),
    ("segment-length", "4.4.3.1: EXTINF, rounded, is at most the target duration"),
    ("control", "4.4.3.8: hold-backs and skip boundary have their least values"),
    ("part-inf", "4.4.3.7: a playlist with parts has EXT-X-PART-INF"),
    ("part-longest", "4.4.4.9: a part is at most as long as the part target"),
    ("part-shortest", "4.4.4.9: a part is at least 85 % of the part target, with its exceptions"),
    ("part-order", "4.4.4.9: segment tags stand before the first part of their segment"),
    ("part-bytes", "4.4.4.9: parts of one resource lie behind each other and in their segment"),
    ("dates", "4.4.4.6: program date times go on by the durations"),
    ("hint-once", "4.4.5.3, 6.2.6: one hint of a type, none in a playlist that ended"),
    ("hint-kept", "4.4.5.3: the part that follows has the hinted name and place"),
    ("target-constant", "6.2.1: the target duration does not change"),
    ("sequence", "6.2.2: media sequence numbers and the end never go back"),
    ("segments-constant", "6.2.1: a listed segment does not change"),
    ("discontinuities", "6.2.2: a segment keeps its discontinuity sequence number"),
    ("parts-constant", "6.2.1: a listed part does not change"),
    ("parts-kept", "6.2.2: parts stay until three target durations from the end, and no longer"),
    ("window", "6.2.2: what is removed leaves three target durations"),
    ("end", "6.2.1: nothing changes behind EXT-X-ENDLIST"),
    ("delta", "6.2.5.1: a delta update and the version before make the playlist"),
    ("reports", "4.4.5.4: every other rendition is reported as it is"),
];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    uri: String,
    duration_us: u64,
    range: Option<Range>,
    date: Option<String>,
    discontinuity: bool,
    gap: bool,
    map: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    uri: String,
    duration_us: u64,
    range: Option<Range>,
    independent: bool,
    gap: bool,
}

/// What one version says.
#[derive(Clone, Debug, Default)]
struct Version {
    text: String,
    target_us: u64,
    part_target_us: Option<u64>,
    ended: bool,
    skipped: u64,
    next_msn: u64,
    last: Option<Position>,
    segments: BTreeMap<u64, Segment>,
    parts: BTreeMap<(u64, u32), Part>,
    hints: Vec<(bool, String, u64)>,
    discontinuity: BTreeMap<u64, u64>,
}

/// Follows one playlist.
#[derive(Default)]
pub struct Checker {
    before: Option<Version>,
}

type Findings = Vec<Finding>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn say(findings: &mut Findings, rule: &'static str, what: impl Into<String>) {
    findings.push(Finding { rule, what: what.into() });
}

impl Checker {
    /// Takes the next version.
    pub fn version(&mut self, playlist: &str) -> Findings {
        let mut findings = Findings::new();
        let media = match Media::read(playlist.as_bytes()) {
            Ok(media) => media,
            Err(fault) => {
                say(&mut findings, "readable", fault.to_string());
                return findings;
            }
        };
        let now = Version::of(&media, playlist);
        control(&media, &mut findings);
        lengths(&now, &mut findings);
        part_order(playlist, &mut findings);
        part_bytes(&now, &mut findings);
        dates(&now, &mut findings);
        hints(&now, &mut findings);
        if let Some(before) = &self.before {
            constant(before, &now, &mut findings);
            order(before, &now, &mut findings);
            parts_kept(before, &now, &mut findings);
            hint_kept(before, &now, &mut findings);
        }
        self.before = Some(now);
        findings
    }

    /// Takes a delta update of `playlist`, which a player with the last version gets.
    pub fn delta(&self, delta: &str, playlist: &str) -> Findings {
        let mut findings = Findings::new();
        let read = Media::read(delta.as_bytes())
            .and_then(|delta| Media::read(playlist.as_bytes()).map(|media| (delta, media)));
        let (update, media) = match read {
            Ok(read) => read,
            Err(fault) => {
                say(&mut findings, "delta", fault.to_string());
                return findings;
            }
        };
        if update.version < 9 {
            say(&mut findings, "delta", "EXT-X-SKIP needs version 9");
        }
        let (update, full) = (Version::of(&update, delta), Version::of(&media, playlist));
        let known = self.before.as_ref().map(|before| before.segments.clone()).unwrap_or_default();
        let first = update.next_msn - update.skipped - update.segments.len() as u64;
        let mut joined: BTreeMap<u64, Segment> = known
            .into_iter()
            .filter(|(msn, _)| (first..first + update.skipped).contains(msn))
            .collect();
        joined.extend(update.segments.clone());
        // A map that is in effect from a segment that was left out is known from before.
        let bare = |segments: &BTreeMap<u64, Segment>| -> Vec<(u64, Segment)> {
            let without =
                |(msn, one): (&u64, &Segment)| (*msn, Segment { map: None, ..one.clone() });
            segments.iter().map(without).collect()
        };
        if bare(&joined) != bare(&full.segments) {
            say(&mut findings, "delta", "joined segments are not those of the playlist");
        }
        if (&update.parts, &update.hints, update.last) != (&full.parts, &full.hints, full.last) {
            say(&mut findings, "delta", "parts or hints differ from the playlist's");
        }
        findings
    }

    /// Takes what `playlist` says of others; `others` are their playlists now, by URI.
    pub fn reports(playlist: &str, others: &[(&str, &str)]) -> Findings {
        let mut findings = Findings::new();
        let Ok(media) = Media::read(playlist.as_bytes()) else { return findings };
        let reports: Vec<Report> = items(&media)
            .filter_map(|item| if let Item::Report(report) = item { Some(report) } else { None })
            .collect();
        for (uri, other) in others {
            let Some(report) = reports.iter().find(|report| report.uri == uri.as_bytes()) else {
                say(&mut findings, "reports", format!("{uri} is not reported"));
                continue;
            };
            let last = Media::read(other.as_bytes()).ok().and_then(|other| other.last());
            let said = report.last_msn.map(|msn| Position {
                msn,
                part: report.last_part.and_then(|part| u32::try_from(part).ok()),
            });
            if said != last {
                say(
                    &mut findings,
                    "reports",
                    format!("{uri} is at {last:?}, reported as {said:?}"),
                );
            }
        }
        if reports.len() > others.len() {
            say(&mut findings, "reports", "a rendition is reported that there is not");
        }
        findings
    }
}

fn items<'a>(media: &Media<'a>) -> impl Iterator<Item = Item<'a>> {
    media.items().filter_map(Result::ok)
}

impl Version {
    fn of(media: &Media, playlist: &str) -> Self {
        let mut version = Self {
            text: playlist.to_owned(),
            target_us: media.target_duration_us,
            part_target_us: media.part_target_us,
            ended: media.ended,
            skipped: media.skipped,
            next_msn: media.next_msn(),
            last: media.last(),
            ..Self::default()
        };
        let mut discontinuity = media.discontinuity_sequence;
        for item in items(media) {
            match item {
                Item::Segment(one) => {
                    discontinuity += u64::from(one.discontinuity);
                    version.discontinuity.insert(one.msn, discontinuity);
                    let segment = Segment {
                        uri: text(one.uri),
                        duration_us: one.duration_us,
                        range: one.range,
                        date: one.program_date_time.map(text),
                        discontinuity: one.discontinuity,
                        gap: one.gap,
                        map: one.map.map(text),
                    };
                    version.segments.insert(one.msn, segment);
                }
                Item::Part(one) => {
                    let part = Part {
                        uri: text(one.uri),
                        duration_us: one.duration_us,
                        range: one.range,
                        independent: one.independent,
                        gap: one.gap,
                    };
                    version.parts.insert((one.msn, one.index), part);
                }
                Item::Hint(Hint { part, uri, start, .. }) => {
                    version.hints.push((part, text(uri), start));
                }
                _ => {}
            }
        }
        version
    }

    fn parts_of(&self, msn: u64) -> impl Iterator<Item = (u32, &Part)> {
        self.parts.range((msn, 0)..=(msn, u32::MAX)).map(|((_, index), part)| (*index, part))
    }

    /// Whether another encoder, or the same after a restart, begins with this segment: what was
    /// hinted before will never come.
    fn begins_anew(&self, msn: u64) -> bool {
        let open = || self.text.rsplit("#EXTINF").next().unwrap_or_default();
        let is_break = || open().contains("#EXT-X-DISCONTINUITY\n");
        self.segments.get(&msn).map_or_else(is_break, |segment| segment.discontinuity)
    }

    fn end_us(&self) -> u64 {
        let open: u64 = self.parts_of(self.next_msn).map(|(_, part)| part.duration_us).sum();
        self.segments.values().map(|one| one.duration_us).sum::<u64>() + open
    }

    /// How far the end of a segment lies from the end of the playlist.
    fn behind_us(&self, msn: u64) -> u64 {
        let up_to: u64 = self.segments.range(..=msn).map(|(_, one)| one.duration_us).sum();
        self.end_us().saturating_sub(up_to)
    }
}

fn control(media: &Media, findings: &mut Findings) {
    let (control, target_us) = (media.control, media.target_duration_us);
    let mut least = |name: &str, value: Option<u64>, least: u64| {
        if value.is_some_and(|value| value < least) {
            say(findings, "control", format!("{name} is below {least} us"));
        }
    };
    least("HOLD-BACK", control.hold_back_us, 3 * target_us);
    least("CAN-SKIP-UNTIL", control.can_skip_until_us, 6 * target_us);
    if let Some(part_us) = media.part_target_us {
        least("PART-HOLD-BACK", control.part_hold_back_us.or(Some(0)), 2 * part_us);
    } else if media.parts().next().is_some() {
        say(findings, "part-inf", "parts without EXT-X-PART-INF");
    }
}

fn lengths(now: &Version, findings: &mut Findings) {
    for (msn, segment) in &now.segments {
        if (segment.duration_us + 500_000) / 1_000_000 * 1_000_000 > now.target_us {
            say(findings, "segment-length", format!("segment {msn}: {} us", segment.duration_us));
        }
    }
    let Some(target_us) = now.part_target_us else { return };
    for ((msn, index), part) in &now.parts {
        let name = format!("part {msn}.{index}: {} us of {target_us}", part.duration_us);
        if part.duration_us > target_us {
            say(findings, "part-longest", name.clone());
        }
        // The last one of a segment may be a rest, and the last listed one may be the last.
        let next = now.parts.get(&(*msn, index + 1));
        let is_exempt = part.independent || part.gap || next.is_none_or(|next| next.gap);
        if part.duration_us * 100 < target_us * 85 && !is_exempt {
            say(findings, "part-shortest", name);
        }
    }
}

fn part_order(playlist: &str, findings: &mut Findings) {
    let mut parts = 0;
    for line in playlist.lines() {
        match tag::of(line.as_bytes()) {
            Tag::Uri(_) => parts = 0,
            Tag::Known(Name::Part, _) => parts += 1,
            Tag::Known(Name::Discontinuity | Name::Key | Name::Map | Name::ProgramDateTime, _)
                if parts > 0 =>
            {
                say(findings, "part-order", format!("`{line}` behind a part"))
            }
            _ => {}
        }
    }
}

fn part_bytes(now: &Version, findings: &mut Findings) {
    let mut before: Option<(u64, &Part)> = None;
    for ((msn, index), part) in &now.parts {
        let expected = match before {
            Some((last, part)) if last == *msn => part.range.map(|one| one.offset + one.length),
            _ => part.range.map(|_| 0),
        };
        if part.range.map(|one| one.offset) != expected {
            say(findings, "part-bytes", format!("part {msn}.{index} does not follow"));
        }
        let segment = now.segments.get(msn);
        if part.range.is_some() && segment.is_some_and(|segment| segment.uri != part.uri) {
            say(findings, "part-bytes", format!("part {msn}.{index} is of another resource"));
        }
        before = Some((*msn, part));
    }
    for (msn, segment) in &now.segments {
        let parts_us: u64 = now.parts_of(*msn).map(|(_, part)| part.duration_us).sum();
        if parts_us > segment.duration_us + 1000 {
            say(findings, "part-bytes", format!("the parts of {msn} last longer than it"));
        }
    }
}

fn dates(now: &Version, findings: &mut Findings) {
    use headwater::media::lowlatency::date::Date;
    let mut expected: Option<u64> = None;
    for (msn, segment) in &now.segments {
        let date = segment.date.as_ref().and_then(|date| Date::read(date.as_bytes()));
        let date = date.map(|date| date.unix_us);
        if let Some((date, expected)) = date.zip(expected.filter(|_| !segment.discontinuity))
            && date.abs_diff(expected) > 20_000
        {
            say(findings, "dates", format!("segment {msn} is {} us off", date.abs_diff(expected)));
        }
        expected = date.or(expected).map(|date| date + segment.duration_us);
    }
}

fn hints(now: &Version, findings: &mut Findings) {
    if now.ended && !now.hints.is_empty() {
        say(findings, "hint-once", "a hint in a playlist that ended");
    }
    for kind in [true, false] {
        if now.hints.iter().filter(|(part, ..)| *part == kind).count() > 1 {
            say(findings, "hint-once", "two hints of one type");
        }
    }
}

fn constant(before: &Version, now: &Version, findings: &mut Findings) {
    if before.ended && before.text != now.text {
        say(findings, "end", "a playlist that ended has changed");
    }
    if before.target_us != now.target_us {
        say(findings, "target-constant", format!("{} to {}", before.target_us, now.target_us));
    }
    for (msn, segment) in &now.segments {
        if before.segments.get(msn).is_some_and(|old| old != segment) {
            let old = &before.segments[msn];
            say(findings, "segments-constant", format!("{msn}: {old:?} to {segment:?}"));
        }
        let (old, new) = (before.discontinuity.get(msn), now.discontinuity[msn]);
        if old.is_some_and(|old| *old != new) {
            say(findings, "discontinuities", format!("{msn}: {old:?} to {new}"));
        }
    }
    for (place, part) in &now.parts {
        if before.parts.get(place).is_some_and(|old| old != part) {
            say(findings, "parts-constant", format!("{place:?}"));
        }
    }
}

fn order(before: &Version, now: &Version, findings: &mut Findings) {
    let first = |version: &Version| version.next_msn - version.segments.len() as u64;
    let goes_back = first(now) < first(before) || now.next_msn < before.next_msn;
    // A segment without parts is all of it.
    let reach =
        |version: &Version| version.last.map(|last| (last.msn, last.part.is_none(), last.part));
    if goes_back || reach(now) < reach(before) {
        let span = |version: &Version| format!("{}..{:?}", first(version), version.last);
        say(findings, "sequence", format!("{} to {}", span(before), span(now)));
    }
    let removed = before.segments.keys().any(|msn| *msn < first(now));
    let left_us: u64 = now.segments.values().map(|one| one.duration_us).sum();
    if removed && left_us < 3 * now.target_us {
        say(findings, "window", format!("{left_us} us are left"));
    }
}

fn parts_kept(before: &Version, now: &Version, findings: &mut Findings) {
    let has_parts = |version: &Version, msn| version.parts_of(msn).next().is_some();
    for (msn, segment) in &now.segments {
        let far = now.behind_us(*msn) > 3 * now.target_us;
        if far && has_parts(now, *msn) {
            say(findings, "parts-kept", format!("the parts of {msn} are still there"));
        }
        if !far && !segment.gap && has_parts(before, *msn) && !has_parts(now, *msn) {
            say(findings, "parts-kept", format!("the parts of {msn} are gone"));
        }
        let count = |version: &Version| version.parts_of(*msn).count();
        if has_parts(now, *msn) && count(now) < count(before) {
            say(findings, "parts-kept", format!("some parts of {msn} are gone"));
        }
    }
}

/// The part that follows the last one of the version before is the hinted one.
fn hint_kept(before: &Version, now: &Version, findings: &mut Findings) {
    let Some((_, uri, start)) = before.hints.iter().find(|(part, ..)| *part) else { return };
    let Some(last) = before.last else { return };
    let added = now.parts.iter().find(|((msn, index), _)| {
        *msn > last.msn || (*msn == last.msn && last.part.is_some_and(|part| *index > part))
    });
    let Some((place, part)) = added else { return };
    // A segment that ended without another part drops its hint.
    let is_next_segment = place.0 > last.msn && place.1 == 0;
    let hinted_other = is_next_segment && *uri != part.uri;
    let was_in_segment = before.parts.values().next_back().is_some_and(|old| old.uri == *uri);
    if hinted_other && (was_in_segment || now.begins_anew(place.0)) {
        return;
    }
    let offset = part.range.map_or(0, |range| range.offset);
    if part.uri != *uri || offset != *start {
        let hinted = format!("{uri} from {start}");
        say(findings, "hint-kept", format!("{place:?}: {} from {offset}, not {hinted}", part.uri));
    }
}
