//! Create, update and patch: decode, default, admit, validate, commit.

use super::State;
use super::admission;
use super::cache::Object;
use super::context::{APPLY, Context};
use super::decode;
use super::escalation;
use super::http::{Answer, header};
use super::negotiate::{self, form};
use super::services;
use super::store::{Extra, Refused};
use crate::api::errors::Errors;
use crate::api::kinds::{self, Kind};
use crate::api::managed::{self, Conflict, Manager, Shape};
use crate::api::validate;
use crate::api::value::{self, at, text};
use crate::api::{Status, meta, patch, strategic};
use crate::clock;
use crate::etcd::api::Revision;
use crate::tap::Record;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// Times that a write is tried again because somebody else wrote in between.
const TRIES: usize = 5;
/// Names that `generateName` tries.
const NAMES: usize = 8;

/// The kind in whose form objects are stored.
pub fn stored_kind(kind: &Kind) -> &Kind {
    if kind.conversion.is_some() { kinds::stored(kind.plural).unwrap_or(kind) } else { kind }
}

// -- create -----------------------------------------------------------------------------------------------------------

pub async fn create(state: &Arc<State>, ctx: &Context, kind: &Kind, body: &Bytes) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let object = decode::object(ctx, kind, body)?;
    let made = create_object(state, ctx, kind, object).await?;
    Ok(negotiate::one(201, kind, form, &made))
}

/// Creates a decoded object (in its stored form) for whoever `ctx` is.
pub async fn create_object(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    mut object: Value,
) -> Result<Arc<Object>, Status> {
    let kind = stored_kind(kind);
    ctx.name(meta::name(&object));
    place(ctx, kind, &mut object)?;
    if !meta::resource_version(&object).is_empty() {
        return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
    }
    fill_metadata(state, kind, &mut object);
    state.fresh().await?;
    admission::definition(state, kind)?;
    admission::namespace(state, kind, &object)?;
    let generate = text(&object, "metadata.generateName").to_string();
    let tries = if meta::name(&object).is_empty() && !generate.is_empty() { NAMES } else { 1 };
    for attempt in 1..=tries {
        let mut object = object.clone();
        if tries > 1 {
            let prefix: String = generate.chars().take(58).collect();
            value::put(&mut object, "metadata.name", format!("{prefix}{}", state.rng.name_suffix(5)));
        }
        match create_named(state, ctx, kind, object).await {
            Err(status) if status.reason == "AlreadyExists" && attempt < tries => {}
            Err(mut status) if status.reason == "AlreadyExists" && tries > 1 => {
                status.message.push_str(", the server was not able to generate a unique name for the object");
                return Err(status);
            }
            done => return done,
        }
    }
    Err(Status::internal("no name was tried"))
}

async fn create_named(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    mut object: Value,
) -> Result<Arc<Object>, Status> {
    ctx.name(meta::name(&object)); // which may have been generated
    kind.fill(&mut object);
    if kind.has_status && !kind.keeps_first_status {
        value::remove(&mut object, "status");
    }
    if !ctx.applies() {
        value::remove(&mut object, "metadata.managedFields");
        own(ctx, kind, &Value::Null, &mut object); // what admission adds is nobody's
    }
    let attributes = admission::Attributes { state, ctx, kind, old: None };
    let details = admission::mutate(&attributes, &mut object).await?;
    ctx.stage("admit", details);
    (kind.prepare)(&mut object);
    let errors = validate::create(kind, &object);
    if !errors.is_empty() {
        return Err(Status::invalid(kind.group, kind.kind, meta::name(&object), &errors));
    }
    escalation::check(state, &ctx.user, kind, &object)?;
    ctx.stage("validate", Value::Null);
    let name = meta::name(&object).to_string();
    let _turn = admission::turn(&attributes, &object).await;
    for _ in 0..TRIES * 4 {
        let mut planned = object.clone();
        let mut extra = services::plan(state, kind, &mut planned, None)?;
        extra.join(admission::validate(&attributes, &planned)?);
        if ctx.dry_run {
            let exists = state
                .cache
                .get(kind.place(), &super::store::object_key(kind, meta::namespace(&planned), &name));
            return match exists {
                Some(_) => Err(Status::already_exists(kind.group, kind.plural, &name)),
                None => Ok(Arc::new(unwritten(planned))),
            };
        }
        state.cache.steps.note(ctx, kind, &planned, &mut extra);
        match state.write(kind, planned, 0, &extra).await {
            Ok(made) => {
                ctx.committed(&made, json!({"created": true}));
                tell_beside(ctx, &extra, made.revision);
                return Ok(made);
            }
            Err(Refused::Error(status)) => return Err(status),
            Err(Refused::Changed) => {
                state.fresh().await?;
                let key = super::store::object_key(kind, meta::namespace(&object), &name);
                if !extra.is_shared() || state.cache.get(kind.place(), &key).is_some() {
                    return Err(Status::already_exists(kind.group, kind.plural, &name));
                }
                // an address or port was taken, or a quota charged, at the same moment: plan again
            }
        }
    }
    Err(Status::timeout("request did not complete within the allotted timeout"))
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

/// An object that was not stored: it has no resourceVersion.
fn unwritten(value: Value) -> Object {
    let bytes = Bytes::from(value.to_string());
    Object { value, bytes, revision: 0 }
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

fn fill_metadata(state: &State, kind: &Kind, object: &mut Value) {
    let now = clock::rfc3339(clock::now());
    let metadata = value::slot_map(object, "metadata");
    for own in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"] {
        metadata.shift_remove(own);
    }
    metadata.insert("uid".into(), state.rng.uuid().into());
    metadata.insert("creationTimestamp".into(), now.into());
    if kind.generation {
        metadata.insert("generation".into(), 1.into());
    }
}

// -- update -----------------------------------------------------------------------------------------------------------

/// Which part of an object a write may touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Main,
    Status,
    /// `namespaces/finalize`
    Finalize,
    /// Parts of a pod that only its subresources may set: binding, ephemeral containers.
    Internal,
}

pub async fn update(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    part: Part,
    body: &Bytes,
) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let mut new = decode::object(ctx, kind, body)?;
    let stored = stored_kind(kind);
    place(ctx, stored, &mut new)?;
    let (told, name) = (meta::name(&new).to_string(), ctx.info.name.clone());
    if told.is_empty() {
        value::put(&mut new, "metadata.name", name.clone());
    } else if told != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({told}) does not match the name on the URL ({name})"
        )));
    }
    if stored.needs_version
        && part == Part::Main
        && meta::resource_version(&new).is_empty()
        && state.get(stored, meta::namespace(&new), &name).await.is_ok()
    {
        let mut errors = Errors::default();
        errors.invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        return Err(Status::invalid(stored.group, stored.kind, &name, &errors));
    }
    match modify(state, ctx, stored, part, &name, |_| Ok(new.clone())).await {
        Err(status) if status.reason == "NotFound" && stored.create_on_update && part == Part::Main => {
            value::remove(&mut new, "metadata.resourceVersion");
            let made = create_object(state, ctx, stored, new).await?;
            Ok(negotiate::one(201, kind, form, &made))
        }
        done => Ok(negotiate::one(200, kind, form, &*done?)),
    }
}

/// Reads, changes by `change`, and writes, again if somebody was faster. No change, no write.
pub async fn modify(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    part: Part,
    name: &str,
    change: impl Fn(&Value) -> Result<Value, Status>,
) -> Result<Arc<Object>, Status> {
    for _ in 0..TRIES {
        let old = state.get(kind, ctx.info.object_namespace(), name).await?;
        let mut new = change(&old.value)?;
        let told = meta::resource_version(&new);
        let locked = !told.is_empty();
        if locked && told != meta::resource_version(&old.value) {
            return Err(Status::stale(kind.group, kind.plural, name));
        }
        let uid = meta::uid(&new);
        if !uid.is_empty() && uid != meta::uid(&old.value) {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                meta::uid(&old.value)
            );
            return Err(Status::conflict(kind.group, kind.plural, name, &why));
        }
        keep(kind, part, &mut new, &old.value);
        match part {
            Part::Main => {
                kind.fill(&mut new);
                (kind.prepare_update)(&mut new, &old.value);
            }
            Part::Status => {
                if kind.custom.is_some() {
                    kind.fill(&mut new);
                }
                (kind.prepare_status_update)(&mut new, &old.value, &ctx.info.subresource);
            }
            _ if kind.custom.is_some() => kind.fill(&mut new),
            _ => {}
        }
        if kind.generation && spec_changed(kind, &new, &old.value) {
            value::put(&mut new, "metadata.generation", meta::generation(&old.value) + 1);
        }
        if !ctx.applies() && !matches!(part, Part::Internal if ctx.info.verb == "create") {
            own(ctx, kind, &old.value, &mut new); // a binding is the scheduler's word, not its field
        }
        let errors = match part {
            Part::Main => validate::update(kind, &new, &old.value),
            Part::Status => {
                let mut errors = validate::schema(kind, &new, Some(&old.value));
                (kind.validate_status_update)(&new, &old.value, &mut errors);
                errors
            }
            _ => validate::schema(kind, &new, Some(&old.value)),
        };
        if !errors.is_empty() {
            return Err(Status::invalid(kind.group, kind.kind, name, &errors));
        }
        if spec_changed(kind, &new, &old.value) {
            escalation::check(state, &ctx.user, kind, &new)?;
        }
        ctx.stage("validate", Value::Null);
        let finished = super::remove::is_finished(kind, &new);
        let mut extra = services::plan(state, kind, &mut new, Some(&old.value))?;
        if new == old.value && !finished {
            return Ok(old);
        }
        let attributes = admission::Attributes { state, ctx, kind, old: Some(&old.value) };
        extra.join(admission::validate(&attributes, &new)?);
        if ctx.dry_run {
            value::put(&mut new, "metadata.resourceVersion", meta::resource_version(&old.value));
            return Ok(Arc::new(unwritten(new)));
        }
        if finished {
            extra = services::release(kind, &old.value);
        }
        state.cache.steps.note(ctx, kind, &new, &mut extra);
        let written = if finished {
            let last = Object { value: new, bytes: Bytes::new(), revision: old.revision };
            state.erase(kind, &last, &extra).await
        } else {
            state.write(kind, new, old.revision, &extra).await
        };
        match written {
            Ok(made) => {
                ctx.committed(&made, if finished { json!({"deleted": true}) } else { Value::Null });
                tell_beside(ctx, &extra, made.revision);
                return Ok(made);
            }
            Err(Refused::Error(status)) => return Err(status),
            Err(Refused::Changed) if locked => {
                state.fresh().await?;
                let still = state
                    .cache
                    .get(kind.place(), &super::store::object_key(kind, ctx.info.object_namespace(), name));
                if still.is_none_or(|o| o.revision != old.revision) {
                    return Err(Status::stale(kind.group, kind.plural, name));
                }
            }
            Err(Refused::Changed) => {}
        }
    }
    Err(Status::stale(kind.group, kind.plural, name))
}

/// What a write through this door may not change is taken from the stored object.
fn keep(kind: &Kind, part: Part, new: &mut Value, old: &Value) {
    match part {
        Part::Status => {
            let status = at(new, "status").clone();
            let annotations = at(new, "metadata.annotations").clone();
            let managed = at(new, "metadata.managedFields").clone();
            *new = old.clone();
            for (path, part) in [
                ("status", status),
                ("metadata.annotations", annotations),
                ("metadata.managedFields", managed),
            ] {
                if part.is_null() {
                    value::remove(new, path);
                } else {
                    value::put(new, path, part);
                }
            }
        }
        Part::Finalize => {
            let finalizers = at(new, "spec.finalizers").clone();
            *new = old.clone();
            if finalizers.is_null() {
                value::remove(new, "spec.finalizers");
            } else {
                value::put(new, "spec.finalizers", finalizers);
            }
        }
        Part::Main if kind.has_status => value::copy(old, new, "status"),
        Part::Main | Part::Internal => {}
    }
    for field in [
        "uid",
        "creationTimestamp",
        "name",
        "namespace",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "generateName",
    ] {
        value::copy(old, new, &format!("metadata.{field}"));
    }
    if at(new, "metadata.managedFields").is_null() {
        value::copy(old, new, "metadata.managedFields");
    } else if value::empty(new, "metadata.managedFields") {
        value::remove(new, "metadata.managedFields");
    }
    for map in ["metadata.labels", "metadata.annotations", "metadata.finalizers", "metadata.ownerReferences"]
    {
        if value::empty(new, map) {
            value::remove(new, map);
        }
    }
}

/// Anything but metadata, and a status that has a door of its own.
fn spec_changed(kind: &Kind, new: &Value, old: &Value) -> bool {
    let (Value::Object(a), Value::Object(b)) = (new, old) else { return false };
    let whole = kind.custom.is_some() && !kind.has_status;
    let counts = |k: &&String| match k.as_str() {
        "metadata" | "kind" | "apiVersion" => false,
        "status" => whole,
        _ => true,
    };
    a.keys().chain(b.keys()).filter(counts).any(|k| a.get(k) != b.get(k))
}

// -- patch ------------------------------------------------------------------------------------------------------------

const PATCHES: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml, application/strategic-merge-patch+json";
const PATCHES_CUSTOM: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

pub async fn patch(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    part: Part,
    body: &Bytes,
) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let media = header(&ctx.headers, "content-type").split(';').next().unwrap_or("").trim().to_string();
    if media.starts_with(APPLY) {
        return server_side_apply(state, ctx, kind, part, body, form).await;
    }
    if ctx.query.has("force") {
        let mut errors = Errors::default();
        errors.forbidden("force", "may not be specified for non-apply patch");
        return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errors));
    }
    let stored = stored_kind(kind);
    let changed = modify(state, ctx, stored, part, &ctx.info.name, |old| {
        let mut patched = patched(kind, &media, old, body)?;
        if meta::resource_version(&patched) == meta::resource_version(old) {
            value::remove(&mut patched, "metadata.resourceVersion"); // the patch sets no lock: try again on conflict
        }
        settle(ctx, kind, patched, body)
    })
    .await?;
    Ok(negotiate::one(200, kind, form, &changed))
}

/// The patch applied, in the version of the request.
pub fn patched(kind: &Kind, media: &str, old: &Value, body: &[u8]) -> Result<Value, Status> {
    let mut object = negotiate::versioned(kind, old).into_owned();
    match media {
        "application/json-patch+json" => patch::json(&mut object, body)?,
        "application/merge-patch+json" => patch::merge(&mut object, &decode::body("application/json", body)?),
        "application/strategic-merge-patch+json" if kind.custom.is_none() => {
            let fields = decode::body("application/json", body)?;
            strategic::apply(kind.kind, &mut object, &fields).map_err(Status::bad_request)?;
        }
        _ if kind.custom.is_some() => return Err(Status::unsupported_media_type(PATCHES_CUSTOM)),
        _ => return Err(Status::unsupported_media_type(PATCHES)),
    }
    Ok(object)
}

/// Checks a patched object and brings it into its stored form.
fn settle(ctx: &Context, kind: &Kind, mut object: Value, body: &[u8]) -> Result<Value, Status> {
    decode::check_type(&kind.api_version(), kind.kind, &mut object)?;
    let unknown = decode::conform(kind, &mut object)?;
    match decode::validation(ctx)? {
        decode::Validation::Strict if !unknown.is_empty() => {
            let fields: Vec<String> = unknown.iter().map(|f| format!("unknown field {f:?}")).collect();
            let shown: Value = serde_json::from_slice(body).unwrap_or_default();
            let mut errors = Errors::default();
            errors.invalid_text(
                "patch",
                &go_map(&shown),
                &format!("strict decoding error: {}", fields.join(", ")),
            );
            return Err(Status::invalid("", "", "", &errors));
        }
        decode::Validation::Warn => unknown.iter().for_each(|f| ctx.warn(format!("unknown field {f:?}"))),
        _ => {}
    }
    let (told, name) = (meta::name(&object), &ctx.info.name);
    if told != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({told}) does not match the name on the URL ({name})"
        )));
    }
    kind.to_stored(&mut object);
    Ok(object)
}

/// `map[spec:map[foo:1]]`: how Go prints a patch.
fn go_map(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut all: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", go_map(v))).collect();
            all.sort();
            format!("map[{}]", all.join(" "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(go_map).collect::<Vec<_>>().join(" ")),
        Value::String(s) => s.clone(),
        Value::Null => "<nil>".into(),
        other => other.to_string(),
    }
}

async fn server_side_apply(
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
