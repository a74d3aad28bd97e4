//! Reads the vectors of `tests/vectors`; their form is explained there.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;

/// One vector.
pub struct Vector {
    pub name: String,
    pub bytes: Vec<u8>,
    pub verdict: String,
}

impl Vector {
    /// The value of `key=value` among the verdict's words.
    pub fn word(&self, key: &str) -> Option<&str> {
        self.verdict.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The status of a refusal.
    pub fn refusal(&self) -> Option<u16> {
        self.verdict.parse().ok()
    }
}

/// The vectors of one file.
pub fn read(theme: &str) -> Vec<Vector> {
    let path = format!("{}/tests/vectors/{theme}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).unwrap();
    text.split("\n\n").filter(|block| !block.trim().is_empty()).map(vector).collect()
}

fn vector(block: &str) -> Vector {
    let field = |mark: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(mark));
        let line = line.unwrap_or_else(|| panic!("no {mark} in {block}"));
        line.strip_prefix(' ').unwrap_or(line).to_owned()
    };
    Vector { name: field("="), bytes: unescape(&field("<")), verdict: field(">") }
}

/// Bytes of a text with `\r`, `\n`, `\t`, `\\`, `\xNN` and `\{text*N}`.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (kind, behind) = after.split_at(1);
        rest = behind;
        match kind {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            "{" => {
                let (inside, behind) = rest.split_once('}').unwrap();
                let (text, times) = inside.rsplit_once('*').unwrap();
                bytes.extend(unescape(text).repeat(times.parse().unwrap()));
                rest = behind;
            }
            other => panic!("unknown escape {other} in {text}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
