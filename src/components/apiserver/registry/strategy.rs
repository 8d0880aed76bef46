//! What the server itself sets and keeps in every object, whatever its client sends (upstream:
//! `BeforeCreate` and `BeforeUpdate` of `registry/rest`). What a strategy of upstream does for one
//! kind alone stands in the table of kinds (`api::kinds`): `prepare`, `validate`, `defaults`.
//!
//! Example: an update of a Deployment that sets `metadata.uid`, `status` and `spec.replicas` keeps
//! the uid and the status as they are stored, and gets the next generation because of its spec.

use crate::registry::read::parse_uint;
use crate::request::context::Context;
use crate::state::State;
use crate::storage::keys::{ROOT, key_of};
use api::errors::Errors;
use api::kinds::{self, Kind};
use api::schema::equality;
use api::value::{self, at};
use api::{Status, managed, meta, validate};
use serde_json::Value;
use std::collections::HashSet;

/// Where the ephemeral containers of a pod are.
pub(crate) const EPHEMERAL: &str = "spec.ephemeralContainers";

/// Which part of an object a write may touch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Main,
    Status,
    /// `namespaces/finalize`: the spec, whose finalizers no other write changes, and the metadata.
    Finalize,
    /// `pods/ephemeralcontainers`
    Ephemeral,
    /// Parts of a pod that only this server sets: its binding, the reason of its eviction.
    Internal,
}

/// Returns the kind in whose form objects are stored.
pub(crate) fn stored_kind(kind: &Kind) -> &Kind {
    if kind.conversion.is_some() { kinds::stored(kind.plural).unwrap_or(kind) } else { kind }
}

/// Sets the object's namespace, which is that of the path. An object of a kind without namespaces
/// has none: what its client says of one is dropped, as by upstream's
/// `EnsureObjectNamespaceMatchesRequestNamespace`.
///
/// Example: many manifests of a ClusterRole have a `metadata.namespace`, and are accepted.
///
/// # Errors
/// 400 if it names another one than the path.
pub(crate) fn set_namespace(ctx: &Context, kind: &Kind, object: &mut Value) -> Result<(), Status> {
    let namespace = ctx.info.object_namespace();
    let own = meta::namespace(object).to_string();
    if kind.namespaced {
        if own.is_empty() {
            value::put(object, "metadata.namespace", namespace);
        } else if own != namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    } else if !own.is_empty() {
        value::remove(object, "metadata.namespace");
    }
    Ok(())
}

/// Refuses to look for an object without a name (upstream: `NamespaceKeyFunc`).
///
/// # Errors
/// 400 for an empty name.
pub(super) fn check_has_name(name: &str) -> Result<(), Status> {
    match name.is_empty() {
        true => Err(Status::bad_request("Name parameter required.")),
        false => Ok(()),
    }
}

/// Drops the owners that an object names twice, with a warning (upstream:
/// `dedupOwnerReferencesAndAddWarning`). References to one uid that differ are kept: validation
/// judges them.
///
/// Example: a client that adds its controller reference without looking adds the same one twice.
/// Validation would find two controllers.
pub(crate) fn drop_repeated_owners(ctx: &Context, object: &mut Value) {
    const OWNERS: &str = "metadata.ownerReferences";
    const FIELDS: [&str; 6] = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let all = value::list(object, OWNERS);
    if all.len() < 2 {
        return;
    }
    let (mut seen, mut kept, mut repeated) = (HashSet::new(), vec![], vec![]);
    for owner in all {
        let written: Vec<String> = FIELDS.iter().map(|field| at(owner, field).to_string()).collect();
        match seen.insert(written) {
            true => kept.push(owner.clone()),
            false => repeated.push(value::text(owner, "uid")),
        }
    }
    if repeated.is_empty() {
        return;
    }
    ctx.warn(repeated_owners(&repeated, ctx.info.verb == "patch"));
    value::put(object, OWNERS, kept);
}

/// Returns the warning for owners that stand twice. Upstream looks at what a patch makes only after
/// the mutating plug-ins, and says so.
fn repeated_owners(uids: &[&str], is_patch: bool) -> String {
    let when = if is_patch { " after mutating admission happens" } else { "" };
    format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        uids.join(", ")
    )
}

/// Sets the metadata that the server gives to a new object. As upstream a `metadata.generation`
/// that the client sends is kept for kinds whose generations the server does not count.
pub(crate) fn fill_metadata(state: &State, kind: &Kind, object: &mut Value) {
    let now = clock::rfc3339(clock::now());
    let metadata = value::slot_map(object, "metadata");
    for own in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.shift_remove(own);
    }
    metadata.insert("uid".into(), state.rng.uuid().into());
    metadata.insert("creationTimestamp".into(), now.into());
    if kind.generation {
        metadata.insert("generation".into(), 1.into());
    }
}

/// Refuses a write that names the uid of an object that is not there: it means that one, and makes
/// no other.
///
/// # Errors
/// 409 if it names one.
pub(crate) fn no_uid_of_the_gone(kind: &Kind, object: &Value) -> Result<(), Status> {
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

/// Checks that a write means this object.
///
/// # Errors
/// 409 for a write that means another object of this name.
pub(crate) fn check_uid(kind: &Kind, new: &Value, old: &Value) -> Result<(), Status> {
    let (wanted, found) = (meta::uid(new), meta::uid(old));
    if wanted.is_empty() || wanted == found {
        return Ok(());
    }
    let why = precondition_failed(kind, old, "UID", wanted, found);
    Err(Status::conflict(kind.group, kind.plural, meta::name(old), &why))
}

/// Checks that a write that names a version means the stored one. An empty version means any.
/// Versions are compared as numbers: `007` is `7`.
///
/// # Errors
/// 409 for another version; 500 for what is none, as upstream, which has no reason for it
/// (`ObjectResourceVersion`).
pub(crate) fn check_locked_version(
    kind: &Kind,
    name: &str,
    version: &str,
    old: &Value,
) -> Result<(), Status> {
    if version.is_empty() {
        return Ok(());
    }
    let wanted = parse_uint(version).map_err(|why| Status::new(500, "", why))?;
    match parse_uint(meta::resource_version(old)) == Ok(wanted) {
        true => Ok(()),
        false => Err(Status::stale(kind.group, kind.plural, name)),
    }
}

/// Says why a write is refused that means another object than the stored one, in the words of
/// upstream's storage (`Preconditions.Check`). The key is the one under which this store has it.
pub(crate) fn precondition_failed(
    kind: &Kind,
    stored: &Value,
    what: &str,
    wanted: &str,
    found: &str,
) -> String {
    let key = format!("{ROOT}{}/{}", kind.place(), key_of(kind, stored));
    format!(
        "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
    )
}

/// Checks that a patch leaves an object its uid. A patch is applied to the object of this name,
/// whichever that is, so another uid in it is no condition as in an update: it would change a field
/// that never changes. The status of a custom resource comes without its metadata.
///
/// Source: `UpdatedObjectInfo.Preconditions` and `validateCommonFields` in k8s.io/apiserver,
/// `registry/rest/update.go`; `ValidateObjectMetaAccessorUpdate` in k8s.io/apimachinery.
///
/// # Errors
/// 422 for a patch that names another uid.
pub(crate) fn check_same_uid(kind: &Kind, part: Part, new: &Value, old: &Value) -> Result<(), Status> {
    let (wanted, found) = (meta::uid(new), meta::uid(old));
    let has_no_metadata = kind.custom.is_some() && part == Part::Status;
    if wanted.is_empty() || wanted == found || has_no_metadata {
        return Ok(());
    }
    let mut errors = Errors::default();
    errors.invalid_text("metadata.uid", wanted, validate::IMMUTABLE);
    Err(Status::invalid(kind.group, kind.kind, meta::name(old), &errors))
}

/// Checks that a write does not begin a deletion, nor change how long the object has to end.
/// Another time of creation is ignored, as by upstream's `BeforeUpdate`: `keep` puts the old one in
/// its place.
///
/// Through `/status` the same holds, but for the time of a Pod ([`Kind::resets`]) and for custom
/// resources, whose metadata does not come along. What is written of a Pod through
/// `/ephemeralcontainers` has none of the metadata either.
///
/// # Errors
/// 422 for a write that does.
pub(crate) fn check_deletion(
    kind: &Kind,
    part: Part,
    subresource: &str,
    new: &Value,
    old: &Value,
) -> Result<(), Status> {
    match part {
        Part::Main | Part::Finalize => {}
        Part::Status if kind.custom.is_none() => {}
        Part::Status | Part::Ephemeral | Part::Internal => return Ok(()),
    }
    let mut errors = Errors::default();
    let (time, grace) = ("metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds");
    let is_reset = kind.resets.contains(&(subresource, time));
    if !is_reset && !value::empty(new, time) && value::empty(old, time) {
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

/// Takes from the stored object what a write to this part may not change.
pub(crate) fn keep(kind: &Kind, part: Part, subresource: &str, new: &mut Value, old: &Value) {
    match part {
        Part::Status => {
            *new = kind.through_status(new, old, subresource);
        }
        Part::Ephemeral => {
            let mut kept = old.clone();
            for field in [EPHEMERAL, "metadata.managedFields"] {
                value::copy(new, &mut kept, field);
            }
            *new = kept;
        }
        Part::Main | Part::Finalize if kind.has_status => value::copy(old, new, "status"),
        Part::Main | Part::Finalize | Part::Internal => {}
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
    ] {
        value::copy(old, new, &format!("metadata.{field}"));
    }
    keep_managers(new, old);
    // Servers of long ago filled it in, and manifests that were read from them still have it
    // (`PrepareObjectForStorage` upstream).
    value::remove(new, "metadata.selfLink");
    for field in ["generateName", "labels", "annotations", "finalizers", "ownerReferences"] {
        let path = format!("metadata.{field}");
        if value::empty(new, &path) {
            value::remove(new, &path);
        }
    }
}

/// Keeps the managers of fields, unless the client sends others. An empty list resets them, and so
/// does a list with an empty entry alone. A list that cannot be read is ignored
/// (`decodeLiveOrNew` upstream).
fn keep_managers(new: &mut Value, old: &Value) {
    const FIELD: &str = "metadata.managedFields";
    let entries = value::list(new, FIELD);
    let is_reset = match entries {
        [] => !at(new, FIELD).is_null(),
        [only] => only.as_object().is_some_and(|entry| entry.is_empty()),
        _ => false,
    };
    if is_reset {
        value::remove(new, FIELD);
    } else if entries.is_empty() || !entries.iter().all(managed::is_readable) {
        value::copy(old, new, FIELD);
    }
}

/// True if anything has changed but metadata, and the status that has a subresource of its own. An
/// amount in another spelling is no change. Of some kinds the labels count, too.
pub(crate) fn spec_changed(kind: &Kind, new: &Value, old: &Value) -> bool {
    let (Value::Object(a), Value::Object(b)) = (new, old) else { return false };
    let whole = kind.custom.is_some() && !kind.has_status;
    let counts = |k: &&String| match k.as_str() {
        "metadata" | "kind" | "apiVersion" => false,
        "status" => whole,
        _ => true,
    };
    let is_same = |key: &String| match &kind.custom {
        Some(_) => a.get(key) == b.get(key),
        None => equality::equal_in(kind, key, at(new, key), at(old, key)),
    };
    let labels = |object| at(object, "metadata.labels");
    let is_relabelled = kind.generation_of_labels && labels(new) != labels(old);
    is_relabelled || a.keys().chain(b.keys()).filter(counts).any(|key| !is_same(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn owners_that_stand_twice_are_told_by_their_uids() {
        let (put, patch) = (repeated_owners(&["a", "b"], false), repeated_owners(&["a"], true));
        assert!(put.contains("duplicate entries; API server") && put.ends_with("observed: a, b"), "{put}");
        let when = "duplicate entries after mutating admission happens; API server";
        assert!(patch.contains(when) && patch.ends_with("observed: a"), "{patch}");
    }

    #[test]
    fn a_write_that_names_a_uid_means_that_object_alone() {
        let kind = kinds::find("", "v1", "ConfigMap").unwrap();
        let map = |uid: &str| json!({"metadata": {"name": "a", "namespace": "d", "uid": uid}});
        assert!(no_uid_of_the_gone(kind, &map("")).is_ok(), "it makes a new one");
        let refused = no_uid_of_the_gone(kind, &map("u")).unwrap_err();
        assert!(refused.code == 409 && refused.message.contains("uid u, and no existing object was found"));
        for wanted in ["", "u"] {
            assert!(check_uid(kind, &map(wanted), &map("u")).is_ok());
            assert!(check_same_uid(kind, Part::Main, &map(wanted), &map("u")).is_ok());
        }
        let refused = check_uid(kind, &map("v"), &map("u")).unwrap_err();
        let why = "Precondition failed: UID in precondition: v, UID in object meta: u";
        assert!(refused.code == 409 && refused.message.ends_with(why), "{}", refused.message);
        let refused = check_same_uid(kind, Part::Main, &map("v"), &map("u")).unwrap_err();
        assert_eq!(refused.code, 422, "a patch would change it");
    }

    #[test]
    fn managers_of_fields_are_kept_replaced_or_reset() {
        let entry = |operation: &str, fields: Value| json!({"manager": "m", "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let (own, other) =
            (entry("Apply", json!({"f:data": {}})), entry("Update", json!({"f:data": {".": {}}})));
        let after = |entries: Value| {
            let mut new = json!({"metadata": {"managedFields": entries}});
            keep_managers(&mut new, &json!({"metadata": {"managedFields": [own]}}));
            at(&new, "metadata.managedFields").clone()
        };
        assert_eq!(after(Value::Null), json!([own]));
        assert_eq!(after(json!([other])), json!([other]));
        for reset in [json!([]), json!([{}])] {
            assert_eq!(after(reset), Value::Null);
        }
        let mut old_form = other.clone();
        old_form["fieldsType"] = "FieldsV0".into();
        for wrong in [
            entry("Create", json!({})),
            entry("Apply", json!({"data": {}})),
            old_form,
            json!({"manager": "m"}),
        ] {
            assert_eq!(after(json!([wrong])), json!([own]), "{wrong} cannot be read");
        }
    }

    #[test]
    fn a_link_from_an_old_manifest_is_not_stored() {
        let kind = kinds::find("", "v1", "ConfigMap").unwrap();
        let old = json!({"metadata": {"name": "m"}, "data": {"a": "b"}});
        let mut new = old.clone();
        value::put(&mut new, "metadata.selfLink", "/api/v1/namespaces/default/configmaps/m");
        keep(kind, Part::Main, "", &mut new, &old);
        assert_eq!(new, old);
    }

    /// Nothing is generated by it any more (upstream: `ValidateObjectMetaAccessorUpdate`).
    #[test]
    fn the_prefix_of_a_generated_name_may_change() {
        let kind = kinds::find("", "v1", "ConfigMap").unwrap();
        let map = |prefix: Value| json!({"metadata": {"name": "a-x", "generateName": prefix}});
        for (said, stored) in
            [(json!("b-"), json!("b-")), (json!(""), Value::Null), (Value::Null, Value::Null)]
        {
            let mut new = map(said);
            keep(kind, Part::Main, "", &mut new, &map(json!("a-")));
            assert_eq!(at(&new, "metadata.generateName"), &stored);
        }
    }

    #[test]
    fn another_spelling_of_an_amount_is_no_new_generation() {
        let deployment = |memory: &str| {
            let container = json!({"name": "c", "resources": {"limits": {"memory": memory}}});
            json!({"spec": {"template": {"spec": {"containers": [container]}}}})
        };
        let kind = kinds::find("apps", "v1", "Deployment").unwrap();
        let changed = |new: &str| spec_changed(kind, &deployment(new), &deployment("1Gi"));
        assert!(!changed("1073741824") && !changed("1Gi") && changed("1G"));
        let slice = |address: &str| json!({"addressType": "IPv4", "endpoints": [{"addresses": [address]}]});
        let slices = kinds::find("discovery.k8s.io", "v1", "EndpointSlice").unwrap();
        assert!(spec_changed(slices, &slice("10.0.0.1"), &slice("10.0.0.2")), "it has no spec");
        let labelled = |value: &str| json!({"metadata": {"labels": {"a": value}}});
        let relabelled = |kind: &Kind| spec_changed(kind, &labelled("x"), &labelled("y"));
        assert!(relabelled(slices) && !relabelled(kind), "labels of a slice count");
    }
}
