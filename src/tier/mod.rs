//! Where bytes lie that are not in memory: what is decided without touching a disk. Sans-IO.

pub mod disk;
pub mod lifecycle;
pub mod listing;
pub mod remote;
