//! Targets of the media room: playlists, boxes, and low-latency playlists made from any events.

use headwater::media::boxes::{Fragment, Reader, Tracks};
use headwater::media::hls::blocking::{Decision, Directives};
use headwater::media::hls::playlist::Item;
use headwater::media::hls::{Media, Position, delta, multivariant};
use headwater::media::lowlatency::{Policy, Rendition, Report};

use crate::targets::outcome;

/// What was read can be walked again, contains what it says, and has delta updates of the same end.
pub fn playlist(data: &[u8]) -> u64 {
    let named = multivariant::renditions(data).filter(Result::is_ok).count();
    let media = match Media::read(data) {
        Ok(media) => media,
        Err(fault) => return outcome((fault.reason, named)),
    };
    let mut segments = 0;
    let mut at = 0;
    for item in media.items() {
        if let Item::Segment(segment) = item.expect("what was read can be walked") {
            assert!(at <= segment.start && segment.start < segment.end, "{segment:?}");
            at = segment.end;
            assert_eq!(segment.msn, media.media_sequence + media.skipped + segments);
            segments += 1;
        }
    }
    assert_eq!(segments, u64::from(media.segments));
    if let Some(last) = media.last() {
        assert!(media.contains(last.msn, last.part.map(u64::from)), "{last:?}");
        assert!(!media.contains(last.msn + 1, None));
    }
    let decided = ["_HLS_msn=3", "_HLS_msn=3&_HLS_part=4", "_HLS_part=1", "_HLS_msn=99999999999"]
        .map(|query| match Directives::read(query.as_bytes()).decide(&media) {
            Decision::Serve => 0,
            Decision::Hold { msn, part } => {
                assert!(!media.contains(msn, part) && !media.ended);
                1
            }
            Decision::BadRequest(_) => 2,
        });
    let mut update = Vec::new();
    if delta::write(&media, &mut |piece| update.extend_from_slice(piece)) {
        let update = Media::read(&update).expect("a delta update of a playlist is one");
        assert_eq!(update.next_msn(), media.next_msn());
        assert_eq!(update.last().map(|last| last.msn), media.last().map(|last| last.msn));
    }
    outcome((decided, media.open_parts > 0, media.ended, update.is_empty(), segments.min(3)))
}

/// However a file is cut, the same fragments come out, one behind the other.
pub fn boxes(data: &[u8]) -> u64 {
    let (whole, end) = read(data, data.len().max(1));
    let mut at = 0;
    for fragment in &whole {
        assert_eq!(fragment.start, at);
        assert!(fragment.moof >= at && fragment.end > fragment.moof);
        assert!(fragment.end <= data.len() as u64);
        at = fragment.end;
    }
    for size in [1, 2, 7, 13] {
        assert_eq!(read(data, size), (whole.clone(), end), "pieces of {size}");
    }
    let shapes: Vec<(bool, bool, u64)> = whole
        .iter()
        .map(|one| (one.independent, one.duration_us().is_some(), one.samples.min(2)))
        .collect();
    outcome((shapes, end))
}

fn read(data: &[u8], size: usize) -> (Vec<Fragment>, Result<(), &'static str>) {
    let mut fragments = Vec::new();
    let mut reader = Reader::new(Tracks::default());
    for piece in data.chunks(size) {
        if let Err(fault) = reader.feed(piece, &mut |fragment| fragments.push(fragment)) {
            assert!(fault.at <= data.len() as u64);
            return (fragments, Err(fault.reason));
        }
    }
    assert_eq!(reader.position(), data.len() as u64);
    let end = reader.finish(&mut |fragment| fragments.push(fragment));
    (fragments, end.map_err(|fault| fault.reason))
}

/// Bytes as orders to a rendition.
struct Orders<'a>(&'a [u8]);

impl Orders<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn name(&mut self) -> String {
        format!("s{:03}.m4s", self.byte() % 40)
    }

    /// A playlist of an encoder: counting names from anywhere, under any number.
    fn playlist(&mut self) -> Vec<u8> {
        let (msn, first, count, flags) = (self.byte(), self.byte(), self.byte() % 8, self.byte());
        let mut text = format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{msn}\n",
            1 + flags % 4
        );
        for at in 0..count {
            if flags & 16 << (at % 2) != 0 {
                text += "#EXT-X-PROGRAM-DATE-TIME:2026-11-24T01:00:00.000Z\n";
            }
            if flags & 64 != 0 && at == 1 {
                text += "#EXT-X-DISCONTINUITY\n";
            }
            text += &format!("#EXTINF:{}.5,\ns{:03}.m4s\n", flags % 4, first % 40 + at);
        }
        if flags & 128 != 0 {
            text += "#EXT-X-ENDLIST\n";
        }
        text.into_bytes()
    }
}

/// Whatever an encoder does, the playlist can be read, ends where it is said to, and its numbers
/// never go back.
pub fn lowlatency(data: &[u8]) -> u64 {
    let mut orders = Orders(data);
    let mut rendition = Rendition::new(Policy { part_target_us: 500_000 });
    let mut plain: Vec<u8> = Vec::new();
    let mut name = "s000.m4s".to_owned();
    let (mut start, mut time) = (0, 0);
    let (mut before, mut shapes) = (None, Vec::new());
    while !orders.0.is_empty() {
        let order = orders.byte();
        match order % 8 {
            0 => {
                name = orders.name();
                start = 0;
                rendition.start(name.as_bytes());
            }
            1..=3 => {
                let flags = orders.byte();
                let duration = u64::from(flags & 0x3f) * 10;
                let fragment = Fragment {
                    start,
                    end: start + 100,
                    duration: if flags & 0x40 == 0 { duration } else { 200 },
                    decode_time: (order & 0x10 == 0).then_some(time),
                    timescale: if order == 0xf1 { 0 } else { 1000 },
                    independent: flags & 0x80 != 0,
                    ..Fragment::default()
                };
                start += 100;
                time += fragment.duration;
                rendition.fragment(name.as_bytes(), &fragment);
                let released = rendition.released(name.as_bytes());
                assert!(released.is_none_or(|released| released <= start));
            }
            4 => drop(rendition.end(name.as_bytes(), order & 0x80 == 0)),
            5 | 6 => {
                let text = orders.playlist();
                let media = Media::read(&text).expect("it is made by the rules");
                if rendition.playlist(&media) == Ok(true) {
                    plain = text;
                }
            }
            _ => {
                let length = usize::from(orders.byte()).min(orders.0.len());
                let (text, rest) = orders.0.split_at(length);
                orders.0 = rest;
                if let Ok(media) = Media::read(text)
                    && rendition.playlist(&media) == Ok(true)
                {
                    plain = text.to_vec();
                }
            }
        }
        if !plain.is_empty() && rendition.is_ready() {
            check(&rendition, &plain, &mut before);
        }
        shapes.push((order % 8, rendition.is_ready(), rendition.position().map(|one| one.part)));
    }
    shapes.dedup();
    shapes.truncate(6);
    outcome(shapes)
}

fn check(rendition: &Rendition, plain: &[u8], before: &mut Option<(u64, u64, u32)>) {
    let media = Media::read(plain).expect("it was read");
    let position = Position { msn: 7, part: Some(1) };
    let mut text = Vec::new();
    let report = Report { uri: b"o.m3u8", position };
    rendition.write(&media, &[report], &mut |piece| text.extend_from_slice(piece));
    let shown = || String::from_utf8_lossy(&text);
    let media = Media::read(&text).unwrap_or_else(|fault| panic!("{fault}\n{}", shown()));
    assert_eq!(media.last(), rendition.position(), "\n{}", shown());
    let hints = media.items().filter(|item| matches!(item, Ok(Item::Hint(_)))).count();
    assert!(hints <= 1 && (hints == 0 || !media.ended), "\n{}", shown());
    let now = (media.media_sequence, media.next_msn(), media.open_parts);
    if let Some(before) = before {
        let goes_on = before.0 <= now.0 && (before.1, before.2) <= (now.1, now.2);
        assert!(goes_on, "{before:?} to {now:?}\n{}", shown());
    }
    *before = Some(now);
}
