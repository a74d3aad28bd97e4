//! Signatures of webhooks, as the Standard Webhooks specification 1.0 has them, so that receivers
//! can check them with its libraries.
//!
//! ```text
//! webhook-id: 19b76a3c0f0-7-9c1e5b0d3f2a6e81
//! webhook-timestamp: 1767225612
//! webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
//! ```
//!
//! The signature is HMAC-SHA256 in base64 over `ID.TIMESTAMP.BODY`; with two secrets there are two,
//! with a space between. The id is the same for every attempt, so that receivers can pass over
//! what they have had; the timestamp, in seconds, is the attempt's.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use xxhash_rust::xxh3::xxh3_64;

use super::Notice;
use crate::config::secret::Secret;

/// The id of a message: when it was published, its number, its topic.
pub fn id(notice: &Notice) -> String {
    format!("{:x}-{}-{:016x}", notice.published_ms, notice.number, xxh3_64(&notice.topic))
}

/// The value of `webhook-signature`.
pub fn signatures(secrets: &[Secret], id: &str, timestamp_s: u64, body: &[u8]) -> String {
    let signed = secrets.iter().map(|secret| {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.expose()).expect("a key may have any length");
        mac.update(format!("{id}.{timestamp_s}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    });
    signed.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_reference_example_holds() {
        let key = BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let secrets = [Secret::new(&key), Secret::new(b"0123456789abcdef")];
        let body = br#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let found = signatures(&secrets, id, 1_614_265_330, body);
        let (first, second) = found.split_once(' ').unwrap();
        assert_eq!(first, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(second.starts_with("v1,") && second != first);
    }

    #[test]
    fn ids_tell_messages_apart() {
        let of = |topic: &[u8], number, published_ms| {
            id(&Notice { topic: topic.into(), number, published_ms, json: Box::default() })
        };
        let all = [of(b"a/b", 1, 7), of(b"a/b", 2, 7), of(b"a/c", 1, 7), of(b"a/b", 1, 8)];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(of(b"a/b", 1, 7), all[0]);
    }
}
