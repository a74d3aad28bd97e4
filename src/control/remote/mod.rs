//! The remote tier's hands: carries out what shards order of an object store.
//!
//! One task takes orders from a bounded queue and starts a task for each; how many puts and gets
//! run at the same time is bounded. The client retries a request a few times within its budget;
//! whether an order as a whole is tried again is the shard's to say.
//!
//! **Invariants**: every order is answered, and its bell is rung once more when its end is dropped;
//! nothing of a credential is logged; the state of the store is told once when it changes.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use object_store::path::Path;
use object_store::{DynObjectStore, Error};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::timeout;

use crate::limits;
use crate::tier::remote::{Bell, Event, Fault, Order, Work};

mod open;
mod transfer;

/// The store before its orders are served.
pub struct RemoteStore {
    store: Arc<Store>,
    orders: Receiver<Order>,
}

/// An object store, and where beneath it the origin's objects lie.
struct Store {
    client: Box<DynObjectStore>,
    prefix: Path,
    /// A plain folder, which keeps no metadata.
    is_folder: bool,
    is_failing: AtomicBool,
    puts: Semaphore,
    gets: Semaphore,
}

/// The answering end of an order.
struct Line {
    events: Sender<Event>,
    bell: Bell,
}

impl Line {
    /// Tells the shard; `false` when nobody listens any more.
    async fn tell(&self, event: Event) -> bool {
        let told = self.events.send(event).await.is_ok();
        (self.bell)();
        told
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        (self.bell)();
    }
}

/// Opens the store that a URL names: its end, and the one for shards.
///
/// # Errors
/// A sentence for the operator; it holds nothing of a credential.
pub fn open(url: &str) -> Result<(RemoteStore, Sender<Order>), String> {
    let store = open::store(url)?;
    let (sender, orders) = mpsc::channel(limits::REMOTE_ORDERS_MAX);
    Ok((RemoteStore { store: Arc::new(store), orders }, sender))
}

impl RemoteStore {
    /// Serves orders on the runtime of the caller until nobody can give any.
    pub(super) async fn serve(mut self) {
        while let Some(order) = self.orders.recv().await {
            tokio::spawn(carry_out(Arc::clone(&self.store), order));
        }
    }
}

async fn carry_out(store: Arc<Store>, order: Order) {
    let Order { work, events, bell } = order;
    let line = Line { events: events.clone(), bell: bell.clone() };
    let room = match work {
        Work::Get { .. } | Work::Part { .. } | Work::Look { .. } => &store.gets,
        _ => &store.puts,
    };
    let patience = Duration::from_millis(limits::REMOTE_STEP_MS);
    let Ok(Ok(_place)) = timeout(patience, room.acquire()).await else {
        line.tell(Event::Failed(Fault::Slow)).await;
        return;
    };
    let done = match work {
        Work::Put { key, attributes, pieces } => store.put(&key, &attributes, pieces, &bell).await,
        Work::Get { key } => store.give(&key, &line).await,
        Work::Part { key, range, tag } => store.give_part(&key, range, tag, &line).await,
        Work::Erase { key, only } => store.erase(&key, only).await,
        Work::Look { key } => store.look(&key).await,
    };
    let event = match done {
        Ok(event) => {
            store.note(None);
            event
        }
        Err(Trouble::Late) => {
            store.note(Some("it did not answer in time".to_owned()));
            Event::Failed(Fault::Slow)
        }
        Err(Trouble::Store(Error::NotFound { source, .. })) if is_no_bucket(&*source) => {
            store.note(Some("there is no such bucket".to_owned()));
            Event::Failed(Fault::Denied)
        }
        Err(Trouble::Changed | Trouble::Store(Error::NotFound { .. })) => {
            store.note(None);
            Event::Absent
        }
        Err(Trouble::Store(error)) => {
            store.note(Some(error.to_string()));
            Event::Failed(fault(&error))
        }
    };
    line.tell(event).await;
}

/// Why an order was not carried out.
enum Trouble {
    Late,
    /// What is there is another version than the one that was asked for.
    Changed,
    Store(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Precondition { .. } => Self::Changed,
            error => Self::Store(error),
        }
    }
}

fn is_no_bucket(error: &(dyn std::error::Error + Send + Sync)) -> bool {
    let text = error.to_string();
    ["NoSuchBucket", "ContainerNotFound"].iter().any(|name| text.contains(name))
}

/// Whether the store has no byte where some were asked for (RFC 9110 section 15.5.17).
fn is_no_range(error: &Error) -> bool {
    matches!(error, Error::Generic { source, .. } if source.to_string().contains("416"))
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Fault::Denied,
        _ => Fault::Unreachable,
    }
}

impl Store {
    /// Tells the log when the store begins to fail, and when it is good again.
    fn note(&self, trouble: Option<String>) {
        match (trouble, self.is_failing.load(Relaxed)) {
            (Some(reason), false) => {
                self.is_failing.store(true, Relaxed);
                tracing::warn!(reason, "the remote store fails; what it was to keep waits");
            }
            (None, true) => {
                self.is_failing.store(false, Relaxed);
                tracing::info!("the remote store answers again");
            }
            _ => {}
        }
    }

    /// Where a key lies; keys of shards are UTF-8 here.
    fn place(&self, key: &[u8]) -> Path {
        self.prefix.parts().chain(Path::from(&*String::from_utf8_lossy(key)).parts()).collect()
    }

    /// Where the metadata of a folder's key lies.
    fn beside(&self, key: &[u8]) -> Path {
        let own = Path::from(".headwater/attributes");
        let key = Path::from(&*String::from_utf8_lossy(key));
        self.prefix.parts().chain(own.parts()).chain(key.parts()).collect()
    }
}

/// Makes the folder of a `file` URL.
fn make_folder(folder: &FilePath) -> Result<(), String> {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("the folder {} cannot be made: {error}", folder.display()))
}
