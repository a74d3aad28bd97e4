//! Headwater: an open, bare-metal media origin for Linux.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod http;
pub mod limits;
pub mod media;
pub mod store;
pub mod sys;
