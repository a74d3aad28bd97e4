//! The process's own log: lines for people on a terminal, JSON for machines elsewhere.
//!
//! Everything goes to standard error. `HEADWATER_LOG` overrides the configured level with a
//! list of directives (`info,headwater::shard=debug`). A panic becomes a log line too, so that
//! a JSON log stays JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Starts logging for the whole process; the error is a sentence for the operator.
///
/// A log that was started before stays as it is.
pub fn start(config: &LogConfig) -> Result<(), String> {
    let filter = filter(config.level, std::env::var(VARIABLE).ok().as_deref())?;
    let terminal = io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let _ = match wants_json(config.format, terminal) {
        true => builder.json().flatten_event(true).with_current_span(false).try_init(),
        false => builder.with_ansi(terminal).with_target(false).try_init(),
    };
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn wants_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    }
}

fn filter(level: LogLevel, variable: Option<&str>) -> Result<EnvFilter, String> {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    match variable {
        None | Some("") => Ok(EnvFilter::new(level)),
        Some(directives) => EnvFilter::try_new(directives).map_err(|error| {
            format!(
                "{VARIABLE}: {error}; write a level (error, warn, info, debug, trace) or a list \
                 such as info,headwater::shard=debug"
            )
        }),
    }
}

fn log_panic(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("no message");
    let thread = std::thread::current();
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(
        place,
        thread = thread.name().unwrap_or("unnamed"),
        %backtrace,
        "a thread panicked: {message}"
    );
}

const VARIABLE: &str = "HEADWATER_LOG";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_looks_at_the_terminal() {
        assert!(wants_json(LogFormat::Auto, false));
        assert!(!wants_json(LogFormat::Auto, true));
        assert!(wants_json(LogFormat::Json, true));
        assert!(!wants_json(LogFormat::Human, false));
    }

    #[test]
    fn the_variable_overrides_the_level() {
        assert_eq!(filter(LogLevel::Warn, None).unwrap().to_string(), "warn");
        assert_eq!(filter(LogLevel::Warn, Some("")).unwrap().to_string(), "warn");
        let directives = filter(LogLevel::Warn, Some("headwater::shard=debug")).unwrap();
        assert_eq!(directives.to_string(), "headwater::shard=debug");
        assert!(filter(LogLevel::Warn, Some("a=b=c")).unwrap_err().contains("HEADWATER_LOG"));
    }
}
