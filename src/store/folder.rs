//! Folders of own keys: which names lie in them, and their registration with their parents' owners.
//!
//! All children of a folder belong to one shard, in name order: its objects as the numbers of
//! their versions, whose records have the names, and its folders by name. A folder is absent,
//! linking, linked or unlinking; the two in between wait for the parent's owner, and whoever needs
//! the folder to be linked waits with it. The root is always linked.
//!
//! What goes on at a key, uploads and changes, is noted for as long as it does, whether or not an
//! object is there.
//!
//! Invariants: a name is an object or a folder, never both; a folder has children or reservations
//! for as long as it is linked; one link or unlink of a folder is under way at a time.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashMap;

use crate::limits;

use super::message::{Ask, Message, Refusal, Reply, Ticket};
use super::object::Millis;
use super::owner::{Asker, STORE_TICKET, Store};
use super::path;
use super::pipeline::Leader;
use super::queue::{Queue, SpareQueues};
use super::slab::Slab;
use super::upload::Opening;
use super::version::Version;
use order::Order;

/// Own folders by path.
pub(super) struct Folders {
    map: HashMap<Box<[u8]>, Folder>,
    /// Keys at which something goes on.
    work: HashMap<Box<[u8]>, Work>,
    /// Folders of which a link or unlink is under way, by the low bits of its ticket.
    moving: Slab<Box<[u8]>>,
    /// Folders whose unlink was refused for lack of room; tried again next turn.
    refused: Vec<Box<[u8]>>,
}

struct Folder {
    state: State,
    /// Places of the current versions of what lies in it.
    objects: Order,
    /// Names of the folders in it that are linked.
    folders: BTreeSet<Box<[u8]>>,
    /// Keys in it at which something goes on.
    working: usize,
    waiting: VecDeque<Waiting>,
    /// When a version was last published in it.
    published_ms: Option<Millis>,
    /// Whose playlists it shows, where several encoders bring them.
    leader: Option<Leader>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Linking,
    Linked,
    Unlinking,
}

/// What goes on at a key.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Uploads begun and not ended.
    pub uploads: u32,
    /// The first one runs, the others wait.
    pub changes: Queue,
}

/// What waits for a folder to be linked.
enum Waiting {
    Begin(Asker, Opening),
    Link(Asker, Box<[u8]>),
}

impl Folders {
    pub fn new() -> Self {
        Self { map: HashMap::new(), work: HashMap::new(), moving: Slab::new(), refused: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// What goes on at `key`.
    pub fn work(&self, key: &[u8]) -> Option<&Work> {
        self.work.get(key)
    }

    /// What goes on at `key`.
    pub fn work_mut(&mut self, key: &[u8]) -> Option<&mut Work> {
        self.work.get_mut(key)
    }

    /// Whether a folder of this name is linked.
    pub fn is_folder(&self, key: &[u8]) -> bool {
        let (folder, name) = path::split(key);
        self.map.get(folder).is_some_and(|folder| folder.folders.contains(name))
    }

    /// Notes that the version at `place` is the current one of its key.
    pub fn put_object(&mut self, place: u32, versions: &Slab<Version>) {
        let folder = self.folder_of(place, versions);
        folder.objects.insert(place, |place| key_of(place, versions));
    }

    /// Notes that it no longer is.
    pub fn remove_object(&mut self, place: u32, versions: &Slab<Version>) {
        let folder = self.folder_of(place, versions);
        folder.objects.remove(place, |place| key_of(place, versions));
    }

    fn folder_of(&mut self, place: u32, versions: &Slab<Version>) -> &mut Folder {
        let path = path::split(key_of(place, versions)).0;
        self.map.get_mut(path).expect("a folder stays for as long as something is in it")
    }

    /// Notes that a version of `key` was published; how long its folder had been quiet.
    pub fn note_publication(&mut self, key: &[u8], now_ms: Millis) -> Option<Millis> {
        let folder = self.map.get_mut(path::split(key).0)?;
        folder.published_ms.replace(now_ms).map(|before_ms| now_ms.saturating_sub(before_ms))
    }

    /// Whose playlists `folder` shows.
    pub fn leader(&self, folder: &[u8]) -> Option<&Leader> {
        self.map.get(folder)?.leader.as_ref()
    }

    /// Where the leader of the folder of `key` is kept.
    pub fn leader_of(&mut self, key: &[u8]) -> Option<&mut Option<Leader>> {
        Some(&mut self.map.get_mut(path::split(key).0)?.leader)
    }

    /// What goes on at `key`, whose folder is linked, from now on.
    pub fn begin_work(&mut self, key: &[u8]) -> &mut Work {
        if !self.work.contains_key(key) {
            let folder = self.map.get_mut(path::split(key).0);
            let folder = folder.expect("the caller found it linked");
            debug_assert_eq!(folder.state, State::Linked);
            folder.working += 1;
            self.work.insert(key.into(), Work::default());
        }
        self.work.get_mut(key).expect("it is there now")
    }

    /// Forgets what went on at `key` if it has ended.
    fn end_work(&mut self, key: &[u8], spare: &mut SpareQueues) {
        let Some(work) = self.work.get_mut(key) else { return };
        work.changes.tidy(spare);
        if work.uploads > 0 || !work.changes.is_empty() {
            return;
        }
        self.work.remove(key);
        let folder = self.map.get_mut(path::split(key).0);
        folder.expect("a folder stays for as long as something goes on in it").working -= 1;
    }

    /// Whether `folder` is linked; an absent root becomes so.
    fn is_linked(&mut self, folder: &[u8]) -> bool {
        if folder.is_empty() && !self.map.contains_key(folder) {
            self.map.insert(folder.into(), Folder::new(State::Linked));
        }
        self.map.get(folder).is_some_and(|folder| folder.state == State::Linked)
    }

    fn ticket(&mut self, folder: &[u8]) -> Ticket {
        let (place, _) = self.moving.insert(folder.into());
        debug_assert!(place < STORE_TICKET);
        STORE_TICKET | place
    }
}

impl Folder {
    fn new(state: State) -> Self {
        Self {
            state,
            objects: Order::default(),
            folders: BTreeSet::new(),
            working: 0,
            waiting: VecDeque::new(),
            published_ms: None,
            leader: None,
        }
    }
    fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.folders.is_empty() && self.working == 0
    }

    /// Places of what lies in it behind `key`, in order.
    fn objects<'a>(
        &'a self,
        key: &[u8],
        versions: &'a Slab<Version>,
    ) -> impl Iterator<Item = u32> + use<'a> {
        self.objects.after(key, |place| key_of(place, versions))
    }
}

/// The key of the version at `place`: the keys of one folder have the order of their names.
fn key_of(place: u32, versions: &Slab<Version>) -> &[u8] {
    versions.at(place).expect("an object's version is in the table").record.key()
}

impl Store {
    /// Answers `Begin`, once the key's folder is linked.
    pub(super) fn begin(&mut self, asker: Asker, opening: Opening, now_ms: Millis) {
        if self.folders.is_linked(path::split(&opening.key).0) {
            return self.open(asker, opening, now_ms);
        }
        let folder: Box<[u8]> = path::split(&opening.key).0.into();
        self.wait(asker, &folder, Waiting::Begin(asker, opening));
    }

    /// Answers `Link`: the name becomes a folder, once the folder around it is linked.
    pub(super) fn link(&mut self, asker: Asker, folder: Box<[u8]>, now_ms: Millis) {
        let parent = path::split(&folder).0;
        if !self.folders.is_linked(parent) {
            let parent: Box<[u8]> = parent.into();
            return self.wait(asker, &parent, Waiting::Link(asker, folder));
        }
        let place = self.object(&folder);
        if let Some(place) = place.filter(|&place| self.is_gone(place, now_ms)) {
            self.expire(place);
        }
        // A running change is about to leave an object here, or is taking one away that others
        // can still see.
        let is_changing = self.folders.work(&folder).is_some_and(|work| !work.changes.is_empty());
        if is_changing || self.object(&folder).is_some() {
            return self.refuse(asker, Refusal::Conflict);
        }
        let (parent, name) = path::split(&folder);
        let parent = self.folders.map.get_mut(parent).expect("found linked");
        parent.folders.insert(name.into());
        self.reply(asker, Reply::Linked);
    }

    /// Answers `Unlink`: the name is free again.
    pub(super) fn unlink(&mut self, asker: Asker, folder: &[u8]) {
        let (parent, name) = path::split(folder);
        if let Some(parent) = self.folders.map.get_mut(parent) {
            parent.folders.remove(name);
        }
        self.stir(folder);
        self.reply(asker, Reply::Unlinked);
    }

    /// The parent's owner answered a link or an unlink.
    pub(super) fn on_reply(&mut self, ticket: Ticket, reply: &Reply, now_ms: Millis) {
        let Some(path) = self.folders.moving.remove(ticket & !STORE_TICKET) else {
            debug_assert!(false, "one reply to each ask");
            return;
        };
        let folder = self.folders.map.get_mut(&path).expect("a moving folder is in the map");
        match reply {
            Reply::Linked => folder.state = State::Linked,
            Reply::Unlinked if folder.waiting.is_empty() => {
                self.folders.map.remove(&path);
                return;
            }
            Reply::Unlinked => {
                folder.state = State::Linking;
                return self.ask_parent(&path);
            }
            Reply::Refused(refusal) if folder.state == State::Linking => {
                let waiting = std::mem::take(&mut folder.waiting);
                self.folders.map.remove(&path);
                for waiting in waiting {
                    self.refuse(waiting.asker(), *refusal);
                }
                return;
            }
            _ => {
                folder.state = State::Linked;
                if folder.waiting.is_empty() {
                    self.folders.refused.push(path);
                    return;
                }
            }
        }
        self.admit(&path, now_ms);
    }

    /// Lets everybody who waited for the folder go on.
    fn admit(&mut self, path: &[u8], now_ms: Millis) {
        let folder = self.folders.map.get_mut(path).expect("the caller linked it");
        for waiting in std::mem::take(&mut folder.waiting) {
            match waiting {
                Waiting::Begin(asker, opening) => self.begin(asker, opening, now_ms),
                Waiting::Link(asker, folder) => self.link(asker, folder, now_ms),
            }
        }
        self.tidy_folder(path);
    }

    fn wait(&mut self, asker: Asker, path: &[u8], waiting: Waiting) {
        let fresh = !self.folders.map.contains_key(path);
        let folder =
            self.folders.map.entry(path.into()).or_insert_with(|| Folder::new(State::Linking));
        if folder.waiting.len() >= limits::FOLDER_WAITING_MAX {
            return self.refuse(asker, Refusal::Busy);
        }
        folder.waiting.push_back(waiting);
        if fresh {
            self.ask_parent(path);
        }
    }

    /// Sends the link or unlink that the folder's state calls for.
    fn ask_parent(&mut self, path: &[u8]) {
        let ticket = self.folders.ticket(path);
        let folder: Box<[u8]> = path.into();
        let ask = match self.folders.map[path].state {
            State::Unlinking => Ask::Unlink { folder },
            State::Linking | State::Linked => Ask::Link { folder },
        };
        self.outbox.push_back((self.hash.owner(path), Message::Ask { ticket, ask }));
    }

    /// Forgets a key's place when nothing is there, and its folder when that was the last.
    pub(super) fn tidy(&mut self, key: &[u8]) {
        self.folders.end_work(key, &mut self.spare_queues);
        self.tidy_folder(path::split(key).0);
    }

    fn tidy_folder(&mut self, path: &[u8]) {
        let Some(folder) = self.folders.map.get_mut(path) else { return };
        if folder.state != State::Linked || !folder.is_empty() {
            return;
        }
        debug_assert!(folder.waiting.is_empty());
        if path.is_empty() {
            self.folders.map.remove(path);
            return;
        }
        folder.state = State::Unlinking;
        self.ask_parent(path);
    }

    /// Tries the unlinks again that found no room.
    pub(super) fn retry_unlinks(&mut self) {
        if self.folders.refused.is_empty() {
            return;
        }
        for path in std::mem::take(&mut self.folders.refused) {
            self.tidy_folder(&path);
        }
    }
}

impl Waiting {
    fn asker(&self) -> Asker {
        match self {
            Self::Begin(asker, _) | Self::Link(asker, _) => *asker,
        }
    }
}

mod listing;
mod order;
