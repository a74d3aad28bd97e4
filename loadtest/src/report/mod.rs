//! Reports: what a run found, as types, statistics and files.
//!
//! Everything here is a pure function of a [`model::Report`] or of numbers handed in: no clock, no
//! socket, no file. The commands fill the model; the writers turn it into text. The one exception
//! is `progress`, which draws on a terminal from a thread of its own.

pub mod compare;
pub mod csv;
#[cfg(test)]
mod fixture;
pub mod hdr;
pub mod html;
pub mod json;
pub mod latency;
pub mod merge;
pub mod model;
pub mod progress;
pub mod random;
pub mod search;
pub mod series;
pub mod stats;
pub mod summary;
pub mod terminal;
pub mod threshold;
pub mod units;
pub mod verdict;
