//! How a large body leaves without being copied where the route copies: by reference.
//!
//! Invariants: what was shared is never sent again, and what cannot be shared is left to copying;
//! a peer that takes too little in a window is cut off like any other.

use super::answer::{Front, Rest};
use super::conn::{Conn, Gone};
use crate::limits;
use crate::sys::net;

impl Conn {
    /// Sends the head and shares the body, as far as that goes; the rest stays in `rest`.
    pub(super) async fn share(&mut self, rest: &mut Rest) -> Result<(), Gone> {
        if let Some(Front::Assembled(head)) = rest.front.take() {
            let mut at = 0;
            while at < head.len() {
                self.shard.reactor.turn_for(rest.bytes()).await;
                match self.shard.reactor.send_head(self.socket, &head, at) {
                    Ok(0) => self.room().await?,
                    Ok(sent) => at += sent,
                    Err(_) => return Err(Gone),
                }
            }
            self.note_send(at);
            self.shard.reactor.recycle(head);
        }
        loop {
            self.shard.reactor.turn_for(rest.bytes()).await;
            let Some(cursor) = &mut rest.body else { return Ok(()) };
            let Some(run) = cursor.run(limits::PIPE_BYTES as u64) else { return Ok(()) };
            let more = u64::from(run.2) < cursor.left();
            if !self.shard.reactor.may_share(run.2.into()) {
                return Ok(());
            }
            // Without memory for references the rest goes by copy; on a dead connection, nowhere.
            let Ok(shared) = self.shard.reactor.share(self.socket, run, more) else {
                return Ok(());
            };
            cursor.at += shared as u64;
            self.note_send(shared);
            if shared < run.2 as usize {
                self.room().await?;
            }
        }
    }

    /// Waits until the socket has room, as long as the peer takes enough.
    pub(super) async fn room(&self) -> Result<(), Gone> {
        let reactor = &self.shard.reactor;
        let window_ms = self.shard.settings.rate_window_ms;
        let mut before = None;
        loop {
            reactor.set_deadline(self.socket, reactor.clock.now_ms() + window_ms);
            if reactor.writable(self.socket).await.is_ok() {
                return Ok(());
            }
            let now = net::bytes_acknowledged(reactor.fd(self.socket)).unwrap_or(0);
            let slow = before.is_some_and(|before| {
                now.saturating_sub(before) < self.shard.settings.window_bytes_min()
            });
            if slow || self.shard.is_past_drain() {
                self.note_cut(slow);
                return Err(Gone);
            }
            before = Some(now);
        }
    }
}
