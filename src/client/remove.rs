//! `headwater rm URL...`: deletes objects, or everything below a path.
//!
//! **Invariants**: nothing is deleted before all of the command line was understood and, for
//! whole folders, agreed to; a name is deleted once.

use std::io::{self, BufRead, IsTerminal, Write};

use super::fault::Fault;
use super::listing;
use super::origin::{Body, Origin};
use super::url::Url;
use crate::progress::Progress;

/// Checks what is to be deleted, and asks about folders: whether to go on.
///
/// # Errors
/// For a folder without `recursive`, or without `agreed` where nobody can be asked.
pub fn agree(urls: &[Url], recursive: bool, agreed: bool) -> Result<bool, Fault> {
    let Some(folder) = urls.iter().find(|url| url.is_folder()) else { return Ok(true) };
    if !recursive {
        let what = "it ends in a slash; add --recursive to delete everything below it";
        return Err(Fault::Usage(format!("{folder}: {what}")));
    }
    if agreed {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        let what = "add --yes to delete everything below it without being asked";
        return Err(Fault::Usage(format!("{folder}: {what}")));
    }
    for url in urls.iter().filter(|url| url.is_folder()) {
        eprint!("delete everything below {url}? [y/N] ");
        io::stderr().flush().map_err(Fault::Output)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(Fault::Output)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Objects that were deleted, and those that could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Deleted.
    pub done: u64,
    /// Named on standard error.
    pub failed: u64,
}

/// Deletes one object, or everything below a folder.
///
/// # Errors
/// For one object also when it is not there.
pub fn remove(origin: &mut Origin, url: &Url) -> Result<Removed, Fault> {
    if !url.is_folder() {
        origin.ask("DELETE", &url.target(), &[], Body::None)?;
        return Ok(Removed { done: 1, failed: 0 });
    }
    let progress = Progress::of(None);
    let mut removed = Removed::default();
    listing::walk(origin, url, &mut |origin, object| {
        let target = url.with_key(object.key.as_bytes()).target();
        match origin.ask("DELETE", &target, &[], Body::None) {
            Ok(_) => removed.done += 1,
            Err(fault) if fault.is_absent() && !object.is_unsayable() => {}
            Err(fault) if fault.is_of_one() && !fault.is_denied() => {
                removed.failed += 1;
                progress.aside(|| eprintln!("{}", object.fault(fault).about(url)));
            }
            Err(fault) => return Err(object.fault(fault)),
        }
        progress.advance(object.length.unwrap_or(0));
        progress.say(|| format!("{} objects deleted", removed.done));
        Ok(())
    })?;
    Ok(removed)
}
