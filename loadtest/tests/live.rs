//! Live crowds end to end: the binary against scripted origins, and against what arithmetic says.
#![allow(clippy::unwrap_used)]

#[path = "live/origin.rs"]
mod origin;

use std::process::Command;

use loadtest::live::arrivals::{Arrivals, Due, schedule};
use origin::{By, Origin, Script};
use serde_json::Value;

/// Runs `live` against `origin`; the report.
fn live(origin: &Origin, flags: &str) -> Value {
    let folder =
        std::env::temp_dir().join(format!("loadtest-live-{}-{}", std::process::id(), origin.port));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("r.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["live", &origin.url("/master.m3u8"), "--report", file.to_str().unwrap()])
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{output:?}"));
    std::fs::remove_dir_all(&folder).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn count(report: &Value, name: &str) -> f64 {
    report["qoe"]["counts"][name].as_f64().unwrap_or_else(|| panic!("no {name}"))
}

fn operation<'a>(report: &'a Value, name: &str) -> Option<&'a Value> {
    report["operations"].as_array().unwrap().iter().find(|operation| operation["name"] == name)
}

#[test]
fn viewers_play_and_every_request_is_accounted_for() {
    let origin = Origin::start(Script::default());
    let report = live(&origin, "-n 50 --ramp 1s -d 6s");
    assert_eq!((count(&report, "viewers"), count(&report, "started")), (50.0, 50.0), "{report}");
    assert_eq!((count(&report, "stalls"), count(&report, "content_errors")), (0.0, 0.0));
    // Joined at 1 s on average and never stalled.
    let played = count(&report, "played_s");
    assert!((260.0..=300.0).contains(&played), "{played}");
    let completed: u64 = report["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| operation["completed"].as_u64().unwrap())
        .sum();
    // Answers that were under way when the run ended are the origin's alone.
    let served = origin.served();
    assert!(completed <= served && served <= completed + 60, "{completed} of {served}");
    assert_eq!(operation(&report, "master").unwrap()["completed"], 50);
    assert_eq!(report["load"]["failed"], 0, "{report}");
    assert!(operation(&report, "blocking").is_none());
}

/// In real time: an origin that is silent for a while stalls its viewers for as
/// long as arithmetic says, within 5 %.
#[test]
fn a_silent_origin_stalls_viewers_as_arithmetic_says() {
    // Segments of 1 s; silent from 5 s to 11 s of the run.
    let script = Script { silent: Some((5.0, 11.0)), ..Script::default() };
    let origin = Origin::start(script);
    let report = live(&origin, "-n 20 --arrivals synchronised --level 0 -d 14s --connections 1");
    assert_eq!(count(&report, "started"), 20.0, "{report}");
    assert_eq!(count(&report, "stalled_viewers"), 20.0);
    assert_eq!(count(&report, "stalls"), 20.0);
    let (stalled, played) = (count(&report, "stalled_s"), count(&report, "played_s"));
    let predicted = origin.predicted_stalls() / (stalled + played);
    let measured = stalled / (stalled + played);
    assert!((measured / predicted - 1.0).abs() < 0.05, "{measured} against {predicted}");
    assert!(measured > 0.1, "{measured}");
}

#[test]
fn blocking_reloads_and_early_answers_are_told_apart() {
    let good = Origin::start(Script { parts: true, ..Script::default() });
    let report = live(&good, "-n 10 --ramp 1s -d 6s");
    let reloads = count(&report, "blocking_reloads");
    // Four parts a second, ten viewers, at least four seconds.
    assert!(reloads > 160.0, "{report}");
    assert_eq!(count(&report, "early_playlists"), 0.0);
    assert_eq!(count(&report, "stalls"), 0.0, "{report}");
    assert!(operation(&report, "part").unwrap()["completed"].as_u64().unwrap() > 160);
    let early = Origin::start(Script { parts: true, early: true, ..Script::default() });
    let report = live(&early, "-n 10 --ramp 1s -d 6s");
    assert!(count(&report, "early_playlists") > 10.0, "{report}");
}

#[test]
fn mistakes_of_an_origin_are_counted() {
    let script = Script { missing_every: 4, stale_every: 5, ..Script::default() };
    let report = live(&Origin::start(script), "-n 20 --ramp 1s -d 8s");
    assert!(count(&report, "not_found") > 0.0, "{report}");
    assert!(count(&report, "stale_playlists") > 0.0, "{report}");
    let errors = &operation(&report, "segment").unwrap()["errors"];
    assert_eq!(errors["status 404"].as_f64(), Some(count(&report, "not_found")), "{errors}");
}

#[test]
fn a_narrow_link_chooses_a_lower_level() {
    let origin = Origin::start(Script::default());
    let wide = live(&origin, "-n 5 --ramp 1s -d 8s");
    let narrow = live(&origin, "-n 5 --ramp 1s -d 8s --links 1@1M");
    let bytes = |report: &Value| report["load"]["bytes"].as_f64().unwrap();
    assert_eq!(count(&narrow, "started"), 5.0, "{narrow}");
    // 2 Mbit/s against 400 kbit/s.
    assert!(bytes(&wide) > 3.0 * bytes(&narrow), "{} {}", bytes(&wide), bytes(&narrow));
    assert!(bytes(&narrow) * 8.0 / 8.0 < 5.0 * 1e6, "no more than the links carry");
}

#[test]
fn wrong_targets_are_sentences() {
    let run = |flags: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        let output = command.arg("live").args(flags.split_whitespace()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let origin = Origin::start(Script::default());
    for (flags, code, sentence) in [
        (format!("{} -d 1s", origin.url("/0/0.m4s")), 7, "does not begin with #EXTM3U"),
        (format!("{} -d 1s", origin.url("/nothing")), 7, "status 404"),
        ("http://127.0.0.1:1/a -d 1s".to_owned(), 6, "refused"),
        ("http://192.0.2.1/a -d 1s".to_owned(), 2, "--allow-remote"),
        (format!("{} -d 1s --links x", origin.url("/master.m3u8")), 2, "is no link class"),
        (format!("{} -d 1s --arrivals x", origin.url("/master.m3u8")), 2, "no way to arrive"),
    ] {
        let (ended, said) = run(&flags);
        assert!(ended == code && said.contains(sentence), "{flags}: {ended} {said}");
    }
}

/// Runs `capacity viewers` against `origin`; its report and exit code.
fn capacity(origin: &Origin, flags: &str) -> (Value, i32) {
    let file = std::env::temp_dir().join(format!("loadtest-crowd-{}.json", origin.port));
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["capacity", "viewers", &origin.url("/master.m3u8")])
        .args(["--report", file.to_str().unwrap(), "--settle", "100ms"])
        // Other tests run beside it.
        .args(["--allow-lateness", "2s"])
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{output:?}"));
    std::fs::remove_file(&file).unwrap();
    (serde_json::from_str(&text).unwrap(), output.status.code().unwrap())
}

#[test]
fn the_largest_crowd_is_searched_by_what_viewers_experience() {
    let origin = Origin::start(Script::default());
    let flags = "-n 4 --most 8 --ramp 500ms -d 4s --repeats 1";
    let (report, code) = capacity(&origin, &format!("{flags} --gate stalled<=0%"));
    let found = &report["capacity"];
    assert_eq!((found["unit"].as_str(), found["largest"].as_f64()), (Some("viewers"), Some(8.0)));
    assert_eq!((code, report["command"].as_str()), (0, Some("capacity")), "{report}");
    assert_eq!(found["tries"][0]["achieved"].as_f64(), Some(4.0), "{found}");
    // Nobody can begin to play within a nanosecond.
    let flags = "-n 1 --ramp 500ms -d 3s --retries 1 --gate startup.p50<=1ns";
    let (report, code) = capacity(&origin, flags);
    let found = &report["capacity"];
    assert!(found["largest"].is_null() && code == 4, "{code} {found}");
    let notes = report["verdict"]["notes"].as_array().unwrap();
    assert!(notes.iter().any(|note| note.as_str().unwrap().contains("2.00 s")), "{report}");
}

/// Each way to arrive brings the viewers that its schedule says, as many as it says at any time.
#[test]
fn crowds_come_and_go_as_their_schedules_say() {
    const VIEWERS: u64 = 40;
    let kinds = ["poisson", "kick-off", "flash", "synchronised", "exit-spike", "reconnect"];
    let runs = kinds.map(|how| {
        std::thread::spawn(move || {
            let origin = Origin::start(Script::default());
            let flags = format!("-n {VIEWERS} --ramp 3s -d 6s --level 0 --arrivals {how}");
            (how, live(&origin, &flags))
        })
    });
    for run in runs {
        let (how, report) = run.join().unwrap();
        let arrivals: Arrivals = how.parse().unwrap();
        let said = report["load"]["model"].as_str().unwrap();
        assert_eq!(said, format!("viewers, {arrivals}"));
        let planned = schedule(&arrivals, VIEWERS, 3.0, 1);
        let again = planned.drops.len() as u64 * VIEWERS;
        let counted = (count(&report, "viewers"), count(&report, "start_failures"));
        assert_eq!(counted, ((VIEWERS + again) as f64, 0.0), "{how}: {report}");
        let due = |events: &[Due], at: f64| events.iter().filter(|event| event.0 <= at).count();
        for second in report["series"].as_array().unwrap() {
            // A slow machine is late by up to a second, and never early.
            let present = usize::try_from(second["viewers"].as_u64().unwrap()).unwrap();
            let end = second["at_s"].as_f64().unwrap() + 1.0;
            let least = due(&planned.joins, end - 1.0) - due(&planned.leaves, end);
            let most = due(&planned.joins, end + 0.1) - due(&planned.leaves, end - 1.0);
            let said = format!("{how}: {present} after {end} s, {least} to {most} expected");
            assert!((least..=most).contains(&present), "{said}");
        }
    }
}

/// Viewers say the same of themselves in the query and in headers, with every request.
#[test]
fn cmcd_comes_with_every_request_in_the_query_or_in_headers() {
    let mut sessions = Vec::new();
    for how in ["query", "headers", "none"] {
        let origin = Origin::start(Script::default());
        let report = live(&origin, &format!("-n 6 --ramp 1s -d 5s --cmcd {how}"));
        assert_eq!(count(&report, "started"), 6.0, "{report}");
        // The manifest was looked at before the run.
        let told = origin.told().split_off(1);
        if how == "none" {
            assert!(told.iter().all(|(_, told)| told.is_empty()), "{told:?}");
            continue;
        }
        let mut own = std::collections::BTreeSet::new();
        for (path, told) in &told {
            let value = |key: &str| told.get(key).map(|(value, _)| value.as_str());
            let is_media = path.ends_with(".m4s");
            let kind = if is_media { "v" } else { "m" };
            assert_eq!((value("ot"), value("sf")), (Some(kind), Some("h")), "{path} {told:?}");
            own.insert(value("sid").unwrap_or_else(|| panic!("{path} {told:?}")).to_owned());
            for (key, header) in [("bl", "request"), ("br", "object"), ("d", "object")] {
                let by = match how {
                    "query" => By::Query,
                    _ => By::Header(format!("cmcd-{header}")),
                };
                let came = told.get(key).map(|(_, by)| by);
                assert_eq!(came, is_media.then_some(&by), "{key} of {path} {told:?}");
            }
            if is_media {
                let level: usize = path[1..2].parse().unwrap();
                assert_eq!(value("br"), Some(["400", "2000"][level]), "{path}");
                assert_eq!((value("d"), value("tb")), (Some("1000"), Some("2000")), "{path}");
            }
        }
        let hurried = told.iter().filter(|(_, told)| told.contains_key("su")).count();
        assert!(hurried >= 6, "the first segment of each is wanted at once: {told:?}");
        sessions.push(own);
    }
    assert_eq!((sessions[0].len(), &sessions[0]), (6, &sessions[1]), "one session a viewer");
}

/// After a reconnect storm half of the numbers came back twice and the other half never: places
/// were given anew while the numbers were still read from them. And caches came back as viewers.
#[test]
fn after_a_reconnect_storm_everybody_is_who_they_were() {
    let origin = Origin::start(Script::default());
    let report = live(&origin, "-n 7 --ramp 1s -d 6s --arrivals reconnect --cmcd query");
    let joins = origin.joins();
    assert_eq!(joins.len(), 7, "{joins:?}");
    assert!(joins.values().all(|times| *times == 2), "{joins:?}");
    assert_eq!(count(&report, "viewers"), 14.0, "{report}");

    let origin = Origin::start(Script::default());
    live(&origin, "-n 3 --ramp 1s -d 6s --arrivals reconnect --cmcd query --profile edge");
    // A cache asks for both levels, before the storm and after it.
    let joins = origin.joins();
    assert_eq!(joins.len(), 3, "{joins:?}");
    assert!(joins.values().all(|times| *times == 4), "{joins:?}");
}

/// With the end of a match everybody leaves: caches with all their levels.
#[test]
fn an_exit_spike_takes_all_levels_of_a_cache_along() {
    let origin = Origin::start(Script::default());
    let report = live(&origin, "-n 100 --ramp 1s -d 8s --arrivals exit-spike --profile edge");
    let present = report["series"].as_array().unwrap();
    let last = present.last().unwrap()["viewers"].as_u64().unwrap();
    let most = present.iter().filter_map(|second| second["viewers"].as_u64()).max().unwrap();
    assert!(most == 200 && last < most, "{last} of {most} are left");
    assert_eq!(last % 2, 0, "a cache has left without one of its levels");
}
