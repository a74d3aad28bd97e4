//! The commands for objects: `ls`, `du` and `verify` of a folder or a URL, `get`, `put` and `rm`.
//!
//! **Invariants**: a token is never printed, and comes from one place: the flag, a file, or
//! else the environment.

use std::path::{Path, PathBuf};

use clap::Args;

use super::signed::parse_life;
use crate::client::{self, Look, Upload};
use crate::config::secret;
use crate::config::token::single;
use crate::exit::Exit;
use crate::inspect::{self, Task};
use crate::limits::client::TOKEN_BYTES_MAX;

/// Where a token is looked for when none is given.
const TOKEN_VARIABLE: &str = "HEADWATER_TOKEN";

/// What lets a command in.
#[derive(Args, Debug)]
pub(super) struct Credential {
    /// Bearer token; every user of this machine can see it [default: HEADWATER_TOKEN]
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,
    /// File with the bearer token on one line
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What is looked at.
#[derive(Args, Debug)]
pub(super) struct Place {
    /// A folder, as given to serve --data (an origin may be using it), or http://HOST:PORT/PREFIX
    place: PathBuf,
    /// Of a folder, only objects whose key begins so
    #[arg(default_value = "")]
    prefix: String,
    #[command(flatten)]
    credential: Credential,
}

/// What is fetched.
#[derive(Args, Debug)]
pub(super) struct Get {
    /// The object
    url: String,
    /// Where to: a file, a folder, or - for standard output [default: the last part of the name]
    file: Option<PathBuf>,
    /// Go on with what an earlier try left, if the object is still the same
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    credential: Credential,
}

/// What is uploaded.
#[derive(Args, Debug)]
pub(super) struct Put {
    /// Files, or folders with --recursive; - is standard input, sent as it comes
    #[arg(required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Name of the object; a URL that ends in a slash gets the files' names behind it
    url: String,
    /// Upload folders with all that is in them: FOLDER keeps its name, of FOLDER/ only the contents
    #[arg(long, short)]
    recursive: bool,
    /// Until when it is there: a number with s, m, h or d [default: by the origin's rules]
    #[arg(long, value_name = "TIME", value_parser = parse_life)]
    ttl: Option<u64>,
    /// Content-Type [default: by the name's extension]
    #[arg(long, value_name = "TYPE", value_parser = parse_value)]
    content_type: Option<String>,
    /// Only where there is no object of that name yet
    #[arg(long)]
    if_none_match: bool,
    #[command(flatten)]
    credential: Credential,
}

/// What is deleted.
#[derive(Args, Debug)]
pub(super) struct Rm {
    /// Objects; with --recursive also URLs that end in a slash
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Delete everything below a URL that ends in a slash, after a question
    #[arg(long, short)]
    recursive: bool,
    /// Delete it without a question
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    credential: Credential,
}

impl Credential {
    /// The token, if there is one.
    fn read(&self) -> Result<Option<String>, String> {
        let given = match (&self.token, &self.token_file) {
            (Some(token), _) => Some((token.clone(), "--token".to_owned())),
            (None, Some(file)) => Some((of_file(file)?, file.display().to_string())),
            (None, None) if std::env::var_os(TOKEN_VARIABLE).is_some() => {
                Some((secret::read_env(TOKEN_VARIABLE)?, TOKEN_VARIABLE.to_owned()))
            }
            (None, None) => None,
        };
        let Some((token, source)) = given else { return Ok(None) };
        let token = token.trim();
        let is_sound = (1..=TOKEN_BYTES_MAX).contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_sound {
            return Err(format!("{source}: a token is one word of printable ASCII"));
        }
        Ok(Some(token.to_owned()))
    }
}

/// The token in a file; a file of the origin's own, with NAME:SECRET, will do.
fn of_file(file: &Path) -> Result<String, String> {
    let mut warnings = Vec::new();
    let text = single(&secret::read_file(file, &mut warnings)?, &file.display().to_string())?;
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    Ok(text.rsplit(':').next().unwrap_or_default().to_owned())
}

fn parse_value(text: &str) -> Result<String, String> {
    let is_sound = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    is_sound.then(|| text.to_owned()).ok_or_else(|| "expected printable ASCII".to_owned())
}

/// `ls`, `du` and `verify`.
pub(super) fn look(of: &Place, what: Look) -> Exit {
    let Some(url) = of.place.to_str().filter(|text| client::is_url(text)) else {
        let task = match what {
            Look::List => Task::List,
            Look::Sum => Task::Sum,
            Look::Verify => Task::Verify,
        };
        return inspect::run(&of.place, &of.prefix, task);
    };
    if !of.prefix.is_empty() {
        eprintln!("{url}: write the prefix into the URL");
        return Exit::Usage;
    }
    with(&of.credential, |token| client::look(url, token, what))
}

/// `get`.
pub(super) fn get(of: &Get) -> Exit {
    let file = of.file.as_deref();
    with(&of.credential, |token| client::get(&of.url, token, file, of.resume))
}

/// `put`.
pub(super) fn put(of: &Put) -> Exit {
    let upload = Upload {
        ttl_s: of.ttl,
        content_type: of.content_type.clone(),
        only_new: of.if_none_match,
        recursive: of.recursive,
    };
    let files: Vec<&Path> = of.files.iter().map(PathBuf::as_path).collect();
    with(&of.credential, |token| client::put(&files, &of.url, token, &upload))
}

/// `rm`.
pub(super) fn rm(of: &Rm) -> Exit {
    with(&of.credential, |token| client::remove(&of.urls, token, of.recursive, of.yes))
}

fn with(credential: &Credential, work: impl FnOnce(Option<&str>) -> Exit) -> Exit {
    match credential.read() {
        Ok(token) => work(token.as_deref()),
        Err(reason) => {
            eprintln!("{reason}");
            Exit::Usage
        }
    }
}

pub(super) const AFTER_LS: &str = "\
Examples:
  headwater ls /var/lib/headwater films/
  headwater ls http://127.0.0.1:8080/films/

A line is: bytes (- while it arrives), seconds left (- for ever), type, key. An origin lists what
it has in memory; what lies only in its data folder, the folder's listing shows.";

pub(super) const AFTER_VERIFY: &str = "\
Examples:
  headwater verify /var/lib/headwater films/
  headwater verify http://127.0.0.1:8080/films/

Of a folder, bytes are compared with the sums written with them. Through an origin, every object
that it lists is read: its length must be that of its head, and its bytes have the sum that its
entity tag is. Tags of what arrived in chunks, of files put there by hand and of made playlists
are no sums: there a second look must find the same tag and length. They count as 'without a sum'.
Ends with 1 when an object is damaged.";

pub(super) const AFTER_GET: &str = "\
Examples:
  headwater get http://127.0.0.1:8080/vod/film.mp4
  headwater get --resume http://127.0.0.1:8080/vod/film.mp4 /tmp/
  headwater get http://127.0.0.1:8080/live/a.m3u8 - | grep EXTINF

The file appears when all its bytes are there; an earlier one of that name is replaced then. Until
then they lie beside it in NAME.VERSION.part, from where --resume goes on.";

pub(super) const AFTER_PUT: &str = "\
Examples:
  headwater put film.mp4 http://127.0.0.1:8080/vod/
  headwater put --recursive hls/ http://127.0.0.1:8080/vod/film/ --ttl 30d
  tar c logs | headwater put - http://127.0.0.1:8080/logs.tar --token-file token

Of several files, playlists and MPDs go last. What is refused is named, the others go on; the exit
code is 0 only if all were stored. Links and special files below a folder are passed over.";

pub(super) const AFTER_RM: &str = "\
Examples:
  headwater rm http://127.0.0.1:8080/vod/film.mp4
  headwater rm --recursive --yes http://127.0.0.1:8080/vod/film/

With --recursive what the origin lists is deleted: what lies only on its disk or in its object store
is not listed before it has been read.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_one_word_from_one_place() {
        let of =
            |token: &str| Credential { token: Some(token.to_owned()), token_file: None }.read();
        assert_eq!(of(" abc \n").unwrap().as_deref(), Some("abc"));
        for bad in ["", "a b", "a\r\nX: y", "\u{e9}"] {
            let error = of(bad).unwrap_err();
            assert!(error.starts_with("--token: "), "{error}");
        }
    }

    #[test]
    fn help_is_plain_and_narrow() {
        for text in [AFTER_LS, AFTER_VERIFY, AFTER_GET, AFTER_PUT, AFTER_RM] {
            let is_narrow = text.lines().all(|line| line.len() <= 100 && line.is_ascii());
            assert!(is_narrow, "{text}");
        }
    }
}
