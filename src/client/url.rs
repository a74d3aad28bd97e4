//! `http://HOST[:PORT]/KEY[?QUERY]`: where an origin is, and what is meant there.
//!
//! **Invariants**: a target that is sent has no space, control byte or fragment, whatever was
//! typed; the key is decoded exactly once, as the origin does it.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

/// An absolute `http` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Host and port as given: the value of the Host header.
    pub authority: String,
    /// What the path names, decoded, without its first slash; a folder's ends in a slash, the
    /// root's is empty.
    pub key: Vec<u8>,
    /// What stands behind the question mark, as it was given: a signature, for instance.
    pub query: String,
}

/// Whether an argument is meant as a URL and not as a folder.
pub fn is_url(text: &str) -> bool {
    text.contains("://")
}

impl Url {
    /// Understands `text`.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        // The query may let its bearer in: it is not shown.
        let shown = text.split('?').next().unwrap_or_default();
        let wrong = |what: &str| format!("{shown}: {what}");
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(wrong(
                    "https is not spoken here; name the origin itself by http://, or a proxy that \
                     takes http:// and speaks TLS",
                ));
            }
            Some((scheme, _)) => return Err(wrong(&format!("{scheme}:// is not http://"))),
            None => return Err(wrong("expected a URL such as http://127.0.0.1:8080/live/a.m3u8")),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        check_authority(authority).map_err(wrong)?;
        if target.contains('#') {
            return Err(wrong("a fragment (#...) is never sent; write %23 where it is a name's"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let key = decode(path.strip_prefix('/').unwrap_or(path)).map_err(wrong)?;
        if key.first() == Some(&b'/') || key.windows(2).any(|two| two == b"//") {
            return Err(wrong("a name has no empty part (two slashes in a row)"));
        }
        if query.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(wrong("a query has only printable ASCII; write others as %XX"));
        }
        Ok(Self { authority: authority.to_owned(), key, query: query.to_owned() })
    }

    /// Whether it names everything below a path instead of one object.
    pub fn is_folder(&self) -> bool {
        self.key.is_empty() || self.key.ends_with(b"/")
    }

    /// The key's last part, without the folders before it; nothing for a folder.
    pub fn name(&self) -> &[u8] {
        self.key.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// The same place with another key, and the same query.
    pub fn with_key(&self, key: &[u8]) -> Self {
        Self { key: key.to_vec(), ..self.clone() }
    }

    /// What a request for the key names.
    pub fn target(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("/{}{mark}{}", encoded(&self.key, b"/"), self.query)
    }

    /// The target with one more parameter.
    pub fn target_with(&self, parameter: &str) -> String {
        let join = if self.query.is_empty() { '?' } else { '&' };
        format!("{}{join}{parameter}", self.target())
    }

    /// The addresses of the host; port 80 where none is given.
    ///
    /// # Errors
    /// A sentence.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let bracket = self.authority.rfind(']').map_or(0, |at| at + 1);
        let with_port = match self.authority[bracket..].contains(':') {
            true => self.authority.clone(),
            false => format!("{}:80", self.authority),
        };
        let cannot = |why: &str| format!("host {} has no address: {why}", self.authority);
        let found: Vec<SocketAddr> =
            with_port.to_socket_addrs().map_err(|error| cannot(&error.to_string()))?.collect();
        if found.is_empty() { Err(cannot("none was found")) } else { Ok(found) }
    }
}

/// As it may be shown: without the query, which may let its bearer in.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}/{}", self.authority, encoded(&self.key, b"/"))
    }
}

/// Bytes as they may stand in a URL; those of `kept` stay as they are.
pub fn encoded(bytes: &[u8], kept: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn check_authority(authority: &str) -> Result<(), &'static str> {
    if authority.is_empty() || authority.starts_with(':') {
        return Err("the URL has no host");
    }
    if authority.contains('@') {
        return Err("a user name in a URL is not sent; use --token-file or HEADWATER_TOKEN");
    }
    if authority.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err("a host has only printable ASCII");
    }
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[bracket..].split_once(':') {
        Some((_, port)) if port.parse::<u16>().is_err() => {
            Err("the port is not a number from 1 to 65535")
        }
        _ => Ok(()),
    }
}

fn decode(path: &str) -> Result<Vec<u8>, &'static str> {
    let mut key = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        let mut byte = first;
        if first == b'%' {
            let digits = tail.get(..2).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
            let digits = digits.and_then(|pair| std::str::from_utf8(pair).ok());
            byte = digits
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or("'%' is not followed by two hexadecimal digits; write %25 for itself")?;
            if byte == b'/' {
                return Err("a slash that is encoded (%2F) names nothing");
            }
            rest = &tail[2..];
        }
        if byte.is_ascii_control() {
            return Err("a name has no control bytes");
        }
        key.push(byte);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls() {
        for (text, authority, key, target) in [
            ("http://127.0.0.1:8080/a?b=1", "127.0.0.1:8080", "a", "/a?b=1"),
            ("HTTP://localhost", "localhost", "", "/"),
            ("http://[::1]:81?x", "[::1]:81", "", "/?x"),
            ("http://h/a b/%63%25.ts", "h", "a b/c%.ts", "/a%20b/c%25.ts"),
            ("http://h/films/", "h", "films/", "/films/"),
            ("http://h/\u{e9}+&=", "h", "\u{e9}+&=", "/%C3%A9%2B%26%3D"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.authority.as_str(), url.key.as_slice()), (authority, key.as_bytes()));
            assert_eq!(url.target(), target);
        }
        let url = Url::parse("http://h/live/a.ts?hw_sig=secret").unwrap();
        assert_eq!(url.to_string(), "http://h/live/a.ts");
        assert_eq!(url.target_with("ttl_seconds=3"), "/live/a.ts?hw_sig=secret&ttl_seconds=3");
        assert_eq!(url.with_key(b"live/b.ts").target(), "/live/b.ts?hw_sig=secret");
        assert_eq!((url.name(), url.is_folder()), (&b"a.ts"[..], false));
        assert!(Url::parse("http://h").unwrap().is_folder());
    }

    #[test]
    fn addresses_have_a_port() {
        let addresses = |text| Url::parse(text).unwrap().resolve().unwrap();
        assert_eq!(addresses("http://127.0.0.1/")[0].to_string(), "127.0.0.1:80");
        assert_eq!(addresses("http://[::1]/")[0].to_string(), "[::1]:80");
        assert_eq!(addresses("http://[::1]:7/")[0].to_string(), "[::1]:7");
    }

    #[test]
    fn bad_urls_are_sentences() {
        for (text, part) in [
            ("127.0.0.1/", "such as http://"),
            ("https://a/", "proxy"),
            ("ftp://a/", "ftp://"),
            ("http:///a", "no host"),
            ("http://:80/a", "no host"),
            ("http://a:99999/", "65535"),
            ("http://me@a/", "user name"),
            ("http://a/b#c", "fragment"),
            ("http://a/b%2fc", "slash"),
            ("http://a/b%2", "hexadecimal"),
            ("http://a/b%+1", "hexadecimal"),
            ("http://a/b%00", "control"),
            ("http://a//b", "empty part"),
            ("http://a/b//", "empty part"),
            ("http://a/b?c d", "printable"),
        ] {
            let error = Url::parse(text).unwrap_err();
            let shown = text.split('?').next().unwrap();
            assert!(error.starts_with(&format!("{shown}: ")) && error.contains(part), "{error}");
        }
    }
}
