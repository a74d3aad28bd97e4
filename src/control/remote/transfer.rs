//! Single transfers: put, get, delete, with metadata beside the body.
//!
//! How long an object is only its first bytes tell; so no more than those are asked for until the
//! shard has seen it, and the rest of the same version, told by its tag, behind them.
//!
//! Invariants: a body counts as kept only when the store has taken all of it; an upload in parts
//! that breaks off is given up at the store; no answer has bytes of two versions; each step has a
//! bound in time.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use object_store::{
    Attribute, AttributeValue, Attributes as Labels, Error, GetOptions, GetResult, ObjectMeta,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::{Line, Store, Trouble, is_no_range};
use crate::limits;
use crate::tier::disk::attributes::Attributes;
use crate::tier::remote::{Bell, Event, Found, Only, metadata};

type Told<T> = Result<T, Trouble>;

impl Store {
    /// Keeps an object.
    pub(super) async fn put(
        &self,
        key: &[u8],
        attributes: &Attributes,
        mut pieces: Receiver<Vec<u8>>,
        bell: &Bell,
    ) -> Told<Event> {
        let labels = if self.is_folder { Labels::new() } else { labels(attributes) };
        let put = match attributes.length <= limits::REMOTE_PIECE_BYTES {
            true => {
                let body = next(&mut pieces, bell).await.unwrap_or_default();
                if body.len() as u64 != attributes.length {
                    return Err(Trouble::Late);
                }
                let options = PutOptions { attributes: labels, ..PutOptions::default() };
                let place = self.place(key);
                within(self.client.put_opts(&place, body.into(), options)).await?
            }
            false => self.put_parts(key, attributes.length, labels, &mut pieces, bell).await?,
        };
        if self.is_folder {
            let tag = put.e_tag.unwrap_or_default();
            let sidecar = metadata::sidecar(attributes, &tag).unwrap_or_default();
            within(self.client.put(&self.beside(key), sidecar.into())).await?;
        }
        Ok(Event::Done)
    }

    async fn put_parts(
        &self,
        key: &[u8],
        length: u64,
        labels: Labels,
        pieces: &mut Receiver<Vec<u8>>,
        bell: &Bell,
    ) -> Told<PutResult> {
        let options = PutMultipartOptions { attributes: labels, ..PutMultipartOptions::default() };
        let place = self.place(key);
        let mut upload = within(self.client.put_multipart_opts(&place, options)).await?;
        let mut sent = 0;
        let done = async {
            while sent < length {
                let piece = next(pieces, bell).await.ok_or(Trouble::Late)?;
                sent += piece.len() as u64;
                within(upload.put_part(PutPayload::from(piece))).await?;
            }
            within(upload.complete()).await
        };
        match done.await {
            Ok(put) => Ok(put),
            Err(trouble) => {
                // What cannot be given up now is the store's lifecycle rule's to clean up.
                let _ = within(upload.abort()).await;
                Err(trouble)
            }
        }
    }

    /// Gives an object, piece by piece.
    pub(super) async fn give(&self, key: &[u8], line: &Line) -> Told<Event> {
        let mut got = self.first(key).await?;
        let (size, tag) = (got.meta.size, got.meta.e_tag.clone());
        if !self.tell_found(key, described_by(&got), line).await? {
            return Ok(Event::Done);
        }
        loop {
            let end = got.range.end;
            if !pass_on(got, line).await? || end >= size {
                return Ok(Event::Done);
            }
            got = self.part(key, end..size, tag.as_deref()).await?;
        }
    }

    /// Gives a part of an object, piece by piece.
    pub(super) async fn give_part(
        &self,
        key: &[u8],
        range: Range<u64>,
        tag: Option<Arc<str>>,
        line: &Line,
    ) -> Told<Event> {
        let got = self.part(key, range, tag.as_deref()).await?;
        if self.tell_found(key, described_by(&got), line).await? {
            pass_on(got, line).await?;
        }
        Ok(Event::Done)
    }

    /// The first bytes of an object; all of it where they are not asked for over a network.
    async fn first(&self, key: &[u8]) -> Told<GetResult> {
        if self.is_folder {
            return within(self.client.get(&self.place(key))).await;
        }
        match self.part(key, 0..limits::REMOTE_FIRST_BYTES, None).await {
            // It may have none.
            Err(Trouble::Changed) => within(self.client.get(&self.place(key))).await,
            got => got,
        }
    }

    /// Some bytes of the version with this tag, if any version will not do.
    async fn part(&self, key: &[u8], range: Range<u64>, tag: Option<&str>) -> Told<GetResult> {
        let if_match = tag.map(str::to_owned);
        let options = GetOptions { range: Some(range.into()), if_match, ..GetOptions::default() };
        match within(self.client.get_opts(&self.place(key), options)).await {
            Err(Trouble::Store(error)) if is_no_range(&error) => Err(Trouble::Changed),
            // There are stores that do not know the condition.
            Ok(got) if tag.is_some() && got.meta.e_tag.as_deref() != tag => Err(Trouble::Changed),
            got => got,
        }
    }

    /// Tells what is known of an object; `false` when nobody listens any more.
    async fn tell_found(
        &self,
        key: &[u8],
        described: (ObjectMeta, Labels),
        line: &Line,
    ) -> Told<bool> {
        let found = self.found(key, described).await?;
        Ok(line.tell(Event::Found(Box::new(found))).await)
    }

    async fn found(&self, key: &[u8], (meta, labels): (ObjectMeta, Labels)) -> Told<Found> {
        let (attributes, is_summed) = self.described(key, (&meta, &labels)).await?;
        let tag = meta.e_tag.as_deref().map(Arc::from);
        Ok(Found { attributes, is_summed, tag })
    }

    /// What is known of an object; one that others put there is described by what the store says.
    async fn described(
        &self,
        key: &[u8],
        (meta, labels): (&ObjectMeta, &Labels),
    ) -> Told<(Attributes, bool)> {
        let label = |name| labels.get(&name).map_or("", AttributeValue::as_ref);
        let tag = meta.e_tag.as_deref().unwrap_or_default();
        let known = if self.is_folder {
            match within(self.client.get(&self.beside(key))).await {
                Ok(sidecar) => metadata::of_sidecar(&within(sidecar.bytes()).await?, tag),
                Err(Trouble::Store(Error::NotFound { .. })) => None,
                Err(trouble) => return Err(trouble),
            }
        } else {
            let value = label(Attribute::Metadata(metadata::NAME.into()));
            let kind = label(Attribute::ContentType);
            metadata::parse(value, kind, label(Attribute::CacheControl))
        };
        if let Some(known) = known.filter(|known| known.length == meta.size) {
            return Ok((known, true));
        }
        let modified_s = u64::try_from(meta.last_modified.timestamp()).unwrap_or(0);
        let etag = format!("\"r{}\"", tag.trim_matches('"').replace(['"', ' '], ""));
        let foreign = Attributes {
            length: meta.size,
            modified_s,
            expires_ms: None,
            sum: 0,
            chunks: None,
            etag: etag.into_bytes().into(),
            content_type: label(Attribute::ContentType).as_bytes().into(),
            cache_control: label(Attribute::CacheControl).as_bytes().into(),
            lines: [].into(),
        };
        Ok((foreign, false))
    }

    /// Says what is known of an object.
    pub(super) async fn look(&self, key: &[u8]) -> Told<Event> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let there = within(self.client.get_opts(&self.place(key), options)).await?;
        let found = self.found(key, described_by(&there)).await?;
        Ok(Event::Found(Box::new(found)))
    }

    /// Takes an object away, or only under a condition.
    pub(super) async fn erase(&self, key: &[u8], only: Option<Only>) -> Told<Event> {
        let place = self.place(key);
        // Stores answer a deletion of nothing like any other.
        let options = GetOptions { head: true, ..GetOptions::default() };
        let mut there = within(self.client.get_opts(&place, options)).await;
        if !self.is_folder && matches!(there, Err(Trouble::Store(Error::NotFound { .. }))) {
            // An answer to HEAD has no body: only GET tells a missing bucket from a missing object.
            let options = GetOptions { range: Some((0..1).into()), ..GetOptions::default() };
            there = within(self.client.get_opts(&place, options)).await;
        }
        let there = there?;
        if let Some(only) = only {
            let Found { attributes, .. } = self.found(key, described_by(&there)).await?;
            let is_due = match only {
                Only::ExpiredBy(now_ms) => attributes.expires_ms.is_some_and(|ms| ms <= now_ms),
                Only::StoredBy(until_s) => attributes.modified_s <= until_s,
                Only::OtherThan(etag) => attributes.etag != etag,
            };
            if !is_due {
                return Ok(Event::Absent);
            }
        }
        within(self.client.delete(&place)).await?;
        if self.is_folder {
            // What is left without its body is never read.
            let _ = within(self.client.delete(&self.beside(key))).await;
        }
        Ok(Event::Done)
    }
}

/// What the store says of an object; the answer itself cannot be looked at while waiting.
fn described_by(got: &GetResult) -> (ObjectMeta, Labels) {
    (got.meta.clone(), got.attributes.clone())
}

fn labels(attributes: &Attributes) -> Labels {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut labels = Labels::new();
    labels.insert(Attribute::ContentType, text(&attributes.content_type).into());
    labels.insert(Attribute::CacheControl, text(&attributes.cache_control).into());
    if let Some(value) = metadata::value(attributes) {
        labels.insert(Attribute::Metadata(metadata::NAME.into()), value.into());
    }
    labels
}

/// Passes the bytes on; `false` when nobody takes them any more.
async fn pass_on(got: GetResult, line: &Line) -> Told<bool> {
    let mut stream = got.into_stream();
    loop {
        let step = timeout(Duration::from_millis(limits::REMOTE_ANSWER_MS), stream.next());
        match step.await.map_err(|_| Trouble::Late)? {
            None => return Ok(true),
            Some(piece) => {
                if !line.tell(Event::Piece(piece?.into())).await {
                    return Ok(false);
                }
            }
        }
    }
}

/// The shard's next piece; there is room for another then.
async fn next(pieces: &mut Receiver<Vec<u8>>, bell: &Bell) -> Option<Vec<u8>> {
    let piece = timeout(Duration::from_millis(limits::REMOTE_ANSWER_MS), pieces.recv()).await;
    bell();
    piece.ok().flatten()
}

/// One step against the store, within its time.
async fn within<T>(step: impl Future<Output = object_store::Result<T>>) -> Told<T> {
    let within = Duration::from_millis(limits::REMOTE_STEP_MS);
    Ok(timeout(within, step).await.map_err(|_| Trouble::Late)??)
}
