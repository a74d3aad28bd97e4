//! `headwater ls`, `du` and `verify`: what lies in a data folder, and whether it is what was
//! written there. A running origin may use the folder meanwhile: everything is only read.
//!
//! **Invariants**: links are not followed and the tier's own folder is left alone; memory does not
//! grow with the number or the size of objects, only with the largest folder's names.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::exit::Exit;
use crate::progress::Progress;
use crate::sys::folder;
use crate::tier::disk::attributes::Attributes;
use crate::tier::disk::path::RESERVED;
use crate::tier::disk::sums::Summing;

/// Bytes read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What is done with each object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A line each.
    List,
    /// Sums only.
    Sum,
    /// Every byte is read and compared with its sum.
    Verify,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    objects: u64,
    bytes: u64,
    /// Objects without metadata: put there by hand, without a sum.
    plain: u64,
    damaged: u64,
}

/// Does the task for all objects of `root` whose key begins with `prefix`.
pub fn run(root: &Path, prefix: &str, task: Task) -> Exit {
    let mut walk = Walk {
        root,
        prefix: prefix.trim_start_matches('/'),
        task,
        found: Found::default(),
        piece: vec![0; PIECE_BYTES],
        // Lines and a bar do not share a terminal.
        progress: if task == Task::List { Progress::hidden() } else { Progress::of(None) },
        out: io::stdout().lock(),
    };
    let outcome = match fs::metadata(root) {
        Ok(status) if status.is_dir() => walk.folder(&mut PathBuf::new()),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) => Err(error),
    };
    let outcome = outcome.and_then(|()| walk.end());
    match outcome {
        Ok(()) if walk.found.damaged == 0 => Exit::Clean,
        Ok(()) => Exit::Failed,
        // Whoever read the list has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Clean,
        Err(error) => {
            eprintln!("{}: {error}", root.display());
            Exit::Failed
        }
    }
}

struct Walk<'a, W> {
    root: &'a Path,
    prefix: &'a str,
    task: Task,
    found: Found,
    piece: Vec<u8>,
    progress: Progress,
    out: W,
}

impl<W: Write> Walk<'_, W> {
    /// Everything beneath a folder, in the order of its names.
    fn folder(&mut self, key: &mut PathBuf) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(&*key))? {
            let entry = entry?;
            names.push((entry.file_name(), entry.file_type()?));
        }
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (name, kind) in names {
            if key.as_os_str().is_empty() && name.as_encoded_bytes() == RESERVED {
                continue;
            }
            key.push(name);
            match kind {
                kind if kind.is_dir() => self.folder(key)?,
                kind if kind.is_file() && self.is_wanted(key) => self.object(key)?,
                _ => {}
            }
            key.pop();
        }
        Ok(())
    }

    fn is_wanted(&self, key: &Path) -> bool {
        key.as_os_str().as_encoded_bytes().starts_with(self.prefix.as_bytes())
    }

    fn object(&mut self, key: &Path) -> io::Result<()> {
        let mut file = match File::open(self.root.join(key)) {
            Ok(file) => file,
            // It was deleted or replaced meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return self.damaged(key, &error.to_string()),
        };
        let length = file.metadata()?.len();
        self.found.objects += 1;
        self.found.bytes += length;
        let value = match folder::attribute(&file) {
            Ok(value) => value,
            Err(error) => return self.damaged(key, &format!("its metadata: {error}")),
        };
        self.found.plain += u64::from(value.is_none());
        let attributes = value.as_deref().map(Attributes::decode);
        if attributes == Some(None) {
            return self.damaged(key, "its metadata cannot be read");
        }
        let attributes = attributes.flatten();
        if self.task == Task::List {
            return self.line(key, length, attributes.as_ref());
        }
        if let Some(attributes) = attributes.as_ref().filter(|one| one.length != length) {
            let wanted = attributes.length;
            return self.damaged(key, &format!("{length} bytes instead of {wanted}"));
        }
        if self.task == Task::Verify {
            self.verify(key, &mut file, attributes.as_ref())?;
        } else {
            self.progress.advance(length);
        }
        let Found { objects, damaged, .. } = self.found;
        self.progress.say(|| match damaged {
            0 => format!("{objects} objects"),
            _ => format!("{objects} objects, {damaged} damaged"),
        });
        Ok(())
    }

    /// Reads an object, and compares it with the sums that were written with it.
    fn verify(
        &mut self,
        key: &Path,
        file: &mut File,
        known: Option<&Attributes>,
    ) -> io::Result<()> {
        let chunks = known.and_then(|known| known.chunks.as_ref());
        let mut sums = Summing::with_chunks(chunks.map(|chunks| chunks.bytes));
        loop {
            match file.read(&mut self.piece) {
                Ok(0) => break,
                Ok(count) => {
                    sums.update(&self.piece[..count]);
                    self.progress.advance(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.damaged(key, &error.to_string()),
            }
        }
        let found = sums.finish();
        match known {
            Some(known) if (known.sum, known.chunks.as_ref()) != (found.0, found.1.as_ref()) => {
                self.damaged(key, "its bytes are not what was written")
            }
            _ => Ok(()),
        }
    }

    fn line(&mut self, key: &Path, length: u64, known: Option<&Attributes>) -> io::Result<()> {
        let kind = known.map_or("-".into(), |known| String::from_utf8_lossy(&known.content_type));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let left = match known.and_then(|known| known.expires_ms) {
            None => "-".to_owned(),
            Some(ms) => format!("{}s", (ms / 1000).saturating_sub(now.as_secs())),
        };
        writeln!(self.out, "{length:>12} {left:>9} {kind:<32} {}", key.display())
    }

    fn damaged(&mut self, key: &Path, reason: &str) -> io::Result<()> {
        self.found.damaged += 1;
        let out = &mut self.out;
        self.progress.aside(|| writeln!(out, "damaged: {}: {reason}", key.display()))
    }

    fn end(&mut self) -> io::Result<()> {
        self.progress.end();
        let Found { objects, bytes, plain, damaged } = self.found;
        match self.task {
            Task::List => {}
            Task::Sum => writeln!(self.out, "{objects} objects, {bytes} bytes")?,
            Task::Verify => writeln!(
                self.out,
                "{objects} objects, {bytes} bytes: {damaged} damaged, {plain} without a sum"
            )?,
        }
        self.out.flush()
    }
}
