//! The reader itself: takes bytes as they arrive and reports complete fragments.
//!
//! **Invariants**: however the bytes are cut, the same fragments come out; what is kept of them is
//! at most one header or one field.

use super::leaf::{FIELD_BYTES_MAX, Leaf, Moof, Traf, Values};
use super::track::Tracks;
use super::walk::{Header, Kind, Nest, Open};
use super::{Fault, Fragment};

/// Reads one file: an initialization section, a segment, or both in one.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    at: u64,
    /// The box that is gone through without opening it.
    current: Option<Current>,
    nest: Nest,
    /// A header or field of which some bytes are missing.
    kept: [u8; FIELD_BYTES_MAX],
    kept_len: usize,
    values: Values,
    /// Where the next fragment begins.
    start: u64,
    /// Where the `moof` began that waits for its `mdat`.
    moof: Option<u64>,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    open: Open,
    leaf: Option<Leaf>,
}

impl Reader {
    /// A reader of a file whose tracks are described by `tracks`, as far as it does not itself.
    pub fn new(tracks: Tracks) -> Self {
        Self {
            at: 0,
            current: None,
            nest: Nest::new(),
            kept: [0; FIELD_BYTES_MAX],
            kept_len: 0,
            values: Values { tracks, ..Values::default() },
            start: 0,
            moof: None,
            fault: None,
        }
    }

    /// The tracks that are known so far.
    pub fn tracks(&self) -> &Tracks {
        &self.values.tracks
    }

    /// Bytes that were taken.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Takes the next bytes and reports every fragment that they complete.
    ///
    /// # Errors
    /// The first fault, and again for all bytes behind it.
    pub fn feed(&mut self, bytes: &[u8], found: &mut dyn FnMut(Fragment)) -> Result<(), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut rest = bytes;
        let mut outcome = Ok(());
        while !rest.is_empty() && outcome.is_ok() {
            outcome = self.step(&mut rest, found);
        }
        outcome.map_err(|reason| {
            let fault = Fault { at: self.at, reason };
            self.fault = Some(fault);
            fault
        })
    }

    /// Passes over up to `most` bytes that need not be looked at; says how many.
    pub fn pass(&mut self, most: u64, found: &mut dyn FnMut(Fragment)) -> u64 {
        let Some(current) = &self.current else { return 0 };
        let is_read = current.leaf.as_ref().is_some_and(|leaf| leaf.wants().is_some());
        if is_read || self.fault.is_some() {
            return 0;
        }
        let (kind, end) = (current.open.kind, current.open.end);
        let passed = most.min(end - self.at);
        self.at += passed;
        if self.at == end {
            self.current = None;
            self.close(kind, found);
            self.leave(found);
        }
        passed
    }

    /// Notes the end of the file; media data that goes on to the end is complete with it.
    ///
    /// # Errors
    /// The file ends in the middle of a box, or without the media data of its last `moof`.
    pub fn finish(&mut self, found: &mut dyn FnMut(Fragment)) -> Result<(), Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let is_endless = self.current.is_some_and(|current| current.open.end == u64::MAX);
        if is_endless && let Some(current) = self.current.take() {
            self.close(current.open.kind, found);
        }
        let is_whole = self.current.is_none() && self.nest.inner().is_none() && self.kept_len == 0;
        let reason = match (is_whole, self.moof) {
            (true, None) => return Ok(()),
            (true, Some(_)) => "the file ends before the media data of its last moof",
            (false, _) => "the file ends in the middle of a box",
        };
        Err(Fault { at: self.at, reason })
    }

    /// Takes as many bytes as belong to one header, one field, or one stretch to pass over.
    fn step(
        &mut self,
        rest: &mut &[u8],
        found: &mut dyn FnMut(Fragment),
    ) -> Result<(), &'static str> {
        let Some(mut current) = self.current.take() else {
            return self.header(rest, found);
        };
        let left = current.open.end - self.at;
        match current.leaf.as_ref().and_then(Leaf::wants) {
            Some(wanted) => {
                if (wanted - self.kept_len) as u64 > left {
                    return Err("a box that is too short for its fields");
                }
                if let Some(field) = self.collect(rest, wanted) {
                    let left = current.open.end - self.at;
                    if let Some(leaf) = &mut current.leaf {
                        leaf.take(&field[..wanted], left, &mut self.values)?;
                    }
                }
            }
            None => {
                let length = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                *rest = &rest[length..];
                self.at += length as u64;
            }
        }
        if self.at == current.open.end {
            if current.leaf.as_ref().is_some_and(|leaf| leaf.wants().is_some()) {
                return Err("a box that is too short for its fields");
            }
            self.close(current.open.kind, found);
            self.leave(found);
        } else {
            self.current = Some(current);
        }
        Ok(())
    }

    /// Takes bytes of a header; a whole one opens its box.
    fn header(
        &mut self,
        rest: &mut &[u8],
        found: &mut dyn FnMut(Fragment),
    ) -> Result<(), &'static str> {
        let room = self.nest.inner().map(|around| around.end - self.at);
        // A size of one says that 64 bits of size follow the name.
        let is_long = self.kept_len >= 8 && self.kept[..4] == [0, 0, 0, 1];
        let wanted = if is_long { 16 } else { 8 };
        if room.is_some_and(|room| room < (wanted - self.kept_len) as u64) {
            return Err("bytes behind the last box of another");
        }
        let Some(bytes) = self.collect(rest, wanted) else { return Ok(()) };
        let Some(header) = Header::read(&bytes[..wanted]) else {
            // The first half of a long header; it is kept for the second.
            if self.nest.inner().is_some_and(|around| around.end - self.at < 8) {
                return Err("bytes behind the last box of another");
            }
            (self.kept, self.kept_len) = (bytes, wanted);
            return Ok(());
        };
        let start = self.at - u64::from(header.bytes);
        let open = self.nest.header(&header, start)?;
        match open.kind {
            Kind::Moof => {
                self.values.moof =
                    if self.moof.is_none() { Moof::default() } else { self.values.moof };
                self.moof.get_or_insert(start);
            }
            Kind::Trak => self.values.trak = None,
            Kind::Traf => self.values.traf = Traf::default(),
            _ => {}
        }
        if open.kind.is_container() {
            self.nest.enter(open)?;
            self.leave(found);
        } else if open.end == self.at {
            if Leaf::new(open.kind).is_some() {
                return Err("a box that is too short for its fields");
            }
            self.close(open.kind, found);
            self.leave(found);
        } else {
            self.current = Some(Current { open, leaf: Leaf::new(open.kind) });
        }
        Ok(())
    }

    /// Leaves every box that ends here.
    fn leave(&mut self, found: &mut dyn FnMut(Fragment)) {
        while self.nest.inner().is_some_and(|open| open.end == self.at) {
            if let Some(open) = self.nest.leave() {
                self.close(open.kind, found);
            }
        }
    }

    /// A box has ended.
    fn close(&mut self, kind: Kind, found: &mut dyn FnMut(Fragment)) {
        match kind {
            Kind::Traf => {
                let traf = self.values.traf;
                self.values.moof.take(&traf);
            }
            Kind::Mdat => {
                if let Some(moof) = self.moof.take() {
                    let mut fragment =
                        Fragment { start: self.start, end: self.at, moof, ..Fragment::default() };
                    self.values.moof.describe(&mut fragment);
                    self.start = self.at;
                    found(fragment);
                }
            }
            _ => {}
        }
    }

    /// Adds bytes to those that are kept until there are `wanted`, and hands them out then.
    fn collect(&mut self, rest: &mut &[u8], wanted: usize) -> Option<[u8; FIELD_BYTES_MAX]> {
        let length = rest.len().min(wanted.saturating_sub(self.kept_len));
        self.kept[self.kept_len..self.kept_len + length].copy_from_slice(&rest[..length]);
        *rest = &rest[length..];
        self.kept_len += length;
        self.at += length as u64;
        (self.kept_len >= wanted).then(|| {
            self.kept_len = 0;
            self.kept
        })
    }
}
