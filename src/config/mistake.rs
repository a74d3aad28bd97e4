//! What is wrong with a configuration, said so that it can be mended without a manual.

use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake: where, which key, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, unless the command line or several settings together are wrong.
    pub file: Option<PathBuf>,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// Dotted path of the key, or the flag.
    pub key: String,
    /// What is wrong and what to do, one sentence without a full stop.
    pub reason: String,
}

impl Mistake {
    /// A mistake in a file.
    pub(super) fn at(file: &Path, line: Option<usize>, key: &str, reason: String) -> Self {
        Self { file: Some(file.to_owned()), line, key: key.to_owned(), reason }
    }

    /// A mistake in a flag.
    pub(super) fn flag(flag: &str, reason: String) -> Self {
        Self { file: None, line: None, key: flag.to_owned(), reason }
    }

    /// A mistake that has no one place.
    pub(super) fn setting(key: &str, reason: String) -> Self {
        Self::flag(key, reason)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(out, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(out, "{line}:")?;
            }
            out.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(out, "{}: ", self.key)?;
        }
        out.write_str(&self.reason)
    }
}

/// All mistakes, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Notes one more.
    pub(super) fn add(&mut self, mistake: Mistake) {
        self.0.push(mistake);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.0.iter()
    }

    /// Whether a mistake about this key, a key below it, a flag of this name or the file as a
    /// whole is known, so that a consequence of it need not be reported too.
    pub(super) fn concern(&self, key: &str) -> bool {
        let about = |mistake: &Mistake| mistake.key.trim_start_matches('-').starts_with(key);
        self.0.iter().any(|mistake| mistake.key.is_empty() || about(mistake))
    }
}

impl fmt::Display for Mistakes {
    /// One line each.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|mistake| writeln!(out, "{mistake}"))
    }
}

impl std::error::Error for Mistakes {}

/// The known word closest to a misspelt one, if it is close enough to be meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = (word.len() / 3).clamp(1, 3);
    known
        .iter()
        .map(|candidate| (distance(word.as_bytes(), candidate.as_bytes()), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements that turn one word into the other.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, from) in left.iter().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (index, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance(b"kitten", b"sitting"), 3);
        assert_eq!(distance(b"", b"abc"), 3);
        assert_eq!(distance(b"same", b"same"), 0);
    }

    #[test]
    fn nearest_suggests_only_what_is_close() {
        let known = ["listen", "admin", "shards", "memory_bytes"];
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("shard", &known), Some("shards"));
        assert_eq!(nearest("memory_byte", &known), Some("memory_bytes"));
        assert_eq!(nearest("colour", &known), None);
    }

    #[test]
    fn a_mistake_reads_like_a_compilers() {
        let mistake = Mistake::at(Path::new("h.toml"), Some(3), "timeouts.idle_ms", "no".into());
        assert_eq!(mistake.to_string(), "h.toml:3: timeouts.idle_ms: no");
        assert_eq!(Mistake::flag("--memory", "no".into()).to_string(), "--memory: no");
    }
}
