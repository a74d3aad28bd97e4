//! `headwater verify URL`: reads every object below a path through the origin.
//!
//! What is checked: that the whole body comes, of the length that its head says; that its bytes
//! have the sum that its entity tag is, as those of whole uploads are; of other tags (what
//! arrived in chunks, files put there by hand, made playlists) that a second look finds the same
//! tag and length. What was replaced between two looks is looked at again, a few times.

use std::io::{self, Write};

use super::fault::{Fault, plain};
use super::head::Head;
use super::listing;
use super::origin::{Body, Origin};
use super::url::Url;
use crate::digest::Digest;
use crate::limits::client::{PIECE_BYTES, VERIFY_TRIES_MAX};
use crate::progress::Progress;

#[derive(Default)]
struct Found {
    objects: u64,
    bytes: u64,
    /// Without a sum in their entity tag.
    plain: u64,
    damaged: u64,
}

/// What was seen of one object.
enum Seen {
    /// So many bytes, and whether a sum said that they are right.
    Fine(u64, bool),
    /// It is not there any more.
    Gone,
    Damaged(String),
}

/// Reads all objects below `url` and names each that is not whole; whether there is none.
///
/// # Errors
/// When listings or the connection fail.
pub fn verify(origin: &mut Origin, url: &Url) -> Result<bool, Fault> {
    let progress = Progress::of(None);
    let mut found = Found::default();
    let mut piece = vec![0; PIECE_BYTES];
    listing::walk(origin, url, &mut |origin, object| {
        let target = url.with_key(object.key.as_bytes()).target();
        let seen = look(origin, &target, &mut piece, &progress).map_err(|at| object.fault(at))?;
        match seen {
            Seen::Gone if !object.is_unsayable() => return Ok(()),
            Seen::Fine(bytes, has_sum) => {
                found.bytes += bytes;
                found.plain += u64::from(!has_sum);
            }
            Seen::Gone => {
                damaged(&mut found, &progress, &object.key, "its name is no UTF-8, get it by %XX")?
            }
            Seen::Damaged(why) => damaged(&mut found, &progress, &object.key, &why)?,
        }
        found.objects += 1;
        progress.say(|| format!("{} objects, {} damaged", found.objects, found.damaged));
        Ok(())
    })?;
    progress.end();
    let Found { objects, bytes, plain, damaged } = found;
    let text =
        format!("{objects} objects, {bytes} bytes: {damaged} damaged, {plain} without a sum");
    writeln!(io::stdout(), "{text}").map_err(Fault::Output)?;
    Ok(damaged == 0)
}

fn damaged(found: &mut Found, progress: &Progress, key: &str, why: &str) -> Result<(), Fault> {
    found.damaged += 1;
    let line = format!("damaged: {}: {}", plain(key), plain(why));
    progress.aside(|| writeln!(io::stdout(), "{line}")).map_err(Fault::Output)
}

fn look(
    origin: &mut Origin,
    target: &str,
    piece: &mut [u8],
    progress: &Progress,
) -> Result<Seen, Fault> {
    let mut why = String::new();
    for _ in 0..VERIFY_TRIES_MAX {
        let head = match origin.ask("GET", target, &[], Body::None) {
            Ok(head) => head,
            Err(fault) => return judged(fault),
        };
        let (bytes, sum) = match read(origin, piece, progress) {
            Ok(read) => read,
            Err(fault) => return judged(fault),
        };
        match head.sum() {
            Some(wanted) if wanted == sum => return Ok(Seen::Fine(bytes, true)),
            Some(_) => return Ok(Seen::Damaged("its bytes are not those of its tag".to_owned())),
            None => {}
        }
        match origin.ask("HEAD", target, &[], Body::None) {
            Ok(again) if is_same(&head, &again, bytes) => return Ok(Seen::Fine(bytes, false)),
            Ok(again) if again.etag == head.etag => {
                let length = again.length.unwrap_or(0);
                return Ok(Seen::Damaged(format!("{bytes} bytes instead of {length}")));
            }
            Ok(_) => why = "its entity tag is another at every look".to_owned(),
            Err(fault) => return judged(fault),
        }
    }
    Ok(Seen::Damaged(why))
}

/// Whether a second look finds what was read; what is arriving has no length yet.
fn is_same(head: &Head, again: &Head, bytes: u64) -> bool {
    again.etag == head.etag && again.length.is_none_or(|length| length == bytes)
}

/// What a failure says of the object, if it is one of the object.
fn judged(fault: Fault) -> Result<Seen, Fault> {
    match fault {
        fault if fault.is_absent() => Ok(Seen::Gone),
        fault if fault.is_denied() => Err(fault),
        fault if fault.is_of_one() => Ok(Seen::Damaged(fault.to_string())),
        fault => Err(fault),
    }
}

/// Reads a body to its end: its bytes, and their sum.
fn read(origin: &mut Origin, piece: &mut [u8], progress: &Progress) -> Result<(u64, u128), Fault> {
    let mut sum = Digest::new();
    let mut bytes = 0;
    loop {
        let count = origin.read(piece)?;
        if count == 0 {
            return Ok((bytes, sum.finish()));
        }
        sum.update(&piece[..count]);
        bytes += count as u64;
        progress.advance(count as u64);
    }
}
