//! What a shard counts and logs: requests as they end, everything else now and then.
//!
//! Times are those of the shard's turns: an answer that is made and handed to the kernel within
//! one turn has a turnaround of zero, and the length of turns is a histogram of its own.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::Shard;
use super::cmcd::Sessions;
use super::conn::{Conn, Gone, Then};
use crate::access::{self, AccessSink, Record, Text};
use crate::http::known::Known;
use crate::http::request::{Head, Method, Version};
use crate::http::response::Status;
use crate::limits;
use crate::meters::ShardMeters;
use crate::origin::query;
use crate::sys::clock::Clock;
use crate::sys::net;

/// Where a shard's counts and log lines go.
pub struct Accounts {
    pub(super) meters: Arc<ShardMeters>,
    sink: RefCell<AccessSink>,
    /// Records for lines that are being made; boxed, so that a connection keeps a pointer only.
    #[expect(clippy::vec_box, reason = "boxes move between here and the connections")]
    spare: RefCell<Vec<Box<Record>>>,
    published_us: Cell<u64>,
    /// Players' sessions, once one was named.
    pub(super) sessions: RefCell<Option<Sessions>>,
}

impl Accounts {
    /// Counts into `meters`, logs into `sink`.
    pub fn new(meters: Arc<ShardMeters>, sink: AccessSink) -> Self {
        Self {
            meters,
            sink: RefCell::new(sink),
            spare: RefCell::default(),
            published_us: Cell::new(0),
            sessions: RefCell::default(),
        }
    }
}

/// What is known of the request under way.
#[derive(Default)]
pub(super) struct Account {
    /// When its first byte was seen.
    pub(super) begun_us: u64,
    /// When its head was complete, in microseconds after its first byte. An hour is enough.
    headed_us: u32,
    /// When the first byte of the answer was handed to the kernel, one more than microseconds after
    /// the request's first byte; 0 before.
    answered_us: u32,
    /// Status of the final answer; 0 before.
    pub(super) status: u16,
    /// How long the answer was held, in milliseconds, where that is told; the most is the most.
    pub(super) held_ms: u16,
    /// Bytes of the answer handed to the kernel, and those of its head.
    pub(super) sent_bytes: u64,
    head_bytes: u32,
    received_before: u64,
    line: Option<Box<Record>>,
}

impl Account {
    /// Notes what the player said of itself.
    pub(super) fn note_cmcd(&mut self, said: Text<{ limits::ACCESS_FIELD_BYTES }>) {
        if let Some(line) = &mut self.line {
            line.cmcd = said;
        }
    }

    /// Notes what the credential is called that decided about the request.
    pub(super) fn note_credential(&mut self, name: &str) {
        if let Some(line) = &mut self.line {
            line.credential = Text::new(name.as_bytes());
        }
    }
}

impl Conn {
    /// A request's head is complete.
    pub(super) fn open_account(&mut self, head: &Head) {
        let shard = &self.shard;
        let now_us = shard.reactor.clock.now_us();
        let meters = &shard.accounts.meters;
        match head.method {
            Method::Get => meters.requests_get.bump(),
            Method::Head => meters.requests_head.bump(),
            Method::Put | Method::Post => meters.requests_put.bump(),
            Method::Delete => meters.requests_delete.bump(),
            Method::Options => meters.requests_options.bump(),
            Method::Other => meters.requests_other.bump(),
        }
        let account = &mut self.account;
        account.headed_us = narrow(now_us.saturating_sub(account.begun_us));
        account.answered_us = 0;
        account.status = 0;
        account.sent_bytes = 0;
        if shard.accounts.sink.borrow_mut().wants() {
            let bytes = self.input.unread(&shard.reactor.buffers);
            let mut line = shard.accounts.spare.borrow_mut().pop().unwrap_or_default();
            describe(&mut line, head, bytes);
            account.received_before = shard.reactor.bytes_received(self.socket);
            account.line = Some(line);
        }
    }

    /// Notes the status of the final answer, and the bytes of its head.
    #[inline]
    pub(super) fn note_head(&mut self, status: Status, head_bytes: usize) {
        self.account.status = status.code();
        self.account.head_bytes = narrow(head_bytes as u64);
    }

    /// Notes that the answer begins to leave.
    #[inline]
    pub(super) fn note_send(&mut self, bytes: usize) {
        self.account.sent_bytes += bytes as u64;
        if self.account.answered_us == 0 {
            let since_us = self.shard.reactor.clock.now_us().saturating_sub(self.account.begun_us);
            self.account.answered_us = narrow(since_us).saturating_add(1);
        }
    }

    /// Counts a connection that is cut, where it is because its peer is too slow.
    pub(super) fn note_cut(&self, slow: bool) {
        if slow {
            self.shard.accounts.meters.slow_readers_cut.bump();
        }
    }

    /// What a connection that goes on without its task keeps for its end: only what is logged.
    pub(super) fn keep_account(&mut self) -> Option<Box<Account>> {
        self.account.line.as_ref()?;
        Some(Box::new(std::mem::take(&mut self.account)))
    }

    /// The request has been answered, or was not.
    pub(super) fn close_account(&mut self, outcome: Result<Then, Gone>) {
        let shard = &self.shard;
        let now_us = shard.reactor.clock.now_us();
        let account = &mut self.account;
        let meters = &shard.accounts.meters;
        let answered_us = account.answered_us.saturating_sub(1);
        let turnaround_us = u64::from(answered_us.saturating_sub(account.headed_us));
        let duration_us = now_us - account.begun_us;
        if account.status != 0 {
            meters.count_response(account.status);
            meters.turnaround.observe(turnaround_us);
            meters.request_duration.observe(duration_us);
        }
        let Some(mut line) = account.line.take() else { return };
        line.time_us = Clock::wall_ms() * 1000 - duration_us;
        line.duration_us = duration_us;
        line.turnaround_us = turnaround_us;
        line.status = account.status;
        line.body_bytes = account.sent_bytes.saturating_sub(account.head_bytes.into());
        line.received_bytes = shard.reactor.bytes_received(self.socket) - account.received_before;
        line.cut = matches!(outcome, Err(_) | Ok(Then::Cut));
        line.shard = shard.id;
        if let Some(peer) = net::peer(shard.reactor.fd(self.socket)) {
            line.remote = peer.ip();
        }
        shard.accounts.sink.borrow_mut().push(&line);
        shard.accounts.spare.borrow_mut().push(line);
    }
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn describe(line: &mut Record, head: &Head, bytes: &[u8]) {
    line.method = match head.method {
        Method::Get => access::Method::Get,
        Method::Head => access::Method::Head,
        Method::Put => access::Method::Put,
        Method::Post => access::Method::Post,
        Method::Delete => access::Method::Delete,
        Method::Options => access::Method::Options,
        Method::Other => access::Method::Other,
    };
    line.minor = u8::from(head.version == Version::Http11);
    (line.credential, line.cmcd) = (Text::EMPTY, Text::EMPTY);
    // What lets its bearer in must not stand in a log.
    line.target = Text::of_runs(query::redacted(head.target.of(bytes)));
    let referer = head.header(bytes, Known::Referer).unwrap_or_default();
    line.referer = Text::of_runs(query::redacted(referer));
    line.user_agent = Text::new(head.header(bytes, Known::UserAgent).unwrap_or_default());
}

impl Shard {
    /// Brings the meters up to date when their period is over.
    pub(super) fn publish_meters(&self) {
        let now_us = self.reactor.clock.now_us();
        if now_us < self.accounts.published_us.get() + limits::METERS_PERIOD_US {
            return;
        }
        self.accounts.published_us.set(now_us);
        let meters = &self.accounts.meters;
        let counts = &self.reactor.counts;
        meters.connections_open.set(self.reactor.connections() as u64);
        meters.received_bytes.raise_to(counts.received.get());
        meters.sent_bytes_copy.raise_to(counts.bytes.get());
        meters.sent_bytes_zc.raise_to(counts.bytes_zc.get());
        meters.sent_bytes_splice.raise_to(counts.bytes_shared.get());
        meters.sends_splice.raise_to(counts.shares.get());
        meters.spliced_unread_bytes.set(self.reactor.unread_bytes());
        meters.sends_copy.raise_to(counts.sends.get());
        meters.sends_zc.raise_to(counts.sends_zc.get());
        meters.zc_copied.raise_to(counts.copied.get());
        meters.zc_demotions.raise_to(counts.demoted.get());
        meters.ring_completions.raise_to(counts.completions.get());
        meters.reads_waiting.set(self.watching() as u64);
        meters.ll_playlists.set(self.makers() as u64);
        self.refresh_stale();
        meters.stale_manifests.set(self.stale.borrow().len() as u64);
        self.refresh_ladders();
        meters.incomplete_ladders.set(self.incomplete_ladders());
        if let Some(sessions) = self.accounts.sessions.borrow_mut().as_mut() {
            meters.cmcd_sessions.set(sessions.count(self.reactor.clock.now_ms()));
        }
        meters.receive_starved.raise_to(counts.starved.get());
        meters.connections_cut.raise_to(counts.cut.get());
        meters.receive_buffers.set(u64::from(self.reactor.buffers.in_use()));
        let (enters, overflows, full) = self.reactor.ring_counts();
        meters.ring_enters.raise_to(enters);
        meters.ring_cq_overflows.raise_to(overflows);
        meters.ring_sq_full.raise_to(full);
        self.publish_store();
    }

    fn publish_store(&self) {
        let meters = &self.accounts.meters;
        for gap_ms in self.store.borrow_mut().gaps_ms.drain(..) {
            meters.ingest_gap.observe(gap_ms);
        }
        let store = self.store.borrow().statistics();
        meters.objects.set(store.objects);
        meters.folders.set(store.folders);
        meters.objects_growing.set(store.growing);
        meters.objects_expired.raise_to(store.expired_total);
        meters.arena_used_bytes.set(store.used_bytes);
        let slot_bytes = crate::sys::extent::SlotSource::slot_bytes(self.reactor.arena());
        meters.arena_drawn_bytes.set(store.slots_held * u64::from(slot_bytes));
        meters.arena_retired_bytes.set(store.retired_bytes);
        meters.arena_pinned_bytes.set(store.pinned_bytes);
        meters.watched_keys.set(store.watched);
        meters.leases_held.set(store.leases_held);
        meters.leases_granted.raise_to(store.grants_total);
        meters.leases_recalled.raise_to(store.recalls_total);
        meters.evictions.raise_to(store.evicted_total);
        meters.evicted_bytes.raise_to(store.evicted_bytes_total);
        meters.prefetches_wasted.raise_to(store.unread_total);
        meters.copies_same.raise_to(store.copies_same_total);
        meters.copies_other.raise_to(store.copies_other_total);
        meters.takeovers.raise_to(store.takeovers_total);
        meters.pipeline_switches.raise_to(store.pipeline_switches_total);
        meters.aside_bytes.set(store.aside_bytes);
        meters.leases_evicted.raise_to(store.evictions_total);
    }

    /// Whether counts have changed since the last look and a sleeping shard would hide them.
    pub(super) fn meters_due(&self) -> bool {
        self.reactor.clock.now_us() != self.accounts.published_us.get()
    }
}
