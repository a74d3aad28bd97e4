//! The kernel and raw memory: the only room for `unsafe` besides `http/scan.rs`.

pub mod extent;
pub mod meter;
