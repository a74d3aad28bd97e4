//! Reads of files take turns: a disk that is asked for much at once gives less, and each reader
//! the later, the larger what the others asked for.
//!
//! Measured with 14 readers of 1 MiB: the slowest of a hundred waited 83 ms when each asked for
//! all of it at once, 45 ms in pieces of 256 KiB, 32 ms with 8 of these under way (the bytes per
//! second the same or more); and the first bytes of a file came after 6 ms instead of 24.
//!
//! What is brought ahead of its readers takes few of the places: a disk that is busy with it lets
//! the next file that somebody does wait for come later.
//!
//! Invariants: so many reads are under way at most, and those that wait come in the order in which
//! they were asked for, but for those ahead of readers that find their places taken; who gives up
//! waiting leaves its place to the next.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Poll;

use crate::limits;
use crate::sys::task::{TaskId, Tasks};

/// Reads under way, and the tasks that wait to begin one.
#[derive(Default)]
pub(super) struct Reads {
    under_way: Cell<usize>,
    /// Of these, what nobody waits for.
    ahead: Cell<usize>,
    waiting: RefCell<VecDeque<Wish>>,
    tickets: Cell<u64>,
}

#[derive(Clone, Copy)]
struct Wish {
    ticket: u64,
    task: TaskId,
    ahead: bool,
}

/// One read's place, from its wish to its end.
pub(super) struct Turn<'a> {
    reads: &'a Reads,
    tasks: &'a Tasks,
    ticket: u64,
    ahead: bool,
    has_begun: bool,
}

impl Reads {
    /// Waits until a read may begin, one of those `ahead` of readers or another; it ends when the
    /// turn is dropped.
    pub(super) async fn enter<'a>(&'a self, tasks: &'a Tasks, ahead: bool) -> Turn<'a> {
        let ticket = self.tickets.replace(self.tickets.get() + 1);
        let mut turn = Turn { reads: self, tasks, ticket, ahead, has_begun: false };
        self.waiting.borrow_mut().push_back(Wish { ticket, task: tasks.current(), ahead });
        std::future::poll_fn(|_| if turn.begin() { Poll::Ready(()) } else { Poll::Pending }).await;
        turn
    }

    /// The place in the queue of the wish that comes next, where there is room for its read.
    fn next(&self) -> Option<(usize, Wish)> {
        if self.under_way.get() >= limits::DISK_READS_MAX {
            return None;
        }
        let ahead_too = self.ahead.get() < limits::DISK_READS_AHEAD_MAX;
        let waiting = self.waiting.borrow();
        let mut wishes = waiting.iter().copied().enumerate();
        wishes.find(|(_, wish)| ahead_too || !wish.ahead)
    }

    /// Has the task go on whose turn it is.
    fn wake(&self, tasks: &Tasks) {
        if let Some((_, wish)) = self.next() {
            tasks.wake(wish.task);
        }
    }
}

impl Turn<'_> {
    fn begin(&mut self) -> bool {
        let reads = self.reads;
        let next = reads.next().filter(|(_, wish)| wish.ticket == self.ticket);
        let Some((at, _)) = next else { return false };
        reads.waiting.borrow_mut().remove(at);
        reads.under_way.set(reads.under_way.get() + 1);
        reads.ahead.set(reads.ahead.get() + usize::from(self.ahead));
        self.has_begun = true;
        reads.wake(self.tasks);
        true
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let reads = self.reads;
        if self.has_begun {
            reads.under_way.set(reads.under_way.get() - 1);
            reads.ahead.set(reads.ahead.get() - usize::from(self.ahead));
        } else {
            reads.waiting.borrow_mut().retain(|wish| wish.ticket != self.ticket);
        }
        reads.wake(self.tasks);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    /// Lets its task wait for the next time that it is woken.
    async fn wait() {
        let mut has_waited = false;
        std::future::poll_fn(|_| match std::mem::replace(&mut has_waited, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }

    #[test]
    fn turns_are_bounded_and_come_in_the_order_of_their_wishes() {
        let (tasks, reads) = (Rc::new(Tasks::default()), Rc::new(Reads::default()));
        let begun = Rc::new(RefCell::new(Vec::new()));
        let reader = |number: usize| {
            let (tasks, reads, begun) = (tasks.clone(), reads.clone(), begun.clone());
            async move {
                let _turn = reads.enter(&tasks, false).await;
                begun.borrow_mut().push(number);
                wait().await;
            }
        };
        let max = limits::DISK_READS_MAX;
        let ids: Vec<_> = (0..3 * max).map(|number| tasks.clone().spawn(reader(number))).collect();
        tasks.run(1000);
        assert_eq!(*begun.borrow(), (0..max).collect::<Vec<_>>());
        // Two end: two more begin.
        ids[..2].iter().for_each(|task| tasks.wake(*task));
        tasks.run(1000);
        assert_eq!(*begun.borrow(), (0..max + 2).collect::<Vec<_>>());
        // All the others, as fast as they can.
        while tasks.live() > 0 {
            ids.iter().for_each(|task| tasks.wake(*task));
            tasks.run(1000);
        }
        assert_eq!(*begun.borrow(), (0..3 * max).collect::<Vec<_>>());
        assert!(reads.waiting.borrow().is_empty() && reads.under_way.get() == 0);
    }

    /// A client that asked for one cold file after the other waited behind those that had been
    /// prefetched for it.
    #[test]
    fn reads_ahead_leave_places_to_those_that_somebody_waits_for() {
        let (tasks, reads) = (Tasks::default(), Reads::default());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut enter = |ahead| {
            let mut turn = Box::pin(reads.enter(&tasks, ahead));
            match turn.as_mut().poll(&mut context) {
                Poll::Ready(turn) => Ok(turn),
                Poll::Pending => Err(turn),
            }
        };
        let max = limits::DISK_READS_AHEAD_MAX;
        let mut ahead: Vec<_> = (0..max).map(|_| enter(true).ok().unwrap()).collect();
        let mut waits = enter(true).err().unwrap();
        let demanded: Vec<_> =
            (max..limits::DISK_READS_MAX).map(|_| enter(false).ok().unwrap()).collect();
        let mut last = enter(false).err().unwrap();
        // Both wait; the end of a read ahead is for the one that came first.
        ahead.pop();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(last.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(turn) = waits.as_mut().poll(&mut context) else { panic!("it was first") };
        ahead.push(turn);
        drop(demanded);
        assert!(last.as_mut().poll(&mut context).is_ready());
        drop((last, ahead, waits));
        assert_eq!((reads.under_way.get(), reads.ahead.get()), (0, 0));
    }

    #[test]
    fn who_gives_up_leaves_its_place_to_the_next() {
        let (tasks, reads) = (Rc::new(Tasks::default()), Rc::new(Reads::default()));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut turns: Vec<_> =
            (0..limits::DISK_READS_MAX + 2).map(|_| Box::pin(reads.enter(&tasks, false))).collect();
        let mut held = Vec::new();
        for turn in &mut turns {
            if let Poll::Ready(turn) = turn.as_mut().poll(&mut context) {
                held.push(turn);
            }
        }
        assert_eq!((held.len(), reads.waiting.borrow().len()), (limits::DISK_READS_MAX, 2));
        // The first that waits is gone when there is room.
        let mut last = turns.pop().unwrap();
        drop(turns);
        held.pop();
        assert!(last.as_mut().poll(&mut context).is_ready());
        drop((last, held));
        assert!(reads.waiting.borrow().is_empty() && reads.under_way.get() == 0);
    }
}
