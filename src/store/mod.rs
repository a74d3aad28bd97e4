//! Which bytes we hold: objects, their owners, leases and expiry. Sans-IO.

pub mod growing;
pub mod message;
pub mod object;
pub mod space;
