//! New objects.

use super::shared::{
    check_fields, check_version, drop_managers, may_shrink, record_beside, track_managers, warn_as_upstream,
};
use crate::admission;
use crate::auth::escalation;
use crate::pipeline::{self, Write};
use crate::registry::services;
use crate::registry::strategy::{drop_repeated_owners, fill_metadata, set_namespace, stored_kind};
use crate::request::context::Context;
use crate::request::decode;
use crate::request::http::Answer;
use crate::request::negotiate::{self, form};
use crate::state::State;
use crate::storage::object::Object;
use crate::storage::store::{Deadline, Refused};
use api::kinds::Kind;
use api::value::{self, text};
use api::{Status, meta, validate};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use tap::Event;

/// Names that `generateName` tries.
const NAMES: usize = 8;
/// Why an object with a resourceVersion is not created.
const HAS_VERSION: &str = "resourceVersion should not be set on objects to be created";

pub(crate) async fn create(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    body: &Bytes,
) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let object = decode::object(ctx, kind, body)?;
    let made = create_object(state, ctx, kind, object).await?;
    Ok(negotiate::one(201, kind, form, &made))
}

/// Creates a decoded object (in its stored form) on behalf of the user of `ctx`.
///
/// `generateName: web-` makes names such as `web-x7k2p`. Another object may have the name, so up to
/// eight are tried: with five letters that happens rarely, and a client never sees it.
pub(crate) async fn create_object(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    mut object: Value,
) -> Result<Arc<Object>, Status> {
    let kind = stored_kind(kind);
    ctx.set_name(meta::name(&object));
    set_namespace(ctx, kind, &mut object)?;
    let has_version = meta::resource_version(&object).parse::<u64>().is_ok_and(|version| version != 0);
    value::remove(&mut object, "metadata.resourceVersion");
    fill_metadata(state, kind, &mut object);
    if ctx.dry_run || admission::check_placement(state, kind, &object).is_err() {
        state.fresh().await?; // what this server remembers says no, and may be old
        admission::check_placement(state, kind, &object)?;
    }
    let generate = text(&object, "metadata.generateName").to_string();
    let tries = if meta::name(&object).is_empty() && !generate.is_empty() { NAMES } else { 1 };
    for attempt in 1..=tries {
        let mut object = object.clone();
        if tries > 1 {
            let prefix: String = generate.chars().take(58).collect();
            value::put(&mut object, "metadata.name", format!("{prefix}{}", state.rng.name_suffix(5)));
        }
        let (namespace, name) = (meta::namespace(&object).to_string(), meta::name(&object).to_string());
        match create_named(state, ctx, kind, object, tries > 1, has_version).await {
            Err(status) if status.reason == "AlreadyExists" && attempt < tries => {}
            Err(status) if status.reason == "AlreadyExists" => {
                let other = state.remembered(kind, &namespace, &name);
                let is_terminating = other.is_some_and(|other| meta::is_terminating(&other.value));
                return Err(explain_taken(status, !generate.is_empty(), is_terminating));
            }
            done => return done,
        }
    }
    Err(Status::internal("no name was tried"))
}

/// Says more about a name that is taken. As upstream it counts as generated also if the client gave
/// a name beside `generateName`. Source: `CheckGeneratedNameError`, `Store.create`.
///
/// Example: `object is being deleted: pods "web" already exists`, while its grace period lasts.
fn explain_taken(mut status: Status, is_generated: bool, is_terminating: bool) -> Status {
    if is_generated {
        status.message.push_str(", the server was not able to generate a unique name for the object");
        status.details["retryAfterSeconds"] = 1.into();
    }
    if is_terminating {
        status.message.insert_str(0, "object is being deleted: ");
    }
    status
}

/// Creates an object whose name is known. What this server remembers may be old (a quota, a
/// ServiceAccount, a port that was given back through another server): a refusal counts only when
/// it was judged by what is in the store now.
async fn create_named(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    object: Value,
    is_name_generated: bool,
    has_version: bool,
) -> Result<Arc<Object>, Status> {
    ctx.set_name(meta::name(&object)); // which may have been generated
    let known = state.cache.revision();
    let creation = Creation { state, ctx, kind, object: &object, is_name_generated, has_version };
    let done = match pipeline::write(&creation).await {
        // 500 is the refusal of a port for health checks, and that of a range that is full.
        Err(status) if matches!(status.code, 403 | 404 | 422 | 500) => match state.fresh().await {
            Ok(now) if now > known => pipeline::write(&creation).await,
            _ => Err(status),
        },
        done => done,
    };
    if done.as_ref().is_err_and(|status| status.code == 422) {
        ctx.would_make(&object); // for the record: the message names the wrong fields alone
    }
    done
}

/// A write of a new object.
///
/// The pipeline calls its steps in this order, for a Pod for example:
///
/// ```text
/// decode     the body, read before: retries begin from it
/// default    restartPolicy: Always, imagePullPolicy; a status that the client sent is dropped
/// admit      ServiceAccount, tolerations, LimitRanger's defaults
/// validate   a wrong image name or port: 422 with every problem at once
/// commit     quota, one transaction with the store
/// ```
///
/// Defaults come before admission, so that a plug-in sees the object as it will be stored.
struct Creation<'a> {
    state: &'a Arc<State>,
    ctx: &'a Context,
    kind: &'a Kind,
    /// Decoded, in its stored form and with its name: the attempts differ in nothing else.
    object: &'a Value,
    is_name_generated: bool,
    /// The client sent a resourceVersion.
    has_version: bool,
}

impl<'a> Creation<'a> {
    fn attributes(&self) -> admission::Attributes<'a> {
        let Creation { state, ctx, kind, is_name_generated, .. } = *self;
        admission::Attributes { state, ctx, kind, old: None, is_name_generated }
    }
}

impl Write for Creation<'_> {
    type Wanted = Value;
    type Planned = Value;
    type Done = Arc<Object>;

    fn decode(&self) -> Result<Value, Status> {
        Ok(self.object.clone())
    }

    fn default(&self, mut object: Value) -> Result<Value, Status> {
        let Creation { ctx, kind, .. } = *self;
        drop_repeated_owners(ctx, &mut object);
        kind.drop_zeros(&mut object);
        kind.fill(&mut object)?;
        if kind.has_status && !kind.keeps_first_status {
            value::remove(&mut object, "status");
        }
        if !ctx.applies() {
            value::remove(&mut object, "metadata.managedFields");
            // Before admission: what that adds has no manager.
            track_managers(ctx, kind, &Value::Null, &mut object);
        }
        Ok(object)
    }

    async fn admit(&self, object: &mut Value) -> Result<(), Status> {
        check_fields(self.ctx, self.kind, object, None)?;
        let details = admission::mutate(&self.attributes(), object).await?;
        self.ctx.stage(Event::Admit(details));
        (self.kind.prepare)(object);
        Ok(())
    }

    async fn validate(&self, object: &Value) -> Result<(), Status> {
        let Creation { state, ctx, kind, .. } = *self;
        let mut errors = validate::create(kind, object);
        check_version(ctx, kind, object, None, &mut errors);
        if !errors.is_empty() {
            return Err(Status::invalid(kind.group, kind.kind, meta::name(object), &errors));
        }
        warn_as_upstream(ctx, kind, object, None);
        escalation::check(state, ctx, kind, object, None).await?;
        ctx.stage(Event::Validate);
        Ok(())
    }

    /// Tries again while others take its address or port, charge its quota, undo its step or change
    /// its namespace at the same moment; once more without managed fields if the object is too
    /// large with them. A resourceVersion is refused by upstream's store, so after everything else.
    async fn commit(&self, mut object: Value) -> Result<Arc<Object>, Status> {
        let Creation { state, ctx, kind, .. } = *self;
        let attributes = self.attributes();
        let name = meta::name(&object).to_string();
        let _turn = admission::turn(&attributes, &object).await;
        let deadline = Deadline::new();
        loop {
            deadline.check()?;
            let mut planned = object.clone();
            let mut extra = services::plan(state, kind, &mut planned, None)?;
            extra.join(admission::validate(&attributes, &planned)?);
            extra.unchanged.extend(admission::check_placement(state, kind, &planned)?);
            if ctx.dry_run {
                return match state.remembered(kind, meta::namespace(&planned), &name) {
                    Some(_) => Err(Status::already_exists(kind.group, kind.plural, &name)),
                    None => Ok(Arc::new(Object::unwritten(planned))),
                };
            }
            if self.has_version {
                return Err(Status::new(500, "", HAS_VERSION));
            }
            state.cache.steps.note(ctx, kind, &planned, &mut extra);
            match state.write(kind, planned, 0, &extra).await {
                Ok(made) => {
                    ctx.committed(&made, tap::Write::CREATED);
                    record_beside(ctx, &extra, made.revision);
                    return Ok(made);
                }
                Err(Refused::Error(status)) if may_shrink(ctx, &status) && drop_managers(&mut object) => {}
                Err(Refused::Error(status)) => return Err(status),
                // Something that the transaction relied on has changed. Either the object exists by
                // now, or a quota, an address or the namespace did, and the same object is planned
                // anew.
                Err(Refused::Changed) => {
                    state.fresh().await?;
                    let namespace = meta::namespace(&object);
                    let exists = state.remembered(kind, namespace, &name).is_some()
                        || state.undecodable(kind, namespace, &name).is_some();
                    if exists {
                        return Err(Status::already_exists(kind.group, kind.plural, &name));
                    }
                    services::after_collision(state, kind, &extra, &object).await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user::{MASTERS, User};
    use crate::testing::{self, Api};
    use serde_json::json;

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    /// The version is the last thing that upstream looks at, and its storage has no reason for the
    /// refusal.
    #[tokio::test]
    async fn a_new_object_has_no_resource_version() {
        let api = Api::bare().await;
        let map = |name: &str, version: &str| json!({"metadata": {"name": name, "resourceVersion": version}});
        let (code, refused) = api.post(MAPS, map("a", "7")).await;
        assert_eq!((code, &refused["message"], refused.get("reason")), (500, &json!(HAS_VERSION), None));
        let (code, refused) = api.post(MAPS, map("A", "7")).await;
        assert_eq!((code, &refused["reason"]), (422, &json!("Invalid")), "the name is judged first");
        assert_eq!(api.get(&format!("{MAPS}/a")).await.0, 404);
        assert_eq!(api.post(&format!("{MAPS}?dryRun=All"), map("a", "7")).await.0, 201, "no store is asked");
        for (name, version) in [("none", ""), ("zero", "0"), ("text", "x")] {
            assert_eq!(api.post(MAPS, map(name, version)).await.0, 201, "{name}");
        }
    }

    /// About 250 bytes each, and as many in the managed fields.
    fn keys(count: usize) -> Value {
        (0..count).map(|n| (format!("key-{n:0240}"), json!("v"))).collect::<serde_json::Map<_, _>>().into()
    }

    /// As upstream: a create, an update and a patch. An apply is nothing without its fields.
    #[tokio::test]
    async fn an_object_that_is_too_large_is_stored_without_its_managed_fields() {
        let api = Api::bare().await;
        let large = |name: &str, count: usize| {
            let metadata = json!({"name": name});
            json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": keys(count)})
        };
        let (code, made) = api.post(MAPS, large("a", 4_000)).await;
        assert_eq!((code, made["metadata"].get("managedFields")), (201, None), "{}", made["message"]);
        assert_eq!(made["data"].as_object().unwrap().len(), 4_000);
        for name in ["b", "c"] {
            assert!(api.made(MAPS, large(name, 1)).await["metadata"]["managedFields"].is_array());
        }
        let (code, put) = api.put(&format!("{MAPS}/b"), large("b", 4_000)).await;
        assert_eq!((code, put["metadata"].get("managedFields")), (200, None), "{}", put["message"]);
        let (code, patched) = api.patch(&format!("{MAPS}/c"), json!({"data": keys(4_000)})).await;
        assert_eq!((code, patched["metadata"].get("managedFields")), (200, None), "{}", patched["message"]);
        assert_eq!(patched["data"].as_object().unwrap().len(), 4_000);
        assert_eq!(api.post(MAPS, large("d", 7_000)).await.0, 413, "its data alone is too large");
        let body = ("application/apply-patch+yaml", large("e", 4_000).to_string());
        let path = format!("{MAPS}/e?fieldManager=m");
        let admin = User::new("admin", &[MASTERS]);
        let (code, refused) =
            testing::send(&api.fixture.server, admin, ("PATCH", path.as_str()), body, "").await;
        assert_eq!(code, 413, "{}", refused["message"]);
    }
}
