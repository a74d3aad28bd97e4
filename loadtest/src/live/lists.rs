//! Playlists of one thread: each text is read once and shared by all viewers who get it.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::player::media::MediaPlaylist;
use crate::player::mpd::{self, Implied, Mpd};
use crate::player::playlist::{self, Multivariant, Playlist};
use crate::player::uri;

/// Texts kept for each playlist; viewers of one rendition are at most a few versions apart.
const KEPT: usize = 8;
/// Playlists kept.
const PATHS_MAX: usize = 10_000;

/// A playlist, shared.
#[derive(Clone, Debug)]
pub enum Shared {
    /// It lists qualities.
    Multivariant(Rc<Multivariant>),
    /// It lists segments; it may be a delta update.
    Media(Rc<MediaPlaylist>),
    /// A DASH manifest, which implies both.
    Mpd(Rc<Mpd>),
}

/// A manifest, and what its representations list, by their URI.
type Implications = (Option<Rc<Mpd>>, HashMap<Box<str>, Rc<Implied>>);

/// What was read.
pub struct Lists {
    origin: String,
    known: HashMap<Box<str>, VecDeque<(u64, Shared)>>,
    /// Lists that the newest MPD implied.
    implied: Implications,
    /// Texts read, and texts that were known.
    pub read: u64,
    /// See `read`.
    pub reused: u64,
}

impl Lists {
    /// For playlists of `authority`.
    pub fn new(authority: &str) -> Self {
        let origin = format!("http://{authority}");
        Self { origin, known: HashMap::new(), implied: (None, HashMap::new()), read: 0, reused: 0 }
    }

    /// The playlist in `body`, fetched from `path`; the error is a sentence.
    pub fn read(&mut self, path: &str, body: &[u8]) -> Result<Shared, String> {
        let plain = path.split_once('?').map_or(path, |(plain, _)| plain);
        let hash = hash(body);
        if let Some((_, shared)) =
            self.known.get(plain).and_then(|kept| kept.iter().find(|(key, _)| *key == hash))
        {
            self.reused += 1;
            return Ok(shared.clone());
        }
        let text = std::str::from_utf8(body).map_err(|_| format!("{path}: it is not UTF-8"))?;
        let text = uri::strip_origin(text, &self.origin);
        let wrong = |error| format!("{path}: {error}");
        let shared = if mpd::is_mpd(&text) {
            Shared::Mpd(Rc::new(mpd::read(&text, plain).map_err(wrong)?))
        } else {
            match playlist::read(&text, plain).map_err(wrong)? {
                Playlist::Multivariant(list) => Shared::Multivariant(Rc::new(list)),
                Playlist::Media(list) => Shared::Media(Rc::new(list)),
            }
        };
        self.read += 1;
        self.keep(plain, hash, &shared);
        Ok(shared)
    }

    /// What representation `uri` of `mpd` lists at `now`, in seconds since 1970; computed once for
    /// all viewers of a moment between two segments.
    pub fn implied(&mut self, mpd: &Rc<Mpd>, uri: &str, now: f64) -> Option<Rc<Implied>> {
        if self.implied.0.as_ref().is_none_or(|known| !Rc::ptr_eq(known, mpd)) {
            self.implied = (Some(Rc::clone(mpd)), HashMap::new());
        }
        let known = self.implied.1.get(uri);
        if let Some(known) = known.filter(|known| known.next_at.is_none_or(|next| now < next)) {
            return Some(Rc::clone(known));
        }
        let fresh = Rc::new(mpd.implied(uri, now)?);
        self.implied.1.insert(uri.into(), Rc::clone(&fresh));
        Some(fresh)
    }

    /// A delta update from `path`, completed by `previous`; `None` when that is too old.
    pub fn complete(
        &mut self,
        path: &str,
        body: &[u8],
        delta: &MediaPlaylist,
        previous: Option<&Rc<MediaPlaylist>>,
    ) -> Option<Rc<MediaPlaylist>> {
        let whole = Rc::new(delta.clone().merged(previous?)?);
        let plain = path.split_once('?').map_or(path, |(plain, _)| plain);
        self.keep(plain, hash(body), &Shared::Media(Rc::clone(&whole)));
        Some(whole)
    }

    fn keep(&mut self, path: &str, hash: u64, shared: &Shared) {
        if self.known.len() >= PATHS_MAX {
            self.known.clear();
        }
        let kept = self.known.entry(path.into()).or_default();
        kept.retain(|(key, _)| *key != hash);
        kept.push_back((hash, shared.clone()));
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }
}

fn hash(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_once_and_absolute_references_are_taken() {
        let mut lists = Lists::new("h:1");
        let text = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://h:1/x/0.ts\n";
        let Ok(Shared::Media(first)) = lists.read("/a.m3u8?_HLS_msn=1", text) else { panic!() };
        let Ok(Shared::Media(second)) = lists.read("/a.m3u8", text) else { panic!() };
        assert!(Rc::ptr_eq(&first, &second));
        assert_eq!((lists.read, lists.reused), (1, 1));
        assert_eq!(&*first.segments[0].uri, "/x/0.ts");
        let delta = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n\
            #EXTINF:4,\n1.ts\n";
        let Ok(Shared::Media(raw)) = lists.read("/a.m3u8", delta) else { panic!() };
        assert!(lists.complete("/a.m3u8", delta, &raw, None).is_none());
        let whole = lists.complete("/a.m3u8", delta, &raw, Some(&first)).unwrap();
        assert_eq!(whole.segments.len(), 2);
        let Ok(Shared::Media(again)) = lists.read("/a.m3u8", delta) else { panic!() };
        assert!(Rc::ptr_eq(&whole, &again), "completed once for all");
        assert!(lists.read("/b", b"<html>").unwrap_err().contains("/b: playlist, line 1"));
    }
}
