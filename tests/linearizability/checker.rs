//! Whether one order of its operations explains what clients saw of a key (linearizability).
//!
//! A key is a register: absent, or holding one of the values that were written. Each operation
//! takes effect at one instant between its call and its return. The checker walks through calls
//! and returns in the order of time and keeps every state the register may be in, together with
//! the operations under way that have taken effect in it. When an operation returns, states that
//! cannot let it take effect are dropped; when none is left, no order explains the history. A write
//! that nobody sees because another one follows at once costs no state of its own.
//!
//! **Invariants**: an operation without an answer may take effect at any time after its call, or
//! never; states that were looked at once are not looked at again.

use std::collections::HashSet;

/// Names what was written; every write has its own.
pub type Value = u64;

/// The key holds nothing.
pub const ABSENT: Value = 0;

/// A precondition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    Always,
    /// `If-Match` with the tag of this value.
    Is(Value),
    /// `If-None-Match: *`.
    IsAbsent,
}

impl Guard {
    fn holds(self, state: Value) -> bool {
        match self {
            Self::Always => true,
            Self::Is(value) => state == value,
            Self::IsAbsent => state == ABSENT,
        }
    }
}

/// What a client asked for and what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A write that was acknowledged.
    Put(Value, Guard),
    /// A write whose precondition did not hold.
    PutRefused(Guard),
    /// A write without an answer.
    PutUnknown(Value),
    /// A delete that found something.
    Delete(Guard),
    /// A delete whose precondition did not hold.
    DeleteRefused(Guard),
    /// A read or delete that found nothing.
    Nothing,
    /// A read that found the value, or was told that it has it already.
    Saw(Value),
    /// A read on the condition that the value is there; something else was.
    SawOther(Value),
}

impl Operation {
    /// Whether the operation can take effect in `state`.
    fn can(self, state: Value) -> bool {
        self.apply(state).is_some()
    }

    /// The state after the operation, or `None` when it cannot take effect in `state`.
    fn apply(self, state: Value) -> Option<Value> {
        match self {
            Self::Put(value, guard) => guard.holds(state).then_some(value),
            Self::PutUnknown(value) => Some(value),
            Self::PutRefused(guard) | Self::DeleteRefused(guard) => {
                (!guard.holds(state)).then_some(state)
            }
            Self::Delete(guard) => (guard.holds(state) && state != ABSENT).then_some(ABSENT),
            Self::Nothing => (state == ABSENT).then_some(state),
            Self::Saw(value) => (state == value).then_some(state),
            Self::SawOther(value) => (state != value && state != ABSENT).then_some(state),
        }
    }
}

/// An operation and the instants of its call and its return, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub called: u64,
    /// `None` when no answer came.
    pub returned: Option<u64>,
    pub operation: Operation,
}

/// One state the register may be in; sets of operations under way are bits by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    value: Value,
    /// Have taken effect.
    done: u64,
    /// Writes that may have taken effect just before another one, seen by nobody; they may still
    /// take effect where they are seen, instead.
    hidden: u64,
}

/// Judges a history of one key that begins absent.
///
/// # Errors
/// Names the operation that nothing explains, and those around it.
pub fn check(history: &[Event]) -> Result<(), String> {
    // A call counts as before a return of the same instant: the more forgiving reading.
    let mut instants: Vec<(u64, bool, usize)> = Vec::new();
    for (number, event) in history.iter().enumerate() {
        instants.push((event.called, false, number));
        instants.extend(event.returned.map(|returned| (returned, true, number)));
    }
    instants.sort_unstable();
    let mut open = Open { history, places: [None; 64] };
    let mut states = vec![State { value: ABSENT, done: 0, hidden: 0 }];
    for (_, is_return, number) in instants {
        let wanted = if is_return { Some(number) } else { None };
        let place = open.places.iter().position(|place| *place == wanted);
        let place = place.expect("at most 64 operations are under way at once");
        if !is_return {
            open.places[place] = Some(number);
            continue;
        }
        states = open.step(&states, place);
        if states.is_empty() {
            return Err(explain(history, number));
        }
        open.places[place] = None;
    }
    Ok(())
}

/// What is under way: operations by place.
struct Open<'a> {
    history: &'a [Event],
    places: [Option<usize>; 64],
}

impl Open<'_> {
    fn operations(&self) -> impl Iterator<Item = (usize, Operation)> + '_ {
        let operation = |number: usize| self.history[number].operation;
        let places = self.places.iter().enumerate();
        places.filter_map(move |(place, number)| Some((place, operation((*number)?))))
    }

    /// The places of the operations that are `wanted`.
    fn set(&self, wanted: fn(Operation) -> bool) -> u64 {
        let places = self.operations().filter(|&(_, operation)| wanted(operation));
        places.map(|(place, _)| 1 << place).sum()
    }

    /// Lets every operation take effect that changes nothing and can: later is never better.
    fn settle(&self, mut state: State) -> State {
        for (place, operation) in self.operations() {
            if operation.apply(state.value) == Some(state.value) {
                state.done |= 1 << place;
            }
        }
        state
    }

    /// The states in which the operation at `place` has taken effect, its mark removed.
    fn step(&self, states: &[State], place: usize) -> Vec<State> {
        let here = 1 << place;
        let mut found = HashSet::new();
        let mut seen = HashSet::new();
        let mut open: Vec<_> = states.iter().map(|&state| (state, None)).collect();
        while let Some((before, hidable)) = open.pop() {
            let state = self.settle(before);
            // What the last write replaced, for as long as nobody has seen that write.
            let replaced = hidable.filter(|_| state == before);
            if !seen.insert((state, replaced)) {
                continue;
            }
            if (state.done | state.hidden) & here != 0 {
                let State { value, done, hidden } = state;
                found.insert(State { value, done: done & !here, hidden: hidden & !here });
            }
            if state.done & here == 0 {
                self.branch(state, replaced, &mut open);
            }
        }
        self.strongest(found)
    }

    /// Every operation that may take effect next.
    fn branch(
        &self,
        state: State,
        replaced: Option<Value>,
        open: &mut Vec<(State, Option<Value>)>,
    ) {
        for (place, operation) in self.operations() {
            if state.done & 1 << place != 0 {
                continue;
            }
            let Some(value) = operation.apply(state.value) else { continue };
            let hides = is_blind(operation) || operation == Operation::Delete(Guard::Always);
            // A write hidden by this operation needs no step of its own: it is marked below.
            let is_hidden = hides && replaced.is_some_and(|before| operation.can(before));
            if is_hidden {
                continue;
            }
            let done = state.done | 1 << place;
            let newly =
                if hides { self.set(|other| is_known(other) && is_blind(other)) } else { 0 };
            let hidden = (state.hidden | newly) & !done;
            let replaced = is_blind(operation).then_some(state.value);
            open.push((State { value, done, hidden }, replaced));
        }
    }

    /// Drops states that explain nothing which another does not explain, too.
    fn strongest(&self, states: HashSet<State>) -> Vec<State> {
        let unknown = self.set(|operation| !is_known(operation));
        let idle =
            self.set(|operation| !matches!(operation, Operation::Put(..) | Operation::Delete(_)));
        let mut kept: Vec<State> = Vec::new();
        for state in states {
            let covers = |strong: &State, weak: &State| {
                let todo = weak.done & !strong.done & !strong.hidden & !unknown;
                let gone = strong.done & !weak.done & (!idle | unknown);
                strong.value == weak.value && weak.hidden & !strong.hidden | todo | gone == 0
            };
            if !kept.iter().any(|other| covers(other, &state)) {
                kept.retain(|other| !covers(&state, other));
                kept.push(state);
            }
        }
        kept
    }
}

/// Whether the operation writes whatever the state is.
fn is_blind(operation: Operation) -> bool {
    matches!(operation, Operation::Put(_, Guard::Always) | Operation::PutUnknown(_))
}

fn is_known(operation: Operation) -> bool {
    !matches!(operation, Operation::PutUnknown(_))
}

fn explain(history: &[Event], number: usize) -> String {
    let culprit = history[number];
    let end = culprit.returned.unwrap_or(u64::MAX);
    let mut near: Vec<&Event> = history.iter().filter(|event| event.called <= end).collect();
    near.sort_unstable_by_key(|event| event.returned.unwrap_or(u64::MAX));
    let lines: Vec<String> = near.iter().rev().take(40).rev().map(|e| format!("{e:x?}")).collect();
    format!("no order explains {culprit:x?}; before and around it:\n{}", lines.join("\n"))
}
