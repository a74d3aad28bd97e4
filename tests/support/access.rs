//! What tests of access share: an origin from the text of a configuration, and ways to send
//! secrets.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use super::wire::Answer;
use super::{Origin, PATIENCE, Scratch};

/// An origin with a configuration file of its own.
pub struct Guarded {
    pub origin: Origin,
    pub scratch: Scratch,
}

impl Guarded {
    /// Starts with this configuration on so many shards; the access log goes to `access.log`.
    #[track_caller]
    pub fn start(name: &str, shards: &str, config: &str) -> Self {
        Self::start_with(name, shards, config, &[])
    }

    /// As [`start`](Self::start), with files beside the configuration that hold secrets.
    #[track_caller]
    pub fn start_with(name: &str, shards: &str, config: &str, files: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(name);
        files.iter().for_each(|(file, text)| write_secret(scratch.path(file), text));
        let file = scratch.path("headwater.toml");
        std::fs::write(&file, with_log(config)).unwrap();
        let origin = Origin::start(&["--config", &file, "--shards", shards]);
        Self { origin, scratch }
    }

    /// Replaces the configuration file.
    pub fn write(&self, config: &str) {
        std::fs::write(self.scratch.path("headwater.toml"), with_log(config)).unwrap();
    }

    /// The access log so far, once it has a line that contains `words`.
    #[track_caller]
    pub fn access_log_with(&self, words: &str) -> String {
        let path = self.scratch.path("access.log");
        wait_for(words, || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            text.contains(words).then_some(text)
        })
    }

    /// Ends the origin; everything that it wrote, anywhere.
    #[track_caller]
    pub fn stop(self) -> String {
        let Self { mut origin, scratch } = self;
        origin.terminate();
        let status = origin.wait();
        assert_eq!(status.code(), Some(0), "{}", origin.log());
        let access = std::fs::read_to_string(scratch.path("access.log")).unwrap_or_default();
        format!("{}{access}", origin.log())
    }
}

fn with_log(config: &str) -> String {
    format!("{config}\n[access_log]\npath = \"access.log\"\nformat = \"combined\"\n")
}

/// Waits until `look` finds something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "there is no {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Writes a file that only its owner may read.
pub fn write_secret(path: impl AsRef<Path>, text: &str) {
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// An Authorization line.
pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// An Authorization line of HTTP Basic.
pub fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word =
            (0..3).fold(0u32, |word, at| word << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// `POST /reload` on the admin listener.
#[track_caller]
pub fn reload(admin: SocketAddr, lines: &[&str]) -> Answer {
    let mut client = super::wire::Client::connect(admin).unwrap();
    client.request("POST", "/reload", lines, b"").unwrap()
}
