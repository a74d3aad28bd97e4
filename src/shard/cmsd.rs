//! What an answer says of itself where its path wants `cmsd_dynamic` (CTA-5006): how long it was
//! held, and what its connection allows.
//!
//! Such answers differ from each other, so they are not among those that are made once for many.
//!
//! **Invariants**: where no path wants it a read costs a branch; where one does, an answer costs
//! one system call.

use super::conn::Conn;
use crate::http::request::{Head, Method};
use crate::http::response::Writer;
use crate::limits;
use crate::origin::cmsd::Told;
use crate::origin::key;
use crate::sys::net;

impl Conn {
    /// Whether the answer under way says what is true of it alone.
    #[inline]
    pub(super) fn tells(&self) -> bool {
        self.rules.tells && self.tells
    }

    /// Looks whether the path of the request that begins wants that.
    #[inline(never)]
    pub(super) fn note_tells(&mut self, head: &Head) {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let is_read = matches!(head.method, Method::Get | Method::Head);
        self.tells = is_read
            && key::parse(head.path.of(bytes), &mut scratch)
                .is_ok_and(|key| self.rules.paths.is_cmsd_dynamic(key));
        self.account.held_ms = 0;
    }

    /// Writes what the answer says of itself.
    #[cold]
    pub(super) fn tell(&self, writer: &mut Writer<'_>) {
        let way = net::way(self.shard.reactor.fd(self.socket));
        Told {
            held_ms: self.account.held_ms.into(),
            round_trip_us: way.map_or(0, |way| way.round_trip_us),
            window_bytes: way.map_or(0, |way| way.window_bytes),
        }
        .write(writer);
    }

    /// Notes that the request has waited since `began_ms`.
    pub(super) fn note_held(&mut self, began_ms: u64) {
        let waited_ms = self.shard.reactor.clock.now_ms().saturating_sub(began_ms);
        self.account.held_ms = u16::try_from(waited_ms).unwrap_or(u16::MAX);
    }
}
