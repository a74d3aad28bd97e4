//! What needs the kernel directly: the ring of the plain load commands, and facts of a thread.
//!
//! The only place of the load generator with `unsafe`; what it offers is safe.

pub mod buffers;
pub mod ring;
pub mod socket;
pub mod thread;
