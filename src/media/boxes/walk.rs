//! The place in nested boxes: headers, the boxes that are open, and where they end.
//!
//! **Invariants**: a box ends within the one around it; only known boxes are opened, so the depth
//! is bounded; a size that would go beyond 2^63 is a fault.

use crate::limits;

/// A box of which something is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `moov`, and boxes in it.
    Moov,
    /// `trak`.
    Trak,
    /// `mdia`.
    Mdia,
    /// `mvex`.
    Mvex,
    /// `moof`.
    Moof,
    /// `traf`.
    Traf,
    /// `mdat`.
    Mdat,
    /// `tkhd`.
    Tkhd,
    /// `mdhd`.
    Mdhd,
    /// `trex`.
    Trex,
    /// `tfhd`.
    Tfhd,
    /// `tfdt`.
    Tfdt,
    /// `trun`.
    Trun,
    /// A box that is passed over.
    Other,
}

/// A box whose header was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// What it is.
    pub kind: Kind,
    /// The byte behind it; `u64::MAX` when it goes on to the end of the file.
    pub end: u64,
}

/// The boxes around the place of reading.
#[derive(Clone, Copy, Debug)]
pub struct Nest {
    open: [Open; limits::BOX_DEPTH_MAX],
    depth: usize,
}

impl Nest {
    /// Outside of all boxes.
    pub const fn new() -> Self {
        let none = Open { kind: Kind::Other, end: u64::MAX };
        Self { open: [none; limits::BOX_DEPTH_MAX], depth: 0 }
    }

    /// The innermost box.
    pub fn inner(&self) -> Option<Open> {
        self.depth.checked_sub(1).map(|at| self.open[at])
    }

    /// Leaves the innermost box.
    pub fn leave(&mut self) -> Option<Open> {
        let left = self.inner();
        self.depth = self.depth.saturating_sub(1);
        left
    }

    /// Enters a box.
    pub fn enter(&mut self, open: Open) -> Result<(), &'static str> {
        let place = self.open.get_mut(self.depth).ok_or("boxes are nested too deeply")?;
        *place = open;
        self.depth += 1;
        Ok(())
    }

    /// The box that a whole header at `start` opens.
    pub fn header(&self, header: &Header, start: u64) -> Result<Open, &'static str> {
        let around = self.inner();
        let kind = kind_of(&header.name, around.map(|open| open.kind));
        let own = u64::from(header.bytes);
        let end = match header.size {
            Size::ToTheEnd if around.is_some() => {
                return Err("a box without an end inside of another");
            }
            Size::ToTheEnd if matches!(kind, Kind::Mdat | Kind::Other) => u64::MAX,
            Size::ToTheEnd => return Err("only media data may go on to the end of the file"),
            Size::Of(size) if size < own => return Err("a box that is shorter than its header"),
            Size::Of(size) => start
                .checked_add(size)
                .filter(|end| *end <= i64::MAX as u64)
                .ok_or("a box that ends beyond 2^63")?,
        };
        if around.is_some_and(|around| end > around.end) {
            return Err("a box that ends behind the one around it");
        }
        let is_read = matches!(kind, Kind::Moof | Kind::Moov);
        if is_read && end - start > limits::BOX_BYTES_MAX {
            return Err("a moov or moof of more bytes than it may have");
        }
        Ok(Open { kind, end })
    }
}

/// The size that a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A number of bytes, header included.
    Of(u64),
    /// The rest of the file.
    ToTheEnd,
}

/// A box's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The four letters.
    pub name: [u8; 4],
    /// The size.
    pub size: Size,
    /// Bytes of the header itself.
    pub bytes: u8,
}

impl Header {
    /// Reads a header; `None` when its bytes are not all there.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_first_chunk::<4>()?;
        let (size, bytes) = match u32::from_be_bytes(*size) {
            0 => (Size::ToTheEnd, 8),
            1 => (Size::Of(u64::from_be_bytes(*rest.first_chunk::<8>()?)), 16),
            size => (Size::Of(size.into()), 8),
        };
        Some(Self { name: *name, size, bytes })
    }
}

/// What a box is, which depends on the one around it.
fn kind_of(name: &[u8; 4], around: Option<Kind>) -> Kind {
    match (around, name) {
        (None, b"moov") => Kind::Moov,
        (None, b"moof") => Kind::Moof,
        (None, b"mdat") => Kind::Mdat,
        (Some(Kind::Moov), b"trak") => Kind::Trak,
        (Some(Kind::Moov), b"mvex") => Kind::Mvex,
        (Some(Kind::Trak), b"tkhd") => Kind::Tkhd,
        (Some(Kind::Trak), b"mdia") => Kind::Mdia,
        (Some(Kind::Mdia), b"mdhd") => Kind::Mdhd,
        (Some(Kind::Mvex), b"trex") => Kind::Trex,
        (Some(Kind::Moof), b"traf") => Kind::Traf,
        (Some(Kind::Traf), b"tfhd") => Kind::Tfhd,
        (Some(Kind::Traf), b"tfdt") => Kind::Tfdt,
        (Some(Kind::Traf), b"trun") => Kind::Trun,
        _ => Kind::Other,
    }
}

impl Kind {
    /// Whether boxes are looked for in it.
    pub fn is_container(self) -> bool {
        matches!(self, Self::Moov | Self::Trak | Self::Mdia | Self::Mvex | Self::Moof | Self::Traf)
    }
}
