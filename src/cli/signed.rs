//! `headwater sign`: a URL with a query that lets its bearer in.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::secret;
use crate::config::signing::{MethodSet, UrlKey};
use crate::config::token::single;
use crate::limits;
use crate::origin::key;

/// What the command line asks for.
pub(super) struct Wanted<'a> {
    pub url: &'a str,
    pub key_file: &'a Path,
    pub key_name: Option<&'a str>,
    pub life_s: u64,
    pub prefix: Option<&'a str>,
    pub methods: &'a str,
}

/// The signed URL, and warnings about the key's file.
///
/// # Errors
/// A sentence, without the key.
pub(super) fn sign(wanted: &Wanted<'_>, now: SystemTime) -> Result<(String, Vec<String>), String> {
    let mut warnings = Vec::new();
    let shown = wanted.key_file.display().to_string();
    let secret = single(&secret::read_file(wanted.key_file, &mut warnings)?, &shown)?;
    let stem = wanted.key_file.file_stem().and_then(|stem| stem.to_str());
    let name = wanted.key_name.or(stem).ok_or("give the key a name with --key-name")?;
    let key = UrlKey::new(name, &secret).map_err(|reason| format!("{shown}: {reason}"))?;
    let methods = MethodSet::parse(wanted.methods.as_bytes())?;
    let of_url = path_of(wanted.url)?;
    let path = match wanted.prefix {
        None => of_url,
        Some(prefix) if !prefix.starts_with('/') => {
            return Err("--prefix starts with a slash, such as /live/".to_owned());
        }
        Some(prefix) => prefix.to_owned(),
    };
    let now_s = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let query = key.sign(&path, methods, now_s + wanted.life_s);
    let join = if wanted.url.contains('?') { '&' } else { '?' };
    Ok((format!("{}{join}{query}", wanted.url), warnings))
}

/// The path of a URL, or of a target, without percent-encoding.
pub(super) fn path_of(url: &str) -> Result<String, String> {
    let target = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => url,
    };
    if url.contains('#') {
        return Err("a fragment (#...) is never sent; leave it out of the URL".to_owned());
    }
    let path = target.split('?').next().unwrap_or_default();
    if !path.starts_with('/') {
        return Err("expected a URL such as http://origin/live/a.m3u8, or a path".to_owned());
    }
    if path == "/" {
        return Ok(path.to_owned());
    }
    // A folder's path, with its slash, names no object but may be signed.
    let (folder, slash) = path.strip_suffix('/').map_or((path, ""), |folder| (folder, "/"));
    let mut scratch = [0; limits::KEY_BYTES_MAX];
    let key = key::parse(folder.as_bytes(), &mut scratch).map_err(|fault| fault.reason())?;
    let key = std::str::from_utf8(key).map_err(|_| "the path is not UTF-8 text")?;
    Ok(format!("/{key}{slash}"))
}

/// A time such as 90s, 30m, 2h or 7d, in seconds.
pub(super) fn parse_life(text: &str) -> Result<u64, String> {
    let wrong = || "expected a time such as 90s, 30m, 2h or 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let unit_s = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    match number.checked_mul(unit_s) {
        Some(life_s @ 1..=limits::URL_LIFE_S_MAX) => Ok(life_s),
        _ => Err("expected at least a second and at most ten years".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_numbers_with_units() {
        assert_eq!(parse_life("90s"), Ok(90));
        assert_eq!(parse_life("2h"), Ok(7_200));
        assert_eq!(parse_life("7d"), Ok(604_800));
        for bad in ["", "h", "2", "-1s", "1.5h", "2w", "0s", "99999999999d", "1\u{e9}"] {
            assert!(parse_life(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_those_that_the_origin_sees() {
        assert_eq!(path_of("http://h:1/live/a%20b.ts?x=1").unwrap(), "/live/a b.ts");
        assert_eq!(path_of("/live/a.ts").unwrap(), "/live/a.ts");
        assert_eq!(path_of("/live/").unwrap(), "/live/");
        assert_eq!(path_of("https://h").unwrap(), "/");
        for bad in ["live/a", "/a//b", "/a/../b", "/a#t=1", "/%zz"] {
            assert!(path_of(bad).is_err(), "{bad}");
        }
    }
}
