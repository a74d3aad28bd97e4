//! The servers of the comparison: how each is configured, started and stopped.
//!
//! Every server gets one worker, the same bodies, no access log, no limit on requests per
//! connection, and core 0. Configurations are written into the scratch folder; each is what its
//! users would run for static media.
//!
//! **Invariants**: at most one server is measured at a time; stopping leaves no process.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::measure::{runs, tree};
use crate::replace::Replacer;
use crate::{Bench, Body, Outcome, output, sha256};

/// Address of the server under measurement.
pub const LISTEN: &str = "127.0.0.1:8080";
/// Address of headwater's metrics.
pub const ADMIN: &str = "127.0.0.1:9090";
/// Address of varnish's backend.
const BACKEND: &str = "127.0.0.1:8081";
/// Core of the server; wrk has the other.
pub const CORE: &str = "0";
/// How long a server may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(8);

/// A server that can be measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Server {
    /// The origin, one shard.
    Headwater,
    /// The origin with `--tx zc`.
    HeadwaterZc,
    /// The origin, whose object is replaced after every hundred reads.
    HeadwaterReplaced,
    /// The floor: ring, accept, receive, one fixed answer.
    Bare,
    /// The floor by SEND_ZC.
    BareZc,
    /// One worker, sendfile from a tmpfs.
    Nginx,
    /// One thread, files on a tmpfs.
    H2o,
    /// Bodies in memory (malloc), hits only.
    Varnish,
}

impl Server {
    /// What is measured unless told otherwise.
    pub const DEFAULT: [Self; 5] =
        [Self::Headwater, Self::Bare, Self::Nginx, Self::H2o, Self::Varnish];

    /// The names that its users know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Headwater => "headwater",
            Self::HeadwaterZc => "headwater-zc",
            Self::HeadwaterReplaced => "headwater-replaced",
            Self::Bare => "bare",
            Self::BareZc => "bare-zc",
            Self::Nginx => "nginx",
            Self::H2o => "h2o",
            Self::Varnish => "varnish",
        }
    }

    /// Whether it is another project's server, which headwater is to beat.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Nginx | Self::H2o | Self::Varnish)
    }

    /// Whether it is the origin, in whatever mode.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Headwater | Self::HeadwaterZc | Self::HeadwaterReplaced)
    }

    /// Its version, as it states it.
    pub fn version(self, target: &std::path::Path) -> String {
        let (program, flag) = match self {
            ours if ours.is_ours() => (target.join("headwater"), "--version"),
            Self::Bare | Self::BareZc => return "of this commit".to_owned(),
            Self::Nginx => ("nginx".into(), "-v"),
            Self::H2o => ("h2o".into(), "-v"),
            _ => ("varnishd".into(), "-V"),
        };
        let said = Command::new(program).arg(flag).output();
        let said = said.map(|said| [said.stdout, said.stderr].concat()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        said.lines().next().unwrap_or("unknown").trim().to_owned()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A started server; dropping it ends its processes.
pub struct Running {
    server: Server,
    child: Child,
    backend: Option<Child>,
    replacer: Option<Replacer>,
}

impl Running {
    /// Start `server`, store `body` where it needs storing, and wait until it answers.
    pub fn start(bench: &Bench, server: Server, body: &Body) -> Outcome<Self> {
        Self::start_with(bench, server, body, 1, "256MiB")
    }

    /// As [`Running::start`], ours with so many shards, and headwater with so much memory.
    pub fn start_with(
        bench: &Bench,
        server: Server,
        body: &Body,
        shards: u32,
        memory: &str,
    ) -> Outcome<Self> {
        free(LISTEN)?;
        let backend = match server {
            Server::Varnish => Some(spawn(bench, "backend", &nginx(bench, BACKEND)?)?),
            _ => None,
        };
        let command = command(bench, server, body, shards, memory)?;
        let mut running = match spawn(bench, server.name(), &command) {
            Ok(child) => Self { server, child, backend, replacer: None },
            Err(error) => {
                backend.into_iter().for_each(end);
                return Err(error);
            }
        };
        running.await_listening(bench)?;
        if server.is_ours() {
            store(body)?;
        }
        if server == Server::HeadwaterReplaced {
            running.replacer = Some(Replacer::begin(body)?);
        }
        Ok(running)
    }

    /// The process whose tree is measured.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fetch the body by curl and compare its sum.
    pub fn verify(&self, bench: &Bench, body: &Body) -> Outcome<()> {
        let got = bench.work.join("got");
        let curl = ["--silent", "--show-error", "--fail", "--max-time", "10", "--output"];
        output(Command::new("curl").args(curl).arg(&got).arg(url(body)))?;
        match sha256(&got)? == body.sha256 {
            true => Ok(()),
            false => Err(format!("other bytes than {} came back", body.sha256).into()),
        }
    }

    /// An error if it ended by itself.
    pub fn alive(&mut self) -> Outcome<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("ended by itself: {status}").into()),
        }
    }

    /// Headwater's counters of sends, by way; empty for others.
    pub fn send_counters(&self) -> BTreeMap<String, f64> {
        if !self.server.is_ours() {
            return BTreeMap::new();
        }
        let url = format!("http://{ADMIN}/metrics");
        let printed = output(Command::new("curl").args(["--silent", "--max-time", "3", &url]));
        let mut counters = BTreeMap::new();
        for line in printed.unwrap_or_default().lines() {
            let Some((sample, value)) = line.rsplit_once(' ') else { continue };
            let sends = sample.starts_with("headwater_sends_");
            if let (true, Ok(value)) = (sends, value.parse::<f64>()) {
                *counters.entry(sample.to_owned()).or_insert(0.0) += value;
            }
        }
        counters
    }

    fn await_listening(&mut self, bench: &Bench) -> Outcome<()> {
        let begin = Instant::now();
        while TcpStream::connect(LISTEN).is_err() {
            if let Err(error) = self.alive() {
                let log = bench.work.join(format!("{}.log", self.server));
                let log = fs::read_to_string(log).unwrap_or_default();
                let last = log.lines().last().unwrap_or("said nothing");
                return Err(format!("{error}; last line: {last}").into());
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("does not listen on {LISTEN}").into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.replacer = None;
        end_tree(&mut self.child);
        self.backend.take().into_iter().for_each(end);
    }
}

/// Uploads a body to the origin.
pub fn store(body: &Body) -> Outcome<()> {
    let curl = ["--silent", "--show-error", "--fail", "--max-time", "10", "--upload-file"];
    output(Command::new("curl").args(curl).arg(&body.file).arg(url(body)))?;
    Ok(())
}

/// Where a body is found.
pub fn url(body: &Body) -> String {
    format!("http://{LISTEN}{}", body.path)
}

fn command(
    bench: &Bench,
    server: Server,
    body: &Body,
    shards: u32,
    memory: &str,
) -> Outcome<Vec<String>> {
    let target = bench.target.display();
    let body = body.file.display();
    let ours = format!("--listen {LISTEN} --shards {shards}");
    let headwater = format!("{target}/headwater serve {ours} --admin {ADMIN} --memory {memory}");
    let bare = format!("{target}/examples/bare {ours} --core {CORE} --body {body}");
    Ok(match server {
        Server::Headwater | Server::HeadwaterReplaced => words(&headwater),
        Server::HeadwaterZc => words(&format!("{headwater} --tx zc")),
        Server::Bare => words(&bare),
        Server::BareZc => words(&format!("{bare} --zc")),
        Server::Nginx => nginx(bench, LISTEN)?,
        Server::H2o => h2o(bench)?,
        Server::Varnish => varnish(bench)?,
    })
}

fn nginx(bench: &Bench, listen: &str) -> Outcome<Vec<String>> {
    let work = bench.work.display();
    let port = listen.rsplit(':').next().unwrap_or_default();
    let file = format!("{work}/nginx-{port}.conf");
    fs::write(
        &file,
        format!(
            "user root; worker_processes 1; daemon off;
pid {work}/nginx-{port}.pid; error_log {work}/nginx-{port}.error;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on;
  keepalive_timeout 600; keepalive_requests 4000000000;
  open_file_cache max=100 inactive=600s; open_file_cache_valid 600s;
  types {{ video/mp4 mp4; }}
  client_body_temp_path {work}/temp; proxy_temp_path {work}/temp; fastcgi_temp_path {work}/temp;
  uwsgi_temp_path {work}/temp; scgi_temp_path {work}/temp;
  server {{ listen {listen}; root {work}/objects; }}
}}
"
        ),
    )?;
    Ok(words(&format!("nginx -c {file} -e {work}/nginx-{port}.error")))
}

fn h2o(bench: &Bench) -> Outcome<Vec<String>> {
    let work = bench.work.display();
    let (host, port) = LISTEN.split_once(':').expect("LISTEN holds host and port");
    let file = format!("{work}/h2o.yaml");
    fs::write(
        &file,
        format!(
            "user: root
num-threads: 1
num-name-resolution-threads: 1
http1-request-timeout: 600
listen: {{ host: {host}, port: {port} }}
hosts:
  default:
    paths:
      /: {{ file.dir: {work}/objects, file.send-compressed: OFF }}
"
        ),
    )?;
    Ok(words(&format!("h2o --mode worker --conf {file}")))
}

fn varnish(bench: &Bench) -> Outcome<Vec<String>> {
    let work = bench.work.display();
    let (host, port) = BACKEND.split_once(':').expect("BACKEND holds host and port");
    let file = format!("{work}/varnish.vcl");
    fs::write(
        &file,
        format!(
            "vcl 4.1;
backend default {{ .host = \"{host}\"; .port = \"{port}\"; }}
sub vcl_backend_response {{ set beresp.ttl = 1d; }}
"
        ),
    )?;
    Ok(words(&format!(
        "varnishd -F -a {LISTEN} -f {file} -n {work}/varnish -s malloc,256m -j none \
         -p thread_pools=1 -p thread_pool_min=100 -p thread_pool_max=500"
    )))
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

fn spawn(bench: &Bench, name: &str, command: &[String]) -> Outcome<Child> {
    let log = fs::File::create(bench.work.join(format!("{name}.log")))?;
    let child = on_core(CORE, bench.fifo)
        .args(command)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn();
    child.map_err(|error| format!("taskset {}: {error}", command.join(" ")).into())
}

/// A command to which a program and its arguments are added, on one core; ahead of other threads
/// there where that is wanted.
pub fn on_core(core: &str, fifo: bool) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", core]);
    if fifo {
        command.args(["chrt", "--fifo", "1"]);
    }
    command
}

fn end(mut child: Child) {
    end_tree(&mut child);
}

/// TERM to the first process, KILL by id to whatever of its tree is left after a while.
fn end_tree(child: &mut Child) {
    let pids = tree(child.id());
    signal("-TERM", &[child.id()]);
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE && !matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
        sleep(Duration::from_millis(5));
    }
    if !matches!(child.try_wait(), Ok(Some(_))) {
        signal("-KILL", &pids);
        // Its end was just forced; whether it had ended by itself makes no difference.
        child.wait().ok();
    }
    let left: Vec<u32> = pids.into_iter().filter(|pid| runs(*pid)).collect();
    signal("-KILL", &left);
}

fn signal(signal: &str, pids: &[u32]) {
    if !pids.is_empty() {
        let pids = pids.iter().map(u32::to_string);
        // A process that has ended meanwhile is what is wanted.
        Command::new("kill").arg(signal).args(pids).stderr(Stdio::null()).status().ok();
    }
}

/// Wait until an address can be bound: a ring gives its sockets back after its process ended.
fn free(address: &str) -> Outcome<()> {
    let begin = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) if begin.elapsed() > PATIENCE => {
                return Err(format!("{address}: {error}").into());
            }
            Err(_) => sleep(Duration::from_millis(20)),
        }
    }
}
