//! Reading the configuration again, and exchanging what may be exchanged.
//!
//! SIGHUP and `POST /reload` come here, one after the other. The file is read and validated as a
//! whole first; then everything changes at once, or nothing does.
//!
//! **Invariants**: a configuration with a mistake changes nothing; what waits for a restart is
//! named every time, not only when it changes.

use std::sync::{Mutex, PoisonError};

use crate::config::{Config, Mistakes, Tokens};

/// Puts a configuration into effect.
pub type Apply = Box<dyn Fn(&Config) + Send + Sync>;

/// The running configuration and the way to another.
pub struct Reloader {
    state: Mutex<State>,
    apply: Apply,
}

struct State {
    running: Config,
    done: u64,
    failed: u64,
}

/// What a reload came to.
pub struct Reloaded {
    /// Keys whose new values wait for a restart.
    pub waiting: Vec<&'static str>,
    /// What should be looked at.
    pub warnings: Vec<String>,
}

impl Reloader {
    /// For a process that runs with `running`.
    pub fn new(running: Config, apply: Apply) -> Self {
        Self { state: Mutex::new(State { running, done: 0, failed: 0 }), apply }
    }

    /// Reloads, and writes to the log what came of it.
    ///
    /// # Errors
    /// Every mistake in the configuration.
    pub fn reload(&self) -> Result<Reloaded, Mistakes> {
        let mut state = self.lock();
        match state.running.read_again() {
            Ok((fresh, waiting)) => {
                (self.apply)(&fresh);
                state.done += 1;
                let warnings = fresh.warnings.clone();
                state.running = fresh;
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                if !waiting.is_empty() {
                    let keys = waiting.join(", ");
                    tracing::warn!(keys, "these settings change with a restart only");
                }
                tracing::info!(reloads = state.done, "the configuration was reloaded");
                Ok(Reloaded { waiting, warnings })
            }
            Err(mistakes) => {
                state.failed += 1;
                for mistake in mistakes.iter() {
                    tracing::warn!("{mistake}");
                }
                tracing::warn!("the configuration was not reloaded: nothing has changed");
                Err(mistakes)
            }
        }
    }

    /// Reloads that were done, and that failed.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        (state.done, state.failed)
    }

    /// Runs `with` on the tokens that may change the process through the admin listener.
    pub fn with_admin_tokens<T>(&self, with: impl FnOnce(&Tokens) -> T) -> T {
        with(&self.lock().running.admin_tokens)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Reloader")
    }
}
