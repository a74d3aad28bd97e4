//! HTTP/1.1 as a client speaks it: URLs, response heads, body framing, and one connection.
//!
//! `head` and `body` are pure and serve both the client here (on monoio, for viewers, publishers
//! and probes) and the engine of the plain load commands. Never does: TLS, HTTP/2, redirects.

pub mod body;
pub mod buffers;
pub mod client;
pub mod error;
pub mod head;
pub mod upload;
pub mod url;

pub use client::{Client, Request, Response};
pub use error::Error;
pub use upload::Upload;
pub use url::Url;
