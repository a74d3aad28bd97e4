//! The servers: headwater with one shard or more, and nginx with one worker.
//!
//! **Invariants**: dropping a server ends it, by its id.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::group::Group;
use crate::{Bench, Outcome};

/// Where the server under measurement listens.
pub const LISTEN: &str = "127.0.0.1:8080";
/// Its metrics.
const ADMIN: &str = "127.0.0.1:9090";
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server.
pub struct Server {
    child: Child,
    /// Its bounds and its CPU time.
    pub group: Group,
    /// From the start of the process to the first connection taken.
    pub start: Duration,
}

impl Server {
    /// Headwater with further flags.
    pub fn headwater(bench: &Bench, flags: &str, memory_bytes: Option<u64>) -> Outcome<Self> {
        let program = bench.target.join("headwater");
        let command =
            format!("{} serve --listen {LISTEN} --admin {ADMIN} {flags}", program.display());
        Self::spawn(bench, "headwater", &command, memory_bytes)
    }

    /// nginx on a folder of files, which it also writes to.
    pub fn nginx(bench: &Bench, root: &Path, memory_bytes: Option<u64>) -> Outcome<Self> {
        let work = bench.work.display();
        let file = bench.work.join("nginx.conf");
        let text = format!(
            "user root; worker_processes 1; daemon off; pid {work}/nginx.pid;
error_log {work}/nginx.error; thread_pool default threads=32;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; aio threads; tcp_nopush on;
  keepalive_timeout 600; keepalive_requests 4000000000;
  open_file_cache max=10000 inactive=600s; open_file_cache_valid 600s;
  client_max_body_size 0; client_body_buffer_size 512k; client_body_temp_path {work}/temp;
  proxy_temp_path {work}/temp; fastcgi_temp_path {work}/temp;
  uwsgi_temp_path {work}/temp; scgi_temp_path {work}/temp;
  server {{ listen {LISTEN}; root {root}; dav_methods PUT; create_full_put_path on; }}
}}
",
            root = root.display()
        );
        fs::write(&file, text)?;
        let command = format!("nginx -c {} -e {work}/nginx.error", file.display());
        Self::spawn(bench, "nginx", &command, memory_bytes)
    }

    fn spawn(bench: &Bench, name: &str, command: &str, memory_bytes: Option<u64>) -> Outcome<Self> {
        let group = Group::new(name, memory_bytes)?;
        let [memory, cpu] = group.doors();
        let log = fs::File::create(bench.work.join(format!("{name}.log")))?;
        let script = format!("echo $$ > {memory}; echo $$ > {cpu}; exec {command}");
        let begin = Instant::now();
        let child = Command::new("taskset")
            .args(["--cpu-list", "0", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Self { child, group, start: Duration::ZERO };
        while TcpStream::connect(LISTEN).is_err() {
            if server.child.try_wait()?.is_some() || begin.elapsed() > PATIENCE {
                let log = bench.work.join(format!("{name}.log"));
                return Err(format!("{name} does not listen; see {}", log.display()).into());
            }
            sleep(Duration::from_millis(2));
        }
        server.start = begin.elapsed();
        Ok(server)
    }

    /// Bytes of its memory that no file backs.
    pub fn anonymous_bytes(&self) -> Outcome<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kib = line.ok_or("no line Anonymous")?.trim().trim_end_matches(" kB");
        Ok(kib.parse::<u64>()? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its worker ends with it.
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().ok();
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE && !matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
            sleep(Duration::from_millis(5));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
