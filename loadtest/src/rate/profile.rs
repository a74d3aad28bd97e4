//! The rate over time: constant, ramps and steps, as straight pieces.
//!
//! `20000`, `10k..80k over 60s`, `10k for 10s, 20k for 10s`. The time at which a given number of
//! requests is due has a closed form, so that rounding never adds up.

/// One straight piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Requests per second at its start.
    pub from: f64,
    /// Requests per second at its end.
    pub to: f64,
    /// Its length in seconds.
    pub seconds: f64,
}

impl Piece {
    /// Requests within it.
    fn area(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.seconds
    }

    /// The time within it at which `count` requests are due (`count` at most its area).
    fn time_of(&self, count: f64) -> f64 {
        let slope = (self.to - self.from) / self.seconds;
        // The root of slope/2 t^2 + from t - count, in the form that divides by no small number.
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        2.0 * count / (self.from + root).max(f64::MIN_POSITIVE)
    }
}

/// The rate of a whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pieces: Vec<Piece>,
}

impl Profile {
    /// A rate that never changes.
    pub fn constant(rate: f64, seconds: f64) -> Self {
        Self { pieces: vec![Piece { from: rate, to: rate, seconds }] }
    }

    /// Understands the text of `--rate`. `duration` is the length of a piece without one of its
    /// own; the error is a sentence.
    pub fn parse(text: &str, duration: f64) -> Result<Self, String> {
        let pieces: Result<Vec<Piece>, String> =
            text.split(',').map(|piece| parse_piece(piece, duration)).collect();
        let pieces = pieces.map_err(|what| format!("rate `{text}`: {what}"))?;
        if pieces.iter().all(|piece| piece.area() == 0.0) {
            return Err(format!("rate `{text}`: no request would ever be due"));
        }
        Ok(Self { pieces })
    }

    /// This profile after `seconds` at its first rate.
    pub fn after_warm_up(mut self, seconds: f64) -> Self {
        if seconds > 0.0 {
            let first = self.pieces.first().map_or(0.0, |piece| piece.from);
            self.pieces.insert(0, Piece { from: first, to: first, seconds });
        }
        self
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.pieces.iter().map(|piece| piece.seconds).sum()
    }

    /// Requests in the whole of it, on average.
    pub fn requests(&self) -> f64 {
        self.pieces.iter().map(Piece::area).sum()
    }

    /// The largest rate.
    pub fn peak(&self) -> f64 {
        self.pieces.iter().map(|piece| piece.from.max(piece.to)).fold(0.0, f64::max)
    }

    /// Walks the pieces for ascending counts.
    pub fn walk(&self) -> Walk {
        Walk { pieces: self.pieces.clone(), at: 0, seconds_before: 0.0, area_before: 0.0 }
    }
}

/// Finds times for ascending counts.
#[derive(Clone, Debug)]
pub struct Walk {
    pieces: Vec<Piece>,
    at: usize,
    seconds_before: f64,
    area_before: f64,
}

impl Walk {
    /// The time in seconds at which `count` requests are due; `None` behind the end. Counts must
    /// not descend.
    pub fn time_of(&mut self, count: f64) -> Option<f64> {
        loop {
            let piece = self.pieces.get(self.at)?;
            let inside = count - self.area_before;
            if inside < piece.area() {
                return Some(self.seconds_before + piece.time_of(inside));
            }
            self.area_before += piece.area();
            self.seconds_before += piece.seconds;
            self.at += 1;
        }
    }
}

fn parse_piece(text: &str, duration: f64) -> Result<Piece, String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let (rate, seconds) = match words.as_slice() {
        [rate] => (*rate, duration),
        [rate, "for" | "over", time] => (*rate, seconds(time)?),
        _ => {
            return Err("write for example `20000`, `10k..80k over 60s` or \
                        `10k for 10s, 20k for 10s`"
                .to_owned());
        }
    };
    let (from, to) = match rate.split_once("..") {
        Some((from, to)) => (number(from)?, number(to)?),
        None => (number(rate)?, number(rate)?),
    };
    Ok(Piece { from, to, seconds })
}

/// A number, with `k` or `M`.
fn number(text: &str) -> Result<f64, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() && (0.0..=1e9).contains(&(number * factor)) => {
            Ok(number * factor)
        }
        _ => Err(format!("`{text}` is no number of requests per second from 0 to 1000M")),
    }
}

/// A time such as `60s`, `500ms`, `5m`, or a plain number of seconds.
pub fn seconds(text: &str) -> Result<f64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "us" => 1e-6,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    match digits.parse::<f64>() {
        // A year, in seconds.
        Ok(number) if (0.0..=31_536_000.0).contains(&(number * factor)) => Ok(number * factor),
        _ => Err(format!("`{text}` is no time; write for example `500ms`, `60s` or `5m`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_understood() {
        let piece = |from, to, seconds| Piece { from, to, seconds };
        for (text, pieces) in [
            ("20000", vec![piece(20e3, 20e3, 30.0)]),
            ("10k..80k over 60s", vec![piece(10e3, 80e3, 60.0)]),
            ("1k for 10s, 2k..0 over 1m", vec![piece(1e3, 1e3, 10.0), piece(2e3, 0.0, 60.0)]),
            ("1k..2k", vec![piece(1e3, 2e3, 30.0)]),
        ] {
            assert_eq!(Profile::parse(text, 30.0).unwrap(), Profile { pieces }, "{text}");
        }
        for text in ["", "x", "10k over", "1k over 5", "-1", "0", "1k..", "inf", "1k for 5 s"] {
            let understood = Profile::parse(text, 30.0);
            assert_eq!(understood.is_ok(), text == "1k over 5", "{text}: {understood:?}");
        }
    }

    #[test]
    fn counts_come_at_their_time() {
        let profile = Profile::parse("100 for 10s, 0..200 over 10s, 50 for 2s", 1.0).unwrap();
        assert_eq!((profile.seconds(), profile.requests(), profile.peak()), (22.0, 2100.0, 200.0));
        let mut walk = profile.walk();
        for (count, time) in [(0.0, 0.0), (500.0, 5.0), (1250.0, 15.0), (2050.0, 21.0)] {
            let found = walk.time_of(count).unwrap();
            assert!((found - time).abs() < 1e-9, "{count}: {found}");
        }
        assert_eq!(walk.time_of(2100.0), None);
        let warm = profile.after_warm_up(3.0);
        assert!((warm.walk().time_of(300.0).unwrap() - 3.0).abs() < 1e-9);
    }
}
