//! The load generator: tail latency that one can believe, and how many viewers an origin holds.
//!
//! Shares no code with the origin: a fault in both would cancel out. Each way of loading is a
//! subcommand; each ends in one report (`report::model`) and an exit code.

pub mod cli;
pub mod content;
pub mod engine;
pub mod environment;
pub mod http;
pub mod limits;
pub mod live;
pub mod player;
pub mod publish;
pub mod rate;
pub mod report;
pub mod sys;
pub mod topics;
