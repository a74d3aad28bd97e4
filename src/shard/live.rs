//! Reads that may wait: reload directives of players, and objects that are about to come.
//!
//! A request that names a segment or part of a playlist is answered by the first version that has
//! it (HLS draft section 6.2.5.2), whatever packager wrote the playlist; delta updates are made
//! here (6.2.5.1). Where the path's policy says so, a request for an object that is not there yet
//! waits for it. All readers of one version share the bytes of its answers.
//!
//! Invariants: nobody waits for longer than the draft's three target durations, or the policy's
//! bound; a request that waits is answered once, by what it asked for or by an error.

use std::rc::Rc;

use super::answer::{Cursor, Front, Ready};
use super::conn::{Conn, Then};
use super::read::{HEAD_FITS, Obtained, Rare};
use super::rendered::{Answer, append_body, manifest_text};
use super::watch::Waited;
use super::{PREAMBLE_BYTES, Shard};
use crate::http::condition;
use crate::http::known::Known;
use crate::http::request::{Head, Method};
use crate::http::response::{Status, Writer};
use crate::limits;
use crate::media::hls::blocking::{self, Answer as Kind, Decision, Directives, Skip};
use crate::media::hls::delta;
use crate::media::hls::playlist::Media;
use crate::media::types::{self, Class};
use crate::origin::dialect::Dialect;
use crate::origin::errors::Bare;
use crate::origin::heads::ObjectHead;
use crate::origin::{gzip, key, read};
use crate::store::held::Live;
use crate::store::message::LeaseId;
use crate::store::object::{Record, Whole};
use crate::store::{Held, held};

/// How much of a playlist is answered, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    /// The request named a segment.
    blocking: bool,
    /// Old segments are left out.
    delta: bool,
    /// It is compressed.
    gzip: bool,
}

/// A playlist that is told in a form.
struct Told<'a> {
    held: &'a Rc<Held>,
    /// None for what is told as it is stored, but for its coding.
    live: Option<&'a Live>,
    whole: &'a Whole,
    form: Form,
    /// The path offers it compressed and not.
    varies: bool,
}

/// What a look at a key comes to.
pub(super) enum Judged {
    /// An answer.
    Ready(Ready),
    /// An answer that takes more.
    Rare(Rare),
    /// The path names no object.
    Special,
    /// A wait.
    Wait(Wait),
}

/// What is waited for: another version than this one, for so long in all.
pub(super) struct Wait {
    seen: Option<LeaseId>,
    bound_ms: u64,
}

/// A request that has begun to wait, and how its last wait ended.
pub(super) struct Hold {
    key: Box<[u8]>,
    pub(super) began_ms: u64,
    until_ms: u64,
    last: Waited,
}

impl Conn {
    /// Whether the request says that it would wait.
    #[inline]
    pub(super) fn may_wait(&self, head: &Head) -> bool {
        !head.query.is_empty() && self.directives(head).any()
    }

    pub(super) fn directives(&self, head: &Head) -> Directives {
        Directives::read(head.query.of(self.input.unread(&self.shard.reactor.buffers)))
    }

    /// What follows from what is there now, for a request that may wait or has waited.
    pub(super) fn judge(
        &mut self,
        head: &Head,
        obtained: Obtained,
        hold: &Option<Box<Hold>>,
    ) -> Judged {
        let last = hold.as_ref().map(|hold| hold.last);
        match obtained {
            Obtained::NoKey => Judged::Special,
            Obtained::Busy => Judged::Ready(self.ready_busy(head)),
            Obtained::Damaged => Judged::Ready(self.ready_damaged(head)),
            Obtained::Unreachable(refusal) => Judged::Ready(self.ready_unreachable(head, refusal)),
            _ if last == Some(Waited::Busy) => Judged::Ready(self.ready_busy(head)),
            Obtained::Absent => match self.absent_bound_ms(head) {
                _ if last == Some(Waited::Crowded) => Judged::Ready(self.ready_absent(head)),
                Some(bound_ms) if last != Some(Waited::Late) => {
                    Judged::Wait(Wait { seen: None, bound_ms })
                }
                _ => Judged::Ready(self.ready_missing(head, last.is_some())),
            },
            Obtained::Held(held) => self.judge_held(head, held, last),
        }
    }

    fn judge_held(&mut self, head: &Head, held: Rc<Held>, last: Option<Waited>) -> Judged {
        let directives = self.directives(head);
        let shard = self.shard.clone();
        if self.rules.stales
            && let Some(failing) = self.ready_failing(head, &held)
        {
            return failing.map_or_else(Judged::Rare, Judged::Ready);
        }
        let live = if directives.any() { live_of(&shard, &held) } else { None };
        let Some(live) = live else { return self.judge_plain(head, held) };
        match directives.decide(&live.facts) {
            Decision::Serve => self.judge_told(head, &held, live, directives),
            Decision::BadRequest(reason) => {
                let body_allowed = head.method != Method::Head;
                let status = Status::BadRequest;
                let bare = Bare { status, message: reason, lines: b"", body_allowed };
                Judged::Ready(self.ready_bare(head, &bare, Then::Next))
            }
            Decision::Hold { .. } if last == Some(Waited::Late) => {
                Judged::Ready(self.ready_late(head))
            }
            Decision::Hold { .. } => {
                let bound_ms = blocking::hold_us(&live.facts) / 1000;
                Judged::Wait(Wait { seen: Some(held.lease()), bound_ms })
            }
        }
    }

    fn judge_plain(&mut self, head: &Head, held: Rc<Held>) -> Judged {
        match self.ready_object(head, held) {
            Ok(ready) => Judged::Ready(ready),
            Err(rare) => Judged::Rare(rare),
        }
    }

    /// How long a read of this absent object waits, if the path's policy lets it wait.
    fn absent_bound_ms(&self, head: &Head) -> Option<u64> {
        if !self.rules.holds {
            return None;
        }
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let key = key::parse(head.path.of(bytes), &mut scratch).ok()?;
        let paths = &self.rules.paths;
        let is_hinted =
            || types::class(key, b"") == Class::Segment && paths.part_target_us(key).is_some();
        let said = paths.hold_ms(key);
        let bound_ms = said.or_else(|| is_hinted().then_some(limits::LL_HOLD_MS.into()))?;
        (!self.is_beyond(key, bound_ms)).then_some(bound_ms)
    }

    /// Waits until what was looked at may have changed. `None` when the peer has gone.
    pub(super) async fn hold(
        &self,
        head: &Head,
        wait: Wait,
        hold: Option<Box<Hold>>,
    ) -> Option<Box<Hold>> {
        let shard = &self.shard;
        let mut hold = match hold {
            Some(hold) => hold,
            None => {
                let bytes = self.input.unread(&shard.reactor.buffers);
                let mut scratch = [0; limits::KEY_BYTES_MAX];
                let key = key::parse(head.path.of(bytes), &mut scratch).ok()?.into();
                let began_ms = shard.reactor.clock.now_ms();
                let until_ms = began_ms + wait.bound_ms;
                Box::new(Hold { key, began_ms, until_ms, last: Waited::Changed })
            }
        };
        let Hold { key, until_ms, last, .. } = &mut *hold;
        *last = shard.wait_for_change(self.socket, key, wait.seen, *until_ms).await;
        (*last != Waited::Gone).then_some(hold)
    }

    /// 503: the playlist did not come that far in time (draft section 6.2.5.2).
    fn ready_late(&mut self, head: &Head) -> Ready {
        let message = "the playlist has not come that far in time; reload it without directives";
        self.ready_unavailable(head, message)
    }

    /// Answers with a playlist that has what the request asked for.
    fn judge_told(
        &mut self,
        head: &Head,
        held: &Rc<Held>,
        live: &Live,
        directives: Directives,
    ) -> Judged {
        let Some(whole) = held.record.whole() else { return self.judge_plain(head, held.clone()) };
        let delta = directives.skip != Skip::No && live.delta_is_less;
        let varies = self.rules.gzips && self.is_gzip_offered(&held.record);
        let gzip = varies && self.takes_gzip(head);
        let form = Form { blocking: directives.msn.is_some(), delta, gzip };
        let plain = !form.delta && (!form.blocking || !live.age_is_default);
        let conditional = !form.delta && !read::is_plain(head);
        if plain || conditional || whole.length() > PLAYLIST_TOLD_MAX {
            return self.judge_plain(head, held.clone());
        }
        let live = Some(live);
        Judged::Ready(self.ready_told_if_new(head, &Told { held, live, whole, form, varies }))
    }

    /// A playlist as gzip, where the path offers that and the request takes it.
    #[inline(never)]
    pub(super) fn ready_zipped(&mut self, head: &Head, held: &Rc<Held>) -> Option<Ready> {
        const APART: [Known; 5] = [
            Known::Range,
            Known::IfRange,
            Known::IfMatch,
            Known::IfModifiedSince,
            Known::IfUnmodifiedSince,
        ];
        let whole = held.record.whole()?;
        let is_told = (GZIP_MIN..=PLAYLIST_TOLD_MAX).contains(&whole.length())
            && !APART.iter().any(|&known| head.has(known))
            && self.takes_gzip(head)
            && self.is_gzip_offered(&held.record);
        let form = Form { blocking: false, delta: false, gzip: true };
        let told = Told { held, live: None, whole, form, varies: true };
        is_told.then(|| self.ready_told_if_new(head, &told))
    }

    fn is_gzip_offered(&self, record: &Record) -> bool {
        let class = types::class(record.key(), &record.fields.content_type);
        !gzip::is_coded(&record.fields.lines)
            && gzip::is_offered(&self.rules.paths, record.key(), class)
    }

    fn takes_gzip(&self, head: &Head) -> bool {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        head.header(bytes, Known::AcceptEncoding).is_some_and(gzip::accepts)
    }

    /// The playlist, unless the request says that it has it.
    fn ready_told_if_new(&mut self, head: &Head, told: &Told<'_>) -> Ready {
        if head.has(Known::IfNoneMatch) {
            let bytes = self.input.unread(&self.shard.reactor.buffers);
            //= RFC 9110 section 13.1.2: any tag of the list, by weak comparison
            let etag = told.etag();
            let is_known = head
                .all(bytes, Known::IfNoneMatch)
                .any(|list| condition::matches_weak(list, etag.as_slice()));
            if is_known {
                let bare = Bare {
                    status: Status::NotModified,
                    message: "",
                    // The answer gets its CORS lines like every other without an object.
                    lines: &told.validators(),
                    body_allowed: false,
                };
                return self.ready_bare(head, &bare, Then::Next);
            }
        }
        self.ready_told(head, told)
    }

    fn ready_told(&mut self, head: &Head, told: &Told<'_>) -> Ready {
        let manner = self.manner(head, Then::Next);
        let answer = told.answer(&self.shard);
        let body_len = told.body_len(&answer);
        let apart = self.rules.cors_by_path();
        let is_common =
            manner.connection_line().is_empty() && self.dialect == Dialect::Native && !self.tells();
        if head.method == Method::Get && is_common && !apart {
            self.note_head(Status::Ok, answer.len() - body_len);
            self.input_past_head(head);
            return Ready { front: Front::Rendered(answer), body: None, then: manner.then() };
        }
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        // The last line of the head is empty.
        writer.raw(&answer[..answer.len() - body_len - 2]);
        writer.raw(if apart { self.cors_lines(true) } else { b"" });
        self.identify(&mut writer);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::Ok, len);
        self.input_past_head(head);
        let is_as_stored = !told.form.delta && !told.form.gzip;
        if head.method == Method::Get && !is_as_stored {
            buffer.push_owned(answer[answer.len() - body_len..].to_vec());
        }
        let body = (head.method == Method::Get && is_as_stored && body_len > 0).then(|| Cursor {
            held: told.held.clone(),
            at: 0,
            end: told.whole.length(),
        });
        Ready::new(buffer, body, manner.then())
    }
}

impl Told<'_> {
    fn etag(&self) -> Vec<u8> {
        let etag = self.held.record.etag();
        let Some(open) = etag.strip_suffix(b"\"") else { return etag.to_vec() };
        let delta: &[u8] = if self.form.delta { b"-delta" } else { b"" };
        let gzip: &[u8] = if self.form.gzip { b"-gzip" } else { b"" };
        [open, delta, gzip, b"\""].concat()
    }

    /// The kind of answer decides how long a cache may keep it; whoever uploaded the playlist with
    /// an age of its own has said so.
    fn cache_control(&self) -> Vec<u8> {
        let Some(live) = self.live.filter(|live| live.age_is_default) else {
            return self.held.record.fields.cache_control.to_vec();
        };
        let kind = if self.form.blocking { Kind::Blocking } else { Kind::Plain };
        blocking::cache_age(kind, live.facts.target_duration_us).as_bytes().to_vec()
    }

    /// Runs `with` on the head of an answer of `length` bytes.
    fn head<T>(
        &self,
        length: Option<u64>,
        cors: &[u8],
        with: impl FnOnce(ObjectHead<'_>) -> T,
    ) -> T {
        let record = &self.held.record;
        let lines: &[u8] = match (self.form.gzip, self.varies) {
            (true, _) => gzip::CODED,
            (false, true) => gzip::VARY,
            (false, false) => b"",
        };
        let lines = [lines, gzip::lines_without(&record.fields.lines)].concat();
        with(ObjectHead {
            etag: &self.etag(),
            content_type: &record.fields.content_type,
            cache_control: &self.cache_control(),
            modified_s: record.modified_s(),
            length,
            cors,
            lines: &lines,
        })
    }

    fn validators(&self) -> Vec<u8> {
        let mut out = vec![0; limits::RENDERED_HEAD_BYTES_MAX];
        let mut writer = Writer::new(&mut out);
        self.head(None, b"", |head| head.validators(&mut writer));
        let len = writer.finish().expect("a few short lines");
        out.truncate(len);
        out
    }

    /// The whole plain 200, made once a second and version for all who ask in this form.
    fn answer(&self, shard: &Shard) -> Answer {
        let slot = self.slot();
        let stamp = shard.stamp();
        if slot.second.replace(stamp) == stamp
            && let Some(answer) = slot.bytes.borrow().clone()
        {
            return answer;
        }
        let answer: Answer = Rc::new(self.render(shard));
        *slot.bytes.borrow_mut() = Some(answer.clone());
        answer
    }

    /// Where the answer in this form is kept.
    fn slot(&self) -> &held::Rendered {
        let Some(live) = self.live else { return &self.held.derived().zipped };
        let number = match self.form {
            Form { delta: false, .. } => 0,
            Form { delta: true, blocking, .. } => 1 + usize::from(blocking),
        };
        match (self.form.gzip, number) {
            (true, number) => &live.zipped[number],
            (false, 0) => &live.blocking,
            (false, number) => &live.delta[number - 1],
        }
    }

    fn render(&self, shard: &Shard) -> Vec<u8> {
        let mut text = Vec::new();
        append_body(&mut text, shard.reactor.arena(), self.whole);
        if self.form.delta {
            let mut short = Vec::with_capacity(text.len());
            if let Ok(media) = Media::read(&text)
                && delta::write(&media, &mut |piece| short.extend_from_slice(piece))
            {
                text = short;
            }
        }
        if self.form.gzip {
            text = gzip::compress(&text);
        }
        let length = Some(text.len() as u64);
        let rules = shard.rules();
        // Where answers differ, each gets its lines as it leaves.
        let cors = if rules.cors_by_path() { b"" } else { rules.cors_lines() };
        let head = self.head(length, cors, |head| head.render());
        let mut answer = Vec::with_capacity(PREAMBLE_BYTES + head.len() + 2 + text.len());
        answer.extend_from_slice(&shard.preamble.borrow().ok);
        answer.extend_from_slice(&head);
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&text);
        answer
    }

    fn body_len(&self, answer: &Answer) -> usize {
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
        head.map_or(0, |head| answer.len() - head - 4)
    }
}

/// The facts of a playlist, read once a version; `None` for anything else.
pub(super) fn live_of<'a>(shard: &Shard, held: &'a Held) -> Option<&'a Live> {
    held.derived().live.get_or_init(|| read_live(shard, held)).as_deref()
}

fn read_live(shard: &Shard, held: &Held) -> Option<Box<Live>> {
    let record = &held.record;
    let text = manifest_text(shard, record)?;
    let media = Media::read(&text).ok()?;
    let default = crate::media::cache_control(Class::Manifest, Some(&text));
    Some(Box::new(Live {
        facts: media.facts(),
        age_is_default: *record.fields.cache_control == *default.as_bytes(),
        delta_is_less: delta::skippable(&media) > 0,
        blocking: held::Rendered::default(),
        delta: Default::default(),
        zipped: Default::default(),
    }))
}

/// Playlists of more bytes are not kept as answers: they leave as they lie.
const PLAYLIST_TOLD_MAX: u64 = 256 * 1024;
/// Fewer bytes are not worth a coding.
const GZIP_MIN: u64 = 200;
