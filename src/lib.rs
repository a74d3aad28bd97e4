//! Headwater: an open, bare-metal media origin for Linux.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod limits;
pub mod meters;
pub mod store;
pub mod sys;
