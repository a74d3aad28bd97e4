//! `publish`: a synthetic encoder that PUTs live ladders in real time, at any scale.
//!
//! ```text
//! BASE/c0/master.m3u8, manifest.mpd       one folder a channel
//! BASE/c0/v0/init.mp4, index.m3u8, seg-0.m4s ...
//! ```
//! No encoder is needed and every byte follows from the seed. Each segment (or, with `--chunk`, each
//! piece of a growing segment, sent by chunked transfer encoding) carries the instant at which it
//! was published: see [`stamp`]. Timers have a resolution of 1 ms, which is what the verdict allows.

pub mod boxes;
mod connection;
pub mod ladder;
pub mod playlist;
mod record;
mod run;
pub mod stamp;
mod track;

use std::time::Duration;

use crate::cli::output::Output;
use crate::cli::{Ending, Failure};
use crate::http::Url;
use crate::limits::{PUBLISH_CHUNKS_MAX, PUBLISH_TRACKS_MAX};
use crate::sys::thread;

use ladder::{Preset, Track};
use track::Settings;

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
    /// Length of a segment in seconds
    #[arg(long, value_name = "SECONDS")]
    pub segment: Option<f64>,
    /// Let segments grow by chunks of so many seconds (CMAF)
    #[arg(long, value_name = "SECONDS")]
    pub chunk: Option<f64>,
    /// How long to publish, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, conflicts_with = "vod")]
    pub duration: f64,
    /// Publish so many seconds at once, as fast as the server takes them, with an end
    #[arg(long, value_name = "SECONDS")]
    pub vod: Option<f64>,
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
    /// Time for one request, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub timeout: f64,
    /// A header of every request: `Authorization: Bearer ...`
    #[arg(long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,
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
    let report = run::run(&job)?;
    args.output.finish(report)
}

/// Understands the flags; the error is a sentence.
#[expect(clippy::cast_possible_truncation, reason = "bounded by the checks beside")]
#[expect(clippy::cast_sign_loss, reason = "bounded by the checks beside")]
fn job(args: &Args) -> Result<Job, String> {
    let url = Url::parse(&args.url)?;
    if url.path.contains('?') {
        return Err(format!("URL `{}`: a folder has no query", args.url));
    }
    let positive = |flag: &str, value: f64, most: f64| {
        let good = value > 0.0 && value <= most;
        good.then_some(value).ok_or(format!("--{flag} {value}: must be above 0 and at most {most}"))
    };
    let segment = positive("segment", args.segment.unwrap_or(args.preset.segment_s()), 60.0)?;
    let chunks = match args.chunk {
        None => 1.0,
        Some(chunk) => (segment / positive("chunk", chunk, segment)?).round(),
    };
    if args.chunk.is_some_and(|chunk| (segment / chunk - chunks).abs() > 1e-6)
        || chunks > f64::from(PUBLISH_CHUNKS_MAX)
    {
        return Err(format!(
            "--chunk: a segment of {segment} s must be a whole number of chunks, at most \
             {PUBLISH_CHUNKS_MAX}"
        ));
    }
    let length = match args.vod {
        Some(seconds) => positive("vod", seconds, 86_400.0)?,
        None => positive("duration", args.duration, 31.0 * 86_400.0)?,
    };
    if !(0.0..=0.9).contains(&args.vary) {
        return Err(format!("--vary {}: must be between 0 and 0.9", args.vary));
    }
    let tracks = args.tracks.as_deref().unwrap_or(args.preset.tracks());
    let tracks = ladder::parse(tracks, positive("scale", args.scale, 1000.0)?)?;
    let channels = args.channels.unwrap_or(args.preset.channels());
    let all = u64::from(channels) * tracks.len() as u64;
    if channels == 0 || all > PUBLISH_TRACKS_MAX {
        return Err(format!(
            "{channels} channels of {} tracks: there must be 1 to {PUBLISH_TRACKS_MAX} tracks in all",
            tracks.len()
        ));
    }
    let settings = Settings {
        address: url.resolve()?,
        authority: url.authority.clone(),
        base: url.path.trim_end_matches('/').to_owned(),
        headers: headers(&args.header)?,
        seed: args.seed,
        segment: Duration::from_secs_f64(segment),
        chunks: chunks as u32,
        segments: (length / segment).round().max(1.0) as u64,
        window: args.window,
        kept: args.kept,
        vary: args.vary,
        timeout: Duration::from_secs_f64(positive("timeout", args.timeout, 3600.0)?),
        vod: args.vod.is_some(),
    };
    let cpus = thread::cpus().len().max(1);
    let threads = args.threads.unwrap_or(cpus).clamp(1, channels as usize);
    Ok(Job {
        settings,
        tracks,
        channels,
        aligned: args.aligned,
        chunk: args.chunk,
        threads,
        server: args.server_pid,
        target: args.url.clone(),
    })
}

/// Header lines as they go over the wire; the error is a sentence.
pub(crate) fn headers(given: &[String]) -> Result<String, String> {
    let mut lines = String::new();
    for header in given {
        let good = header.split_once(':').is_some_and(|(name, value)| {
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !name.is_empty()
                && name.bytes().all(token)
                && value.bytes().all(|byte| byte == b'\t' || !byte.is_ascii_control())
        });
        if !good {
            return Err(format!("header `{header}`: write it as `Name: value`"));
        }
        lines.push_str(header);
        lines.push_str("\r\n");
    }
    Ok(lines)
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
        let job = parsed("http://127.0.0.1:1/live/ --preset platform --duration 10").unwrap();
        assert_eq!((job.channels, job.tracks.len(), job.settings.segments), (80, 15, 5));
        assert_eq!(job.settings.base, "/live");
        let job = parsed("http://127.0.0.1:1/ --preset viewers --chunk 0.5").unwrap();
        assert_eq!((job.settings.chunks, job.settings.base.as_str()), (8, ""));
    }

    #[test]
    fn bad_flags_are_sentences() {
        for (flags, part) in [
            ("--segment 0", "--segment 0"),
            ("--chunk 0.3", "whole number of chunks"),
            ("--channels 0", "0 channels"),
            ("--channels 100000", "tracks in all"),
            ("--tracks v5M", "no colon"),
            ("--vary 2", "--vary 2"),
            ("--header Nonsense", "header `Nonsense`"),
            ("--duration NaN", "--duration NaN"),
            ("--duration 5 --vod 5", "cannot be used with"),
        ] {
            let error = parsed(&format!("http://127.0.0.1:1/a {flags}")).err().unwrap();
            assert!(error.contains(part), "{flags}: {error}");
        }
        assert!(parsed("https://127.0.0.1/a").is_err());
        assert!(parsed("http://127.0.0.1/a?b").is_err());
    }
}
