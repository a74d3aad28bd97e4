//! `headwater ls URL` and `du URL`: what an origin has, as its listings tell.

use std::io::{self, Write};

use super::fault::{Fault, plain};
use super::listing::{self, Object};
use super::origin::Origin;
use super::url::Url;
use crate::progress::Progress;

/// Prints a line for each object: bytes, seconds left, type, key. What is arriving has no bytes
/// yet.
pub fn list(origin: &mut Origin, url: &Url) -> Result<(), Fault> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    listing::walk(origin, url, &mut |_, object| line(&mut out, &object).map_err(Fault::Output))?;
    out.flush().map_err(Fault::Output)
}

fn line(out: &mut impl Write, object: &Object) -> io::Result<()> {
    let length = object.length.map_or("-".to_owned(), |length| length.to_string());
    let (kind, key) = (plain(&object.content_type), plain(&object.key));
    let left = object.left_s.map_or("-".to_owned(), |left_s| format!("{left_s}s"));
    writeln!(out, "{length:>12} {left:>9} {kind:<32} {key}")
}

/// Prints how many objects there are, and their bytes.
pub fn sum(origin: &mut Origin, url: &Url) -> Result<(), Fault> {
    let progress = Progress::of(None);
    let (mut objects, mut arriving) = (0_u64, 0_u64);
    let mut bytes = 0;
    listing::walk(origin, url, &mut |_, object| {
        objects += 1;
        bytes += object.length.unwrap_or(0);
        arriving += u64::from(object.length.is_none());
        progress.advance(object.length.unwrap_or(0));
        progress.say(|| format!("{objects} objects"));
        Ok(())
    })?;
    progress.end();
    let more = match arriving {
        0 => String::new(),
        count => format!(", and {count} that are arriving"),
    };
    writeln!(io::stdout(), "{objects} objects, {bytes} bytes{more}").map_err(Fault::Output)
}
