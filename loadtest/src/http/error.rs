//! What can go wrong with one request, by class.

use std::fmt;
use std::io;

/// Why a request has no good answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The connection was refused.
    Refused,
    /// No connection for another reason, in words.
    Connect(String),
    /// Nobody answered the connect in time.
    ConnectTimeout,
    /// The answer was not complete in time.
    Timeout,
    /// The server reset the connection.
    Reset,
    /// The server closed the connection before any byte of the answer; on a connection used
    /// before, the request may be sent again on a new one.
    Closed,
    /// The server closed the connection within the head or the body.
    Truncated {
        /// Body bytes that arrived.
        got: u64,
        /// Body bytes announced; `None` when unknown (within the head, or chunked).
        expected: Option<u64>,
    },
    /// The answer is not HTTP/1, or its framing is broken.
    BadResponse(&'static str),
    /// The head or the body is larger than allowed; the bound in bytes.
    TooLarge(u64),
    /// Another error of the operating system, in words.
    Io(String),
}

impl Error {
    /// The class under which reports count it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Connect(_) => "connect",
            Self::ConnectTimeout => "connect timeout",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Truncated { .. } => "truncated",
            Self::BadResponse(_) => "bad response",
            Self::TooLarge(_) => "too large",
            Self::Io(_) => "io",
        }
    }

    /// An error of connecting.
    pub fn connecting(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            _ => Self::Connect(error.to_string()),
        }
    }

    /// An error of a connection that was up.
    pub fn transfer(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted => Self::Reset,
            io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Io(error.to_string()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("the connection was refused: nothing listens there"),
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::ConnectTimeout => f.write_str("nobody answered the connect in time"),
            Self::Timeout => f.write_str("the answer was not complete in time"),
            Self::Reset => f.write_str("the server reset the connection"),
            Self::Closed => f.write_str("the server closed the connection without an answer"),
            Self::Truncated { got, expected: Some(expected) } => {
                write!(f, "the body ended after {got} of {expected} bytes")
            }
            Self::Truncated { got, expected: None } => {
                write!(f, "the answer ended early, after {got} bytes of body")
            }
            Self::BadResponse(what) => write!(f, "the answer is not HTTP/1.1: {what}"),
            Self::TooLarge(most) => write!(f, "the answer is larger than {most} bytes"),
            Self::Io(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}
