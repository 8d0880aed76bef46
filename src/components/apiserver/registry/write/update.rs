//! Changes of objects that exist.

use super::create::create_object;
use super::shared::{
    check_fields, check_version, drop_managers, may_shrink, record_beside, renew, track_managers,
    warn_as_upstream,
};
use crate::admission;
use crate::auth::escalation;
use crate::pipeline::{self, Write};
use crate::registry::strategy::{
    EPHEMERAL, Part, check_deletion, check_locked_version, check_same_uid, check_uid, drop_repeated_owners,
    keep, no_uid_of_the_gone, set_namespace, spec_changed, stored_kind,
};
use crate::registry::{delete, services};
use crate::request::context::Context;
use crate::request::decode;
use crate::request::http::Answer;
use crate::request::negotiate::{self, form};
use crate::state::State;
use crate::storage::object::Object;
use crate::storage::store::{Deadline, Refused};
use api::errors::Errors;
use api::kinds::Kind;
use api::kinds::core::pod::ephemeral_update;
use api::value::{self, at};
use api::{Status, meta, validate};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;
use tap::Event;

pub(crate) async fn update(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    part: Part,
    body: &Bytes,
) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let mut new = decode::object(ctx, kind, body)?;
    let stored = stored_kind(kind);
    set_namespace(ctx, stored, &mut new)?;
    let name = ctx.info.name.clone();
    check_name(&new, &name)?;
    let creates = stored.create_on_update && part == Part::Main;
    let deadline = Deadline::new();
    loop {
        deadline.check()?;
        if let Err(refusal) = check_names_version(stored, part, &name, &new) {
            // The first version of an object replaces none.
            if state.get(stored, meta::namespace(&new), &name).await.is_ok() {
                return Err(refusal);
            }
        }
        match modify(state, ctx, stored, part, &name, |_| Ok(new.clone())).await {
            Err(status) if status.reason == "NotFound" && creates => {
                no_uid_of_the_gone(stored, &new)?;
                let mut object = new.clone();
                value::remove(&mut object, "metadata.resourceVersion");
                match create_object(state, ctx, stored, object).await {
                    // Another client was faster: then there is an object to update.
                    Err(status) if status.reason == "AlreadyExists" => {}
                    made => return Ok(negotiate::one(201, kind, form, &*made?)),
                }
            }
            done => return Ok(negotiate::one_through(200, kind, &ctx.info.subresource, form, &*done?)),
        }
    }
}

/// Checks that a write names the version that it replaces, if the kind asks for that (upstream:
/// `AllowUnconditionalUpdate`). A patch names that of the object that it is applied to, unless it
/// takes it away: what `kubectl edit` sends if the line is deleted.
///
/// # Errors
/// 422 if it names none.
pub(super) fn check_names_version(kind: &Kind, part: Part, name: &str, new: &Value) -> Result<(), Status> {
    let is_asked = kind.needs_version && matches!(part, Part::Main | Part::Status);
    if !is_asked || !meta::locked_version(new).is_empty() {
        return Ok(());
    }
    let mut errors = Errors::default();
    errors.invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
    // Here upstream says the resource in the place of the kind.
    Err(Status::invalid(kind.group, kind.plural, name, &errors))
}

/// Checks that an update says which object it means, and that the path says the same (upstream:
/// `checkName`).
///
/// # Errors
/// 400 for an object without a name or with another one.
pub(crate) fn check_name(object: &Value, name: &str) -> Result<(), Status> {
    match meta::name(object) {
        "" => Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        ))),
        other if other != name => Err(Status::bad_request(format!(
            "the name of the object ({other}) does not match the name on the URL ({name})"
        ))),
        _ => Ok(()),
    }
}

/// Reads, changes by `change`, and writes; tries again if another writer was faster. No change, no
/// write.
///
/// The first try trusts this server's memory, which the write's own condition makes safe; a refusal
/// or "nothing to do" counts only when it was judged by what is in the store now. A write that
/// names no resourceVersion is tried again until the request's time is over, as by upstream's
/// `GuaranteedUpdate`; one that names it gets a conflict once the object has another. An object
/// that is too large for the store is tried once more without its managed fields.
pub(crate) async fn modify(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    part: Part,
    name: &str,
    change: impl Fn(&Value) -> Result<Value, Status> + Sync,
) -> Result<Arc<Object>, Status> {
    let namespace = ctx.info.object_namespace();
    let shrinks = |status: &Status| part != Part::Internal && may_shrink(ctx, status);
    let mut is_bare = false;
    if !ctx.dry_run
        && let Some(remembered) = state.remembered(kind, namespace, name)
    {
        let edit = Edit { state, ctx, kind, part, name, old: &remembered, change: &change, is_bare };
        match pipeline::write(&edit).await {
            Ok(Tried::Written(made)) => return Ok(made),
            Ok(Tried::Failed(status)) if shrinks(&status) => is_bare = true,
            Ok(Tried::Failed(status)) => return Err(status),
            Ok(Tried::Nothing | Tried::Overtaken { .. }) | Err(_) => {}
        }
    }
    let deadline = Deadline::new();
    loop {
        deadline.check()?;
        let old = state.get(kind, namespace, name).await?;
        let edit = Edit { state, ctx, kind, part, name, old: &old, change: &change, is_bare };
        match pipeline::write(&edit).await? {
            Tried::Written(made) => return Ok(made),
            Tried::Nothing => return Ok(old),
            Tried::Failed(status) if !is_bare && shrinks(&status) => is_bare = true,
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
    /// The object was written meanwhile. `locked`: the writer named the version that it wants to
    /// replace.
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
    /// It is written without managed fields: with them it was too large.
    is_bare: bool,
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

    /// Two clients read version 7. The first one's update makes it 8; the second one's, which says
    /// 7, is a conflict: it would undo what it has not seen. An update without a version replaces
    /// whatever is there, and a patch is applied to it.
    ///
    /// # Errors
    /// 409 for a write that means another version of the object or another object, 422 for a patch
    /// that changes what never changes, 500 for a version that is none.
    fn decode(&self) -> Result<Edited, Status> {
        let Edit { kind, part, name, old, .. } = *self;
        let object = (self.change)(&old.value)?;
        // Upstream's storage asks it before anything else: the object was made anew.
        if self.ctx.info.verb == "update" {
            check_uid(kind, &object, &old.value)?;
        }
        let version = meta::locked_version(&object);
        let locked = !version.is_empty();
        check_locked_version(kind, name, version, &old.value)?;
        // A patched Scale says which object it means, as an updated one (upstream:
        // `scaleUpdatedObjectInfo`).
        let info = &self.ctx.info;
        match info.verb == "patch" && info.subresource != "scale" {
            true => check_same_uid(kind, part, &object, &old.value)?,
            false => check_uid(kind, &object, &old.value)?,
        }
        check_deletion(kind, part, &self.ctx.info.subresource, &object, &old.value)?;
        Ok(Edited { object, locked })
    }

    fn default(&self, mut edited: Edited) -> Result<Edited, Status> {
        let Edit { ctx, kind, part, old, .. } = *self;
        let subresource = ctx.info.subresource.as_str();
        drop_repeated_owners(ctx, &mut edited.object);
        // As upstream no client sets managers through a subresource (`decodeLiveOrNew`): a right to
        // the status is none to the rest. An apply has merged them by itself.
        if !subresource.is_empty() && !ctx.applies() {
            value::copy(&old.value, &mut edited.object, "metadata.managedFields");
        }
        keep(kind, part, subresource, &mut edited.object, &old.value);
        self.settle(&mut edited.object)?;
        Ok(edited)
    }

    /// NodeRestriction judges every change. The other mutating plug-ins of this cluster change new
    /// objects only.
    async fn admit(&self, edited: &mut Edited) -> Result<(), Status> {
        admission::restrict_node(&self.attributes(), &edited.object)
    }

    async fn validate(&self, edited: &Edited) -> Result<(), Status> {
        let Edit { state, ctx, kind, part, name, old, .. } = *self;
        let new = &edited.object;
        let errors = self.problems(new);
        if !errors.is_empty() {
            ctx.would_make(new);
            return Err(Status::invalid(kind.group, kind.kind, name, &errors));
        }
        if part != Part::Finalize {
            check_fields(ctx, kind, new, Some(&old.value))?;
            warn_as_upstream(ctx, kind, new, Some(&old.value));
        }
        escalation::check(state, ctx, kind, new, Some(&old.value)).await
    }

    /// Erases an object whose last finalizer goes.
    async fn commit(&self, edited: Edited) -> Result<Tried, Status> {
        let Edit { state, ctx, kind, old, .. } = *self;
        let Edited { object: mut new, locked } = edited;
        if self.is_bare {
            drop_managers(&mut new);
        }
        let finished = delete::is_finished(kind, &new);
        let unplanned = if services::is_service(kind) { new.clone() } else { Value::Null };
        let planned = services::plan(state, kind, &mut new, Some(&old.value));
        if planned.as_ref().is_err_and(|status| status.code == 422) {
            ctx.would_make(&new);
        }
        let mut extra = planned?;
        let is_nothing = new == old.value && !finished;
        if !is_nothing {
            ctx.stage(Event::Validate);
        }
        // Also where nothing changes: the answer shows the object, and says that its client may
        // write it.
        let attributes = self.attributes();
        extra.join(admission::validate(&attributes, &new)?);
        if is_nothing {
            return Ok(Tried::Nothing);
        }
        if ctx.dry_run {
            value::put(&mut new, "metadata.resourceVersion", meta::resource_version(&old.value));
            ctx.would_make(&new);
            return Ok(Tried::Written(Arc::new(Object::unwritten(new))));
        }
        if finished {
            extra = services::removal(state, kind, &old.value);
        }
        // What is written to an object on its way out leads to its end.
        extra.of_component = ctx.user.may_repair();
        extra.repairs |= meta::is_terminating(&new) && extra.of_component;
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
                record_beside(ctx, &extra, made.revision);
                Ok(Tried::Written(made))
            }
            Err(Refused::Error(status)) => Ok(Tried::Failed(status)),
            Err(Refused::Changed) => {
                services::after_collision(state, kind, &extra, &unplanned).await?;
                Ok(Tried::Overtaken { locked })
            }
        }
    }
}

impl<'a> Edit<'a> {
    fn attributes(&self) -> admission::Attributes<'a> {
        let Edit { state, ctx, kind, old, .. } = *self;
        admission::Attributes { state, ctx, kind, old: Some(&old.value), is_name_generated: false }
    }

    /// Returns what is wrong with the object, as far as this part of it may be written.
    fn problems(&self, new: &Value) -> Errors {
        let Edit { ctx, kind, part, .. } = *self;
        let old = &self.old.value;
        match part {
            Part::Main => {
                let mut errors = validate::update(kind, new, old);
                check_version(ctx, kind, new, Some(old), &mut errors);
                errors
            }
            Part::Status => validate::status_update(kind, new, old, &ctx.info.subresource),
            Part::Ephemeral => {
                let mut errors = validate::judged(kind, new, old);
                ephemeral_update(new, old, &mut errors);
                errors
            }
            Part::Finalize => {
                let mut errors = validate::metadata_update(kind, new, old);
                (kind.validate_subresource)(new, old, &ctx.info.subresource, &mut errors);
                errors
            }
            Part::Internal => validate::schema(kind, new, Some(old)),
        }
    }

    /// Fills in what the server fills in, and tracks the field managers.
    ///
    /// `metadata.generation` grows when the spec changes, and not with the status. A controller
    /// copies it to `status.observedGeneration`, and so says which spec its status is about.
    ///
    /// # Errors
    /// Of [`Kind::refill`].
    fn settle(&self, new: &mut Value) -> Result<(), Status> {
        let Edit { ctx, kind, part, .. } = *self;
        let old = &self.old.value;
        kind.drop_zeros(new);
        match part {
            Part::Main => {
                kind.refill(new, old)?;
                (kind.prepare_update)(new, old);
            }
            Part::Status => {
                if kind.custom.is_some() {
                    kind.refill(new, old)?;
                }
                (kind.prepare_status_update)(new, old, &ctx.info.subresource);
            }
            Part::Ephemeral => {
                let mut filled = new.clone();
                (kind.defaults)(&mut filled);
                value::copy(&filled, new, EPHEMERAL);
            }
            Part::Finalize => (kind.defaults)(new),
            Part::Internal if kind.custom.is_some() => kind.refill(new, old)?,
            Part::Internal => {}
        }
        // A binding is the scheduler's word: it is no change of what was asked for, and no field
        // that the scheduler owns.
        let binds = part == Part::Internal && ctx.info.verb == "create";
        let annotations = |object| at(object, "metadata.annotations");
        let annotated = kind.generation_of_annotations
            && matches!(part, Part::Main)
            && annotations(new) != annotations(old);
        let counts = kind.generation && !kind.generation_fixed && !binds;
        if counts && (annotated || spec_changed(kind, new, old)) {
            value::put(new, "metadata.generation", meta::generation(old).saturating_add(1));
        }
        match ctx.applies() {
            true if *new != *old => renew(ctx, kind, new),
            false if !binds => track_managers(ctx, kind, old, new),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Api;
    use serde_json::{Value, json};

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    /// As upstream, whose storage reads the version before it compares.
    #[tokio::test]
    async fn a_version_that_is_none_is_no_conflict() {
        let api = Api::bare().await;
        api.made(MAPS, json!({"metadata": {"name": "a"}})).await;
        let path = format!("{MAPS}/a");
        let map = |version: &str| json!({"metadata": {"name": "a", "resourceVersion": version}});
        for (version, code, why) in [
            ("abc", 500, "strconv.ParseUint: parsing \"abc\": invalid syntax"),
            ("-1", 500, "strconv.ParseUint: parsing \"-1\": invalid syntax"),
            ("1", 409, "the object has been modified"),
        ] {
            for (got, answer) in [api.put(&path, map(version)).await, api.patch(&path, map(version)).await] {
                let message = answer["message"].as_str().unwrap_or_default();
                assert!(got == code && message.contains(why), "{version}: {got} {message}");
            }
        }
    }

    /// As `strconv.ParseUint`, with which upstream reads both before it compares.
    #[tokio::test]
    async fn a_version_may_have_zeros_before_it() {
        let api = Api::bare().await;
        let made = api.made(MAPS, json!({"metadata": {"name": "a"}})).await;
        let path = format!("{MAPS}/a");
        let mut version = made["metadata"]["resourceVersion"].as_str().unwrap().to_string();
        for (verb, value) in [("PUT", "x"), ("PATCH", "y"), ("PUT", "z")] {
            let meta = json!({"name": "a", "resourceVersion": format!("00{version}")});
            let map = json!({"metadata": meta, "data": {"k": value}});
            let (code, answer) = match verb {
                "PUT" => api.put(&path, map).await,
                _ => api.patch(&path, map).await,
            };
            assert_eq!((code, &answer["data"]["k"]), (200, &json!(value)), "{answer}");
            let now = answer["metadata"]["resourceVersion"].as_str().unwrap();
            assert!(!now.starts_with('0'), "{now}");
            version = now.to_string();
        }
        let any = json!({"metadata": {"name": "a", "resourceVersion": "00"}});
        assert_eq!(api.put(&path, any).await.0, 200, "as 0 it asks for no version");
    }

    /// As `applyPatch` upstream: the namespace is judged before the name, and a name that a patch
    /// takes away is not another one.
    #[tokio::test]
    async fn a_patch_leaves_an_object_its_namespace_and_its_name() {
        let api = Api::bare().await;
        api.made(MAPS, json!({"metadata": {"name": "a"}})).await;
        for (metadata, why) in [
            (
                Value::Null,
                "the name of the object (a based on URL) was undeterminable: name must be provided",
            ),
            (json!({"name": "b"}), "the name of the object (b) does not match the name on the URL (a)"),
            (
                json!({"name": "b", "namespace": "c"}),
                "the namespace of the provided object does not match the namespace sent on the request",
            ),
        ] {
            let (code, answer) = api.patch(&format!("{MAPS}/a"), json!({ "metadata": metadata })).await;
            assert_eq!((code, &answer["message"]), (400, &json!(why)));
        }
    }
}
