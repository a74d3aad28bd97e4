//! A scripted live origin on threads of its own: segments of one second, two levels, and mistakes
//! on request. Shares no code with the load generator.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small numbers of a script

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the origin does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Script {
    /// Seconds after the first request between which no answer is sent.
    pub silent: Option<(f64, f64)>,
    /// Parts of a quarter second, and blocking reloads.
    pub parts: bool,
    /// Blocking reloads are answered at once.
    pub early: bool,
    /// Every n-th segment is missing when it is asked for first.
    pub missing_every: u64,
    /// Every n-th playlist is an old one.
    pub stale_every: u64,
}

/// Keys of CMCD, their values, and how each came.
pub type Told = BTreeMap<String, (String, By)>;

/// How CMCD came.
#[derive(Clone, Debug, PartialEq)]
pub enum By {
    /// In the query.
    Query,
    /// In the header of this name, which is in lower case.
    Header(String),
}

const WINDOW: u64 = 10;
const PART: f64 = 0.25;
const BIT_RATES: [u64; 2] = [400_000, 2_000_000];

struct State {
    script: Script,
    /// The stream began this long ago: segment n is there n + 1 seconds after it.
    began: Instant,
    first: Mutex<Option<Instant>>,
    served: AtomicU64,
    playlists: AtomicU64,
    missed: Mutex<Vec<String>>,
    /// How often each session of CMCD has asked for the multivariant playlist.
    joins: Mutex<BTreeMap<String, u32>>,
    /// Paths asked for, and the CMCD that came along.
    told: Mutex<Vec<(String, Told)>>,
    /// Of each connection: when the first playlist was sent, in seconds of the stream, and the
    /// newest segment that was sent before the silence.
    seen: Mutex<Vec<(f64, u64)>>,
}

/// A running origin; it ends with the process.
pub struct Origin {
    pub port: u16,
    state: Arc<State>,
}

impl Origin {
    /// Starts with half a minute of stream behind it.
    pub fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let began = Instant::now().checked_sub(Duration::from_millis(30_500)).unwrap();
        let state = Arc::new(State {
            script,
            began,
            first: Mutex::new(None),
            served: AtomicU64::new(0),
            playlists: AtomicU64::new(0),
            missed: Mutex::new(Vec::new()),
            joins: Mutex::default(),
            told: Mutex::default(),
            seen: Mutex::new(Vec::new()),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let _ = serve(stream, &state);
                });
            }
        });
        Self { port, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Requests answered, without the one that `live` makes before a run.
    pub fn served(&self) -> u64 {
        self.state.served.load(Ordering::Relaxed) - 1
    }

    /// How often each session has joined.
    pub fn joins(&self) -> BTreeMap<String, u32> {
        self.state.joins.lock().unwrap().clone()
    }

    /// Paths asked for, without their queries, and the CMCD that came along.
    pub fn told(&self) -> Vec<(String, Told)> {
        self.state.told.lock().unwrap().clone()
    }

    /// Seconds stalled that arithmetic predicts for all viewers, with one connection each: a viewer
    /// begins three seconds behind the edge of its first playlist, plays until 0.1 s before the end
    /// of the last segment that it got, and goes on when the silence ends.
    pub fn predicted_stalls(&self) -> f64 {
        let (_, to) = self.state.script.silent.unwrap();
        let first = self.state.first.lock().unwrap().unwrap();
        let back = first.duration_since(self.state.began).as_secs_f64() + to;
        let seen = self.state.seen.lock().unwrap();
        let viewers = seen.iter().filter(|(_, sent)| *sent > 0);
        viewers.map(|(at, sent)| back - (at + (sent + 1) as f64 - 0.1 - (at.floor() - 3.0))).sum()
    }
}

fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut own = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
        let (plain, query) = path.split_once('?').unwrap_or((&path, ""));
        let mut told = Told::new();
        let coded = query.split('&').find_map(|pair| pair.strip_prefix("CMCD="));
        add_keys(&mut told, &decoded(coded.unwrap_or("")), &By::Query);
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line)?;
            if let Some((name, value)) = line.split_once(": ")
                && let name = name.to_ascii_lowercase()
                && name.starts_with("cmcd-")
            {
                add_keys(&mut told, value.trim_end(), &By::Header(name));
            }
        }
        state.told.lock().unwrap().push((plain.to_owned(), told));
        let first = *state.first.lock().unwrap().get_or_insert_with(Instant::now);
        if let Some((from, to)) = state.script.silent {
            let at = first.elapsed().as_secs_f64();
            if (from..to).contains(&at) {
                std::thread::sleep(Duration::from_secs_f64(to - at));
            }
        }
        let (status, body) = answer(state, &path, &mut own);
        state.served.fetch_add(1, Ordering::Relaxed);
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", body.len());
        writer.write_all(&[head.as_bytes(), &body].concat())?;
    }
}

fn add_keys(told: &mut Told, list: &str, by: &By) {
    for pair in list.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        told.insert(key.to_owned(), (value.to_owned(), by.clone()));
    }
}

/// Without its percent-coding; all that CMCD has is ASCII.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut plain = parts.next().unwrap_or("").to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        plain.push(char::from(u8::from_str_radix(code, 16).unwrap()));
        plain.push_str(rest);
    }
    plain
}

fn answer(state: &State, path: &str, own: &mut Option<usize>) -> (u16, Vec<u8>) {
    let (plain, query) = path.split_once('?').unwrap_or((path, ""));
    if plain == "/master.m3u8" {
        if let Some((_, rest)) = query.split_once("sid%3D%22") {
            *state.joins.lock().unwrap().entry(rest[..16].to_owned()).or_default() += 1;
        }
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=400000\n0/i.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=2000000\n1/i.m3u8\n";
        return (200, text.into());
    }
    let now = || state.began.elapsed().as_secs_f64();
    if plain.ends_with("/i.m3u8") {
        if let (Some(until), false) = (wanted(query), state.script.early) {
            std::thread::sleep(Duration::from_secs_f64((until - now()).max(0.0)));
        }
        let number = state.playlists.fetch_add(1, Ordering::Relaxed) + 1;
        let every = state.script.stale_every;
        let stale = if every > 0 && number.is_multiple_of(every) { 3.0 } else { 0.0 };
        let at = now();
        if own.is_none() {
            let mut seen = state.seen.lock().unwrap();
            seen.push((at, 0));
            *own = Some(seen.len() - 1);
        }
        return (200, playlist(at - stale, state.script.parts).into_bytes());
    }
    let mut parts = plain.trim_start_matches('/').split(['/', '.']);
    let level: Option<usize> = parts.next().and_then(|text| text.parse().ok());
    let number: Option<u64> = parts.next().and_then(|text| text.parse().ok());
    let (Some(level), Some(number)) = (level, number) else { return (404, Vec::new()) };
    let every = state.script.missing_every;
    let mut missed = state.missed.lock().unwrap();
    if every > 0 && number.is_multiple_of(every) && !missed.iter().any(|known| known == plain) {
        missed.push(plain.to_owned());
        return (404, Vec::new());
    }
    if let Some((from, _)) = state.script.silent
        && state.first.lock().unwrap().is_some_and(|first| first.elapsed().as_secs_f64() < from)
        && let Some(own) = own
    {
        state.seen.lock().unwrap()[*own].1 = number;
    }
    let seconds = if plain.ends_with(".part") { PART } else { 1.0 };
    (200, vec![7; (BIT_RATES[level] as f64 / 8.0 * seconds) as usize])
}

/// Instant of the stream at which what a blocking reload asks for is there.
fn wanted(query: &str) -> Option<f64> {
    let value = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    };
    let msn: f64 = value("_HLS_msn")?;
    Some(msn + (value("_HLS_part").unwrap_or(3.0) + 1.0) * PART + 0.002)
}

fn playlist(at: f64, with_parts: bool) -> String {
    let done = at.floor() as u64;
    let first = done.saturating_sub(WINDOW);
    let mut text = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
    let parts = |text: &mut String, number: u64, count: u64| {
        for part in 0..count {
            let _ = writeln!(
                text,
                "#EXT-X-PART:DURATION={PART},INDEPENDENT=YES,URI=\"{number}.{part}.part\""
            );
        }
    };
    if with_parts {
        text.push_str("#EXT-X-PART-INF:PART-TARGET=0.25\n");
        text.push_str("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.75\n");
    }
    for number in first..done {
        if with_parts && number + 3 > done {
            parts(&mut text, number, 4);
        }
        let _ = writeln!(text, "#EXTINF:1,\n{number}.m4s");
    }
    if with_parts {
        parts(&mut text, done, ((at - at.floor()) / PART) as u64);
    }
    text
}
