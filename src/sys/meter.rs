//! Metric primitives for one writer and any number of readers.
//!
//! The thread that owns a meter adds to it with a relaxed load and a relaxed store, which compile
//! to plain moves; the control thread reads. Bounds of a histogram are `u32` in whatever unit the
//! family declares, always [`BOUNDS`] of them, so that finding the bucket takes five comparisons
//! and no jump.
//!
//! **Invariants**: no instruction with a lock prefix; a meter has one writing thread (a second
//! one loses counts, it corrupts nothing); nothing here allocates.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Upper bounds every histogram has; one more bucket takes what lies above the last.
pub const BOUNDS: usize = 16;

// The halving in `observe` is written for this number.
const _: () = assert!(BOUNDS == 16);

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Writer: adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Writer: adds one.
    #[inline]
    pub fn bump(&self) {
        self.add(1);
    }

    /// Writer: takes over a count that is kept elsewhere and never shrinks.
    #[inline]
    pub fn raise_to(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The count so far.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// A gauge at zero.
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Writer: replaces the value; above `i64::MAX` it stays there.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Relaxed);
    }

    /// Writer: adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add_unsigned(n), Relaxed);
    }

    /// Writer: takes `n` away.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub_unsigned(n), Relaxed);
    }

    /// The value now.
    #[inline]
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Counts of observations by size, with fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u32; BOUNDS],
    buckets: [AtomicU64; BOUNDS + 1],
    sum: AtomicU64,
}

impl Histogram {
    /// An empty histogram; a value equal to a bound counts below it. Ascending bounds are
    /// checked where the histogram is a constant or first made.
    pub const fn new(bounds: &'static [u32; BOUNDS]) -> Self {
        let mut index = 1;
        while index < BOUNDS {
            assert!(bounds[index - 1] < bounds[index], "histogram bounds ascend");
            index += 1;
        }
        Self { bounds, buckets: [const { AtomicU64::new(0) }; BOUNDS + 1], sum: AtomicU64::new(0) }
    }

    /// Writer: counts one observation in the unit of the bounds.
    #[inline]
    pub fn observe(&self, value: u64) {
        let clamped = u32::try_from(value).unwrap_or(u32::MAX);
        // Halving without jumps: after each step `index` bounds are known to lie below the value.
        let above = |index: usize| usize::from(clamped > self.bounds[index % BOUNDS]);
        let mut index = above(7) * 8;
        index += above(index + 3) * 4;
        index += above(index + 1) * 2;
        index += above(index);
        index += above(index);
        let bucket = &self.buckets[index];
        bucket.store(bucket.load(Relaxed).wrapping_add(1), Relaxed);
        self.sum.store(self.sum.load(Relaxed).wrapping_add(value), Relaxed);
    }

    /// A copy for rendering.
    pub fn snapshot(&self) -> Snapshot {
        let mut buckets = [0; BOUNDS + 1];
        for (copy, bucket) in buckets.iter_mut().zip(&self.buckets) {
            *copy = bucket.load(Relaxed);
        }
        Snapshot { bounds: self.bounds, buckets, sum: self.sum.load(Relaxed) }
    }
}

/// What a histogram held at one moment. The sum may be an observation ahead of the buckets.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Upper bounds, inclusive.
    pub bounds: &'static [u32; BOUNDS],
    /// Observations per bucket, not cumulated; the last is above every bound.
    pub buckets: [u64; BOUNDS + 1],
    /// Of all observed values.
    pub sum: u64,
}

impl Snapshot {
    /// Observations in all buckets.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// How one metric family is named and what it means; made by [`meters!`](crate::meters!).
#[derive(Debug)]
pub struct Family<M: 'static> {
    /// Full name with prefix, unit and `_total` where it belongs.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// What it counts, one sentence.
    pub help: &'static str,
    /// Divides raw values into the family's base unit (1e6 for microseconds in seconds).
    pub divisor: f64,
    /// The members: their own labels and how to read them.
    pub series: &'static [Series<M>],
}

/// One member of a family.
#[derive(Debug)]
pub struct Series<M: 'static> {
    /// Rendered labels without braces, or empty.
    pub labels: &'static str,
    /// Reads the current value out of a set of meters.
    pub read: fn(&M) -> Reading,
}

/// The kinds of the exposition format that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// A value that was read.
#[derive(Clone, Debug)]
pub enum Reading {
    /// Of a counter.
    Count(u64),
    /// Of a gauge.
    Level(i64),
    /// Of a histogram.
    Sizes(Snapshot),
}

/// Anything a family can consist of.
pub trait Meter {
    /// What this type renders as.
    const KIND: Kind;
    /// The current value.
    fn read(&self) -> Reading;
}

impl Meter for Counter {
    const KIND: Kind = Kind::Counter;
    fn read(&self) -> Reading {
        Reading::Count(self.value())
    }
}

impl Meter for Gauge {
    const KIND: Kind = Kind::Gauge;
    fn read(&self) -> Reading {
        Reading::Level(self.value())
    }
}

impl Meter for Histogram {
    const KIND: Kind = Kind::Histogram;
    fn read(&self) -> Reading {
        Reading::Sizes(self.snapshot())
    }
}

/// Declares a struct of meters together with the table of their families.
///
/// Every family has a name, a help sentence, a divisor and at least one member; every member is a
/// field of the struct. A member's labels stand in brackets.
#[macro_export]
macro_rules! meters {
    (
        $(#[$outer:meta])* $vis:vis struct $Set:ident;
        $( $name:literal, $help:literal, per $divisor:literal {
            $( $field:ident : $Type:ident $(($bounds:expr))? $([$labels:literal])? ),+ $(,)?
        } )+
    ) => {
        $(#[$outer])*
        #[derive(Debug)]
        $vis struct $Set {
            $( $( #[doc = $help] $(#[doc = concat!(" Labels: `", $labels, "`.")])?
            pub $field: $crate::sys::meter::$Type, )+ )+
        }

        impl $Set {
            /// All meters at zero.
            pub const fn new() -> Self {
                Self { $( $( $field: $crate::sys::meter::$Type::new($($bounds)?), )+ )+ }
            }

            /// Every family in the order of declaration.
            pub const FAMILIES: &'static [$crate::sys::meter::Family<Self>] = &[
                $( $crate::sys::meter::Family {
                    name: $name,
                    kind: $crate::meters!(@kind $($Type)+),
                    help: $help,
                    divisor: $divisor,
                    series: &[ $( $crate::sys::meter::Series {
                        labels: concat!($($labels)?),
                        read: |set: &Self| $crate::sys::meter::Meter::read(&set.$field),
                    } ),+ ],
                } ),+
            ];
        }

        impl Default for $Set {
            fn default() -> Self {
                Self::new()
            }
        }
    };
    (@kind $First:ident $($rest:ident)*) => {
        <$crate::sys::meter::$First as $crate::sys::meter::Meter>::KIND
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENS: [u32; BOUNDS] =
        [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 160];

    #[test]
    fn counter_adds() {
        let counter = Counter::new();
        counter.bump();
        counter.add(41);
        assert_eq!(counter.value(), 42);
    }

    #[test]
    fn gauge_goes_both_ways_and_below_zero() {
        let gauge = Gauge::new();
        gauge.set(5);
        gauge.add(2);
        gauge.sub(8);
        assert_eq!(gauge.value(), -1);
        gauge.set(u64::MAX);
        assert_eq!(gauge.value(), i64::MAX);
    }

    #[test]
    fn histogram_puts_a_bound_below_itself() {
        let histogram = Histogram::new(&TENS);
        for value in [0, 10, 11, 160, 161, u64::from(u32::MAX) + 7] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.buckets[0], 2);
        assert_eq!(snapshot.buckets[1], 1);
        assert_eq!(snapshot.buckets[15], 1);
        assert_eq!(snapshot.buckets[16], 2);
        assert_eq!(snapshot.count(), 6);
        assert_eq!(snapshot.sum, 10 + 11 + 160 + 161 + u64::from(u32::MAX) + 7);
    }

    #[test]
    fn histogram_agrees_with_a_search() {
        let histogram = Histogram::new(&TENS);
        let mut expected = [0; BOUNDS + 1];
        for value in 0..400_u32 {
            histogram.observe(u64::from(value));
            expected[TENS.partition_point(|bound| *bound < value)] += 1;
        }
        assert_eq!(histogram.snapshot().buckets, expected);
    }
}
