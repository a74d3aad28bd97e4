//! The lanes on which messages travel between shards: in order for each pair, and no further.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::faults::some_us;
use super::with;
use crate::sys::extent::ShardId;

/// A message and when it arrives.
type Sent<T> = (u64, T);

/// Messages on their way, and how long they take at most.
type Lane<T> = (VecDeque<Sent<T>>, u64);

/// All lanes of one set of mailboxes.
pub struct Lanes<T> {
    shards: usize,
    /// From one shard to another, by `from * shards + to`.
    lanes: Arc<Mutex<Vec<Lane<T>>>>,
}

impl<T> Clone for Lanes<T> {
    fn clone(&self) -> Self {
        Self { shards: self.shards, lanes: self.lanes.clone() }
    }
}

impl<T> Lanes<T> {
    /// Lanes, when a simulation is installed that delays messages.
    pub(in crate::sys) fn new(shards: usize) -> Option<Self> {
        with(|state| state.faults.message_us_max).filter(|&max| max > 0)?;
        let lane = |_| {
            // Some lanes are fast, so that others are overtaken.
            let max = with(|state| match state.random.once_in(2) {
                true => state.faults.message_us_max,
                false => 0,
            });
            (VecDeque::new(), max.expect("a simulation is installed"))
        };
        let lanes = (0..shards * shards).map(lane).collect();
        Some(Self { shards, lanes: Arc::new(Mutex::new(lanes)) })
    }

    pub(in crate::sys) fn send(&self, from: ShardId, to: ShardId, message: T) {
        let (lane, max) = &mut self.lanes.lock().unwrap()[self.lane(from, to)];
        let due_us = with(|state| state.now_us + some_us(&mut state.random, *max));
        let before_us = lane.back().map_or(0, |sent| sent.0);
        lane.push_back((due_us.expect("a simulation is installed").max(before_us), message));
    }

    /// A message that has arrived at `to`.
    pub(in crate::sys) fn receive(&self, to: ShardId) -> Option<T> {
        let mut lanes = self.lanes.lock().unwrap();
        let (now_us, start) = with(|state| (state.now_us, state.random.index(self.shards)))?;
        let from = (0..self.shards).map(|from| (from + start) % self.shards).find(|&from| {
            let head = lanes[from * self.shards + usize::from(to)].0.front();
            head.is_some_and(|sent| sent.0 <= now_us)
        })?;
        lanes[from * self.shards + usize::from(to)].0.pop_front().map(|sent| sent.1)
    }

    /// When the next message arrives at `to`.
    pub(in crate::sys) fn next_us(&self, to: ShardId) -> Option<u64> {
        let lanes = self.lanes.lock().unwrap();
        let heads = (0..self.shards)
            .filter_map(|from| lanes[from * self.shards + usize::from(to)].0.front());
        heads.map(|sent| sent.0).min()
    }

    fn lane(&self, from: ShardId, to: ShardId) -> usize {
        usize::from(from) * self.shards + usize::from(to)
    }
}
