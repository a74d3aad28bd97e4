//! `live`: a crowd of virtual viewers of a live stream, and what they experience.
//!
//! Each thread has a ring, a heap of timers and a share of the viewers; a viewer is a `player`
//! without a clock, driven here. Arrivals and the media clock follow the schedule, never the
//! server. Playlists are read once for all viewers of a thread; media is received into shared
//! buffers and dropped, apart from its stamps and a sample that is verified.

pub mod arrivals;
mod cmcd;
mod connection;
mod crowd;
mod deliveries;
mod exchange;
mod experience;
mod lists;
pub mod plan;
mod report;
mod run;
pub mod sessions;

pub use plan::Plan;
pub use run::run;
