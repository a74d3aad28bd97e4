//! The parts of the file that switch dialects of other stores on: `[mediastore]`, `[[aws_key]]`,
//! `[momento]`.
//!
//! **Invariants**: a dialect that is not named is not spoken; a secret is never quoted.

use super::access::{one_secret, pattern};
use super::{Section, integer, text};
use crate::config::rights::Scope;
use crate::config::{AwsKey, Config, MediaStore, Momento, momento};
use crate::limits;

/// Reads the dialects.
pub(super) fn apply(config: &mut Config, root: &mut Section<'_>) {
    if let Some(mut section) = root.section("mediastore") {
        let mut mediastore = MediaStore::default();
        section.set("clock_skew_s", &mut mediastore.clock_skew_s, |value| {
            integer(value, 1, limits::CLOCK_SKEW_S_MAX)
        });
        config.access.mediastore = Some(mediastore);
        section.finish();
    }
    apply_momento(config, root);
    for mut section in root.sections("aws_key") {
        if config.access.mediastore.is_none() {
            section.wrong("", "has no effect without [mediastore]".to_owned());
        }
        if let Some(key) = aws_key(&mut section, &mut config.warnings) {
            let keys = &mut config.access.aws_keys;
            if keys.len() == limits::AWS_KEYS_MAX {
                section.wrong("", format!("at most {} keys", limits::AWS_KEYS_MAX));
            } else if keys.iter().any(|other| other.id == key.id) {
                section.wrong("id", format!("there are two keys called \"{}\"", key.id));
            } else {
                keys.push(key);
            }
        }
        section.finish();
    }
}

/// `[momento]`.
fn apply_momento(config: &mut Config, root: &mut Section<'_>) {
    let Some(mut section) = root.section("momento") else { return };
    let mut names = |key| {
        let names = section.list(key, |value| momento::name(text(value)?)).unwrap_or_default();
        if names.len() > limits::MOMENTO_NAMES_MAX {
            section.wrong(key, format!("at most {} names", limits::MOMENTO_NAMES_MAX));
        }
        names.into()
    };
    let (stores, caches) = (names("stores"), names("caches"));
    config.access.momento = Some(Momento { stores, caches });
    section.finish();
}

fn aws_key(section: &mut Section<'_>, warnings: &mut Vec<String>) -> Option<AwsKey> {
    let id = section.read("id", |value| text(value).map(str::to_owned));
    let secret = one_secret(section, ["secret", "secret_file", "secret_env"], warnings);
    let scopes = ["read", "publish"].map(|right| section.list(right, pattern));
    if !section.has("id") {
        section.wrong("id", "is missing; it is what requests name as their key".to_owned());
    }
    let is_scoped = ["read", "publish"].iter().any(|right| section.has(right));
    match AwsKey::new(&id?, &secret?) {
        Ok(mut key) if is_scoped => {
            [key.read, key.publish] = scopes.map(|list| Scope::new(&list.unwrap_or_default()));
            Some(key)
        }
        Ok(key) => Some(key),
        Err(reason) => {
            section.wrong("", reason);
            None
        }
    }
}
