//! Headwater: an open, bare-metal media origin for Linux.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod access;
pub mod cli;
pub mod config;
pub mod control;
pub mod exit;
pub mod limits;
pub mod logging;
pub mod meters;
pub mod server;
pub mod store;
pub mod sys;
