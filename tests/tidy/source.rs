//! One file of the tree, with a view of its code in which comments and literals are blanked.
//!
//! **Invariants**: the view has exactly as many lines as the text, so that places agree.

use std::path::PathBuf;

/// A text file, its path relative to the tree's root with `/` between parts.
pub struct Source {
    pub path: String,
    pub text: String,
    /// `text` with comments and the insides of literals turned into spaces.
    pub code: String,
    /// Bytes of `code` before the first test module; the whole of it where there is none.
    pub product_bytes: usize,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { blank(text) } else { String::new() };
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        let bottom = code.find("#[cfg(test)]\nmod ").unwrap_or(code.len());
        let product_bytes = if is_test { 0 } else { bottom };
        Self { path: path.to_owned(), text: text.to_owned(), code, product_bytes }
    }

    /// Code that ends up in the product.
    pub fn product(&self) -> &str {
        &self.code[..self.product_bytes]
    }

    /// The room of a source file: the first part of its path below `src/`.
    pub fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        Some(below.split('/').next()?.trim_end_matches(".rs"))
    }

    /// Names of the modules from the crate's root to this file.
    pub fn module_path(&self) -> Vec<&str> {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let mut parts: Vec<&str> = below.trim_end_matches(".rs").split('/').collect();
        if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
            parts.pop();
        }
        parts
    }

    pub fn line_of(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count()
    }
}

/// Every text file that the project answers for.
pub fn read_tree() -> Vec<Source> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".git" | ".cache" | "corpus") {
                    folders.push(path);
                }
                continue;
            }
            let relative = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if is_ours(&relative) {
                let text = std::fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("{relative}: {error}"));
                sources.push(Source::new(&relative, &text));
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

fn is_ours(path: &str) -> bool {
    let extension = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|two| two.1);
    match extension {
        Some(extension) => {
            matches!(extension, "rs" | "md" | "toml" | "sh" | "html" | "css" | "js")
        }
        None => path.starts_with("scripts/") || path.starts_with(".ci/"),
    }
}

/// Turns comments, strings and characters into spaces, keeping line ends and delimiters.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (from, end, next) = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => whole(at, line_end(bytes, at)),
            b'/' if bytes[at..].starts_with(b"/*") => whole(at, block_end(bytes, at)),
            b'"' => inner(at, string_end(bytes, at + 1)),
            b'r' if is_raw_string(bytes, at) => inner(at, raw_end(bytes, at)),
            b'\'' if is_char(bytes, at) => inner(at, char_end(bytes, at + 1)),
            _ => whole(at, at),
        };
        for byte in out[from..end].iter_mut().filter(|byte| **byte != b'\n') {
            *byte = b' ';
        }
        at = next.max(at + 1);
    }
    String::from_utf8(out.iter().map(|byte| if byte.is_ascii() { *byte } else { b' ' }).collect())
        .unwrap()
}

/// What to blank, and where to go on: a comment goes with its ends.
fn whole(at: usize, end: usize) -> (usize, usize, usize) {
    (at, end, end)
}

/// What to blank, and where to go on: a literal keeps its delimiters.
fn inner(at: usize, end: usize) -> (usize, usize, usize) {
    (at + 1, end, end + 1)
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |n| at + n)
}

fn block_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut place = at;
    while place < bytes.len() {
        if bytes[place..].starts_with(b"/*") {
            depth += 1;
            place += 2;
        } else if bytes[place..].starts_with(b"*/") {
            depth -= 1;
            place += 2;
            if depth == 0 {
                return place;
            }
        } else {
            place += 1;
        }
    }
    bytes.len()
}

/// The place of the closing quote.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

fn is_raw_string(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map_or(b' ', |place| bytes[place]);
    let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    let begins = before == b'b' || !(before.is_ascii_alphanumeric() || before == b'_');
    begins && bytes.get(at + 1 + hashes) == Some(&b'"')
}

fn raw_end(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = at + 2 + hashes;
    let found = bytes[body..].windows(close.len()).position(|window| window == close);
    found.map_or(bytes.len(), |n| body + n + hashes)
}

/// A character literal rather than a lifetime.
fn is_char(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at + 1) {
        Some(b'\\') => true,
        Some(byte) if byte.is_ascii() => bytes.get(at + 2) == Some(&b'\''),
        Some(_) => true,
        None => false,
    }
}

fn char_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'\'' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}
