//! What one write does and needs beside its own object.

use api::kinds::Kind;
use etcd::api::Revision;
use serde_json::Value;

/// What else a write does and needs: reservations of addresses and ports, quotas that it is charged
/// to, objects that must stay as they were judged, and whether it may use the reserve of a full
/// store.
#[derive(Clone, Default)]
pub(crate) struct Extra {
    /// Keys that must not exist, and are made with this value.
    pub reserve: Vec<(String, String)>,
    /// Keys that go.
    pub release: Vec<String>,
    /// Keys that are set to this value, whatever they were.
    pub put: Vec<(String, String)>,
    /// Keys that must be at this revision; 0: that must not exist.
    pub unchanged: Vec<(String, Revision)>,
    /// Objects that were judged together with this one, and must be as they were then. They are
    /// written or deleted with it.
    pub beside: Vec<Beside>,
    /// The write helps to make room, as the start of a deletion does, or no server works without
    /// it: it may use the reserve of a full store, and the memory for values does not refuse it.
    pub repairs: bool,
    /// A component or an administrator changes an object that exists: it may use the last part of
    /// the memory for values ([`super::room::Values`]).
    pub of_component: bool,
}

/// An object that another one's write changes, in the same transaction: a quota that is charged, or
/// the Endpoints of a Service that is deleted.
#[derive(Clone)]
pub(crate) struct Beside {
    pub kind: &'static Kind,
    pub object: Value,
    pub expected: Revision,
    /// True if the object is deleted.
    pub goes: bool,
}

impl Extra {
    /// Adds what another part of the server asks for.
    pub(crate) fn join(&mut self, other: Extra) {
        self.reserve.extend(other.reserve);
        self.release.extend(other.release);
        self.put.extend(other.put);
        self.unchanged.extend(other.unchanged);
        self.beside.extend(other.beside);
        self.repairs |= other.repairs;
        self.of_component |= other.of_component;
    }
}
