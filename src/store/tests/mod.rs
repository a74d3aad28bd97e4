//! The store as a whole: one story for each rule, and the simulation.

mod stories;
mod world;
