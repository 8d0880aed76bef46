//! Server-side apply: an object as its manager wants it, merged with what others own.

use super::patch::settle;
use super::{Part, TRIES, create_object, modify, stored_kind};
use crate::api::errors::Errors;
use crate::api::kinds::Kind;
use crate::api::managed::{self, Conflict, Manager, Shape};
use crate::api::{Status, meta, value};
use crate::apiserver::State;
use crate::apiserver::context::Context;
use crate::apiserver::decode;
use crate::apiserver::http::Answer;
use crate::apiserver::negotiate;
use crate::clock;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn server_side_apply(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    part: Part,
    body: &Bytes,
    form: negotiate::Form,
) -> Result<Answer, Status> {
    let manager = ctx.query.get("fieldManager").to_string();
    if manager.is_empty() {
        let mut errors = Errors::default();
        errors.required("fieldManager", "is required for apply patch");
        return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errors));
    }
    let mut applied = decode::body("application/yaml", body)?;
    if !value::empty(&applied, "metadata.managedFields") {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    decode::check_type(&kind.api_version(), kind.kind, &mut applied)?;
    let name = ctx.info.name.clone();
    value::default(&mut applied, "metadata.name", name.clone());
    let mut applied = settle(ctx, kind, applied, body)?;
    let stored = stored_kind(kind);
    confine(stored, part, &mut applied);
    let (force, now) = (ctx.query.is_true("force"), clock::rfc3339(clock::now()));
    let api_version = kind.api_version();
    let manager =
        Manager { name: &manager, api_version: &api_version, subresource: &ctx.info.subresource, now: &now };
    let shape = Shape::of(stored);
    for _ in 0..TRIES {
        let done = modify(state, ctx, stored, part, &name, |old| {
            let outcome = managed::apply(shape, old, &applied, manager);
            if !outcome.conflicts.is_empty() && !force {
                return Err(conflict(&outcome.conflicts));
            }
            let mut object = outcome.object;
            if meta::resource_version(&applied).is_empty() {
                value::remove(&mut object, "metadata.resourceVersion");
            }
            Ok(object)
        })
        .await;
        match done {
            Err(status) if status.reason == "NotFound" && part == Part::Main => {
                let object = managed::apply(shape, &Value::Null, &applied, manager).object;
                match create_object(state, ctx, stored, object).await {
                    Err(status) if status.reason == "AlreadyExists" => {}
                    made => return Ok(negotiate::one(201, kind, form, &*made?)),
                }
            }
            done => return Ok(negotiate::one(200, kind, form, &*done?)),
        }
    }
    Err(Status::stale(stored.group, stored.plural, &name))
}

/// What the other door writes is no part of what is applied through this one.
fn confine(kind: &Kind, part: Part, applied: &mut Value) {
    let Value::Object(map) = applied else { return };
    match part {
        Part::Status => {
            map.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
        }
        _ if kind.has_status => drop(map.shift_remove("status")),
        _ => {}
    }
}

fn conflict(conflicts: &[Conflict]) -> Status {
    let (n, s) = (conflicts.len(), if conflicts.len() == 1 { "" } else { "s" });
    let text = match conflicts {
        [one] => format!("conflict with {}: {}", one.manager, one.field),
        many => {
            let mut lines = String::new();
            let mut manager = "";
            for c in many {
                if c.manager != manager {
                    lines.push_str(&format!(
                        "{}conflicts with {}:",
                        if lines.is_empty() { "" } else { "\n" },
                        c.manager
                    ));
                    manager = &c.manager;
                }
                lines.push_str(&format!("\n- {}", c.field));
            }
            lines
        }
    };
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|c| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {}", c.manager), "field": c.field}))
        .collect();
    Status::new(409, "Conflict", format!("Apply failed with {n} conflict{s}: {text}"))
        .with(json!({"causes": causes}))
}
