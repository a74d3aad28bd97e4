//! How an own version stands: whether it is current, was recalled, lies on disk too, and how many
//! holds this shard has on it. Every object has one, so it is one word of four bytes.
//!
//! Invariants: each hold is let go of once; what is no longer current never is again.

use std::cell::Cell;

/// See the module.
#[derive(Debug)]
pub(super) struct Standing(Cell<u32>);

const CURRENT: u32 = 1 << 31;
const RECALLED: u32 = 1 << 30;
const BACKED: u32 = 1 << 29;
/// More holds than answers can be under way.
const HOLDS: u32 = BACKED - 1;

impl Standing {
    /// Of a version that is the current one from now on.
    pub fn current() -> Self {
        Self(Cell::new(CURRENT))
    }

    /// Whether the key's entry names it.
    pub fn is_current(&self) -> bool {
        self.0.get() & CURRENT != 0
    }

    /// It is not the current one any more.
    pub fn retire(&self) {
        self.0.update(|word| word & !CURRENT);
    }

    /// Whether its holders were asked to let go.
    pub fn is_recalled(&self) -> bool {
        self.0.get() & RECALLED != 0
    }

    /// Notes that they were; returns whether they had been before.
    pub fn recall(&self) -> bool {
        self.0.replace(self.0.get() | RECALLED) & RECALLED != 0
    }

    /// Whether the disk has it too.
    pub fn is_backed(&self) -> bool {
        self.0.get() & BACKED != 0
    }

    /// Notes that the disk has it; returns whether it had it before.
    pub fn back(&self) -> bool {
        self.0.replace(self.0.get() | BACKED) & BACKED != 0
    }

    /// Whether this shard has a hold: the one that is kept for answers, or those under way.
    pub fn is_held(&self) -> bool {
        self.0.get() & HOLDS != 0
    }

    /// Counts a hold.
    pub fn hold(&self) {
        assert!(self.0.get() & HOLDS < HOLDS, "fewer answers are under way");
        self.0.update(|word| word + 1);
    }

    /// Counts the end of a hold.
    pub fn let_go(&self) {
        assert!(self.is_held(), "each hold ends once");
        self.0.update(|word| word - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::Standing;

    #[test]
    fn its_parts_leave_each_other_alone() {
        let standing = Standing::current();
        assert!(!standing.recall() && standing.recall() && standing.is_recalled());
        standing.hold();
        standing.hold();
        standing.let_go();
        assert!(standing.is_current() && standing.is_held() && !standing.is_backed());
        assert!(!standing.back() && standing.is_backed());
        standing.let_go();
        standing.retire();
        assert!(!standing.is_current() && !standing.is_held());
        assert!(standing.is_recalled() && standing.is_backed());
    }
}
