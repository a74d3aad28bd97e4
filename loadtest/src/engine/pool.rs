//! The connections of one thread: which are free, which are down, which has waited longest.
//!
//! Free connections are used in turn, so that all of them carry load. Those with a request, or
//! with a connect, under way form a list in the order of their start: the first one is the next to
//! time out, whatever their number. Never does: input or output.

use std::collections::VecDeque;

use socket2::Socket;

use super::answer::Answer;
use super::record::Job;
use super::source::Payload;
use crate::sys::ring::Token;

const NONE: u32 = u32::MAX;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No socket.
    Down,
    /// Its connect is under way.
    Connecting,
    /// Connected, and free.
    Idle,
    /// A request is under way.
    Busy,
}

/// One connection.
pub struct Connection {
    /// Which target it belongs to.
    pub target: usize,
    /// What it is doing.
    pub state: State,
    /// Its socket, when it has one.
    pub socket: Option<Socket>,
    /// Its request: under way, or to be sent when the connect is done.
    pub job: Option<Job>,
    /// The bytes of that request, of which a part may still be to send.
    pub payload: Option<Payload>,
    /// Whether a receive is with the kernel.
    pub armed: bool,
    /// Whether the kernel still sends.
    pub sending: bool,
    /// Its answer.
    pub answer: Answer,
    /// When the current state began.
    pub since: u64,
    generation: u16,
    before: u32,
    behind: u32,
}

/// The connections of one thread.
pub struct Pool {
    all: Vec<Connection>,
    idle: Vec<VecDeque<u32>>,
    down: Vec<Vec<u32>>,
    first: u32,
    last: u32,
    under_way: usize,
}

impl Pool {
    /// `count` connections, all down, spread over `targets`; at least one for each.
    pub fn new(count: usize, targets: usize) -> Self {
        let count = count.max(targets);
        let connection = |index: usize| Connection {
            target: index % targets,
            state: State::Down,
            socket: None,
            job: None,
            payload: None,
            armed: false,
            sending: false,
            answer: Answer::default(),
            since: 0,
            generation: 0,
            before: NONE,
            behind: NONE,
        };
        let mut pool = Self {
            all: (0..count).map(connection).collect(),
            idle: vec![VecDeque::new(); targets],
            down: vec![Vec::new(); targets],
            first: NONE,
            last: NONE,
            under_way: 0,
        };
        for index in (0..u32::try_from(count).unwrap_or(0)).rev() {
            pool.down[index as usize % targets].push(index);
        }
        pool
    }

    /// Number of connections.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Never: there is one for each target.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Connections with a request or a connect under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// One connection.
    pub fn at(&mut self, index: u32) -> &mut Connection {
        &mut self.all[index as usize]
    }

    /// The connection and its current token.
    pub fn token(&self, index: u32) -> Token {
        Token { slot: index, generation: self.all[index as usize].generation }
    }

    /// The connection that a token means; `None` when that socket is gone.
    pub fn current(&self, token: Token) -> Option<u32> {
        let connection = self.all.get(token.slot as usize)?;
        (connection.generation == token.generation).then_some(token.slot)
    }

    /// The free connection of a target that was used longest ago.
    pub fn take_idle(&mut self, target: usize) -> Option<u32> {
        self.idle[target].pop_front()
    }

    /// A connection of a target without a socket.
    pub fn take_down(&mut self, target: usize) -> Option<u32> {
        self.down[target].pop()
    }

    /// A request or a connect begins on a connection that was taken.
    pub fn begin(&mut self, index: u32, state: State, now: u64) {
        let last = self.last;
        let connection = &mut self.all[index as usize];
        connection.state = state;
        connection.since = now;
        connection.before = last;
        connection.behind = NONE;
        match last {
            NONE => self.first = index,
            last => self.all[last as usize].behind = index,
        }
        self.last = index;
        self.under_way += 1;
    }

    /// What was under way is over; the connection is in nobody's list.
    pub fn end(&mut self, index: u32) {
        let connection = &self.all[index as usize];
        let (before, behind) = (connection.before, connection.behind);
        match before {
            NONE => self.first = behind,
            before => self.all[before as usize].behind = behind,
        }
        match behind {
            NONE => self.last = before,
            behind => self.all[behind as usize].before = before,
        }
        self.under_way -= 1;
    }

    /// A connection that was taken or ended is free.
    pub fn put_idle(&mut self, index: u32) {
        let connection = &mut self.all[index as usize];
        connection.state = State::Idle;
        self.idle[connection.target].push_back(index);
    }

    /// A connection lost its socket: late completions of it are not its own any more.
    pub fn put_down(&mut self, index: u32) {
        let connection = &mut self.all[index as usize];
        if connection.state == State::Idle {
            self.idle[connection.target].retain(|other| *other != index);
        }
        connection.state = State::Down;
        connection.socket = None;
        connection.armed = false;
        connection.sending = false;
        connection.payload = None;
        connection.generation = connection.generation.wrapping_add(1);
        self.down[connection.target].push(index);
    }

    /// What has been under way longest.
    pub fn oldest(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_found_whatever_ends() {
        let mut pool = Pool::new(4, 1);
        for now in 0..4 {
            let index = pool.take_down(0).unwrap();
            pool.begin(index, State::Busy, now);
        }
        assert_eq!((pool.take_down(0), pool.oldest(), pool.under_way()), (None, Some(0), 4));
        pool.end(1);
        pool.end(0);
        assert_eq!(pool.oldest(), Some(2));
        pool.end(3);
        pool.end(2);
        assert_eq!((pool.oldest(), pool.under_way()), (None, 0));
        pool.begin(1, State::Busy, 9);
        assert_eq!(pool.oldest(), Some(1));
    }

    #[test]
    fn free_connections_are_used_in_turn() {
        let mut pool = Pool::new(3, 2);
        assert_eq!(pool.len(), 3);
        let first = pool.take_down(0).unwrap();
        let second = pool.take_down(0).unwrap();
        pool.put_idle(first);
        pool.put_idle(second);
        assert_eq!((pool.take_idle(0), pool.take_idle(1)), (Some(first), None));
        let old = pool.token(second);
        pool.put_down(second);
        assert_eq!((pool.take_idle(0), pool.current(old)), (None, None));
        assert_eq!(pool.take_down(0), Some(second));
    }
}
