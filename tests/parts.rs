//! Low-latency HLS from a plain push: ffmpeg's DASH muxer in, every version of the made playlists
//! checked against the draft's rules, every part read by its range the moment it is listed.
#![allow(clippy::unwrap_used)]

#[path = "lowlatency/checker.rs"]
#[allow(dead_code)]
mod checker;
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use checker::Checker;
use headwater::media::hls::{Item, Media, Position};
use support::wire::Client;
use support::{Origin, PATIENCE};

/// A test picture in two sizes with sound, fragments of a fifth of a second, in real time.
fn encoder(origin: &Origin, seconds: &str) -> Child {
    let words = "-nostdin -v error -re -f lavfi -i testsrc2=s=320x180:r=25 -re -f lavfi \
        -i sine=r=48000 -map 0:v -map 0:v -map 1:a -c:v libx264 -preset ultrafast \
        -tune zerolatency -g 25 -keyint_min 25 -sc_threshold 0 -s:v:1 160x90 -c:a aac -f dash \
        -method PUT -seg_duration 1 -frag_duration 0.2 -frag_type duration -streaming 1 -ldash 1 \
        -use_template 1 -use_timeline 0 -window_size 6 -extra_window_size 4 \
        -format_options movflags=cmaf -http_persistent 1 -hls_playlist 1";
    Command::new("ffmpeg")
        .args(words.split_ascii_whitespace())
        .args(["-utc_timing_url", &origin.url("/time"), "-t", seconds])
        .args(["-adaptation_sets", "id=0,streams=v id=1,streams=a", &origin.url("/c/live.mpd")])
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn origin(name: &str, shards: &str) -> Origin {
    let folder = std::env::temp_dir().join(format!("headwater-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("headwater.toml");
    std::fs::write(&config, "[[path]]\npattern = \"c/**\"\nll = true\npart_target_ms = 700\n")
        .unwrap();
    Origin::start(&["--shards", shards, "--config", config.to_str().unwrap()])
}

/// What a viewer of one rendition saw.
#[derive(Default)]
struct Seen {
    versions: usize,
    /// Where versions are kept for other checkers.
    kept: Option<PathBuf>,
    /// Bytes of the parts of each segment, joined.
    segments: BTreeMap<String, Vec<u8>>,
    hints: usize,
    deltas: usize,
    reports: usize,
    most_discontinuities: usize,
}

/// Follows one made playlist by blocking reloads, as a player does, until `is_over`.
struct Viewer<'a> {
    origin: &'a Origin,
    client: Client,
    path: &'a str,
    checker: Checker,
    seen: Seen,
    next: Option<(u64, u32)>,
}

impl<'a> Viewer<'a> {
    fn new(origin: &'a Origin, path: &'a str) -> Self {
        let kept = std::env::var_os("HEADWATER_LOWLATENCY_KEEP").map(PathBuf::from);
        let (checker, seen) = (Checker::default(), Seen { kept, ..Seen::default() });
        Self { origin, client: origin.client(), path, checker, seen, next: None }
    }

    fn get(&mut self, target: &str, lines: &[&str]) -> (u16, Vec<u8>) {
        let answer = self.client.request("GET", target, lines, b"").unwrap();
        (answer.status, answer.body)
    }

    /// Waits for the next version; `false` when none came in time.
    fn step(&mut self) -> bool {
        let target = match self.next {
            None => self.path.to_owned(),
            Some((msn, part)) => format!("{}?_HLS_msn={msn}&_HLS_part={part}", self.path),
        };
        let (status, body) = self.get(&target, &[]);
        if status != 200 {
            assert!(matches!(status, 404 | 503), "{target}: {status}");
            thread::sleep(Duration::from_millis(100));
            return false;
        }
        let text = String::from_utf8(body).unwrap();
        if !text.contains("EXT-X-PART-INF") {
            assert!(self.next.is_none(), "low latency ended: {text}");
            thread::sleep(Duration::from_millis(50));
            return false;
        }
        self.read(&text);
        true
    }

    /// Leaves a version in the folder for other checkers, if there is one.
    fn keep(&self, form: &str, text: &str) {
        let Some(folder) = &self.seen.kept else { return };
        let name = self.path.trim_start_matches('/').replace('/', "-");
        let name = format!("{}-{name}-{:05}{form}", self.origin.pid(), self.seen.versions);
        std::fs::write(folder.join(name), text).unwrap();
    }

    fn read(&mut self, text: &str) {
        let media = Media::read(text.as_bytes()).unwrap();
        if self.seen.versions > 0 && self.seen.versions.is_multiple_of(5) {
            self.delta(text);
        }
        let findings = self.checker.version(text);
        if !findings.is_empty() {
            let plain = self.origin.get(&self.path.replace(".m3u8", ".plain.m3u8"));
            panic!("{findings:?}\n{text}\nthe encoder's own:\n{}", plain.text());
        }
        self.keep("", text);
        self.seen.versions += 1;
        self.seen.reports = self.seen.reports.max(text.matches("RENDITION-REPORT").count());
        let breaks = text.matches("#EXT-X-DISCONTINUITY\n").count();
        self.seen.most_discontinuities = self.seen.most_discontinuities.max(breaks);
        for item in media.items() {
            if let Item::Part(part) = item.unwrap() {
                self.part(
                    std::str::from_utf8(part.uri).unwrap(),
                    part.range.map(|r| (r.offset, r.length)),
                );
            }
        }
        let Position { msn, part } = media.last().unwrap();
        self.next = Some(part.map_or((msn + 1, 0), |part| (msn, part + 1)));
        self.hint(text);
    }

    /// A listed part is there at once, by its range.
    fn part(&mut self, uri: &str, range: Option<(u64, u64)>) {
        let (offset, length) = range.expect("parts are byte ranges");
        let known = self.seen.segments.get(uri).map_or(0, Vec::len) as u64;
        if known > offset || (known == 0 && offset > 0) {
            return;
        }
        let folder = &self.path[..=self.path.rfind('/').unwrap()];
        let range = format!("Range: bytes={offset}-{}", offset + length - 1);
        let asked = Instant::now();
        let (status, body) = self.get(&format!("{folder}{uri}"), &[&range]);
        assert_eq!((status, body.len() as u64), (206, length), "{uri} {range}");
        assert!(asked.elapsed() < Duration::from_secs(1), "a listed part was waited for");
        self.seen.segments.entry(uri.to_owned()).or_default().extend(body);
    }

    /// What is hinted comes as soon as it is whole, and never less.
    fn hint(&mut self, text: &str) {
        let Some(line) = text.lines().find(|line| line.contains("PRELOAD-HINT")) else { return };
        self.seen.hints += 1;
        if !self.seen.hints.is_multiple_of(7) {
            return;
        }
        let uri = line.split("URI=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let from: u64 = line.split("BYTERANGE-START=").nth(1).unwrap().parse().unwrap();
        let folder = self.path[..=self.path.rfind('/').unwrap()].to_owned();
        let mut client = self.origin.client();
        let range = format!("Range: bytes={from}-");
        let answer = client.request("GET", &format!("{folder}{uri}"), &[&range], b"").unwrap();
        if answer.status != 206 {
            // The encoder may have ended, or the segment.
            assert!(matches!(answer.status, 404 | 416), "{line}: {}", answer.status);
            return;
        }
        let playlist = self.origin.get(self.path);
        let listed = playlist.text().into_owned();
        let part = listed.lines().find(|line| {
            line.contains(&format!("URI=\"{uri}\"")) && line.contains(&format!("@{from}\""))
        });
        let Some(part) = part else { return };
        let length = part.split("BYTERANGE=\"").nth(1).unwrap().split('@').next().unwrap();
        let length: usize = length.parse().unwrap();
        assert!(answer.body.len() >= length, "a part of a part: {} of {part}", answer.body.len());
    }

    fn delta(&mut self, text: &str) {
        let (status, body) = self.get(&format!("{}?_HLS_skip=YES", self.path), &[]);
        let delta = String::from_utf8(body).unwrap();
        let now = self.origin.get(self.path).text().into_owned();
        if status == 200 && delta.contains("EXT-X-SKIP") && now == text {
            let findings = self.checker.delta(&delta, text);
            assert!(findings.is_empty(), "{findings:?}\n{delta}\n{text}");
            self.keep("-delta", &delta);
            self.seen.deltas += 1;
        }
    }
}

fn watch(origin: &Origin, path: &str, until: Instant) -> Seen {
    let mut viewer = Viewer::new(origin, path);
    while Instant::now() < until {
        viewer.step();
    }
    viewer.seen
}

/// The joined parts of a segment are the segment.
fn compare(origin: &Origin, seen: &Seen) -> usize {
    let mut same = 0;
    for (uri, body) in &seen.segments {
        let answer = origin.get(&format!("/c/{uri}"));
        if answer.status == 200 && answer.body.len() == body.len() {
            assert!(answer.body == *body, "{uri}");
            same += 1;
        } else if answer.status == 200 {
            assert!(answer.body.starts_with(body), "{uri}");
        }
    }
    same
}

#[test]
fn a_plain_push_becomes_low_latency_hls() {
    let origin = origin("parts", "3");
    let mut encoder = encoder(&origin, "12");
    let until = Instant::now() + Duration::from_secs(11);
    let paths = ["/c/media_0.m3u8", "/c/media_1.m3u8", "/c/media_2.m3u8"];
    let seen: Vec<Seen> = thread::scope(|scope| {
        let origin = &origin;
        let watch = |path| scope.spawn(move || watch(origin, path, until));
        paths.map(watch).into_iter().map(|viewer| viewer.join().unwrap()).collect()
    });
    assert!(encoder.wait().unwrap().success());
    for (path, seen) in paths.iter().zip(&seen) {
        assert!(seen.versions >= 15, "{path}: {} versions", seen.versions);
        assert!(seen.hints >= 10 && seen.reports == 2, "{path}: {} hints", seen.hints);
        assert!(compare(&origin, seen) >= 5, "{path}: {:?}", seen.segments.keys());
    }
    let plain = origin.get("/c/media_0.plain.m3u8");
    assert!(plain.status == 200 && !plain.text().contains("EXT-X-PART"), "{}", plain.text());
    assert_eq!(origin.request("DELETE", "/c/media_0.m3u8", &[], b"").status, 200);
    for path in ["/c/media_0.m3u8", "/c/media_0.plain.m3u8"] {
        assert_eq!(origin.get(path).status, 404, "{path}");
    }
    origin.stop();
}

/// An encoder that breaks off and starts anew, from the same names: numbers go on. For 15 seconds,
/// or as long as `HEADWATER_LOWLATENCY_SECONDS` says (`scripts/lowlatency-check`).
#[test]
fn an_encoder_that_starts_anew_goes_on_in_the_same_playlist() {
    let origin = origin("parts-anew", "2");
    let seconds = std::env::var("HEADWATER_LOWLATENCY_SECONDS")
        .map_or(15, |text| text.parse::<u64>().unwrap());
    let (first_s, second_s) = (seconds * 2 / 5, seconds - seconds * 2 / 5);
    let until = Instant::now() + Duration::from_secs(seconds + 1);
    let paths = ["/c/media_0.m3u8", "/c/media_1.m3u8", "/c/media_2.m3u8"];
    let seen: Vec<Seen> = thread::scope(|scope| {
        let origin = &origin;
        let viewers = paths.map(|path| scope.spawn(move || watch(origin, path, until)));
        let mut first = encoder(origin, "3600");
        thread::sleep(Duration::from_secs(first_s));
        first.kill().unwrap();
        first.wait().unwrap();
        let mut second = encoder(origin, &second_s.to_string());
        assert!(second.wait().unwrap().success());
        viewers.map(|viewer| viewer.join().unwrap()).into()
    });
    for (path, seen) in paths.iter().zip(&seen) {
        assert!(seen.versions as u64 >= seconds * 4 / 3, "{path}: {} versions", seen.versions);
        assert_eq!(seen.most_discontinuities, 1, "{path}");
        println!("{path}: {} versions, {} deltas, no finding", seen.versions, seen.deltas);
    }
    origin.stop();
}

/// What is no media playlist, or is one of low latency already, is served as it is.
#[test]
fn other_playlists_are_served_as_they_are() {
    let origin = origin("parts-others", "2");
    let own = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-PART-INF:PART-TARGET=0.5\n#EXTINF:2,\na1.m4s\n#EXT-X-PART:DURATION=0.5,URI=\"p\"\n";
    let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n";
    for (path, text) in [("/c/own.m3u8", own), ("/c/master.m3u8", master), ("/c/x.m3u8", "?")] {
        let stored = origin.put(path, text.as_bytes());
        let answer = origin.get(path);
        assert_eq!((answer.status, answer.text().as_ref()), (200, text), "{path}");
        assert_eq!(answer.header("ETag"), stored.header("ETag"));
        let deadline = Instant::now() + PATIENCE;
        assert_eq!(origin.request("DELETE", path, &[], b"").status, 200);
        assert!(origin.get(path).status == 404 && Instant::now() < deadline);
    }
    origin.stop();
}

/// Players were left with holes: over connections of their own a segment's last fragment came
/// after the listing of the segment, which was taken for its end, so that its last part was never
/// listed. The listing waits for the end now, and a segment's parts last as long as it does.
#[test]
fn a_segment_that_is_listed_early_gets_all_its_parts() {
    let origin = origin("parts-early", "2");
    let folder = support::made_segments("parts-early-made", 6);
    let put = |name: &str| {
        origin.put(&format!("/c/{name}"), &std::fs::read(folder.path(name)).unwrap());
    };
    put("init-stream0.m4s");
    for number in 1..=3 {
        put(&segment_name(number));
        origin.put("/c/v.m3u8", plain(number).as_bytes());
    }
    for number in 4..=6 {
        let body = std::fs::read(folder.path(&segment_name(number))).unwrap();
        let last = last_fragment(&body);
        let mut upload = origin.client();
        upload.begin_chunked(&format!("/c/{}", segment_name(number)), &[]).unwrap();
        upload.chunk(&body[..last]).unwrap();
        thread::sleep(Duration::from_millis(50));
        origin.put("/c/v.m3u8", plain(number).as_bytes());
        upload.chunk(&body[last..]).unwrap();
        upload.chunk(b"").unwrap();
        assert_eq!(upload.answer(false).unwrap().status, 200);
        let target = format!("/c/v.m3u8?_HLS_msn={number}");
        let made = origin.get(&target).text().into_owned();
        let name = format!("\"{}\"", segment_name(number));
        let parts: f64 = made
            .lines()
            .filter(|line| line.starts_with("#EXT-X-PART:") && line.contains(&name))
            .map(|line| line["#EXT-X-PART:DURATION=".len()..].split(',').next().unwrap())
            .map(|duration| duration.parse::<f64>().unwrap())
            .sum();
        assert!((parts - 1.0).abs() < 0.001, "{parts} of segment {number}\n{made}");
    }
    origin.stop();
}

fn segment_name(number: usize) -> String {
    format!("chunk-stream0-{number:05}.m4s")
}

/// An encoder's playlist of the first `count` segments.
fn plain(count: usize) -> String {
    let head = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:1\n\
        #EXT-X-MAP:URI=\"init-stream0.m4s\"\n";
    let entries = (1..=count).map(|number| format!("#EXTINF:1.0,\n{}\n", segment_name(number)));
    entries.fold(head.to_owned(), |text, entry| text + &entry)
}

/// Where the last `moof` of a segment begins.
fn last_fragment(body: &[u8]) -> usize {
    let (mut at, mut last) = (0, 0);
    while at + 8 <= body.len() {
        let size = u32::from_be_bytes(body[at..at + 4].try_into().unwrap()) as usize;
        if &body[at + 4..at + 8] == b"moof" {
            last = at;
        }
        at += size;
    }
    last
}
