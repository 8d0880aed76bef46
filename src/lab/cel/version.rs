//! One version of an object, as `history` tells it.

use super::value;
use bytes::Bytes;
use cel::Value;
use std::sync::OnceLock;

/// An object as one write left it. It is kept as the store's own bytes, since few versions are ever
/// asked for: as a value of expressions each takes ten times the room.
#[derive(Debug, Default)]
pub(crate) struct Version {
    pub revision: i64,
    pub at: Option<jiff::Timestamp>,
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub verb: &'static str,
    /// The user who wrote it; empty where no record shows that.
    pub(crate) user: String,
    /// The object's JSON.
    pub body: Bytes,
    /// Which version it is of all that the recorder has taken, from 1.
    pub number: u64,
    seen: OnceLock<Value>,
}

impl Version {
    /// A version without a writer and a number: [`Version::by`] and [`Version::numbered`] add
    /// these. `verb` is `ADDED`, `MODIFIED` or `DELETED`, `body` the JSON of the object.
    pub(crate) fn new(
        revision: i64,
        at: Option<jiff::Timestamp>,
        verb: &'static str,
        body: Bytes,
    ) -> Version {
        Version { revision, at, verb, body, ..Version::default() }
    }

    /// Returns a copy that this user wrote.
    pub(crate) fn by(&self, user: &str) -> Version {
        let body = self.body.clone();
        let version = Version::new(self.revision, self.at, self.verb, body);
        Version { user: user.to_string(), number: self.number, ..version }
    }

    /// Returns a copy under another number.
    pub(crate) fn numbered(&self, number: u64) -> Version {
        Version { number, ..self.by(&self.user) }
    }

    /// What expressions see. The object of a version that is no JSON is `null`.
    pub(crate) fn value(&self) -> &Value {
        self.seen.get_or_init(|| self.value_as(self.verb, true))
    }

    /// True if an expression has seen it: then its value is kept.
    pub(crate) fn is_seen(&self) -> bool {
        self.seen.get().is_some()
    }

    /// What expressions see of the version under another verb. It is not kept; without the object
    /// if it is not to be `whole`.
    pub(crate) fn value_as(&self, verb: &str, whole: bool) -> Value {
        let object = match (whole, self.seen.get()) {
            (false, _) => Value::Null,
            (true, Some(seen)) => value::field(seen, "object").cloned().unwrap_or(Value::Null),
            (true, None) => {
                serde_json::from_slice(&self.body).map_or(Value::Null, |json| value::of_json(&json))
            }
        };
        value::map([
            ("revision", Value::Int(self.revision)),
            ("at", self.at.map_or(Value::Null, value::time)),
            ("verb", value::text(verb)),
            ("user", value::text(&self.user)),
            ("object", object),
        ])
    }
}
