//! Writers that replace, let expire, delete and evict what readers are reading.

use std::io::Error;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::content::Content;
use crate::random::Random;
use crate::readers::{Tally, count};
use crate::support::wire::Client;

/// What lets a writer in: one address of the origin is not loopback's.
pub const TOKEN: &str = "Authorization: Bearer the-writers-own-token";

/// Keys that share a fate.
pub struct Family {
    name: &'static str,
    /// Names it has; they are used in turn.
    names: u64,
    /// Among how many of the newest names readers choose.
    newest: u64,
    written: AtomicU64,
}

/// What is replaced, expires soon, and gives way for lack of memory (`evicted` has more names than
/// memory has room for).
pub fn families() -> [Family; 3] {
    let family =
        |name, names, newest| Family { name, names, newest, written: AtomicU64::default() };
    [family("replaced", 16, 16), family("expired", 16, 4), family("evicted", 1_000, 60)]
}

impl Family {
    /// A key to read, as a number and as a path.
    pub fn pick(&self, random: &mut Random) -> (u64, String) {
        let written = self.written.load(Ordering::Relaxed);
        self.key(written.saturating_sub(random.below(self.newest)))
    }

    fn key(&self, turn: u64) -> (u64, String) {
        let number = turn % self.names;
        // Some are readable while they arrive when they come in chunks.
        let extension = if number.is_multiple_of(4) { "m4s" } else { "bin" };
        let path = format!("/{}/{}/{number}.{extension}", self.name, number % 5);
        (number + 10_000 * self.name.len() as u64, path)
    }
}

/// What the writers have done.
#[derive(Default)]
pub struct Written {
    versions: AtomicU64,
    pub replaced: AtomicU64,
    pub refused: AtomicU64,
}

/// One writer. There may be one only: what it does to a key is done in order.
pub struct Writer<'a> {
    pub address: SocketAddr,
    pub seed: u64,
    pub random: Random,
    pub families: &'a [Family],
    pub tally: &'a Tally,
    pub written: &'a Written,
}

impl Writer<'_> {
    /// Writes until all is over.
    pub fn run(mut self) {
        while !self.tally.is_over() {
            if let Err(error) = self.writes() {
                self.tally.fault(format!("a writer: {error}"));
            }
        }
    }

    /// Uploads on one connection.
    fn writes(&mut self) -> std::io::Result<()> {
        let mut client = Client::connect(self.address)?;
        while !self.tally.is_over() {
            let family = &self.families[self.random.below(self.families.len() as u64) as usize];
            let (key, path) = family.key(family.written.load(Ordering::Relaxed) + 1);
            if self.random.below(30) == 0 {
                client.request("DELETE", &path, &[TOKEN], b"")?;
            }
            let version = self.written.versions.fetch_add(1, Ordering::Relaxed);
            let body = Content::new(self.seed, key, version).bytes();
            let kind = format!("Content-Type: video/version-{version}");
            let (status, goes_on) = match self.random.below(3) {
                0 => put_in_chunks(&mut client, &path, &kind, &body)?,
                _ => {
                    let answer = client.request("PUT", &path, &[TOKEN, &kind], &body)?;
                    (answer.status, answer.header("Connection") != Some("close"))
                }
            };
            match status {
                200 if family.name == "replaced" => count(&self.written.replaced, 1),
                200 => {}
                507 => count(&self.written.refused, 1),
                other => return Err(Error::other(format!("PUT {path}: {other}"))),
            }
            count(&family.written, 1);
            thread::sleep(Duration::from_micros(self.random.below(4_000)));
            if !goes_on {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Uploads in chunks; the status, and whether the connection goes on. A refusal may come early.
fn put_in_chunks(
    client: &mut Client,
    path: &str,
    kind: &str,
    body: &[u8],
) -> std::io::Result<(u16, bool)> {
    client.begin_chunked(path, &[TOKEN, kind])?;
    let mut whole = body.chunks(70_000).all(|piece| client.chunk(piece).is_ok());
    whole &= client.chunk(b"").is_ok();
    let answer = client.answer(false)?;
    Ok((answer.status, whole && answer.header("Connection") != Some("close")))
}

/// The version that a Content-Type names.
pub fn version_of(kind: Option<&str>) -> std::io::Result<u64> {
    let number = kind.and_then(|kind| kind.strip_prefix("video/version-")?.parse().ok());
    number.ok_or_else(|| Error::other(format!("Content-Type {kind:?} names no version")))
}
