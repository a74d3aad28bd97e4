//! What players say of themselves, counted and logged (`media::cmcd`).
//!
//! Invariants: it changes no answer and no key; a request without CMCD costs a look at its query
//! and, where the configuration asks for it, at its header lines.

use super::conn::Conn;
use crate::access::Text;
use crate::http::request::Head;
use crate::limits;
use crate::media::cmcd::Report;
use crate::origin::query;

/// The headers that carry lists (CTA-5004 section 2).
const HEADERS: [&[u8]; 4] = [b"cmcd-object", b"cmcd-request", b"cmcd-session", b"cmcd-status"];

impl Conn {
    /// Counts what a read says of its player.
    #[cold]
    pub(super) fn note_cmcd(&mut self, head: &Head) {
        let shard = &self.shard;
        let bytes = self.input.unread(&shard.reactor.buffers);
        let mut room = [0; limits::CMCD_BYTES_MAX];
        let mut report = Report::default();
        let mut said = Text::EMPTY;
        let mut is_fine = true;
        match query::value_into(head.query.of(bytes), b"CMCD", &mut room) {
            Ok(Some(list)) => {
                is_fine = report.read(list).is_ok();
                said = Text::new(list);
            }
            Ok(None) => {
                let lists = || {
                    let lines = head.lines(bytes).filter(|(name, _)| {
                        HEADERS.iter().any(|known| name.eq_ignore_ascii_case(known))
                    });
                    lines.map(|(_, list)| list)
                };
                if lists().next().is_none() {
                    return;
                }
                for list in lists() {
                    is_fine &= list.len() <= limits::CMCD_BYTES_MAX && report.read(list).is_ok();
                }
                said = Text::of_runs(lists().flat_map(|list| [&b","[..], list]).skip(1));
            }
            Err(query::TooLong) => is_fine = false,
        }
        self.account.note_cmcd(said);
        self.count_cmcd(&report, is_fine);
    }

    fn count_cmcd(&self, report: &Report, is_fine: bool) {
        let accounts = &self.shard.accounts;
        let meters = &accounts.meters;
        meters.cmcd_requests.bump();
        meters.cmcd_malformed.add(u64::from(!is_fine));
        meters.cmcd_starved.add(u64::from(report.is_starved));
        meters.cmcd_startups.add(u64::from(report.is_startup));
        let observed = [
            (&meters.cmcd_bitrate, report.bitrate_kbps),
            (&meters.cmcd_buffer, report.buffer_ms),
            (&meters.cmcd_throughput, report.throughput_kbps),
        ];
        for (meter, value) in observed {
            value.into_iter().for_each(|value| meter.observe(value.into()));
        }
        if let Some(session) = report.session {
            let now_ms = self.shard.reactor.clock.now_ms();
            accounts.sessions.borrow_mut().get_or_insert_default().note(session, now_ms);
        }
    }
}

/// Distinct sessions of the last while, estimated by linear counting in 16 KiB.
///
/// Source: Whang, Vander-Zanden, Taylor: A linear-time probabilistic counting algorithm (1990).
pub(super) struct Sessions {
    /// Bits of the hashes seen in this half of the window and in the one before.
    halves: [Box<[u64; WORDS]>; 2],
    began_ms: u64,
}

const WORDS: usize = 1024;
const BITS: u32 = 64 * 1024;

/// Half of the time over which sessions count, in milliseconds.
const SESSIONS_HALF_MS: u64 = 30_000;

impl Default for Sessions {
    fn default() -> Self {
        Self { halves: [Box::new([0; WORDS]), Box::new([0; WORDS])], began_ms: 0 }
    }
}

impl Sessions {
    /// Notes a session by its hash.
    pub(super) fn note(&mut self, session: u64, now_ms: u64) {
        self.turn(now_ms);
        let bit = session % u64::from(BITS);
        let word = usize::try_from(bit / 64).unwrap_or(0);
        self.halves[0][word] |= 1 << (bit % 64);
    }

    /// How many were seen in the last 30 to 60 seconds; within some percent up to 300,000.
    pub(super) fn count(&mut self, now_ms: u64) -> u64 {
        self.turn(now_ms);
        let [now, before] = &self.halves;
        let empty: u32 = now.iter().zip(before.iter()).map(|(a, b)| (a | b).count_zeros()).sum();
        let share = f64::from(empty.max(1)) / f64::from(BITS);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, >= 0")]
        let count = (-f64::from(BITS) * share.ln()).round() as u64;
        count
    }

    fn turn(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.began_ms) / SESSIONS_HALF_MS;
        if passed == 0 {
            return;
        }
        self.began_ms = now_ms;
        self.halves.swap(0, 1);
        self.halves[0].fill(0);
        if passed > 1 {
            self.halves[1].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    #[test]
    fn sessions_are_counted_once_and_forgotten() {
        let mut sessions = Sessions::default();
        for round in 0..3 {
            for number in 0..20_000_u64 {
                sessions.note(xxh3_64(&number.to_le_bytes()), 1000 + round);
            }
        }
        let count = sessions.count(2000);
        assert!((19_000..=21_000).contains(&count), "{count}");
        assert_eq!(sessions.count(2000 + SESSIONS_HALF_MS), count);
        assert_eq!(sessions.count(3000 + 2 * SESSIONS_HALF_MS), 0);
        assert_eq!(sessions.count(u64::MAX), 0);
    }
}
