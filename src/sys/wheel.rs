//! A hierarchical timing wheel with ticks of one millisecond.
//!
//! Eleven levels of 64 slots span all of `u64`. A timer waits in the slot of the highest level in
//! which its deadline differs from the wheel's own time and moves down as that time comes near.
//! Timers live in one slab and are chained by index, so that insert and cancel touch a few words.
//!
//! Invariants: a token is never handed out before its deadline, and at most once; a cancelled timer
//! never fires; a call moves a bounded number of timers; nothing is allocated once the slab has
//! grown to the largest number of timers ever waiting.

use std::num::NonZeroU32;

const LEVELS: usize = 11;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Timers that one call of [`Wheel::pop_expired`] moves to a lower level.
const MOVES_PER_CALL: usize = 128;
const NONE: u32 = u32::MAX;
const NOWHERE: u8 = u8::MAX;

/// Names a waiting timer; stale names are harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    /// One more than the timer's place, so that an optional name is no larger than a name.
    number: NonZeroU32,
    generation: u32,
}

/// A set of timers, each a deadline in milliseconds and a token.
#[derive(Debug)]
pub struct Wheel {
    /// Every timer before this instant has fired or is in `moving`.
    elapsed_ms: u64,
    /// Bit n: level n has a timer.
    levels: u16,
    /// Bit n of a level: its slot n has a timer.
    occupied: [u64; LEVELS],
    heads: [[u32; SLOTS]; LEVELS],
    /// A slot whose time has come and whose timers are on their way down.
    moving: Option<(u8, u8)>,
    timers: Vec<Timer>,
    free: u32,
    len: usize,
}

#[derive(Debug)]
struct Timer {
    deadline_ms: u64,
    token: u32,
    generation: u32,
    /// Neighbours in the slot's chain; of a free place, `next` chains the free ones.
    next: u32,
    before: u32,
    /// Where the chain hangs; `level` is [`NOWHERE`] in a free place.
    level: u8,
    slot: u8,
}

impl Wheel {
    /// An empty wheel whose time is `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self {
            elapsed_ms: now_ms,
            levels: 0,
            occupied: [0; LEVELS],
            heads: [[NONE; SLOTS]; LEVELS],
            moving: None,
            timers: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// Number of waiting timers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Starts a timer that hands out `token` once `deadline_ms` is reached.
    pub fn insert(&mut self, deadline_ms: u64, token: u32) -> TimerId {
        let place = self.take_place();
        let timer = &mut self.timers[place as usize];
        timer.deadline_ms = deadline_ms;
        timer.token = token;
        let number = NonZeroU32::MIN.saturating_add(place);
        let id = TimerId { number, generation: timer.generation };
        self.chain(place);
        self.len += 1;
        id
    }

    /// Stops a timer; `false` when it has fired or was stopped before.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        let place = id.number.get() - 1;
        let Some(timer) = self.timers.get(place as usize) else { return false };
        if timer.generation != id.generation || timer.level == NOWHERE {
            return false;
        }
        self.unchain(place);
        self.release_place(place);
        true
    }

    /// An instant before which no timer fires; waiting until then and calling
    /// [`Wheel::pop_expired`] always makes progress. `None` when no timer waits.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.moving.is_some() {
            return Some(self.elapsed_ms);
        }
        self.next_slot().map(|(_, _, start_ms)| start_ms)
    }

    /// Takes one timer whose deadline is reached at `now_ms` and returns its token.
    ///
    /// `None` means that nothing more is due, or that this call has moved its share of timers; in
    /// the latter case [`Wheel::next_deadline`] is in the past.
    pub fn pop_expired(&mut self, now_ms: u64) -> Option<u32> {
        let mut moves_left = MOVES_PER_CALL;
        loop {
            if let Some((level, slot)) = self.moving {
                if !self.move_down(level, slot, &mut moves_left) {
                    return None;
                }
                self.moving = None;
            }
            let next = self.next_slot().filter(|&(_, _, start_ms)| start_ms <= now_ms);
            let Some((level, slot, start_ms)) = next else {
                self.elapsed_ms = self.elapsed_ms.max(now_ms);
                return None;
            };
            debug_assert!(start_ms >= self.elapsed_ms);
            self.elapsed_ms = start_ms;
            if level == 0 {
                let place = self.heads[0][usize::from(slot)];
                let token = self.timers[place as usize].token;
                self.unchain(place);
                self.release_place(place);
                return Some(token);
            }
            self.moving = Some((level, slot));
        }
    }

    /// Moves the slot's timers down; `false` when `moves_left` ended first.
    fn move_down(&mut self, level: u8, slot: u8, moves_left: &mut usize) -> bool {
        loop {
            let place = self.heads[usize::from(level)][usize::from(slot)];
            if place == NONE {
                return true;
            }
            if *moves_left == 0 {
                return false;
            }
            *moves_left -= 1;
            self.unchain(place);
            self.chain(place);
        }
    }

    /// The occupied slot that starts first: level, slot, start. A lower level is always earlier,
    /// since its timers agree with the wheel's time in all higher digits.
    fn next_slot(&self) -> Option<(u8, u8, u64)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let slot = self.occupied[level as usize].trailing_zeros();
        let shift = level * SLOT_BITS;
        let below = u64::MAX.checked_shl(shift + SLOT_BITS).unwrap_or(0);
        let start_ms = (self.elapsed_ms & below) | (u64::from(slot) << shift);
        Some(((level & 15) as u8, (slot & 63) as u8, start_ms))
    }

    /// Hangs a timer into the slot that its deadline asks for.
    fn chain(&mut self, place: u32) {
        let deadline_ms = self.timers[place as usize].deadline_ms.max(self.elapsed_ms);
        let differs = (deadline_ms ^ self.elapsed_ms) | 1;
        let level = (63 - differs.leading_zeros()) / SLOT_BITS;
        let slot = ((deadline_ms >> (level * SLOT_BITS)) & 63) as u8;
        let level = (level & 15) as u8;
        debug_assert!(self.moving != Some((level, slot)));
        let head = self.heads[usize::from(level)][usize::from(slot)];
        if head != NONE {
            self.timers[head as usize].before = place;
        }
        let timer = &mut self.timers[place as usize];
        timer.next = head;
        timer.before = NONE;
        (timer.level, timer.slot) = (level, slot);
        self.heads[usize::from(level)][usize::from(slot)] = place;
        self.occupied[usize::from(level)] |= 1 << slot;
        self.levels |= 1 << level;
    }

    fn unchain(&mut self, place: u32) {
        let timer = &self.timers[place as usize];
        let (next, before) = (timer.next, timer.before);
        let (level, slot) = (usize::from(timer.level), usize::from(timer.slot));
        if next != NONE {
            self.timers[next as usize].before = before;
        }
        if before != NONE {
            self.timers[before as usize].next = next;
            return;
        }
        debug_assert_eq!(self.heads[level][slot], place);
        self.heads[level][slot] = next;
        if next == NONE {
            self.occupied[level] &= !(1 << slot);
            if self.occupied[level] == 0 {
                self.levels &= !(1 << level);
            }
        }
    }

    fn take_place(&mut self) -> u32 {
        if self.free != NONE {
            let place = self.free;
            self.free = self.timers[place as usize].next;
            return place;
        }
        let place = u32::try_from(self.timers.len()).expect("fewer than 2^32 timers fit memory");
        assert!(place != NONE, "fewer than 2^32 timers fit memory");
        self.timers.push(Timer {
            deadline_ms: 0,
            token: 0,
            generation: 0,
            next: NONE,
            before: NONE,
            level: NOWHERE,
            slot: 0,
        });
        place
    }

    fn release_place(&mut self, place: u32) {
        let timer = &mut self.timers[place as usize];
        timer.generation = timer.generation.wrapping_add(1);
        timer.level = NOWHERE;
        timer.next = self.free;
        self.free = place;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests;
