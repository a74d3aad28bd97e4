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
use super::conn::{Conn, Gone, Then};
use super::read::{HEAD_FITS, Obtained};
use super::rendered::{Answer, append_body};
use super::watch::Waited;
use super::{PREAMBLE_BYTES, Shard};
use crate::http::known::Known;
use crate::http::request::{Head, Method};
use crate::http::response::{Status, Writer};
use crate::limits;
use crate::media::hls::blocking::{self, Answer as Kind, Decision, Directives, Skip};
use crate::media::hls::delta;
use crate::media::hls::playlist::Media;
use crate::media::types::{self, Class};
use crate::origin::errors::{Bare, RETRY};
use crate::origin::heads::ObjectHead;
use crate::origin::key;
use crate::store::index::Live;
use crate::store::object::Whole;
use crate::store::{Held, index};

/// How much of a playlist is answered, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    /// The request named a segment.
    blocking: bool,
    /// Old segments are left out.
    delta: bool,
}

/// A playlist that is told in a form.
struct Told<'a> {
    held: &'a Rc<Held>,
    live: &'a Live,
    whole: &'a Whole,
    form: Form,
}

impl Conn {
    /// Answers a request that may have to wait: with reload directives, or for what is absent.
    pub(super) async fn read_live(&mut self, head: &Head) -> Result<Then, Gone> {
        let shard = self.shard.clone();
        let bytes = self.input.unread(&shard.reactor.buffers);
        let directives = Directives::read(head.query.of(bytes));
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let Ok(key) = key::parse(head.path.of(bytes), &mut scratch) else {
            return self.read_special(head).await;
        };
        let key: Box<[u8]> = key.into();
        let hold_ms = (shard.settings.defaults_of)(&key).hold_ms.unwrap_or(0);
        let mut until_ms = None;
        loop {
            let now_ms = shard.reactor.clock.now_ms();
            let (seen, bound_ms) = match self.obtain(head).await {
                Obtained::Busy => return self.answer_busy(head).await,
                Obtained::NoKey => return self.read_special(head).await,
                Obtained::Absent => (None, hold_ms),
                Obtained::Held(held) => match decide(&shard, &held, directives) {
                    Decision::Serve => return self.answer_live(head, held, directives).await,
                    Decision::BadRequest(reason) => {
                        return self.answer_fault(head, Status::BadRequest, reason).await;
                    }
                    Decision::Hold { .. } => {
                        let live = live_of(&shard, &held).expect("it was decided by it");
                        (Some(held.lease()), blocking::hold_us(&live.facts) / 1000)
                    }
                },
            };
            let until_ms = *until_ms.get_or_insert(now_ms + bound_ms);
            let waited = match bound_ms {
                0 => Waited::Late,
                _ => shard.wait_for_change(self.socket, &key, seen, until_ms).await,
            };
            match (waited, seen) {
                (Waited::Changed, _) => {}
                (Waited::Gone, _) => return Err(Gone),
                (Waited::Busy, _) => return self.answer_busy(head).await,
                (Waited::Late, None) => return self.answer_absent(head).await,
                (Waited::Late, Some(_)) => return self.answer_late(head).await,
            }
        }
    }

    /// 503: the playlist did not come that far in time (draft section 6.2.5.2).
    async fn answer_late(&mut self, head: &Head) -> Result<Then, Gone> {
        let bare = Bare {
            status: Status::ServiceUnavailable,
            message: "the playlist has not come that far in time; reload it without directives",
            lines: RETRY,
            body_allowed: head.method != Method::Head,
        };
        self.answer_bare(head, &bare, Then::Next).await
    }

    /// Answers what has not to wait any more.
    async fn answer_live(
        &mut self,
        head: &Head,
        held: Rc<Held>,
        directives: Directives,
    ) -> Result<Then, Gone> {
        let shard = self.shard.clone();
        let live = directives.any().then(|| live_of(&shard, &held)).flatten();
        let (Some(live), Some(whole)) = (live, held.record.whole()) else {
            return self.answer_object(head, held).await;
        };
        let delta = directives.skip != Skip::No && live.delta_is_less;
        let form = Form { blocking: directives.msn.is_some(), delta };
        let has_conditions = !crate::origin::read::is_plain(head);
        let plain = !form.delta && (!form.blocking || !live.age_is_default);
        if plain || (has_conditions && !form.delta) || whole.length > PLAYLIST_TOLD_MAX {
            return self.answer_object(head, held).await;
        }
        let bytes = self.input.unread(&shard.reactor.buffers);
        let known = head.header(bytes, Known::IfNoneMatch);
        let told = Told { held: &held, live, whole, form };
        if known.is_some_and(|known| known == told.etag().as_slice()) {
            let bare = Bare {
                status: Status::NotModified,
                message: "",
                lines: &told.validators(shard.settings.cors),
                body_allowed: false,
            };
            return self.answer_bare(head, &bare, Then::Next).await;
        }
        let ready = self.ready_told(head, &told);
        self.deliver(ready).await
    }

    fn ready_told(&mut self, head: &Head, told: &Told<'_>) -> Ready {
        let manner = self.manner(head, Then::Next);
        let answer = told.answer(&self.shard);
        let body_len = told.body_len(&answer);
        if head.method == Method::Get && manner.connection_line().is_empty() {
            self.note_head(Status::Ok, answer.len() - body_len);
            self.input_past_head(head);
            return Ready { front: Front::Rendered(answer), body: None, then: manner.then() };
        }
        let mut buffer = self.shard.reactor.send_buffer();
        let mut writer = Writer::new(buffer.space());
        // The last line of the head is empty.
        writer.raw(&answer[..answer.len() - body_len - 2]);
        writer.raw(manner.connection_line());
        writer.end_head();
        let len = writer.finish().expect(HEAD_FITS);
        buffer.push_own(len);
        self.note_head(Status::Ok, len);
        self.input_past_head(head);
        if head.method == Method::Get && told.form.delta {
            buffer.push_owned(answer[answer.len() - body_len..].to_vec());
        }
        let body = (head.method == Method::Get && !told.form.delta && body_len > 0)
            .then(|| Cursor { held: told.held.clone(), at: 0, end: told.whole.length });
        Ready::new(buffer, body, manner.then())
    }
}

impl Told<'_> {
    fn etag(&self) -> Vec<u8> {
        let etag = &self.held.record.etag;
        match (self.form.delta, etag.strip_suffix(b"\"")) {
            (true, Some(open)) => [open, b"-delta\""].concat(),
            _ => etag.to_vec(),
        }
    }

    /// The kind of answer decides how long a cache may keep it; whoever uploaded the playlist with
    /// an age of its own has said so.
    fn cache_control(&self) -> Vec<u8> {
        if !self.live.age_is_default {
            return self.held.record.cache_control.to_vec();
        }
        let kind = if self.form.blocking { Kind::Blocking } else { Kind::Plain };
        blocking::cache_age(kind, self.live.facts.target_duration_us).as_bytes().to_vec()
    }

    /// Runs `with` on the head of an answer of `length` bytes.
    fn head<T>(
        &self,
        length: Option<u64>,
        cors: bool,
        with: impl FnOnce(ObjectHead<'_>) -> T,
    ) -> T {
        let record = &self.held.record;
        with(ObjectHead {
            etag: &self.etag(),
            content_type: &record.content_type,
            cache_control: &self.cache_control(),
            modified_s: record.modified_s,
            length,
            cors,
        })
    }

    fn validators(&self, cors: bool) -> Vec<u8> {
        let mut out = vec![0; limits::RENDERED_HEAD_BYTES_MAX];
        let mut writer = Writer::new(&mut out);
        self.head(None, cors, |head| head.validators(&mut writer));
        let len = writer.finish().expect("a few short lines");
        out.truncate(len);
        out
    }

    /// The whole plain 200, made once a second and version for all who ask in this form.
    fn answer(&self, shard: &Shard) -> Answer {
        let slot = match self.form {
            Form { delta: false, .. } => &self.live.blocking,
            Form { delta: true, blocking } => &self.live.delta[usize::from(blocking)],
        };
        let second = shard.preamble.borrow().wall_s;
        if slot.second.replace(second) == second
            && let Some(answer) = slot.bytes.borrow().clone()
        {
            return answer;
        }
        let answer: Answer = Rc::new(self.render(shard));
        *slot.bytes.borrow_mut() = Some(answer.clone());
        answer
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
        let length = Some(text.len() as u64);
        let head = self.head(length, shard.settings.cors, |head| head.render());
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

/// What the directives come to while this is the playlist.
fn decide(shard: &Shard, held: &Held, directives: Directives) -> Decision {
    match live_of(shard, held) {
        Some(live) if directives.any() => directives.decide(&live.facts),
        _ => Decision::Serve,
    }
}

/// The facts of a playlist, read once a version; `None` for anything else.
fn live_of<'a>(shard: &Shard, held: &'a Held) -> Option<&'a Live> {
    held.live.get_or_init(|| read_live(shard, held)).as_deref()
}

fn read_live(shard: &Shard, held: &Held) -> Option<Box<Live>> {
    let record = &held.record;
    let whole = record.whole()?;
    let is_manifest = types::class(&record.key, &record.content_type) == Class::Manifest;
    if !is_manifest || whole.length > limits::PLAYLIST_BYTES_MAX as u64 {
        return None;
    }
    let mut text = Vec::new();
    append_body(&mut text, shard.reactor.arena(), whole);
    let media = Media::read(&text).ok()?;
    let default = crate::media::cache_control(Class::Manifest, Some(&text));
    Some(Box::new(Live {
        facts: media.facts(),
        age_is_default: *record.cache_control == *default.as_bytes(),
        delta_is_less: delta::skippable(&media) > 0,
        blocking: index::Rendered::default(),
        delta: Default::default(),
    }))
}

/// Playlists of more bytes are not kept as answers: they leave as they lie.
const PLAYLIST_TOLD_MAX: u64 = 256 * 1024;
