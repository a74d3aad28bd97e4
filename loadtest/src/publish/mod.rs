//! `publish`: a synthetic encoder that PUTs live ladders in real time, at any scale.

pub mod boxes;
pub mod ladder;
pub mod playlist;
pub mod stamp;
