//! `http://host:port/path?query`, and the address it stands for.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

/// An absolute `http` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host and port as given; the value of the Host header.
    pub authority: String,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl Url {
    /// Understands `text`; the error is a sentence. A fragment is refused: it is never sent.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("URL `{text}`: {what}");
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err(wrong("https is not supported; load the server without TLS"));
            }
            Some((scheme, _)) => return Err(wrong(&format!("scheme `{scheme}` is not http"))),
            None => return Err(wrong("no scheme; write for example `http://127.0.0.1:8080/a`")),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.is_empty() || authority.starts_with(':') {
            return Err(wrong("no host"));
        }
        if authority.contains('@') {
            return Err(wrong("a user name in a URL is not supported; use a header"));
        }
        if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(wrong("only printable ASCII may stand in it; write others as %XX"));
        }
        if path.contains('#') {
            return Err(wrong("a fragment (`#`) is never sent to a server"));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { authority: authority.to_owned(), path: format!("{slash}{path}") })
    }

    /// The first address of the host; port 80 when none is given. The error is a sentence.
    pub fn resolve(&self) -> Result<SocketAddr, String> {
        let bracket = self.authority.rfind(']').map_or(0, |at| at + 1);
        let with_port = match self.authority[bracket..].find(':') {
            Some(_) => self.authority.clone(),
            None => format!("{}:80", self.authority),
        };
        let cannot = |why: &str| format!("host `{}` has no address: {why}", self.authority);
        let mut found = with_port.to_socket_addrs().map_err(|error| cannot(&error.to_string()))?;
        found.next().ok_or_else(|| cannot("none was found"))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls() {
        for (text, authority, path) in [
            ("http://127.0.0.1:8080/a?b=1", "127.0.0.1:8080", "/a?b=1"),
            ("http://localhost", "localhost", "/"),
            ("http://[::1]:81?x", "[::1]:81", "/?x"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.authority.as_str(), url.path.as_str()), (authority, path));
        }
        let address = |text| Url::parse(text).unwrap().resolve().unwrap().to_string();
        assert_eq!(address("http://127.0.0.1/"), "127.0.0.1:80");
        assert_eq!(address("http://[::1]/"), "[::1]:80");
    }

    #[test]
    fn bad_urls_are_sentences() {
        for (text, part) in [
            ("127.0.0.1/", "no scheme"),
            ("https://a/", "TLS"),
            ("ftp://a/", "`ftp`"),
            ("http:///a", "no host"),
            ("http://:80/a", "no host"),
            ("http://me@a/", "user name"),
            ("http://a/b#c", "fragment"),
            ("http://a/b c", "printable"),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(Url::parse("http://127.0.0.1:99999/").unwrap().resolve().is_err());
    }
}
