//! What a published text says of itself: its run, its publisher, its place, and when it was due.
//!
//! `RUN PUBLISHER SEQUENCE DUE xxxx`, padded to the size asked for: printable ASCII that JSON does
//! not escape, so that every format carries the same bytes.

/// Bytes of the longest stamp without padding.
pub const BYTES_MAX: usize = 16 + 1 + 10 + 1 + 20 + 1 + 20 + 1;

/// One message's stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Names the run: texts of others are passed over.
    pub run: u64,
    /// Which publisher sent it.
    pub publisher: u32,
    /// Its place among those of its publisher.
    pub sequence: u64,
    /// When the schedule had it published, in nanoseconds of the run's clock.
    pub due: u64,
}

impl Stamp {
    /// The text of a message of `size` bytes, at least [`BYTES_MAX`].
    pub fn text(&self, size: usize) -> String {
        let Self { run, publisher, sequence, due } = self;
        let mut text = format!("{run:016x} {publisher} {sequence} {due} ");
        while text.len() < size {
            text.push('x');
        }
        text
    }

    /// Reads a text; `None` when it is of another kind.
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.splitn(5, ' ');
        let run = words.next().filter(|word| word.len() == 16)?;
        Some(Self {
            run: u64::from_str_radix(run, 16).ok()?,
            publisher: words.next()?.parse().ok()?,
            sequence: words.next()?.parse().ok()?,
            due: words.next()?.parse().ok()?,
        })
    }

    /// Tells it from every other message of the run.
    pub fn identity(&self) -> u64 {
        u64::from(self.publisher) << 40 | self.sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_and_has_its_size() {
        let longest =
            Stamp { run: 7, publisher: u32::MAX, sequence: u64::MAX >> 24, due: u64::MAX };
        for stamp in [longest, Stamp { run: u64::MAX, publisher: 0, sequence: 0, due: 0 }] {
            for size in [BYTES_MAX, 200] {
                let text = stamp.text(size);
                assert_eq!((text.len(), Stamp::read(&text)), (size, Some(stamp)));
            }
        }
        for foreign in ["", "2:1", "hello there a b c", "00000000000000zz 1 2 3 x"] {
            assert_eq!(Stamp::read(foreign), None, "{foreign}");
        }
    }
}
