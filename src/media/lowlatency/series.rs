//! Names that count: which run of digits of a name is its number, and what the next name is.
//!
//! **Invariants**: an extension or query is never taken for a number (`.m4s`, `?t=1`); a name whose
//! number cannot be told apart continues nothing.

use crate::media::hls::number;

/// Where the number stands: which run of digits, counted from the end of the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Series {
    run: usize,
    /// Whether two names in a row differed by one, so that the next can be told.
    is_counting: bool,
}

impl Series {
    /// The last number of a name goes up by one: what is assumed before two names are known.
    pub const ASSUMED: Self = Self { run: 0, is_counting: true };

    /// The series of two names in a row; `None` when they differ in more than one number.
    pub fn of(before: &[u8], last: &[u8]) -> Option<Self> {
        (0..RUNS_MAX).find_map(|run| {
            let (earlier, later) = (Cut::at(before, run)?, Cut::at(last, run)?);
            let step = later.number()?.checked_sub(earlier.number()?)?;
            let is_same = earlier.around() == later.around();
            (is_same && step > 0).then_some(Self { run, is_counting: step == 1 })
        })
    }

    /// How far `name` lies behind `last`, in numbers; `None` when it does not continue it.
    pub fn step(self, last: &[u8], name: &[u8]) -> Option<u64> {
        let (earlier, later) = (Cut::at(last, self.run)?, Cut::at(name, self.run)?);
        if earlier.around() != later.around() {
            return None;
        }
        later.number()?.checked_sub(earlier.number()?).filter(|step| *step > 0)
    }

    /// Whether `name` differs from `last` in its number only.
    pub fn is_same(self, last: &[u8], name: &[u8]) -> bool {
        let cuts = Cut::at(last, self.run).zip(Cut::at(name, self.run));
        cuts.is_some_and(|(last, name)| last.around() == name.around())
    }

    /// Whether numbers go up by one.
    pub fn is_counting(self) -> bool {
        self.is_counting
    }

    /// Hands out the name behind `last` in pieces, and says whether there is one.
    pub fn write_next(self, last: &[u8], out: &mut dyn FnMut(&[u8])) -> bool {
        let cut = Cut::at(last, self.run).filter(|_| self.is_counting);
        let Some((cut, number)) = cut.and_then(|cut| Some((cut, cut.number()?.checked_add(1)?)))
        else {
            return false;
        };
        let digits = number::Digits::whole(number);
        let digits = digits.as_bytes();
        out(cut.front);
        for _ in digits.len()..cut.digits.len() {
            out(b"0");
        }
        out(digits);
        out(cut.back);
        true
    }
}

/// The last number in the last part of a path, and what stands before and behind it; `None` where
/// there is none.
pub fn split(name: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    let cut = Cut::at(name, 0).filter(|cut| !cut.back.contains(&b'/'))?;
    Some((cut.front, cut.number()?, cut.back))
}

/// A name, cut at one of its runs of digits.
#[derive(Clone, Copy)]
struct Cut<'a> {
    front: &'a [u8],
    digits: &'a [u8],
    back: &'a [u8],
}

impl<'a> Cut<'a> {
    fn at(name: &'a [u8], run: usize) -> Option<Self> {
        let query = name.iter().position(|&byte| byte == b'?').unwrap_or(name.len());
        let folder = name[..query].iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
        let dot = name[folder..query].iter().rposition(|&byte| byte == b'.');
        let mut end = dot.map_or(query, |at| folder + at);
        for turn in 0..=run {
            end = name[..end].iter().rposition(u8::is_ascii_digit)? + 1;
            let start = name[..end].iter().rposition(|byte| !byte.is_ascii_digit());
            let start = start.map_or(0, |at| at + 1);
            if turn == run {
                let (front, digits, back) = (&name[..start], &name[start..end], &name[end..]);
                return Some(Self { front, digits, back });
            }
            end = start;
        }
        None
    }

    fn around(&self) -> (&'a [u8], &'a [u8]) {
        (self.front, self.back)
    }

    fn number(&self) -> Option<u64> {
        number::integer(self.digits)
    }
}

const RUNS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn next(series: Series, last: &str) -> Option<String> {
        let mut name = Vec::new();
        let is_there = series.write_next(last.as_bytes(), &mut |piece| name.extend(piece));
        is_there.then(|| String::from_utf8(name).unwrap())
    }

    fn of(before: &str, last: &str) -> Option<Series> {
        Series::of(before.as_bytes(), last.as_bytes())
    }

    #[test]
    fn the_run_that_counts_is_found_by_two_names() {
        for (before, last, expected) in [
            ("chunk-stream0-00009.m4s", "chunk-stream0-00010.m4s", "chunk-stream0-00011.m4s"),
            ("v3/seg99.m4s?t=1", "v3/seg100.m4s?t=1", "v3/seg101.m4s?t=1"),
            ("009/video1.m4s", "010/video1.m4s", "011/video1.m4s"),
            ("7", "8", "9"),
            ("s9999", "s10000", "s10001"),
        ] {
            let series = of(before, last).unwrap();
            assert_eq!(next(series, last).as_deref(), Some(expected));
            assert_eq!(series.step(last.as_bytes(), expected.as_bytes()), Some(1));
            assert_eq!(series.step(last.as_bytes(), last.as_bytes()), None);
            assert_eq!(series.step(last.as_bytes(), before.as_bytes()), None);
        }
    }

    #[test]
    fn other_streams_and_times_are_not_the_next_name() {
        let series = of("chunk-stream0-00001.m4s", "chunk-stream0-00002.m4s").unwrap();
        let step = |name: &str| series.step(b"chunk-stream0-00002.m4s", name.as_bytes());
        assert_eq!(step("chunk-stream1-00003.m4s"), None);
        assert_eq!(step("chunk-stream0-00003.mp4"), None);
        assert_eq!(step("chunk-stream0-00005.m4s"), Some(3));
        assert_eq!(step("init-stream0.m4s"), None);
        assert_eq!(step(""), None);
        let timed = of("v-96000.m4s", "v-192000.m4s").unwrap();
        assert_eq!(next(timed, "v-192000.m4s"), None);
        assert_eq!(timed.step(b"v-192000.m4s", b"v-288000.m4s"), Some(96_000));
        for (before, last) in [("a1b1", "a2b2"), ("a", "b"), ("a2", "a1"), ("a1", "b2"), ("", "")] {
            assert_eq!(of(before, last), None, "{before} {last}");
        }
        assert_eq!(next(series, "a18446744073709551615"), None);
        assert_eq!(next(series, "a99999999999999999999999999"), None);
    }
}
