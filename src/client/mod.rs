//! The program as a client of an origin: what lies there, to and fro.
//!
//! Blocking HTTP/1.1 over one connection, on the main thread of a command; TLS is a proxy's affair.
//! [`url`] understands arguments, [`origin`] sends requests over a [`link`] and reads [`head`]s by
//! a parser that is not the origin's own, [`listing`] walks; a command each in the other files.
//!
//! **Invariants**: every wait and every size is bounded by `limits::client`; redirects are told and
//! never followed, so a token goes nowhere else; what an origin says reaches a terminal without
//! control characters.

mod fault;
mod get;
mod head;
mod link;
mod list;
mod listing;
mod origin;
mod put;
mod remove;
mod url;
mod verify;

use std::io::{self, Write};
use std::path::Path;

use crate::exit::Exit;

use fault::Fault;
use origin::Origin;
use url::Url;

pub use put::Upload;
pub use url::is_url;

/// What is looked at without changing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A line for each object.
    List,
    /// Sums only.
    Sum,
    /// Every byte is read.
    Verify,
}

/// Looks at everything below a URL.
pub fn look(url: &str, token: Option<&str>, look: Look) -> Exit {
    at(url, token, |origin, url| match look {
        Look::List => list::list(origin, url).map(|()| true),
        Look::Sum => list::sum(origin, url).map(|()| true),
        Look::Verify => verify::verify(origin, url),
    })
}

/// Fetches an object into a file; see [`get::get`].
pub fn get(url: &str, token: Option<&str>, file: Option<&Path>, resume: bool) -> Exit {
    at(url, token, |origin, url| get::get(origin, url, file, resume).map(|()| true))
}

/// Uploads files; see [`put::put`].
pub fn put(files: &[&Path], url: &str, token: Option<&str>, upload: &Upload) -> Exit {
    at(url, token, |origin, url| put::put(origin, files, url, upload))
}

/// Deletes objects, and folders where that is agreed to.
pub fn remove(urls: &[String], token: Option<&str>, recursive: bool, agreed: bool) -> Exit {
    let urls: Result<Vec<Url>, String> = urls.iter().map(|url| Url::parse(url)).collect();
    let go = urls.map_err(Fault::Usage).and_then(|urls| {
        let go = remove::agree(&urls, recursive, agreed)?;
        Ok(if go { urls } else { Vec::new() })
    });
    let urls = match go {
        Ok(urls) if urls.is_empty() => return Exit::Failed,
        Ok(urls) => urls,
        Err(fault) => return said(&fault, &""),
    };
    let mut origin: Option<Origin> = None;
    let (mut removed, mut exit) = (0, Exit::Clean);
    for url in &urls {
        let kept = origin.take().filter(|origin| origin.is_of(url));
        let outcome = kept.map_or_else(|| Origin::new(url, token), Ok).and_then(|mut at| {
            let outcome = remove::remove(&mut at, url);
            origin = Some(at);
            outcome
        });
        match outcome {
            Ok(outcome) => {
                removed += outcome.done;
                if outcome.failed > 0 {
                    exit = Exit::Failed;
                }
            }
            Err(fault) => exit = said(&fault, url),
        }
    }
    if recursive && writeln!(io::stdout(), "{removed} objects deleted").is_err() {
        return Exit::Failed;
    }
    exit
}

/// Does something at the origin of a URL, and says why it failed.
fn at(
    url: &str,
    token: Option<&str>,
    work: impl FnOnce(&mut Origin, &Url) -> Result<bool, Fault>,
) -> Exit {
    let url = match Url::parse(url) {
        Ok(url) => url,
        Err(reason) => return said(&Fault::Usage(reason), &""),
    };
    match Origin::new(&url, token).and_then(|mut origin| work(&mut origin, &url)) {
        Ok(true) => Exit::Clean,
        Ok(false) => Exit::Failed,
        Err(fault) => said(&fault, &url),
    }
}

/// Prints a failure; how the process ends by it.
fn said(fault: &Fault, subject: &dyn std::fmt::Display) -> Exit {
    let exit = fault.exit();
    if exit != Exit::Clean {
        eprintln!("{}", fault.about(subject));
    }
    exit
}
