//! The shard on the double of the ring.
