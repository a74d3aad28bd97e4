//! The HTTP room: bytes to values and values to bytes, by RFC 9110 and RFC 9112, strictly.
//!
//! A connection feeds what it received to [`request::parse`] and gets a [`request::Head`] (small,
//! copyable, offsets only), a [`response::Refusal`] or "not yet". [`framing`] is the one place
//! that decides where a message ends, and holds the chunked coding of both directions; [`range`]
//! and [`condition`] answer what part, and whether at all, a reader wants; [`date`] and
//! [`response`] write answers into the caller's memory.
//!
//! **Invariants**: no input or output, no clock, no lock, no allocation outside [`fuzz`] and tests;
//! nothing here keeps a reference to a receive buffer; no input makes it panic, and no input has
//! two readings: what is ambiguous is refused and ends the connection. Raw pointers and vector
//! instructions live in [`scan`] alone, beside a portable twin with the same results.

pub mod condition;
pub mod date;
pub mod framing;
pub mod fuzz;
pub mod head;
pub mod known;
pub mod range;
pub mod request;
pub mod response;
pub mod scan;
pub mod target;

#[cfg(test)]
mod tests;
