//! Reading the configuration again while the process runs.
//!
//! Rules, credentials and CORS can be exchanged; listeners, memory, shards and the like cannot. A
//! configuration that was read again therefore keeps the running values of those, and is validated
//! with them: what the file says of listeners does not count before a restart.
//!
//! **Invariants**: a reload is all or nothing; it never opens writes to strangers on a listener
//! that is still there.

use std::path::{Path, PathBuf};

use super::{Config, Host, Mistakes, Overrides, file};

/// Where a configuration came from.
#[derive(Clone, Debug)]
pub struct Source {
    path: Option<PathBuf>,
    overrides: Overrides,
    host: Host,
}

impl Source {
    /// From nowhere but the defaults.
    pub(super) fn none(host: &Host) -> Self {
        Self { path: None, overrides: Overrides::default(), host: *host }
    }

    pub(super) fn new(path: Option<&Path>, overrides: &Overrides, host: &Host) -> Self {
        Self { path: path.map(Path::to_owned), overrides: overrides.clone(), host: *host }
    }
}

impl Config {
    /// Reads file and flags again, as they are now. The second value names the keys whose new
    /// values wait for a restart; the configuration has their running values.
    ///
    /// # Errors
    /// Every mistake; nothing may be exchanged then.
    pub fn read_again(&self) -> Result<(Self, Vec<&'static str>), Mistakes> {
        let Source { path, overrides, host } = &self.source;
        let mut fresh = Self::defaults(host);
        fresh.source = self.source.clone();
        let mut mistakes = Mistakes::default();
        let mut explicit = file::Explicit::default();
        if let Some(path) = path {
            explicit = file::apply(&mut fresh, path, &mut mistakes);
        }
        fresh.override_with(overrides, &mut mistakes);
        // First as it stands, so that a restart would succeed as well.
        fresh.validate(&explicit, &mut mistakes);
        let waiting = fresh.keep_running(self);
        if mistakes.is_empty() && !waiting.is_empty() {
            fresh.validate(&explicit, &mut mistakes);
        }
        if mistakes.is_empty() { Ok((fresh, waiting)) } else { Err(mistakes) }
    }

    /// Takes over what cannot change while the process runs; names what differs.
    fn keep_running(&mut self, running: &Self) -> Vec<&'static str> {
        let mut waiting = Vec::new();
        macro_rules! keep {
            ($($field:ident),*) => {$(
                if self.$field != running.$field {
                    waiting.push(stringify!($field));
                    self.$field.clone_from(&running.$field);
                }
            )*};
        }
        keep!(
            listen,
            admin,
            shards,
            memory_bytes,
            tx,
            congestion,
            splice_bytes_min,
            splice_after_copies,
            zero_copy_bytes_min,
            connections_max,
            object_bytes_max,
            data,
            disk,
            library,
            large_bytes_min,
            chunk_bytes,
            prefetch,
            remote,
            timeouts,
            access_log,
            log
        );
        if self.topics != running.topics {
            waiting.push("topic");
            self.topics.clone_from(&running.topics);
        }
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct File(PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("hw-reload-{}-{name}", std::process::id()));
            std::fs::write(&path, text).unwrap();
            Self(path)
        }

        fn load(&self) -> Config {
            Config::load(Some(&self.0), &Overrides::default(), &Host::SMALL).unwrap()
        }

        fn write(&self, text: &str) {
            std::fs::write(&self.0, text).unwrap();
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    const TOKEN: &str = "[publish]\ntokens = ['0123456789abcdef']\n";

    #[test]
    fn rules_change_and_listeners_wait() {
        let file = File::new("waiting", "listen = '127.0.0.1:1'\nshards = 1\n");
        let running = file.load();
        file.write(&format!("listen = '127.0.0.1:2'\nshards = 2\ncors = false\n{TOKEN}"));
        let (fresh, waiting) = running.read_again().unwrap();
        assert_eq!(waiting, ["listen", "shards"]);
        assert_eq!((fresh.shards, &fresh.listen), (1, &running.listen));
        assert!(!fresh.cors && fresh.access.tokens.iter().count() == 1);
        let (again, waiting) = fresh.read_again().unwrap();
        assert_eq!((waiting.len(), again.cors), (2, false));
    }

    #[test]
    fn writes_stay_closed_while_an_open_listener_is_there() {
        let file = File::new("open", &format!("listen = '0.0.0.0:1'\n{TOKEN}"));
        let running = file.load();
        file.write("listen = '127.0.0.1:1'\n");
        let mistakes = running.read_again().unwrap_err().to_string();
        assert!(mistakes.contains("0.0.0.0:1 can be reached"), "{mistakes}");
    }

    #[test]
    fn every_mistake_is_named() {
        let file = File::new("mistakes", "");
        let running = file.load();
        file.write("cors = 1\nunknown = 2\n[[token]]\nname = 'a b'\n");
        let mistakes = running.read_again().unwrap_err().to_string();
        for words in [":1: cors", ":2: unknown", "token[0]"] {
            assert!(mistakes.contains(words), "{words}: {mistakes}");
        }
    }
}
