//! Headwater: an open, bare-metal media origin for Linux.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::cast_possible_truncation))]

pub mod access;
pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod digest;
pub mod exit;
pub mod http;
pub mod inspect;
pub mod limits;
pub mod logging;
pub mod media;
pub mod meters;
pub mod origin;
pub mod progress;
pub mod server;
pub mod shard;
pub mod store;
pub mod sys;
pub mod tier;
pub mod topic;
