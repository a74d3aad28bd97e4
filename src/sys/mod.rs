//! The kernel and raw memory: the only room for `unsafe` besides `http/scan.rs`.

pub mod arena;
pub mod buffers;
pub mod clock;
pub mod cpu;
pub mod extent;
pub mod folder;
pub mod mailbox;
mod memory;
pub mod meter;
pub mod net;
pub mod probe;
#[cfg(test)]
pub mod random;
pub mod reactor;
pub mod ring;
pub mod room;
pub mod send;
#[cfg(test)]
pub mod sim;
pub mod socket;
mod splice;
pub mod swap;
pub mod task;
pub mod wheel;
