//! Tokens: who holds which rights, and how a token that was presented is found.
//!
//! A token is known by its name; of its secret only the digest is kept. Looking one up compares
//! the digest of what was presented with those of all tokens.
//!
//! **Invariants**: a secret is never printed; a look-up's time does not depend on how much of a
//! guess was right, nor on which token it was; it allocates nothing.

use std::fmt;

use super::rights::{Right, Scope};
use super::secret::Digest;
use crate::limits;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is called in logs.
    pub name: Box<str>,
    digest: Digest,
    /// The user name that has to come with it in HTTP Basic; otherwise any will do.
    pub user: Option<Box<str>>,
    /// Which of several encoders of a path uses it.
    pub pipeline: Option<Box<str>>,
    /// For each [`Right`], where it holds.
    pub scopes: [Scope; Right::ALL.len()],
    /// From this Unix time on, in seconds, it is no longer good.
    pub expires_s: Option<u64>,
}

impl Token {
    /// A token without rights; the error says what is wrong with it, without quoting the secret.
    pub(super) fn new(name: &str, secret: &str) -> Result<Self, String> {
        check_name(name)?;
        check_secret(secret)?;
        Ok(Self {
            name: name.into(),
            digest: Digest::of(secret.as_bytes()),
            user: None,
            pipeline: None,
            scopes: Default::default(),
            expires_s: None,
        })
    }

    /// Gives it a right on every path.
    pub(super) fn with(mut self, right: Right) -> Self {
        self.scopes[right as usize] = Scope::everything();
        self
    }

    /// Whether it grants the right on the key, as long as it is good.
    pub fn may(&self, right: Right, key: &[u8]) -> bool {
        self.scopes[right as usize].covers(key)
    }

    /// Whether it grants the right on any key.
    pub fn has(&self, right: Right) -> bool {
        !self.scopes[right as usize].is_empty()
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now_s: u64) -> bool {
        self.expires_s.is_some_and(|end_s| now_s >= end_s)
    }
}

/// A set of tokens; prints as their number.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Token> {
        self.0.iter()
    }

    /// The token with this secret. With HTTP Basic comes a user name, which has to be the
    /// token's where that has one.
    pub fn find(&self, secret: &[u8], user: Option<&[u8]>) -> Option<&Token> {
        let presented = Digest::of(secret);
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.digest.matches(&presented)) {
                found = Some(token);
            }
        }
        found.filter(|token| match (&token.user, user) {
            (Some(wanted), Some(user)) => wanted.as_bytes() == user,
            _ => true,
        })
    }

    /// Whether the value of an Authorization header presents one of the tokens as bearer.
    pub fn admit(&self, authorization: &[u8]) -> bool {
        bearer(authorization).is_some_and(|secret| self.find(secret, None).is_some())
    }

    /// Tokens for tests elsewhere, each with every right.
    #[cfg(test)]
    pub(crate) fn of_tests(secret: &str) -> Self {
        let token = Token::new("test", secret).unwrap();
        Self(vec![Right::ALL.into_iter().fold(token, Token::with)])
    }

    /// Adds a token.
    pub(super) fn add(&mut self, token: Token) -> Result<(), String> {
        if self.0.len() == limits::TOKENS_MAX {
            return Err(format!("at most {} tokens", limits::TOKENS_MAX));
        }
        for other in &self.0 {
            if other.name == token.name {
                return Err(format!("there are two tokens called \"{}\"", token.name));
            }
            if other.digest == token.digest {
                let (one, two) = (&other.name, &token.name);
                return Err(format!("the tokens \"{one}\" and \"{two}\" have the same secret"));
            }
        }
        self.0.push(token);
        Ok(())
    }

    /// Adds the token of one line, `SECRET` or `NAME:SECRET`, with rights everywhere. Tokens
    /// without a name get one of `stem` and a number.
    pub(super) fn add_line(
        &mut self,
        line: &str,
        stem: &str,
        rights: &[Right],
    ) -> Result<(), String> {
        let (name, secret) = match line.split_once(':') {
            Some((name, secret)) => (name.to_owned(), secret),
            None => (format!("{stem}-{}", self.0.len() + 1), line),
        };
        let token = Token::new(&name, secret)?;
        self.add(rights.iter().fold(token, |token, &right| token.with(right)))
    }

    /// Adds every token of a text: one a line; blank lines and lines that start with `#` are
    /// skipped. `source` names the text in mistakes.
    pub(super) fn add_text(
        &mut self,
        text: &str,
        source: &str,
        stem: &str,
        rights: &[Right],
    ) -> Result<(), String> {
        let before = self.0.len();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            self.add_line(line, stem, rights)
                .map_err(|reason| format!("{source}, line {}: {reason}", index + 1))?;
        }
        match self.0.len() == before {
            true => Err(format!("{source} holds no token; write one a line")),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tokens({})", self.0.len())
    }
}

/// The secret that the value of an Authorization header presents as bearer.
//= RFC 6750 section 2.1
pub fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    of_scheme(authorization, b"Bearer")
}

/// What follows a scheme in the value of an Authorization header.
pub fn of_scheme<'a>(authorization: &'a [u8], scheme: &[u8]) -> Option<&'a [u8]> {
    let (word, rest) = authorization.split_at_checked(scheme.len())?;
    //= RFC 9110 section 11.1: the scheme is case-insensitive
    let is_scheme = word.eq_ignore_ascii_case(scheme) && rest.first() == Some(&b' ');
    is_scheme.then(|| rest.trim_ascii())
}

/// A name goes into log lines and must not need quoting there.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if (1..=limits::TOKEN_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    // What stands before the colon may be half a secret: it is not quoted.
    let most = limits::TOKEN_NAME_BYTES_MAX;
    Err(format!("a name has 1 to {most} characters: letters, digits and -._"))
}

/// The single secret in a text: white space around it is not part of it.
pub fn single(text: &str, source: &str) -> Result<String, String> {
    let mut lines = text.lines().map(str::trim);
    let mut secrets = lines.by_ref().filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (secrets.next(), secrets.next()) {
        (Some(secret), None) => Ok(secret.to_owned()),
        (None, _) => Err(format!("{source} holds no secret")),
        _ => Err(format!("{source} holds more than one line; write one secret into it")),
    }
}

pub(super) fn check_secret(secret: &str) -> Result<(), String> {
    let bytes = secret.as_bytes();
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
        return Err("a token consists of letters, digits and -._~+/ (then = at most at its end); \
                    make one with 'openssl rand -hex 32'"
            .to_owned());
    }
    Ok(())
}

//= RFC 9110 section 11.2
fn is_token68(bytes: &[u8]) -> bool {
    let end = bytes.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    end > 0
        && bytes[..end].iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn tokens() -> Tokens {
        let mut tokens = Tokens::default();
        tokens.add_line(TOKEN, "publish", &[Right::Publish]).unwrap();
        let line = "studio:another-token-of-enough-length==";
        tokens.add_line(line, "publish", &[Right::Read]).unwrap();
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
            "Bearer studio:another-token-of-enough-length==",
        ] {
            assert!(!tokens().admit(value.as_bytes()), "{value}");
        }
        assert!(!Tokens::default().admit(b"Bearer "));
    }

    #[test]
    fn names_rights_and_users_belong_to_a_token() {
        let mut tokens = tokens();
        let found = tokens.find(TOKEN.as_bytes(), None).unwrap();
        assert_eq!(&*found.name, "publish-1");
        assert!(found.may(Right::Publish, b"a/b") && !found.may(Right::Read, b"a/b"));
        assert!(found.has(Right::Publish) && !found.has(Right::TopicPublish));
        assert_eq!(
            &*tokens.find(b"another-token-of-enough-length==", None).unwrap().name,
            "studio"
        );
        let mut named = Token::new("obs", "third-token-of-length").unwrap();
        named.user = Some("stream".into());
        named.expires_s = Some(100);
        tokens.add(named).unwrap();
        let of = |user| tokens.find(b"third-token-of-length", user);
        assert!(
            of(None).is_some() && of(Some(b"stream")).is_some() && of(Some(b"other")).is_none()
        );
        assert!(of(None).is_some_and(|token| !token.is_expired(99) && token.is_expired(100)));
        assert!(tokens.find(TOKEN.as_bytes(), Some(b"anybody")).is_some());
    }

    #[test]
    fn names_and_secrets_are_unique() {
        let mut tokens = tokens();
        let again = tokens.add_line("x:0123456789abcdef", "publish", &[]).unwrap_err();
        assert_eq!(again, "the tokens \"publish-1\" and \"x\" have the same secret");
        let again = tokens.add_line("studio:fourth-token-of-length", "publish", &[]).unwrap_err();
        assert_eq!(again, "there are two tokens called \"studio\"");
    }

    #[test]
    fn weak_or_unsendable_tokens_are_refused_without_being_quoted() {
        for token in [
            "short",
            "has a space in the middle",
            "================",
            "caf\u{e9}caf\u{e9}caf\u{e9}caf\u{e9}",
            "half a secret:0123456789abcdef",
            ":0123456789abcdef",
        ] {
            let reason = Tokens::default().add_line(token, "publish", &[]).unwrap_err();
            assert!(!reason.contains(token) && !reason.contains("half"), "{reason}");
        }
    }

    #[test]
    fn a_file_of_one_secret_holds_one() {
        assert_eq!(single("# key\n\n  abc \n", "f").unwrap(), "abc");
        assert!(single("# key\n", "f").unwrap_err().contains("no secret"));
        assert!(single("a\nb\n", "f").unwrap_err().contains("more than one line"));
    }

    #[test]
    fn tokens_print_as_a_count() {
        assert_eq!(format!("{:?}", tokens()), "Tokens(2)");
    }
}
