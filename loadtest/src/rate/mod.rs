//! Open loop: when requests are due, decided before the first one is sent.

pub mod profile;
pub mod schedule;
pub mod trace;

pub use profile::Profile;
pub use schedule::{Arrivals, Schedule};
