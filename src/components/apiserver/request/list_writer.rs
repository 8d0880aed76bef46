//! Answers with lists, written object by object.

use crate::flowcontrol::compute::Pace;
use crate::request::http::{Answer, json_bytes, pieces};
use crate::request::negotiate::{Form, row, versioned};
use crate::storage::object::Object;
use api::kinds::Kind;
use api::{Status, gojson, table, value};
use bytes::{BufMut, BytesMut};
use clock::Timestamp;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// Bytes of a row or of an object's metadata, for a first guess.
const ROW: usize = 512;

/// The metadata of a list.
pub(crate) struct ListMeta {
    /// 0: a list of computed objects, which has none.
    pub revision: i64,
    /// The `continue` token; empty on the last page.
    pub next: String,
    /// Objects on the pages that follow, if they are counted.
    pub remaining: Option<i64>,
}

impl ListMeta {
    fn to_value(&self) -> Value {
        let mut meta = Map::new();
        if self.revision > 0 {
            meta.insert("resourceVersion".into(), self.revision.to_string().into());
        }
        if !self.next.is_empty() {
            meta.insert("continue".into(), self.next.clone().into());
        }
        if let Some(n) = self.remaining {
            meta.insert("remainingItemCount".into(), n.into());
        }
        Value::Object(meta)
    }
}

/// Writes an object of a list of a kind of the table. The items of a typed list are of its kind
/// without saying so; only those of custom kinds say it.
fn put_item(kind: &Kind, object: &Object, out: &mut BytesMut) {
    let shown = versioned(kind, &object.value);
    match (&shown, object.untyped()) {
        (Cow::Borrowed(_), Some(body)) => {
            out.put_u8(b'{');
            out.put_slice(body);
        }
        _ => {
            let mut value = shown.into_owned();
            value::remove(&mut value, "kind");
            value::remove(&mut value, "apiVersion");
            out.put_slice(&gojson::to_vec(&value));
        }
    }
}

/// Bytes that later defaults may add to a list. Its memory is reserved by what is stored, and
/// defaults of one megabyte make gigabytes of some thousand small objects.
const DEFAULTS_MAX: usize = 32 << 20;

/// Returns the 413 for a list without a limit that is full of defaults. It must not end early: its
/// client may not look for a `continue` token.
pub(crate) fn too_many_defaults(kind: &Kind) -> Status {
    let message = format!(
        "Request entity too large: the defaults of the schema of {} add more than {DEFAULTS_MAX} bytes to the objects of the list; list it in pages (limit), or make the defaults smaller",
        kind.qualified()
    );
    Status::new(413, "RequestEntityTooLarge", message)
}

/// Returns about how many bytes a list of these objects has at most, as they are stored.
pub(crate) fn estimate(form: Form, objects: &[Arc<Object>]) -> usize {
    let item = if form == Form::Object { 1 } else { ROW };
    objects.iter().map(|object| object.bytes.len() + item).sum()
}

/// A list that is written object by object. The objects' own bytes are joined, nothing is encoded
/// again; rows and metadata are written one by one. Between the items of a long list the thread's
/// other tasks run.
pub(crate) struct ListWriter<'a> {
    kind: &'a Kind,
    form: Form,
    now: Timestamp,
    items: BytesMut,
    pace: Pace,
    /// Bytes that later defaults have added, about.
    added: usize,
    has_defaults: bool,
}

impl<'a> ListWriter<'a> {
    /// Makes a writer. `room`: bytes that are expected.
    pub(crate) fn new(kind: &'a Kind, form: Form, room: usize) -> ListWriter<'a> {
        let items = BytesMut::with_capacity(room);
        let (now, pace) = (table::now(), Pace::default());
        ListWriter { kind, form, now, items, pace, added: 0, has_defaults: true }
    }

    /// Makes a writer with room for these objects.
    pub(crate) fn with_room(kind: &'a Kind, form: Form, objects: &[Arc<Object>]) -> ListWriter<'a> {
        let room = match form {
            Form::Object => estimate(form, objects) + 3,
            _ => objects.len() * ROW,
        };
        ListWriter::new(kind, form, room)
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> usize {
        self.items.len()
    }

    /// Bytes that later defaults have added to the objects so far, about.
    pub(crate) fn added(&self) -> usize {
        self.added
    }

    /// Returns whether later defaults have added as much as a list may have of them.
    pub(crate) fn is_full_of_defaults(&self) -> bool {
        self.added >= DEFAULTS_MAX
    }

    /// Shows the following objects with the defaults alone that they are stored with.
    pub(crate) fn leave_out_defaults(&mut self) {
        self.has_defaults = false;
    }

    /// Writes an object behind those before it.
    pub(crate) async fn put(&mut self, object: &Object) {
        let (kind, now) = (self.kind, self.now);
        if !self.items.is_empty() {
            self.items.put_u8(b',');
        }
        let mut added = 0;
        match self.form {
            Form::Partial(version) => {
                self.items.put_slice(table::partial(&object.value, version).to_string().as_bytes());
            }
            _ if kind.custom.is_some() => added = self.put_custom(object),
            Form::Object => put_item(kind, object, &mut self.items),
            Form::Table(_, include) => {
                self.items.put_slice(row(kind, &object.value, include, now).to_string().as_bytes());
            }
        }
        self.added += added;
        self.pace.step(object.bytes.len() + added).await;
    }

    /// Writes an object of a custom kind, or its row. Returns about how many bytes later defaults
    /// added.
    fn put_custom(&mut self, object: &Object) -> usize {
        let (shown, added) = match self.has_defaults {
            true => self.kind.from_stored_and_added(&object.value),
            false => (self.kind.from_stored_without_defaults(&object.value), 0),
        };
        match (self.form, &shown) {
            (Form::Table(_, include), shown) => {
                let row = table::row(table::printing(self.kind), shown, include, self.now);
                self.items.put_slice(row.to_string().as_bytes());
            }
            (_, Cow::Borrowed(_)) => self.items.put_slice(&object.bytes),
            (_, Cow::Owned(value)) => self.items.put_slice(&gojson::to_vec(value)),
        }
        added
    }

    /// Ends the list, and returns the answer with it.
    pub(crate) fn finish(mut self, meta: &ListMeta) -> Answer {
        let (kind, meta) = (self.kind, meta.to_value());
        let head = match self.form {
            Form::Object => {
                let (list, version) = (kind.list_kind(), kind.api_version());
                format!(r#"{{"kind":"{list}","apiVersion":"{version}","metadata":{meta},"items":["#)
            }
            Form::Table(version, _) => {
                let columns = table::definitions(table::printing(kind));
                format!(
                    r#"{{"kind":"Table","apiVersion":"{version}","metadata":{meta},"columnDefinitions":{columns},"rows":["#
                )
            }
            Form::Partial(version) => {
                format!(
                    r#"{{"kind":"PartialObjectMetadataList","apiVersion":"{version}","metadata":{meta},"items":["#
                )
            }
        };
        self.items.put_slice(b"]}\n");
        json_bytes(200, "").map(|_| pieces([head.into(), self.items.freeze()]))
    }
}

/// Answers with a list of these objects.
pub(crate) async fn many(kind: &Kind, form: Form, objects: &[Arc<Object>], meta: &ListMeta) -> Answer {
    let mut list = ListWriter::with_room(kind, form, objects);
    for object in objects {
        list.put(object).await;
    }
    list.finish(meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::table::Include;
    use serde_json::json;

    /// As in the lists of metrics-server.
    #[test]
    fn a_list_without_a_revision_names_none() {
        let meta = ListMeta { revision: 0, next: String::new(), remaining: None };
        assert_eq!(meta.to_value(), json!({}));
    }

    /// The thread serves others while a long list is encoded, in each of its forms.
    #[tokio::test]
    async fn a_long_list_holds_up_nothing_else() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let kind = api::kinds::find("", "v1", "ConfigMap").unwrap();
        let value = json!({"kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": "x", "namespace": "d"}, "data": {"k": "v".repeat(1000)}});
        let one = Arc::new(Object::new(value, 7));
        let objects = vec![one.clone(); 10_000];
        let meta = ListMeta { revision: 9, next: "more".into(), remaining: Some(3) };
        let include = Include::Metadata;
        for form in [Form::Object, Form::Table("meta.k8s.io/v1", include), Form::Partial("meta.k8s.io/v1")] {
            static OTHERS: AtomicUsize = AtomicUsize::new(0);
            OTHERS.store(0, Ordering::Relaxed);
            let other = tokio::spawn(async {
                loop {
                    OTHERS.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            });
            let answer = many(kind, form, &objects, &meta).await;
            // Ten megabytes, and a turn for the other task every hundred kilobytes at least.
            let turns = OTHERS.load(Ordering::Relaxed);
            assert!(turns > 100, "{form:?}: the other task had {turns} turns");
            other.abort();
            let _ = other.await;
            let bytes = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
            let list: Value = serde_json::from_slice(&bytes).unwrap();
            let items = if matches!(form, Form::Table(..)) { "rows" } else { "items" };
            assert_eq!(list[items].as_array().map(Vec::len), Some(10_000), "{form:?}");
            let written = json!({"resourceVersion": "9", "continue": "more", "remainingItemCount": 3});
            assert_eq!(list["metadata"], written, "{form:?}");
            assert_eq!(list["columnDefinitions"].is_array(), items == "rows");
        }
    }
}
