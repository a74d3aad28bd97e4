//! What is asked for: a URL with its weight, its keys, and the bytes of each request.
//!
//! A path may hold ranges in braces: `/seg-{0..999}` or `/{00..15}/{0..9}.ts`. Each request takes
//! a value of each range by its place in the schedule, so the keys are the same in every run with
//! the same seed. Leading zeros keep the width.

use std::rc::Rc;
use std::sync::Arc;

use crate::http::{Request, Url};
use crate::limits::BODY_COPIED_BYTES_MAX;
use crate::rate::schedule::bits;

/// A path with its ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Range { from: u64, to: u64, width: usize },
}

impl Pattern {
    /// Understands `path`; the error is a sentence.
    pub fn parse(path: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = path;
        while let Some((before, behind)) = rest.split_once('{') {
            let wrong = || format!("path `{path}`: write a range as `{{0..999}}`");
            let (range, after) = behind.split_once('}').ok_or_else(wrong)?;
            let (from, to) = range.split_once("..").ok_or_else(wrong)?;
            let width = if from.starts_with('0') { from.len() } else { 1 };
            let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
            let (from, to) = (number(from)?, number(to)?);
            if to < from || to - from == u64::MAX {
                return Err(wrong());
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Range { from, to, width });
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// Whether all requests have the same path.
    pub fn is_fixed(&self) -> bool {
        self.0.len() == 1
    }

    /// Paths that it stands for; `None` when there are more than 2^64.
    pub fn count(&self) -> Option<u64> {
        self.0.iter().try_fold(1u64, |count, part| match part {
            Part::Text(_) => Some(count),
            Part::Range { from, to, .. } => count.checked_mul(to - from + 1),
        })
    }

    /// Path number `index` of all, the last range counting fastest.
    pub fn nth(&self, index: u64) -> String {
        let (mut left, mut texts) = (index, Vec::with_capacity(self.0.len()));
        for part in self.0.iter().rev() {
            texts.push(match part {
                Part::Text(text) => text.clone(),
                Part::Range { from, to, width } => {
                    let values = to - from + 1;
                    let value = from + left % values;
                    left /= values;
                    format!("{value:0width$}")
                }
            });
        }
        texts.reverse();
        texts.concat()
    }

    /// The path for random bits `key`.
    pub fn path(&self, key: u64) -> String {
        let mut path = String::new();
        for (place, part) in self.0.iter().enumerate() {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Range { from, to, width } => {
                    let value = from + bits(key, place as u64) % (to - from + 1);
                    path.push_str(&format!("{value:0width$}"));
                }
            }
        }
        path
    }
}

/// One URL of a plan.
#[derive(Clone, Debug)]
pub struct Source {
    /// Index of its target.
    pub target: usize,
    /// Index of its operation.
    pub operation: usize,
    /// Its share of the requests, relative to the others.
    pub weight: f64,
    /// Host header.
    pub authority: String,
    /// Its path.
    pub pattern: Pattern,
    /// Method.
    pub method: String,
    /// Further header lines, each ending in CR LF.
    pub headers: String,
    /// Body of each request; may be empty.
    pub body: Arc<[u8]>,
}

impl Source {
    /// The first URL that this stands for.
    pub fn example(&self) -> Url {
        Url { authority: self.authority.clone(), path: self.pattern.path(0) }
    }

    fn request<'a>(&'a self, path: &'a str, body: &'a [u8]) -> Request<'a> {
        Request { method: &self.method, path, host: &self.authority, headers: &self.headers, body }
    }
}

/// The bytes of one request: at once, or the head first and then the body.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The head, with the body when it is small.
    pub first: Rc<[u8]>,
    /// The body when it is large.
    pub second: Option<Rc<[u8]>>,
}

/// Renders the requests of one source within one thread.
pub struct Renderer {
    fixed: Option<Payload>,
    body: Option<Rc<[u8]>>,
}

impl Renderer {
    /// A renderer for `source`.
    pub fn new(source: &Source) -> Self {
        let large = source.body.len() > BODY_COPIED_BYTES_MAX;
        let mut renderer = Self { fixed: None, body: large.then(|| Rc::from(&source.body[..])) };
        if source.pattern.is_fixed() {
            renderer.fixed = Some(renderer.payload(source, 0));
        }
        renderer
    }

    /// The request for random bits `key`.
    pub fn payload(&self, source: &Source, key: u64) -> Payload {
        if let Some(fixed) = &self.fixed {
            return fixed.clone();
        }
        let path = source.pattern.path(key);
        let mut bytes = Vec::with_capacity(256);
        source.request(&path, &source.body).write_head(&mut bytes);
        if self.body.is_none() {
            bytes.extend_from_slice(&source.body);
        }
        Payload { first: bytes.into(), second: self.body.clone() }
    }
}

/// Chooses sources by weight.
#[derive(Clone, Debug)]
pub struct Choice(Vec<f64>);

impl Choice {
    /// A choice among `sources`.
    pub fn new(sources: &[Source]) -> Self {
        let mut sum = 0.0;
        let sums = sources.iter().map(|source| {
            sum += source.weight;
            sum
        });
        Self(sums.collect())
    }

    /// The source for a number from 0 to just under 1.
    pub fn of(&self, unit: f64) -> usize {
        if self.0.len() < 2 {
            return 0;
        }
        let sought = unit * self.0.last().copied().unwrap_or(0.0);
        self.0.partition_point(|sum| *sum <= sought).min(self.0.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(weight: f64, path: &str, body: &[u8]) -> Source {
        Source {
            target: 0,
            operation: 0,
            weight,
            authority: "h".to_owned(),
            pattern: Pattern::parse(path).unwrap(),
            method: "GET".to_owned(),
            headers: String::new(),
            body: body.into(),
        }
    }

    #[test]
    fn ranges_are_filled_in() {
        let pattern = Pattern::parse("/a{007..012}/{3..3}.ts").unwrap();
        let paths: std::collections::BTreeSet<String> =
            (0..200).map(|key| pattern.path(key)).collect();
        let expected: Vec<String> = (7..=12).map(|n| format!("/a{n:03}/3.ts")).collect();
        assert_eq!(paths.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(pattern.count(), Some(6));
        let all: Vec<String> = (0..6).map(|index| pattern.nth(index)).collect();
        assert_eq!(all, expected);
        let two = Pattern::parse("/{0..2}/{5..6}").unwrap();
        assert_eq!((two.count(), two.nth(3).as_str()), (Some(6), "/1/6"));
        assert!(Pattern::parse("/a").unwrap().is_fixed());
        for bad in ["/{", "/{1}", "/{2..1}", "/{a..b}"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn weights_are_kept() {
        let choice =
            Choice::new(&[source(1.0, "/", b""), source(0.0, "/", b""), source(3.0, "/", b"")]);
        let mut counts = [0; 3];
        (0..4000).for_each(|i| counts[choice.of(f64::from(i) / 4000.0)] += 1);
        assert_eq!(counts, [1000, 0, 3000]);
    }

    #[test]
    fn a_large_body_goes_by_itself() {
        let large = vec![7; BODY_COPIED_BYTES_MAX + 1];
        let source = source(1.0, "/{0..9}", &large);
        let payload = Renderer::new(&source).payload(&source, 1);
        assert!(payload.first.ends_with(b"Content-Length: 16385\r\n\r\n"));
        assert_eq!(payload.second.unwrap().len(), large.len());
    }
}
