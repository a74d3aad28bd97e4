//! What may change while the process runs: who may do what, what paths say, and CORS.
//!
//! All shards share one set. A shard looks for a new one at the beginning of each turn, when it has
//! taken what arrived: so a request that was sent after another shard had answered by a new set is
//! judged by that set too. A connection keeps the set it began a request with until the answer.
//!
//! **Invariants**: a request sees one set from its head to its answer; nothing is allocated to
//! judge a read; a read costs one branch where no rule guards reads.

use std::sync::Arc;

use super::Shard;
use super::conn::Conn;
use super::topic::Until;
use crate::config::cors::Lines;
use crate::config::{Access, Door, PathRules, Right, Who};
use crate::http::known::Known;
use crate::http::request::Head;
use crate::limits;
use crate::meters::ShardMeters;
use crate::origin::auth::{self, Asked, Denial, Grant, Verdict};
use crate::origin::dialect::Dialect;
use crate::origin::{heads, key, list, sigv4};
use crate::sys::net;
use crate::sys::socket::SocketId;
use crate::topic::name as topic;

/// With what a request wants to do something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    /// With the object that its path names.
    Path,
    /// With the folder that its query names: as with an object in it that has no name.
    Listing,
    /// With a topic.
    Topic(&'a [u8]),
    /// With this folder, which ends in a slash.
    Folder(&'a [u8]),
    /// With the object of this key, whatever the path names.
    Object(&'a [u8]),
}

/// Which rule's CORS lines an answer gets. Small, since every connection has one.
#[derive(Clone, Copy, Default)]
pub(super) struct CorsChoice {
    /// One more than the place of the rule; 0: no rule's.
    rule: u16,
    lines: u16,
}

impl CorsChoice {
    /// Whether a rule has lines of its own for the path.
    #[inline]
    pub(super) fn is_own(self) -> bool {
        self.rule != 0
    }
}

/// One set of rules.
pub struct Rules {
    /// Credentials, and what needs one.
    pub access: Access,
    /// What paths say.
    pub paths: PathRules,
    /// Whether pages of any origin may read where no path says otherwise.
    pub cors: bool,
    /// Whether what players say of themselves is read.
    pub cmcd: bool,
    /// Whether any path has reads wait for objects that are to come.
    pub holds: bool,
    /// Whether any path offers playlists as gzip.
    pub gzips: bool,
    /// Whether any path has manifests that become stale, or fail with their renditions.
    pub stales: bool,
    /// Whether answers of any path say what is true of them alone.
    pub tells: bool,
    /// Whether uploads to any path are judged by the ingest rules.
    pub strict: bool,
    /// Whether requests may be of another dialect than the origin's own.
    pub dialects: bool,
    /// Whether any path tells several encoders apart.
    pub redundant: bool,
    guards_reads: bool,
    cors_by_path: bool,
}

impl Rules {
    /// A set.
    pub fn new(access: Access, paths: PathRules, cors: bool, cmcd: bool) -> Self {
        let guards_reads = access.who(Right::Read) != Who::Anyone
            || paths.iter().any(|rule| rule.access().guards_reads());
        let cors_by_path = paths.iter().any(|rule| rule.cors().is_some());
        let (holds, stales) = (paths.any_holds(), paths.any_stales());
        let (gzips, dialects) = (paths.any_gzips(), Dialect::any(&access));
        let (redundant, tells) = (paths.any_redundant(), paths.any_cmsd_dynamic());
        let strict = paths.any_strict_ingest();
        Self {
            access,
            paths,
            cors,
            cmcd,
            holds,
            gzips,
            stales,
            tells,
            strict,
            dialects,
            redundant,
            guards_reads,
            cors_by_path,
        }
    }

    /// Whether a read can be refused.
    #[inline]
    pub fn guards_reads(&self) -> bool {
        self.guards_reads
    }

    /// Whether answers differ in their CORS lines.
    #[inline]
    pub(super) fn cors_by_path(&self) -> bool {
        self.cors_by_path
    }

    /// The CORS lines that were chosen for a path; `None` where it has none of its own.
    #[inline]
    pub(super) fn chosen(&self, choice: CorsChoice) -> Option<&Lines> {
        let place = usize::from(choice.rule).checked_sub(1)?;
        Some(self.paths.at(place)?.cors()?.lines(choice.lines))
    }

    /// CORS lines of an answer where no path says otherwise.
    #[inline]
    pub(super) fn cors_lines(&self) -> &'static [u8] {
        if self.cors { heads::CORS_READ } else { b"" }
    }
}

impl Shard {
    /// The set that holds for requests that begin now.
    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules.borrow().clone()
    }

    /// Looks for a new set.
    #[inline]
    pub(super) fn refresh_rules(&self) {
        if self.settings.rules.generation() != self.rules_generation.get() {
            self.take_rules();
        }
    }

    #[cold]
    fn take_rules(&self) {
        let (generation, rules) = self.settings.rules.current();
        self.rules_generation.set(generation);
        *self.rules.borrow_mut() = rules;
        self.forget_rendered();
    }

    /// Names the second and the set of rules for which an answer may be made ahead.
    pub(super) fn stamp(&self) -> u64 {
        self.preamble.borrow().wall_s << 16 | self.rules_generation.get() & 0xffff
    }
}

impl Conn {
    /// Takes the set that holds now; it holds for the request that begins.
    #[inline]
    pub(super) fn begin_with_rules(&mut self, head: &Head) {
        if !Arc::ptr_eq(&self.rules, &self.shard.rules.borrow()) {
            self.rules = self.shard.rules();
            self.cors = CorsChoice::default();
        }
        self.take_cors(head);
        if self.rules.tells {
            self.note_tells(head);
        }
        if self.rules.dialects {
            self.choose_dialect(head);
        } else {
            self.dialect = Dialect::Native;
        }
    }

    /// Takes the CORS lines that the request's path has of its own.
    #[inline]
    pub(super) fn take_cors(&mut self, head: &Head) {
        if self.rules.cors_by_path() {
            self.cors = self.choose_cors(head);
        }
    }

    #[inline(never)]
    fn choose_dialect(&mut self, head: &Head) {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        self.dialect = Dialect::of(&self.rules.access, head, bytes);
    }

    /// The CORS lines that the request's path has of its own.
    fn choose_cors(&self, head: &Head) -> CorsChoice {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let mut scratch = [0; limits::KEY_BYTES_MAX];
        let found = key::parse(head.path.of(bytes), &mut scratch)
            .ok()
            .and_then(|key| self.rules.paths.cors(key));
        let Some((place, cors)) = found else { return CorsChoice::default() };
        let rule = u16::try_from(place + 1).expect("rules are few");
        CorsChoice { rule, lines: cors.choose(head.header(bytes, Known::Origin)) }
    }

    /// CORS lines for an answer; `open` where pages may look at answers to this method at all.
    #[inline]
    pub(super) fn cors_lines(&self, open: bool) -> &[u8] {
        match self.rules.chosen(self.cors) {
            _ if !open => b"",
            Some(lines) => &lines.answer,
            None => self.rules.cors_lines(),
        }
    }

    /// Judges a read of what the path names: an object, or the root with the folder to list.
    pub(super) fn authorize_read(&mut self, head: &Head) -> Result<(), Denial> {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        match head.path.of(bytes) {
            // The time is no secret; topics are judged where they are served.
            b"/time" => Ok(()),
            path if path == b"/topics" || path.starts_with(b"/topics/") => Ok(()),
            b"" | b"/" => self.authorize(head, Right::Read, Subject::Listing),
            _ => self.authorize(head, Right::Read, Subject::Path),
        }
    }

    /// Judges what a request wants to do, before anything else is done with it.
    pub(super) fn authorize(
        &mut self,
        head: &Head,
        right: Right,
        subject: Subject<'_>,
    ) -> Result<(), Denial> {
        let Self { shard, input, rules, account, socket, .. } = self;
        let bytes = input.unread(&shard.reactor.buffers);
        let asking = Asking { head, bytes, right, subject };
        let (outcome, name) = match judge(shard, *socket, rules, asking) {
            Verdict::Allowed(grant) => (Ok(()), grant.name),
            Verdict::Denied(denial, name) => (Err(denial), name),
        };
        account.note_credential(name);
        outcome
    }

    /// Whether a read of this key would be allowed to whoever sent the request. Nothing is counted.
    pub(super) fn may_read(&self, head: &Head, key: &[u8]) -> bool {
        if !self.rules.guards_reads() {
            return true;
        }
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let asking = Asking { head, bytes, right: Right::Read, subject: Subject::Object(key) };
        matches!(weigh(&self.shard, self.socket, &self.rules, asking), Verdict::Allowed(_))
    }

    /// The encoder that the credential of an upload belongs to.
    pub(super) fn pipeline_of_token(&self, head: &Head) -> Option<Box<[u8]>> {
        let bytes = self.input.unread(&self.shard.reactor.buffers);
        let asking = Asking { head, bytes, right: Right::Publish, subject: Subject::Path };
        let Verdict::Allowed(Grant { name, .. }) =
            judge(&self.shard, self.socket, &self.rules, asking)
        else {
            return None;
        };
        let mut tokens = self.rules.access.tokens.iter();
        let token = tokens.find(|token| !name.is_empty() && *token.name == *name)?;
        token.pipeline.as_deref().map(|name| name.as_bytes().into())
    }

    /// Judges what somebody wants to do with a topic, by a head whose bytes are perhaps kept apart,
    /// and by the rules of now.
    pub(super) fn authorize_topic(
        &self,
        head: &Head,
        bytes: &[u8],
        right: Right,
        topic: &[u8],
    ) -> Result<Admission, Denial> {
        let rules = self.shard.rules();
        let subject = Subject::Topic(topic);
        let verdict =
            judge(&self.shard, self.socket, &rules, Asking { head, bytes, right, subject });
        let Grant { name, mut until_s } = match verdict {
            Verdict::Allowed(grant) => grant,
            Verdict::Denied(denial, _) => return Err(denial),
        };
        // What happens to objects is for those who may list them.
        if right == Right::TopicSubscribe
            && let Some(folder) = topic.strip_prefix(topic::OBJECTS)
            && rules.guards_reads()
        {
            let mut room = [0; limits::KEY_BYTES_MAX];
            room[..folder.len()].copy_from_slice(folder);
            room[folder.len()] = b'/';
            let subject = Subject::Folder(&room[..=folder.len()]);
            let asking = Asking { head, bytes, right: Right::Read, subject };
            match judge(&self.shard, self.socket, &rules, asking) {
                Verdict::Allowed(grant) => until_s = until_s.min(grant.until_s),
                Verdict::Denied(denial, _) => return Err(denial),
            }
        }
        let token_id = (!name.is_empty()).then(|| name.into());
        Ok(Admission { token_id, until: Until::of(until_s) })
    }
}

/// By what somebody was let in to a topic.
pub(super) struct Admission {
    /// Name of the credential, where one was needed.
    pub(super) token_id: Option<Box<str>>,
    /// When that is no longer good.
    pub(super) until: Until,
}

/// A wish and the head that it came with.
struct Asking<'a> {
    head: &'a Head,
    bytes: &'a [u8],
    right: Right,
    subject: Subject<'a>,
}

/// Judges a wish and counts what is denied.
fn judge<'k>(shard: &Shard, socket: SocketId, rules: &'k Rules, asking: Asking<'_>) -> Verdict<'k> {
    let verdict = weigh(shard, socket, rules, asking);
    if let Verdict::Denied(denial, _) = verdict {
        count(&shard.accounts.meters, denial);
    }
    verdict
}

fn weigh<'k>(shard: &Shard, socket: SocketId, rules: &'k Rules, asking: Asking<'_>) -> Verdict<'k> {
    let Asking { head, bytes, right, subject } = asking;
    let mut scratch = [0; limits::KEY_BYTES_MAX];
    let mut room = [0; limits::KEY_BYTES_MAX + 1];
    // What names no key is refused elsewhere; here it is judged as the root.
    let mut key = key::parse(head.path.of(bytes), &mut scratch).unwrap_or_default();
    let (subject, door) = match subject {
        Subject::Path => (key, rules.paths.door(key, right)),
        // A WebSocket's path need not be that of the topic.
        Subject::Topic(name) => {
            let end = TOPICS.len() + name.len();
            room[..TOPICS.len()].copy_from_slice(TOPICS);
            room[TOPICS.len()..end].copy_from_slice(name);
            key = &room[..end];
            (name, Door::default())
        }
        Subject::Folder(folder) => (folder, rules.paths.door(folder, right)),
        Subject::Object(object) => {
            key = object;
            (object, rules.paths.door(object, right))
        }
        Subject::Listing => {
            let folder = list::subject(head.query.of(bytes), &mut room);
            (folder, rules.paths.door(folder, right))
        }
    };
    // Asking for the address costs a system call.
    let peer = (!door.networks.is_open()).then(|| net::peer(shard.reactor.fd(socket))).flatten();
    let peer = peer.map(|peer| peer.ip());
    let now_s = shard.reactor.clock.wall_s();
    let asked = Asked { head, bytes, right, subject, key, peer, now_s };
    auth::judge(&rules.access, door, &asked)
}

/// What stands before a topic's name in its path.
const TOPICS: &[u8] = b"topics/";

fn count(meters: &ShardMeters, denial: Denial) {
    match denial {
        Denial::Missing => meters.denied_missing.bump(),
        Denial::Unknown => meters.denied_unknown.bump(),
        Denial::Expired => meters.denied_expired.bump(),
        Denial::NotGranted => meters.denied_not_granted.bump(),
        Denial::Network => meters.denied_network.bump(),
        Denial::FromWebPage => meters.denied_web_page.bump(),
        Denial::Closed => meters.denied_closed.bump(),
        Denial::Signature(sigv4::Fault::Skewed) => meters.denied_expired.bump(),
        Denial::Signature(_) => meters.denied_unknown.bump(),
    }
}
