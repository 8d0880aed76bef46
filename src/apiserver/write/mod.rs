//! Create, update and patch: decode, default, admit, validate, commit.

mod apply;
mod create;
mod patch;
mod update;

pub use create::{create, create_object};
pub use patch::{patch, patched};
pub use update::{Part, modify, update};

use super::context::Context;
use super::object::Object;
use super::store::Extra;
use crate::api::kinds::{self, Kind};
use crate::api::managed::{self, Manager, Shape};
use crate::api::{Status, meta, value};
use crate::clock;
use crate::etcd::api::Revision;
use crate::tap::Record;
use serde_json::Value;

/// Times that a write is tried again because somebody else wrote in between.
const TRIES: usize = 5;

/// The kind in whose form objects are stored.
pub fn stored_kind(kind: &Kind) -> &Kind {
    if kind.conversion.is_some() { kinds::stored(kind.plural).unwrap_or(kind) } else { kind }
}

/// What a write changed beside its own object is told as its own commit.
fn tell_beside(ctx: &Context, extra: &Extra, revision: Revision) {
    for beside in &extra.beside {
        let made = Object::new(beside.object.clone(), revision);
        let (namespace, name) = (meta::namespace(&made.value), meta::name(&made.value));
        let record = Record::new("commit").revision(revision as u64);
        ctx.tell(record.object(beside.kind.plural, namespace, name), Some(made.bytes.clone()));
    }
}

/// Remembers who wrote what.
fn own(ctx: &Context, kind: &Kind, old: &Value, new: &mut Value) {
    let (name, now) = (ctx.manager(), clock::rfc3339(clock::now()));
    let api_version = kind.api_version();
    let manager =
        Manager { name: &name, api_version: &api_version, subresource: &ctx.info.subresource, now: &now };
    managed::track(Shape::of(kind), old, new, manager);
}

/// The object's namespace is that of the path.
fn place(ctx: &Context, kind: &Kind, object: &mut Value) -> Result<(), Status> {
    let namespace = ctx.info.object_namespace();
    let told = meta::namespace(object).to_string();
    if kind.namespaced {
        if told.is_empty() {
            value::put(object, "metadata.namespace", namespace);
        } else if told != namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    } else if !told.is_empty() {
        return Err(Status::bad_request(
            "namespace is not allowed on this type, or the namespace of the object is set",
        ));
    }
    Ok(())
}
