//! What a subscriber was sent, noted: its order, its delays, and where the topic stands.

use super::item::{Discontinuity, Item, Page, Told};
use super::order::Seen;
use super::session::{Fault, Session};
use super::sse;
use super::stamp::Stamp;

const NO_JSON: Fault = Fault::Broken("a message is not the JSON of topics");

/// Bytes that were read at one moment.
pub struct Follow<'a> {
    session: &'a mut Session,
    /// That moment.
    at: u64,
}

impl<'a> Follow<'a> {
    /// For bytes that were read just now.
    pub fn now(session: &'a mut Session) -> Self {
        let at = session.thread.clock.now();
        Self { session, at }
    }

    /// An event of a stream.
    pub fn event(&mut self, event: &sse::Event<'_>) -> Result<(), Fault> {
        match event.kind {
            "" if event.data.is_empty() => {
                let (page, last) = event.id.split_once(':').ok_or(NO_JSON)?;
                let (Ok(page), Ok(last)) = (page.parse(), last.parse::<u64>()) else {
                    return Err(NO_JSON);
                };
                self.begins(page, last + 1);
            }
            "" => self.item(&serde_json::from_str(event.data).map_err(|_| NO_JSON)?),
            "discontinuity" => {
                self.discontinuity(serde_json::from_str(event.data).map_err(|_| NO_JSON)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// A message of a WebSocket.
    pub fn told(&mut self, text: &[u8]) -> Result<(), Fault> {
        let told: Told<'_> = serde_json::from_slice(text).map_err(|_| NO_JSON)?;
        if let Some(refusal) = told.error {
            return Err(Fault::Status(refusal.status));
        }
        if told.subscribed.is_some() {
            self.begins(told.sequence_page, told.sequence_number);
        }
        told.discontinuity.into_iter().for_each(|gap| self.discontinuity(gap));
        told.item.iter().for_each(|item| self.item(item));
        Ok(())
    }

    /// An answer to a long-poll.
    pub fn page(&mut self, body: &[u8]) -> Result<(), Fault> {
        let page: Page<'_> = serde_json::from_slice(body).map_err(|_| NO_JSON)?;
        for entry in &page.items {
            entry.discontinuity.into_iter().for_each(|gap| self.discontinuity(gap));
            entry.item.iter().for_each(|item| self.item(item));
        }
        let mut followers = self.session.thread.followers.borrow_mut();
        let follower = &mut followers[self.session.who.place];
        follower.begins(page.next_sequence_page, page.next_sequence_number);
        let position = follower.position();
        if (position.page, position.next) != (page.next_sequence_page, page.next_sequence_number) {
            return Err(Fault::Broken("an answer goes on elsewhere than where its items end"));
        }
        Ok(())
    }

    fn begins(&mut self, page: u64, next: u64) {
        self.session.thread.followers.borrow_mut()[self.session.who.place].begins(page, next);
        self.session.established();
    }

    fn discontinuity(&mut self, gap: Discontinuity) {
        let thread = &self.session.thread;
        thread.followers.borrow_mut()[self.session.who.place].discontinuity(gap);
    }

    fn item(&mut self, item: &Item<'_>) {
        let (session, thread) = (&*self.session, &self.session.thread);
        let mut followers = thread.followers.borrow_mut();
        let follower = &mut followers[session.who.place];
        let place = (item.sequence_page, item.topic_sequence_number);
        if follower.item(place.0, place.1) == Seen::Duplicate {
            return;
        }
        let text = &item.value.text;
        let Some(stamp) = Stamp::read(text).filter(|stamp| stamp.run == thread.run) else {
            return;
        };
        let live = session.is_live(stamp.due) && !session.who.slow;
        let agrees =
            thread.tables.borrow_mut()[session.who.topic].note(place, stamp, self.at, live);
        follower.faults.disordered += u64::from(!agrees);
        if !thread.is_measured(stamp.due) {
            return;
        }
        let mut recorder = thread.recorder.borrow_mut();
        let late = self.at.saturating_sub(stamp.due);
        if session.who.slow {
            recorder.slow.record(late);
        } else if live {
            recorder.delivered(session.who.way, stamp.due, self.at, text.len() as u64);
        } else {
            recorder.resumed.record(late);
        }
    }
}
