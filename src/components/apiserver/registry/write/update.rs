//! Changes of objects that exist.

use super::{check_fields, check_version, create_object, own, place, stored_kind, tell_beside};
use crate::State;
use crate::pipeline::{self, Write};
use crate::request::context::Context;
use crate::request::http::Answer;
use crate::request::negotiate::{self, form};
use crate::storage::object::Object;
use crate::storage::store::{Deadline, Refused};
use crate::{admission, auth::escalation, registry::delete, registry::services, request::decode};
use api::errors::Errors;
use api::kinds::Kind;
use api::value::{self, at};
use api::{Status, meta, validate};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use tap::Event;

const EPHEMERAL: &str = "spec.ephemeralContainers";

/// Which part of an object a write may touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Main,
    Status,
    /// `namespaces/finalize`
    Finalize,
    /// `pods/ephemeralcontainers`
    Ephemeral,
    /// Parts of a pod that only this server sets: its binding, the reason of its eviction.
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
        && matches!(part, Part::Main | Part::Status)
        && meta::locked_version(&new).is_empty()
        && state.get(stored, meta::namespace(&new), &name).await.is_ok()
    {
        let mut errors = Errors::default();
        errors.invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        return Err(Status::invalid(stored.group, stored.kind, &name, &errors));
    }
    match modify(state, ctx, stored, part, &name, |_| Ok(new.clone())).await {
        Err(status) if status.reason == "NotFound" && stored.create_on_update && part == Part::Main => {
            no_uid_of_the_gone(stored, &new)?;
            value::remove(&mut new, "metadata.resourceVersion");
            let made = create_object(state, ctx, stored, new).await?;
            Ok(negotiate::one(201, kind, form, &made))
        }
        done => Ok(negotiate::one(200, kind, form, &*done?)),
    }
}

/// A write that names the uid of an object that is not there means that one, and makes no other.
///
/// # Errors
/// 409 if it names one.
pub fn no_uid_of_the_gone(kind: &Kind, object: &Value) -> Result<(), Status> {
    match meta::uid(object) {
        "" => Ok(()),
        uid => {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            Err(Status::conflict(kind.group, kind.plural, meta::name(object), &why))
        }
    }
}

/// Reads, changes by `change`, and writes, again if somebody was faster. No change, no write.
///
/// The first try trusts this server's memory, which the write's own condition makes safe; a refusal
/// or "nothing to do" counts only when it was judged by what is in the store now. A write that
/// names no resourceVersion is tried again until the request's time is over, as by upstream's
/// `GuaranteedUpdate`; one that names it gets a conflict once the object has another.
pub async fn modify(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    part: Part,
    name: &str,
    change: impl Fn(&Value) -> Result<Value, Status> + Sync,
) -> Result<Arc<Object>, Status> {
    let namespace = ctx.info.object_namespace();
    if !ctx.dry_run
        && let Some(remembered) = state.remembered(kind, namespace, name)
    {
        let edit = Edit { state, ctx, kind, part, name, old: &remembered, change: &change };
        match pipeline::write(&edit).await {
            Ok(Tried::Written(made)) => return Ok(made),
            Ok(Tried::Failed(status)) => return Err(status),
            Ok(Tried::Nothing | Tried::Overtaken { .. }) | Err(_) => {}
        }
    }
    let deadline = Deadline::new();
    loop {
        deadline.check()?;
        let old = state.get(kind, namespace, name).await?;
        let edit = Edit { state, ctx, kind, part, name, old: &old, change: &change };
        match pipeline::write(&edit).await? {
            Tried::Written(made) => return Ok(made),
            Tried::Nothing => return Ok(old),
            Tried::Failed(status) => return Err(status),
            Tried::Overtaken { locked: false } => {}
            Tried::Overtaken { locked: true } => {
                state.fresh().await?;
                if state.remembered(kind, namespace, name).is_none_or(|o| o.revision != old.revision) {
                    return Err(Status::stale(kind.group, kind.plural, name));
                }
            }
        }
    }
}

/// How one attempt ended.
enum Tried {
    Written(Arc<Object>),
    /// The change changes nothing.
    Nothing,
    /// The store did not take it, or did not say whether it did: no reason to try again.
    Failed(Status),
    /// Somebody wrote meanwhile. `locked`: the writer named the version that it wants to replace.
    Overtaken {
        locked: bool,
    },
}

/// A write to an object that exists.
struct Edit<'a> {
    state: &'a Arc<State>,
    ctx: &'a Context,
    kind: &'a Kind,
    part: Part,
    name: &'a str,
    /// The object as it is stored.
    old: &'a Object,
    /// Makes of it what the client wants: the body, or a patch applied to it.
    change: &'a (dyn Fn(&Value) -> Result<Value, Status> + Sync),
}

/// An object on its way to replace another one.
struct Edited {
    object: Value,
    /// The client named the version that it wants to replace.
    locked: bool,
}

impl Write for Edit<'_> {
    type Wanted = Edited;
    type Planned = Edited;
    type Done = Tried;

    /// # Errors
    /// 409 for a write that means another version of the object or another object.
    fn decode(&self) -> Result<Edited, Status> {
        let Edit { kind, part, name, old, .. } = *self;
        let object = (self.change)(&old.value)?;
        let told = meta::locked_version(&object);
        let locked = !told.is_empty();
        if locked && told != meta::resource_version(&old.value) {
            return Err(Status::stale(kind.group, kind.plural, name));
        }
        check_uid(kind, &object, &old.value)?;
        if part == Part::Main {
            check_deletion(kind, &object, &old.value)?;
        }
        Ok(Edited { object, locked })
    }

    fn default(&self, mut edited: Edited) -> Result<Edited, Status> {
        keep(self.kind, self.part, &self.ctx.info.subresource, &mut edited.object, &self.old.value);
        self.settle(&mut edited.object);
        Ok(edited)
    }

    /// The mutating plug-ins of this cluster change new objects only.
    async fn admit(&self, _: &mut Edited) -> Result<(), Status> {
        Ok(())
    }

    async fn validate(&self, edited: &Edited) -> Result<(), Status> {
        let Edit { state, ctx, kind, part, name, old, .. } = *self;
        let new = &edited.object;
        let errors = self.problems(new);
        if !errors.is_empty() {
            return Err(Status::invalid(kind.group, kind.kind, name, &errors));
        }
        if part != Part::Finalize {
            check_fields(ctx, kind, new, Some(&old.value))?;
        }
        escalation::check(state, ctx, kind, new, Some(&old.value)).await
    }

    /// Erases an object whose last finalizer goes.
    async fn commit(&self, edited: Edited) -> Result<Tried, Status> {
        let Edit { state, ctx, kind, old, .. } = *self;
        let Edited { object: mut new, locked } = edited;
        let finished = delete::is_finished(kind, &new);
        let asked = if services::is_service(kind) { new.clone() } else { Value::Null };
        let mut extra = services::plan(state, kind, &mut new, Some(&old.value))?;
        if new == old.value && !finished {
            return Ok(Tried::Nothing);
        }
        ctx.stage(Event::Validate);
        let attributes = admission::Attributes { state, ctx, kind, old: Some(&old.value) };
        extra.join(admission::validate(&attributes, &new)?);
        if ctx.dry_run {
            value::put(&mut new, "metadata.resourceVersion", meta::resource_version(&old.value));
            ctx.would_make(&new);
            return Ok(Tried::Written(Arc::new(Object::unwritten(new))));
        }
        if finished {
            extra = services::release(kind, &old.value);
        }
        // What is written to an object on its way out leads to its end.
        extra.repairs |= meta::is_terminating(&new) && ctx.user.may_repair();
        state.cache.steps.note(ctx, kind, &new, &mut extra);
        let written = if finished {
            let last = Object::unsent(new, old.revision);
            state.erase(kind, &last, &extra).await
        } else {
            state.write(kind, new, old.revision, &extra).await
        };
        match written {
            Ok(made) => {
                ctx.committed(&made, if finished { tap::Write::DELETED } else { tap::Write::UPDATED });
                tell_beside(ctx, &extra, made.revision);
                Ok(Tried::Written(made))
            }
            Err(Refused::Error(status)) => Ok(Tried::Failed(status)),
            Err(Refused::Changed) => {
                services::after_collision(state, kind, &extra, &asked).await?;
                Ok(Tried::Overtaken { locked })
            }
        }
    }
}

impl Edit<'_> {
    /// What is wrong with the object, as far as this part of it may be written.
    fn problems(&self, new: &Value) -> Errors {
        let Edit { ctx, kind, part, .. } = *self;
        let old = &self.old.value;
        match part {
            Part::Main => {
                let mut errors = validate::update(kind, new, old);
                check_version(ctx, kind, new, Some(old), &mut errors);
                errors
            }
            Part::Status => validate::status_update(kind, new, old),
            Part::Ephemeral => {
                let mut errors = validate::schema(kind, new, Some(old));
                (kind.validate)(new, &mut errors);
                validate::pods::ephemeral_update(new, old, &mut errors);
                errors
            }
            Part::Finalize | Part::Internal => validate::schema(kind, new, Some(old)),
        }
    }

    /// Fills in what the server fills in, and notes who wrote what.
    fn settle(&self, new: &mut Value) {
        let Edit { ctx, kind, part, .. } = *self;
        let old = &self.old.value;
        match part {
            Part::Main => {
                kind.fill(new);
                (kind.prepare_update)(new, old);
            }
            Part::Status => {
                if kind.custom.is_some() {
                    kind.fill(new);
                }
                (kind.prepare_status_update)(new, old, &ctx.info.subresource);
            }
            Part::Ephemeral => {
                let mut filled = new.clone();
                (kind.defaults)(&mut filled);
                value::copy(&filled, new, EPHEMERAL);
            }
            _ if kind.custom.is_some() => kind.fill(new),
            _ => {}
        }
        // A binding is the scheduler's word: it is no change of what was asked for, and no field
        // that the scheduler owns.
        let binds = part == Part::Internal && ctx.info.verb == "create";
        let annotations = |object| at(object, "metadata.annotations");
        let annotated = kind.generation_of_annotations
            && matches!(part, Part::Main)
            && annotations(new) != annotations(old);
        if kind.generation && !binds && (annotated || spec_changed(kind, new, old)) {
            value::put(new, "metadata.generation", meta::generation(old) + 1);
        }
        if !ctx.applies() && !binds {
            own(ctx, kind, old, new);
        }
    }
}

/// # Errors
/// 409 for a write that means another object of this name.
fn check_uid(kind: &Kind, new: &Value, old: &Value) -> Result<(), Status> {
    let (wanted, there) = (meta::uid(new), meta::uid(old));
    if wanted.is_empty() || wanted == there {
        return Ok(());
    }
    let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {there}");
    Err(Status::conflict(kind.group, kind.plural, meta::name(old), &why))
}

/// A write does not begin a deletion, nor change how long the object has to end. Another time of
/// creation is ignored, as by upstream's `BeforeUpdate`: `keep` puts the old one in its place.
///
/// # Errors
/// 422 for a write that does.
fn check_deletion(kind: &Kind, new: &Value, old: &Value) -> Result<(), Status> {
    let mut errors = Errors::default();
    let (time, grace) = ("metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds");
    if !value::empty(new, time) && value::empty(old, time) {
        errors.invalid(time, at(new, time), validate::IMMUTABLE);
    }
    if !at(new, grace).is_null() && at(new, grace) != at(old, grace) {
        errors.invalid(grace, at(new, grace), validate::IMMUTABLE);
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(kind.group, kind.kind, meta::name(old), &errors)),
    }
}

/// What a write through this door may not change is taken from the stored object.
fn keep(kind: &Kind, part: Part, subresource: &str, new: &mut Value, old: &Value) {
    match part {
        Part::Status => {
            *new = kind.through_status(new, old, subresource);
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
        Part::Ephemeral => {
            let mut kept = old.clone();
            for field in [EPHEMERAL, "metadata.managedFields"] {
                value::copy(new, &mut kept, field);
            }
            *new = kept;
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
