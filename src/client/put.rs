//! `headwater put FILE... URL`: files, trees of files and standard input become objects.
//!
//! **Invariants**: an object is a file as it was, or is refused or reported; of a tree, playlists
//! and MPDs go last, so that none names what is not there yet; nothing is followed through links
//! below what was named; memory grows with the largest folder's names only.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::fault::{Fault, plain};
use super::origin::{Body, Origin};
use super::url::Url;
use crate::limits::client::SMALL_BODY_BYTES_MAX;
use crate::progress::Progress;

/// What is said of every object.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    /// Seconds until it is gone.
    pub ttl_s: Option<u64>,
    /// Its type; otherwise the origin goes by the name.
    pub content_type: Option<String>,
    /// Only where nothing of that name is.
    pub only_new: bool,
    /// Folders with all that is below them.
    pub recursive: bool,
}

/// Uploads `files` (`-`: standard input) to `url`; whether all were stored. Each failure is printed
/// on standard error.
///
/// # Errors
/// What keeps it from going on: usage, a connection.
pub fn put(
    origin: &mut Origin,
    files: &[&Path],
    url: &Url,
    upload: &Upload,
) -> Result<bool, Fault> {
    check(files, url, upload)?;
    if files == [Path::new("-")] {
        let target = target(url, upload);
        let mut input = io::stdin().lock();
        let progress = Progress::of(None);
        let mut source = Counted { source: &mut input, progress: &progress };
        store(origin, &target, upload, Body::Chunked(&mut source))?;
        return Ok(true);
    }
    let total = if Progress::is_shown() { count(files) } else { 0 };
    let progress = Progress::of(Some(total));
    let mut putting =
        Putting { origin, upload, progress: &progress, stored: 0, bytes: 0, failed: 0 };
    for manifests in [false, true] {
        for file in files {
            putting.file_or_tree(file, url, manifests)?;
        }
    }
    let (stored, bytes, failed) = (putting.stored, putting.bytes, putting.failed);
    progress.end();
    if upload.recursive || files.len() > 1 {
        let more = if failed == 0 { String::new() } else { format!(", {failed} not stored") };
        writeln!(io::stdout(), "{stored} objects, {bytes} bytes{more}").map_err(Fault::Output)?;
    }
    Ok(failed == 0)
}

fn check(files: &[&Path], url: &Url, upload: &Upload) -> Result<(), Fault> {
    let usage = |text: String| Err(Fault::Usage(text));
    if let Some(folder) = files.iter().find(|file| file.is_dir() && !upload.recursive) {
        return usage(format!("{}: it is a folder; add --recursive", folder.display()));
    }
    let many = files.len() > 1 || files.iter().any(|file| file.is_dir());
    if many && !url.is_folder() {
        return usage(format!("{url}: for several files it has to end in a slash"));
    }
    if files.contains(&Path::new("-")) && (many || url.is_folder()) {
        return usage("standard input (-) becomes one object: give its whole name".to_owned());
    }
    Ok(())
}

struct Putting<'a> {
    origin: &'a mut Origin,
    upload: &'a Upload,
    progress: &'a Progress,
    stored: u64,
    bytes: u64,
    failed: u64,
}

impl Putting<'_> {
    /// What was named on the command line.
    fn file_or_tree(&mut self, path: &Path, url: &Url, manifests: bool) -> Result<(), Fault> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        if !path.is_dir() {
            let key = if url.is_folder() { [&url.key, name].concat() } else { url.key.clone() };
            let is_due = is_manifest(name) == manifests;
            return if is_due { self.file(path, &url.with_key(&key)) } else { Ok(()) };
        }
        // As rsync has it: FOLDER keeps its name, FOLDER/ and . are what is in them.
        let contents = name.is_empty() || path.as_os_str().as_bytes().ends_with(b"/");
        let name = if contents { Vec::new() } else { [name, b"/"].concat() };
        self.tree(path, &url.with_key(&[&url.key[..], &name].concat()), manifests)
    }

    /// Folders first, then files, each in the order of names.
    fn tree(&mut self, folder: &Path, url: &Url, manifests: bool) -> Result<(), Fault> {
        let (folders, files) = match entries(folder) {
            Ok(found) => found,
            // One pass tells of it.
            Err(_) if manifests => return Ok(()),
            Err(fault) => return self.note(fault, url),
        };
        for name in folders {
            let key = [&url.key[..], name.as_bytes(), b"/"].concat();
            self.tree(&folder.join(&name), &url.with_key(&key), manifests)?;
        }
        for (name, is_file) in files {
            let path = folder.join(&name);
            if is_file && is_manifest(name.as_bytes()) == manifests {
                self.file(&path, &url.with_key(&[&url.key[..], name.as_bytes()].concat()))?;
            } else if !is_file && !manifests {
                let shown = plain(&path.to_string_lossy());
                self.progress.aside(|| eprintln!("{shown}: passed over, it is no regular file"));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, url: &Url) -> Result<(), Fault> {
        self.progress.say(|| plain(&url.name().escape_ascii().to_string()));
        match self.send(path, url) {
            Ok(bytes) => {
                self.stored += 1;
                self.bytes += bytes;
                Ok(())
            }
            Err(fault) => self.note(fault, url),
        }
    }

    fn send(&mut self, path: &Path, url: &Url) -> Result<u64, Fault> {
        let failed = |error: io::Error| Fault::file(path, &error);
        let mut file = File::open(path).map_err(failed)?;
        let status = file.metadata().map_err(failed)?;
        let target = target(url, self.upload);
        let mut source = Counted { source: &mut file, progress: self.progress };
        // What is no file has no length to go by.
        if !status.is_file() {
            store(self.origin, &target, self.upload, Body::Chunked(&mut source))?;
            return Ok(0);
        }
        let length = status.len();
        if length <= SMALL_BODY_BYTES_MAX {
            let mut bytes = Vec::new();
            source
                .by_ref()
                .take(SMALL_BODY_BYTES_MAX + 1)
                .read_to_end(&mut bytes)
                .map_err(failed)?;
            if bytes.len() as u64 != length {
                return Err(changed(path));
            }
            store(self.origin, &target, self.upload, Body::Small(&bytes))?;
            return Ok(length);
        }
        store(self.origin, &target, self.upload, Body::Sized(&mut source, length)).map_err(
            |fault| match fault {
                Fault::File(text) => Fault::File(format!("{}: {text}", path.display())),
                other => other,
            },
        )?;
        let now = file.metadata().map_err(failed)?;
        let is_same = now.len() == length && now.modified().ok() == status.modified().ok();
        if is_same { Ok(length) } else { Err(changed(path)) }
    }

    /// Prints a failure that concerns one object; others end the command.
    fn note(&mut self, fault: Fault, url: &Url) -> Result<(), Fault> {
        if !fault.is_of_one() {
            return Err(Fault::Sentence(fault.about(url)));
        }
        self.failed += 1;
        self.progress.aside(|| eprintln!("{}", fault.about(url)));
        Ok(())
    }
}

fn changed(path: &Path) -> Fault {
    let path = plain(&path.to_string_lossy());
    Fault::File(format!("{path}: it changed while it was sent; put it again"))
}

fn target(url: &Url, upload: &Upload) -> String {
    match upload.ttl_s {
        None => url.target(),
        Some(ttl_s) => url.target_with(&format!("ttl_seconds={ttl_s}")),
    }
}

fn store(origin: &mut Origin, target: &str, upload: &Upload, body: Body<'_>) -> Result<(), Fault> {
    let mut lines = Vec::new();
    lines.extend(upload.content_type.as_deref().map(|value| ("Content-Type", value)));
    lines.extend(upload.only_new.then_some(("If-None-Match", "*")));
    origin.ask("PUT", target, &lines, body).map(|_| ())
}

/// Whether a name is that of a playlist or an MPD.
fn is_manifest(name: &[u8]) -> bool {
    let end = name.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    [&b"m3u8"[..], b"mpd"].iter().any(|known| end.eq_ignore_ascii_case(known))
}

type Entries = (Vec<std::ffi::OsString>, Vec<(std::ffi::OsString, bool)>);

/// The folders in a folder, and what else is there: whether it is a file.
fn entries(folder: &Path) -> Result<Entries, Fault> {
    let failed = |error: io::Error| Fault::file(folder, &error);
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        match kind.is_dir() {
            true => folders.push(entry.file_name()),
            false => files.push((entry.file_name(), kind.is_file())),
        }
    }
    folders.sort_unstable();
    files.sort_unstable();
    Ok((folders, files))
}

/// Bytes that are to be sent, for the bar: what cannot be read counts nothing.
fn count(paths: &[&Path]) -> u64 {
    paths.iter().map(|path| count_below(path)).sum()
}

fn count_below(path: &Path) -> u64 {
    if !path.is_dir() {
        return fs::metadata(path).map_or(0, |status| status.len());
    }
    let Ok((folders, files)) = entries(path) else { return 0 };
    let folders: u64 = folders.iter().map(|name| count_below(&path.join(name))).sum();
    let files = files.iter().filter(|(_, is_file)| *is_file);
    let lengths = files.map(|(name, _)| fs::metadata(path.join(name)).map_or(0, |one| one.len()));
    folders + lengths.sum::<u64>()
}

/// A source that moves the bar.
struct Counted<'a> {
    source: &'a mut dyn Read,
    progress: &'a Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(out)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_known_by_their_names() {
        for name in ["a.m3u8", "A.MPD", "x.y.m3u8"] {
            assert!(is_manifest(name.as_bytes()), "{name}");
        }
        for name in ["a.ts", "mpd.ts", "m3u8x", ""] {
            assert!(!is_manifest(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_said_before_anything_is_sent() {
        let said = |files: &[&str], url: &str, recursive| {
            let files: Vec<&Path> = files.iter().map(Path::new).collect();
            let upload = Upload { recursive, ..Upload::default() };
            check(&files, &Url::parse(url).unwrap(), &upload).map_err(|fault| fault.to_string())
        };
        assert!(said(&["a", "b"], "http://h/x", false).unwrap_err().contains("slash"));
        assert!(said(&["/"], "http://h/x/", false).unwrap_err().contains("--recursive"));
        assert!(said(&["/"], "http://h/x", true).unwrap_err().contains("slash"));
        assert!(said(&["-"], "http://h/x/", false).unwrap_err().contains("whole name"));
        assert!(said(&["-", "a"], "http://h/x/", false).unwrap_err().contains("whole name"));
        assert_eq!(said(&["a", "b"], "http://h/x/", false), Ok(()));
        assert_eq!(said(&["-"], "http://h/x", false), Ok(()));
    }

    #[test]
    fn a_lifetime_is_a_parameter() {
        let url = Url::parse("http://h/a b").unwrap();
        let upload = Upload { ttl_s: Some(30), ..Upload::default() };
        assert_eq!(target(&url, &upload), "/a%20b?ttl_seconds=30");
        assert_eq!(target(&url, &Upload::default()), "/a%20b");
    }
}
