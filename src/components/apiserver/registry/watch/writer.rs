//! The lines of a watch: each event encoded in the form of the client, and several of them in one
//! write.

use crate::request::negotiate::{self, Form};
use crate::storage::object::{Change, Event, frame};
use crate::storage::ring::EventBatch;
use crate::storage::watch_buffers::WatchBuffers;
use api::kinds::KindRef;
use api::{gojson, table};
use bytes::Bytes;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of events that are collected and sent to the client in one write.
pub(super) const PIECE: usize = 64 << 10;
/// Bytes of one revision's lines that are still sent in one piece, so that the client reads them
/// together: a controller that sees half of what a transaction did acts on a state that never was.
pub(super) const REVISION_PIECE: usize = 1 << 20;

/// Turns events into lines.
pub(super) struct Writer {
    pub(super) kind: KindRef,
    pub(super) form: Form,
    /// The first Table of a watch names its columns.
    pub(super) first: bool,
    /// Lines that wait to be sent.
    pub(super) out: VecDeque<Line>,
    /// Counts what waits in `out`, and what is on its way to the client.
    pub(super) unsent: Arc<WatchBuffers>,
}

pub(super) struct Line {
    pub(super) bytes: Bytes,
    /// More of the same revision follows.
    pub(super) goes_on: bool,
}

impl Writer {
    pub(super) fn new(kind: KindRef, form: Form, unsent: Arc<WatchBuffers>) -> Writer {
        Writer { kind, form, first: true, out: VecDeque::new(), unsent }
    }

    /// Encodes what one revision did: its lines go out together.
    pub(super) fn revision(&mut self, batch: &EventBatch) {
        batch.iter().for_each(|(change, event)| {
            self.event(*change, event);
            self.out.back_mut().into_iter().for_each(|line| line.goes_on = true);
        });
        self.out.back_mut().into_iter().for_each(|line| line.goes_on = false);
    }

    /// Encodes one event. The line of an object in its stored form is made once for all watchers.
    pub(super) fn event(&mut self, change: Change, event: &Arc<Event>) {
        let shown = event.shown(change);
        let line = if self.form == Form::Object && self.is_as_stored(&shown.value) {
            self.unsent.of_event(event.frame(change), event)
        } else {
            let line = self.line(change, &shown.value);
            self.unsent.of_one(line)
        };
        self.add(line);
    }

    pub(super) fn add(&mut self, bytes: Bytes) {
        self.out.push_back(Line { bytes, goes_on: false });
    }

    /// Returns whether the object is stored in the form of this version.
    pub(super) fn is_as_stored(&self, value: &Value) -> bool {
        matches!(negotiate::versioned(&self.kind, value), Cow::Borrowed(_))
    }

    /// Makes the line of an object in the client's form, for this watcher alone.
    pub(super) fn line(&mut self, change: Change, value: &Value) -> Bytes {
        let mut object = negotiate::one_value(&self.kind, self.form, value);
        if matches!(self.form, Form::Table(..)) && !std::mem::take(&mut self.first) {
            object["columnDefinitions"] = Value::Null;
        }
        frame(change, &gojson::to_vec(&object))
    }

    /// Bytes that wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.out.iter().map(|line| line.bytes.len()).sum()
    }

    /// Takes what waits to be sent, as much as goes into one piece.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let Line { bytes: first, mut goes_on } = self.out.pop_front()?;
        let mut piece = Vec::new();
        while let Some(line) = self.out.front()
            && first.len().max(piece.len()) + line.bytes.len() <= if goes_on { REVISION_PIECE } else { PIECE }
        {
            if piece.is_empty() {
                piece.extend_from_slice(&first);
            }
            piece.extend_from_slice(&line.bytes);
            goes_on = line.goes_on;
            self.out.pop_front();
        }
        Some(if piece.is_empty() { first } else { self.unsent.of_one(piece) })
    }

    /// Adds a bookmark. `initial_end` marks the end of the objects that there were.
    pub(super) fn bookmark(&mut self, revision: i64, initial_end: bool) {
        let mut meta = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.form {
            Form::Table(version, _) => json!({"kind": "Table", "apiVersion": version, "metadata": meta,
                "columnDefinitions": table::definitions(table::printing(&self.kind)), "rows": []}),
            Form::Partial(version) => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": meta})
            }
            Form::Object => {
                json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": meta})
            }
        };
        self.add(format!("{}\n", json!({"type": "BOOKMARK", "object": object})).into());
    }
}
