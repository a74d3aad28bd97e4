//! Boot and end: look at the kernel, bind, start one thread per shard, wait for a signal, drain.
//!
//! Invariants: nothing listens before every check has passed; a thread that dies ends the process
//! with an error instead of leaving keys without an owner.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::access::{AccessLog, AccessSink};
use crate::config::{Config, DiskMarks, Lag, Mark, TopicRule, Tx as TxWish};
use crate::control::lifecycle::{self, Lifecycle};
use crate::control::remote::RemoteStore;
use crate::control::webhook::{Queues, Webhooks};
use crate::control::{self, Control, Parts, Reloader, Running, State, Stopped, Wish};
use crate::exit::Exit;
use crate::limits;
use crate::meters::{ShardMeters, TopicBoard};
use crate::shard::{Accounts, Ending, Envelope, Leftover, Rules, Settings, Shard, Tx};
use crate::store::Store;
use crate::sys::arena::Arena;
use crate::sys::clock::Clock;
use crate::sys::extent::SlotSource;
use crate::sys::folder::DataFolder;
use crate::sys::mailbox::{Mailbox, Remote, mailboxes};
use crate::sys::reactor::Reactor;
use crate::sys::room;
use crate::sys::swap::Swap;
use crate::sys::{cpu, net, probe};
use crate::tier::listing;
use crate::tier::remote::{Link, Ring};
use crate::topic::Policy;
use crate::topic::owner::Hook;

/// Why the origin did not start: a sentence for the operator.
type Refusal = String;

/// Runs the origin until a signal or a drain ends it.
pub fn serve(config: Config) -> Exit {
    match start(&config) {
        Ok(origin) => origin.until_the_end(config.timeouts.drain_ms),
        Err(refusal) => {
            tracing::error!("{refusal}");
            Exit::Failed
        }
    }
}

/// What one shard's thread is started with.
struct Seed {
    mailbox: Mailbox<Envelope>,
    listeners: Vec<OwnedFd>,
    core: usize,
    counts: Accounts,
    running: Running,
}

/// What all shards share.
#[derive(Clone)]
struct Common {
    arena: Arc<Arena>,
    settings: Settings,
    hash_seed: u64,
    nonce: u64,
    started: Sender<io::Result<()>>,
}

/// A running origin.
struct Origin {
    remote: Arc<Remote<Envelope>>,
    state: Arc<State>,
    control: Control,
    log: Option<AccessLog>,
    endings: Receiver<io::Result<(Ending, Leftover)>>,
    arena: Arc<Arena>,
    walker: Option<Lifecycle>,
}

fn start(config: &Config) -> Result<Origin, Refusal> {
    probe::kernel().map_err(|refusal| refusal.to_string())?;
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let nofile = probe::raise_nofile();
    let (webhooks, hooks) = control::webhook::queues(&config.topics);
    let (boxes, remote) = mailboxes(config.shards)
        .map_err(|error| format!("no event descriptors for {} shards: {error}", config.shards))?;
    let remote = Arc::new(remote);
    let (store, link) = remote_store(config, &remote)?.unzip();
    let settings = Settings { remote: link, ..settings(config, nofile, topic_hook(hooks))? };
    let settings = Settings { listings: listings(&settings, &remote)?, ..settings };
    let arena = Arena::new(config.memory_bytes).map_err(|error| {
        format!("{} bytes of memory cannot be reserved: {error}", config.memory_bytes)
    })?;
    let shards = config.shards;
    let meters: Vec<_> = (0..shards).map(|_| Arc::new(ShardMeters::new())).collect();
    let (log, sinks) = access_log(config, &meters)?;
    let state = State::new();
    let seen = (&state, log.as_ref(), webhooks, store);
    let control = control(config, &meters, seen, &settings)?;
    let mut listeners: Vec<Vec<OwnedFd>> = (0..shards).map(|_| Vec::new()).collect();
    for &address in &config.listen {
        let bound = bind(address, shards, config.congestion.as_deref())?;
        listeners.iter_mut().zip(bound).for_each(|(of_shard, listener)| of_shard.push(listener));
    }
    let walker = lifecycle(config, &settings, &remote)?;
    let (started, starts) = channel();
    let (ended, endings) = channel();
    let common =
        Common { arena: arena.clone(), settings, hash_seed: random(), nonce: random(), started };
    let cores = cpu::allowed();
    let accounts = meters.into_iter().zip(sinks).map(|(meters, sink)| Accounts::new(meters, sink));
    let parts = boxes.into_iter().zip(listeners).zip(accounts).enumerate();
    for (number, ((mailbox, listeners), counts)) in parts {
        let core = cores[number % cores.len()];
        let seed = Seed { mailbox, listeners, core, counts, running: state.running() };
        spawn(seed, common.clone(), ended.clone())?;
    }
    for _ in 0..shards {
        starts.recv().map_err(|_| "a shard ended at its start".to_owned())?.map_err(|error| {
            format!("a shard cannot start: {error}; is memory or the memlock limit exhausted?")
        })?;
    }
    state.ready();
    tracing::info!(
        shards,
        memory_bytes = common.arena.bytes(),
        tx = ?common.settings.tx,
        connections_max = common.settings.connections_max * shards,
        admin = %control.address(),
        "serving"
    );
    Ok(Origin { remote, state, control, log, endings, arena, walker })
}

fn access_log(
    config: &Config,
    meters: &[Arc<ShardMeters>],
) -> Result<(Option<AccessLog>, Vec<AccessSink>), Refusal> {
    match &config.access_log {
        Some(access) => AccessLog::spawn(access, meters)
            .map(|(log, sinks)| (Some(log), sinks))
            .map_err(|error| format!("the access log cannot be opened: {error}")),
        None => Ok((None, meters.iter().cloned().map(AccessSink::off).collect())),
    }
}

fn control(
    config: &Config,
    meters: &[Arc<ShardMeters>],
    (state, log, webhooks, store): (&Arc<State>, Option<&AccessLog>, Webhooks, Option<RemoteStore>),
    settings: &Settings,
) -> Result<Control, Refusal> {
    let access = log.map(AccessLog::meters);
    let reopen = log.map(AccessLog::reopener);
    let rules = settings.rules.clone();
    let apply = Box::new(move |config: &Config| rules.replace(rules_of(config)));
    let reloader = Arc::new(Reloader::new(config.clone(), apply));
    let hooks = webhooks.meters();
    let folders = [&settings.data, &settings.library].into_iter().flatten().cloned().collect();
    let (meters, topics) = (meters.to_vec(), settings.topic_board.clone());
    let parts = Parts { meters, topics, state: state.clone(), access, reloader, folders, hooks };
    control::spawn(config, parts, webhooks, store, move || {
        reopen.iter().for_each(|reopen| reopen())
    })
    .map_err(|error| error.to_string())
}

fn bind(
    address: SocketAddr,
    shards: usize,
    congestion: Option<&str>,
) -> Result<Vec<OwnedFd>, Refusal> {
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
    if let Some(name) = congestion {
        for listener in &listeners {
            net::set_congestion(listener, name)
                .map_err(|error| refused_congestion(name, &error))?;
        }
    }
    let bound = listeners.first().and_then(|listener| net::local_address(listener).ok());
    let congestion = listeners.first().and_then(|listener| net::congestion(listener).ok());
    let congestion = congestion.unwrap_or_default();
    tracing::info!(address = %bound.unwrap_or(address), congestion, "listening");
    if address.ip().is_loopback() && congestion.starts_with("bbr") {
        tracing::warn!(
            congestion,
            "paces even this host's own connections; for measurements choose --congestion cubic"
        );
    }
    Ok(listeners)
}

fn refused_congestion(name: &str, error: &io::Error) -> Refusal {
    let cure = match error.kind() {
        io::ErrorKind::NotFound => {
            "load its module, or choose one of net.ipv4.tcp_available_congestion_control"
        }
        io::ErrorKind::PermissionDenied => "allow it in net.ipv4.tcp_allowed_congestion_control",
        _ => "choose another --congestion",
    };
    format!("cannot use the congestion control {name}: {error}; {cure}")
}

/// What shards tell of messages that webhooks are to hear of.
fn topic_hook(queues: Queues) -> Option<Hook> {
    if queues.is_empty() {
        return None;
    }
    Some(Arc::new(move |number, topic, item| {
        let (number_of_item, published_ms) = (item.number, item.published_ms);
        queues.push(number, topic, number_of_item, published_ms, &item.json);
    }))
}

fn settings(config: &Config, nofile: u64, topic_hook: Option<Hook>) -> Result<Settings, Refusal> {
    let topics = config.topics.clone();
    let timeouts = &config.timeouts;
    let connections = config.connections_max_within(nofile);
    Ok(Settings {
        tx: tx(config)?,
        zero_copy_bytes_min: config.zero_copy_bytes_min,
        splice_bytes_min: config.splice_bytes_min,
        splice_after_copies: config.splice_after_copies,
        object_bytes_max: config.object_bytes_max,
        rules: Swap::new(rules_of(config)),
        head_ms: timeouts.head_ms,
        idle_ms: timeouts.idle_ms,
        body_idle_ms: timeouts.body_idle_ms,
        rate_min_bytes_per_s: timeouts.send_rate_min_bytes_per_s,
        rate_window_ms: timeouts.send_rate_window_ms,
        linger_ms: timeouts.linger_ms,
        drain_ms: timeouts.drain_ms,
        connections_max: connections.div_ceil(config.shards),
        topic_policy: Arc::new(move |name| topics.find(name).map(topic_policy).unwrap_or_default()),
        topic_hook,
        topic_board: TopicBoard::new(config.shards),
        data: folder(config.data.as_deref(), |path| {
            DataFolder::open(path).map(|folder| folder.with_marks(marks(&config.disk)))
        })?,
        library: folder(config.library.as_deref(), DataFolder::open_library)?,
        large_bytes_min: config.large_bytes_min,
        chunk_bytes: config.chunk_bytes(),
        listings: None,
        prefetch: config.prefetch,
        remote: None,
    })
}

/// The remote store that is configured: the control thread's end, and the shards'.
fn remote_store(
    config: &Config,
    remote: &Arc<Remote<Envelope>>,
) -> Result<Option<(RemoteStore, Link)>, Refusal> {
    let Some(url) = &config.remote else { return Ok(None) };
    let (store, orders) = control::remote::open(url)?;
    let remote = Arc::clone(remote);
    let ring: Ring = Arc::new(move |shard, task| remote.send(shard, Envelope::Woken(task)));
    Ok(Some((store, Link { orders, ring })))
}

/// The thread that reads folders for listings, where there are any.
fn listings(
    settings: &Settings,
    remote: &Arc<Remote<Envelope>>,
) -> Result<Option<listing::Link>, Refusal> {
    let folders = [&settings.data, &settings.library].into_iter().flatten().cloned();
    let folders: Vec<_> = folders.collect();
    if folders.is_empty() {
        return Ok(None);
    }
    let remote = Arc::clone(remote);
    let ring: Ring = Arc::new(move |shard, task| remote.send(shard, Envelope::Woken(task)));
    let orders = control::listing::spawn(folders);
    let orders = orders.map_err(|error| format!("no thread for listings: {error}"))?;
    Ok(Some(listing::Link { orders, ring }))
}

/// Who walks the data folder, where there is one.
fn lifecycle(
    config: &Config,
    settings: &Settings,
    remote: &Arc<Remote<Envelope>>,
) -> Result<Option<Lifecycle>, Refusal> {
    let Some(data) = settings.data.clone() else { return Ok(None) };
    let (rules, remote) = (settings.rules.clone(), Arc::clone(remote));
    let parts = lifecycle::Parts {
        data,
        has_remote: config.remote.is_some(),
        rules: Box::new(move |look| look(&rules.current().1.paths)),
        propose: Box::new(move |due| remote.send(0, Envelope::Due(due))),
    };
    let walker = lifecycle::spawn(parts);
    walker.map(Some).map_err(|error| format!("no thread for the lifecycle of files: {error}"))
}

fn topic_policy(rule: &TopicRule) -> Policy {
    let plain = Policy::default();
    Policy {
        messages_max: rule.messages_max.unwrap_or(plain.messages_max),
        bytes_max: rule.bytes_max.unwrap_or(plain.bytes_max),
        age_ms: rule.age_ms.unwrap_or(plain.age_ms),
        message_bytes_max: rule.message_bytes_max.unwrap_or(plain.message_bytes_max),
        rate_max: rule.messages_per_second,
        close_slow: rule.lag == Some(Lag::Close),
        webhook: rule.webhook.as_ref().map(|(number, _)| *number),
        metrics: rule.metrics,
    }
}

fn folder(
    path: Option<&Path>,
    open: impl FnOnce(&Path) -> io::Result<DataFolder>,
) -> Result<Option<Arc<DataFolder>>, Refusal> {
    let Some(path) = path else { return Ok(None) };
    let opened = open(path).map_err(|error| {
        let cure = match error.kind() {
            io::ErrorKind::WouldBlock => "another origin uses it",
            io::ErrorKind::Unsupported => "its file system has no extended attributes (user.*)",
            _ => "make it a folder that this process may use",
        };
        format!("the folder {} cannot be used: {error}; {cure}", path.display())
    })?;
    Ok(Some(Arc::new(opened)))
}

fn marks(configured: &DiskMarks) -> room::Marks {
    let mark = |mark| match mark {
        Mark::Bytes(bytes) => room::Mark::Bytes(bytes),
        Mark::Percent(percent) => room::Mark::Percent(percent),
    };
    room::Marks { high: configured.high.map(mark), low: configured.low.map(mark) }
}

/// What a configuration says that may be exchanged while the process runs.
fn rules_of(config: &Config) -> Rules {
    Rules::new(config.access.clone(), config.paths.clone(), config.cors, config.cmcd)
}

/// What the wish for zero-copy comes to on this host.
fn tx(config: &Config) -> Result<Tx, Refusal> {
    let pinned = probe::may_pin(config.memory_bytes);
    match (config.tx, pinned) {
        (TxWish::Copy, _) => Ok(Tx::Copy),
        (TxWish::Splice, _) => Ok(Tx::Splice),
        (TxWish::Auto, Ok(())) => Ok(Tx::Auto),
        (TxWish::Zc, Ok(())) => Ok(Tx::ZeroCopy),
        (TxWish::Auto, Err(limit_bytes)) => {
            tracing::warn!(
                limit_bytes,
                "the memlock limit is below --memory: bodies leave by splice and may be swapped; \
                 raise 'ulimit -l' (LimitMEMLOCK) or grant CAP_IPC_LOCK for zero-copy"
            );
            Ok(Tx::Splice)
        }
        (TxWish::Zc, Err(limit_bytes)) => Err(format!(
            "--tx zc needs {} bytes of pinned memory, and the memlock limit is {limit_bytes}; \
             raise 'ulimit -l' (LimitMEMLOCK), grant CAP_IPC_LOCK, or use --tx auto",
            config.memory_bytes
        )),
    }
}

fn spawn(
    seed: Seed,
    common: Common,
    ended: Sender<io::Result<(Ending, Leftover)>>,
) -> Result<(), Refusal> {
    let name = format!("shard-{}", seed.mailbox.id());
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let Seed { mailbox, listeners, core, counts, running } = seed;
        let ending = run_shard(mailbox, listeners, core, counts, common);
        let _ = ended.send(ending);
        // Only now: whoever waits for the shards finds every ending in the queue.
        drop(running);
    });
    thread.map(drop).map_err(|error| format!("no thread for a shard: {error}"))
}

fn run_shard(
    mailbox: Mailbox<Envelope>,
    listeners: Vec<OwnedFd>,
    core: usize,
    accounts: Accounts,
    common: Common,
) -> io::Result<(Ending, Leftover)> {
    cpu::pin(core);
    let started = common.started.clone();
    match make_shard(mailbox, listeners, accounts, common) {
        Ok(shard) => {
            let _ = started.send(Ok(()));
            let ending = shard.run()?;
            Ok((ending, shard.leftover()))
        }
        Err(error) => {
            let _ = started.send(Err(error));
            Ok((Ending::Drained, Leftover::default()))
        }
    }
}

fn make_shard(
    mailbox: Mailbox<Envelope>,
    listeners: Vec<OwnedFd>,
    accounts: Accounts,
    common: Common,
) -> io::Result<Rc<Shard>> {
    let reactor = Reactor::new(common.arena.clone())?;
    if matches!(common.settings.tx, Tx::Auto | Tx::ZeroCopy) {
        reactor.prepare_zero_copy()?;
    }
    if matches!(common.settings.tx, Tx::Auto | Tx::Splice) {
        let share = common.arena.bytes() / mailbox.shards() as u64;
        let (least, most) = (limits::SPLICED_UNREAD_MAX_LEAST, limits::SPLICED_UNREAD_MAX);
        let unread_max = share.clamp(least, most);
        if let Err(error) = reactor.prepare_sharing(unread_max) {
            let shard = mailbox.id();
            tracing::warn!(
                shard,
                "no pipe ({error}): bodies do not leave by reference but by copy; raise 'ulimit \
                 -n' or fs.pipe-user-pages-soft"
            );
        }
    }
    let slots: Rc<dyn SlotSource> = Rc::new(common.arena.clone());
    let now_ms = Clock::monotonic_us() / 1000;
    let store = Store::new(mailbox.id(), mailbox.shards(), common.hash_seed, slots, now_ms);
    let Common { settings, nonce, .. } = common;
    Ok(Shard::new(reactor, store, mailbox, settings, nonce, listeners, accounts))
}

impl Origin {
    /// Waits for a wish to stop, drains, and says how it went.
    fn until_the_end(mut self, drain_ms: u64) -> Exit {
        let wish = self.state.wait();
        tracing::info!(?wish, "draining");
        drop(self.walker.take());
        for shard in (0..).take(self.remote.shards()) {
            self.remote.send(shard, Envelope::Drain);
        }
        // The shards cut off what is late themselves; this is for one that hangs.
        let deadline = Instant::now() + Duration::from_millis(drain_ms + limits::DRAIN_SLACK_MS);
        let exit = match self.state.wait_stopped(deadline) {
            Stopped::Signal(number) => return Exit::Signal(number),
            Stopped::Deadline => Exit::CutOff,
            Stopped::All if wish == Wish::ShardLost => Exit::Failed,
            Stopped::All => self.verdict(),
        };
        self.control.stop();
        if let Some(log) = self.log {
            log.finish();
        }
        exit
    }

    fn verdict(&self) -> Exit {
        let mut exit = Exit::Clean;
        let mut count = 0;
        let mut left = Leftover::default();
        for ending in self.endings.try_iter() {
            count += 1;
            match ending {
                Ok((Ending::Drained, of_shard)) => left += of_shard,
                Ok((Ending::CutOff, _)) if exit == Exit::Clean => exit = Exit::CutOff,
                Ok((Ending::CutOff, _)) => {}
                Err(error) => {
                    tracing::error!("a shard's ring failed: {error}");
                    exit = Exit::Failed;
                }
            }
        }
        // A thread that panicked said nothing.
        if count != self.remote.shards() {
            return Exit::Failed;
        }
        if exit == Exit::Clean {
            self.say_what_is_left(&left);
        }
        exit
    }
}

impl Origin {
    /// Says what the shards have not let go of, after a drain that cut nobody off.
    fn say_what_is_left(&self, left: &Leftover) {
        let drawn = u64::from(self.arena.slots()) - self.arena.slots_free() as u64;
        let slots_lost = drawn.saturating_sub(left.slots_held);
        tracing::info!(
            connections = left.connections,
            notifications_due = left.notifications_due,
            receive_buffers = left.receive_buffers,
            pipe_bytes = left.pipe_bytes,
            unread_bytes = left.unread_bytes,
            pinned_bytes = left.pinned_bytes,
            uploads = left.uploads,
            slots_lost,
            "left behind"
        );
        if left.has_leaked() || slots_lost > 0 {
            tracing::error!("something leaked: see what was left behind");
        }
    }
}

/// A number that nobody can guess, from the standard library's per-process keys.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
