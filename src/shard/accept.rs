//! New connections: taken, balanced between shards, or turned away.

use std::os::fd::RawFd;
use std::rc::Rc;

use super::{Envelope, Shard, conn};
use crate::limits;
use crate::sys::net;

/// What a connection beyond the limit is told.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: application/json\r\nContent-Length: 52\r\n\
    Cache-Control: max-age=1\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
    {\"status\":503,\"error\":\"all connections are in use\"}\n";

impl Shard {
    /// Serves the connections accepted since the last turn.
    pub(super) fn accept_new(self: &Rc<Self>) {
        let mut accepted = Vec::new();
        self.reactor.accepted(&mut accepted);
        for (_, fd) in accepted {
            self.accounts.meters.connections_accepted.bump();
            self.place(fd);
        }
        self.mailbox.bells().report(self.id, self.reactor.connections());
    }

    /// Keeps the connection, or hands it to the least loaded shard when this one is well above.
    fn place(self: &Rc<Self>, fd: RawFd) {
        let own = self.reactor.connections();
        let (least, load) = self.mailbox.bells().least_loaded();
        let slack = limits::BALANCE_SLACK_MIN.max(load / 8);
        if least != self.id && own > load + slack {
            let bells = self.mailbox.bells();
            self.accounts.meters.connections_handed_over.bump();
            bells.report(least, load + 1);
            self.mailbox.send(least, Envelope::Connection(net::own(fd)), &self.reactor);
            return;
        }
        self.spawn(fd);
    }

    /// Whether a new connection needs the place of another one.
    pub(super) fn is_crowded(&self) -> bool {
        self.reactor.connections() >= self.settings.connections_max
    }

    /// Starts the task of a connection; beyond the limit an idle one gives way, else this one.
    pub(super) fn spawn(self: &Rc<Self>, fd: RawFd) {
        if self.is_draining() {
            net::turn_away(fd, TURNED_AWAY);
            return;
        }
        if self.is_crowded() {
            let made_room = self.reactor.evict_idle();
            let max = self.settings.connections_max;
            let over_max = limits::CONNECTIONS_OVER_MAX.min(max / 2).max(1);
            if !made_room || self.reactor.connections() >= max + over_max {
                self.accounts.meters.connections_refused.bump();
                net::turn_away(fd, TURNED_AWAY);
                return;
            }
        }
        let socket = self.reactor.adopt(fd);
        self.reactor.tasks.spawn(conn::run(self.clone(), socket));
    }
}
