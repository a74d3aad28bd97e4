//! The exposition, read back by a strict parser of its own.

use std::collections::{BTreeMap, HashSet};

use super::*;
use crate::control::process::Birth;

/// A family as a reader of the format sees it.
#[derive(Debug, Default)]
struct Parsed {
    kind: String,
    help: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Accepts the format's text or panics with the line that is wrong.
fn parse(text: &str) -> BTreeMap<String, Parsed> {
    let mut families: BTreeMap<String, Parsed> = BTreeMap::new();
    let mut current = String::new();
    let mut seen = HashSet::new();
    assert!(text.ends_with('\n'), "the last line ends");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(!families.contains_key(name), "second HELP: {line}");
            families.entry(name.to_owned()).or_default().help = help.to_owned();
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(name, current, "TYPE follows HELP: {line}");
            let family = families.get_mut(name).unwrap();
            assert!(family.kind.is_empty() && family.samples.is_empty(), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            family.kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            assert!(seen.insert(series.to_owned()), "second sample: {line}");
            let (name, labels) = parse_series(series);
            let family = families.get_mut(&current).expect(line);
            let suffix = name.strip_prefix(&current).expect(line);
            let allowed: &[&str] = match family.kind.as_str() {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line}");
            let value = match value {
                "+Inf" => f64::INFINITY,
                value => value.parse().expect(line),
            };
            family.samples.push((suffix.to_owned(), labels, value));
        }
    }
    families
}

fn parse_series(series: &str) -> (String, BTreeMap<String, String>) {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let Some((name, rest)) = series.split_once('{') else {
        assert!(is_name(series), "{series}");
        return (series.to_owned(), BTreeMap::new());
    };
    assert!(is_name(name), "{series}");
    let mut labels = BTreeMap::new();
    for pair in rest.strip_suffix('}').expect(series).split(',') {
        let (label, value) = pair.split_once('=').expect(series);
        assert!(is_name(label), "{series}");
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.expect(series);
        assert!(!value.contains(['"', '\\', '\n']), "{series}");
        assert!(labels.insert(label.to_owned(), value.to_owned()).is_none(), "{series}");
    }
    (name.to_owned(), labels)
}

fn process() -> Process {
    Process { arena_bytes: 1 << 30, ..Birth::now().look(Phase::Ready) }
}

fn value(parsed: &Parsed, suffix: &str, labels: &[(&str, &str)]) -> f64 {
    let matching: Vec<f64> = parsed
        .samples
        .iter()
        .filter(|(name, found, _)| {
            name == suffix && labels.iter().all(|(k, v)| found.get(*k).is_some_and(|f| f == v))
        })
        .map(|(_, _, value)| *value)
        .collect();
    assert_eq!(matching.len(), 1, "{suffix} {labels:?} in {parsed:?}");
    matching[0]
}

#[test]
fn the_text_is_well_formed_and_complete() {
    let shards = [Arc::new(ShardMeters::new()), Arc::new(ShardMeters::new())];
    let families = parse(&render(&shards, &process(), &[], &[]));
    for (name, family) in &families {
        assert!(family.help.ends_with('.') && !family.kind.is_empty(), "{name}");
        assert!(!family.samples.is_empty(), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name}");
        assert!(name.starts_with("headwater_") || name.starts_with("process_"), "{name}");
    }
    for family in ShardMeters::FAMILIES {
        assert!(families.contains_key(family.name), "{}", family.name);
    }
}

#[test]
fn values_and_labels_arrive() {
    let shards = [Arc::new(ShardMeters::new()), Arc::new(ShardMeters::new())];
    shards[1].requests_put.add(3);
    shards[0].connections_open.set(5);
    shards[0].sent_bytes_zc.add(1 << 50);
    let families = parse(&render(&shards, &process(), &[], &[]));
    let requests = &families["headwater_requests_total"];
    assert_eq!(value(requests, "", &[("shard", "1"), ("method", "put")]), 3.0);
    assert_eq!(value(requests, "", &[("shard", "0"), ("method", "put")]), 0.0);
    assert_eq!(value(&families["headwater_connections_open"], "", &[("shard", "0")]), 5.0);
    let sent = &families["headwater_sent_bytes_total"];
    assert_eq!(value(sent, "", &[("shard", "0"), ("way", "zc")]), (1_u64 << 50) as f64);
    assert_eq!(value(&families["headwater_arena_capacity_bytes"], "", &[]), (1 << 30) as f64);
    let full = &families["headwater_arena_time_to_full_seconds"];
    assert!(value(full, "", &[]).is_infinite());
}

#[test]
fn histograms_are_cumulated_and_in_seconds() {
    let shard = Arc::new(ShardMeters::new());
    for us in [10, 150, 150, 3_000_000, 60_000_000] {
        shard.turnaround.observe(us);
    }
    shard.object_age.observe(1_500);
    let families = parse(&render(&[shard], &process(), &[], &[]));
    let turnaround = &families["headwater_turnaround_seconds"];
    let bucket = |le: &str| value(turnaround, "_bucket", &[("le", le)]);
    assert_eq!(bucket("0.00002"), 1.0);
    assert_eq!(bucket("0.0001"), 1.0);
    assert_eq!(bucket("0.0002"), 3.0);
    assert_eq!(bucket("10"), 4.0);
    assert_eq!(bucket("+Inf"), 5.0);
    assert_eq!(value(turnaround, "_count", &[]), 5.0);
    assert!((value(turnaround, "_sum", &[]) - 63.000_31).abs() < 1e-9);
    assert_eq!(value(&families["headwater_object_age_seconds"], "_sum", &[]), 1.5);
    for family in families.values().filter(|family| family.kind == "histogram") {
        let counts: Vec<f64> = family
            .samples
            .iter()
            .filter(|(suffix, ..)| suffix == "_bucket")
            .map(|(_, _, count)| *count)
            .collect();
        assert!(counts.is_sorted(), "{counts:?}");
        assert_eq!(counts.len(), crate::sys::meter::BOUNDS + 1);
    }
}

#[test]
fn topics_have_lines_of_their_own_whatever_their_names_hold() {
    let names = ["show/a", "show/\"\\", "show/a\nb", "show/{,}", "show/\u{20ac}"];
    let topics = names.iter().zip(1..).map(|(name, subscribers)| TopicCount {
        name: name.as_bytes().into(),
        subscribers,
        publishers: subscribers * 10,
    });
    let text = render(&[], &process(), &[], &topics.collect::<Vec<_>>());
    let family = |name: &str| {
        let found = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        found.map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = [
        r#"topic="show/a"} 1"#,
        r#"topic="show/\"\\"} 2"#,
        r#"topic="show/a\nb"} 3"#,
        r#"topic="show/{,}"} 4"#,
        "topic=\"show/\u{20ac}\"} 5",
    ];
    assert_eq!(family("headwater_topic_subscribers_by_topic"), expected);
    let publishers = family("headwater_topic_publishers_by_topic");
    assert_eq!((publishers.len(), publishers[0].as_str()), (5, r#"topic="show/a"} 10"#));
    assert!(!render(&[], &process(), &[], &[]).contains("_by_topic"));
}
