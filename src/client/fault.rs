//! Why a command could not do what it was asked for: one sentence each, and an exit code.

use std::fmt;
use std::io;

use crate::exit::Exit;

/// A failure.
#[derive(Debug)]
pub enum Fault {
    /// The command line does not fit together.
    Usage(String),
    /// The origin answered something else than was asked for: the status, and what it says of it.
    Refused(u16, String),
    /// There is no connection, or it broke: more requests would not fare better.
    Connection(String),
    /// An answer whose body is not what its head says.
    Answer(String),
    /// A file or folder here.
    File(String),
    /// Anything that ends the command, with what it is about.
    Sentence(String),
    /// Whoever read our output has seen enough.
    Output(io::Error),
}

impl Fault {
    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Clean,
            _ => Exit::Failed,
        }
    }

    /// Whether it says something of one object only, so that the next may do better.
    pub fn is_of_one(&self) -> bool {
        matches!(self, Self::Refused(..) | Self::Answer(_) | Self::File(_))
    }

    /// Whether the credential does not let it happen.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Refused(401 | 403, _))
    }

    /// Whether the origin has nothing under the name.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused(404, _))
    }

    /// The sentence, with what it is about.
    pub fn about(&self, subject: &dyn fmt::Display) -> String {
        match self {
            Self::Refused(..) | Self::Answer(_) | Self::Connection(_) => {
                format!("{subject}: {self}")
            }
            _ => self.to_string(),
        }
    }

    /// A failure of a file here.
    pub fn file(path: &std::path::Path, error: &io::Error) -> Self {
        Self::File(format!("{}: {error}", plain(&path.to_string_lossy())))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text)
            | Self::Connection(text)
            | Self::Answer(text)
            | Self::File(text)
            | Self::Sentence(text) => f.write_str(text),
            Self::Refused(status, said) => {
                let said = plain(said);
                match (*status, said.as_str()) {
                    (404, _) => f.write_str("nothing is there (404)"),
                    (401, _) => f.write_str(
                        "a token is asked for, or this one is unknown or expired (401); give it \
                         with --token-file or HEADWATER_TOKEN",
                    ),
                    (403, _) => f.write_str("this token or network may not do that (403)"),
                    (412, _) => f.write_str("there is an object of that name already (412)"),
                    (507, _) => f.write_str("the origin has no room left (507)"),
                    (status, "") => write!(f, "the origin answers {status}"),
                    (status, said) => write!(f, "the origin answers {status}: {said}"),
                }
            }
            Self::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

/// Text from elsewhere as a terminal may see it: without control characters.
pub fn plain(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_the_programs() {
        assert_eq!(Fault::Usage(String::new()).exit(), Exit::Usage);
        assert_eq!(Fault::Refused(404, String::new()).exit(), Exit::Failed);
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(Fault::Output(pipe).exit(), Exit::Clean);
    }

    #[test]
    fn what_an_origin_says_cannot_move_the_cursor() {
        let said = Fault::Refused(409, "a\u{1b}[2Jb\n".into()).to_string();
        assert_eq!(said, "the origin answers 409: a\u{fffd}[2Jb\u{fffd}");
    }
}
