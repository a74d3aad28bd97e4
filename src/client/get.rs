//! `headwater get URL [FILE]`: an object into a file, or to standard output.
//!
//! **Invariants**: a file of the wanted name is there only once all its bytes are, and they are
//! what the entity tag says where that is a sum; what came before a failure stays beside it under
//! a name that belongs to that version of the object, so nothing else is ever gone on with.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::fault::Fault;
use super::head::Head;
use super::origin::{Body, Origin};
use super::url::Url;
use crate::digest::Digest;
use crate::limits::client::PIECE_BYTES;
use crate::progress::Progress;

/// Bytes of a file's name that its partial file's name keeps.
const KEPT_NAME_BYTES: usize = 200;

/// Fetches an object. `file`: none for the last part of its name, `-` for standard output, a folder
/// for that name within it. `resume`: goes on with what an earlier try left.
///
/// # Errors
/// What the origin says, a body that is not whole, or what the disk says.
pub fn get(origin: &mut Origin, url: &Url, file: Option<&Path>, resume: bool) -> Result<(), Fault> {
    if url.is_folder() {
        return Err(Fault::Usage(format!("{url}: it ends in a slash; name one object")));
    }
    if file == Some(Path::new("-")) {
        origin.ask("GET", &url.target(), &[], Body::None)?;
        return Transfer::new(None, &mut io::stdout().lock(), None).run(origin);
    }
    let path = path_of(url, file)?;
    // What is no file, such as a pipe or /dev/null, is written to and never replaced.
    if fs::metadata(&path).is_ok_and(|status| !status.is_file()) {
        let mut out = File::create(&path).map_err(|error| Fault::file(&path, &error))?;
        let head = origin.ask("GET", &url.target(), &[], Body::None)?;
        return Transfer::new(head.length, &mut out, Some(&path)).run(origin);
    }
    // A link stays, and what it leads to is replaced.
    let path = fs::canonicalize(&path).unwrap_or(path);
    to_file(origin, url, &path, resume)
}

fn to_file(origin: &mut Origin, url: &Url, path: &Path, resume: bool) -> Result<(), Fault> {
    let target = url.target();
    let earlier = if resume { earlier(origin, &target, path)? } else { None };
    let mut head = match &earlier {
        None => origin.ask("GET", &target, &[], Body::None)?,
        Some((bytes, tag)) => {
            let range = format!("bytes={bytes}-");
            origin.ask("GET", &target, &[("Range", &range), ("If-Range", tag)], Body::None)?
        }
    };
    let mut start = 0;
    // Otherwise it is another version by now, and all of it comes.
    if head.status == 206 {
        let (bytes, tag) = earlier.unwrap_or_default();
        if head.first != Some(bytes) || head.etag.as_ref().is_some_and(|other| *other != tag) {
            return Err(Fault::Answer("another range came than was asked for".to_owned()));
        }
        (start, head.etag) = (bytes, Some(tag));
    }
    let part = partial(path, head.etag.as_deref());
    match fill(origin, &part, &head, start) {
        Ok(()) => fs::rename(&part, path).map_err(|error| Fault::file(path, &error)),
        Err(fault) => Err(kept(fault, &part)),
    }
}

/// How many bytes of the object as it is now an earlier try left, and its entity tag.
fn earlier(origin: &mut Origin, target: &str, path: &Path) -> Result<Option<(u64, String)>, Fault> {
    let head = origin.ask("HEAD", target, &[], Body::None)?;
    let Some(tag) = head.strong_tag() else { return Ok(None) };
    let bytes = fs::metadata(partial(path, Some(tag))).map_or(0, |status| status.len());
    // Of what is arriving nobody knows yet whether there is more.
    let is_part = bytes > 0 && head.length.is_some_and(|length| bytes < length);
    Ok(is_part.then(|| (bytes, tag.to_owned())))
}

/// Writes what comes behind the first `start` bytes of the partial file.
fn fill(origin: &mut Origin, part: &Path, head: &Head, start: u64) -> Result<(), Fault> {
    let failed = |error: io::Error| Fault::file(part, &error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(start == 0)
        .open(part)
        .map_err(failed)?;
    let total = head.length.map(|length| start + length);
    let mut sum = Digest::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = start;
    // What is there already is part of the sum, and leaves the file where it goes on.
    while left > 0 {
        let want = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
        file.read_exact(&mut piece[..want]).map_err(failed)?;
        sum.update(&piece[..want]);
        left -= want as u64;
    }
    let mut transfer = Transfer::new(total, &mut file, Some(part));
    transfer.progress.advance(start);
    transfer.sum = sum;
    transfer.run(origin)?;
    let is = transfer.sum.finish();
    if head.sum().is_some_and(|wanted| wanted != is) {
        // It is good for nothing, least of all for going on with.
        let _ = fs::remove_file(part);
        return Err(Fault::Answer("its bytes are not those of its entity tag".to_owned()));
    }
    file.sync_data().map_err(failed)
}

/// A body on its way out.
struct Transfer<'a> {
    out: &'a mut dyn Write,
    /// The file; none for standard output.
    path: Option<&'a Path>,
    sum: Digest,
    progress: Progress,
}

impl<'a> Transfer<'a> {
    fn new(total: Option<u64>, out: &'a mut dyn Write, path: Option<&'a Path>) -> Self {
        // Bytes and a bar do not share a terminal.
        let is_shown = path.is_some() || !io::stdout().is_terminal();
        let progress = if is_shown { Progress::of(total) } else { Progress::hidden() };
        Self { out, path, sum: Digest::new(), progress }
    }

    fn run(&mut self, origin: &mut Origin) -> Result<(), Fault> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = origin.read(&mut piece)?;
            if count == 0 {
                break;
            }
            self.out.write_all(&piece[..count]).map_err(|error| self.failed(error))?;
            self.sum.update(&piece[..count]);
            self.progress.advance(count as u64);
        }
        self.progress.end();
        self.out.flush().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Fault {
        match self.path {
            None => Fault::Output(error),
            Some(path) => Fault::file(path, &error),
        }
    }
}

/// Where the object is to lie.
fn path_of(url: &Url, file: Option<&Path>) -> Result<PathBuf, Fault> {
    let name = OsString::from_vec(url.name().to_vec());
    let path = match file {
        Some(file) if !file.is_dir() => return Ok(file.to_owned()),
        Some(folder) => folder.join(&name),
        None => PathBuf::from(&name),
    };
    // Nothing that a URL says leads out of the folder.
    if name == OsStr::new(".") || name == OsStr::new("..") || path.is_dir() {
        return Err(Fault::Usage(format!("{url}: name the file to write, behind the URL")));
    }
    Ok(path)
}

/// Where the bytes of this version of the object lie until all are there.
fn partial(path: &Path, tag: Option<&str>) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let version = xxh3_64(&[name, b"\n", tag.unwrap_or_default().as_bytes()].concat());
    let kept = &name[..name.len().min(KEPT_NAME_BYTES)];
    let name = [kept, format!(".{version:016x}.part").as_bytes()].concat();
    path.with_file_name(OsStr::from_bytes(&name))
}

/// Says what of it is here, or takes an empty file away.
fn kept(fault: Fault, part: &Path) -> Fault {
    let bytes = fs::metadata(part).map_or(0, |status| status.len());
    if bytes == 0 {
        let _ = fs::remove_file(part);
        return fault;
    }
    let part = part.display();
    let text = format!("{fault}; {bytes} bytes are in {part}, get --resume goes on there");
    match fault {
        Fault::Answer(_) => Fault::Answer(text),
        Fault::File(_) => Fault::File(text),
        _ => Fault::Connection(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_files_belong_to_a_version() {
        let of = |path: &str, tag| partial(Path::new(path), tag).display().to_string();
        let first = of("films/a.mp4", Some("\"1\""));
        assert!(first.starts_with("films/a.mp4.") && first.ends_with(".part"), "{first}");
        assert_eq!(first, of("films/a.mp4", Some("\"1\"")));
        assert_ne!(first, of("films/a.mp4", Some("\"2\"")));
        let long = "n".repeat(255);
        assert!(partial(Path::new(&long), None).as_os_str().len() <= 255);
    }

    #[test]
    fn a_url_names_the_file_but_no_way_out() {
        let path =
            |url: &str, file: Option<&str>| path_of(&Url::parse(url).unwrap(), file.map(Path::new));
        assert_eq!(path("http://h/films/a%20b.mp4", None).unwrap(), Path::new("a b.mp4"));
        assert_eq!(path("http://h/a", Some("/nowhere/b")).unwrap(), Path::new("/nowhere/b"));
        assert_eq!(path("http://h/a", Some("/")).unwrap(), Path::new("/a"));
        for bad in ["http://h/a/..", "http://h/%2e%2e", "http://h/."] {
            assert!(matches!(path(bad, None), Err(Fault::Usage(_))), "{bad}");
            assert!(matches!(path(bad, Some("/")), Err(Fault::Usage(_))), "{bad}");
        }
    }
}
