//! An open watch: its events in order, late, cut or missed as the faults say.

use super::super::store::Event;
use super::call::selects;
use super::{BoxError, Bug, Door, broken};
use api::kinds::Kind;
use api::value::text;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::Notify;

/// An open watch.
pub(super) struct Watching {
    pub door: Door,
    pub kind: &'static Kind,
    pub namespace: String,
    pub fields: String,
    /// The last revision that it was through with.
    pub since: u64,
    /// No event is sent before this: what is behind a late event is late, too.
    pub due: clock::Instant,
    pub ends: clock::Instant,
    pub news: Arc<Notify>,
}

impl Watching {
    /// Returns the next line; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        let door = self.door.clone();
        loop {
            let news = self.news.notified(); // it hears of what comes while the log is read
            let Some(event) = door.0.store.next_change(self.kind, self.since) else {
                match tokio::time::timeout_at(self.ends, news).await {
                    Ok(()) => continue,
                    Err(_) => return None,
                }
            };
            let Some(verb) = self.verb(&event) else {
                self.since = event.revision;
                continue;
            };
            if door.chance(|f| f.lag) {
                self.due = self.due.max(event.at + door.delay());
            }
            tokio::time::sleep_until(self.due.min(self.ends)).await;
            if self.due >= self.ends {
                return None;
            }
            if door.chance(|f| f.cut) {
                door.tally_mut().cut += 1;
                let broken = door.0.rng.chance(0.5).then(|| Err(broken()));
                self.ends = clock::Instant::now();
                self.due = self.ends;
                return broken;
            }
            self.since = event.revision;
            let missed = door.0.bug == Some(Bug::MissedDeletion) && event.gone;
            if missed && door.0.rng.chance(0.1) {
                continue;
            }
            let mut line = format!(r#"{{"type":"{verb}","object":"#).into_bytes();
            line.extend_from_slice(&event.item.bytes);
            line.extend_from_slice(b"}\n");
            return Some(Ok(line.into()));
        }
    }

    /// Returns what the event is for this watch, if it is for it.
    fn verb(&self, event: &Event) -> Option<&'static str> {
        let object = &event.item.value;
        if !self.namespace.is_empty() && text(object, "metadata.namespace") != self.namespace {
            return None;
        }
        let was = event.was.as_ref().is_some_and(|old| selects(&self.fields, &old.value));
        let is = selects(&self.fields, object) && !event.gone;
        match (was, is) {
            (false, false) => None,
            (false, true) => Some("ADDED"),
            (true, true) => Some("MODIFIED"),
            (true, false) => Some("DELETED"),
        }
    }
}
