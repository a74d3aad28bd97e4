//! A planted fault for every rule of the checker: each is caught, under the name of its rule.

use std::collections::BTreeSet;

use headwater::media::hls::{Media, delta};

use crate::checker::{Checker, RULES};
use crate::{Channel, video};

/// The versions of a channel whose segment 12 is arriving, with two parts out.
fn versions() -> Vec<String> {
    let mut channel = Channel::new(video());
    for _ in 0..11 {
        channel.segment();
    }
    channel.segment_up_to(4);
    // The last version is that in which the segment breaks off.
    channel.versions.pop();
    channel.assert_clean();
    channel.versions
}

/// The rules that a last version breaks behind the good ones before it.
fn broken(versions: &[String], last: &str) -> BTreeSet<&'static str> {
    let mut checker = Checker::default();
    for version in versions {
        assert_eq!(checker.version(version), []);
    }
    checker.version(last).into_iter().map(|finding| finding.rule).collect()
}

/// The last version with one text for another; it must be there.
fn changed(versions: &[String], from: &str, to: &str) -> String {
    let last = versions.last().unwrap();
    assert!(last.contains(from), "`{from}` is not in\n{last}");
    last.replacen(from, to, 1)
}

/// The last version without the lines that hold a text.
fn without(versions: &[String], text: &str) -> String {
    let lines = versions.last().unwrap().lines().filter(|line| !line.contains(text));
    lines.map(|line| format!("{line}\n")).collect()
}

const HINT: &str =
    "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"chunk-stream0-00012.m4s\",BYTERANGE-START=4006\n";
const FIRST: &str = "DURATION=0.400000,URI=\"chunk-stream0-00012.m4s\",BYTERANGE=\"2001@0\",\
    INDEPENDENT=YES\n";
const SECOND: &str = "DURATION=0.400000,URI=\"chunk-stream0-00012.m4s\",BYTERANGE=\"2005@2001\"\n";
const TENTH: &str = "#EXTINF:2.000000,\nchunk-stream0-00010.m4s\n";

/// Faults of the last version, with the rule that each breaks.
fn planted(all: &[String]) -> Vec<(&'static str, String)> {
    let change = |from: &str, to: &str| changed(all, from, to);
    let oldest = "#EXTINF:2.000000,\nchunk-stream0-00006.m4s\n";
    let kept = "#EXT-X-PART:DURATION=0.400000,URI=\"chunk-stream0-00006.m4s\"\n";
    let date = "#EXT-X-PROGRAM-DATE-TIME:2026-11-24T01:00:22.000+0000\n";
    assert!(all.last().unwrap().contains(date));
    vec![
        ("readable", change("#EXTINF:2.000000,", "#EXTINF:two,")),
        ("segment-length", change(TENTH, &TENTH.replace("2.0", "2.6"))),
        ("control", change("CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=11.9")),
        ("control", change("HOLD-BACK=6.0", "HOLD-BACK=5.9")),
        ("control", change("PART-HOLD-BACK=1.5", "PART-HOLD-BACK=0.7")),
        ("control", change(",PART-HOLD-BACK=1.500000", "")),
        ("part-inf", without(all, "#EXT-X-PART-INF")),
        ("part-longest", change(FIRST, &FIRST.replace("0.400000", "0.400001"))),
        (
            "part-shortest",
            change(
                HINT,
                &format!("#EXT-X-PART:{0}#EXT-X-PART:{0}", SECOND.replace("0.40", "0.33")),
            ),
        ),
        ("part-order", change(HINT, "#EXT-X-DISCONTINUITY\n")),
        ("part-bytes", change(SECOND, &SECOND.replace("@2001", "@2002"))),
        ("part-bytes", change(FIRST, &FIRST.replace("@0", "@1"))),
        ("dates", change("T01:00:20.000", "T01:00:20.100")),
        ("hint-once", change(HINT, &HINT.repeat(2))),
        ("hint-once", change(HINT, &format!("{HINT}#EXT-X-ENDLIST\n"))),
        ("target-constant", change("TARGETDURATION:2", "TARGETDURATION:3")),
        ("sequence", change("MEDIA-SEQUENCE:6", "MEDIA-SEQUENCE:5")),
        ("sequence", change(&format!("#EXT-X-PART:{SECOND}"), "")),
        ("segments-constant", change(TENTH, &TENTH.replace("00010", "00009"))),
        ("segments-constant", change(TENTH, &TENTH.replace("2.000000", "2.000001"))),
        (
            "discontinuities",
            change("#EXT-X-MEDIA", "#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MEDIA"),
        ),
        ("parts-constant", change(FIRST, &FIRST.replace(",INDEPENDENT=YES", ""))),
        ("parts-kept", without(all, "-00011.m4s\",BYTERANGE")),
        ("parts-kept", change(oldest, &format!("{kept}{oldest}"))),
    ]
}

#[test]
fn every_rule_catches_its_planted_fault() {
    let all = versions();
    let before = &all[..all.len() - 1];
    assert_eq!(broken(before, all.last().unwrap()), BTreeSet::new());
    let mut caught = BTreeSet::new();
    for (rule, fault) in planted(&all) {
        let rules = broken(&all, &fault);
        assert!(rules.contains(rule), "{rule}: {rules:?} by\n{fault}");
        caught.insert(rule);
    }
    caught.extend([hint(&all), window(&all), end(&all), of_delta(&all), reports(&all)]);
    let all_rules: BTreeSet<&str> = RULES.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(caught, all_rules, "rules without a planted fault, or faults without a rule");
}

/// The part that follows lies elsewhere than was hinted.
fn hint(all: &[String]) -> &'static str {
    let mut before = all[..all.len() - 2].to_vec();
    let hinted = before.last().unwrap().replace("BYTERANGE-START=2001", "BYTERANGE-START=2002");
    assert_ne!(&hinted, before.last().unwrap());
    *before.last_mut().unwrap() = hinted;
    assert!(broken(&before, all.last().unwrap()).contains("hint-kept"));
    "hint-kept"
}

/// Nearly all segments go at once.
fn window(all: &[String]) -> &'static str {
    let last = all.last().unwrap();
    let from = last.find("#EXT-X-MAP").unwrap();
    let to = last.find("#EXTINF:2.000000,\nchunk-stream0-00009.m4s\n").unwrap();
    let text = format!("{}{}", &last[..from], &last[to..]);
    let text = text.replace("MEDIA-SEQUENCE:6", "MEDIA-SEQUENCE:9");
    let short = text.replace("#EXTINF:2.0", "#EXTINF:1.5");
    assert!(broken(all, &short).contains("window"));
    "window"
}

/// A playlist ends, and then it goes on.
fn end(all: &[String]) -> &'static str {
    let ended = without(all, "PRELOAD-HINT") + "#EXT-X-ENDLIST\n";
    let mut before = all.to_vec();
    before.push(ended);
    assert!(broken(&before, all.last().unwrap()).contains("end"));
    "end"
}

/// Delta updates that leave out too much, change what they keep, or lose a part.
fn of_delta(all: &[String]) -> &'static str {
    // A longer window than the skip boundary.
    let mut channel = Channel::new(video());
    channel.encoder.window = 20;
    for _ in 0..16 {
        channel.segment();
    }
    channel.assert_clean();
    let all = [all, &channel.versions].concat();
    let last = all.last().unwrap();
    let mut update = Vec::new();
    let media = Media::read(last.as_bytes()).unwrap();
    assert!(delta::write(&media, &mut |piece| update.extend_from_slice(piece)));
    let update = String::from_utf8(update).unwrap();
    let mut checker = Checker::default();
    checker.version(&all[all.len() - 2]);
    assert_eq!(checker.delta(&update, last), []);
    let skip = format!("SKIPPED-SEGMENTS={}", delta::skippable(&media));
    for (from, to) in [
        (skip.as_str(), "SKIPPED-SEGMENTS=1"),
        ("#EXT-X-VERSION:9", "#EXT-X-VERSION:8"),
        ("#EXTINF:2.000000", "#EXTINF:1.000000"),
        ("#EXT-X-PART:", "#EXT-X-PARTY:"),
        ("#EXTINF:2.000000,", "#EXTINF:,"),
    ] {
        assert!(update.contains(from), "{from} in\n{update}");
        let findings = checker.delta(&update.replacen(from, to, 1), last);
        assert!(findings.iter().any(|finding| finding.rule == "delta"), "{from} to {to}");
    }
    "delta"
}

/// Reports that are missing, late, or of nothing.
fn reports(all: &[String]) -> &'static str {
    let last = all.last().unwrap();
    let other = [("o.m3u8", all[all.len() - 2].as_str())];
    let report = |position: &str| format!("{last}#EXT-X-RENDITION-REPORT:URI=\"{position}\n");
    let findings = |position: &str| Checker::reports(&report(position), &other).len();
    assert_eq!(findings("o.m3u8\",LAST-MSN=12,LAST-PART=0"), 0);
    assert_eq!(findings("o.m3u8\",LAST-MSN=12,LAST-PART=1"), 1);
    assert_eq!(findings("o.m3u8\",LAST-MSN=12"), 1);
    assert_eq!(findings("p.m3u8\",LAST-MSN=12,LAST-PART=0"), 1);
    assert_eq!(Checker::reports(&report("p.m3u8\",LAST-MSN=1"), &[]).len(), 1);
    "reports"
}
