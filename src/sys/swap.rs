//! One value that all threads share and that is exchanged as a whole.
//!
//! Readers look at a generation, a plain load of a word that hardly ever changes, and fetch the
//! value only when it has. The lock is held for the copy of one pointer.
//!
//! **Invariants**: a reader that sees a generation gets the value of that generation or a later
//! one; a value is never changed in place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A shared value and its generation.
pub struct Swap<T> {
    generation: AtomicU64,
    current: Mutex<Arc<T>>,
}

impl<T> Swap<T> {
    /// Generation 0.
    pub fn new(value: T) -> Arc<Self> {
        Arc::new(Self { generation: AtomicU64::new(0), current: Mutex::new(Arc::new(value)) })
    }

    /// How often the value has been exchanged.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The value and its generation.
    pub fn current(&self) -> (u64, Arc<T>) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (self.generation.load(Ordering::Acquire), Arc::clone(&current))
    }

    /// Exchanges the value.
    pub fn replace(&self, value: T) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(value);
        // Under the lock, so that value and generation belong together.
        self.generation.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_and_values_belong_together() {
        let swap = Swap::new(0u64);
        let writer = swap.clone();
        let thread = std::thread::spawn(move || (1..=1000).for_each(|n| writer.replace(n)));
        let mut last = 0;
        while last < 1000 {
            let seen = swap.generation();
            let (generation, value) = swap.current();
            assert_eq!(generation, *value);
            assert!(generation >= seen && generation >= last);
            last = generation;
        }
        thread.join().unwrap();
    }
}
