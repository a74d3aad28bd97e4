//! `live`: virtual viewers of a live stream, by flags.

use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};

use super::exit::{Ending, Failure};
use super::finish::{Output, finish};
use super::load::time;
use crate::http::{Client, Request, Url};
use crate::limits::{CONNECT_TIMEOUT, PLAYLIST_BYTES_MAX, THREADS_MAX, VIEWERS_MAX};
use crate::live::arrivals::{self, Arrivals};
use crate::live::plan::{Cmcd, Plan};
use crate::live::sessions::{self, Sessions};
use crate::player::mpd;
use crate::player::playlist::{self, Playlist};
use crate::player::uri;
use crate::player::viewer::Settings;

/// Who watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Who {
    /// People with a player like hls.js.
    #[default]
    Viewers,
    /// Caches of a CDN: few connections, each asks for everything.
    Edge,
}

/// Flags.
#[derive(ClapArgs, Clone, Debug)]
pub struct Args {
    /// Multivariant or media playlist, or MPD with number or time templates; several are streams
    /// among which viewers choose
    #[arg(value_name = "MANIFEST", required = true)]
    manifests: Vec<String>,
    /// Number of viewers (or of caches)
    #[arg(long, short = 'n', default_value_t = 100, help_heading = "Crowd")]
    pub(super) viewers: u64,
    /// How they arrive: poisson, kick-off, flash, synchronised, exit-spike, reconnect
    #[arg(long, value_name = "HOW", default_value = "poisson", help_heading = "Crowd")]
    arrivals: Arrivals,
    /// File with one arrival a line, in seconds; instead of --arrivals and --viewers
    #[arg(long, value_name = "FILE", help_heading = "Crowd")]
    pub(super) trace: Option<String>,
    /// Time over which they arrive
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    #[arg(help_heading = "Crowd")]
    ramp: Duration,
    /// Median of the viewing time (log-normal) [default: all stay to the end]
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Crowd")]
    stay: Option<Duration>,
    /// Share of viewers who go on to another stream when their time is over, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, help_heading = "Crowd")]
    zap: f64,
    /// Share of viewers who go back a minute in the window once, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, help_heading = "Crowd")]
    seek_back: f64,
    /// Access links, such as 15%@3M,35%@10M,35%@30M,15%@100M [default: unlimited]
    #[arg(long, value_name = "CLASSES", help_heading = "Crowd")]
    links: Option<String>,
    /// Who watches
    #[arg(long, value_enum, default_value_t, help_heading = "Crowd")]
    profile: Who,
    /// Always this level, 0 being the lowest [default: by throughput]
    #[arg(long, value_name = "N", help_heading = "Player")]
    level: Option<usize>,
    /// Load no parts and no blocking playlists
    #[arg(long, help_heading = "Player")]
    no_low_latency: bool,
    /// Most media in a buffer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    #[arg(help_heading = "Player")]
    buffer: Duration,
    /// Viewers leave when nothing plays after that
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    #[arg(help_heading = "Player")]
    patience: Duration,
    /// Send CMCD version 1
    #[arg(long, value_enum, default_value_t, help_heading = "Player")]
    cmcd: Cmcd,
    /// Connections of one viewer [default: 2; 4 for separate audio with parts]
    #[arg(long, value_name = "N", help_heading = "Player")]
    connections: Option<usize>,
    /// Compare one segment of N with its stamp and with what other viewers got; 0 for none
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Player")]
    verify: u64,
    /// Time before the measured phase; viewers already arrive
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time)]
    #[arg(help_heading = "Phases")]
    warmup: Duration,
    /// Length of the measured phase
    #[arg(long, short, value_name = "TIME", default_value = "60s", value_parser = time)]
    #[arg(help_heading = "Phases")]
    duration: Duration,
    /// Threads
    #[arg(long, short, default_value_t = 1, help_heading = "Generator")]
    pub(super) threads: usize,
    /// CPU of each thread, such as 1 or 2,3
    #[arg(long, value_name = "CPU", value_delimiter = ',', help_heading = "Generator")]
    pin: Vec<usize>,
    /// Accept lateness of the generator up to TIME at p99.9, where the usual bound is 4ms, and
    /// waits for a CPU: for machines that others use too
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Generator")]
    allow_lateness: Option<Duration>,
    /// Seed of every choice
    #[arg(long, default_value_t = 1, help_heading = "Generator")]
    seed: u64,
    /// Allow targets other than this machine
    #[arg(long, help_heading = "Generator")]
    allow_remote: bool,
    /// Process id of the server, to report its CPU time
    #[arg(long, value_name = "PID", help_heading = "Generator")]
    pub(super) server_pid: Option<u32>,
    #[command(flatten)]
    pub(super) output: Output,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    args.output.check()?;
    let report = crate::live::run(&prepared(args)?, &args.target())?;
    let started = report.qoe.as_ref().map_or(0, |qoe| qoe.counts.started);
    if started == 0 && report.load.achieved == 0 && !report.verdict.interrupted {
        let why = report.verdict.notes.first().cloned();
        let sentence = why.unwrap_or_else(|| format!("{}: every request failed", args.target()));
        return Err(Failure::Unusable(sentence).into());
    }
    finish(report, &args.output)
}

impl Args {
    /// What is loaded, in words.
    pub(super) fn target(&self) -> String {
        self.manifests.join(" ")
    }
}

/// The plan that the flags ask for, with what the manifests say, each of which was fetched once.
pub(super) fn prepared(args: &Args) -> anyhow::Result<Plan> {
    let mut plan = plan(args)?;
    let found = look(&plan)?;
    if args.profile == Who::Edge {
        plan.edge = Some(found.levels);
    }
    if args.connections.is_none() && found.audio && plan.settings.low_latency {
        plan.connections = 4;
    }
    Ok(plan)
}

/// The plan that the flags ask for; the error says which flag is wrong.
pub fn plan(args: &Args) -> Result<Plan, Failure> {
    let usage = |text: String| Failure::Usage(text);
    let (authority, manifests) = manifests(&args.manifests).map_err(usage)?;
    let url = Url { authority: authority.clone(), path: "/".to_owned() };
    let address = url.resolve().map_err(Failure::Unreachable)?;
    if !args.allow_remote && !address.ip().is_loopback() {
        return Err(usage(format!(
            "{authority} is another machine ({address}); load it only with its owner's consent, \
             and with --allow-remote"
        )));
    }
    if args.duration.is_zero() {
        return Err(usage("--duration 0: nothing would be measured".to_owned()));
    }
    for (flag, percent) in [("--zap", args.zap), ("--seek-back", args.seek_back)] {
        if !(0.0..=100.0).contains(&percent) {
            return Err(usage(format!("{flag} {percent}: a percentage is between 0 and 100")));
        }
    }
    let connections = args.connections.unwrap_or(2);
    if !(1..=16).contains(&connections) {
        return Err(usage(format!("--connections {connections}: between 1 and 16 can be held")));
    }
    if !(1..=THREADS_MAX).contains(&args.threads) {
        return Err(usage(format!("--threads {}: between 1 and {THREADS_MAX}", args.threads)));
    }
    let arrivals = match &args.trace {
        Some(path) => read_trace(path).map_err(usage)?,
        None => args.arrivals.clone(),
    };
    let viewers = match &arrivals {
        Arrivals::Trace(times) => times.len() as u64,
        _ => args.viewers,
    };
    if !(1..=VIEWERS_MAX).contains(&viewers) {
        return Err(usage(format!("--viewers {viewers}: between 1 and {VIEWERS_MAX}")));
    }
    let links = args.links.as_deref().map(sessions::links).transpose();
    Ok(Plan {
        label: String::new(),
        authority,
        address,
        manifests,
        settings: Settings {
            low_latency: !args.no_low_latency,
            level: args.level,
            buffer_max: args.buffer.as_secs_f64(),
            patience: args.patience.as_secs_f64(),
        },
        edge: None,
        viewers,
        arrivals,
        ramp: args.ramp,
        sessions: Sessions {
            median: args.stay.map_or(f64::INFINITY, |stay| stay.as_secs_f64()),
            zap: args.zap / 100.0,
            seek_back: args.seek_back / 100.0,
            links: links.map_err(|wrong| usage(format!("--links: {wrong}")))?.unwrap_or_default(),
            ..Sessions::default()
        },
        connections,
        cmcd: args.cmcd,
        verify_every: args.verify,
        warm_up: args.warmup,
        duration: args.duration,
        threads: args.threads,
        cpus: args.pin.clone(),
        lateness_allowed: args.allow_lateness,
        seed: args.seed,
        server: args.server_pid,
    })
}

fn read_trace(path: &str) -> Result<Arrivals, String> {
    let wrong = |why: String| format!("--trace `{path}`: {why}");
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    arrivals::trace(&text).map_err(wrong)
}

/// The one host of all manifests, and their paths.
fn manifests(urls: &[String]) -> Result<(String, Vec<String>), String> {
    let mut paths = Vec::new();
    let mut host: Option<String> = None;
    for text in urls {
        let Url { authority, path } = Url::parse(text)?;
        if host.as_ref().is_some_and(|host| *host != authority) {
            return Err(format!("{text} lies on another host; one run loads one host"));
        }
        host = Some(authority);
        paths.push(path);
    }
    Ok((host.unwrap_or_default(), paths))
}

/// What the first manifest says.
struct Found {
    levels: usize,
    audio: bool,
}

/// Fetches every manifest once: what is no stream is a sentence, not a report of errors.
fn look(plan: &Plan) -> anyhow::Result<Found> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(64)
        .enable_timer()
        .build()?;
    let mut found = Found { levels: 1, audio: false };
    for path in &plan.manifests {
        let url = format!("http://{}{path}", plan.authority);
        let body = runtime.block_on(one(plan, path));
        let (status, body) = body.map_err(|error| Failure::of_request(&url, &error))?;
        let unusable = |why: String| Failure::Unusable(format!("{url}: {why}"));
        if status != 200 {
            return Err(unusable(format!("the server answers with status {status}")).into());
        }
        let text = String::from_utf8(body).map_err(|_| unusable("it is not UTF-8".to_owned()))?;
        let text = uri::strip_origin(&text, &format!("http://{}", plan.authority));
        let wrong = |error: playlist::Error| unusable(error.to_string());
        let ladder = if mpd::is_mpd(&text) {
            Some(mpd::read(&text, path).map_err(wrong)?.ladder())
        } else {
            match playlist::read(&text, path).map_err(wrong)? {
                Playlist::Multivariant(list) => Some(list),
                Playlist::Media(_) => None,
            }
        };
        if let Some(list) = ladder {
            found.levels = found.levels.max(list.variants.len());
            found.audio |= !list.audio.is_empty();
        }
    }
    Ok(found)
}

async fn one(plan: &Plan, path: &str) -> Result<(u16, Vec<u8>), crate::http::Error> {
    let mut client = Client::connect(plan.address, CONNECT_TIMEOUT).await?;
    let request = Request { method: "GET", path, host: &plan.authority, headers: "", body: b"" };
    let mut response = client.request(&request, Duration::from_secs(20)).await?;
    let status = response.status();
    Ok((status, response.read(PLAYLIST_BYTES_MAX).await?))
}
