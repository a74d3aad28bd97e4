//! Secrets: where they come from, and what is kept of them.
//!
//! A secret stands in the configuration, in a file of its own or in an environment variable. What
//! only has to be recognised is kept as its digest ([`Digest`]); what is computed with (keys) is
//! kept as a [`Secret`].
//!
//! **Invariants**: neither prints what it holds; a comparison's time does not depend on how much
//! of a guess was right; no mistake and no warning quotes a secret.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::Digest as _;
use subtle::ConstantTimeEq;

use crate::limits;

/// Bytes that nobody else may know.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Keeps the bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes, to compute with.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

/// What is kept of a secret that only has to be recognised: its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of a secret, or of a guess.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Whether both are of the same bytes, in constant time.
    pub fn matches(&self, other: &Self) -> subtle::Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Digest")
    }
}

/// Reads a small text file that holds secrets; notes a warning when others may read it.
///
/// # Errors
/// A sentence: the file is missing, unreadable, too large or not text.
pub fn read_file(path: &Path, warnings: &mut Vec<String>) -> Result<String, String> {
    let text = read_bounded(path)?;
    if let Ok(found) = std::fs::metadata(path)
        && found.mode() & OPEN_TO_OTHERS != 0
    {
        warnings.push(format!(
            "{} holds secrets, and other users may read or change it (mode {:o}); run 'chmod 600' \
             on it",
            path.display(),
            found.mode() & 0o777
        ));
    }
    Ok(text)
}

/// Reads an environment variable that holds secrets.
///
/// # Errors
/// A sentence: it is not set, empty, or not text.
pub fn read_env(name: &str) -> Result<String, String> {
    match std::env::var(name) {
        Ok(text) if text.trim().is_empty() => {
            Err(format!("the environment variable {name} is empty"))
        }
        Ok(text) => Ok(text),
        Err(std::env::VarError::NotPresent) => {
            Err(format!("the environment variable {name} is not set"))
        }
        Err(_) => Err(format!("the environment variable {name} is not UTF-8 text")),
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

/// Anything for others, and writing for the group. A group that reads is a usual way to hand a
/// file of root's to a service.
const OPEN_TO_OTHERS: u32 = 0o027;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn digests_are_sha_256_and_print_nothing() {
        // FIPS 180-2, appendix B.1.
        let expected = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
            0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61,
            0xf2, 0x00, 0x15, 0xad,
        ];
        assert_eq!(Digest::of(b"abc").0, expected);
        assert!(bool::from(Digest::of(b"abc").matches(&Digest::of(b"abc"))));
        assert!(!bool::from(Digest::of(b"abc").matches(&Digest::of(b"abd"))));
        assert_eq!(format!("{:?} {:?}", Digest::of(b"abc"), Secret::new(b"abc")), "Digest Secret");
    }

    #[test]
    fn a_file_that_others_may_read_is_warned_about() {
        let path = std::env::temp_dir().join(format!("hw-secret-{}", std::process::id()));
        std::fs::write(&path, "a secret\n").unwrap();
        for (mode, warned) in [(0o600, 0), (0o640, 0), (0o644, 1), (0o660, 1), (0o602, 1)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let mut warnings = Vec::new();
            assert_eq!(read_file(&path, &mut warnings).unwrap(), "a secret\n");
            assert_eq!(warnings.len(), warned, "{mode:o}: {warnings:?}");
            assert!(warnings.iter().all(|line| !line.contains("a secret")), "{warnings:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read_file(&path, &mut Vec::new()).unwrap_err().contains("cannot open"));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let reason = read_env("HEADWATER_TEST_NO_SUCH_VARIABLE").unwrap_err();
        assert!(reason.contains("HEADWATER_TEST_NO_SUCH_VARIABLE is not set"), "{reason}");
    }
}
