//! The engine of `rate` and `closed`: threads with a ring each, and what they measured.
//!
//! ```text
//! Plan --> run --> one Worker a thread --(a Tick a second)--> collect --> Outcome
//!                    Pool of connections, Answer (framing), Recorder (histograms)
//! ```
//! A thread shares nothing with another while it loads: it walks its share of the schedule, stamps
//! each request five times, and hands its histograms over when they are full for the second.

pub mod answer;
pub mod clock;
pub mod collect;
pub mod describe;
pub mod plan;
pub mod pool;
pub mod record;
pub mod run;
pub mod source;
pub mod worker;

pub use plan::{Mode, Plan, Target};
pub use run::{Outcome, run};
