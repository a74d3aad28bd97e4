//! The control thread: signals, and an admin listener for health, metrics and drain.
//!
//! One thread with a small tokio runtime of its own, which also sends what webhooks are told. It
//! shares with the data plane the meters (which it only reads) and a [`State`] (what the process
//! is doing and what it was asked for).
//!
//! **Invariants**: never on the path of a request; a slow admin client delays nobody but other
//! admin clients, and those for a bounded time; it starts a drain but carries none out.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::access::AccessMeters;
use crate::config::Config;
use crate::limits;
use crate::meters::{ShardMeters, TopicBoard};
use crate::sys::folder::DataFolder;

mod admin;
pub mod lifecycle;
mod listener;
pub mod listing;
pub mod metrics;
mod process;
mod reload;
pub mod remote;
mod state;
pub mod webhook;

pub use process::Process;
pub use reload::{Apply, Reloader};
use remote::RemoteStore;
pub use state::{Cause, Phase, Running, State, Stopped, Wish};
pub use webhook::HookMeters;
use webhook::Webhooks;

/// What the control thread looks after.
#[derive(Clone, Debug)]
pub struct Parts {
    /// One set of meters per shard, in the shards' order.
    pub meters: Vec<Arc<ShardMeters>>,
    /// What single topics count.
    pub topics: Arc<TopicBoard>,
    /// What the process is doing.
    pub state: Arc<State>,
    /// What the log thread counts, if there is an access log.
    pub access: Option<Arc<AccessMeters>>,
    /// Reads the configuration again.
    pub reloader: Arc<Reloader>,
    /// The folders of the disk tier.
    pub folders: Vec<Arc<DataFolder>>,
    /// What each webhook counts.
    pub hooks: Vec<Arc<HookMeters>>,
}

/// The running control thread; dropping it leaves the thread alone.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Control {
    /// Where the admin listener is, with the port that the kernel chose for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the thread. Answers under way (such as the one to `POST /drain`) are finished, for
    /// [`limits::ADMIN_FINISH_MS`] at most; then admin connections are cut.
    pub fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the control thread had panicked");
        }
    }
}

/// Binds the admin listener and starts the thread. From here on SIGTERM and SIGINT ask the
/// state for a drain, a second one for the end; SIGHUP calls `hangup` and reloads the
/// configuration.
///
/// The error names the address and the cure.
pub fn spawn(
    config: &Config,
    parts: Parts,
    webhooks: Webhooks,
    remote: Option<RemoteStore>,
    hangup: impl Fn() + Send + 'static,
) -> io::Result<Control> {
    let listener = bind(config.admin)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = {
        let _context = runtime.enter();
        Signals::new()?
    };
    let memory_bytes = config.memory_bytes;
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
        runtime.block_on(async {
            let sending = webhooks.start();
            remote.map(|remote| tokio::spawn(remote.serve()));
            tokio::select! {
                () = signals.watch(&parts, hangup) => {}
                () = admin::serve(listener, address, parts.clone(), memory_bytes, stopped) => {}
            }
            sending.finish().await;
        });
        runtime.shutdown_background();
    })?;
    Ok(Control { address, stop, thread })
}

/// Binds, patiently while the address is in use: a predecessor's ring gives its sockets back
/// some time after the process is gone.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let give_up = Instant::now() + Duration::from_millis(limits::BIND_RETRY_MS);
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up => {
                thread::sleep(Duration::from_millis(limits::BIND_PAUSE_MS));
            }
            Err(error) => {
                let cure = match error.kind() {
                    io::ErrorKind::AddrInUse => "another process has it; choose another --admin",
                    io::ErrorKind::PermissionDenied => "choose a port above 1023 with --admin",
                    _ => "choose an address of this machine with --admin",
                };
                let text = format!("cannot listen on {address} for admin: {error}; {cure}");
                return Err(io::Error::new(error.kind(), text));
            }
        }
    }
}

/// The signals that the process reacts to.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Never returns while signals can arrive.
    async fn watch(mut self, parts: &Parts, hangup: impl Fn()) {
        loop {
            let number = tokio::select! {
                Some(()) = self.terminate.recv() => SIGTERM,
                Some(()) = self.interrupt.recv() => SIGINT,
                Some(()) = self.hangup.recv() => {
                    hangup();
                    // Both outcomes are in the log.
                    let _ = parts.reloader.reload();
                    continue;
                }
                else => return,
            };
            parts.state.signal(number);
        }
    }
}

const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;

#[cfg(test)]
mod tests;
