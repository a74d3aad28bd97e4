//! The parts of the file that say who may do what: tokens, keys that sign URLs, networks, CORS.
//!
//! **Invariants**: a secret is never quoted in a mistake; a source that was named and gives
//! nothing is a mistake.

use std::path::PathBuf;

use toml::de::DeValue;

use super::{Section, boolean, found, integer, text};
use crate::config::access::{PathAccess, Who};
use crate::config::cors::{Cors, CorsRule, check_origin, check_token};
use crate::config::network::Network;
use crate::config::rights::{Right, Scope};
use crate::config::signing::{MethodSet, UrlKey};
use crate::config::token::{Token, Tokens, check_name, single};
use crate::config::{Config, glob, secret};
use crate::limits;

/// `[publish]`, `[read]`, `[[token]]` and `[[url_key]]`.
pub(super) fn apply(config: &mut Config, root: &mut Section<'_>) {
    let warnings = &mut config.warnings;
    let tokens = &mut config.access.tokens;
    if let Some(mut publish) = root.section("publish") {
        let rights = [Right::Publish, Right::TopicPublish];
        let keys = ListKeys { list: "tokens", file: "token_file", env: Some("token_env") };
        apply_lists(&mut publish, keys, "publish", &rights, tokens, warnings);
        publish.finish();
    }
    if let Some(mut read) = root.section("read") {
        let rights = [Right::Read, Right::TopicSubscribe];
        let keys = ListKeys { list: "tokens", file: "token_file", env: Some("token_env") };
        apply_lists(&mut read, keys, "read", &rights, tokens, warnings);
        config.reads = read.read("who", who);
        read.finish();
    }
    for mut section in root.sections("token") {
        if let Some(token) = token(&mut section, warnings)
            && let Err(reason) = tokens.add(token)
        {
            section.wrong("", reason);
        }
        section.finish();
    }
    for mut section in root.sections("url_key") {
        if let Some(key) = url_key(&mut section, warnings) {
            let keys = &mut config.access.url_keys;
            if keys.len() == limits::URL_KEYS_MAX {
                section.wrong("", format!("at most {} keys", limits::URL_KEYS_MAX));
            } else if keys.iter().any(|other| other.name == key.name) {
                section.wrong("name", format!("there are two keys called \"{}\"", key.name));
            } else {
                keys.push(key);
            }
        }
        section.finish();
    }
}

/// Names of the keys that list tokens.
#[derive(Clone, Copy)]
pub(super) struct ListKeys {
    pub list: &'static str,
    pub file: &'static str,
    pub env: Option<&'static str>,
}

/// Tokens in a list, a file and a variable, all with the same rights.
pub(super) fn apply_lists(
    section: &mut Section<'_>,
    keys: ListKeys,
    stem: &str,
    rights: &[Right],
    into: &mut Tokens,
    warnings: &mut Vec<String>,
) {
    // The values themselves are not quoted: mistakes end up in logs and terminals.
    let listed = section.list(keys.list, |value| text(value).map(str::to_owned));
    for token in listed.unwrap_or_default() {
        if let Err(reason) = into.add_line(&token, stem, rights) {
            section.wrong(keys.list, reason);
        }
    }
    if let Some(path) = section.read(keys.file, |value| text(value).map(PathBuf::from)) {
        let path = section.document.beside(&path);
        let added = secret::read_file(&path, warnings)
            .and_then(|lines| into.add_text(&lines, &path.display().to_string(), stem, rights));
        if let Err(reason) = added {
            section.wrong(keys.file, reason);
        }
    }
    let Some(env) = keys.env else { return };
    if let Some(name) = section.read(env, variable) {
        let source = format!("the environment variable {name}");
        let added =
            secret::read_env(&name).and_then(|lines| into.add_text(&lines, &source, stem, rights));
        if let Err(reason) = added {
            section.wrong(env, reason);
        }
    }
}

fn token(section: &mut Section<'_>, warnings: &mut Vec<String>) -> Option<Token> {
    let name = section.read("name", |value| text(value).map(str::to_owned));
    let secret = one_secret(section, ["token", "token_file", "token_env"], warnings);
    let user = section.read("user", user_name);
    let expires_s = section.read("expires", moment);
    let pipeline = section.read("pipeline", pipeline_name);
    let mut scopes: [Scope; Right::ALL.len()] = Default::default();
    for right in Right::ALL {
        if let Some(patterns) = section.list(right.key(), pattern) {
            scopes[right as usize] = Scope::new(&patterns);
        }
    }
    if !section.has("name") {
        section.wrong("name", "is missing; the name stands in the access log".to_owned());
    }
    if !Right::ALL.iter().any(|right| section.has(right.key())) {
        let keys = Right::ALL.map(Right::key).join(", ");
        section.wrong("", format!("grants nothing; set one of {keys}, such as \"live/**\""));
    }
    match Token::new(&name?, &secret?) {
        Ok(mut token) => {
            token.user = user;
            token.pipeline = pipeline;
            token.expires_s = expires_s;
            token.scopes = scopes;
            Some(token)
        }
        Err(reason) => {
            section.wrong("", reason);
            None
        }
    }
}

fn url_key(section: &mut Section<'_>, warnings: &mut Vec<String>) -> Option<UrlKey> {
    let file = section.read("key_file", |value| text(value).map(PathBuf::from));
    let stem = file.and_then(|file| Some(file.file_stem()?.to_str()?.to_owned()));
    let name = section.read("name", |value| text(value).map(str::to_owned)).or(stem);
    let secret = one_secret(section, ["key", "key_file", "key_env"], warnings);
    let methods = section.read("methods", |value| MethodSet::parse(text(value)?.as_bytes()));
    let paths = section.list("paths", pattern);
    let Some(name) = name else {
        if !section.has("name") {
            let reason = "is missing; it stands in every URL that the key signs";
            section.wrong("name", reason.to_owned());
        }
        return None;
    };
    match UrlKey::new(&name, &secret?) {
        Ok(mut key) => {
            key.methods = methods.unwrap_or(key.methods);
            key.paths = paths.map_or(key.paths, |patterns| Scope::new(&patterns));
            Some(key)
        }
        Err(reason) => {
            section.wrong("", reason);
            None
        }
    }
}

/// The secret in exactly one of three places: here, in a file, in a variable.
pub(super) fn one_secret(
    section: &mut Section<'_>,
    [here, file, env]: [&'static str; 3],
    warnings: &mut Vec<String>,
) -> Option<String> {
    let count = [here, file, env].iter().filter(|key| section.has(key)).count();
    let plain = section.read(here, |value| text(value).map(str::to_owned));
    let path = section.read(file, |value| text(value).map(PathBuf::from));
    let name = section.read(env, variable);
    if count != 1 {
        section.wrong("", format!("needs exactly one of {here}, {file} and {env}"));
        return None;
    }
    let (key, read) = if let Some(path) = path {
        let path = section.document.beside(&path);
        let source = path.display().to_string();
        (file, secret::read_file(&path, warnings).and_then(|text| single(&text, &source)))
    } else if let Some(name) = name {
        let source = format!("the environment variable {name}");
        (env, secret::read_env(&name).and_then(|text| single(&text, &source)))
    } else {
        return plain;
    };
    match read {
        Ok(secret) => Some(secret),
        Err(reason) => {
            section.wrong(key, reason);
            None
        }
    }
}

/// What a `[[path]]` says of access; the mistakes are noted.
pub(super) fn path_access(section: &mut Section<'_>) -> PathAccess {
    let mut networks = |key| section.list(key, network);
    let access = PathAccess {
        read: None,
        write: None,
        read_allow: networks("read_allow"),
        read_deny: networks("read_deny"),
        write_allow: networks("write_allow"),
        write_deny: networks("write_deny"),
    };
    // An empty list of those who are let in reads like "nobody" and like "everybody".
    for (key, list) in [("read_allow", &access.read_allow), ("write_allow", &access.write_allow)] {
        if list.as_ref().is_some_and(Vec::is_empty) {
            let who = &key[..key.len() - "_allow".len()];
            let cure = format!(
                "is empty; for nobody write {who} = \"nobody\", for every network \
                 [\"0.0.0.0/0\", \"::/0\"]"
            );
            section.wrong(key, cure);
        }
    }
    let read = section.read("read", who);
    let write = section.read("write", who);
    PathAccess { read, write, ..access }
}

/// What a `[[path]]` says of web pages.
pub(super) fn path_cors(section: &mut Section<'_>) -> Option<Cors> {
    let open = section.read("cors", boolean);
    let mut rule = CorsRule::default();
    let mut detailed = false;
    let mut words = |key, into: &mut Vec<String>, check: fn(&str) -> Result<(), String>| {
        let word = |value: &DeValue<'_>| {
            let word = text(value)?;
            check(word).map_err(|reason| format!("{reason}; found {}", found(value)))?;
            Ok(word.to_owned())
        };
        detailed |= section.has(key);
        if let Some(list) = section.list(key, word) {
            *into = list;
        }
    };
    words("cors_origins", &mut rule.origins, check_origin);
    words("cors_methods", &mut rule.methods, check_token);
    words("cors_headers", &mut rule.headers, check_token);
    words("cors_expose", &mut rule.expose, check_token);
    detailed |= section.has("cors_max_age_s");
    section.set("cors_max_age_s", &mut rule.max_age_s, |value| {
        Ok(u32::try_from(integer(value, 0, 604_800)?).unwrap_or(0))
    });
    if detailed && open.is_none() && !section.has("cors_origins") {
        let reason = "the cors keys of a rule stand together and replace those of rules below; \
                      set cors_origins too, or cors = true for every origin";
        section.wrong("", reason.to_owned());
    }
    if rule.origins.len() > limits::CORS_ORIGINS_MAX {
        section.wrong("cors_origins", format!("at most {} origins", limits::CORS_ORIGINS_MAX));
    }
    if rule.origins.len() > 1 && rule.origins.iter().any(|origin| origin == "*") {
        section.wrong("cors_origins", "\"*\" stands alone".to_owned());
    }
    if detailed && open == Some(false) {
        section.wrong("cors", "is false: the other cors keys have no effect".to_owned());
    }
    let lines: usize = [&rule.methods, &rule.headers, &rule.expose]
        .iter()
        .flat_map(|list| list.iter())
        .map(|word| word.len() + 2)
        .sum();
    if lines > limits::CORS_BYTES_MAX {
        let reason = format!("the cors keys have more than {} bytes", limits::CORS_BYTES_MAX);
        section.wrong("", reason);
    }
    match open {
        Some(false) => Some(Cors::closed()),
        Some(true) => Some(Cors::new(&rule)),
        None => detailed.then(|| Cors::new(&rule)),
    }
}

fn who(value: &DeValue<'_>) -> Result<Who, String> {
    const CHOICES: [(&str, Who); 3] =
        [("anyone", Who::Anyone), ("token", Who::Token), ("nobody", Who::Nobody)];
    super::one_of(value, &CHOICES)
}

fn network(value: &DeValue<'_>) -> Result<Network, String> {
    text(value)?.parse().map_err(|reason| format!("{reason}; found {}", found(value)))
}

pub(super) fn pattern(value: &DeValue<'_>) -> Result<String, String> {
    let pattern = text(value)?;
    glob::check(pattern).map(|()| pattern.to_owned())
}

/// The name of an encoder.
pub(super) fn pipeline_name(value: &DeValue<'_>) -> Result<Box<str>, String> {
    let name = text(value)?;
    check_name(name).map(|()| name.into())
}

fn variable(value: &DeValue<'_>) -> Result<String, String> {
    let name = text(value)?;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match plain {
        true => Ok(name.to_owned()),
        false => Err("expected the name of an environment variable".to_owned()),
    }
}

//= RFC 7617 section 2: no colon and no control characters
fn user_name(value: &DeValue<'_>) -> Result<Box<str>, String> {
    let name = text(value)?;
    let plain = |byte: u8| byte != b':' && !byte.is_ascii_control();
    match name.len() <= limits::USER_BYTES_MAX && name.bytes().all(plain) {
        true => Ok(name.into()),
        false => Err(format!(
            "expected a user name of at most {} bytes without a colon",
            limits::USER_BYTES_MAX
        )),
    }
}

/// A date with time and offset, or a date alone (its beginning in UTC), as Unix seconds.
fn moment(value: &DeValue<'_>) -> Result<u64, String> {
    let wrong = || {
        format!(
            "expected a moment such as 2027-01-31T18:00:00Z (without quotes), found {}",
            found(value)
        )
    };
    let DeValue::Datetime(moment) = value else { return Err(wrong()) };
    let (Some(date), time) = (moment.date, moment.time) else { return Err(wrong()) };
    let offset_minutes = match (moment.offset, time) {
        (Some(toml::value::Offset::Custom { minutes }), _) => i64::from(minutes),
        (Some(toml::value::Offset::Z), _) | (None, None) => 0,
        (None, Some(_)) => return Err("has no offset; end it with Z for UTC".to_owned()),
    };
    let seconds = time.map_or(0, |time| {
        i64::from(time.hour) * 3600
            + i64::from(time.minute) * 60
            + i64::from(time.second.unwrap_or(0))
    });
    let days = days_from_civil(date.year.into(), date.month.into(), date.day.into());
    u64::try_from(days * 86_400 + seconds - offset_minutes * 60)
        .map_err(|_| "lies before 1970".to_owned())
}

/// Days since 1970-01-01, by 400-year eras that start on the first of March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::days_from_civil;

    #[test]
    fn days_are_counted_from_1970() {
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2027, 1, 1), 20_819),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days_from_civil(date.0, date.1, date.2), days, "{date:?}");
        }
    }
}
