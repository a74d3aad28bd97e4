//! The kernel and raw memory: the only room for `unsafe` besides `http/scan.rs`.

pub mod arena;
pub mod buffers;
pub mod clock;
pub mod cpu;
pub mod extent;
mod memory;
pub mod net;
pub mod reactor;
pub mod ring;
pub mod send;
pub mod socket;
pub mod task;
