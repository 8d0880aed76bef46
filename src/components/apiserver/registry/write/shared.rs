//! What creates and updates have in common.

use crate::auth::user::MASTERS;
use crate::request::context::Context;
use crate::storage::extra::Extra;
use crate::storage::object::Object;
use api::errors::Errors;
use api::kinds::{self, Kind};
use api::managed::{self, Manager};
use api::shape::Shape;
use api::{Status, legacy_addresses, meta, unhonoured, value, warnings};
use etcd::api::Revision;
use serde_json::Value;
use tap::{self, Event, Record, Write};

/// Validates what the version that the client writes asks for beyond the stored one.
pub(super) fn check_version(
    ctx: &Context,
    kind: &Kind,
    new: &Value,
    old: Option<&Value>,
    errors: &mut Errors,
) {
    let written = kinds::find(&ctx.info.group, &ctx.info.version, kind.kind);
    if let Some(conversion) = written.and_then(|kind| kind.conversion) {
        (conversion.validate)(new, old, errors);
    }
}

/// Records what a write changed beside its own object, each object as a commit of its own.
pub(crate) fn record_beside(ctx: &Context, extra: &Extra, revision: Revision) {
    for beside in &extra.beside {
        let made = Object::new(beside.object.clone(), revision);
        let (namespace, name) = (meta::namespace(&made.value), meta::name(&made.value));
        let write = if beside.goes { Write::DELETED } else { Write::UPDATED };
        let record = Record::new(Event::Commit(write)).revision(revision as u64);
        ctx.record_other(record.object(beside.kind.plural, namespace, name), Some(made.bytes.clone()));
    }
}

/// Tracks the field managers of a write. Of an object without managers nothing is tracked before
/// its first apply, which makes one entry of all that is there (upstream: `skipNonAppliedManager`):
/// the managers of its fields are not known, and the next writer does not own all of them.
pub(super) fn track_managers(ctx: &Context, kind: &Kind, old: &Value, new: &mut Value) {
    if !old.is_null() && value::empty(new, "metadata.managedFields") {
        return;
    }
    let (name, now) = (ctx.manager(), clock::rfc3339(clock::now()));
    let other = with_other_names(kind);
    let api_version = other.filter(|other| other.group == ctx.info.group).unwrap_or(kind).api_version();
    let manager =
        Manager { name: &name, api_version: &api_version, subresource: &ctx.info.subresource, now: &now };
    let empty = unset(new);
    let old = if old.is_null() && kind.custom.is_none() { &empty } else { old };
    managed::to_stored_names(new, other);
    managed::track(Shape::of(kind), old, new, manager);
    managed::to_own_names(new, other);
}

/// Returns the version of a kind whose fields have other names than the stored ones:
/// `events.k8s.io/v1` of Events.
pub(super) fn with_other_names(kind: &Kind) -> Option<&'static Kind> {
    let has_names = |other: &&Kind| other.conversion.is_some_and(|c| !c.fields.is_empty());
    let mut versions = kinds::all().iter().filter(|other| other.plural == kind.plural);
    versions.find(has_names).filter(|_| kind.custom.is_none())
}

/// Returns the fields of a new object that are as in an object without any: Go writes a zero time
/// (null), an empty struct and some empty texts. Upstream compares a new object of a built-in kind
/// with such an empty one, so they have no manager.
fn unset(new: &Value) -> Value {
    let is_empty = |field: &Value| field.as_object().is_some_and(|inner| inner.is_empty());
    let is_unset = |field: &Value| field.is_null() || field == "" || is_empty(field);
    let fields = new.as_object().into_iter().flatten().filter(|(_, field)| is_unset(field));
    fields.map(|(name, field)| (name.clone(), field.clone())).collect()
}

/// True if an object that the store found too large may be written again without its managed
/// fields (upstream: `isTooLargeError`). They can be as large as the object itself. An apply has to
/// keep them: they are what it says.
pub(super) fn may_shrink(ctx: &Context, refusal: &Status) -> bool {
    refusal.code == 413 && !ctx.applies()
}

/// Drops the managed fields of an object. Returns false if it has none.
pub(super) fn drop_managers(object: &mut Value) -> bool {
    const FIELD: &str = "metadata.managedFields";
    let has_any = !value::empty(object, FIELD);
    value::remove(object, FIELD);
    has_any
}

/// Gives the entry of an apply the time of the change that it makes.
pub(super) fn renew(ctx: &Context, kind: &Kind, new: &mut Value) {
    let (api_version, now) = (kind.api_version(), clock::rfc3339(clock::now()));
    let manager = Manager {
        name: ctx.query.get("fieldManager"),
        api_version: &api_version,
        subresource: &ctx.info.subresource,
        now: &now,
    };
    managed::renew(new, manager);
}

/// Warns of fields that this cluster does not honour, and keeps the images of the cluster's
/// components to the cluster.
pub(super) fn check_fields(
    ctx: &Context,
    kind: &Kind,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if let Some(path) = unhonoured::pod_spec(kind) {
        let before = old.map_or(&Value::Null, |old| value::at(old, path));
        for (field, image) in unhonoured::own_images(value::at(new, path), before) {
            if !may_run_component(ctx, new, image) {
                let why = format!(
                    "{path}.{field}: {image} runs a component of the cluster with that component's rights; only the cluster's own manifests may name it"
                );
                return Err(Status::forbidden(kind.group, kind.plural, meta::name(new), &why));
            }
        }
    }
    if reads_warnings(ctx) {
        unhonoured::warnings(kind, new, old).into_iter().for_each(|warning| ctx.warn(warning));
        if old.is_none() && (kind.group, kind.kind) == ("", "Pod") {
            warnings::app_armor_of_new_pod(new).into_iter().for_each(|warning| ctx.warn(warning));
        }
    }
    Ok(())
}

/// Warns of what upstream warns of, as its `WarningsOnCreate` and `WarningsOnUpdate`: of an object
/// that is prepared and valid. A Service has the list `clusterIPs`, whose items the warnings name,
/// only once it is prepared.
pub(super) fn warn_as_upstream(ctx: &Context, kind: &Kind, new: &Value, old: Option<&Value>) {
    if !reads_warnings(ctx) {
        return;
    }
    let subresource = ctx.info.subresource.as_str();
    if matches!(subresource, "" | "scale") {
        warnings::warnings(kind, new, old).into_iter().for_each(|warning| ctx.warn(warning));
    }
    let addresses = legacy_addresses::warnings(kind, new, old, subresource);
    addresses.into_iter().for_each(|warning| ctx.warn(warning));
}

/// False for a component: it writes what people asked for, and they were warned then.
fn reads_warnings(ctx: &Context) -> bool {
    !tap::is_component(&ctx.user.name) || ctx.user.name == tap::ADMIN
}

/// The user of all controllers. None of them has a ServiceAccount of its own here: one in
/// kube-system that is called like a controller was made by a person.
const CONTROLLERS: &str = "system:kube-controller-manager";
/// Addons whose pods the controllers make. All other components are static pods.
const ADDONS: [&str; 3] = ["coredns", "kube-proxy", "storage-provisioner"];

/// Returns whether this request may name a component's image. The cluster's administrator may, who
/// applies the addons' manifests at boot; a node, for the mirror of a static pod; a controller, for
/// an addon's pod in kube-system.
fn may_run_component(ctx: &Context, object: &Value, image: &str) -> bool {
    let user = &ctx.user;
    let actor = tap::actor(&user.name, &user.impersonator);
    if user.is_in(MASTERS) && (actor == tap::ADMIN || actor == tap::TEACHER) {
        return true;
    }
    if !user.impersonator.is_empty() {
        return false;
    }
    if user.node().is_some() {
        return meta::annotation(object, "kubernetes.io/config.mirror").is_some();
    }
    let name = image.trim_start_matches(unhonoured::OWN_IMAGES).split([':', '@']).next().unwrap_or("");
    user.name == CONTROLLERS && meta::namespace(object) == "kube-system" && ADDONS.contains(&name)
}

#[cfg(test)]
mod tests {
    use crate::testing::Api;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn what_a_new_event_leaves_unset_has_no_manager() {
        let api = Api::bare().await;
        let event = json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "reason": "R",
            "lastTimestamp": "2026-01-02T03:04:05Z"});
        let made = api.made("/api/v1/namespaces/default/events", event).await;
        assert!(made.get("eventTime").is_some_and(|time| time.is_null()), "{made}");
        let fields = made["metadata"]["managedFields"][0]["fieldsV1"].as_object().unwrap();
        let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["f:involvedObject", "f:lastTimestamp", "f:reason"]);
    }

    /// A write through `events.k8s.io` was recorded as one of `v1`. Its fields have other names
    /// there, and are the same ones: another manager takes them over in either version.
    #[tokio::test]
    async fn the_entry_of_a_manager_names_the_version_that_it_wrote() {
        const NEW: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
        let api = Api::bare().await;
        let event = json!({"metadata": {"name": "e", "namespace": "default"}, "reason": "R", "note": "hello",
            "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "type": "Normal", "action": "z",
            "eventTime": "2026-01-02T03:04:05.000006Z", "reportingController": "x", "reportingInstance": "y"});
        let made = api.made(&format!("{NEW}?fieldManager=a"), event).await;
        let entries = |object: &Value| {
            let all = object["metadata"]["managedFields"].as_array().unwrap().iter();
            let summary = |entry: &Value| {
                let has = |field: &str| entry["fieldsV1"].get(field).is_some();
                let names = ["f:message", "f:note", "f:involvedObject", "f:regarding"].map(has);
                (entry["manager"].clone(), entry["apiVersion"].clone(), names)
            };
            all.map(summary).collect::<Vec<_>>()
        };
        let new = json!("events.k8s.io/v1");
        assert_eq!(entries(&made), [(json!("a"), new.clone(), [false, true, false, true])]);
        let path = "/api/v1/namespaces/default/events/e?fieldManager=b";
        let (code, patched) = api.patch(path, json!({"message": "changed"})).await;
        assert_eq!(code, 200, "{patched}");
        let mut found = entries(&patched);
        found.sort_by_key(|(manager, ..)| manager.to_string());
        let taken = (json!("b"), json!("v1"), [true, false, false, false]);
        assert_eq!(found, [(json!("a"), new, [false, false, false, true]), taken]);
    }
}
