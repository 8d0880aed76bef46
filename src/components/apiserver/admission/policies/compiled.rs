//! Policies and bindings as they were read last: each is compiled once for each change of it.

use super::{BINDINGS, POLICIES};
use crate::state::State;
use crate::storage::object::Object;
use api::admission::{Criteria, Policy};
use api::meta;
use api::value::at;
use etcd::api::Revision;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

/// The compiled policies, and what the bindings match, by name. An object that has gone is
/// forgotten with the next one that is read.
#[derive(Default)]
pub(crate) struct Compiled {
    policies: Mutex<Kept<PolicyEntry>>,
    bindings: Mutex<Kept<Criteria>>,
}

/// What was made of objects, by their names, with the revision that it was made of.
type Kept<T> = HashMap<String, (Revision, Arc<T>)>;

/// A policy: what it matches, and its expressions, which are compiled when a request matches first.
pub(super) struct PolicyEntry {
    pub criteria: Criteria,
    object: Value,
    rules: OnceLock<Policy>,
}

impl PolicyEntry {
    /// Returns the compiled expressions.
    pub(super) fn rules(&self) -> &Policy {
        self.rules.get_or_init(|| Policy::read(&self.object))
    }
}

impl Compiled {
    /// Returns a policy as it was read last, or reads it.
    pub(super) fn policy(&self, state: &State, object: &Object) -> Arc<PolicyEntry> {
        read_once(&self.policies, state, POLICIES, object, |value| PolicyEntry {
            criteria: Criteria::read(at(value, "spec.matchConstraints")),
            object: value.clone(),
            rules: OnceLock::new(),
        })
    }

    /// Returns what a binding matches, as it was read last, or reads it.
    pub(super) fn binding(&self, state: &State, object: &Object) -> Arc<Criteria> {
        let read = |value: &Value| Criteria::read(at(value, "spec.matchResources"));
        read_once(&self.bindings, state, BINDINGS, object, read)
    }
}

/// Returns what `read` made of this revision of an object. It is called if the table has another
/// revision or none.
fn read_once<T>(
    all: &Mutex<Kept<T>>,
    state: &State,
    resource: &str,
    object: &Object,
    read: impl Fn(&Value) -> T,
) -> Arc<T> {
    let name = meta::name(&object.value);
    if let Some((revision, known)) = all.lock().get(name)
        && *revision == object.revision
    {
        return known.clone();
    }
    let made = Arc::new(read(&object.value));
    let mut all = all.lock();
    all.retain(|name, _| state.cache.get(resource, name).is_some());
    all.insert(name.to_string(), (object.revision, made.clone()));
    made
}
