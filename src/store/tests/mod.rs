//! The store as a whole: one story for each rule, and the simulation.

mod client;
pub(crate) mod history;
mod simulation;
mod stories;
mod world;
