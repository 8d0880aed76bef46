//! Stored objects and what happens to them, parsed and as the bytes that go out: encoded once, by whoever needs the bytes first.

use crate::api::value;
use crate::etcd::api::Revision;
use bytes::Bytes;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A stored object: parsed, and as the bytes that go out. `revision` is its resourceVersion.
pub struct Object {
    pub value: Value,
    pub bytes: Bytes,
    pub revision: Revision,
    /// What of `bytes` follows kind and apiVersion, behind a comma; 0 if they do not begin with these two.
    body: usize,
}

/// How many bytes of `{"kind":"Pod","apiVersion":"v1",…}` say what it is, up to the comma; 0 if there is none.
fn body_of(value: &Value, bytes: &[u8]) -> usize {
    let (kind, version) = (value::text(value, "kind"), value::text(value, "apiVersion"));
    let said = r#"{"kind":"","apiVersion":"""#.len() + kind.len() + version.len();
    let begins = bytes.starts_with(br#"{"kind":""#) && bytes.get(said) == Some(&b',');
    if begins && bytes[..said].ends_with(&[version.as_bytes(), b"\""].concat()) { said } else { 0 }
}

impl Object {
    /// From a stored value. `None` if it is no JSON object.
    pub fn read(stored: &[u8], revision: Revision) -> Option<Object> {
        let value: Value = serde_json::from_slice(stored).ok()?;
        value.is_object().then(|| Object::new(value, revision))
    }

    /// Sets the resourceVersion and encodes.
    pub fn new(mut value: Value, revision: Revision) -> Object {
        value::put(&mut value, "metadata.resourceVersion", revision.to_string());
        Object::encoded(value, revision)
    }

    /// One that is stored nowhere: it has no resourceVersion.
    pub fn unwritten(value: Value) -> Object {
        Object::encoded(value, 0)
    }

    /// One that is only passed on in here.
    pub fn unsent(value: Value, revision: Revision) -> Object {
        Object { value, bytes: Bytes::new(), revision, body: 0 }
    }

    fn encoded(value: Value, revision: Revision) -> Object {
        let bytes = Bytes::from(value.to_string());
        let body = body_of(&value, &bytes);
        Object { value, bytes, revision, body }
    }

    /// Its bytes without kind and apiVersion, to be read after an opening brace: as an item of a typed list. `None` if they have to be made.
    pub fn untyped(&self) -> Option<&[u8]> {
        (self.body > 0).then(|| &self.bytes[self.body + 1..])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Modified,
    Deleted,
}

/// What happened to one object at one revision.
pub struct Event {
    pub revision: Revision,
    /// The new state; after a delete the last one, with the deletion's revision.
    pub object: Arc<Object>,
    pub previous: Option<Arc<Object>>,
    pub deleted: bool,
    /// When this server heard of it.
    pub(super) at: Instant,
    frames: [OnceLock<Bytes>; 3],
    left: OnceLock<Arc<Object>>,
}

impl Event {
    pub(super) fn new(
        revision: Revision,
        object: Arc<Object>,
        previous: Option<Arc<Object>>,
        deleted: bool,
    ) -> Event {
        let at = Instant::now();
        Event { revision, object, previous, deleted, at, frames: Default::default(), left: OnceLock::new() }
    }

    /// The object that a watcher is told about: one that left a selector is shown as it was while it was in it.
    pub fn shown(&self, change: Change) -> &Arc<Object> {
        match (change, self.deleted, &self.previous) {
            (Change::Deleted, false, Some(previous)) => {
                self.left.get_or_init(|| Arc::new(Object::new(previous.value.clone(), self.revision)))
            }
            _ => &self.object,
        }
    }

    /// `{"type":"ADDED","object":{…}}` and a newline; made once.
    pub fn frame(&self, change: Change) -> Bytes {
        self.frames[change as usize].get_or_init(|| frame(change, &self.shown(change).bytes)).clone()
    }
}

pub fn frame(change: Change, object: &[u8]) -> Bytes {
    let head: &[u8] = match change {
        Change::Added => b"{\"type\":\"ADDED\",\"object\":",
        Change::Modified => b"{\"type\":\"MODIFIED\",\"object\":",
        Change::Deleted => b"{\"type\":\"DELETED\",\"object\":",
    };
    [head, object, b"}\n"].concat().into()
}
