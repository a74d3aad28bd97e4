//! The boxes that have values: field by field, from bytes that are all there.
//!
//! A field is asked for by its length ([`Leaf::wants`]) and taken as soon as it is whole, so that
//! the table of a `trun` is read sample by sample and never kept.
//!
//! **Invariants**: a field is at most [`FIELD_BYTES_MAX`] long; a table of samples that claims more
//! than its box holds is a fault before it is read; samples without fields of their own are counted
//! by one multiplication.

use super::Fragment;
use super::track::{Track, Tracks};
use super::walk::Kind;

/// The longest field: all that a `tfhd` may say.
pub const FIELD_BYTES_MAX: usize = 28;

/// A box whose fields are being read.
#[derive(Clone, Copy, Debug)]
pub struct Leaf {
    kind: Kind,
    next: Next,
}

/// What comes next in the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Version and flags.
    Head,
    /// The fields behind them, of this length.
    Body { version: u8, flags: u32, bytes: u8 },
    /// Samples with fields of their own.
    Samples { left: u32, flags: u32, first_flags: Option<u32> },
    /// Nothing that is wanted.
    Rest,
}

/// What the fields are read into.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values {
    /// What initialization sections said.
    pub tracks: Tracks,
    /// The number of the `trak` that is open.
    pub trak: Option<u32>,
    /// The `traf` that is open.
    pub traf: Traf,
    /// The `moof` that is open or was last.
    pub moof: Moof,
}

/// A track fragment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traf {
    track: Track,
    decode_time: Option<u64>,
    duration: u64,
    samples: u64,
    has_sync: bool,
}

/// A movie fragment: its first track, and whether all tracks are independent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moof {
    first: Option<Traf>,
    all_sync: bool,
}

impl Moof {
    /// Notes that a `traf` of it ended.
    pub fn take(&mut self, traf: &Traf) {
        if traf.samples == 0 {
            return;
        }
        self.all_sync = traf.has_sync && (self.all_sync || self.first.is_none());
        match &mut self.first {
            None => self.first = Some(*traf),
            Some(first) if first.track.id == traf.track.id => {
                first.duration = first.duration.saturating_add(traf.duration);
                first.samples = first.samples.saturating_add(traf.samples);
            }
            Some(_) => {}
        }
    }

    /// Fills in what it says of a fragment.
    pub fn describe(&self, fragment: &mut Fragment) {
        let Some(first) = self.first else { return };
        fragment.decode_time = first.decode_time;
        fragment.duration = first.duration;
        fragment.timescale = first.track.timescale;
        fragment.samples = first.samples;
        fragment.independent = self.all_sync;
    }
}

impl Leaf {
    /// A box that was just opened, if it has values that are wanted.
    pub fn new(kind: Kind) -> Option<Self> {
        let has_values = !kind.is_container() && !matches!(kind, Kind::Mdat | Kind::Other);
        has_values.then_some(Self { kind, next: Next::Head })
    }

    /// Bytes of the next field; `None` when the rest of the box is not wanted.
    pub fn wants(&self) -> Option<usize> {
        match self.next {
            Next::Head => Some(4),
            Next::Body { bytes, .. } => Some(bytes.into()),
            Next::Samples { flags, .. } => Some(sample_bytes(flags)),
            Next::Rest => None,
        }
    }

    /// Takes a field that is whole; `left` bytes of the box lie behind it.
    pub fn take(
        &mut self,
        field: &[u8],
        left: u64,
        values: &mut Values,
    ) -> Result<(), &'static str> {
        let mut fields = Fields(field);
        match self.next {
            Next::Head => {
                let word = fields.word();
                let version = word.to_be_bytes()[0];
                let flags = word & 0x00ff_ffff;
                self.next = match body_bytes(self.kind, version, flags) {
                    0 => Next::Rest,
                    bytes => Next::Body { version, flags, bytes },
                };
            }
            Next::Body { version, flags, .. } => {
                self.next = Next::Rest;
                match self.kind {
                    Kind::Tkhd => {
                        fields.skip(if version == 1 { 16 } else { 8 });
                        let id = fields.word();
                        values.trak = (id != 0).then_some(id);
                    }
                    Kind::Mdhd => {
                        fields.skip(if version == 1 { 16 } else { 8 });
                        let timescale = fields.word();
                        let track = values.trak.and_then(|id| values.tracks.entry(id));
                        if let Some(track) = track {
                            track.timescale = timescale;
                        }
                    }
                    Kind::Trex => take_trex(&mut fields, &mut values.tracks),
                    Kind::Tfhd => take_tfhd(&mut fields, flags, values),
                    Kind::Tfdt => {
                        let short = || u64::from(Fields(field).word());
                        let time = if version == 1 { fields.long() } else { short() };
                        values.traf.decode_time.get_or_insert(time);
                    }
                    Kind::Trun => {
                        self.next = take_trun(&mut fields, flags, left, &mut values.traf)?
                    }
                    _ => {}
                }
            }
            Next::Samples { left: samples, flags, first_flags } => {
                take_sample(&mut fields, flags, first_flags, &mut values.traf);
                self.next = match samples.checked_sub(1).filter(|left| *left > 0) {
                    Some(left) => Next::Samples { left, flags, first_flags: None },
                    None => Next::Rest,
                };
            }
            Next::Rest => {}
        }
        Ok(())
    }
}

/// Bytes of the fields behind version and flags, as far as they are wanted.
fn body_bytes(kind: Kind, version: u8, flags: u32) -> u8 {
    let optional = |bit: u32, bytes: u8| if flags & bit == 0 { 0 } else { bytes };
    match kind {
        Kind::Tkhd | Kind::Mdhd => {
            if version == 1 {
                20
            } else {
                12
            }
        }
        Kind::Trex => 20,
        Kind::Tfhd => {
            4 + optional(TFHD_BASE, 8)
                + optional(TFHD_DESCRIPTION, 4)
                + optional(TFHD_DURATION, 4)
                + optional(TFHD_SIZE, 4)
                + optional(TFHD_FLAGS, 4)
        }
        Kind::Tfdt => {
            if version == 1 {
                8
            } else {
                4
            }
        }
        Kind::Trun => 4 + optional(TRUN_OFFSET, 4) + optional(TRUN_FIRST_FLAGS, 4),
        _ => 0,
    }
}

fn take_trex(fields: &mut Fields, tracks: &mut Tracks) {
    let id = fields.word();
    fields.skip(4);
    let duration = fields.word();
    fields.skip(4);
    let flags = fields.word();
    if let Some(track) = tracks.entry(id).filter(|_| id != 0) {
        (track.sample_duration, track.sample_flags) = (duration, flags);
    }
}

fn take_tfhd(fields: &mut Fields, flags: u32, values: &mut Values) {
    let id = fields.word();
    let mut track = values.tracks.find(id).copied().unwrap_or(Track { id, ..Track::default() });
    let mut optional = |bit: u32, bytes: usize| {
        (flags & bit != 0).then(|| if bytes == 8 { fields.long() } else { fields.word().into() })
    };
    optional(TFHD_BASE, 8);
    optional(TFHD_DESCRIPTION, 4);
    let low = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
    if let Some(duration) = optional(TFHD_DURATION, 4) {
        track.sample_duration = low(duration);
    }
    optional(TFHD_SIZE, 4);
    if let Some(flags) = optional(TFHD_FLAGS, 4) {
        track.sample_flags = low(flags);
    }
    values.traf.track = track;
}

/// The head of a table of samples, and the table itself where its samples say nothing.
fn take_trun(
    fields: &mut Fields,
    flags: u32,
    left: u64,
    traf: &mut Traf,
) -> Result<Next, &'static str> {
    let samples = fields.word();
    if flags & TRUN_OFFSET != 0 {
        fields.skip(4);
    }
    let first_flags = (flags & TRUN_FIRST_FLAGS != 0).then(|| fields.word());
    let bytes = sample_bytes(flags);
    // Two numbers of 32 bits.
    if u64::from(samples) * bytes as u64 > left {
        return Err("a trun of more samples than it holds");
    }
    if samples == 0 {
        return Ok(Next::Rest);
    }
    if bytes > 0 {
        return Ok(Next::Samples { left: samples, flags, first_flags });
    }
    let track = traf.track;
    traf.samples = traf.samples.saturating_add(samples.into());
    let duration = u64::from(samples) * u64::from(track.sample_duration);
    traf.duration = traf.duration.saturating_add(duration);
    let first = first_flags.unwrap_or(track.sample_flags);
    traf.has_sync |= is_sync(first) || (samples > 1 && is_sync(track.sample_flags));
    Ok(Next::Rest)
}

fn take_sample(fields: &mut Fields, flags: u32, first_flags: Option<u32>, traf: &mut Traf) {
    let mut optional = |bit: u32| (flags & bit != 0).then(|| fields.word());
    let duration = optional(TRUN_DURATION).unwrap_or(traf.track.sample_duration);
    optional(TRUN_SIZE);
    let own = optional(TRUN_FLAGS);
    let flags = first_flags.or(own).unwrap_or(traf.track.sample_flags);
    traf.samples = traf.samples.saturating_add(1);
    traf.duration = traf.duration.saturating_add(duration.into());
    traf.has_sync |= is_sync(flags);
}

/// Bytes that each sample of a `trun` has.
fn sample_bytes(flags: u32) -> usize {
    let own = flags & (TRUN_DURATION | TRUN_SIZE | TRUN_FLAGS | TRUN_COMPOSITION);
    own.count_ones() as usize * 4
}

/// `sample_is_non_sync_sample` is not set (section 8.8.3.1).
fn is_sync(flags: u32) -> bool {
    flags & 0x0001_0000 == 0
}

/// Numbers at the front of a field; zero behind its end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn word(&mut self) -> u32 {
        let Some((word, rest)) = self.0.split_first_chunk::<4>() else { return 0 };
        self.0 = rest;
        u32::from_be_bytes(*word)
    }

    fn long(&mut self) -> u64 {
        u64::from(self.word()) << 32 | u64::from(self.word())
    }

    fn skip(&mut self, bytes: usize) {
        self.0 = self.0.get(bytes..).unwrap_or_default();
    }
}

const TFHD_BASE: u32 = 0x1;
const TFHD_DESCRIPTION: u32 = 0x2;
const TFHD_DURATION: u32 = 0x8;
const TFHD_SIZE: u32 = 0x10;
const TFHD_FLAGS: u32 = 0x20;
const TRUN_OFFSET: u32 = 0x1;
const TRUN_FIRST_FLAGS: u32 = 0x4;
const TRUN_DURATION: u32 = 0x100;
const TRUN_SIZE: u32 = 0x200;
const TRUN_FLAGS: u32 = 0x400;
const TRUN_COMPOSITION: u32 = 0x800;
