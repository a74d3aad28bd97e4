//! Low-latency playlists made from the pushes of simulated encoders, checked version by version
//! against the draft, and the checker shown to catch a planted fault for each of its rules.
#![allow(clippy::unwrap_used)]

#[path = "lowlatency/checker.rs"]
mod checker;
#[path = "lowlatency/encoder.rs"]
mod encoder;
#[path = "lowlatency/planted.rs"]
mod planted;

use headwater::media::hls::{Media, Position, delta};
use headwater::media::lowlatency::{Policy, Refusal, Rendition, Report};

use checker::{Checker, Finding};
use encoder::Encoder;

/// One rendition with its encoder, and all that a reader saw of it.
struct Channel {
    encoder: Encoder,
    rendition: Box<Rendition>,
    plain: String,
    checker: Checker,
    versions: Vec<String>,
    findings: Vec<Finding>,
    uri: String,
}

impl Channel {
    fn new(encoder: Encoder) -> Self {
        let policy = Policy { part_target_us: 500_000 };
        let uri = format!("media_{}.m3u8", encoder.stream);
        Self {
            encoder,
            rendition: Box::new(Rendition::new(policy)),
            plain: String::new(),
            checker: Checker::default(),
            versions: Vec::new(),
            findings: Vec::new(),
            uri,
        }
    }

    fn text(&self, reports: &[Report]) -> String {
        let media = Media::read(self.plain.as_bytes()).unwrap();
        let mut out = Vec::new();
        self.rendition.write(&media, reports, &mut |piece| out.extend_from_slice(piece));
        String::from_utf8(out).unwrap()
    }

    /// Publishes a version if there is one, and checks it.
    fn publish(&mut self) {
        if !self.rendition.is_ready() {
            return;
        }
        let text = self.text(&[]);
        let media = Media::read(text.as_bytes()).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
        assert_eq!(media.last(), self.rendition.position(), "{text}");
        let mut update = Vec::new();
        if delta::write(&media, &mut |piece| update.extend_from_slice(piece)) {
            let update = String::from_utf8(update).unwrap();
            self.findings.extend(self.checker.delta(&update, &text));
        }
        let found = self.checker.version(&text);
        if !found.is_empty() {
            println!("{found:#?}\nin version {}:\n{text}", self.versions.len());
        }
        self.findings.extend(found);
        self.versions.push(text);
    }

    fn playlist(&mut self) {
        let plain = self.encoder.playlist();
        let media = Media::read(plain.as_bytes()).unwrap();
        self.rendition.playlist(&media).unwrap();
        self.plain = plain;
        self.publish();
    }

    /// Pushes a segment up to its `keep`th fragment; whole if there are no more.
    fn segment_up_to(&mut self, keep: usize) {
        let name = self.encoder.name();
        self.rendition.start(name.as_bytes());
        self.publish();
        let fragments = self.encoder.fragments();
        for fragment in fragments.iter().take(keep) {
            self.rendition.fragment(name.as_bytes(), fragment);
            self.publish();
        }
        self.rendition.end(name.as_bytes(), keep >= fragments.len());
        self.publish();
    }

    /// Pushes a segment and the playlist behind it.
    fn segment(&mut self) {
        self.segment_up_to(usize::MAX);
        self.playlist();
    }

    fn last(&self) -> &str {
        self.versions.last().unwrap()
    }

    fn assert_clean(&self) {
        assert!(self.findings.is_empty(), "{:#?}", self.findings);
    }
}

fn video() -> Encoder {
    Encoder::new(0, 12_800, &[2560; 10])
}

fn audio() -> Encoder {
    Encoder::new(
        1,
        48_000,
        &[10_240, 9216, 10_240, 9216, 10_240, 10_240, 10_240, 10_240, 9216, 7168],
    )
}

#[test]
fn a_plain_push_becomes_low_latency() {
    let mut channel = Channel::new(video());
    for _ in 0..30 {
        channel.segment();
    }
    channel.assert_clean();
    assert!(channel.versions.len() > 28 * 12, "{} versions", channel.versions.len());
    let last = channel.last();
    assert!(last.contains("#EXT-X-PART-INF:PART-TARGET=0.400000\n"), "{last}");
    assert!(last.contains("CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.000000"), "{last}");
    assert!(last.contains("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"chunk-stream0-00031.m4s\""));
    let part = "#EXT-X-PART:DURATION=0.400000,URI=\"chunk-stream0-00030.m4s\",BYTERANGE=\"2001@0\",\
                INDEPENDENT=YES\n";
    assert!(last.contains(part), "{last}");
}

#[test]
fn parts_are_out_before_their_segment_is_listed() {
    let mut channel = Channel::new(video());
    for _ in 0..5 {
        channel.segment();
    }
    let before = channel.rendition.position();
    assert_eq!(before, Some(Position { msn: 5, part: Some(4) }));
    channel.segment_up_to(4);
    let open = &channel.versions[channel.versions.len() - 2];
    assert!(open.contains("chunk-stream0-00006.m4s\",BYTERANGE-START=4006"), "{open}");
    let media = Media::read(open.as_bytes()).unwrap();
    assert_eq!(media.last(), Some(Position { msn: 6, part: Some(1) }));
    channel.assert_clean();
}

#[test]
fn uneven_audio_fragments_become_parts_within_the_rule() {
    let mut channel = Channel::new(audio());
    for _ in 0..30 {
        channel.segment();
    }
    channel.assert_clean();
    assert!(channel.last().contains("PART-TARGET=0.426667\n"), "{}", channel.last());
}

#[test]
fn playlists_that_come_late_change_nothing_that_is_published() {
    let mut channel = Channel::new(video());
    for _ in 0..4 {
        channel.segment();
    }
    for _ in 0..10 {
        channel.segment_up_to(usize::MAX);
        channel.segment_up_to(usize::MAX);
        channel.playlist();
    }
    channel.assert_clean();
    assert_eq!(channel.rendition.position(), Some(Position { msn: 24, part: Some(4) }));
}

#[test]
fn without_dates_none_are_invented() {
    let mut channel = Channel::new(video());
    channel.encoder.dates = false;
    for _ in 0..10 {
        channel.segment();
    }
    channel.assert_clean();
    assert!(!channel.last().contains("PROGRAM-DATE-TIME"));
    assert!(channel.last().contains("#EXT-X-PART:"));
}

/// A killed encoder that starts anew counts from one, with the same names and timestamps.
fn restarted(runs: &[(usize, usize)]) -> Channel {
    let mut channel = Channel::new(video());
    for (segments, fragments) in runs {
        for _ in 0..*segments {
            channel.segment();
        }
        channel.segment_up_to(*fragments);
        channel.encoder.restart(7_300);
    }
    for _ in 0..12 {
        channel.segment();
    }
    channel
}

#[test]
fn an_encoder_that_starts_anew_goes_on_with_a_discontinuity() {
    let channel = restarted(&[(20, 5)]);
    channel.assert_clean();
    let joined: Vec<&String> =
        channel.versions.iter().filter(|text| text.contains("#EXT-X-DISCONTINUITY\n")).collect();
    assert!(!joined.is_empty());
    assert!(joined[0].contains("#EXT-X-GAP\n"), "{}", joined[0]);
    let last = Media::read(channel.last().as_bytes()).unwrap();
    assert_eq!(last.discontinuity_sequence, 1);
    assert_eq!(last.last(), Some(Position { msn: 33, part: Some(4) }));
}

#[test]
fn priming_that_the_playlist_leaves_out_is_left_out_of_the_first_part() {
    let mut channel = Channel::new(audio());
    channel.encoder.priming = 1024;
    for _ in 0..20 {
        channel.segment();
    }
    channel.encoder.restart(7_300);
    for _ in 0..5 {
        channel.segment();
    }
    channel.assert_clean();
    assert!(channel.last().contains("#EXTINF:1.984000,\n"), "{}", channel.last());
}

#[test]
fn restarts_at_every_point_keep_the_rules() {
    for fragments in 0..10 {
        let channel = restarted(&[(20, fragments)]);
        assert!(channel.findings.is_empty(), "{fragments} fragments: {:#?}", channel.findings);
        let channel = restarted(&[(15, fragments), (9, 3), (14, fragments)]);
        assert!(channel.findings.is_empty(), "{fragments} fragments: {:#?}", channel.findings);
    }
}

#[test]
fn renditions_report_each_other() {
    let mut ladder = [Channel::new(video()), Channel::new(audio())];
    for _ in 0..8 {
        for channel in &mut ladder {
            channel.segment();
        }
    }
    ladder[0].segment_up_to(4);
    let positions: Vec<Position> =
        ladder.iter().map(|channel| channel.rendition.position().unwrap()).collect();
    let texts: Vec<String> = (0..2)
        .map(|at| {
            let other = 1 - at;
            let uri = ladder[other].uri.as_bytes();
            ladder[at].text(&[Report { uri, position: positions[other] }])
        })
        .collect();
    for at in 0..2 {
        let others = [(ladder[1 - at].uri.as_str(), texts[1 - at].as_str())];
        assert_eq!(Checker::reports(&texts[at], &others), []);
    }
}

#[test]
fn bytes_are_released_part_by_part() {
    let mut channel = Channel::new(video());
    for _ in 0..3 {
        channel.segment();
    }
    let name = channel.encoder.name();
    let name = name.as_bytes();
    let rendition = &mut channel.rendition;
    assert_eq!(rendition.released(name), None);
    assert!(rendition.start(name));
    let fragments = channel.encoder.fragments();
    let mut released = Vec::new();
    for fragment in &fragments[..5] {
        rendition.fragment(name, fragment);
        released.push(rendition.released(name).unwrap());
    }
    assert_eq!(released, [0, 2001, 2001, 4006, 4006]);
    rendition.end(name, true);
    assert_eq!(rendition.released(name), None);
}

#[test]
fn unsuited_encoders_are_told_why() {
    let whole = Encoder::new(0, 1000, &[2000]);
    let long = Encoder::new(0, 1000, &[1000, 1000]);
    let uneven = Encoder::new(0, 1000, &[400, 200, 400, 300]);
    for encoder in [whole, long, uneven] {
        let mut channel = Channel::new(encoder);
        for _ in 0..4 {
            channel.segment();
        }
        assert!(!channel.rendition.is_ready());
        assert!(channel.rendition.unsuited().is_some());
    }
}

#[test]
fn fragments_that_stop_fitting_cost_parts_but_break_no_rule() {
    let mut channel = Channel::new(video());
    for _ in 0..6 {
        channel.segment();
    }
    channel.encoder.pattern = vec![5632; 5];
    channel.segment();
    channel.assert_clean();
    // The second in a row: another target, which parts of the old one do not meet.
    channel.segment();
    channel.findings.retain(|finding| finding.rule != "parts-kept");
    for _ in 0..6 {
        channel.segment();
    }
    channel.assert_clean();
    assert!(channel.last().contains("PART-TARGET=0.440000\n"));
    assert!(channel.last().contains("#EXT-X-PART:DURATION=0.440000"), "{}", channel.last());
}

#[test]
fn other_playlists_are_refused() {
    let refusal = |text: &str| {
        let media = Media::read(text.as_bytes()).unwrap();
        let mut rendition = Rendition::new(Policy { part_target_us: 500_000 });
        rendition.playlist(&media)
    };
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n";
    let parts = format!("{head}#EXT-X-PART-INF:PART-TARGET=1\n#EXTINF:2,\na\n");
    assert_eq!(refusal(&parts), Err(Refusal::LowLatencyAlready));
    let frames = format!("{head}#EXT-X-I-FRAMES-ONLY\n#EXTINF:2,\na\n");
    assert_eq!(refusal(&frames), Err(Refusal::IFrames));
    let long = format!("{head}#EXTINF:2,\n{}\n", "a".repeat(256));
    assert_eq!(refusal(&long), Err(Refusal::TooLong));
    assert_eq!(refusal(head), Ok(false));
}

#[test]
fn an_ended_playlist_has_no_hint() {
    let mut channel = Channel::new(video());
    for _ in 0..5 {
        channel.segment();
    }
    let plain = channel.encoder.playlist() + "#EXT-X-ENDLIST\n";
    let media = Media::read(plain.as_bytes()).unwrap();
    channel.rendition.playlist(&media).unwrap();
    channel.plain = plain.clone();
    channel.publish();
    channel.assert_clean();
    assert!(channel.last().ends_with("#EXT-X-ENDLIST\n"));
    assert!(!channel.last().contains("PRELOAD-HINT"));
}

/// Segments were published as soon as they were whole, and left again when the encoder ended its
/// playlist without them: players saw the end of the playlist go back. Found by fuzzing.
#[test]
fn what_was_published_stays_when_the_encoder_ends_without_it() {
    for is_whole in [true, false] {
        let mut channel = Channel::new(video());
        for _ in 0..5 {
            channel.segment();
        }
        let plain = channel.encoder.playlist() + "#EXT-X-ENDLIST\n";
        let name = channel.encoder.name();
        channel.rendition.start(name.as_bytes());
        let fragments = channel.encoder.fragments();
        let sent = if is_whole { fragments.len() } else { fragments.len() / 2 };
        for fragment in &fragments[..sent] {
            channel.rendition.fragment(name.as_bytes(), fragment);
        }
        if is_whole {
            channel.rendition.end(name.as_bytes(), true);
        }
        channel.publish();
        let before = channel.rendition.position().unwrap();
        let media = Media::read(plain.as_bytes()).unwrap();
        channel.rendition.playlist(&media).unwrap();
        channel.plain = plain;
        channel.publish();
        channel.assert_clean();
        let last = channel.last();
        assert!(last.ends_with(&format!("\n{name}\n#EXT-X-ENDLIST\n")), "{last}");
        assert_eq!(last.contains("#EXT-X-GAP"), !is_whole, "{last}");
        assert_eq!(channel.rendition.position().unwrap().msn, before.msn, "{last}");
    }
}
