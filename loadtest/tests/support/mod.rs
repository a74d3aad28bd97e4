//! Servers that tests script, with known arithmetic.

pub mod hls;
pub mod scripted;

#[allow(unused_imports)]
pub use hls::Hls;
#[allow(unused_imports)]
pub use scripted::{Behaviour, Server};
