//! Webhooks: where messages of topics are sent to, and the secrets that sign them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::secret::Secret;
use crate::limits;

/// Where every message of a rule's topics is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The receiver.
    pub url: HookUrl,
    /// Every message is signed with each.
    pub secrets: Vec<Secret>,
    /// Time for one attempt, in milliseconds.
    pub timeout_ms: u64,
}

/// An `http` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookUrl {
    /// Host and port as given, for the Host header.
    pub authority: Box<str>,
    /// Host and port to connect to.
    pub address: Box<str>,
    /// Path and query, beginning with a slash.
    pub path: Box<str>,
}

impl HookUrl {
    /// Understands `http://HOST[:PORT]/PATH`.
    ///
    /// # Errors
    /// A sentence's end.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(why.to_owned());
        if text.len() > limits::WEBHOOK_URL_BYTES_MAX {
            return Err(format!("is longer than {} bytes", limits::WEBHOOK_URL_BYTES_MAX));
        }
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return wrong(
                    "is https, which the origin does not speak; name a proxy on this host",
                );
            }
            _ => return wrong("is no URL; write for example http://127.0.0.1:9000/hook"),
        };
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['@', '#']) {
            return wrong("has a user name, a fragment, or characters that need percent-encoding");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host_end = authority.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match authority[host_end..].find(':') {
            Some(at) => (&authority[..host_end + at], &authority[host_end + at + 1..]),
            None => (authority, "80"),
        };
        if host.is_empty() || port.parse::<u16>().is_err() {
            return wrong("has no host, or a port that is none");
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            authority: authority.into(),
            address: format!("{host}:{port}").into(),
            path: format!("{slash}{path}").into(),
        })
    }
}

/// The secrets of a file, one a line. `whsec_` means that base64 follows, as receivers' libraries
/// write them; anything else is taken as it stands.
///
/// # Errors
/// A sentence's end, without the secret.
pub(super) fn secrets(text: &str) -> Result<Vec<Secret>, String> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    if lines.is_empty() || lines.len() > limits::WEBHOOK_SECRETS_MAX {
        return Err(format!("has {} secrets, one a line; 1 or 2 can be", lines.len()));
    }
    let secrets = lines.into_iter().map(|line| {
        let bytes = match line.strip_prefix("whsec_") {
            Some(encoded) => BASE64_STANDARD
                .decode(encoded)
                .map_err(|_| "has a secret whose text behind whsec_ is no base64".to_owned())?,
            None => line.as_bytes().to_vec(),
        };
        let (least, most) = (limits::WEBHOOK_SECRET_BYTES_MIN, limits::WEBHOOK_SECRET_BYTES_MAX);
        if !(least..=most).contains(&bytes.len()) {
            return Err(format!("has a secret of {} bytes; {least} to {most} can be", bytes.len()));
        }
        Ok(Secret::new(&bytes))
    });
    secrets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_or_refused() {
        for (text, authority, address, path) in [
            ("http://127.0.0.1:9000/hook?a=b", "127.0.0.1:9000", "127.0.0.1:9000", "/hook?a=b"),
            ("http://receiver", "receiver", "receiver:80", "/"),
            ("http://[::1]?x", "[::1]", "[::1]:80", "/?x"),
            ("http://[::1]:81/", "[::1]:81", "[::1]:81", "/"),
        ] {
            let url = HookUrl::parse(text).unwrap();
            assert_eq!((&*url.authority, &*url.address, &*url.path), (authority, address, path));
        }
        for (text, part) in [
            ("https://a/", "https"),
            ("a/b", "no URL"),
            ("ftp://a/", "no URL"),
            ("http:///a", "no host"),
            ("http://a:x/", "port"),
            ("http://a:99999/", "port"),
            ("http://me@a/", "user name"),
            ("http://a/b c", "percent-encoding"),
            ("http://a/\r\nX: y", "percent-encoding"),
        ] {
            let reason = HookUrl::parse(text).unwrap_err();
            assert!(reason.contains(part), "{text}: {reason}");
        }
        let long = format!("http://a/{}", "x".repeat(limits::WEBHOOK_URL_BYTES_MAX));
        assert!(HookUrl::parse(&long).is_err());
    }

    #[test]
    fn secrets_have_two_forms_and_bounds() {
        let plain = "0123456789abcdef";
        let both = secrets(&format!("# new\n{plain}\n\nwhsec_MDEyMzQ1Njc4OWFiY2RlZg==\n")).unwrap();
        assert_eq!(both, [Secret::new(plain.as_bytes()), Secret::new(plain.as_bytes())]);
        for (text, part) in [
            ("", "has 0 secrets"),
            ("short", "of 5 bytes"),
            ("whsec_!!!!", "no base64"),
            (&*format!("{plain}\n{plain}\n{plain}"), "has 3 secrets"),
        ] {
            let reason = secrets(text).unwrap_err();
            assert!(reason.contains(part) && !reason.contains("!!!!"), "{reason}");
        }
    }
}
