//! The command line: what can be said, and how it becomes a configuration.
//!
//! **Invariants**: a flag overrides the file; whatever is wrong is reported on standard error
//! and ends the process with exit code 2 before anything was opened.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Parser, Subcommand};

use crate::client::Look;
use crate::config::{Config, Host, Overrides, Tx, parse_congestion, parse_remote, parse_size};
use crate::exit::Exit;
use crate::{logging, server};

mod objects;
mod signed;
mod tune;

#[derive(Debug, Parser)]
#[command(name = "headwater", version, about = ABOUT, after_help = AFTER, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the origin until SIGTERM or SIGINT
    #[command(after_help = AFTER_SERVE)]
    Serve(Serve),
    /// Report every mistake in a configuration file, or "ok"
    Check {
        /// The file to check; nothing is opened or started
        file: PathBuf,
    },
    /// Print what holds for a path, and which rule decides each setting
    #[command(after_help = AFTER_POLICY)]
    Policy {
        /// The path, or a URL with it
        path: String,
        /// Configuration file (TOML) [default: none, so that all is by default]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print a URL that lets its bearer in for a while
    #[command(after_help = AFTER_SIGN)]
    Sign(Sign),
    /// List the objects of a data folder or an origin: bytes, seconds left, type, key
    #[command(after_help = objects::AFTER_LS)]
    Ls(objects::Place),
    /// Count the objects of a data folder or an origin, and their bytes
    Du(objects::Place),
    /// Read every object of a data folder or an origin and name each that is not what was written
    #[command(after_help = objects::AFTER_VERIFY)]
    Verify(objects::Place),
    /// Fetch an object from an origin
    #[command(after_help = objects::AFTER_GET)]
    Get(objects::Get),
    /// Upload files, folders or standard input to an origin
    #[command(after_help = objects::AFTER_PUT)]
    Put(objects::Put),
    /// Delete objects of an origin
    #[command(after_help = objects::AFTER_RM)]
    Rm(objects::Rm),
    /// Measure from which size on it pays to send by reference on this host
    Tune {
        /// Write the threshold into this configuration file
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
struct Sign {
    /// The URL to sign, or its path alone
    url: String,
    /// File with the key, as key_file in a [[url_key]]
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Name of the key [default: the file's name without its extension]
    #[arg(long, value_name = "NAME")]
    key_name: Option<String>,
    /// For how long: a number with s, m, h or d
    #[arg(long, value_name = "TIME", value_parser = signed::parse_life)]
    expires: u64,
    /// What it is good for: everything below a path that ends in a slash [default: the URL itself]
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// Methods, between commas
    #[arg(long, value_name = "LIST", default_value = "GET,HEAD")]
    methods: String,
}

#[derive(Args, Debug)]
struct Serve {
    /// Configuration file (TOML); flags override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for encoders and readers; repeatable [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Address for health, metrics and drain [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Threads with a ring each [default: the cores this process may use]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Pinned memory for objects, such as 2GiB [default: a quarter of what is available]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// How large bodies leave: auto, zc (zero-copy), splice (by reference) or copy [default: auto]
    #[arg(long, value_name = "WAY")]
    tx: Option<Tx>,
    /// Congestion control of connections, such as cubic or bbr [default: the host's]
    #[arg(long, value_name = "NAME", value_parser = parse_congestion)]
    congestion: Option<Box<str>>,
    /// Keep objects in this folder; uploads are acknowledged when they are on disk
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve this tree of files as it lies, read only
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// Object store behind memory and disk: s3://BUCKET/PREFIX, gs://, az:// or file:///DIR
    #[arg(long, value_name = "URL", value_parser = parse_remote)]
    remote: Option<Box<str>>,
    /// File with the bearer tokens that may write, one a line
    #[arg(long, value_name = "FILE")]
    publish_token_file: Option<PathBuf>,
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    // A usage error, --help and --version end the process here, with 2, 0 and 0.
    let exit = match Cli::parse().command {
        Command::Serve(flags) => serve(flags),
        Command::Check { file } => check(&file),
        Command::Policy { path, config } => policy(&path, config.as_deref()),
        Command::Sign(sign) => sign_url(&sign),
        Command::Ls(of) => objects::look(&of, Look::List),
        Command::Du(of) => objects::look(&of, Look::Sum),
        Command::Verify(of) => objects::look(&of, Look::Verify),
        Command::Get(of) => objects::get(&of),
        Command::Put(of) => objects::put(&of),
        Command::Rm(of) => objects::rm(&of),
        Command::Tune { write } => tune_host(write.as_deref()),
    };
    exit.into()
}

fn serve(flags: Serve) -> Exit {
    let overrides = Overrides {
        listen: flags.listen,
        admin: flags.admin,
        shards: flags.shards,
        memory_bytes: flags.memory,
        tx: flags.tx,
        congestion: flags.congestion,
        data: flags.data,
        library: flags.library,
        remote: flags.remote,
        publish_token_file: flags.publish_token_file,
    };
    let config = match Config::load(flags.config.as_deref(), &overrides, &Host::read()) {
        Ok(config) => config,
        Err(mistakes) => {
            eprint!("{mistakes}");
            return Exit::Usage;
        }
    };
    if let Err(reason) = logging::start(&config.log) {
        eprintln!("{reason}");
        return Exit::Usage;
    }
    server::serve(config)
}

fn check(file: &Path) -> Exit {
    match Config::load(Some(file), &Overrides::default(), &Host::read()) {
        Ok(config) => {
            config.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            println!("{}: ok", file.display());
            Exit::Clean
        }
        Err(mistakes) => {
            eprint!("{mistakes}");
            Exit::Usage
        }
    }
}

fn policy(path: &str, file: Option<&Path>) -> Exit {
    let key = match signed::path_of(path) {
        Ok(path) => path,
        Err(reason) => {
            eprintln!("{reason}");
            return Exit::Usage;
        }
    };
    match Config::load(file, &Overrides::default(), &Host::read()) {
        Ok(config) => {
            print!("{}", config.policy_text(key.trim_start_matches('/').as_bytes()));
            Exit::Clean
        }
        Err(mistakes) => {
            eprint!("{mistakes}");
            Exit::Usage
        }
    }
}

fn sign_url(sign: &Sign) -> Exit {
    let wanted = signed::Wanted {
        url: &sign.url,
        key_file: &sign.key,
        key_name: sign.key_name.as_deref(),
        life_s: sign.expires,
        prefix: sign.prefix.as_deref(),
        methods: &sign.methods,
    };
    match signed::sign(&wanted, SystemTime::now()) {
        Ok((url, warnings)) => {
            warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            println!("{url}");
            Exit::Clean
        }
        Err(reason) => {
            eprintln!("{reason}");
            Exit::Usage
        }
    }
}

fn tune_host(file: Option<&Path>) -> Exit {
    let outcome = tune::measure().and_then(|(text, threshold)| {
        print!("{text}");
        let Some((file, bytes)) = file.zip(threshold) else { return Ok(()) };
        let failed = |error| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(failed)?;
        std::fs::write(file, tune::written(&text, bytes)).map_err(failed)?;
        println!("Written into {}.", file.display());
        Ok(())
    });
    match outcome {
        Ok(()) => Exit::Clean,
        Err(reason) => {
            eprintln!("{reason}");
            Exit::Failed
        }
    }
}

const ABOUT: &str = "\
An open, bare-metal media origin for Linux: encoders PUT live video, CDNs and players GET it";

const AFTER: &str = "\
Examples:
  headwater serve
  headwater serve --listen 0.0.0.0:8080 --publish-token-file /etc/headwater/tokens
  headwater check /etc/headwater/headwater.toml
  headwater policy /live/a.m3u8 --config /etc/headwater/headwater.toml
  headwater sign http://origin:8080/live/a.m3u8 --key k1.key --expires 2h --prefix /live/
  headwater verify /var/lib/headwater films/
  headwater put film.mp4 http://127.0.0.1:8080/vod/
  headwater tune --write /etc/headwater/headwater.toml

Exit codes:
  0    stopped cleanly, or the file is sound
  1    the start was refused or failed, the log says why; verify found damage; or an object is
       not there, was refused, or could not be moved as a whole
  2    the command line or the configuration is wrong
  3    the drain's deadline cut connections off
  130  a second SIGINT ended it at once (143: SIGTERM)";

const AFTER_SERVE: &str = "\
Examples:
  headwater serve
      everything by default: this machine only, writes need no token
  headwater serve --listen [::]:8080 --publish-token-file tokens --memory 8GiB
      reachable from everywhere; encoders send 'Authorization: Bearer TOKEN'
  headwater serve --config headwater.toml --shards 4
      a file, with one setting overridden

Signals:
  SIGTERM, SIGINT  drain: answers under way finish, then exit 0 (or 3 at the deadline)
  a second one     end at once
  SIGHUP           reload the configuration (as POST /reload does), reopen the access log

Sizes: KiB MiB GiB TiB (or K M G T) are powers of 1024, KB MB GB TB powers of 1000.
Log level: log.level in the file, or the variable HEADWATER_LOG, such as debug or
info,headwater::shard=trace.";

const AFTER_SIGN: &str = "\
Examples:
  headwater sign http://origin:8080/live/a.m3u8 --key k1.key --expires 2h
      this one object, read by GET and HEAD, for two hours; the key is called k1
  headwater sign /live/a.m3u8 --key k1.key --expires 2h --prefix /live/
      everything below /live/: put the same query behind every URL below it
  headwater sign /live/a.ts --key up.key --expires 90s --methods PUT
      one upload, where the [[url_key]] of that name has methods = \"PUT\"

The key's file holds one line: openssl rand -hex 32 > k1.key; chmod 600 k1.key";

const AFTER_POLICY: &str = "\
Examples:
  headwater policy /live/720p/1.m4s --config headwater.toml
      one line for each setting: its key, what holds, and the rule that says so

Each setting is decided by the first [[path]] whose pattern covers the path and which sets that key.
What an upload says of itself (Cache-Control, ?ttl_seconds=) goes before.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_arrive() {
        let line = "headwater serve --listen 127.0.0.1:1 --listen [::1]:2 --admin 127.0.0.1:3 \
                    --shards 4 --memory 512MiB --tx zc --publish-token-file t --config c";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Serve(serve) = cli.command else { panic!("not serve") };
        assert_eq!(serve.listen.len(), 2);
        assert_eq!(serve.admin, Some("127.0.0.1:3".parse().unwrap()));
        assert_eq!(serve.shards, Some(4));
        assert_eq!(serve.memory, Some(512 << 20));
        assert_eq!(serve.tx, Some(Tx::Zc));
    }

    #[test]
    fn an_unknown_way_is_refused_with_those_that_there_are() {
        let error = Cli::try_parse_from(["headwater", "serve", "--tx", "sendfile"]).unwrap_err();
        assert!(error.to_string().contains("auto, zc, splice or copy"), "{error}");
    }

    #[test]
    fn help_is_plain_and_narrow() {
        for line in AFTER
            .lines()
            .chain(AFTER_SERVE.lines())
            .chain(AFTER_SIGN.lines())
            .chain(AFTER_POLICY.lines())
        {
            assert!(line.len() <= 100 && line.is_ascii(), "{line}");
        }
    }
}
