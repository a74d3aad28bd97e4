//! `publish`: a synthetic encoder that PUTs live ladders in real time, at any scale.
//!
//! ```text
//! BASE/c0/master.m3u8, manifest.mpd       one folder a channel
//! BASE/c0/v0/init.mp4, index.m3u8, seg-0.m4s ...
//! ```
//! No encoder is needed and every byte follows from the seed. Each segment (or, with `--chunk`,
//! each piece of a growing segment, sent by chunked transfer encoding) carries the instant at which
//! it was published: see [`stamp`]. Timers have a resolution of 1 ms; the verdict allows 5 ms.

pub mod boxes;
mod connection;
pub mod ladder;
pub mod playlist;
mod record;
mod run;
pub mod stamp;
mod track;

use std::time::Duration;

use crate::cli::finish::{Output, finish};
use crate::cli::load::{headers, time};
use crate::cli::{Ending, Failure};
use crate::http::Url;
use crate::limits::{PUBLISH_CHUNKS_MAX, PUBLISH_TRACKS_MAX};
use crate::sys::thread;

use ladder::{Preset, Track};
use track::Settings;

/// Longest segment.
const SEGMENT_MAX: Duration = Duration::from_secs(60);
/// Longest presentation.
const LENGTH_MAX: Duration = Duration::from_secs(31 * 86_400);

/// Flags of `publish`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where channels are published: http://HOST:PORT/FOLDER
    #[arg(value_name = "URL")]
    pub url: String,
    /// Channels, tracks and segment length; the flags below change them one by one
    #[arg(long, value_enum, default_value = "channel")]
    pub preset: Preset,
    /// Number of channels
    #[arg(long, value_name = "N")]
    pub channels: Option<u32>,
    /// Tracks of a channel: v:BITRATE (video) and a:BITRATE (audio), with commas
    #[arg(long, value_name = "LIST")]
    pub tracks: Option<String>,
    /// Multiplies every bitrate
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub scale: f64,
    /// Length of a segment
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub segment: Option<Duration>,
    /// Let segments grow by chunks of this length (CMAF)
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub chunk: Option<Duration>,
    /// How long to publish
    #[arg(long, short, value_name = "TIME", default_value = "60s", value_parser = time)]
    #[arg(conflicts_with = "vod")]
    pub duration: Duration,
    /// Publish so much at once, as fast as the server takes it, with an end
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub vod: Option<Duration>,
    /// Segments that a live playlist lists; 0 lists all
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub window: usize,
    /// Segments kept after they have left the playlist, before they are deleted
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub kept: usize,
    /// Variation of segment sizes, as a share
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub vary: f64,
    /// All channels at the same instant, instead of spread over a segment
    #[arg(long)]
    pub aligned: bool,
    /// Seed of sizes and content
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Threads; one for each CPU that the process may use when not given
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Time for one request
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub timeout: Duration,
    /// A header such as `Authorization: Bearer ...`; repeatable
    #[arg(long, short = 'H', value_name = "HEADER")]
    pub header: Vec<String>,
    /// Allow targets other than this machine
    #[arg(long)]
    pub allow_remote: bool,
    /// Process of the server on this machine, for its CPU time
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Reports and gates
    #[command(flatten)]
    pub output: Output,
}

/// What is to be done, checked.
pub(crate) struct Job {
    pub settings: Settings,
    pub tracks: Vec<Track>,
    pub channels: u32,
    pub aligned: bool,
    pub chunk: Option<f64>,
    pub threads: usize,
    pub server: Option<u32>,
    pub target: String,
}

/// Runs it.
pub fn run(args: &Args) -> anyhow::Result<Ending> {
    args.output.check()?;
    let job = job(args).map_err(Failure::Usage)?;
    thread::catch_stop();
    finish(run::run(&job)?, &args.output)
}

/// Understands the flags; the error is a sentence.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the checks beside")]
#[expect(clippy::cast_sign_loss, reason = "bounded by the checks beside")]
fn job(args: &Args) -> Result<Job, String> {
    let url = Url::parse(&args.url)?;
    if url.path.contains('?') {
        return Err(format!("URL `{}`: a folder has no query", args.url));
    }
    let segment = args.segment.unwrap_or(args.preset.segment());
    within("segment", segment, SEGMENT_MAX)?;
    let chunks = match args.chunk {
        None => 1.0,
        Some(chunk) => segment.as_secs_f64() / within("chunk", chunk, segment)?.as_secs_f64(),
    };
    if (chunks - chunks.round()).abs() > 1e-6 || chunks > f64::from(PUBLISH_CHUNKS_MAX) {
        return Err(format!(
            "--chunk: a segment of {segment:?} must be a whole number of chunks, at most \
             {PUBLISH_CHUNKS_MAX}"
        ));
    }
    let length = match args.vod {
        Some(length) => within("vod", length, LENGTH_MAX)?,
        None => within("duration", args.duration, LENGTH_MAX)?,
    };
    if !(0.0..=0.9).contains(&args.vary) {
        return Err(format!("--vary {}: must be between 0 and 0.9", args.vary));
    }
    let tracks = args.tracks.as_deref().unwrap_or(args.preset.tracks());
    let tracks = ladder::parse(tracks, args.scale)?;
    let channels = args.channels.unwrap_or(args.preset.channels());
    let all = u64::from(channels) * tracks.len() as u64;
    if channels == 0 || all > PUBLISH_TRACKS_MAX {
        return Err(format!(
            "{channels} channels of {} tracks: 1 to {PUBLISH_TRACKS_MAX} tracks in all can be",
            tracks.len()
        ));
    }
    let address = url.resolve()?;
    if !args.allow_remote && !address.ip().is_loopback() {
        return Err(format!(
            "{url} is another machine ({address}); load it only with its owner's consent, and with \
             --allow-remote"
        ));
    }
    let settings = Settings {
        address,
        authority: url.authority.clone(),
        base: url.path.trim_end_matches('/').to_owned(),
        headers: headers(&args.header).map_err(|failure| failure.to_string())?,
        seed: args.seed,
        segment,
        chunks: chunks.round() as u32,
        segments: (length.as_secs_f64() / segment.as_secs_f64()).round().max(1.0) as u64,
        window: args.window,
        kept: args.kept,
        vary: args.vary,
        timeout: within("timeout", args.timeout, LENGTH_MAX)?,
        vod: args.vod.is_some(),
    };
    let cpus = thread::cpus().len().max(1);
    let threads = args.threads.unwrap_or(cpus).clamp(1, channels as usize);
    Ok(Job {
        settings,
        tracks,
        channels,
        aligned: args.aligned,
        chunk: args.chunk.map(|chunk| chunk.as_secs_f64()),
        threads,
        server: args.server_pid,
        target: args.url.clone(),
    })
}

/// A time above zero and at most `most`.
fn within(flag: &str, time: Duration, most: Duration) -> Result<Duration, String> {
    match time {
        time if time.is_zero() || time > most => {
            Err(format!("--{flag} {time:?}: must be above 0 and at most {most:?}"))
        }
        time => Ok(time),
    }
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
        let words = std::iter::once("publish").chain(flags.split(' '));
        job(&Cli::try_parse_from(words).map_err(|error| error.to_string())?.args)
    }

    #[test]
    fn presets_are_jobs() {
        let job = parsed("http://127.0.0.1:1/live/ --preset platform --duration 10s").unwrap();
        assert_eq!((job.channels, job.tracks.len(), job.settings.segments), (80, 15, 5));
        assert_eq!(job.settings.base, "/live");
        let job = parsed("http://127.0.0.1:1/ --preset viewers --chunk 500ms").unwrap();
        assert_eq!((job.settings.chunks, job.settings.base.as_str()), (8, ""));
    }

    #[test]
    fn bad_flags_are_sentences() {
        for (flags, part) in [
            ("--segment 0s", "--segment 0ns"),
            ("--chunk 300ms", "whole number of chunks"),
            ("--channels 0", "0 channels"),
            ("--channels 100000", "tracks in all"),
            ("--tracks v5M", "no colon"),
            ("--vary 2", "--vary 2"),
            ("--header Nonsense", "header `Nonsense`"),
            ("--duration nans", "--duration"),
            ("--duration 5s --vod 5s", "cannot be used with"),
            ("--scale 0", "the bitrate is not"),
        ] {
            let error = parsed(&format!("http://127.0.0.1:1/a {flags}")).err().unwrap();
            assert!(error.contains(part), "{flags}: {error}");
        }
        assert!(parsed("http://192.0.2.1/a").err().unwrap().contains("--allow-remote"));
        assert!(parsed("http://192.0.2.1/a --allow-remote").is_ok());
        assert!(parsed("https://127.0.0.1/a").is_err());
        assert!(parsed("http://127.0.0.1/a?b").is_err());
    }
}
