//! Clients that write, read and delete few keys at once and note what they are told.
//!
//! **Invariants**: a call is noted before its first byte leaves, a return when the head of its
//! answer has arrived, so that the noted interval never is longer than the real one; every body is
//! compared to the last byte; the bytes of an upload that was cut are never seen.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use crate::checker::{Event, Guard, Operation, Value};
use crate::random::Random;
use crate::support::pattern;
use crate::support::wire::{Answer, Client};

/// What one client noted of one key.
#[derive(Clone, Debug)]
pub struct Note {
    pub key: usize,
    pub called: u64,
    pub returned: Option<u64>,
    pub told: Told,
}

/// What a client was told, with values still under their tags.
#[derive(Clone, Debug)]
pub enum Told {
    Known(Operation),
    /// A read without a body found this tag.
    SawTag(String),
    /// The service had no room for the request: it must have had no effect.
    Busy,
}

/// What a client brings home.
#[derive(Default)]
pub struct Diary {
    pub notes: Vec<Note>,
    /// Tags of values that were answered with one.
    pub tags: HashMap<String, Value>,
}

pub struct Writer<'a> {
    address: SocketAddr,
    client: Client,
    random: Random,
    begun: Instant,
    keys: &'a [String],
    /// Per key: the value seen last, and its tag.
    seen: Vec<Option<(Value, String)>>,
    number: u64,
    next: Value,
    diary: Diary,
}

/// The bytes of a value: its number, then bytes that only it has.
pub fn body_of(value: Value) -> Vec<u8> {
    const SIZES: [usize; 6] = [40, 700, 4_000, 6_000, 40_000, 300_000];
    // Large ones are rarer, and no two are of the same length for long.
    let class = (value % 16).trailing_ones() as usize;
    let len = SIZES[class.min(5)] + (value >> 4) as usize % 37;
    let mut body = format!("{value:016x}").into_bytes();
    body.extend(pattern(value, len - body.len()));
    body
}

impl<'a> Writer<'a> {
    pub fn new(
        address: SocketAddr,
        (seed, number): (u64, u64),
        begun: Instant,
        keys: &'a [String],
    ) -> Self {
        let client = Client::connect(address).unwrap();
        let seen = vec![None; keys.len()];
        let random = Random::new(seed << 16 | number);
        let diary = Diary::default();
        Self { address, client, random, begun, keys, seen, number, next: 1, diary }
    }

    /// Does `count` operations.
    pub fn run(mut self, count: usize) -> Diary {
        for _ in 0..count {
            // The first keys get most of the traffic.
            let bound = 1 + self.random.below(self.keys.len() as u64);
            let key = self.random.below(bound) as usize;
            let dice = self.random.below(1000);
            match dice / 10 {
                0..=37 => self.read(key, "GET"),
                38..=45 => self.read(key, "HEAD"),
                46..=53 => self.read_unless(key),
                54..=57 => self.read_if(key),
                58..=73 => self.put(key, Guard::Always),
                74..=80 => self.put_if_seen(key),
                81..=86 => self.put(key, Guard::IsAbsent),
                87..=93 => self.delete(key, Guard::Always),
                94..=96 => self.delete_if_seen(key),
                97 => self.put_half(key),
                98 => self.reconnect(),
                // Each stays possible to the end: more than a few and no order can be ruled out.
                _ if dice % 10 < 3 => self.put_and_leave(key),
                _ => self.read(key, "GET"),
            }
        }
        self.diary
    }

    /// One more read, from a connection of its own.
    pub fn look(mut self, key: usize) -> Diary {
        self.read(key, "GET");
        self.diary
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap()
    }

    fn reconnect(&mut self) {
        self.client = Client::connect(self.address).unwrap();
    }

    fn value(&mut self) -> Value {
        self.next += 1;
        (self.number + 1) << 32 | self.next
    }

    fn note(&mut self, key: usize, called: u64, returned: Option<u64>, told: Told) {
        self.diary.notes.push(Note { key, called, returned, told });
    }

    /// Sends a request and reads its answer; both instants.
    fn exchange(&mut self, bytes: &[u8], is_head: bool) -> (u64, u64, Answer) {
        let called = self.now();
        self.client.send(bytes).unwrap();
        let mut answer = self.client.head().unwrap();
        let returned = self.now();
        let has_body = !is_head && answer.status != 304;
        if has_body {
            let length = answer.header("Content-Length").expect("a body of known length");
            let length = length.parse().unwrap();
            answer.body = self.client.take(length).unwrap();
        }
        if answer.header("Connection") == Some("close") {
            self.reconnect();
        }
        (called, returned, answer)
    }

    fn head_line(&self, method: &str, key: usize, lines: &str) -> String {
        format!("{method} {} HTTP/1.1\r\nHost: origin\r\n{lines}", self.keys[key])
    }

    /// The value that an answer carries.
    fn saw(&mut self, key: usize, answer: &Answer) -> Value {
        let number = std::str::from_utf8(&answer.body[..16]).unwrap();
        let value = Value::from_str_radix(number, 16).unwrap();
        assert!(answer.body == body_of(value), "bytes of {value:x} at {} differ", self.keys[key]);
        let tag = answer.header("ETag").expect("an object has a tag").to_owned();
        self.learn(key, value, tag);
        value
    }

    fn learn(&mut self, key: usize, value: Value, tag: String) {
        let known = self.diary.tags.insert(tag.clone(), value);
        assert!(known.is_none_or(|known| known == value), "{tag} names two values");
        self.seen[key] = Some((value, tag));
    }

    fn read(&mut self, key: usize, method: &str) {
        let request = self.head_line(method, key, "\r\n");
        let (called, returned, answer) = self.exchange(request.as_bytes(), method == "HEAD");
        let told = match (answer.status, method) {
            (200, "HEAD") => Told::SawTag(answer.header("ETag").unwrap().to_owned()),
            (200, _) => Told::Known(Operation::Saw(self.saw(key, &answer))),
            (404, _) => Told::Known(Operation::Nothing),
            (503, _) => Told::Busy,
            _ => panic!("{method} {}: {answer:?}", self.keys[key]),
        };
        self.note(key, called, Some(returned), told);
    }

    fn read_unless(&mut self, key: usize) {
        let Some((value, tag)) = self.seen[key].clone() else { return self.read(key, "GET") };
        let request = self.head_line("GET", key, &format!("If-None-Match: {tag}\r\n\r\n"));
        let (called, returned, answer) = self.exchange(request.as_bytes(), false);
        let operation = match answer.status {
            200 => Operation::Saw(self.saw(key, &answer)),
            304 => Operation::Saw(value),
            404 => Operation::Nothing,
            _ => panic!("If-None-Match: {answer:?}"),
        };
        assert!(answer.status == 304 || operation != Operation::Saw(value), "200 for {tag}");
        self.note(key, called, Some(returned), Told::Known(operation));
    }

    fn read_if(&mut self, key: usize) {
        let Some((value, tag)) = self.seen[key].clone() else { return self.read(key, "GET") };
        let request = self.head_line("GET", key, &format!("If-Match: {tag}\r\n\r\n"));
        let (called, returned, answer) = self.exchange(request.as_bytes(), false);
        let operation = match answer.status {
            200 => Operation::Saw(self.saw(key, &answer)),
            404 => Operation::Nothing,
            412 => Operation::SawOther(value),
            _ => panic!("If-Match: {answer:?}"),
        };
        assert!(answer.status != 200 || operation == Operation::Saw(value), "not what was asked");
        self.note(key, called, Some(returned), Told::Known(operation));
    }

    fn put_if_seen(&mut self, key: usize) {
        match &self.seen[key] {
            Some((value, _)) => self.put(key, Guard::Is(*value)),
            None => self.put(key, Guard::Always),
        }
    }

    fn delete_if_seen(&mut self, key: usize) {
        match &self.seen[key] {
            Some((value, _)) => self.delete(key, Guard::Is(*value)),
            None => self.delete(key, Guard::Always),
        }
    }

    fn guard_line(&self, key: usize, guard: Guard) -> String {
        match (guard, &self.seen[key]) {
            (Guard::Is(_), Some((_, tag))) => format!("If-Match: {tag}\r\n"),
            (Guard::IsAbsent, _) => "If-None-Match: *\r\n".to_owned(),
            _ => String::new(),
        }
    }

    /// An upload, in chunks or by length. Segments go by length: one in chunks may be read while
    /// it arrives, and such reads are outside of what is claimed.
    fn upload(&mut self, key: usize, value: Value, guard: Guard) -> Vec<u8> {
        let body = body_of(value);
        let mut lines = self.guard_line(key, guard);
        if self.keys[key].ends_with(".m4s") || self.random.below(2) == 0 {
            lines.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
            let head = self.head_line("PUT", key, &lines);
            return [head.as_bytes(), &body].concat();
        }
        lines.push_str("Transfer-Encoding: chunked\r\n\r\n");
        let mut bytes = self.head_line("PUT", key, &lines).into_bytes();
        let mut rest = &body[..];
        while !rest.is_empty() {
            let len = rest.len().min(1 + self.random.below(20_000) as usize);
            bytes.extend_from_slice(format!("{len:x}\r\n").as_bytes());
            bytes.extend_from_slice(&rest[..len]);
            bytes.extend_from_slice(b"\r\n");
            rest = &rest[len..];
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }

    fn put(&mut self, key: usize, guard: Guard) {
        let value = self.value();
        let request = self.upload(key, value, guard);
        let (called, returned, answer) = self.exchange(&request, false);
        let told = match answer.status {
            200 => {
                let tag = answer.header("ETag").expect("a stored object has a tag").to_owned();
                self.learn(key, value, tag);
                Told::Known(Operation::Put(value, guard))
            }
            412 => Told::Known(Operation::PutRefused(guard)),
            503 => Told::Busy,
            _ => panic!("PUT {}: {answer:?} {}", self.keys[key], answer.text()),
        };
        self.note(key, called, Some(returned), told);
    }

    /// A whole upload whose answer nobody waits for.
    fn put_and_leave(&mut self, key: usize) {
        let value = self.value();
        let request = self.upload(key, value, Guard::Always);
        let called = self.now();
        self.client.send(&request).unwrap();
        self.reconnect();
        self.note(key, called, None, Told::Known(Operation::PutUnknown(value)));
    }

    /// Half an upload: its value must never be seen.
    fn put_half(&mut self, key: usize) {
        let value = self.value();
        let request = self.upload(key, value, Guard::Always);
        self.client.send(&request[..request.len() - 20]).unwrap();
        self.reconnect();
    }

    fn delete(&mut self, key: usize, guard: Guard) {
        let lines = self.guard_line(key, guard) + "\r\n";
        let request = self.head_line("DELETE", key, &lines);
        let (called, returned, answer) = self.exchange(request.as_bytes(), false);
        let told = match answer.status {
            200 => Told::Known(Operation::Delete(guard)),
            404 => Told::Known(Operation::Nothing),
            412 => Told::Known(Operation::DeleteRefused(guard)),
            503 => Told::Busy,
            _ => panic!("DELETE {}: {answer:?}", self.keys[key]),
        };
        self.note(key, called, Some(returned), told);
    }
}

/// The history of one key out of all diaries.
pub fn history(key: usize, diaries: &[Diary]) -> Vec<Event> {
    let mut tags = HashMap::new();
    for (tag, value) in diaries.iter().flat_map(|diary| &diary.tags) {
        let other = tags.insert(tag.as_str(), *value);
        assert!(other.is_none_or(|other| other == *value), "{tag} names two values");
    }
    let notes = diaries.iter().flat_map(|diary| &diary.notes).filter(|note| note.key == key);
    let event = |note: &Note| {
        let operation = match &note.told {
            Told::Known(operation) => *operation,
            // The tag of a write whose answer nobody read says nothing.
            Told::SawTag(tag) => Operation::Saw(*tags.get(tag.as_str())?),
            Told::Busy => return None,
        };
        Some(Event { called: note.called, returned: note.returned, operation })
    };
    notes.filter_map(event).collect()
}
