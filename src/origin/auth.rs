//! Who may write: loopback without a credential, or the bearer of a publish token.

use std::sync::Arc;

use crate::http::known::Known;
use crate::http::request::Head;

/// Judges the value of an Authorization header.
pub type Admit = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// How writes are let in.
#[derive(Clone)]
pub enum Writers {
    /// Every listener is loopback: no credential, but never from a web page (`Origin`).
    Loopback,
    /// Whoever sends an Authorization value that this admits (RFC 6750 section 2.1).
    Bearers(Admit),
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    Allowed,
    /// 401: no credential was sent.
    Missing,
    /// 403: the credential is not known.
    Wrong,
    /// 403: a web page sent it to an origin without credentials.
    FromWebPage,
}

impl Writers {
    /// Judges a write by its head.
    pub fn judge(&self, head: &Head, bytes: &[u8]) -> Verdict {
        match self {
            Self::Loopback if head.header(bytes, Known::Origin).is_some() => Verdict::FromWebPage,
            Self::Loopback => Verdict::Allowed,
            Self::Bearers(admit) => match head.header(bytes, Known::Authorization) {
                None => Verdict::Missing,
                Some(value) if admit(value) => Verdict::Allowed,
                Some(_) => Verdict::Wrong,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;

    fn judged(writers: &Writers, lines: &str) -> Verdict {
        let raw = format!("PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{lines}\r\n");
        let head = request::parse(raw.as_bytes()).unwrap().unwrap();
        writers.judge(&head, raw.as_bytes())
    }

    #[test]
    fn tokens_and_loopback_are_judged() {
        let tokens = Writers::Bearers(Arc::new(|value| value == b"Bearer two"));
        assert_eq!(judged(&tokens, ""), Verdict::Missing);
        assert_eq!(judged(&tokens, "Authorization: Bearer two\r\n"), Verdict::Allowed);
        assert_eq!(judged(&tokens, "Authorization: Bearer on\r\n"), Verdict::Wrong);
        assert_eq!(judged(&Writers::Loopback, ""), Verdict::Allowed);
        assert_eq!(judged(&Writers::Loopback, "Origin: http://x\r\n"), Verdict::FromWebPage);
    }
}
