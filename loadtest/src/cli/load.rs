//! Flags that `rate` and `closed` share, and the plan that they describe.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::exit::Failure;
use crate::content::Content;
use crate::engine::plan::Verification;
use crate::engine::source::{Pattern, Source};
use crate::engine::{Mode, Plan, Target};
use crate::http::Url;
use crate::limits::{BODY_BYTES_MAX, CONNECTIONS_MAX, FILES_BESIDE, THREADS_MAX, URLS_MAX};
use crate::rate::profile::seconds;
use crate::sys::thread;

/// What to load, and from where.
#[derive(Args, Clone, Debug)]
pub struct Load {
    /// What to ask for; may hold ranges such as /seg-{0..999}.ts
    #[arg(value_name = "URL")]
    pub urls: Vec<String>,
    /// File with one `URL [weight=N] [method=M] [name=N]` a line
    #[arg(long, value_name = "FILE", help_heading = "Requests")]
    pub url_file: Option<String>,
    /// Shares of the URLs given as arguments, such as 3,1 [default: equal]
    #[arg(long, value_name = "N", value_delimiter = ',', help_heading = "Requests")]
    pub weights: Vec<f64>,
    /// Method
    #[arg(long, short = 'X', default_value = "GET", help_heading = "Requests")]
    pub method: String,
    /// A header such as `Accept: */*`; repeatable
    #[arg(long, short = 'H', value_name = "HEADER", help_heading = "Requests")]
    pub header: Vec<String>,
    /// File with the body of every request
    #[arg(long, value_name = "FILE", help_heading = "Requests")]
    pub body: Option<String>,
    /// Send seeded bodies of so many bytes
    #[arg(long, value_name = "BYTES", conflicts_with = "body", help_heading = "Requests")]
    pub body_size: Option<u64>,
    /// Time for one request
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    #[arg(help_heading = "Requests")]
    pub timeout: Duration,
    /// Compare one body of N with what `prepare` uploaded with the same seed
    #[arg(long, value_name = "N", help_heading = "Requests")]
    pub verify: Option<u64>,
    /// Seed of the schedule and of every choice
    #[arg(long, default_value_t = 1, help_heading = "Requests")]
    pub seed: u64,
    /// Connections, of all threads
    #[arg(long, short, default_value_t = 64, help_heading = "Generator")]
    pub connections: usize,
    /// Threads, each with its own ring and connections
    #[arg(long, short, default_value_t = 1, help_heading = "Generator")]
    pub threads: usize,
    /// CPU of each thread, such as 1 or 2,3
    #[arg(long, value_name = "CPU", value_delimiter = ',', help_heading = "Generator")]
    pub pin: Vec<usize>,
    /// Length of the warm-up
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    #[arg(help_heading = "Phases")]
    pub warmup: Duration,
    /// Length of the measured phase
    #[arg(long, short, value_name = "TIME", default_value = "10s", value_parser = time)]
    #[arg(help_heading = "Phases")]
    pub duration: Duration,
    /// Longest wait for answers at the end [default: the timeout]
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Phases")]
    pub drain: Option<Duration>,
    /// Allow targets other than this machine
    #[arg(long, help_heading = "Generator")]
    pub allow_remote: bool,
    /// Process id of the server, to report its CPU time
    #[arg(long, value_name = "PID", help_heading = "Generator")]
    pub server_pid: Option<u32>,
}

/// A time with a unit, for clap.
pub fn time(text: &str) -> Result<Duration, String> {
    seconds(text).map(Duration::from_secs_f64)
}

/// One URL with what was said about it.
struct Asked {
    url: Url,
    weight: f64,
    method: String,
    name: Option<String>,
}

impl Load {
    /// The plan; the error says which flag is wrong.
    pub fn plan(&self, mode: Mode) -> Result<Plan, Failure> {
        self.check_numbers()?;
        let asked = self.asked()?;
        let headers = headers(&self.header)?;
        let mut plan = Plan {
            label: String::new(),
            targets: Vec::new(),
            sources: Vec::new(),
            operations: Vec::new(),
            mode,
            connections: self.connections,
            threads: self.threads,
            cpus: self.pin.clone(),
            seed: self.seed,
            timeout: self.timeout,
            in_flight_max: usize::MAX,
            warm_up: self.warmup,
            duration: self.duration,
            drain: self.drain.unwrap_or(self.timeout),
            bare: Duration::ZERO,
            lateness_allowed: None,
            server: self.server_pid,
            verification: self.verify.map(|every| Verification { every, seed: self.seed }),
        };
        let mut known = HashMap::new();
        for one in asked {
            let body = self.body(&one)?;
            let name = one.name.unwrap_or_else(|| one.method.clone());
            let operation = position(&mut plan.operations, name);
            let target = match known.get(&one.url.authority) {
                Some(target) => *target,
                None => {
                    let address = one.url.resolve().map_err(Failure::Unreachable)?;
                    if !self.allow_remote && !address.ip().is_loopback() {
                        return Err(Failure::Usage(format!(
                            "{} is another machine ({address}); load it only with its owner's \
                             consent, and with --allow-remote",
                            one.url
                        )));
                    }
                    let authority = one.url.authority.clone();
                    known.insert(authority.clone(), plan.targets.len());
                    plan.targets.push(Target { authority, address, bulk: false });
                    plan.targets.len() - 1
                }
            };
            plan.sources.push(Source {
                target,
                operation,
                weight: one.weight,
                authority: one.url.authority,
                pattern: Pattern::parse(&one.url.path).map_err(Failure::Usage)?,
                method: one.method,
                headers: headers.clone(),
                body,
            });
        }
        if plan.connections < plan.targets.len() * plan.threads {
            return Err(Failure::Usage(format!(
                "--connections {}: at least one for each of {} hosts and {} threads is needed",
                self.connections,
                plan.targets.len(),
                plan.threads
            )));
        }
        Ok(plan)
    }

    /// What is loaded, in words.
    pub fn target(&self, plan: &Plan) -> String {
        match (plan.sources.as_slice(), self.urls.as_slice()) {
            ([_], [url]) => url.clone(),
            ([source], _) => source.example().to_string(),
            (sources, _) => {
                let more = if plan.targets.len() > 1 { " and others" } else { "" };
                format!("{} URLs at {}{more}", sources.len(), plan.targets[0].authority)
            }
        }
    }

    fn check_numbers(&self) -> Result<(), Failure> {
        let wrong = |text: String| Err(Failure::Usage(text));
        if self.threads == 0 || self.threads > THREADS_MAX {
            return wrong(format!("--threads {}: 1 to {THREADS_MAX}", self.threads));
        }
        if self.connections < self.threads || self.connections > CONNECTIONS_MAX {
            return wrong(format!(
                "--connections {}: at least one for each thread, at most {CONNECTIONS_MAX}",
                self.connections
            ));
        }
        // Beside its sockets a run opens a ring a thread, reports, and files of /proc.
        let files = self.connections as u64 + FILES_BESIDE;
        if let Err(most) = thread::allow_files(files) {
            return wrong(format!(
                "--connections {}: this process may open {most} files at most; raise the hard \
                 limit (ulimit -Hn)",
                self.connections
            ));
        }
        if self.duration.is_zero() {
            return wrong("--duration 0: nothing would be measured".to_owned());
        }
        if self.timeout.is_zero() {
            return wrong("--timeout 0: every request would fail".to_owned());
        }
        if self.verify == Some(0) {
            return wrong("--verify 0: compare one body of N, with N at least 1".to_owned());
        }
        let allowed = thread::cpus();
        if let Some(cpu) = self.pin.iter().find(|cpu| !allowed.contains(cpu)) {
            return wrong(format!("--pin {cpu}: this process may run on CPUs {allowed:?}"));
        }
        method(&self.method).map_err(|what| Failure::Usage(format!("--method {what}")))?;
        Ok(())
    }

    fn asked(&self) -> Result<Vec<Asked>, Failure> {
        if !self.weights.is_empty() && self.weights.len() != self.urls.len() {
            return Err(Failure::Usage(format!(
                "--weights: {} weights for {} URLs",
                self.weights.len(),
                self.urls.len()
            )));
        }
        let mut asked = Vec::new();
        for (index, text) in self.urls.iter().enumerate() {
            let url = Url::parse(text).map_err(Failure::Usage)?;
            let weight = self.weights.get(index).copied().unwrap_or(1.0);
            asked.push(Asked { url, weight, method: self.method.clone(), name: None });
        }
        if let Some(path) = &self.url_file {
            let text = fs::read_to_string(path)
                .map_err(|error| Failure::Usage(format!("URL file `{path}`: {error}")))?;
            for (index, line) in text.lines().enumerate() {
                let line = line.trim();
                if !line.is_empty() && !line.starts_with('#') {
                    asked.push(self.line(line).map_err(|what| {
                        Failure::Usage(format!("URL file `{path}`, line {}: {what}", index + 1))
                    })?);
                }
            }
        }
        if asked.is_empty() {
            return Err(Failure::Usage("no URL: give one, or --url-file".to_owned()));
        }
        if asked.len() > URLS_MAX {
            return Err(Failure::Usage(format!("{} URLs: at most {URLS_MAX}", asked.len())));
        }
        let sum: f64 = asked.iter().map(|one| one.weight).sum();
        if asked.iter().any(|one| !one.weight.is_finite() || one.weight < 0.0) || sum <= 0.0 {
            return Err(Failure::Usage("weights must not be negative, and not all 0".to_owned()));
        }
        Ok(asked)
    }

    fn line(&self, line: &str) -> Result<Asked, String> {
        let mut words = line.split_ascii_whitespace();
        let url = Url::parse(words.next().unwrap_or(""))?;
        Pattern::parse(&url.path)?;
        let mut asked = Asked { url, weight: 1.0, method: self.method.clone(), name: None };
        for word in words {
            match word.split_once('=') {
                Some(("weight", value)) => {
                    let weight = value.parse().ok();
                    asked.weight = weight
                        .filter(|weight: &f64| weight.is_finite() && *weight >= 0.0)
                        .ok_or_else(|| format!("weight `{value}`: a number from 0"))?;
                }
                Some(("method", value)) => {
                    asked.method = method(value).map_err(|what| format!("method {what}"))?;
                }
                Some(("name", value)) if value.is_empty() || value.contains(',') => {
                    return Err(format!("name `{value}`: at least a letter, and no comma"));
                }
                Some(("name", value)) => asked.name = Some(value.to_owned()),
                _ => return Err(format!("`{word}` is neither weight=, method= nor name=")),
            }
        }
        Ok(asked)
    }

    fn body(&self, one: &Asked) -> Result<Arc<[u8]>, Failure> {
        let too_large =
            |size: u64| Failure::Usage(format!("a body of {size} bytes: at most {BODY_BYTES_MAX}"));
        if let Some(size) = self.body_size {
            if size > BODY_BYTES_MAX {
                return Err(too_large(size));
            }
            let mut body = vec![0; usize::try_from(size).unwrap_or(0)];
            Content::new(self.seed, &one.url.path, size).fill(0, &mut body);
            return Ok(body.into());
        }
        let Some(path) = &self.body else { return Ok(Arc::new([])) };
        let body = fs::read(path)
            .map_err(|error| Failure::Usage(format!("body file `{path}`: {error}")))?;
        if body.len() as u64 > BODY_BYTES_MAX {
            return Err(too_large(body.len() as u64));
        }
        Ok(body.into())
    }
}

/// `text` when it is a method; the error says what one looks like.
fn method(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
    good.then(|| text.to_owned()).ok_or(format!("`{text}`: write for example GET or PUT"))
}

/// The place of `name`, which is added when it is new.
fn position(names: &mut Vec<String>, name: String) -> usize {
    names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

/// Header lines from flags; refuses what would break a request apart.
pub fn headers(given: &[String]) -> Result<String, Failure> {
    let mut lines = String::new();
    for header in given {
        let good = header.split_once(':').is_some_and(|(name, value)| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                && value.bytes().all(|b| (b' '..=b'~').contains(&b))
        });
        if !good {
            return Err(Failure::Usage(format!(
                "header `{header}`: write for example `Accept: */*`"
            )));
        }
        lines.push_str(header);
        lines.push_str("\r\n");
    }
    Ok(lines)
}
