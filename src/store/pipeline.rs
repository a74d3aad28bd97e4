//! Redundant ingest: several encoders, each a pipeline, bring the same names.
//!
//! What the first one completes stands. An upload of another pipeline that brings the same bytes
//! changes nothing; one that brings other bytes is judged by the path's policy. While a pipeline's
//! object is arriving, another's upload of it is kept aside as an *heir*: it takes over when the
//! first breaks off, if it begins with all that readers have got. Playlists are taken from the
//! folder's leading pipeline only; another one leads when the leader has been quiet for too long.
//!
//! Invariants: readers never get a byte of one pipeline behind a different one of another; heirs of
//! an object and pipelines that wrote into it are few; uploads without a pipeline are not touched.

use std::sync::Arc;

use crate::limits;
use crate::media::lowlatency::series;
use crate::sys::extent::Extent;

use super::folder::Folders;
use super::growing::Growing;
use super::message::{LeaseId, Publication, Quality, Reply, UploadId};
use super::object::{Body, Millis, Whole};
use super::owner::{Asker, Store};
use super::path;

/// What becomes of other bytes under a name that another pipeline has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differing {
    /// What is there stays.
    FirstWins,
    /// What comes replaces it.
    LastWins,
    /// What comes replaces it if its pipeline goes before.
    ByRank,
}

/// The pipeline that an upload belongs to, and what its path says of pipelines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Its name.
    pub name: Box<[u8]>,
    /// Its place in the order of priority, 0 first.
    pub rank: u16,
    /// What becomes of other bytes.
    pub differing: Differing,
    /// Whether the upload is a playlist or MPD.
    pub is_manifest: bool,
    /// After so many milliseconds of silence the leader leads no more.
    pub failover_ms: Millis,
}

/// The pipeline whose playlists a folder shows.
#[derive(Debug)]
pub(super) struct Leader {
    name: Box<[u8]>,
    rank: u16,
    renewed_ms: Millis,
}

/// An upload that waits for the end of another pipeline's, of the same object.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    /// How far it has come; nobody reads from it yet.
    pub growing: Arc<Growing>,
    /// The version that it may inherit.
    pub of: LeaseId,
}

/// What an upload of one pipeline comes to where another's version lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is written like any upload.
    Write,
    /// What is there stays; whether it is the same.
    Keep { same: bool },
    /// The other pipeline's upload has to end first.
    Wait,
    /// The other one broke off: readers go on with this one.
    Inherit(u32),
}

impl Store {
    /// Judges a complete upload.
    pub(super) fn judge_pipeline(
        &self,
        id: UploadId,
        publication: &Publication,
        current: Option<u32>,
        now_ms: Millis,
    ) -> Verdict {
        let upload = self.uploads.at(id.place).expect("a queued upload stays");
        let Some(pipeline) = upload.guard.pipeline.as_deref() else { return Verdict::Write };
        let Some(place) = current else { return Verdict::Write };
        let version = self.versions.at(place).expect("current versions are in the table");
        if pipeline.is_manifest {
            return match self.folders.may_lead(&upload.key, pipeline, now_ms) {
                true => Verdict::Write,
                false => Verdict::Keep { same: *version.record.etag() == *publication.etag },
            };
        }
        let other = version.pipeline().map(|other| &**other);
        if other.is_some_and(|other| other.name == pipeline.name) {
            return Verdict::Write;
        }
        let Some(whole) = version.record.whole() else {
            return match (version.upload().filter(|_| other.is_some()), &version.record.body) {
                (Some(_), _) => Verdict::Wait,
                (None, Body::Growing(growing))
                    if self.begins_with(growing, upload, publication.length) =>
                {
                    Verdict::Inherit(place)
                }
                _ => Verdict::Write,
            };
        };
        if *version.record.etag() == *publication.etag
            || whole.length() == publication.length
                && self.are_same(whole.extents(), &upload.extents, whole.length())
        {
            return Verdict::Keep { same: true };
        }
        // What the disk gave back has no pipeline any more.
        let Some(other) = other else { return Verdict::Write };
        let usual = self.usual_units(&upload.key);
        let is_good = |of: Quality| of.is_sound && !is_far_off(of.media_units, usual);
        let (stands, comes) = (is_good(version.quality()), is_good(publication.quality));
        let replaces = match (stands, comes, pipeline.differing) {
            (false, true, _) => true,
            (true, false, _) | (_, _, Differing::FirstWins) => false,
            (_, _, Differing::LastWins) => true,
            (_, _, Differing::ByRank) => pipeline.rank < other.rank,
        };
        if replaces { Verdict::Write } else { Verdict::Keep { same: false } }
    }

    /// How long the segments before this one of its series are, in units of their timescale: the
    /// median of those that are there, so that one that was bad itself decides nothing. 0 where
    /// none says.
    fn usual_units(&self, key: &[u8]) -> u64 {
        let Some((front, number, back)) = series::split(key) else { return 0 };
        let width = key.len() - front.len() - back.len();
        let mut units: Vec<u64> = Vec::new();
        for before in (1..=limits::NEIGHBOURS_MAX).filter_map(|back| number.checked_sub(back)) {
            // The number may or may not be filled up with zeros to one width.
            let texts = [format!("{before}"), format!("{before:0width$}")];
            let known = texts.iter().find_map(|text| {
                let key = [front, text.as_bytes(), back].concat();
                let version = self.versions.at(self.object(&key)?)?;
                Some(version.quality().media_units).filter(|&units| units > 0)
            });
            units.extend(known);
        }
        units.sort_unstable();
        units.get(units.len() / 2).copied().unwrap_or(0)
    }

    fn begins_with(
        &self,
        growing: &Arc<Growing>,
        upload: &super::upload::Upload,
        length: u64,
    ) -> bool {
        let tip = growing.tip();
        let delivered = tip.progress();
        upload.aside.as_ref().is_some_and(|aside| self.is_heir_of(aside, growing))
            && delivered <= length
            && self.are_same(&tip.extents(), &upload.extents, delivered)
    }

    fn is_heir_of(&self, aside: &Aside, growing: &Arc<Growing>) -> bool {
        let version = self.versions.at(aside.of.version);
        let is_same = |body: &Body| matches!(body, Body::Growing(of) if Arc::ptr_eq(of, growing));
        version.is_some_and(|version| is_same(&version.record.body))
            && self.versions.generation(aside.of.version) == aside.of.generation
    }

    fn are_same(&self, one: &[Extent], other: &[Extent], length: u64) -> bool {
        length <= limits::COPIES_COMPARED_BYTES_MAX
            && one.is_empty() == (length == 0)
            && self.space.are_same(one, other, length)
    }

    /// Keeps an upload aside whose object another pipeline is bringing, if it can inherit that.
    pub(super) fn keep_aside(&mut self, id: UploadId, place: u32, growing: &Arc<Growing>) -> bool {
        let generation = self.versions.generation(place);
        let version = self.versions.at_mut(place).expect("a current version is in the table");
        let Body::Growing(front) = &version.record.body else { return false };
        let is_crowded =
            version.heirs().len() >= limits::HEIRS_MAX || front.successions() >= limits::HEIRS_MAX;
        if is_crowded {
            return false;
        }
        version.busy().heirs.push(id);
        let of = LeaseId { version: place, generation };
        let upload = self.upload(id).expect("a queued upload stays");
        upload.aside = Some(Aside { growing: Arc::clone(growing), of });
        let bytes = upload.room_bytes();
        self.statistics.aside_bytes += bytes;
        true
    }

    /// Whether an upload that wants to be readable at once finds another pipeline's arriving.
    pub(super) fn finds_another(&self, id: UploadId, place: u32) -> bool {
        let upload = self.uploads.at(id.place).expect("a queued upload stays");
        let version = self.versions.at(place).expect("current versions are in the table");
        match (&upload.guard.pipeline, version.pipeline()) {
            (Some(own), Some(other)) => own.name != other.name || !version.heirs().is_empty(),
            _ => false,
        }
    }

    /// An object's upload broke off. Whether an heir goes on with it, now or once it is complete.
    pub(super) fn is_inherited(&mut self, place: u32) -> bool {
        let version = self.versions.at_mut(place).expect("its upload keeps it");
        if !version.standing.is_current() || version.heirs().is_empty() {
            return false;
        }
        version.busy().upload = None;
        let key: Box<[u8]> = version.record.key().into();
        let Body::Growing(front) = &version.record.body else { return false };
        let front = Arc::clone(front);
        let tip = front.tip();
        let delivered = tip.progress();
        for id in version.heirs().to_vec() {
            let Some(upload) = self.uploads.find(id.place, id.generation) else { continue };
            let aside = upload.aside.clone().expect("heirs are kept aside");
            if upload.queued || aside.growing.progress() < delivered {
                continue;
            }
            let extents = upload.extents.clone();
            if !self.are_same(&tip.extents(), &extents, delivered) {
                let version = self.versions.at_mut(place).expect("found above");
                version.remove_heir(id);
                self.leave_aside(id);
                continue;
            }
            self.hand_over(place, id, &aside.growing, &front);
            return true;
        }
        self.stir(&key);
        !self.versions.at(place).expect("found above").heirs().is_empty()
    }

    /// Readers go on with an upload that is still arriving.
    fn hand_over(&mut self, place: u32, id: UploadId, heir: &Arc<Growing>, front: &Arc<Growing>) {
        self.leave_aside(id);
        let upload = self.upload(id).expect("the caller found it");
        for extent in std::mem::take(&mut upload.extents) {
            let appended = heir.append(extent);
            debug_assert!(appended, "room for extents of an upload aside was checked");
        }
        upload.growing = Some((Arc::clone(heir), place));
        upload.created = true;
        let pipeline = upload.guard.pipeline.clone();
        let version = self.versions.at_mut(place).expect("the caller found it");
        version.remove_heir(id);
        version.busy().upload = Some(id);
        version.busy().pipeline = pipeline;
        self.succeed(front, heir);
    }

    /// Readers go on with an upload that is complete.
    pub(super) fn inherit(
        &mut self,
        asker: Asker,
        id: UploadId,
        publication: Publication,
        place: u32,
    ) {
        let heir = self.leave_aside(id).expect("judged as an heir").growing;
        let upload = self.upload(id).expect("a queued upload stays");
        let extents = std::mem::take(&mut upload.extents);
        let pipeline = upload.guard.pipeline.clone();
        let extents = self.fit(&extents, publication.length).expect("checked at the commit");
        for &extent in &extents {
            let appended = heir.append(extent);
            debug_assert!(appended, "an upload has no more extents than a growing object");
        }
        let version = self.versions.at_mut(place).expect("the caller found it");
        version.remove_heir(id);
        version.note_origin(pipeline, publication.quality);
        let record = Arc::clone(&version.record);
        let Body::Growing(front) = &record.body else { unreachable!("judged as growing") };
        heir.advance(publication.length);
        heir.finish(Whole::new(publication.length, extents));
        self.succeed(front, &heir);
        self.note_finished(place, true, publication.length, publication.gives_way);
        self.end_upload(id);
        self.reply(asker, Reply::Kept { etag: record.etag().into(), same: true });
    }

    fn succeed(&mut self, front: &Arc<Growing>, heir: &Arc<Growing>) {
        let tip = front.tip();
        tip.hand_over_to(Arc::clone(heir));
        self.statistics.takeovers_total += 1;
        self.nudge(&tip);
    }

    /// An upload that was kept aside has ended otherwise.
    pub(super) fn heir_gone(&mut self, id: UploadId, aside: &Aside) {
        let Some(version) = self.versions.find(aside.of.version, aside.of.generation) else {
            return;
        };
        version.remove_heir(id);
        let is_left = version.heirs().is_empty()
            && version.upload().is_none()
            && version.record.whole().is_none();
        if version.standing.is_current() && is_left {
            self.retire_cut(aside.of.version);
        }
    }

    /// The upload is no longer kept aside; its memory is still its own.
    pub(super) fn leave_aside(&mut self, id: UploadId) -> Option<Aside> {
        let upload = self.upload(id)?;
        let (aside, bytes) = (upload.aside.take()?, upload.room_bytes());
        self.statistics.aside_bytes -= bytes;
        Some(aside)
    }

    /// Notes who brought a playlist.
    pub(super) fn note_leader(&mut self, id: UploadId, now_ms: Millis) {
        let upload = self.uploads.at(id.place).expect("a queued upload stays");
        let Some(pipeline) = upload.guard.pipeline.clone().filter(|own| own.is_manifest) else {
            return;
        };
        let leader =
            Leader { name: pipeline.name.clone(), rank: pipeline.rank, renewed_ms: now_ms };
        let key = upload.key.clone();
        let Some(place) = self.folders.leader_of(&key) else { return };
        let before = place.replace(leader);
        if before.is_some_and(|before| before.name != pipeline.name) {
            self.statistics.pipeline_switches_total += 1;
        }
    }
}

/// Whether a segment is less than half as long as is usual, or more than twice as long.
fn is_far_off(units: u64, usual: u64) -> bool {
    let both_known = units > 0 && usual > 0;
    both_known && (units < usual / 2 || units / 2 > usual)
}

impl Folders {
    /// Whether playlists of this pipeline are shown in the key's folder.
    fn may_lead(&self, key: &[u8], pipeline: &Pipeline, now_ms: Millis) -> bool {
        let Some(leader) = self.leader(path::split(key).0) else { return true };
        let goes_before = pipeline.differing == Differing::ByRank && pipeline.rank < leader.rank;
        leader.name == pipeline.name
            || goes_before
            || now_ms.saturating_sub(leader.renewed_ms) >= pipeline.failover_ms
    }
}

#[cfg(test)]
mod tests {
    use super::is_far_off;

    #[test]
    fn a_half_and_the_double_are_not_far_off() {
        for (units, usual, expected) in [
            (0, 100, false),
            (100, 0, false),
            (50, 100, false),
            (49, 100, true),
            (201, 100, false),
            (202, 100, true),
            (u64::MAX, 1, true),
            (1, u64::MAX, true),
        ] {
            assert_eq!(is_far_off(units, usual), expected, "{units} of {usual}");
        }
    }
}
