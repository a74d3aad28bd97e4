//! Requests of Momento's clients: a key that the query names is put into the path, then the
//! request is answered like any other.
//!
//! **Invariants**: nothing is told of a store or cache before the request may use it; the bytes of
//! a head are exchanged as a whole or not at all.

use super::conn::{Conn, Gone, Then};
use super::rules::Subject;
use super::upload::Denied;
use crate::config::{Momento, Right};
use crate::http::request::{self, Head, Method};
use crate::http::response::Status;
use crate::origin::momento::{self, Fault};

impl Conn {
    /// Answers a request of the dialect.
    pub(super) async fn exchange_momento(&mut self, head: &Head) -> Result<Then, Gone> {
        match self.rename(head) {
            Ok(None) => self.exchange_rare(head).await,
            Ok(Some(renamed)) => {
                self.take_cors(&renamed);
                self.exchange_rare(&renamed).await
            }
            Err(_) if head.method == Method::Options => self.exchange_rare(head).await,
            Err(fault) => self.refuse_name(head, fault).await,
        }
    }

    /// Puts the key into the path where it is in the query; the head of the request then.
    fn rename(&mut self, head: &Head) -> Result<Option<Head>, Fault> {
        let none = Momento::default();
        let momento = self.rules.access.momento.as_ref().unwrap_or(&none);
        let buffers = &self.shard.reactor.buffers;
        let bytes = self.input.unread(buffers);
        let renamed = momento::renamed(momento, head.path.of(bytes), head.query.of(bytes))?;
        let Some(target) = renamed else { return Ok(None) };
        let (start, end) = (usize::from(head.target.start), usize::from(head.target.end));
        let text = [&bytes[..start], &target, &bytes[end..head.head_len]].concat();
        match request::parse(&text) {
            Ok(Some(renamed)) => {
                self.input.replace(head.head_len, &text, buffers);
                Ok(Some(renamed))
            }
            _ => Err((Status::BadRequest, "the key is too long beside the request's headers")),
        }
    }

    async fn refuse_name(&mut self, head: &Head, fault: Fault) -> Result<Then, Gone> {
        let is_read = matches!(head.method, Method::Get | Method::Head);
        let right = if is_read { Right::Read } else { Right::Publish };
        let denied = match self.authorize(head, right, Subject::Path) {
            Ok(()) => Denied::new(fault.0, fault.1),
            Err(denial) => Denied::of(denial, right),
        };
        match head.method {
            Method::Head => self.answer_fault(head, denied.status, denied.message).await,
            _ => self.deny(head, denied).await,
        }
    }
}
