//! # Custom resources: nouns that a cluster learns while it runs
//!
//! ## In Kubernetes
//! A CustomResourceDefinition names a kind and says by an OpenAPI schema what its objects look
//! like. The apiextensions part of the API server then serves them as if they had always been
//! there: it prunes fields that the schema does not know, fills in defaults, and validates by the
//! schema and by rules written in CEL.
//! ## How this one works
//! [`definition`] is the kind CustomResourceDefinition itself: what it may say, and which names it
//! gets. From a definition that is established, [`kinds_of`] makes entries of the same shape as
//! those of the table of kinds, one a served version; behind each stands a [`Custom`]. Its
//! [`schema`] is read once and then works on plain values: [`numbers`], [`prune`] and [`fill`]
//! before a write, [`check`] and [`rules`] to judge it, [`columns`] to print it, [`publish`] to
//! describe it to clients. A stored object keeps the version it was written in; another version
//! shows it under its own name (conversion `None`).
//! ## Left out
//! Conversion webhooks (refused by name). Types in a CEL rule are found when it runs, not when it
//! is written, and its cost is bounded then ([`cost`]). The CEL libraries for URLs, sets, semantic
//! versions and named formats (refused by name). Messages of `anyOf` and `oneOf` do not list what
//! the alternatives miss.
//! ## Read next
//! `apiserver/registry/crd.rs`, which establishes definitions and empties those that go;
//! `kinds/catalog.rs`.

mod addresses;
mod check;
pub(crate) mod columns;
mod cost;
mod embedded;
mod fill;
mod formats;
mod lists;
mod mail;
mod numbers;
mod prune;
mod publish;
pub(crate) mod rules;
mod schema;
pub(crate) mod structural;
mod terms;

pub use crate::kinds::apiextensions::custom_resource_definition as definition;
pub use columns::{Column, name as name_cell};
pub use schema::{ListType, Schema};

use super::errors::Errors;
use super::kinds::entry::{self, Kind, ScalePaths};
use super::kinds::names::{intern, intern_all};
use super::path::{Path, UnknownFields};
use super::schema as types;
use super::value::{self, at, flag, list, text};
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// What a definition says about one of its versions.
pub struct Custom {
    /// Where the objects rest in the store: `stable.example.com/crontabs`.
    pub place: String,
    pub list_kind: String,
    pub columns: Vec<Column>,
    /// Fields that a field selector may ask for, with their paths.
    pub fields: Vec<(String, String)>,
    /// What clients are told about the schema, as OpenAPI.
    pub published: Value,
    pub schema: Arc<Schema>,
    /// The version in which objects are stored, as `group/version`.
    stored: String,
}

impl Custom {
    /// Takes away the fields that the schema does not know, and returns them. Numbers are written
    /// as a Go server writes them.
    ///
    /// # Errors
    /// The decoder's message for metadata that has a value of the wrong type, here or in an
    /// embedded object. The object may be pruned in part then.
    pub fn conform(&self, object: &mut Value) -> Result<UnknownFields, String> {
        numbers::normalize(object);
        let mut unknown = UnknownFields::default();
        if let Some(metadata) = object.get_mut("metadata").filter(|m| !m.is_null()) {
            unknown.add_below("metadata", types::conform_named(OBJECT_META, metadata)?);
        }
        let of_metadata = unknown.told().len();
        prune::prune(&self.schema, object, &mut unknown);
        unknown.told_mut()[of_metadata..].sort(); // as upstream tells them
        fill::nulls(&self.schema, object);
        embedded::conform(&self.schema, object, Path::Root, &mut unknown)?;
        Ok(unknown)
    }

    /// Fills in defaults.
    pub fn fill(&self, object: &mut Value) {
        fill::defaults(&self.schema, object);
    }

    /// Judges an object by the schema and its rules, as a change of `old` if there is one.
    pub fn validate(&self, object: &Value, old: Option<&Value>, errors: &mut Errors) {
        check::object(&self.schema, object, old, errors);
        if errors.iter().any(|e| e.kind.hides_rules()) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            if self.schema.has_rules {
                errors.invalid_text("<nil>", "null", why);
            }
            return;
        }
        rules::judge(&self.schema, object, old, errors);
    }

    /// Under the name of the version that is stored.
    pub fn to_stored(&self, object: &mut Value) {
        value::put(object, "apiVersion", self.stored.clone());
    }

    /// A stored object under the name of `kind`'s version, with the fields and the defaults that
    /// the definition has by now: it may have been stored under an older schema, or in another
    /// version.
    pub fn shown<'a>(&self, kind: &Kind, object: &'a Value) -> Cow<'a, Value> {
        let as_it_is = text(object, "apiVersion").split_once('/') == Some((kind.group, kind.version));
        let fits = prune::is_pruned(&self.schema, object) && !fill::has_nulls(&self.schema, object);
        if as_it_is && fits && !self.schema.has_defaults {
            return Cow::Borrowed(object);
        }
        let mut shown = object.clone();
        value::put(&mut shown, "apiVersion", kind.api_version());
        if !fits {
            prune::prune(&self.schema, &mut shown, &mut UnknownFields::default());
            fill::nulls(&self.schema, &mut shown);
        }
        fill::defaults(&self.schema, &mut shown);
        if shown == *object { Cow::Borrowed(object) } else { Cow::Owned(shown) }
    }
}

/// Is a condition of a definition true?
pub fn is(definition: &Value, condition: &str) -> bool {
    list(definition, "status.conditions")
        .iter()
        .any(|c| text(c, "type") == condition && text(c, "status") == "True")
}

/// The kinds that a definition adds: one a served version, none before it is established.
pub fn kinds_of(definition: &Value) -> Vec<Kind> {
    if !is(definition, "Established") {
        return vec![];
    }
    let versions = list(definition, "spec.versions");
    let stored = storage(definition).map_or("", |v| text(v, "name"));
    versions.iter().filter(|v| flag(v, "served")).map(|v| kind_of(definition, v, stored)).collect()
}

/// The version in which objects are stored.
fn storage(definition: &Value) -> Option<&Value> {
    list(definition, "spec.versions").iter().find(|v| flag(v, "storage"))
}

/// The kind of the stored objects of a definition, whether it is served or not; `None` if there
/// cannot be any.
pub fn stored_kind(definition: &Value) -> Option<Kind> {
    let version =
        storage(definition).filter(|_| !text(definition, "status.acceptedNames.plural").is_empty())?;
    Some(kind_of(definition, version, text(version, "name")))
}

fn kind_of(definition: &Value, version: &Value, stored: &str) -> Kind {
    // The names that were accepted are those that are served.
    let names = at(definition, "status.acceptedNames");
    let group = intern(text(definition, "spec.group"));
    let (plural, kind) = (intern(text(names, "plural")), intern(text(names, "kind")));
    let name = intern(text(version, "name"));
    let words = |path| intern_all(list(names, path).iter().filter_map(Value::as_str));
    let has_status = at(version, "subresources.status").is_object();
    let scale = at(version, "subresources.scale");
    let path = |field| intern(text(scale, field).trim_start_matches('.'));
    let mut subresources = vec![];
    if has_status {
        subresources.push(entry::status(kind));
    }
    if scale.is_object() {
        subresources.push(entry::SCALE);
    }
    let schema = Arc::new(Schema::root(at(version, "schema.openAPIV3Schema")));
    let mut reversed: Vec<&str> = group.split('.').collect();
    reversed.reverse();
    let custom = Custom {
        place: place(definition),
        list_kind: text(names, "listKind").to_string(),
        columns: columns::of(list(version, "additionalPrinterColumns")),
        fields: selectable(version),
        published: publish::schema(at(version, "schema.openAPIV3Schema")),
        schema,
        stored: format!("{group}/{stored}"),
    };
    Kind {
        singular: text(names, "singular").to_string(),
        short_names: words("shortNames"),
        categories: words("categories"),
        namespaced: text(definition, "spec.scope") == "Namespaced",
        subresources,
        schema_name: intern(&format!("{}.{name}.{kind}", reversed.join("."))),
        has_status,
        deprecated: deprecation(group, name, kind, version),
        generation: true,
        needs_version: true,
        scale: scale.is_object().then(|| ScalePaths {
            spec_replicas: path("specReplicasPath"),
            status_replicas: path("statusReplicasPath"),
            selector: path("labelSelectorPath"),
        }),
        custom: Some(Arc::new(custom)),
        ..entry::plain(group, name, kind, plural)
    }
}

/// Where the objects of a definition rest.
pub fn place(definition: &Value) -> String {
    format!("{}/{}", text(definition, "spec.group"), text(definition, "spec.names.plural"))
}

fn deprecation(group: &str, version: &str, kind: &str, said: &Value) -> Cow<'static, str> {
    match (flag(said, "deprecated"), text(said, "deprecationWarning")) {
        (false, _) => Cow::Borrowed(""),
        (true, "") => format!("{group}/{version} {kind} is deprecated").into(),
        (true, warning) => warning.to_string().into(),
    }
}

fn selectable(version: &Value) -> Vec<(String, String)> {
    let paths = list(version, "selectableFields").iter().map(|f| text(f, "jsonPath").trim_start_matches('.'));
    paths.map(|path| (path.to_string(), path.to_string())).collect()
}

/// How versions of a group are sorted: `v2`, `v1`, `v1beta1`, `v1alpha1`, then whatever else there
/// is by name.
pub fn version_order(version: &str) -> (u8, Reverse<u64>, Reverse<u64>, String) {
    let parsed = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u64 = rest[..digits].parse().ok()?;
        let (class, minor) = match &rest[digits..] {
            "" => (0, "0"),
            rest => match (rest.strip_prefix("beta"), rest.strip_prefix("alpha")) {
                (Some(minor), _) => (1, minor),
                (_, Some(minor)) => (2, minor),
                _ => return None,
            },
        };
        Some((class, Reverse(major), Reverse(minor.parse().ok()?), String::new()))
    };
    parsed().unwrap_or((3, Reverse(0), Reverse(0), version.to_string()))
}

#[cfg(test)]
mod tests;
