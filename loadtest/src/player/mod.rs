//! The simulated player: what it asks for, when, and what its viewer sees.
//!
//! Modelled on hls.js: join, reload rules, blocking reload, buffer, ABR by EWMA, abandon, retries.
//! Sans-IO: times are seconds handed in by the caller, answers are events, requests are actions.
//! Never does: read a clock, open a socket, draw a random number. The driver in `live` does.

pub mod abr;
#[cfg(test)]
mod agreement_tests;
mod asking;
pub mod attributes;
pub mod buffer;
pub mod date;
pub mod link;
pub mod media;
pub mod mpd;
pub mod playlist;
mod read_media;
pub mod reload;
pub mod retry;
#[cfg(test)]
mod sim;
pub mod track;
pub mod uri;
pub mod viewer;
