//! A latency histogram with one fixed shape, and its form in text.
//!
//! Nanoseconds, 64 ns to 1 h, 3 significant digits: about 210 KiB each, whatever the run's length.
//! All have the same shape, so adding is exact. In JSON a histogram is the HdrHistogram V2
//! encoding, deflated, in base64: the same that `.hlog` files carry, so any HdrHistogram tool
//! reads it.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// Smallest step told apart, in nanoseconds.
const LOWEST_NS: u64 = 64;
/// Largest value; longer ones are counted as this one (1 h, in nanoseconds).
pub const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits of every recorded value.
const DIGITS: u8 = 3;

/// One histogram of nanoseconds; also of any other scaled integer (see `model::Distribution`).
#[derive(Clone, PartialEq)]
pub struct Latency(Histogram<u64>);

impl Latency {
    /// An empty histogram.
    pub fn new() -> Self {
        match Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS) {
            Ok(histogram) => Self(histogram),
            Err(_) => unreachable!("the bounds are constants"),
        }
    }

    /// Counts one duration in nanoseconds; never fails: values above 1 h count as 1 h.
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Counts one duration.
    pub fn record_duration(&mut self, duration: Duration) {
        self.record(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds where there is something to add; none and none stay none.
    pub fn add_some(mine: &mut Option<Self>, theirs: Option<&Self>) {
        match (mine, theirs) {
            (Some(mine), Some(theirs)) => mine.add(theirs),
            (mine @ None, theirs) => *mine = theirs.cloned(),
            (Some(_), None) => {}
        }
    }

    /// Adds all counts of `other`; exact.
    pub fn add(&mut self, other: &Self) {
        // Equal shapes cannot fail to add; a decoded one was re-recorded into this shape.
        let _ = self.0.add(&other.0);
    }

    /// Forgets all counts and keeps the memory.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Number of recorded values.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// True when nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Largest recorded value in nanoseconds, rounded up to the histogram's step (but 0 below the
    /// first step, so that "none" reads as none); 0 when empty.
    pub fn max(&self) -> u64 {
        zero_below_step(self.0.max())
    }

    /// Smallest recorded value in nanoseconds; 0 when empty.
    pub fn min(&self) -> u64 {
        self.0.min()
    }

    /// Arithmetic mean in nanoseconds; never a headline.
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// Value at quantile `q` (0 to 1) in nanoseconds, whatever the number of samples; 0 when empty.
    /// What is printed goes through `stats`, which asks whether enough samples stand behind it.
    pub fn value_at(&self, q: f64) -> u64 {
        zero_below_step(self.0.value_at_quantile(q))
    }

    /// Recorded values in ascending order, each with its count; rounded as [`Latency::max`] is.
    pub fn recorded(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0
            .iter_recorded()
            .map(|step| (zero_below_step(step.value_iterated_to()), step.count_at_value()))
    }

    /// Share of values at or below `nanoseconds`; 1 when empty.
    pub fn share_at_or_below(&self, nanoseconds: u64) -> f64 {
        self.0.quantile_below(nanoseconds)
    }

    /// The histogram itself, for the writers of HdrHistogram's own formats.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// The compressed encoding as base64.
    pub fn pack(&self) -> Packed {
        let mut bytes = Vec::new();
        // Writing into memory fails only for more counts than 64 bits hold.
        let _ = V2DeflateSerializer::new().serialize(&self.0, &mut bytes);
        Packed(STANDARD.encode(bytes))
    }
}

fn zero_below_step(value: u64) -> u64 {
    if value < LOWEST_NS { 0 } else { value }
}

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latency(n {}, max {} ns)", self.count(), self.max())
    }
}

impl Serialize for Latency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.pack().0)
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Packed::deserialize(deserializer)?.unpack().map_err(serde::de::Error::custom)
    }
}

/// A histogram in its encoded form: one to a few KiB, to be kept by the second.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed(String);

impl Packed {
    /// The histogram again; fails with a sentence when the text is no V2 histogram.
    pub fn unpack(&self) -> Result<Latency, String> {
        let bytes = STANDARD
            .decode(&self.0)
            .map_err(|error| format!("a histogram is not base64: {error}"))?;
        let decoded: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| format!("a histogram is not HdrHistogram V2: {error:?}"))?;
        let mut latency = Latency::new();
        latency
            .0
            .add(&decoded)
            .map_err(|error| format!("a histogram does not fit 64 ns to 1 h: {error:?}"))?;
        Ok(latency)
    }

    /// The base64 text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_keeps_every_count() {
        let mut latency = Latency::new();
        for value in [0, 1, 63, 64, 1_000, 200_000, 123_456_789, HIGHEST_NS, u64::MAX] {
            latency.record(value);
        }
        let again = latency.pack().unpack().unwrap();
        assert_eq!(again, latency);
        assert_eq!(again.count(), 9);
        assert!(again.max() >= HIGHEST_NS);
        let json = serde_json::to_string(&latency).unwrap();
        assert_eq!(serde_json::from_str::<Latency>(&json).unwrap(), latency);
    }

    #[test]
    fn adding_is_the_same_as_recording_both() {
        let (mut a, mut b, mut both) = (Latency::new(), Latency::new(), Latency::new());
        for i in 0..1000 {
            a.record(i * 977);
            b.record(i * 31_013);
            both.record(i * 977);
            both.record(i * 31_013);
        }
        a.add(&b.pack().unpack().unwrap());
        assert_eq!(a, both);
    }

    /// Texts written by the Python package hdrhistogram 0.10.8: the first in this shape with values
    /// from 0 to 1 h, the second from 1 ns to 1 s with two digits.
    #[test]
    fn what_other_tools_wrote_is_read() {
        let same = "HISTFAAAADB4nJNpmSzMwMDAxwABzFDaAch0M9ixgMH+A0SARZprssYJxs1aIquvMzEBALECCLw=";
        let same = Packed(same.to_owned()).unpack().unwrap();
        assert_eq!(same.count(), 118);
        let values = [0.5, 0.9, 0.99, 1.0].map(|q| same.value_at(q));
        assert_eq!(values, [200_063, 200_063, 1_234_943, 3_601_330_077_695]);
        assert_eq!(same.recorded().next(), Some((0, 2)));
        let other = "HISTFAAAAIF4nJNpmSzMwMD0iwECmKA0I4iwnnWKwf4DROAzO9NfRqZ6pmomRyZrILRlUmSSZZIG\
                     YhgpyMQLhdxYWLxMnEysGJAZixhuUWYmRqIgkcpIUAhVShxgIVId6SpZ0AEbhghNBTkggIuDA4NF\
                     vCA5eqBMAQEhAQEMAqsg1WRYAIWPGzY=";
        let other = Packed(other.to_owned()).unpack().unwrap();
        assert_eq!(other.count(), 2000);
        assert!((1_990_000..=2_010_000).contains(&other.max()), "{other:?}");
        let middle = other.value_at(0.5);
        assert!((990_000..=1_010_000).contains(&middle), "{middle}");
    }

    #[test]
    fn bad_text_is_a_sentence() {
        let bad = |text: &str| Packed(text.to_owned()).unpack().unwrap_err();
        assert!(bad("!").contains("not base64"));
        assert!(bad("AAAA").contains("not HdrHistogram V2"));
    }
}
