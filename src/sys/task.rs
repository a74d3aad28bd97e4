//! The shard's executor: a slab of futures and a queue of those that may go on.
//!
//! Every wait in a shard is for something the shard itself learns (a completion, a message, a
//! timer), so tasks are woken by number; the `Waker` that futures receive does nothing. A task may
//! be woken without reason: leaf futures look at their state again.
//!
//! Invariants: a task runs only inside [`Tasks::run`] and [`Tasks::run_one`], never inside another
//! task or while completions are reaped; no allocation but for the future itself.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

/// Names a task; the number is used again after its end.
pub type TaskId = u32;

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

enum Slot {
    Free,
    /// Being polled, or woken again meanwhile.
    Running,
    Waiting(Boxed),
}

/// The tasks of one shard.
#[derive(Default)]
pub struct Tasks {
    slots: RefCell<Vec<Slot>>,
    queued: RefCell<Vec<bool>>,
    free: RefCell<Vec<TaskId>>,
    ready: RefCell<VecDeque<TaskId>>,
    current: Cell<TaskId>,
    live: Cell<usize>,
}

impl Tasks {
    /// Adds a task; it runs in the coming turn.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> TaskId {
        let boxed: Boxed = Box::pin(future);
        let mut slots = self.slots.borrow_mut();
        let task = match self.free.borrow_mut().pop() {
            Some(task) => task,
            None => {
                slots.push(Slot::Free);
                self.queued.borrow_mut().push(false);
                u32::try_from(slots.len() - 1).expect("tasks are bounded by descriptors")
            }
        };
        slots[task as usize] = Slot::Waiting(boxed);
        drop(slots);
        self.live.set(self.live.get() + 1);
        self.wake(task);
        task
    }

    /// Lets a task run in the coming turn; cheap when it is queued already.
    #[inline]
    pub fn wake(&self, task: TaskId) {
        let mut queued = self.queued.borrow_mut();
        if let Some(queued) = queued.get_mut(task as usize)
            && !*queued
        {
            *queued = true;
            self.ready.borrow_mut().push_back(task);
        }
    }

    /// The task being run, to be woken later.
    #[inline]
    pub fn current(&self) -> TaskId {
        self.current.get()
    }

    /// Tasks that have not ended.
    pub fn live(&self) -> usize {
        self.live.get()
    }

    /// Whether a task could run.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// Runs up to `count_max` ready tasks once each.
    pub fn run(&self, count_max: usize) {
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..count_max {
            let Some(task) = self.ready.borrow_mut().pop_front() else { return };
            self.queued.borrow_mut()[task as usize] = false;
            if let Some(future) = self.take(task) {
                self.poll(task, future, &mut context);
            }
        }
    }

    /// Runs one task, whether it is ready or not.
    pub fn run_one(&self, task: TaskId) {
        if let Some(future) = self.take(task) {
            self.poll(task, future, &mut Context::from_waker(Waker::noop()));
        }
    }

    /// The task's future; a task that is gone or running has none.
    fn take(&self, task: TaskId) -> Option<Boxed> {
        let slot = &mut self.slots.borrow_mut()[task as usize];
        match std::mem::replace(slot, Slot::Running) {
            Slot::Waiting(future) => Some(future),
            other => {
                *slot = other;
                None
            }
        }
    }

    fn poll(&self, task: TaskId, mut future: Boxed, context: &mut Context<'_>) {
        self.current.set(task);
        let done = future.as_mut().poll(context).is_ready();
        let slot = if done {
            self.free.borrow_mut().push(task);
            self.live.set(self.live.get() - 1);
            drop(future);
            Slot::Free
        } else {
            Slot::Waiting(future)
        };
        self.slots.borrow_mut()[task as usize] = slot;
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_task_runs_when_woken_and_its_number_is_used_again() {
        let tasks = Rc::new(Tasks::default());
        let steps = Rc::new(Cell::new(0));
        let seen = steps.clone();
        let task = tasks.spawn(async move {
            for _ in 0..2 {
                seen.set(seen.get() + 1);
                let mut waited = false;
                std::future::poll_fn(|_| {
                    if std::mem::replace(&mut waited, true) {
                        std::task::Poll::Ready(())
                    } else {
                        std::task::Poll::Pending
                    }
                })
                .await;
            }
        });
        tasks.run(10);
        assert_eq!((steps.get(), tasks.live()), (1, 1));
        tasks.run(10);
        assert_eq!(steps.get(), 1, "nobody woke it");
        tasks.wake(task);
        tasks.wake(task);
        tasks.run(10);
        assert_eq!(steps.get(), 2);
        tasks.wake(task);
        tasks.run(10);
        assert_eq!(tasks.live(), 0);
        assert_eq!(tasks.spawn(async {}), task);
    }
}
