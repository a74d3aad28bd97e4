//! What a request means: keys, credentials, and the answers to GET, PUT, DELETE and listings; in
//! the origin's own terms, and in those of stores whose clients come here (`dialect`).
//!
//! Sans-IO: requests and records in, decisions and rendered heads out. Waiting, sending and the
//! store's protocol belong to the shard.
//!
//! Invariants: nothing here reads a clock, a socket or the store; the query is never part of a
//! key; every error answer carries a short JSON body and a cache age.

pub mod auth;
pub mod aws_chunked;
pub mod cmsd;
pub mod dialect;
pub mod errors;
pub mod gzip;
pub mod heads;
pub mod horizon;
pub mod key;
pub mod list;
pub mod mediastore;
pub mod momento;
pub mod query;
pub mod read;
pub mod sequence;
pub mod sigv4;
pub mod time;
pub mod web;
pub mod write;
