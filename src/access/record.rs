//! One line of the access log before it is text: plain memory of a fixed size.

use std::net::{IpAddr, Ipv4Addr};

use crate::limits;

/// One answered request. About 800 bytes, copied into the queue.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Unix time of the request's first byte, in microseconds.
    pub time_us: u64,
    /// From the first byte of the request to the last of the answer, in microseconds.
    pub duration_us: u64,
    /// From the end of the head to the first byte of the answer, in microseconds.
    pub turnaround_us: u64,
    /// Bytes of the answer's body that were handed to the kernel.
    pub body_bytes: u64,
    /// Bytes of the request's body that arrived.
    pub received_bytes: u64,
    /// The client.
    pub remote: IpAddr,
    /// Status code of the final answer.
    pub status: u16,
    /// The shard that served it.
    pub shard: u16,
    /// The method.
    pub method: Method,
    /// Minor version of HTTP/1.
    pub minor: u8,
    /// Whether the answer was cut off before its end.
    pub cut: bool,
    /// Name of the token or key that decided about the request; empty where none was needed.
    pub credential: Text<{ limits::ACCESS_NAME_BYTES }>,
    /// The request target as sent, without secrets.
    pub target: Text<{ limits::ACCESS_TARGET_BYTES }>,
    /// Value of Referer.
    pub referer: Text<{ limits::ACCESS_FIELD_BYTES }>,
    /// Value of User-Agent.
    pub user_agent: Text<{ limits::ACCESS_FIELD_BYTES }>,
    /// What the player said of itself (CMCD), decoded.
    pub cmcd: Text<{ limits::ACCESS_FIELD_BYTES }>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            time_us: 0,
            duration_us: 0,
            turnaround_us: 0,
            body_bytes: 0,
            received_bytes: 0,
            remote: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            status: 0,
            shard: 0,
            method: Method::Other,
            minor: 1,
            cut: false,
            credential: Text::EMPTY,
            target: Text::EMPTY,
            referer: Text::EMPTY,
            user_agent: Text::EMPTY,
            cmcd: Text::EMPTY,
        }
    }
}

/// Methods that are logged by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// PUT.
    Put,
    /// POST.
    Post,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// Anything else, or none because the request could not be read.
    Other,
}

impl Method {
    /// The word in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "-",
        }
    }
}

/// Up to `N` bytes of something that may have been longer.
#[derive(Clone, Copy, Debug)]
pub struct Text<const N: usize> {
    len: u16,
    truncated: bool,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// Nothing.
    pub const EMPTY: Self = Self { len: 0, truncated: false, bytes: [0; N] };

    /// The first `N` bytes of `bytes`.
    #[inline]
    pub fn new(bytes: &[u8]) -> Self {
        const { assert!(N <= u16::MAX as usize) };
        let mut text = Self::EMPTY;
        let len = bytes.len().min(N);
        text.bytes[..len].copy_from_slice(&bytes[..len]);
        text.len = u16::try_from(len).unwrap_or(u16::MAX);
        text.truncated = bytes.len() > N;
        text
    }

    /// The first `N` bytes of several runs, one behind the other.
    #[inline]
    pub fn of_runs<'a>(runs: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut text = Self::EMPTY;
        let mut len = 0;
        for run in runs {
            let fits = run.len().min(N - len);
            text.bytes[len..len + fits].copy_from_slice(&run[..fits]);
            text.truncated |= fits < run.len();
            len += fits;
        }
        text.len = u16::try_from(len).unwrap_or(u16::MAX);
        text
    }

    /// What was kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether there was more.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

// A queue of these is allocated per shard: keep it within two MiB.
const _: () = assert!(size_of::<Record>() * limits::ACCESS_QUEUE_MAX <= 2 << 20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_the_beginning() {
        let short = Text::<4>::new(b"abcd");
        assert_eq!((short.as_bytes(), short.is_truncated()), (&b"abcd"[..], false));
        let long = Text::<4>::new(b"abcde");
        assert_eq!((long.as_bytes(), long.is_truncated()), (&b"abcd"[..], true));
        assert_eq!(Text::<4>::EMPTY.as_bytes(), b"");
        let runs = |runs: &[&'static [u8]]| Text::<4>::of_runs(runs.iter().copied());
        assert_eq!(runs(&[b"a", b"", b"bcd"]).as_bytes(), b"abcd");
        assert!(!runs(&[b"ab", b"cd"]).is_truncated());
        let long = runs(&[b"abc", b"de", b"f"]);
        assert_eq!((long.as_bytes(), long.is_truncated()), (&b"abcd"[..], true));
    }
}
