//! Where lines go: a file that may be rotated or full, or standard output.
//!
//! **Invariants**: after a failed write the next line starts on a line of its own; every line is
//! counted once, as written or as lost.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{AccessMeters, Record, format};
use crate::config::{AccessFormat, AccessLogConfig};

/// Collects lines and writes them in large pieces.
pub(super) struct Writer {
    path: Option<PathBuf>,
    out: Box<dyn Write + Send>,
    format: AccessFormat,
    buffer: Vec<u8>,
    lines: u64,
    torn: bool,
    failing: bool,
    meters: Arc<AccessMeters>,
}

impl Writer {
    /// Opens the target; the error names the file.
    pub fn open(config: &AccessLogConfig, meters: Arc<AccessMeters>) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match &config.path {
            Some(path) => Box::new(open(path)?),
            None => Box::new(io::stdout()),
        };
        let mut writer = Self::over(out, config.format, meters);
        writer.path.clone_from(&config.path);
        Ok(writer)
    }

    /// Over anything that takes bytes.
    pub fn over(
        out: Box<dyn Write + Send>,
        format: AccessFormat,
        meters: Arc<AccessMeters>,
    ) -> Self {
        Self {
            path: None,
            out,
            format,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            lines: 0,
            torn: false,
            failing: false,
            meters,
        }
    }

    /// Adds a line; writes when enough of them have gathered.
    pub fn line(&mut self, record: &Record) {
        format::line(&mut self.buffer, self.format, record);
        self.lines += 1;
        if self.buffer.len() >= BUFFER_BYTES - LINE_BYTES {
            self.flush();
        }
    }

    /// Writes what has gathered, or counts it as lost.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let mut written = Written::default();
        let result = self.write(&mut written);
        self.meters.lines.add(written.lines);
        self.meters.lost.add(self.lines - written.lines);
        self.torn = written.torn;
        self.buffer.clear();
        self.lines = 0;
        match result {
            Ok(()) if self.failing => {
                tracing::info!("the access log can be written again");
                self.failing = false;
            }
            Err(error) if !self.failing => {
                tracing::warn!(%error, "the access log cannot be written; lines are dropped");
                self.failing = true;
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Opens the file anew, for example after it was moved away; keeps the old one if it cannot.
    pub fn reopen(&mut self) {
        self.flush();
        let Some(path) = &self.path else {
            return;
        };
        match open(path) {
            Ok(file) => {
                self.out = Box::new(file);
                self.torn = false;
                tracing::info!(path = %path.display(), "the access log was opened anew");
            }
            Err(error) => tracing::warn!(%error, "the access log stays where it is"),
        }
    }

    fn write(&mut self, written: &mut Written) -> io::Result<()> {
        written.torn = self.torn;
        if self.torn {
            self.out.write_all(b"\n")?;
            written.torn = false;
        }
        let mut rest = &self.buffer[..];
        while !rest.is_empty() {
            let count = match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let (done, left) = rest.split_at(count);
            written.lines += done.iter().filter(|byte| **byte == b'\n').count() as u64;
            written.torn = !done.ends_with(b"\n");
            rest = left;
        }
        self.out.flush()
    }
}

#[derive(Default)]
struct Written {
    lines: u64,
    torn: bool,
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
        let text = format!("cannot open the access log {}: {error}", path.display());
        io::Error::new(error.kind(), text)
    })
}

/// Written at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// More than the longest line: every byte of a record escaped, and the rest.
const LINE_BYTES: usize = 6 * 1024;

const _: () = assert!(size_of::<Record>() * 6 < LINE_BYTES);
const _: () = assert!(LINE_BYTES < BUFFER_BYTES);
