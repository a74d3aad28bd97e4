//! Whether what clients saw of one key can be explained by one order of its operations.
//!
//! Each operation takes effect at one instant between its call and its return (linearizability).
//! The search tries the operations that may come next, and remembers which (done, value) pairs led
//! nowhere.

use std::collections::{HashMap, HashSet};

/// A version's number; zero is absent.
pub type Value = u64;

#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Write(Value),
    /// A write on the condition that the key is absent.
    WriteIfAbsent(Value),
    Read(Value),
    /// Found that something is there.
    SawSomething,
    /// A delete that found something.
    Delete,
    /// The version, if it is there, goes: its upload broke off.
    Clear(Value),
    /// Whatever is there goes: a delete of which nobody knows what it found.
    Vanish,
    /// The clock was set.
    Clock(u64),
}

/// What happened to one key.
#[derive(Debug, Default)]
pub struct History {
    operations: Vec<(u64, u64, Operation)>,
    /// When versions expire.
    pub expires_ms: HashMap<Value, u64>,
}

/// Most operations of one history; one bit each.
pub const OPERATIONS_MAX: usize = 128;

impl History {
    /// Notes an operation with the instants of its call and its return.
    pub fn note(&mut self, called: u64, returned: u64, operation: Operation) {
        assert!(called < returned);
        self.operations.push((called, returned, operation));
    }

    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether some order explains the history; prints it otherwise.
    pub fn is_explained(&mut self) -> bool {
        assert!(self.operations.len() <= OPERATIONS_MAX);
        self.operations.sort_by_key(|&(called, ..)| called);
        let mut hopeless = HashSet::new();
        let explained = self.search(0, (0, 0), &mut hopeless);
        for (called, returned, operation) in self.operations.iter().filter(|_| !explained) {
            println!("{called:6} {returned:6} {operation:?}");
        }
        explained
    }

    fn search(
        &self,
        done: u128,
        state: (Value, u64),
        hopeless: &mut HashSet<(u128, Value)>,
    ) -> bool {
        let open = |at: &usize| done & (1 << at) == 0;
        let ends = (0..self.operations.len()).filter(open).map(|at| self.operations[at].1).min();
        let Some(ends) = ends else { return true };
        if !hopeless.insert((done, state.0)) {
            return false;
        }
        for at in (0..self.operations.len()).filter(open) {
            let (called, _, operation) = self.operations[at];
            if called > ends {
                break;
            }
            let next = self.apply(state, operation);
            if next.is_some_and(|next| self.search(done | 1 << at, next, hopeless)) {
                return true;
            }
        }
        false
    }

    /// The value and clock after an operation, or `None` when it cannot have happened here.
    fn apply(&self, state: (Value, u64), operation: Operation) -> Option<(Value, u64)> {
        let (value, now_ms) = state;
        let (value, now_ms) = match operation {
            Operation::Write(new) => (new, now_ms),
            Operation::WriteIfAbsent(new) if value == 0 => (new, now_ms),
            Operation::Read(seen) if value == seen => state,
            Operation::SawSomething if value != 0 => state,
            Operation::Delete if value != 0 => (0, now_ms),
            Operation::Clear(old) => (if value == old { 0 } else { value }, now_ms),
            Operation::Vanish => (0, now_ms),
            Operation::Clock(now_ms) => (value, now_ms),
            _ => return None,
        };
        let expired = self.expires_ms.get(&value).is_some_and(|&at_ms| at_ms <= now_ms);
        Some((if expired { 0 } else { value }, now_ms))
    }
}

#[test]
fn a_stale_read_is_found() {
    let mut history = History::default();
    history.note(1, 2, Operation::Write(1));
    history.note(3, 6, Operation::Write(2));
    history.note(4, 5, Operation::Read(1));
    assert!(history.is_explained());
    history.note(7, 8, Operation::Read(1));
    assert!(!history.is_explained());
}
