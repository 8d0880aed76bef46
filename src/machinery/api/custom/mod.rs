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
//! describe it to clients. Rules are written in the language of [`crate::cel`]; `expression` checks
//! them when a definition is written, and `typed` gives them values of the schema's types. A stored
//! object keeps the version it was written in; another version shows it under its own name
//! (conversion `None`). Defaults that its schema got later are filled in when it is read, unless it
//! is too large with them ([`Custom::refill`]).
//! ## Left out
//! Conversion webhooks (refused by name). Types in a CEL rule are found when it runs, not when it
//! is written, and its cost is bounded then ([`crate::cel::cost`]). Lists that are sets or maps
//! compare and add as plain lists do, in their order. What CEL lacks here ([`crate::cel`]). An
//! object whose values, times the schemas and choices that each is held against, are more than 50
//! million, with a step for each place of a pattern at every four bytes of a text; the defaults of
//! a definition have as many together. Different patterns that take more than 64 MiB in all
//! versions of a definition when they are compiled, with 128 KiB for the table of each: some 500.
//! Rules of more than 512 KiB in all versions, or whose patterns take more than 32 MiB. Messages of
//! `anyOf` and `oneOf` do not list what the alternatives miss. Later defaults of an object that is
//! larger with them than the store takes (upstream shows them, and refuses each change of the
//! object).
//! ## Read next
//! `apiserver/registry/crd.rs`, which establishes definitions and empties those that go;
//! `kinds/catalog.rs`.

mod check;
pub(crate) mod columns;
pub(crate) mod defaults;
mod embedded;
mod expression;
pub(crate) mod field_path;
mod fill;
mod formats;
mod mail;
mod numbers;
pub(crate) mod patterns;
mod prune;
mod publish;
mod rule;
pub(crate) mod rules;
mod schema;
mod shown;
pub(crate) mod structural;
mod typed;
pub(crate) mod version;

pub use crate::kinds::apiextensions::custom_resource_definition::{self as definition, has_condition};
pub use columns::{Column, name as name_cell};
pub use schema::{ListType, Schema, Type};
pub use shown::ShownFields;
pub use version::Custom;

use super::kinds::entry::{self, Kind, ScalePaths};
use super::kinds::names::{intern, intern_all};
use super::value::{at, flag, list, text};
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

/// Returns the kinds that a definition adds: one a served version, none before it is established.
pub fn kinds_of(definition: &Value) -> Vec<Kind> {
    if !has_condition(definition, "Established") {
        return vec![];
    }
    let versions = list(definition, "spec.versions");
    let stored = storage(definition).map_or("", |v| text(v, "name"));
    versions.iter().filter(|v| flag(v, "served")).map(|v| kind_of(definition, v, stored)).collect()
}

/// Returns the version in which objects are stored.
fn storage(definition: &Value) -> Option<&Value> {
    list(definition, "spec.versions").iter().find(|v| flag(v, "storage"))
}

/// Returns the kind of the stored objects of a definition, whether it is served or not; `None` if
/// there cannot be any.
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

/// Returns where the objects of a definition rest.
pub fn place(definition: &Value) -> String {
    format!("{}/{}", text(definition, "spec.group"), text(definition, "spec.names.plural"))
}

fn deprecation(group: &str, version: &str, kind: &str, entry: &Value) -> Cow<'static, str> {
    match (flag(entry, "deprecated"), text(entry, "deprecationWarning")) {
        (false, _) => Cow::Borrowed(""),
        (true, "") => format!("{group}/{version} {kind} is deprecated").into(),
        (true, warning) => warning.to_string().into(),
    }
}

fn selectable(version: &Value) -> Vec<(String, String)> {
    let paths = list(version, "selectableFields").iter().map(|f| text(f, "jsonPath").trim_start_matches('.'));
    paths.map(|path| (path.to_string(), path.to_string())).collect()
}

/// Returns the key by which the versions of a group are sorted: `v2`, `v1`, `v1beta1`, `v1alpha1`,
/// then whatever else there is by name.
pub(crate) fn version_order(version: &str) -> (u8, Reverse<u64>, Reverse<u64>, String) {
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
