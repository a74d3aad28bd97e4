//! No allocation per request after warm-up: an origin inside this process, under an allocator that
//! counts, answers thousands of reads of each kind while its shards allocate nothing.
//!
//! What else there is may allocate, and little: uploads, deletes, listings and several ranges in
//! one request have a bound each, so that none grows unseen.
#![allow(clippy::unwrap_used)]

#[path = "allocation/counting.rs"]
mod counting;
mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use headwater::config::{AccessFormat, AccessLogConfig, Config, Host, Overrides};
use headwater::exit::Exit;
use headwater::server;
use support::shards::Shards;
use support::wire::Client;
use support::{PATIENCE, Scratch, pattern};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const SHARDS: usize = 2;
/// Packets of each kind before those that count.
const WARM_UP_ROUNDS: usize = 100;
/// So many that each shard owns some of them.
const FOLDERS: usize = 16;

const _: () = assert!(WARM_UP_ROUNDS > 2 * FOLDERS);

#[test]
fn reads_allocate_nothing_and_the_rest_little() {
    // One after the other: threads are told apart by their names.
    prove(None, None, 10_000);
    let scratch = Scratch::new("allocation");
    prove(Some(scratch.path("access.log").into()), None, 2_000);
    // Every read presents a token, and paths have networks and CORS of their own.
    let file = scratch.path("headwater.toml");
    std::fs::write(&file, GUARDED).unwrap();
    prove(Some(scratch.path("guarded.log").into()), Some(file.into()), 1_000);
    prove_bounds();
}

/// What may allocate: the lines of a request, its body, and allocations for each of them at most,
/// over all shards. `{}` is the request's number; the owner of its folder is any shard.
const BOUNDED: &[(&str, &str, &str, u64)] = &[
    ("upload of a new version", "PUT /b/f{m}/small.ts", "0123456789", 14),
    ("upload of a new playlist", "PUT /b/f{m}/index.m3u8", "#EXTM3U\n#EXTINF:4,\n1.ts\n", 15),
    ("upload of a new object", "PUT /b/f{m}/{n}.ts", "0123456789", 15),
    ("delete", "DELETE /b/f{m}/{n}.ts", "", 5),
    ("delete of nothing", "DELETE /b/f{m}/{n}.ts", "", 4),
    ("listing of sixteen", "GET /?Path=/b", "", 26),
    ("four ranges", "GET /live/0/large.ts\nRange: bytes=0-9,200-209,400-409,600-609", "", 3),
];

fn prove_bounds() {
    const COUNT: usize = 1_000;
    let origin = Origin::start(None, None);
    origin.fill("live/0");
    let known = Shards { http: origin.http, admin: origin.admin, count: SHARDS };
    let mut connection = known.connection(0);
    let shards = counting::threads("shard-");
    let mut wrong = String::new();
    for &(name, lines, body, bound) in BOUNDED {
        let mut allocated = 0;
        for number in 0..WARM_UP_ROUNDS + COUNT {
            if number == WARM_UP_ROUNDS {
                allocated = counting::allocations(&shards);
            }
            let folder = (number % FOLDERS).to_string();
            let lines = lines.replace("{m}", &folder).replace("{n}", &number.to_string());
            let (first, rest) = lines.split_once('\n').unwrap_or((&lines, ""));
            let rest = if rest.is_empty() { String::new() } else { format!("{rest}\r\n") };
            let length = format!("Content-Length: {}\r\n", body.len());
            let head = format!("{first} HTTP/1.1\r\nHost: origin\r\n{length}{rest}\r\n{body}");
            connection.send(head.as_bytes()).unwrap();
            let answer = connection.answer(false).unwrap();
            assert!(matches!(answer.status, 200 | 206 | 404), "{name}: {answer:?}");
        }
        let each = (counting::allocations(&shards) - allocated).div_ceil(COUNT as u64);
        println!("{name}: {each} allocations, at most {bound}");
        if each > bound {
            wrong += &format!("{name}: {each} allocations, at most {bound}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    drop(connection);
    origin.stop();
}

const GUARDED: &str = r#"
[read]
tokens = ["viewer:viewer-secret-0123456789abcdef"]
[[path]]
pattern = "live/**"
read_allow = "127.0.0.0/8"
cors_origins = ["https://player.example"]
"#;

/// What guarded requests carry behind their Host line.
const PRESENTED: &str = "Host: origin\r\nAuthorization: Bearer viewer-secret-0123456789abcdef\r\n\
    Origin: https://player.example\r\n";

/// A kind of request: its bytes for a folder, the status it is answered with, and how many of them
/// go in one packet.
struct Kind {
    name: &'static str,
    request: fn(&str) -> String,
    status: &'static str,
    is_head: bool,
    pipelined: usize,
    /// Only one in so many requests is made.
    share: usize,
}

const KINDS: &[Kind] = &[
    Kind { name: "small", request: |folder| get(folder, "small.ts", ""), ..Kind::OK },
    Kind { name: "inlined", request: |folder| get(folder, "inlined.ts", ""), ..Kind::OK },
    Kind { name: "medium", request: |folder| get(folder, "medium.ts", ""), ..Kind::OK },
    Kind { name: "large", request: |folder| get(folder, "large.ts", ""), ..Kind::OK },
    // More than one send each.
    Kind { name: "huge", request: |folder| get(folder, "huge.ts", ""), share: 20, ..Kind::OK },
    Kind { name: "manifest", request: |folder| get(folder, "index.m3u8?a=b", ""), ..Kind::OK },
    Kind { name: "escaped", request: |folder| get(folder, "sm%61ll.ts", ""), ..Kind::OK },
    // Longer than a receive buffer.
    Kind {
        name: "long head",
        request: |folder| get(folder, "small.ts", &format!("Cookie: {}\r\n", "x".repeat(5_000))),
        ..Kind::OK
    },
    Kind {
        name: "head",
        request: |folder| get(folder, "large.ts", "").replacen("GET", "HEAD", 1),
        is_head: true,
        ..Kind::OK
    },
    Kind {
        name: "not modified",
        request: |folder| get(folder, "medium.ts", "If-None-Match: \"x\", W/\"y\", TAG\r\n"),
        status: "304",
        is_head: true,
        ..Kind::OK
    },
    Kind {
        name: "precondition",
        request: |folder| get(folder, "medium.ts", "If-Match: \"x\"\r\n"),
        status: "412",
        ..Kind::OK
    },
    Kind {
        name: "range",
        request: |folder| get(folder, "large.ts", "Range: bytes=7000-79000\r\n"),
        status: "206",
        ..Kind::OK
    },
    Kind {
        name: "small range",
        request: |folder| get(folder, "large.ts", "Range: bytes=-500\r\n"),
        status: "206",
        ..Kind::OK
    },
    Kind {
        name: "unsatisfiable",
        request: |folder| get(folder, "small.ts", "Range: bytes=5000-\r\n"),
        status: "416",
        ..Kind::OK
    },
    Kind {
        name: "pipelined",
        request: |folder| get(folder, "inlined.ts", ""),
        pipelined: 16,
        ..Kind::OK
    },
];

/// What only the shard that owns the folder answers without asking.
const OWN_KINDS: &[Kind] = &[Kind {
    name: "absent",
    request: |folder| get(folder, "absent.ts", ""),
    status: "404",
    ..Kind::OK
}];

impl Kind {
    const OK: Self = Self {
        name: "",
        request: |_| String::new(),
        status: "200",
        is_head: false,
        pipelined: 1,
        share: 1,
    };
}

fn get(folder: &str, name: &str, lines: &str) -> String {
    format!("GET /{folder}/{name} HTTP/1.1\r\nHost: origin\r\nUser-Agent: test\r\n{lines}\r\n")
}

/// Makes `count` requests of each kind, half of them to each shard.
fn prove(access_log: Option<PathBuf>, config: Option<PathBuf>, count: usize) {
    let guarded = config.is_some();
    let origin = Origin::start(access_log, config);
    let folders: Vec<String> = (0..FOLDERS).map(|folder| format!("live/{folder}")).collect();
    folders.iter().for_each(|folder| origin.fill(folder));
    let Origin { http, admin, .. } = origin;
    let known = Shards { http, admin, count: SHARDS };
    let owners: Vec<usize> = folders.iter().map(|folder| known.owner(folder)).collect();
    let mut connections: Vec<_> = (0..SHARDS).map(|shard| known.connection(shard)).collect();
    // The same bytes have the same tag in every folder.
    let presented = |text: String| match guarded {
        true => text.replacen("Host: origin\r\n", PRESENTED, 1),
        false => text,
    };
    connections[0].send(presented(get("live/0", "medium.ts", "")).as_bytes()).unwrap();
    let medium = connections[0].answer(false).unwrap();
    let tag = medium.header("ETag").unwrap().to_owned();
    let shards = counting::threads("shard-");
    assert_eq!(shards.len(), SHARDS);
    let requests_of = |kind: &Kind| -> Vec<String> {
        let request = |folder: &String| presented((kind.request)(folder).replace("TAG", &tag));
        folders.iter().map(request).collect()
    };
    // What is read often, in more than one second, gets a head that is kept.
    for _ in 0..2 {
        for kind in KINDS {
            let batches = batches(kind, &requests_of(kind));
            connections.iter_mut().for_each(|it| run(kind, it, &batches, WARM_UP_ROUNDS));
        }
        thread::sleep(Duration::from_millis(1100));
    }
    for kind in KINDS {
        for connection in &mut connections {
            hold(&shards, kind, connection, &requests_of(kind), count);
        }
    }
    for kind in OWN_KINDS {
        for (shard, connection) in connections.iter_mut().enumerate() {
            let own = folders.iter().zip(&owners).filter(|&(_, owner)| *owner == shard);
            let requests: Vec<_> =
                own.map(|(folder, _)| presented((kind.request)(folder))).collect();
            assert!(!requests.is_empty(), "no folder of shard {shard}");
            hold(&shards, kind, connection, &requests, count);
        }
    }
    let before = counting::allocations(&shards);
    origin.fill("another/folder");
    assert!(counting::allocations(&shards) > before, "uploads do allocate: nothing was counted");
    drop(connections);
    origin.stop();
}

/// Sends warm-up and then the requests that count.
fn hold(shards: &[usize], kind: &Kind, connection: &mut Client, requests: &[String], count: usize) {
    let batches = batches(kind, requests);
    let rounds = count.div_ceil(SHARDS * kind.pipelined * kind.share);
    // Every key at least once: the first read of another shard's object asks for its lease.
    run(kind, connection, &batches, WARM_UP_ROUNDS);
    let before = counting::allocations(shards);
    counting::watch(shards, true);
    run(kind, connection, &batches, rounds);
    counting::watch(shards, false);
    let allocated = counting::allocations(shards) - before;
    assert_eq!(allocated, 0, "{}: {allocated} allocations:\n{}", kind.name, counting::stacks());
}

/// The packets of a kind.
fn batches(kind: &Kind, requests: &[String]) -> Vec<String> {
    let mut batches: Vec<_> = requests.iter().map(|text| text.repeat(kind.pipelined)).collect();
    // Different keys in one packet, too.
    batches
        .extend((kind.pipelined > 1).then(|| requests.concat().repeat(kind.pipelined / FOLDERS)));
    batches
}

fn run(kind: &Kind, connection: &mut Client, batches: &[String], rounds: usize) {
    for number in 0..rounds {
        connection.send(batches[number % batches.len()].as_bytes()).unwrap();
        for _ in 0..kind.pipelined {
            let answer = connection.answer(kind.is_head).unwrap();
            assert_eq!(answer.status.to_string(), kind.status, "{}: {answer:?}", kind.name);
        }
    }
}

/// An origin inside this process.
struct Origin {
    http: SocketAddr,
    admin: SocketAddr,
    thread: thread::JoinHandle<Exit>,
}

impl Origin {
    fn start(access_log: Option<PathBuf>, file: Option<PathBuf>) -> Self {
        let (http, admin) = (free_address(), free_address());
        let overrides = Overrides {
            listen: vec![http],
            admin: Some(admin),
            shards: Some(SHARDS),
            memory_bytes: Some(128 << 20),
            tx: std::env::var("HEADWATER_TX").ok().map(|way| way.parse().unwrap()),
            ..Overrides::default()
        };
        let mut config = Config::load(file.as_deref(), &overrides, &Host::SMALL).unwrap();
        config.access_log = access_log.map(|path| AccessLogConfig {
            path: Some(path),
            format: AccessFormat::Json,
            sample: 1,
        });
        let thread = thread::spawn(move || server::serve(config));
        let origin = Self { http, admin, thread };
        let deadline = Instant::now() + PATIENCE;
        while origin.ask_admin("GET", "/readyz").is_none_or(|(status, _)| status != 200) {
            assert!(Instant::now() < deadline, "the origin is not ready");
            thread::sleep(Duration::from_millis(20));
        }
        origin
    }

    fn ask_admin(&self, method: &str, path: &str) -> Option<(u16, String)> {
        let answer = Client::connect(self.admin).ok()?.request(method, path, &[], b"").ok()?;
        Some((answer.status, answer.text().into_owned()))
    }

    fn fill(&self, folder: &str) {
        let mut client = Client::connect(self.http).unwrap();
        let sizes = [("small.ts", 100), ("inlined.ts", 3_000), ("medium.ts", 12_000)];
        let manifest = ("index.m3u8", 2_000);
        for (name, len) in
            sizes.into_iter().chain([manifest, ("large.ts", 100_000), ("huge.ts", 700_000)])
        {
            let target = format!("/{folder}/{name}");
            let answer = client.request("PUT", &target, &[], &pattern(len as u64, len)).unwrap();
            assert_eq!(answer.status, 200);
        }
    }

    fn stop(self) {
        assert_eq!(self.ask_admin("POST", "/drain").unwrap().0, 202);
        assert_eq!(self.thread.join().unwrap(), Exit::Clean);
    }
}

/// An address on which nobody listens.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
