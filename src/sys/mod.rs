//! The kernel and raw memory: the only room for `unsafe` besides `http/scan.rs`.

pub mod extent;
#[cfg(test)]
pub mod random;
pub mod wheel;
