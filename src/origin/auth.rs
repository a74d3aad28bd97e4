//! Who may write: loopback without a credential, or the bearer of a publish token.

use crate::http::request::{Head, Known};

/// How writes are let in.
#[derive(Clone, Debug)]
pub enum Writers {
    /// Every listener is loopback: no credential, but never from a web page (`Origin`).
    Loopback,
    /// Bearer tokens (RFC 6750 section 2.1), any of which will do.
    Tokens(Vec<Vec<u8>>),
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
            Self::Tokens(tokens) => {
                let Some(value) = head.header(bytes, Known::Authorization) else {
                    return Verdict::Missing;
                };
                let known = bearer(value)
                    .is_some_and(|sent| tokens.iter().fold(false, |hit, t| hit | same(t, sent)));
                if known { Verdict::Allowed } else { Verdict::Wrong }
            }
        }
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii())
}

/// Compares in time that depends on the lengths only.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
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
        let tokens = Writers::Tokens(vec![b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(judged(&tokens, ""), Verdict::Missing);
        assert_eq!(judged(&tokens, "Authorization: Bearer two\r\n"), Verdict::Allowed);
        assert_eq!(judged(&tokens, "Authorization: bearer one\r\n"), Verdict::Allowed);
        assert_eq!(judged(&tokens, "Authorization: Bearer on\r\n"), Verdict::Wrong);
        assert_eq!(judged(&tokens, "Authorization: Basic one\r\n"), Verdict::Wrong);
        assert_eq!(judged(&Writers::Loopback, ""), Verdict::Allowed);
        assert_eq!(judged(&Writers::Loopback, "Origin: http://x\r\n"), Verdict::FromWebPage);
    }
}
