//! All kinds that are served at one moment: those of the table, and those that
//! CustomResourceDefinitions add.

use super::entry::Kind;
use super::table::{all, resource};
use crate::custom;
use crate::meta;
use crate::value::at;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// One kind, of the table or of a definition that may go while its last request is still answered.
#[derive(Clone)]
pub enum KindRef {
    /// A kind that is built in.
    Table(&'static Kind),
    /// A kind of a CustomResourceDefinition.
    Custom(Arc<Kind>),
}

impl Deref for KindRef {
    type Target = Kind;
    fn deref(&self) -> &Kind {
        match self {
            KindRef::Table(kind) => kind,
            KindRef::Custom(kind) => kind,
        }
    }
}

/// The kinds of one definition, and what they were made from.
#[derive(Clone)]
struct Added {
    /// The uid and the generation of the definition.
    of: (String, i64),
    accepted: Value,
    established: bool,
    /// The kinds, one for each served version.
    kinds: Vec<Arc<Kind>>,
}

impl Added {
    fn of(definition: &Value) -> Added {
        Added {
            of: (meta::uid(definition).to_string(), meta::generation(definition)),
            accepted: at(definition, "status.acceptedNames").clone(),
            established: custom::has_condition(definition, "Established"),
            kinds: vec![],
        }
    }
}

/// Encoded documents about kinds, each made when it is first asked for and kept as long as the
/// kinds are.
#[derive(Clone, Default)]
pub struct Documents(Arc<Mutex<HashMap<String, Arc<OnceLock<Bytes>>>>>);

impl Documents {
    /// Returns the document of this name. Requests that come while it is made wait for it: it is
    /// work for one.
    pub fn get(&self, name: &str, make: impl FnOnce() -> Bytes) -> Bytes {
        let known = {
            let mut all = self.0.lock();
            all.entry(name.to_string()).or_default().clone()
        };
        known.get_or_init(make).clone()
    }
}

/// What an API server serves. It never changes: another definition makes another catalog.
#[derive(Clone, Default)]
pub struct Catalog {
    /// Discovery and OpenAPI documents of these kinds.
    pub documents: Documents,
    added: Vec<Added>,
    /// The kinds of all definitions: groups by name, versions with the most stable first, kinds by
    /// plural.
    custom: Vec<Arc<Kind>>,
}

impl Catalog {
    /// Returns the catalog of these definitions. What is as it was in `before` is taken over and
    /// not compiled again.
    pub fn of<'a>(definitions: impl Iterator<Item = &'a Value>, before: &Catalog) -> Catalog {
        let mut added = vec![];
        for definition in definitions {
            let mut this = Added::of(definition);
            let same = |a: &&Added| {
                a.of == this.of && a.accepted == this.accepted && a.established == this.established
            };
            this.kinds = match before.added.iter().find(same) {
                Some(known) => known.kinds.clone(),
                None => custom::kinds_of(definition).into_iter().map(Arc::new).collect(),
            };
            added.push(this);
        }
        let mut custom: Vec<Arc<Kind>> = added.iter().flat_map(|a| a.kinds.iter().cloned()).collect();
        custom.sort_by_cached_key(|k| (k.group, custom::version_order(k.version), k.plural));
        Catalog { documents: Documents::default(), added, custom }
    }

    /// Places whose kinds are not in `after` as they are here.
    pub fn changed(&self, after: &Catalog) -> Vec<String> {
        self.custom.iter().filter(|k| !after.has(k)).map(|k| k.place().to_string()).collect()
    }

    /// Returns whether this very version of the kind is served.
    pub fn serves(&self, kind: &KindRef) -> bool {
        match kind {
            KindRef::Table(_) => true,
            KindRef::Custom(kind) => self.has(kind),
        }
    }

    fn has(&self, kind: &Arc<Kind>) -> bool {
        self.custom.iter().any(|k| Arc::ptr_eq(k, kind))
    }

    /// Returns every kind; of a group's kinds in one version all stand together.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        all().iter().chain(self.custom.iter().map(|k| &**k))
    }

    /// Finds a kind by its group (empty for core), version and plural resource name.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<KindRef> {
        if let Some(kind) = resource(group, version, plural) {
            return Some(KindRef::Table(kind));
        }
        let is = |k: &&Arc<Kind>| k.group == group && k.version == version && k.plural == plural;
        self.custom.iter().find(is).cloned().map(KindRef::Custom)
    }

    /// Returns the group versions in discovery order, each with its kinds.
    pub fn group_versions(&self) -> Vec<(&'static str, &'static str, Vec<&Kind>)> {
        let mut out: Vec<(&str, &str, Vec<&Kind>)> = Vec::new();
        for kind in self.iter() {
            match out.iter_mut().find(|(g, v, _)| *g == kind.group && *v == kind.version) {
                Some((_, _, kinds)) => kinds.push(kind),
                None => out.push((kind.group, kind.version, vec![kind])),
            }
        }
        out
    }

    /// Returns what the documents of a group are made of; empty for a group of the table alone.
    pub(crate) fn stamp(&self, group: &str) -> String {
        let of = |a: &&Added| a.kinds.iter().any(|k| k.group == group);
        let all: Vec<String> =
            self.added.iter().filter(of).map(|a| format!("{}@{}", a.of.0, a.of.1)).collect();
        all.join(",")
    }
}
