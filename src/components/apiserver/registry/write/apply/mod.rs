//! Server-side apply: an object as its manager wants it, merged with what others own.

mod refusals;

pub(crate) use refusals::{check_says_type, undeclared_of, untyped_of};

use super::conform::conform;
use super::create::create_object;
use super::shared::with_other_names;
use super::update::modify;
use crate::registry::replicas;
use crate::registry::strategy::{Part, no_uid_of_the_gone, stored_kind};
use crate::request::context::Context;
use crate::request::decode;
use crate::request::http::Answer;
use crate::request::negotiate;
use crate::state::State;
use crate::storage::object::Object;
use crate::storage::store::Deadline;
use api::kinds::Kind;
use api::managed::{self, Applied, Manager};
use api::shape::Shape;
use api::{Status, bounds, meta, value};
use bytes::Bytes;
use refusals::{conflict, mistyped, undeclared, untyped};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;

pub(super) async fn server_side_apply(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    part: Part,
    body: &Bytes,
    form: negotiate::Form,
) -> Result<Answer, Status> {
    let mut applied = decode::applied(ctx, body)?;
    check_says_type((&kind.api_version(), kind.kind), &applied)?;
    if !value::empty(&applied, "metadata.managedFields") {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    value::default(&mut applied, "metadata.name", ctx.info.name.clone());
    let manifest = applied.clone();
    let conformed = conform(ctx, kind, applied);
    let (mut applied, unknown) = conformed.map_err(|refusal| mistyped(kind, &manifest).unwrap_or(refusal))?;
    if !unknown.is_empty() {
        return Err(undeclared(kind, &manifest, unknown.shown(), unknown.count()));
    }
    let problems = managed::mistyped(Shape::of(kind), &applied);
    if !problems.is_empty() {
        return Err(untyped((&kind.api_version(), kind.kind), &manifest, &problems));
    }
    confine(stored_kind(kind), part, &mut applied);
    let manifest = (part == Part::Main).then_some(&manifest);
    let (object, created) = self::applied(state, ctx, kind, part, &applied, manifest).await?;
    let code = if created { 201 } else { 200 };
    Ok(negotiate::one_through(code, kind, &ctx.info.subresource, form, &object))
}

/// Applies what the manager of the request wants, in the object's stored form. True: the object was
/// created.
///
/// Each field has owners (KEP-555). `ci` applied the label `tier` and `replicas: 3`; then `scaler`
/// applies `replicas: 5`:
///
/// ```text
/// without force      409: conflict with "ci" over .spec.replicas
/// with force         5, owned by scaler
/// ci applies without replicas   5 stays: a field goes only with its last owner
/// ci applies without tier       the label goes: ci was its only owner
/// ```
///
/// `manifest` is what the client sent, if that is the object itself: kubectl's annotation
/// `last-applied-configuration` is kept up with it.
///
/// # Errors
/// 409 for fields of other managers, 500 for lists that cannot be merged, and those of every write.
pub(crate) async fn applied(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    part: Part,
    applied: &Value,
    manifest: Option<&Value>,
) -> Result<(Arc<Object>, bool), Status> {
    let (name, stored) = (&ctx.info.name, stored_kind(kind));
    let (force, now) = (ctx.query.is_true("force"), clock::rfc3339(clock::now()));
    let api_version = kind.api_version();
    let manager = Manager {
        name: ctx.query.get("fieldManager"),
        api_version: &api_version,
        subresource: &ctx.info.subresource,
        now: &now,
    };
    let shape = Shape::of(stored);
    let problems = managed::problems(shape, applied);
    if !problems.is_empty() {
        return Err(untyped((&api_version, kind.kind), applied, &problems));
    }
    let resets = resets(stored, part, &ctx.info.subresource);
    let deadline = Deadline::new();
    loop {
        deadline.check()?;
        let done = modify(state, ctx, stored, part, name, |old| {
            // A custom resource may have been stored under an older schema, or in another version.
            let live = if kind.custom.is_some() { kind.from_stored(old) } else { Cow::Borrowed(old) };
            let outcome = merge(stored, &live, applied, manager, &resets);
            if !outcome.conflicts.is_empty() && !force {
                return Err(conflict(&outcome.conflicts, outcome.found));
            }
            let mut object = outcome.object;
            if let Some(manifest) = manifest {
                managed::sync_last_applied(&mut object, manifest, manager.name);
            }
            if ctx.info.subresource == "scale" {
                replicas::complete_applied(kind, &live, &mut object)?;
            }
            // Where no manager owns a field any more: without a list `keep` takes the old managers.
            value::default(&mut object, "metadata.managedFields", json!([]));
            bounds::check_depth(&object)?;
            if meta::resource_version(applied).is_empty() {
                value::remove(&mut object, "metadata.resourceVersion");
            }
            Ok(object)
        })
        .await;
        match done {
            Err(status)
                if status.reason == "NotFound" && part == Part::Main && ctx.info.subresource.is_empty() =>
            {
                no_uid_of_the_gone(stored, applied)?;
                let made = merge(stored, &Value::Null, applied, manager, &resets);
                let mut object = made.object;
                if let Some(manifest) = manifest {
                    managed::sync_last_applied(&mut object, manifest, manager.name);
                }
                value::remove(&mut object, "metadata.resourceVersion"); // only the verb create refuses it
                match create_object(state, ctx, stored, object).await {
                    Err(status) if status.reason == "AlreadyExists" => {}
                    made => return Ok((made?, true)),
                }
            }
            done => return Ok((done?, false)),
        }
    }
}

/// Applies an object to the live one. All managers' fields are compared in the stored names.
fn merge(stored: &Kind, live: &Value, applied: &Value, manager: Manager, resets: &[&str]) -> Applied {
    let other = with_other_names(stored);
    let mut live = Cow::Borrowed(live);
    if other.is_some() {
        managed::to_stored_names(live.to_mut(), other);
    }
    let mut outcome = managed::apply_resetting(Shape::of(stored), &live, applied, manager, resets);
    managed::to_own_names(&mut outcome.object, other);
    outcome
}

/// Returns the paths that an apply does not own, although it may write them: a new Node keeps the
/// status that it comes with. Whether they are stored is decided with the object, by `keep` or by
/// its creation. An apply of a status writes no spec, and the entry `before-first-apply` that it
/// may make owns none. The status of a definition of custom resources can change labels, and owns
/// none: upstream's `statusStrategy` lists the metadata and keeps the new one.
fn resets(kind: &Kind, part: Part, subresource: &str) -> Vec<&'static str> {
    let of = kind.resets.iter().filter(|(of, _)| *of == subresource).map(|(_, path)| *path);
    let of_part: &[&str] = match part {
        Part::Main if kind.has_status => &["status"],
        Part::Status if kind.custom.is_none() && kind.plural == "customresourcedefinitions" => {
            &["metadata", "spec"]
        }
        Part::Status => &["spec"],
        _ => &[],
    };
    of.chain(of_part.iter().copied()).collect()
}

/// Drops from an apply what this subresource does not write: a manager owns no field that its apply
/// cannot change (upstream: `GetResetFields`). The status of a custom resource comes with no
/// metadata; see `keep`. The status in an apply of the whole object stays; see `resets`.
fn confine(kind: &Kind, part: Part, applied: &mut Value) {
    let Value::Object(map) = applied else { return };
    match part {
        Part::Status => {
            map.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
            if kind.custom.is_some()
                && let Some(Value::Object(metadata)) = map.get_mut("metadata")
            {
                let kept = ["name", "namespace", "uid", "resourceVersion", "managedFields"];
                metadata.retain(|field, _| kept.contains(&field.as_str()));
            }
        }
        Part::Ephemeral => {
            map.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "spec"));
            let kept = ["name", "namespace", "uid", "resourceVersion"];
            for (field, kept) in [("metadata", &kept[..]), ("spec", &["ephemeralContainers"])] {
                if let Some(Value::Object(fields)) = map.get_mut(field) {
                    fields.retain(|field, _| kept.contains(&field.as_str()));
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user::{MASTERS, User};
    use crate::testing::{self, Api};
    use api::kinds;

    /// Upstream refuses a resourceVersion in the verb create only.
    #[tokio::test]
    async fn an_apply_that_creates_ignores_the_resource_version() {
        let api = Api::bare().await;
        let metadata = json!({"name": "a", "resourceVersion": "500000"});
        let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"k": "v"}});
        let path = "/api/v1/namespaces/default/configmaps/a?fieldManager=me";
        let body = ("application/apply-patch+yaml", map.to_string());
        let admin = User::new("admin", &[MASTERS]);
        let (code, made) = testing::send(&api.fixture.server, admin, ("PATCH", path), body, "").await;
        assert_eq!((code, &made["data"]["k"]), (201, &json!("v")), "{made}");
        assert_ne!(made["metadata"]["resourceVersion"], "500000");
    }

    /// A create or an update may leave them out.
    #[tokio::test]
    async fn an_apply_says_its_version_and_its_kind() {
        let api = Api::bare().await;
        let apply = async |path: &str, body: Value| {
            let path = format!("{path}?fieldManager=m");
            let body = ("application/apply-patch+yaml", body.to_string());
            let admin = User::new("admin", &[MASTERS]);
            testing::send(&api.fixture.server, admin, ("PATCH", path.as_str()), body, "").await
        };
        let map = "/api/v1/namespaces/default/configmaps/a";
        let scale = "/apis/apps/v1/namespaces/default/deployments/d/scale";
        for (path, body, found) in [
            (map, json!({"kind": "ConfigMap"}), "/, Kind=ConfigMap"),
            (map, json!({"kind": "ConfigMap", "apiVersion": "v2"}), "/v2, Kind=ConfigMap"),
            (map, json!({"kind": "Secret", "apiVersion": "v1"}), "/v1, Kind=Secret"),
            (map, json!({"apiVersion": "v1", "metadata": {"name": "a"}}), "/v1, Kind="),
            (scale, json!({"kind": "Scale"}), "/, Kind=Scale"),
        ] {
            let why = format!("invalid object type: {found}");
            let (code, answer) = apply(path, body).await;
            assert_eq!((code, &answer["message"]), (400, &json!(why)), "{path}");
        }
        let mistyped = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"k": 7}});
        let (code, answer) = apply(map, mistyped).await;
        let why = "failed to create typed patch object (/a; /v1, Kind=ConfigMap): ";
        assert!(code == 500 && answer["message"].as_str().unwrap().starts_with(why), "{answer}");
        assert_eq!(api.get(map).await.0, 404);
    }

    /// As `lastAppliedManager` and `lastAppliedUpdater` upstream.
    #[tokio::test]
    async fn kubectl_takes_over_what_its_client_side_apply_noted() {
        const NOTE: &str = managed::LAST_APPLIED;
        let api = Api::bare().await;
        let map = |value: &str| json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": value}});
        let mut noted = map("v");
        noted["metadata"]["annotations"] = json!({NOTE: map("v").to_string()});
        let maps = "/api/v1/namespaces/default/configmaps";
        assert_eq!(api.post(maps, noted).await.0, 201);
        let apply = async |manager: &str| {
            let path = format!("{maps}/a?fieldManager={manager}");
            let body = ("application/apply-patch+yaml", map("w").to_string());
            let admin = User::new("admin", &[MASTERS]);
            testing::send(&api.fixture.server, admin, ("PATCH", path.as_str()), body, "").await
        };
        assert_eq!(apply("another").await.0, 409);
        let (code, made) = apply("kubectl").await;
        assert_eq!((code, &made["data"]["k"]), (200, &json!("w")), "{made}");
        let note = &made["metadata"]["annotations"][NOTE];
        assert_eq!(*note, format!("{}\n", api::gojson::compact(&map("w"))));
        let (code, again) = apply("kubectl").await;
        assert_eq!((code, again), (200, made), "applying the same again changes nothing");
    }

    /// As upstream, which writes nothing where only the time would change.
    #[tokio::test]
    async fn the_entry_of_an_apply_has_the_time_of_its_last_change() {
        const LONG_AGO: &str = "2001-01-01T00:00:00Z";
        let api = Api::bare().await;
        let path = "/api/v1/namespaces/default/configmaps/a";
        let apply = async |value: &str| {
            let metadata = json!({"name": "a"});
            let map =
                json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"k": value}});
            let body = ("application/apply-patch+yaml", map.to_string());
            let path = format!("{path}?fieldManager=m");
            let admin = User::new("admin", &[MASTERS]);
            testing::send(&api.fixture.server, admin, ("PATCH", path.as_str()), body, "").await.1
        };
        let mut made = apply("v").await;
        made["metadata"]["managedFields"][0]["time"] = LONG_AGO.into();
        assert_eq!(api.put(path, made).await.0, 200);
        let time = |object: &Value| object["metadata"]["managedFields"][0]["time"].clone();
        assert_eq!(time(&apply("v").await), LONG_AGO, "nothing changes");
        assert_ne!(time(&apply("w").await), LONG_AGO);
    }

    /// Another manager that applies the same field meets no conflict.
    #[tokio::test]
    async fn a_manager_that_applies_nothing_more_owns_nothing() {
        let api = Api::bare().await;
        let apply = async |manager: &str, data: Option<Value>| {
            let mut map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}});
            if let Some(data) = data {
                map["data"] = data;
            }
            let path = format!("/api/v1/namespaces/default/configmaps/a?fieldManager={manager}");
            let body = ("application/apply-patch+yaml", map.to_string());
            let admin = User::new("admin", &[MASTERS]);
            testing::send(&api.fixture.server, admin, ("PATCH", path.as_str()), body, "").await
        };
        assert_eq!(apply("one", Some(json!({"k": "v"}))).await.0, 201);
        let (code, bare) = apply("one", None).await;
        assert_eq!(
            (code, bare.get("data"), bare["metadata"].get("managedFields")),
            (200, None, None),
            "{bare}"
        );
        let (code, taken) = apply("other", Some(json!({"k": "w"}))).await;
        assert_eq!((code, &taken["data"]["k"]), (200, &json!("w")), "{taken}");
    }

    /// The finalizer of a claim is from admission and belongs to no manager.
    #[tokio::test]
    async fn a_claim_stays_protected_without_its_last_label() {
        let api = Api::bare().await;
        let path = "/api/v1/namespaces/default/persistentvolumeclaims/a?fieldManager=m";
        let apply = async |metadata: Value| {
            let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": {"requests": {"storage": "1Mi"}}});
            let claim = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": metadata, "spec": spec});
            let body = ("application/apply-patch+yaml", claim.to_string());
            let admin = User::new("admin", &[MASTERS]);
            testing::send(&api.fixture.server, admin, ("PATCH", path), body, "").await
        };
        let (_, made) = apply(json!({"name": "a", "labels": {"k": "v"}})).await;
        assert_eq!(made["metadata"]["labels"], json!({"k": "v"}), "{made}");
        let (code, bare) = apply(json!({"name": "a"})).await;
        assert_eq!((code, bare["metadata"].get("labels")), (200, None), "{bare}");
        assert_eq!(bare["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
        let fields = &bare["metadata"]["managedFields"][0]["fieldsV1"];
        assert!(fields.get("f:spec").is_some() && fields.get("f:metadata").is_none(), "{fields}");
    }

    #[test]
    fn an_apply_owns_only_what_its_part_of_the_object_keeps() {
        let of = |group: &str, kind: &str| kinds::find(group, "v1", kind).unwrap();
        let definition = of("apiextensions.k8s.io", "CustomResourceDefinition");
        assert_eq!(resets(definition, Part::Status, "status"), ["metadata", "spec"]);
        assert_eq!(resets(definition, Part::Main, ""), ["status"]);
        assert_eq!(resets(of("apps", "Deployment"), Part::Status, "status"), ["metadata.labels", "spec"]);
        assert_eq!(resets(of("", "ConfigMap"), Part::Main, ""), [""; 0]);
        let tabs = json!({"spec": {"group": "a.io", "versions": [{"name": "v1", "storage": true}]}, "status": {"acceptedNames": {"plural": "tabs", "kind": "Tab"}}});
        let custom = api::custom::stored_kind(&tabs).unwrap();
        assert_eq!(resets(&custom, Part::Status, "status"), ["spec"]);
    }
}
