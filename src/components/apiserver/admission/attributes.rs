//! A write as admission plug-ins see it.

use crate::request::context::Context;
use crate::state::State;
use api::kinds::Kind;
use api::value::text;
use api::{Status, meta};
use serde_json::Value;
use std::sync::Arc;

/// A write with the object as it is stored (upstream: `admission.Attributes`).
pub(crate) struct Attributes<'a> {
    pub state: &'a Arc<State>,
    pub ctx: &'a Context,
    pub kind: &'a Kind,
    /// The object as it is stored; `None` if it is being created.
    pub old: Option<&'a Value>,
    /// The new object has a name that the server has made of its `generateName`.
    pub is_name_generated: bool,
}

impl Attributes<'_> {
    /// Returns the 403 for a write that a validating plug-in refuses.
    pub(super) fn forbidden(&self, object: &Value, why: &str) -> Status {
        Status::forbidden(self.kind.group, self.kind.plural, meta::name(object), why)
    }

    /// Returns the 403 for a write that a mutating plug-in refuses. Upstream generates names after
    /// these plug-ins, so the refusal has the `generateName`: each try of a controller is refused
    /// in the same words, and they are one Event with a count.
    ///
    /// Example: `pods "web-" is forbidden: error looking up service account …`.
    pub(super) fn forbidden_early(&self, object: &Value, why: &str) -> Status {
        Status::forbidden(self.kind.group, self.kind.plural, self.early_name(object), why)
    }

    /// Returns what a refusal of a mutating plug-in calls the object.
    pub(super) fn early_name<'o>(&self, object: &'o Value) -> &'o str {
        match self.is_name_generated {
            true => text(object, "metadata.generateName"),
            false => name_before_generation(object),
        }
    }
}

/// Returns what a refusal calls an object whose name is not generated yet (upstream:
/// `extractResourceName`).
pub(super) fn name_before_generation(object: &Value) -> &str {
    match (meta::name(object), text(object, "metadata.generateName")) {
        ("", "") => "Unknown",
        ("", prefix) => prefix,
        (name, _) => name,
    }
}
