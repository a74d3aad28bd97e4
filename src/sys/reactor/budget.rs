//! How many bytes a turn may start to send, and in what order: small answers first.
//!
//! A piece of a large body takes the core for some 60 us over a route that copies. Whatever is
//! small is made and handed to the kernel before, and a turn starts one such piece, or a few that
//! are smaller: that is the longest that a manifest waits for the bodies of others. Large pieces
//! have their part of every turn, so small answers never keep them out; a body goes on where it
//! stopped, up to a run of its own, before the next one in the order of their coming.
//!
//! Invariants: beyond either bound of a turn goes at most one piece; nobody waits for more than one
//! run of each body that waits already; a task is in the queue of large pieces at most once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Poll;

use super::Reactor;
use crate::limits;
use crate::sys::task::{TaskId, Tasks};

/// What a turn may still start to send, and who waits for it.
pub(super) struct Budget {
    /// Bytes of small answers.
    small: Cell<i64>,
    /// Tasks that wait for the next turn's bytes of small answers.
    postponed: RefCell<Vec<TaskId>>,
    /// Bytes of large pieces; none but in their part of the turn.
    large: Cell<i64>,
    is_large_part: Cell<bool>,
    /// Tasks that wait to send large pieces.
    waiting: RefCell<VecDeque<TaskId>>,
    /// The task that sends large pieces, and how many bytes it has started in a row.
    running: Cell<(TaskId, i64)>,
    /// What was left at the end of the last large part.
    #[cfg(test)]
    large_left: Cell<i64>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            small: Cell::new(limits::TURN_BYTES_MAX),
            postponed: RefCell::default(),
            large: Cell::new(0),
            is_large_part: Cell::new(false),
            waiting: RefCell::default(),
            running: Cell::default(),
            #[cfg(test)]
            large_left: Cell::new(limits::TURN_LARGE_BYTES_MAX),
        }
    }
}

impl Budget {
    /// Whether a task waits for bytes of the coming turn.
    pub(super) fn is_awaited(&self) -> bool {
        !self.postponed.borrow().is_empty() || !self.waiting.borrow().is_empty()
    }

    /// So many bytes have been started.
    pub(super) fn spend(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.small.set(self.small.get() - bytes);
        if self.is_large_part.get() {
            self.large.set(self.large.get() - bytes);
            let (task, run) = self.running.get();
            self.running.set((task, run + bytes));
        }
    }

    /// Waits for the time in which a piece of so many bytes may be sent.
    fn wait(&self, tasks: &Tasks, bytes: u64) -> impl Future<Output = ()> {
        let is_large = bytes > limits::PROMPT_BYTES_MAX as u64;
        // Who is taken out of the queue of large pieces may go on, so nobody has to be in it twice,
        // whatever wakes them; who was postponed may be so again.
        let mut is_queued = false;
        std::future::poll_fn(move |_| {
            if self.admits(is_large) {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut is_queued, is_large) {
                self.queue(tasks.current(), is_large);
            }
            Poll::Pending
        })
    }

    fn admits(&self, is_large: bool) -> bool {
        match is_large {
            true => self.large.get() > 0,
            // What a task has to send behind its large body does not make that part any longer.
            false => self.small.get() > 0 && (!self.is_large_part.get() || self.large.get() > 0),
        }
    }

    fn queue(&self, task: TaskId, is_large: bool) {
        let (running, run) = self.running.get();
        match is_large {
            false => self.postponed.borrow_mut().push(task),
            true if task == running && run < limits::LARGE_RUN_BYTES => {
                self.waiting.borrow_mut().push_front(task);
            }
            true => self.waiting.borrow_mut().push_back(task),
        }
    }

    /// A new turn begins.
    pub(super) fn begin(&self, tasks: &Tasks) {
        self.small.set(limits::TURN_BYTES_MAX);
        for task in self.postponed.borrow_mut().drain(..) {
            tasks.wake(task);
        }
    }

    /// Runs the tasks that wait to send large pieces, as far as this turn's bytes for them go.
    fn run_large(&self, tasks: &Tasks) {
        self.large.set(limits::TURN_LARGE_BYTES_MAX);
        self.is_large_part.set(true);
        for _ in 0..limits::TURN_TASKS_MAX {
            let Some(task) = self.next_large() else { break };
            tasks.run_one(task);
        }
        self.is_large_part.set(false);
        #[cfg(test)]
        self.large_left.set(self.large.get());
        self.large.set(0);
    }

    /// The task that may send a large piece next.
    fn next_large(&self) -> Option<TaskId> {
        let task = match self.large.get() > 0 {
            true => self.waiting.borrow_mut().pop_front()?,
            false => return None,
        };
        if self.running.get().0 != task {
            self.running.set((task, 0));
        }
        Some(task)
    }
}

impl Reactor {
    /// Waits for the time in which a piece of so many bytes may be sent.
    pub fn turn_for(&self, bytes: u64) -> impl Future<Output = ()> {
        self.budget.wait(&self.tasks, bytes)
    }

    /// A part of a turn: small answers leave, then large pieces are sent.
    pub fn send_large(&self) {
        if self.budget.waiting.borrow().is_empty() {
            return;
        }
        if self.prompt.get() > 0 {
            self.ring.borrow_mut().submit();
        }
        self.budget.run_large(&self.tasks);
    }

    /// What was left of the last turn's bytes for small answers, and of the last ones for large
    /// pieces; a last piece may have gone beyond them.
    #[cfg(test)]
    pub fn budgets_left(&self) -> (i64, i64) {
        (self.budget.small.get(), self.budget.large_left.get())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    /// Tasks, what they may send, and who has sent a piece.
    #[derive(Default)]
    struct Turns {
        tasks: Tasks,
        budget: Budget,
        sent: RefCell<String>,
    }

    impl Turns {
        fn spawn(self: &Rc<Self>, name: char, pieces: usize, bytes: u64) {
            let turns = self.clone();
            self.tasks.spawn(async move {
                for _ in 0..pieces {
                    turns.budget.wait(&turns.tasks, bytes).await;
                    turns.budget.spend(usize::try_from(bytes).unwrap());
                    turns.sent.borrow_mut().push(name);
                }
            });
        }

        fn turn(&self) -> String {
            self.budget.begin(&self.tasks);
            self.tasks.run(100);
            self.budget.run_large(&self.tasks);
            self.sent.take()
        }
    }

    /// A playlist waited for the bodies of all others that had been asked for before it, a
    /// millisecond and more where many were large.
    #[test]
    fn small_answers_leave_before_large_ones() {
        let turns = Rc::new(Turns::default());
        let bytes = limits::TURN_LARGE_BYTES_MAX as u64;
        "ABC".chars().for_each(|name| turns.spawn(name, 1, bytes));
        turns.spawn('s', 1, 100);
        assert_eq!(turns.turn(), "sA");
        turns.spawn('s', 1, 100);
        assert_eq!([turns.turn(), turns.turn(), turns.turn()], ["sB", "C", ""]);
        assert!(!turns.budget.is_awaited() && turns.tasks.live() == 0);
    }

    /// Small answers behind a large body, and whatever wakes a task that waits, made that part of
    /// the turn longer.
    #[test]
    fn a_task_waits_once_and_does_not_prolong_the_large_part() {
        let turns = Rc::new(Turns::default());
        let large = limits::TURN_LARGE_BYTES_MAX as u64;
        let own = turns.clone();
        let task = turns.tasks.spawn(async move {
            for (name, bytes) in [('A', large), ('s', 100), ('A', large)] {
                own.budget.wait(&own.tasks, bytes).await;
                own.budget.spend(usize::try_from(bytes).unwrap());
                own.sent.borrow_mut().push(name);
            }
        });
        turns.tasks.run(1);
        (0..3).for_each(|_| {
            turns.tasks.wake(task);
            turns.tasks.run(1);
        });
        assert_eq!(turns.budget.waiting.borrow().len(), 1);
        assert_eq!([turns.turn(), turns.turn()], ["A", "sA"]);
        assert!(!turns.budget.is_awaited() && turns.tasks.live() == 0);
    }

    /// Bodies that take turns piece by piece all end late.
    #[test]
    fn a_body_goes_on_for_a_run_before_the_next() {
        let turns = Rc::new(Turns::default());
        let bytes = limits::TURN_LARGE_BYTES_MAX as u64;
        let run =
            (limits::LARGE_RUN_BYTES as usize).div_ceil(limits::TURN_LARGE_BYTES_MAX as usize);
        "AB".chars().for_each(|name| turns.spawn(name, run + 1, bytes));
        let order: String = (0..2 * run + 2).map(|_| turns.turn()).collect();
        assert_eq!(order, "A".repeat(run) + &"B".repeat(run) + "AB");
    }
}
