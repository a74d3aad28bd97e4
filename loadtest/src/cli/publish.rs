//! `publish`: its flags and its life are in `crate::publish`.

pub use crate::publish::{Args, run};
