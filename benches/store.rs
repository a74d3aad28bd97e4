//! Instructions from a request's path to its answer's head, counted by valgrind: key, look-up (own
//! and leased), plan and head of a hit.
//!
//! Run with `scripts/bench`. Two stores talk to each other as two shards do; the second one holds
//! leases on what the first one owns, so that its look-ups are those of a foreign shard. Look-ups
//! count the hash of the key, the search and the end of the hold.

#![allow(missing_docs, reason = "the macros of the harness make public items")]

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;

use gungraun::{library_benchmark, library_benchmark_group, main};
use headwater::http::condition::{self, Outcome, Validators};
use headwater::http::date;
use headwater::http::range::{self, ByteRange};
use headwater::http::request::{self, Head, Version};
use headwater::http::response::{Status, Writer};
use headwater::limits;
use headwater::origin::dialect::Dialect;
use headwater::origin::heads::{self, Manner, ObjectHead};
use headwater::origin::{key, read};
use headwater::store::message::{Ask, Guard, Message, Publication, Quality, Reply, Ticket};
use headwater::store::object::NEVER;
use headwater::store::{Held, Store};
use headwater::sys::extent::SlotSource;

const NOW_MS: u64 = 1_000;
const KEY: &[u8] = b"live/channel1/1080p/segment_000123456.m4s";

/// Slots by number only: nobody writes into them here.
struct Slots(Cell<u32>);

impl SlotSource for Slots {
    fn slot_bytes(&self) -> u32 {
        4 << 20
    }

    fn draw(&self) -> Option<u32> {
        self.0.set(self.0.get() + 1);
        Some(self.0.get())
    }

    fn give_back(&self, _slot: u32) {}
}

/// Two shards' stores and what they say to each other.
struct World {
    stores: [Store; 2],
    replies: Vec<Reply>,
}

impl World {
    fn new() -> Self {
        let store = |id| Store::new(id, 2, 7, Rc::new(Slots(Cell::new(0))), NOW_MS);
        Self { stores: [store(0), store(1)], replies: Vec::new() }
    }

    /// Asks as shard `from` and hands messages over until nobody has more to say.
    fn ask(&mut self, from: u16, key: &[u8], ask: Ask) -> Reply {
        const TICKET: Ticket = 1;
        let owner = self.stores[0].owner_of(key);
        self.stores[usize::from(owner)].ask(from, TICKET, ask, NOW_MS);
        while let Some((sender, to, message)) = self.next() {
            match message {
                Message::Reply { ticket, reply } if !Store::owns_ticket(ticket) => {
                    self.replies.push(reply);
                }
                message => self.stores[usize::from(to)].on_message(sender, message, NOW_MS),
            }
        }
        self.replies.pop().expect("an ask is answered")
    }

    fn next(&mut self) -> Option<(u16, u16, Message)> {
        (0..2).find_map(|sender: u16| {
            let (to, message) = self.stores[usize::from(sender)].outbox.pop_front()?;
            Some((sender, to, message))
        })
    }

    fn put(&mut self, key: &[u8]) {
        let guard = Guard::default();
        let begin = Ask::Begin { key: key.into(), declared: Some(5_000), guard, stream: None };
        let Reply::Begun { upload, .. } = self.ask(0, key, begin) else { return };
        let publication = Publication {
            length: 5_000,
            etag: ETAG.into(),
            fields: std::sync::Arc::default(),
            modified_s: 0,
            expires_ms: NEVER,
            gives_way: false,
            quality: Quality::UNKNOWN,
            in_chunks: None,
        };
        self.ask(0, key, Ask::Commit { upload, publication });
    }

    /// Gives the shard that does not own `key` a lease on it.
    fn lease(&mut self, key: &[u8]) {
        let owner = self.stores[0].owner_of(key);
        let holder = 1 - owner;
        let reply = self.ask(holder, key, Ask::Fetch { key: key.into() });
        let Reply::Granted { lease, record, lasting } = reply else { return };
        self.stores[usize::from(holder)].granted(owner, lease, record, lasting, NOW_MS);
    }
}

const ETAG: &[u8] = b"\"b1f049824d1df6f50146a656be76a892\"";

fn object_head() -> ObjectHead<'static> {
    ObjectHead {
        etag: ETAG,
        content_type: b"video/mp4",
        cache_control: b"max-age=1209600",
        modified_s: 784_111_777,
        length: Some(5_000),
        lines: b"",
        cors: b"",
    }
}

/// The store of the owner, or of the holder of leases, among `count` objects.
fn store(count: u32, own: bool) -> &'static Store {
    let mut world = World::new();
    let others = (1..count).map(|number| format!("live/{}/{number}.m4s", number % 16));
    for key in others.map(String::into_bytes).chain([KEY.to_vec()]) {
        world.put(&key);
        world.lease(&key);
    }
    let owner = world.stores[0].owner_of(KEY);
    let [first, second] = world.stores;
    let store = if (owner == 0) == own { first } else { second };
    assert!(store.lookup(store.key_hash(KEY), KEY, NOW_MS).is_some());
    // By reference, so that no move and no drop of it is counted.
    Box::leak(Box::new(store))
}

fn look(store: &Store, key: &[u8]) -> Option<Rc<Held>> {
    let hash = store.key_hash(black_box(key));
    store.lookup(hash, key, black_box(NOW_MS))
}

#[library_benchmark]
#[bench::own_of_1(store(1, true))]
#[bench::own_of_10000(store(10_000, true))]
#[bench::leased_of_1(store(1, false))]
#[bench::leased_of_10000(store(10_000, false))]
fn lookup_hit(store: &Store) {
    drop(black_box(look(store, KEY)));
}

#[library_benchmark]
#[bench::of_10000(store(10_000, true))]
fn lookup_miss(store: &Store) -> bool {
    black_box(look(store, b"live/channel1/1080p/segment_000123457.m4s").is_some())
}

#[library_benchmark]
#[bench::plain(b"/live/channel1/1080p/segment_000123456.m4s")]
fn key_plain(path: &[u8]) -> usize {
    black_box(key::plain(black_box(path)).map_or(0, <[u8]>::len))
}

#[library_benchmark]
#[bench::plain(b"/live/channel1/1080p/segment_000123456.m4s")]
#[bench::escaped(b"/live/channel%201/1080p/segment_000123456.m4s")]
fn key_checked(path: &[u8]) -> usize {
    let mut scratch = [0; limits::KEY_BYTES_MAX];
    black_box(key::parse(black_box(path), &mut scratch).map_or(0, <[u8]>::len))
}

fn parsed(lines: &str) -> (&'static [u8], &'static Head) {
    let bytes = format!("GET /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes().leak();
    let head = request::parse(bytes).ok().flatten().expect("a well-formed request");
    (bytes, Box::leak(Box::new(head)))
}

fn held(lines: &str) -> (&'static [u8], &'static Head, &'static Held) {
    let held = look(store(1, true), KEY).expect("it was stored");
    let (bytes, head) = parsed(lines);
    (bytes, head, &**Box::leak(Box::new(held)))
}

#[library_benchmark]
#[bench::one_range(held("Range: bytes=1000-1999\r\n"))]
#[bench::three_ranges(held("Range: bytes=0-99,1000-1999,-500\r\n"))]
#[bench::if_none_match(held("If-None-Match: \"b1f049824d1df6f50146a656be76a892\"\r\n"))]
fn plan((bytes, head, held): (&[u8], &Head, &Held)) -> bool {
    let length = held.record.whole().map(|whole| whole.length());
    let plan = read::plan(black_box(head), bytes, &held.record, length);
    matches!(black_box(plan), read::Plan::Whole)
}

#[library_benchmark]
#[bench::if_none_match(parsed("If-None-Match: \"b1f049824d1df6f50146a656be76a892\"\r\n"))]
#[bench::if_modified_since(parsed("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"))]
fn conditions((bytes, head): (&[u8], &Head)) -> Outcome {
    let validators = Validators { etag: ETAG, modified_s: 784_111_777, modified_is_strong: false };
    black_box(condition::evaluate_read(black_box(head), bytes, validators))
}

/// What is rendered once a second, and what is rendered once for an object that is read often.
fn rendered() -> (&'static [u8], &'static [u8]) {
    let mut memory = [0; 256];
    let mut writer = Writer::new(&mut memory);
    heads::begin(&mut writer, Status::Ok, &date::format(784_111_777));
    let len = writer.finish().expect("a status line and a date fit");
    (memory[..len].to_vec().leak(), Box::leak(object_head().render()))
}

#[library_benchmark]
#[bench::hit(rendered())]
fn head_of_hit((preamble, object): (&[u8], &[u8])) -> usize {
    let mut memory = [0; 512];
    let dialect = Dialect::Native;
    let manner = Manner { version: Version::Http11, keep_alive: true, cors: true, dialect };
    let manner = black_box(manner);
    let mut writer = Writer::new(black_box(&mut memory));
    writer.raw(black_box(preamble));
    writer.raw(black_box(object));
    writer.raw(manner.connection_line());
    writer.end_head();
    black_box(writer.finish().unwrap_or(0))
}

#[library_benchmark]
#[bench::range(ByteRange { first: 1_000, last: 1_999 })]
fn head_of_part(part: ByteRange) -> usize {
    let mut memory = [0; 512];
    let part = black_box(part);
    let mut writer = Writer::new(black_box(&mut memory));
    heads::begin(&mut writer, Status::PartialContent, &date::format(black_box(784_111_777)));
    writer.header(b"Content-Type", black_box(b"video/mp4"));
    writer.header_u64(b"Content-Length", part.len());
    writer.raw(b"Content-Range: ");
    range::content_range(part, Some(5_000), &mut writer);
    writer.raw(b"\r\n");
    object_head().validators(&mut writer);
    writer.end_head();
    black_box(writer.finish().unwrap_or(0))
}

library_benchmark_group!(name = index; benchmarks = lookup_hit, lookup_miss);
library_benchmark_group!(name = keys; benchmarks = key_plain, key_checked);
library_benchmark_group!(name = answers; benchmarks = plan, conditions, head_of_hit, head_of_part);
main!(library_benchmark_groups = index, keys, answers);
