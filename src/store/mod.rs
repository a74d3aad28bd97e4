//! Which bytes we hold: objects, their owners, leases and expiry. Sans-IO.

mod change;
pub mod etag;
pub mod event;
mod eviction;
mod expiry;
pub mod fields;
mod folder;
pub mod growing;
mod guard;
pub mod heat;
pub mod held;
pub mod index;
mod lease;
pub mod message;
pub mod object;
pub mod owner;
pub mod path;
pub mod pipeline;
mod queue;
mod reclaim;
mod slab;
pub mod space;
mod standing;
pub mod statistics;
#[cfg(test)]
pub(crate) mod tests;
mod upload;
mod version;
mod watch;

pub use held::Held;
pub use owner::Store;
