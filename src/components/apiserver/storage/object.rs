//! Stored objects and what happens to them, parsed and as the bytes that go out: encoded once, for
//! the first reader that needs the bytes.

use crate::storage::holds::Holds;
use crate::storage::keys::namespace_and_name;
use crate::storage::room::values_cost;
use api::{gojson, kinds, meta, schema, value};
use bytes::Bytes;
use clock::Instant;
use etcd::api::Revision;
use serde_json::Value;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

/// A stored object: parsed, and as the bytes that go out. `revision` is its resourceVersion.
pub(crate) struct Object {
    pub value: Value,
    pub bytes: Bytes,
    pub revision: Revision,
    /// Where in `bytes` the comma behind kind and apiVersion stands; 0 if they do not begin with
    /// these two.
    body: usize,
    /// Bytes of the value that the store has; 0 if the object was not read from it. They are fewer
    /// than `bytes`, where `<`, `>` and `&` are escaped.
    pub(crate) stored: usize,
    /// Bytes of memory that `value` takes beside its texts, about, and that escapes take in `bytes`
    /// ([`super::room::Values`]); 0 if it was not read from the store.
    pub(crate) values: usize,
    /// Counts the watches that begin and have not sent this object yet.
    pub(crate) holds: Holds,
}

/// Returns where the comma behind kind and apiVersion stands in
/// `{"kind":"Pod","apiVersion":"v1",…}`; 0 if there is none.
fn body_of(value: &Value, bytes: &[u8]) -> usize {
    let (kind, version) = (value::text(value, "kind"), value::text(value, "apiVersion"));
    let comma = r#"{"kind":"","apiVersion":"""#.len() + kind.len() + version.len();
    let begins = bytes.starts_with(br#"{"kind":""#) && bytes.get(comma) == Some(&b',');
    if begins && bytes[..comma].ends_with(&[version.as_bytes(), b"\""].concat()) { comma } else { 0 }
}

impl Object {
    /// Reads a stored value. `None` if it is no JSON object.
    pub(crate) fn read(stored: &[u8], revision: Revision) -> Option<Object> {
        let value: Value = serde_json::from_slice(stored).ok()?;
        value.is_object().then(|| Object::new(value, revision))
    }

    /// Reads the value that the store has for `key` (`namespace/name` or `name`) of the resource at
    /// `place` (`pods`, `example.com/tabs`). A Go server decodes it into the kind's type; so must
    /// this one, or clients that decode it could not read the list that it stands in.
    ///
    /// # Errors
    /// Why it cannot be decoded: it is no JSON object, a field has the wrong type, or it is another
    /// object than its key says.
    pub(crate) fn decode(
        place: &str,
        key: &str,
        stored: &[u8],
        revision: Revision,
    ) -> Result<Object, String> {
        let mut value: Value = serde_json::from_slice(stored).map_err(|e| e.to_string())?;
        if !value.is_object() {
            return Err("couldn't get version/kind; json parse error: the value is not an object".into());
        }
        for (field, text) in
            [("Kind", value::text(&value, "kind")), ("apiVersion", value::text(&value, "apiVersion"))]
        {
            if text.is_empty() {
                return Err(format!("Object '{field}' is missing"));
            }
        }
        let mut checked = value.clone();
        match kinds::stored(place) {
            Some(kind) => {
                let found = value::text(&value, "kind");
                if found != kind.kind {
                    return Err(format!("unable to decode {found} into {}", kind.kind));
                }
                schema::conform(kind, &mut checked)?;
                // Earlier versions of this program stored zeros that Go leaves out.
                kind.drop_zeros(&mut value);
            }
            None => {
                let mut meta = checked.get_mut("metadata").map(Value::take).unwrap_or_default();
                schema::conform_named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", &mut meta)?;
            }
        }
        let meta = (meta::namespace(&value), meta::name(&value));
        if meta != namespace_and_name(key) {
            return Err(format!("the stored object is {}/{}, not {key}", meta.0, meta.1));
        }
        let values = values_cost(place, &value, stored);
        Ok(Object { stored: stored.len(), values, ..Object::new(value, revision) })
    }

    /// Sets the resourceVersion and encodes.
    pub(crate) fn new(mut value: Value, revision: Revision) -> Object {
        value::put(&mut value, "metadata.resourceVersion", revision.to_string());
        Object::encoded(value, revision)
    }

    /// Makes an object that is stored nowhere, as the answer of a dry run: it has no
    /// resourceVersion.
    pub(crate) fn unwritten(value: Value) -> Object {
        Object::encoded(value, 0)
    }

    /// Makes an object that no client is sent, as the last state of one that is about to be erased:
    /// it has no bytes.
    pub(crate) fn unsent(value: Value, revision: Revision) -> Object {
        Object {
            value,
            bytes: Bytes::new(),
            revision,
            body: 0,
            stored: 0,
            values: 0,
            holds: Holds::default(),
        }
    }

    /// Parses an object that was encoded here. `None` if the bytes are no JSON.
    fn reread(bytes: Bytes, revision: Revision) -> Option<Object> {
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        let body = body_of(&value, &bytes);
        Some(Object { value, bytes, revision, body, stored: 0, values: 0, holds: Holds::default() })
    }

    fn encoded(value: Value, revision: Revision) -> Object {
        let bytes = Bytes::from(gojson::to_vec(&value));
        let body = body_of(&value, &bytes);
        Object { value, bytes, revision, body, stored: 0, values: 0, holds: Holds::default() }
    }

    /// Returns the object's bytes without kind and apiVersion, which stand behind an opening brace
    /// in an item of a typed list. `None` if `bytes` do not begin with these two.
    pub(crate) fn untyped(&self) -> Option<&[u8]> {
        (self.body > 0).then(|| &self.bytes[self.body + 1..])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// The change of one object at one revision.
pub(crate) struct Event {
    pub revision: Revision,
    /// The new state; after a delete the last one, with the deletion's revision.
    pub object: Arc<Object>,
    pub previous: Option<Arc<Object>>,
    pub deleted: bool,
    /// When this server heard of it.
    pub(crate) at: Instant,
    /// The lines of a watch, one for each [`Change`].
    frames: [OnceLock<Bytes>; 3],
    /// The previous state, with the revision of this event, for watchers whose selector the object
    /// no longer matches.
    left: OnceLock<Arc<Object>>,
    /// How many lines and answers hold it until it is sent ([`super::watch_buffers`]).
    pub(crate) waiting: AtomicUsize,
}

impl Event {
    pub(crate) fn new(
        revision: Revision,
        object: Arc<Object>,
        previous: Option<Arc<Object>>,
        deleted: bool,
    ) -> Event {
        let at = Instant::now();
        Event {
            revision,
            object,
            previous,
            deleted,
            at,
            frames: Default::default(),
            left: OnceLock::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Bytes of the object, encoded, or of what it was before if those are more. Both are in memory
    /// while the event is.
    pub(crate) fn size(&self) -> usize {
        let before = self.previous.as_ref().map_or(0, |previous| previous.bytes.len());
        self.object.bytes.len().max(before)
    }

    /// Returns the object that a watcher is sent: one that left a selector is shown as it was while
    /// it was in it.
    pub(crate) fn shown(&self, change: Change) -> &Arc<Object> {
        match (change, self.deleted, &self.previous) {
            (Change::Deleted, false, Some(previous)) => {
                self.left.get_or_init(|| Arc::new(Object::new(previous.value.clone(), self.revision)))
            }
            _ => &self.object,
        }
    }

    /// `{"type":"ADDED","object":{…}}` and a newline; made once.
    pub(crate) fn frame(&self, change: Change) -> Bytes {
        self.frames[change as usize].get_or_init(|| frame(change, &self.shown(change).bytes)).clone()
    }
}

/// An event as the cache keeps it for watchers that come later: encoded. Parsed, an object takes
/// about ten times as much memory. The bytes are those of the objects themselves, so what is still
/// current takes none.
pub(crate) struct Kept {
    pub revision: Revision,
    namespace: Box<str>,
    name: Box<str>,
    object: Bytes,
    previous: Option<(Revision, Bytes)>,
    deleted: bool,
    pub(crate) at: Instant,
    pub(crate) holds: Holds,
}

impl Kept {
    pub(crate) fn new(event: &Event) -> Kept {
        let object = &event.object;
        Kept {
            revision: event.revision,
            namespace: meta::namespace(&object.value).into(),
            name: meta::name(&object.value).into(),
            object: object.bytes.clone(),
            previous: event.previous.as_ref().map(|p| (p.revision, p.bytes.clone())),
            deleted: event.deleted,
            at: event.at,
            holds: Holds::default(),
        }
    }

    /// Returns namespace and name of the object.
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// As [`Event::size`].
    pub(crate) fn size(&self) -> usize {
        self.object.len().max(self.previous.as_ref().map_or(0, |(_, bytes)| bytes.len()))
    }

    /// Bytes that are parsed to make the event again.
    pub(crate) fn to_parse(&self) -> usize {
        self.object.len() + self.previous.as_ref().map_or(0, |(_, bytes)| bytes.len())
    }

    /// Makes the event again, by parsing its objects. `None` if one cannot be parsed, which would
    /// be a fault of this program: they were encoded here.
    pub(crate) fn event(&self) -> Option<Event> {
        let object = Object::reread(self.object.clone(), self.revision)?;
        let previous = match &self.previous {
            Some((revision, bytes)) => Some(Arc::new(Object::reread(bytes.clone(), *revision)?)),
            None => None,
        };
        Some(Event { at: self.at, ..Event::new(self.revision, Arc::new(object), previous, self.deleted) })
    }
}

pub(crate) fn frame(change: Change, object: &[u8]) -> Bytes {
    let head: &[u8] = match change {
        Change::Added => b"{\"type\":\"ADDED\",\"object\":",
        Change::Modified => b"{\"type\":\"MODIFIED\",\"object\":",
        Change::Deleted => b"{\"type\":\"DELETED\",\"object\":",
    };
    [head, object, b"}\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_kept_event_is_the_same_when_it_is_parsed_again() {
        let pod = |labels: Value, revision| {
            let meta = json!({"name": "x", "namespace": "d", "uid": "u", "labels": labels});
            let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": {"priority": 7, "share": 0.5}});
            Arc::new(Object::new(pod, revision))
        };
        let (before, after) = (pod(json!({"app": "a"}), 6), pod(json!({}), 7));
        for (previous, deleted) in [(Some(before.clone()), false), (None, false), (Some(before), true)] {
            let event = Event::new(7, after.clone(), previous, deleted);
            let kept = Kept::new(&event);
            assert_eq!((kept.key(), kept.revision), (("d", "x"), 7));
            let again = kept.event().unwrap();
            let parts = |of: &Event| {
                let previous = of.previous.as_ref().map(|p| (p.value.clone(), p.revision));
                let frames =
                    [Change::Added, Change::Modified, Change::Deleted].map(|change| of.frame(change));
                (of.revision, of.object.value.clone(), of.object.body, previous, of.deleted, of.at, frames)
            };
            assert_eq!(parts(&again), parts(&event));
            assert_eq!(again.object.bytes.as_ptr(), after.bytes.as_ptr(), "the bytes are there once");
        }
    }

    #[test]
    fn a_stored_value_is_decoded_as_its_kind_or_refused() {
        let pod = |rest: &str| {
            format!(r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"x","namespace":"d"}}{rest}}}"#)
        };
        let decode = |text: &str| Object::decode("pods", "d/x", text.as_bytes(), 7).map(|o| o.revision);
        assert_eq!(decode(&pod("")), Ok(7));
        assert_eq!(decode(&pod(r#","spec":{"nodeName":"n"}"#)), Ok(7));
        for bad in [
            "",
            "k8s\0\u{1}pod",
            "5",
            "[]",
            "{}",
            "{\"metadata\":5}",
            &pod(r#","spec":5"#),
            &pod(r#","spec":{"containers":{}}"#),
            &pod(r#","metadata":{"name":"other","namespace":"d"}"#),
            &pod(r#","kind":"Node""#),
            &pod("")[..20],
        ] {
            assert!(decode(bad).is_err(), "{bad}");
        }
        let custom = |meta: &str| {
            let text =
                format!(r#"{{"kind":"Tab","apiVersion":"example.com/v1","metadata":{meta},"spec":5}}"#);
            Object::decode("example.com/tabs", "d/x", text.as_bytes(), 7).is_ok()
        };
        assert!(custom(r#"{"name":"x","namespace":"d"}"#));
        assert!(!custom(r#"{"name":"x","namespace":"d","labels":5}"#));
        assert!(!custom("5"));
    }
}
