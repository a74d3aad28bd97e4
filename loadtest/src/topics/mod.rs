//! `topics`: subscribers of real-time topics, publishers by a schedule, and how long messages take.
//!
//! ```text
//! publisher threads --POST--> server --SSE, WebSocket, long-poll--> subscriber threads
//!    Schedule, Stamp                     Link, Session, Follow --> Follower, Table, Recorder
//! ```
//! Every message carries the instant at which the schedule had it published; a delivery takes from
//! there to the moment at which a subscriber read it. Publishers and subscribers share one clock.
//! Each subscriber counts what was lost, came twice or in another order, and every discontinuity;
//! at the end all must have seen the same messages at the same places.

mod follow;
mod frames;
mod item;
mod link;
mod order;
mod publisher;
mod record;
mod report;
mod run;
mod session;
mod sse;
mod stamp;
mod subscriber;
mod table;
mod thread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::finish::{Output, finish};
use crate::cli::load::{headers, time};
use crate::cli::pace::Gaps;
use crate::cli::{Ending, Failure};
use crate::engine::clock::nanos;
use crate::engine::source::Pattern;
use crate::http::Url;
use crate::limits::{
    CONNECTIONS_MAX, FILES_BESIDE, PUBLISHERS_MAX, THREADS_MAX, TOPIC_MESSAGE_BYTES_MAX,
    TOPIC_MESSAGES_MAX, TOPICS_MAX,
};
use crate::rate::{Arrivals, Profile};
use crate::sys::thread::{allow_files, catch_stop, cpus};

use record::Way;
use subscriber::Who;

/// Longest run.
const LENGTH_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Flags of `topics`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A topic, such as http://127.0.0.1:8080/topics/show/score; a range in braces, such as
    /// poll-{0..9}, stands for several, over which subscribers and messages are spread
    #[arg(value_name = "URL")]
    pub url: String,
    /// Subscribers by Server-Sent Events [default: 100 when no subscriber is asked for]
    #[arg(long, value_name = "N", help_heading = "Subscribers")]
    pub sse: Option<u64>,
    /// Subscribers by WebSocket
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Subscribers")]
    pub websocket: u64,
    /// Subscribers by long-poll
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Subscribers")]
    pub poll: u64,
    /// Subscribers leave after TIME on average (exponential), and come back to go on where they
    /// were
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Subscribers")]
    pub churn: Option<Duration>,
    /// How long those who left stay away
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = time)]
    #[arg(help_heading = "Subscribers")]
    pub away: Duration,
    /// So many of the subscribers read slowly: 4 KiB at a time
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Subscribers")]
    pub slow: u64,
    /// Pause of slow subscribers before each read
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    #[arg(help_heading = "Subscribers")]
    pub slow_pause: Duration,
    /// Messages per second, over all topics
    #[arg(long, short, value_name = "RATE", default_value_t = 10.0, help_heading = "Messages")]
    pub rate: f64,
    /// Distribution of the gaps between messages
    #[arg(long, value_enum, default_value = "poisson", help_heading = "Messages")]
    pub arrivals: Gaps,
    /// Publishers: messages go to them in turn, each sends one at a time
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Messages")]
    pub publishers: usize,
    /// Bytes of a message
    #[arg(long, value_name = "BYTES", default_value_t = 200, help_heading = "Messages")]
    pub size: usize,
    /// Time before the measured phase, at the same rate
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    #[arg(help_heading = "Phases")]
    pub warmup: Duration,
    /// Length of the measured phase
    #[arg(long, short, value_name = "TIME", default_value = "30s", value_parser = time)]
    #[arg(help_heading = "Phases")]
    pub duration: Duration,
    /// How long subscribers may take for what is missing at the end, before it is lost
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    #[arg(help_heading = "Phases")]
    pub drain: Duration,
    /// Time for one publication, a connect, and the head of an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    #[arg(help_heading = "Generator")]
    pub timeout: Duration,
    /// A header such as `Authorization: Bearer ...`; repeatable
    #[arg(long, short = 'H', value_name = "HEADER", help_heading = "Generator")]
    pub header: Vec<String>,
    /// Threads of subscribers; publishers have their own
    #[arg(long, short, default_value_t = 1, help_heading = "Generator")]
    pub threads: usize,
    /// CPU of each thread of subscribers, such as 1 or 2,3
    #[arg(long, value_name = "CPU", value_delimiter = ',', help_heading = "Generator")]
    pub pin: Vec<usize>,
    /// Accept lateness of publishers up to TIME at p99.9, where the usual bound is 1ms: for
    /// machines that others use too
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Generator")]
    pub allow_lateness: Option<Duration>,
    /// Seed of the schedule and of every choice
    #[arg(long, default_value_t = 1, help_heading = "Generator")]
    pub seed: u64,
    /// Allow targets other than this machine
    #[arg(long, help_heading = "Generator")]
    pub allow_remote: bool,
    /// Process id of the server, to report its CPU time
    #[arg(long, value_name = "PID", help_heading = "Generator")]
    pub server_pid: Option<u32>,
    /// Reports and gates
    #[command(flatten)]
    pub output: Output,
}

/// What is to be done, checked.
#[derive(Debug)]
pub(crate) struct Job {
    /// Where to.
    pub address: SocketAddr,
    /// Host header.
    pub authority: String,
    /// Path of each topic.
    pub paths: Vec<String>,
    /// Header lines of every request, and of publications.
    pub headers: String,
    /// See `headers`.
    pub publish_headers: String,
    /// Subscribers by [`Way`].
    pub subscribers: [u64; 3],
    /// How many of them are slow.
    pub slow: u64,
    /// Pause of those before each read.
    pub slow_pause: Duration,
    /// Mean time after which subscribers leave, and how long they stay away.
    pub churn: Option<Duration>,
    /// See `churn`.
    pub away: Duration,
    /// Messages per second.
    pub rate: f64,
    /// Their gaps.
    pub arrivals: Arrivals,
    /// Threads that publish.
    pub publishers: usize,
    /// Bytes of a message.
    pub size: usize,
    /// Length of the phases.
    pub warm_up: Duration,
    /// See `warm_up`.
    pub duration: Duration,
    /// See `warm_up`.
    pub drain: Duration,
    /// For one request.
    pub timeout: Duration,
    /// Threads of subscribers, and their CPUs.
    pub threads: usize,
    /// See `threads`.
    pub cpus: Vec<usize>,
    /// Lateness allowed by flag, in nanoseconds.
    pub lateness_allowed: Option<u64>,
    /// Seed.
    pub seed: u64,
    /// Process of the server.
    pub server: Option<u32>,
    /// What was asked for.
    pub target: String,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    args.output.check()?;
    let job = Arc::new(job(args)?);
    catch_stop();
    let report = run::run(&job)?;
    if report.load.achieved == 0 && !report.verdict.interrupted {
        let errors = report.operations.iter().flat_map(|operation| &operation.errors);
        let why = errors.map(|(class, count)| format!(": {class}, {count} times")).next();
        let why = why.unwrap_or_else(|| ": nothing was published".to_owned());
        let sentence = format!("{}: no message came through{why}", job.target);
        return Err(Failure::Unusable(sentence).into());
    }
    finish(report, &args.output)
}

impl Job {
    /// All subscribers.
    fn all(&self) -> u64 {
        self.subscribers.iter().sum()
    }

    /// The subscribers of one thread.
    fn members(&self, thread: usize) -> Vec<Who> {
        let [events, sockets, _] = self.subscribers;
        let all = self.all();
        let step = self.threads.max(1);
        let numbers = (thread as u64..all).step_by(step).enumerate();
        let members = numbers.map(|(place, number)| Who {
            number,
            place,
            topic: usize::try_from(number % self.paths.len() as u64).unwrap_or(0),
            way: match number {
                n if n < events => Way::Events,
                n if n < events + sockets => Way::Socket,
                _ => Way::Poll,
            },
            // Spread evenly over all ways.
            slow: (number + 1) * self.slow / all > number * self.slow / all,
        });
        members.collect()
    }

    /// The rate over the whole run.
    fn profile(&self) -> Profile {
        Profile::constant(self.rate, (self.warm_up + self.duration).as_secs_f64())
    }

    fn is_poisson(&self) -> bool {
        self.arrivals == Arrivals::Poisson
    }
}

/// Understands the flags.
fn job(args: &Args) -> Result<Job, Failure> {
    let usage = Failure::Usage;
    let url = Url::parse(&args.url).map_err(usage)?;
    let pattern = Pattern::parse(&url.path).map_err(usage)?;
    let topics = pattern.count().unwrap_or(u64::MAX);
    check(args, &url, topics).map_err(usage)?;
    let address = url.resolve().map_err(Failure::Unreachable)?;
    if !args.allow_remote && !address.ip().is_loopback() {
        return Err(usage(format!(
            "{url} is another machine ({address}); load it only with its owner's consent, and with \
             --allow-remote"
        )));
    }
    let headers = headers(&args.header)?;
    let job = Job {
        address,
        authority: url.authority,
        paths: (0..topics).map(|index| pattern.nth(index)).collect(),
        publish_headers: format!("Content-Type: text/plain\r\n{headers}"),
        headers,
        subscribers: subscribers(args),
        slow: args.slow,
        slow_pause: args.slow_pause,
        churn: args.churn,
        away: args.away,
        rate: args.rate,
        arrivals: args.arrivals.arrivals(),
        publishers: args.publishers,
        size: args.size,
        warm_up: args.warmup,
        duration: args.duration,
        drain: args.drain,
        timeout: args.timeout,
        threads: args.threads,
        cpus: args.pin.clone(),
        lateness_allowed: args.allow_lateness.map(nanos),
        seed: args.seed,
        server: args.server_pid,
        target: args.url.clone(),
    };
    if let Err(most) = allow_files(job.all() + FILES_BESIDE) {
        return Err(usage(format!(
            "{} subscribers: this process may open {most} files at most; raise the hard limit \
             (ulimit -Hn)",
            job.all()
        )));
    }
    Ok(job)
}

fn subscribers(args: &Args) -> [u64; 3] {
    let others = args.websocket + args.poll;
    [args.sse.unwrap_or(if others == 0 { 100 } else { 0 }), args.websocket, args.poll]
}

/// Numbers within their bounds; the error is a sentence.
fn check(args: &Args, url: &Url, topics: u64) -> Result<(), String> {
    if url.path.contains('?') {
        return Err(format!("URL `{}`: a topic has no query", args.url));
    }
    let all: u64 = subscribers(args).iter().sum();
    let messages = args.rate * (args.warmup + args.duration).as_secs_f64();
    let within = |what: &str, value: u64, range: std::ops::RangeInclusive<u64>| {
        let (low, high) = (range.start(), range.end());
        let wrong = || format!("{what} {value}: must be between {low} and {high}");
        range.contains(&value).then_some(()).ok_or_else(wrong)
    };
    within("topics:", topics, 1..=TOPICS_MAX)?;
    within("subscribers:", all, 1..=CONNECTIONS_MAX as u64)?;
    within("--slow", args.slow, 0..=all)?;
    within("--threads", args.threads as u64, 1..=THREADS_MAX as u64)?;
    within("--publishers", args.publishers as u64, 1..=PUBLISHERS_MAX as u64)?;
    let sizes = stamp::BYTES_MAX as u64..=TOPIC_MESSAGE_BYTES_MAX as u64;
    within("--size", args.size as u64, sizes)?;
    let times = [("duration", args.duration), ("timeout", args.timeout), ("drain", args.drain)];
    for (flag, time) in times.into_iter().chain(args.churn.map(|time| ("churn", time))) {
        if time.is_zero() || time > LENGTH_MAX {
            return Err(format!("--{flag} {time:?}: must be above 0 and at most {LENGTH_MAX:?}"));
        }
    }
    if !(args.rate.is_finite() && args.rate > 0.0) || messages > TOPIC_MESSAGES_MAX as f64 {
        return Err(format!(
            "--rate {}: must be above 0, and give at most {TOPIC_MESSAGES_MAX} messages in a run",
            args.rate
        ));
    }
    if let Some(cpu) = args.pin.iter().find(|cpu| !cpus().contains(cpu)) {
        return Err(format!("--pin {cpu}: this process may run on CPUs {:?}", cpus()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(flags: &str) -> Result<Job, String> {
        let words = std::iter::once("topics").chain(flags.split(' '));
        let args = Cli::try_parse_from(words).map_err(|error| error.to_string())?.args;
        job(&args).map_err(|failure| failure.to_string())
    }

    #[test]
    fn subscribers_are_dealt_out() {
        let flags = "--sse 4 --websocket 3 --poll 3 --slow 5 --threads 3";
        let job = parsed(&format!("http://127.0.0.1:1/topics/a/t{{0..1}} {flags}")).unwrap();
        assert_eq!(job.paths, ["/topics/a/t0", "/topics/a/t1"]);
        let all: Vec<Who> = (0..3).flat_map(|thread| job.members(thread)).collect();
        let mut numbers: Vec<u64> = all.iter().map(|who| who.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        let of = |way| all.iter().filter(|who| who.way == way).count();
        assert_eq!((of(Way::Events), of(Way::Socket), of(Way::Poll)), (4, 3, 3));
        assert_eq!(all.iter().filter(|who| who.slow).count(), 5);
        assert_eq!(all.iter().filter(|who| who.topic == 1).count(), 5);
        let few = parsed("http://127.0.0.1:1/topics/a/b --poll 1").unwrap();
        assert_eq!(few.subscribers, [0, 0, 1]);
        assert_eq!(parsed("http://127.0.0.1:1/topics/a/b").unwrap().subscribers, [100, 0, 0]);
    }

    #[test]
    fn bad_flags_are_sentences() {
        for (flags, part) in [
            ("--sse 0", "subscribers: 0"),
            ("--sse 5 --slow 6", "--slow 6"),
            ("--threads 0", "--threads 0"),
            ("--publishers 65", "between 1 and 64"),
            ("--size 10", "--size 10"),
            ("--rate 0", "--rate 0"),
            ("--rate 1000000", "messages in a run"),
            ("--duration 0s", "--duration 0ns"),
            ("--churn 0s", "--churn 0ns"),
            ("--header Nonsense", "header `Nonsense`"),
        ] {
            let error = parsed(&format!("http://127.0.0.1:1/topics/a/b {flags}")).err().unwrap();
            assert!(error.contains(part), "{flags}: {error}");
        }
        assert!(parsed("http://192.0.2.1/topics/a/b").err().unwrap().contains("--allow-remote"));
        assert!(parsed("http://127.0.0.1/topics/a/b?c").err().unwrap().contains("no query"));
    }
}
