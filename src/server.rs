//! Boot and end: look at the kernel, bind, start one thread per shard, wait for a signal, drain.
//!
//! Invariants: nothing listens before every check has passed; a thread that dies ends the process
//! with an error instead of leaving keys without an owner.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::{Config, Tx as TxWish, WriteAccess};
use crate::exit::Exit;
use crate::limits;
use crate::origin::auth::Writers;
use crate::origin::write::PathDefaults;
use crate::shard::{Ending, Envelope, Settings, Shard, Tx};
use crate::store::Store;
use crate::sys::arena::Arena;
use crate::sys::clock::Clock;
use crate::sys::extent::SlotSource;
use crate::sys::mailbox::{Mailbox, Remote, mailboxes};
use crate::sys::reactor::Reactor;
use crate::sys::{cpu, net, probe, signal};

/// Why the origin did not start: a sentence for the operator.
type Refusal = String;

/// Runs the origin until a signal or a drain ends it.
pub fn serve(config: Config) -> Exit {
    signal::hold();
    match start(&config) {
        Ok(running) => running.until_the_end(),
        Err(refusal) => {
            tracing::error!("{refusal}");
            Exit::Failed
        }
    }
}

/// What every shard's thread is started with.
struct Seed {
    mailbox: Mailbox<Envelope>,
    listeners: Vec<OwnedFd>,
    core: usize,
}

/// What all shards share.
#[derive(Clone)]
struct Common {
    arena: Arc<Arena>,
    settings: Settings,
    hash_seed: u64,
    nonce: u64,
}

/// A running origin.
struct Running {
    threads: Vec<JoinHandle<io::Result<Ending>>>,
    remote: Remote<Envelope>,
}

fn start(config: &Config) -> Result<Running, Refusal> {
    probe::kernel().map_err(|refusal| refusal.to_string())?;
    let nofile = probe::raise_nofile();
    let settings = settings(config, nofile)?;
    let arena = Arena::new(config.memory_bytes).map_err(|error| {
        format!("{} bytes of memory cannot be reserved: {error}", config.memory_bytes)
    })?;
    let shards = config.shards;
    let (boxes, remote) = mailboxes(shards)
        .map_err(|error| format!("no event descriptors for {shards} shards: {error}"))?;
    let mut listeners: Vec<Vec<OwnedFd>> = (0..shards).map(|_| Vec::new()).collect();
    for &address in &config.listen {
        let bound = bind(address, shards)?;
        for (of_shard, listener) in listeners.iter_mut().zip(bound) {
            of_shard.push(listener);
        }
    }
    let common = Common { arena, settings, hash_seed: random(), nonce: random() };
    let cores = cpu::allowed();
    let seeds =
        boxes.into_iter().zip(listeners).enumerate().map(|(number, (mailbox, listeners))| Seed {
            mailbox,
            listeners,
            core: cores[number % cores.len()],
        });
    let threads = seeds.map(|seed| spawn(seed, common.clone())).collect::<Result<_, _>>()?;
    tracing::info!(
        shards,
        memory_bytes = common.arena.bytes(),
        tx = ?common.settings.tx,
        connections_max = common.settings.connections_max * shards,
        "serving"
    );
    Ok(Running { threads, remote })
}

fn bind(address: SocketAddr, shards: usize) -> Result<Vec<OwnedFd>, Refusal> {
    let patience = Duration::from_millis(limits::BIND_RETRY_MS);
    let listeners = net::listen(address, shards, patience).map_err(|error| {
        let cure = match error.kind() {
            io::ErrorKind::AddrInUse => "another process listens there; stop it or choose --listen",
            io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
            io::ErrorKind::AddrNotAvailable => "the address is not one of this host",
            _ => "choose another --listen",
        };
        format!("cannot listen on {address}: {error}; {cure}")
    })?;
    let bound = listeners.first().and_then(|listener| net::local_address(listener).ok());
    tracing::info!(address = %bound.unwrap_or(address), "listening");
    Ok(listeners)
}

fn settings(config: &Config, nofile: u64) -> Result<Settings, Refusal> {
    let writers = match config.writes {
        WriteAccess::LoopbackOnly => Writers::Loopback,
        WriteAccess::Token => {
            let tokens = config.publish_tokens.clone();
            Writers::Bearers(Arc::new(move |value| tokens.admit(value)))
        }
    };
    let paths = config.paths.clone();
    let timeouts = &config.timeouts;
    let connections = config.connections_max_within(nofile);
    Ok(Settings {
        tx: tx(config)?,
        zero_copy_bytes_min: limits::ZERO_COPY_BYTES_MIN,
        object_bytes_max: config.object_bytes_max,
        writers,
        cors: config.cors,
        head_ms: timeouts.head_ms,
        idle_ms: timeouts.idle_ms,
        body_idle_ms: timeouts.body_idle_ms,
        rate_min_bytes_per_s: timeouts.send_rate_min_bytes_per_s,
        linger_ms: timeouts.linger_ms,
        drain_ms: timeouts.drain_ms,
        connections_max: connections.div_ceil(config.shards),
        defaults_of: Arc::new(move |key| match paths.find(key) {
            None => PathDefaults::default(),
            Some(rule) => PathDefaults {
                ttl_ms: rule.ttl_seconds.map(|seconds| u64::from(seconds) * 1000),
                cache_control: rule.cache_control.clone(),
            },
        }),
    })
}

/// What the wish for zero-copy comes to on this host.
fn tx(config: &Config) -> Result<Tx, Refusal> {
    let pinned = probe::may_pin(config.memory_bytes);
    match (config.tx, pinned) {
        (TxWish::Copy, _) => Ok(Tx::Copy),
        (TxWish::Auto, Ok(())) => Ok(Tx::Auto),
        (TxWish::Zc, Ok(())) => Ok(Tx::ZeroCopy),
        (TxWish::Auto, Err(limit_bytes)) => {
            tracing::warn!(
                limit_bytes,
                "the memlock limit is below --memory: bodies leave by copy and may be swapped; \
                 raise 'ulimit -l' (LimitMEMLOCK) or grant CAP_IPC_LOCK for zero-copy"
            );
            Ok(Tx::Copy)
        }
        (TxWish::Zc, Err(limit_bytes)) => Err(format!(
            "--tx zc needs {} bytes of pinned memory, and the memlock limit is {limit_bytes}; \
             raise 'ulimit -l' (LimitMEMLOCK), grant CAP_IPC_LOCK, or use --tx auto",
            config.memory_bytes
        )),
    }
}

fn spawn(seed: Seed, common: Common) -> Result<JoinHandle<io::Result<Ending>>, Refusal> {
    let name = format!("shard-{}", seed.mailbox.id());
    std::thread::Builder::new()
        .name(name)
        .spawn(move || run_shard(seed, common))
        .map_err(|error| format!("no thread for a shard: {error}"))
}

fn run_shard(seed: Seed, common: Common) -> io::Result<Ending> {
    cpu::pin(seed.core);
    let reactor = Reactor::new(common.arena.clone())?;
    if common.settings.tx != Tx::Copy {
        reactor.prepare_zero_copy()?;
    }
    let slots: Rc<dyn SlotSource> = Rc::new(common.arena.clone());
    let now_ms = Clock::monotonic_us() / 1000;
    let mailbox = seed.mailbox;
    let store = Store::new(mailbox.id(), mailbox.shards(), common.hash_seed, slots, now_ms);
    let shard = Shard::new(reactor, store, mailbox, common.settings, common.nonce, seed.listeners);
    shard.run()
}

impl Running {
    /// Waits for a signal, drains, and says how it went.
    fn until_the_end(self) -> Exit {
        const LOOK: Duration = Duration::from_millis(100);
        let mut draining = false;
        loop {
            if let Some(signal) = signal::wait(LOOK) {
                if draining {
                    tracing::warn!(signal, "second signal: ending at once");
                    return Exit::Signal(signal);
                }
                tracing::info!(signal, "draining");
                draining = true;
                (0..).take(self.remote.shards()).for_each(|shard| {
                    self.remote.send(shard, Envelope::Drain);
                });
            }
            let ended = self.threads.iter().filter(|thread| thread.is_finished()).count();
            if ended == self.threads.len() || (ended > 0 && !draining) {
                return self.verdict(draining);
            }
        }
    }

    fn verdict(self, draining: bool) -> Exit {
        let mut exit = Exit::Clean;
        for thread in self.threads {
            if !thread.is_finished() {
                continue;
            }
            match thread.join() {
                Ok(Ok(Ending::Drained)) => {}
                Ok(Ok(Ending::CutOff)) if exit == Exit::Clean => exit = Exit::CutOff,
                Ok(Ok(Ending::CutOff)) => {}
                Ok(Err(error)) => {
                    tracing::error!("a shard's ring failed: {error}");
                    exit = Exit::Failed;
                }
                Err(_) => {
                    tracing::error!("a shard's thread panicked");
                    exit = Exit::Failed;
                }
            }
        }
        if !draining && exit == Exit::Clean { Exit::Failed } else { exit }
    }
}

/// A number that nobody can guess, from the standard library's per-process keys.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
