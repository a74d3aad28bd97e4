//! Bearer tokens: where they come from and how they are compared.
//!
//! **Invariants**: a token is never printed; a comparison's time does not depend on how much of
//! a guess was right.

use std::fmt;
use std::path::Path;

use crate::limits;

/// A set of bearer tokens; prints as a count.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Box<[u8]>>);

impl Tokens {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the value of an Authorization header presents one of the tokens.
    ///
    //= RFC 6750 section 2.1
    pub fn admit(&self, authorization: &[u8]) -> bool {
        let Some((scheme, rest)) = authorization.split_at_checked(6) else {
            return false;
        };
        //= RFC 9110 section 11.1: the scheme is case-insensitive
        if !scheme.eq_ignore_ascii_case(b"Bearer") || rest.first() != Some(&b' ') {
            return false;
        }
        let presented = rest.trim_ascii();
        let mut admitted = false;
        for token in &self.0 {
            admitted |= equal(token, presented);
        }
        admitted
    }

    /// One token, for tests elsewhere.
    #[cfg(test)]
    pub(crate) fn of_tests(token: &str) -> Self {
        Self(vec![token.as_bytes().into()])
    }

    /// Adds a token; the error says what is wrong with it, without quoting it.
    pub(super) fn add(&mut self, token: &str) -> Result<(), String> {
        let bytes = token.as_bytes();
        if !(limits::TOKEN_BYTES_MIN..=limits::TOKEN_BYTES_MAX).contains(&bytes.len()) {
            return Err(format!(
                "a token has {} to {} characters, this one has {}; make one with \
                 'openssl rand -hex 32'",
                limits::TOKEN_BYTES_MIN,
                limits::TOKEN_BYTES_MAX,
                bytes.len()
            ));
        }
        if !is_token68(bytes) {
            return Err("a token consists of letters, digits and -._~+/ (then = at most at its \
                        end); make one with 'openssl rand -hex 32'"
                .to_owned());
        }
        if self.0.len() == limits::TOKENS_MAX {
            return Err(format!("at most {} tokens", limits::TOKENS_MAX));
        }
        self.0.push(bytes.into());
        Ok(())
    }

    /// Adds every token of a file: one a line; blank lines and lines that start with `#` are
    /// skipped.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), String> {
        let text = read_bounded(path)?;
        let before = self.0.len();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.add(line)
                .map_err(|reason| format!("{}, line {}: {reason}", path.display(), index + 1))?;
        }
        if self.0.len() == before {
            return Err(format!("{} holds no token; write one a line", path.display()));
        }
        Ok(())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tokens({})", self.0.len())
    }
}

/// Reads a small text file; the error is a sentence.
pub(super) fn read_bounded(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let shown = path.display();
    let file =
        std::fs::File::open(path).map_err(|error| format!("cannot open {shown}: {error}"))?;
    let mut bytes = Vec::new();
    file.take(limits::CONFIG_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read {shown}: {error}"))?;
    if bytes.len() as u64 > limits::CONFIG_BYTES_MAX {
        return Err(format!("{shown} is larger than {} bytes", limits::CONFIG_BYTES_MAX));
    }
    String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8 text"))
}

//= RFC 9110 section 11.2
fn is_token68(bytes: &[u8]) -> bool {
    let end = bytes.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    end > 0
        && bytes[..end].iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

/// Compares every byte whatever the first difference; only the length shows.
fn equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let difference = left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn tokens() -> Tokens {
        let mut tokens = Tokens::default();
        tokens.add(TOKEN).unwrap();
        tokens.add("another-token-of-enough-length==").unwrap();
        tokens
    }

    #[test]
    fn a_bearer_is_admitted() {
        for value in [
            "Bearer 0123456789abcdef",
            "bearer 0123456789abcdef",
            "BEARER   0123456789abcdef",
            "Bearer another-token-of-enough-length==",
        ] {
            assert!(tokens().admit(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn nobody_else_is() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789abcdeg",
            "Bearer0123456789abcdef",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
            "Bearer 0123456789abcdef, Bearer x",
        ] {
            assert!(!tokens().admit(value.as_bytes()), "{value}");
        }
        assert!(!Tokens::default().admit(b"Bearer "));
    }

    #[test]
    fn weak_or_unsendable_tokens_are_refused_without_being_quoted() {
        for token in [
            "short",
            "has a space in the middle",
            "================",
            "caf\u{e9}caf\u{e9}caf\u{e9}caf\u{e9}",
        ] {
            let reason = Tokens::default().add(token).unwrap_err();
            assert!(!reason.contains(token), "{reason}");
        }
    }

    #[test]
    fn tokens_print_as_a_count() {
        assert_eq!(format!("{:?}", tokens()), "Tokens(2)");
    }
}
