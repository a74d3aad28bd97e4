//! The shard on the double of the ring: the same code as in the product, with a network, a kernel
//! and a clock that follow from a seed.

mod ahead;
mod book;
mod client;
mod cold;
mod content;
mod laws;
mod nth;
mod power;
mod request;
mod response;
mod seeds;
mod sharing;
mod stories;
mod world;
