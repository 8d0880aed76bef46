//! Persistent volumes: storage that exists apart from any pod.

use crate::errors::Errors;
use crate::kinds::core::volume_sources::{self, SOURCES};
use crate::kinds::core::volumes::{access_modes, amount, class_names, modes, protect};
use crate::kinds::entry::{Kind, of, status};
use crate::meta;
use crate::pod_spec::defaults::source;
use crate::pod_spec::node_selector;
use crate::quantity::Quantity;
use crate::schema::equality;
use crate::table::cells::{Printer, age, name, text_or};
use crate::validate::fields::{IMMUTABLE, one_of};
use crate::value::{self, at, default, default_zero, empty, list, list_mut, put, text};
use crate::volumes::{VOLUME_PROTECTION, class_named_by};
use k8s_openapi::api::core::v1::PersistentVolume;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["pv"],
        subresources: vec![status("PersistentVolume")],
        has_status: true,
        returns_deleted: true,
        defaults,
        prepare,
        prepare_status_update,
        validate,
        validate_update,
        printer: Some(&PRINTER),
        ..of::<PersistentVolume>()
    }
}

fn defaults(object: &mut Value) {
    default_zero(object, "spec.persistentVolumeReclaimPolicy", "Retain");
    default(object, "spec.volumeMode", "Filesystem");
    if at(object, "spec.hostPath").is_object() {
        default(object, "spec.hostPath.type", "");
    }
    source(value::slot(object, "spec"));
}

fn prepare(object: &mut Value) {
    protect(object, VOLUME_PROTECTION);
    let now = clock::rfc3339(clock::now());
    put(object, "status", json!({"phase": "Pending", PHASE_SINCE: now}));
}

/// When a volume got its phase.
const PHASE_SINCE: &str = "lastPhaseTransitionTime";

/// Keeps the time since which a volume has its phase, and sets it when the phase changes, unless
/// the client sets another one.
fn prepare_status_update(new: &mut Value, old: &Value, _: &str) {
    default_zero(new, "status.phase", "Pending");
    let path = format!("status.{PHASE_SINCE}");
    let (since, before) = (meta::time(new, &path), meta::time(old, &path));
    match text(old, "status.phase") == text(new, "status.phase") {
        true if since.is_none() => value::copy(old, new, &path),
        false if since.is_none() || since == before => put(new, &path, clock::rfc3339(clock::now())),
        _ => {}
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    access_modes(object, errors, "");
    capacity(at(object, "spec.capacity"), errors);
    volume_sources::validate(object, errors);
    let path = at(object, "spec.hostPath.path").as_str();
    let is_root = path.is_some_and(|path| path.starts_with('/') && path.trim_matches('/').is_empty());
    if is_root && text(object, "spec.persistentVolumeReclaimPolicy") == "Recycle" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        errors.forbidden("spec.persistentVolumeReclaimPolicy", why);
    }
    class_names(object, errors);
    attributes_class(object, errors);
    mount_options(object, errors);
    let affinity = at(object, "spec.nodeAffinity");
    if affinity.is_object() {
        match at(affinity, "required") {
            Value::Null => {
                errors.required("spec.nodeAffinity.required", "must specify required node constraints");
            }
            required => node_selector(required, "spec.nodeAffinity.required", errors),
        }
    }
    one_of(object, "spec.volumeMode", "spec.volumeMode", &["Block", "Filesystem"], errors);
    if at(object, "spec.local").is_object() && empty(object, "spec.nodeAffinity") {
        errors.required("spec.nodeAffinity", "Local volume requires node affinity");
    }
    one_of(
        object,
        "spec.persistentVolumeReclaimPolicy",
        "spec.persistentVolumeReclaimPolicy",
        &["Delete", "Recycle", "Retain"],
        errors,
    );
}

/// Checks that a volume has an amount of storage above 0, and of nothing else.
fn capacity(capacity: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.capacity";
    let amounts: Vec<(&String, &Value)> = capacity.as_object().into_iter().flatten().collect();
    if amounts.is_empty() {
        errors.required(FIELD, "");
    }
    if !matches!(amounts.as_slice(), [(name, _)] if *name == "storage") {
        errors.not_supported(FIELD, capacity, &["storage"]);
    }
    for (name, value) in amounts {
        let Some(amount) = value.as_str().and_then(Quantity::parse) else { continue };
        let field = format!("{FIELD}[{name}]");
        if amount.is_negative() {
            errors.invalid(&field, &amount.units().into(), "must be a valid resource quantity");
        }
        if amount.is_negative() || amount.is_zero() {
            errors.invalid(field, value, "must be greater than zero");
        }
    }
}

/// Checks that a volume with a class of volume attributes is one of CSI: only its drivers know such
/// attributes.
fn attributes_class(object: &Value, errors: &mut Errors) {
    const CLASS: &str = "spec.volumeAttributesClassName";
    let Some(class) = at(object, CLASS).as_str() else { return };
    if class.is_empty() {
        errors.required(CLASS, "an empty string is disallowed");
    }
    if at(object, "spec.csi").is_null() {
        errors.required("spec.csi", "has to be specified when using volumeAttributesClassName");
    }
}

/// Checks that only a volume whose source takes mount options has them in the annotation, which was
/// there before the field `spec.mountOptions` (`checkMountOption` upstream).
fn mount_options(object: &Value, errors: &mut Errors) {
    const OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
    const TAKE_THEM: [&str; 13] = [
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephfs",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    let spec = at(object, "spec");
    let takes_them = TAKE_THEM.iter().any(|source| at(spec, source).is_object());
    if meta::annotation(object, OPTIONS).is_some() && !takes_them {
        let why = "may not specify mount options for this volume type";
        errors.forbidden(format!("metadata.annotations.{OPTIONS}"), why);
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    const SPEC: &str = "io.k8s.api.core.v1.PersistentVolumeSpec";
    /// The secret for expansions: it may be added to a volume that was made without one.
    const SECRET: &str = "spec.csi.controllerExpandSecretRef";
    let mut compared = new.clone();
    if at(old, "spec.csi").is_object() && at(old, SECRET).is_null() {
        value::remove(&mut compared, SECRET);
    }
    for source in SOURCES {
        let in_volume = |volume| at(at(volume, "spec"), source);
        if !equality::equal(SPEC, source, in_volume(&compared), in_volume(old)) {
            errors.forbidden(
                "spec.persistentvolumesource",
                "spec.persistentvolumesource is immutable after creation",
            );
            break;
        }
    }
    if at(new, "spec.volumeMode") != at(old, "spec.volumeMode") {
        errors.invalid("volumeMode", at(new, "spec.volumeMode"), IMMUTABLE);
    }
    const CLASS: &str = "spec.volumeAttributesClassName";
    if !at(old, CLASS).is_null() && at(new, CLASS).is_null() {
        errors.forbidden(CLASS, "update from non-nil value to nil is forbidden");
    }
    // A volume on one node does not move to another node when this field changes.
    let (before, after) = (at(old, "spec.nodeAffinity"), at(new, "spec.nodeAffinity"));
    let is_same = equality::equal(SPEC, "nodeAffinity", &with_stable_labels(before, after), after);
    if !before.is_null() && !is_same {
        let why = format!("{IMMUTABLE}, except for updating from beta label to GA");
        errors.invalid("nodeAffinity", &shown_affinity(after), &why);
    }
}

/// Returns an affinity with the stable names of labels where `after` has them in place of the beta
/// ones (`betaToGALabel` upstream).
fn with_stable_labels(before: &Value, after: &Value) -> Value {
    const STABLE: [(&str, &str); 5] = [
        ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
        ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ];
    const TERMS: &str = "required.nodeSelectorTerms";
    let mut renamed = before.clone();
    for (term, new_term) in list_mut(&mut renamed, TERMS).iter_mut().zip(list(after, TERMS)) {
        for rules in ["matchExpressions", "matchFields"] {
            for (rule, new_rule) in list_mut(term, rules).iter_mut().zip(list(new_term, rules)) {
                if STABLE.contains(&(text(rule, "key"), text(new_rule, "key"))) {
                    value::copy(new_rule, rule, "key");
                }
            }
        }
    }
    renamed
}

/// Returns the affinity of a volume as upstream's errors show it: its internal types have capital
/// letters and no field that is left out.
fn shown_affinity(affinity: &Value) -> Value {
    let requirement = |rule: &Value| json!({"Key": text(rule, "key"), "Operator": text(rule, "operator"), "Values": at(rule, "values")});
    let all = |term: &Value, path: &str| {
        at(term, path).as_array().map(|rules| rules.iter().map(requirement).collect::<Vec<_>>())
    };
    let term = |term: &Value| json!({"MatchExpressions": all(term, "matchExpressions"), "MatchFields": all(term, "matchFields")});
    let required = at(affinity, "required");
    let terms = at(required, "nodeSelectorTerms").as_array();
    let terms = terms.map(|terms| terms.iter().map(term).collect::<Vec<_>>());
    match (affinity.is_null(), required.is_null()) {
        (true, _) => Value::Null,
        (_, true) => json!({ "Required": null }),
        _ => json!({"Required": {"NodeSelectorTerms": terms}}),
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Capacity", "string", false),
        ("Access Modes", "string", false),
        ("Reclaim Policy", "string", false),
        ("Status", "string", false),
        ("Claim", "string", false),
        ("StorageClass", "string", false),
        ("VolumeAttributesClass", "string", false),
        ("Reason", "string", false),
        ("Age", "string", false),
        ("VolumeMode", "string", true),
    ],
    cells: |o, now| {
        let claim = match text(o, "spec.claimRef.name") {
            "" => String::new(),
            claim => format!("{}/{claim}", text(o, "spec.claimRef.namespace")),
        };
        let status = if meta::is_terminating(o) { "Terminating" } else { text(o, "status.phase") };
        vec![
            name(o),
            amount(o, "spec.capacity.storage"),
            modes(o, "spec.accessModes").into(),
            text(o, "spec.persistentVolumeReclaimPolicy").into(),
            status.into(),
            claim.into(),
            class_named_by(o).into(),
            text_or(o, "spec.volumeAttributesClassName", "<unset>").into(),
            text(o, "status.reason").into(),
            age(o, now),
            text_or(o, "spec.volumeMode", "<unset>").into(),
        ]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn a_volume_keeps_its_mode_and_its_nodes() {
        let node = |name: &str| json!({"required": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]}});
        let spec = |mode: &str, affinity: Value| json!({"spec": {"local": {"path": "/x"}, "volumeMode": mode, "nodeAffinity": affinity}});
        let errors_of = |old: Value, new: Value| {
            let mut errors = Errors::default();
            validate_update(&new, &old, &mut errors);
            errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>()
        };
        let old = spec("Filesystem", node("a"));
        assert_eq!(errors_of(old.clone(), old.clone()), [""; 0]);
        assert_eq!(errors_of(old.clone(), spec("Block", node("b"))), ["volumeMode", "nodeAffinity"]);
        assert_eq!(errors_of(spec("Filesystem", Value::Null), old), [""; 0]);
        let shown = r#"{"Required":{"NodeSelectorTerms":[{"MatchExpressions":null,"MatchFields":[{"Key":"metadata.name","Operator":"In","Values":["a"]}]}]}}"#;
        assert_eq!(shown_affinity(&node("a")).to_string(), shown);
        assert_eq!(shown_affinity(&Value::Null), Value::Null);
    }

    #[test]
    fn only_some_volumes_have_mount_options_in_an_annotation() {
        let errors_of = |source: Value| {
            let options = json!({"annotations": {"volume.beta.kubernetes.io/mount-options": "ro"}});
            let found = problems(validate, json!({"metadata": options, "spec": source}));
            found.into_iter().filter(|problem| problem.contains("mount-options")).collect::<Vec<_>>()
        };
        assert_eq!(errors_of(json!({"nfs": {"server": "s", "path": "/x"}})), [""; 0]);
        let want = "metadata.annotations.volume.beta.kubernetes.io/mount-options: Forbidden: may not specify mount options for this volume type";
        assert_eq!(errors_of(json!({"hostPath": {"path": "/x"}})), [want]);
        assert_eq!(problems(mount_options, json!({"spec": {"hostPath": {"path": "/x"}}})), [""; 0]);
    }

    #[test]
    fn a_volume_without_a_secret_for_expansions_may_get_one() {
        let volume = |handle: &str, secret: Option<&str>| {
            let mut csi = json!({"driver": "d", "volumeHandle": handle});
            if let Some(name) = secret {
                csi["controllerExpandSecretRef"] = json!({"name": name, "namespace": "n"});
            }
            json!({"spec": {"csi": csi}})
        };
        let errors_of = |old: Value, new: Value| {
            let mut errors = Errors::default();
            validate_update(&new, &old, &mut errors);
            errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>()
        };
        const SOURCE: [&str; 1] = ["spec.persistentvolumesource"];
        assert_eq!(errors_of(volume("h", None), volume("h", Some("s"))), [""; 0]);
        assert_eq!(errors_of(volume("h", None), volume("i", Some("s"))), SOURCE);
        assert_eq!(errors_of(volume("h", Some("s")), volume("h", Some("t"))), SOURCE);
        assert_eq!(errors_of(volume("h", Some("s")), volume("h", None)), SOURCE);
        let local = json!({"spec": {"local": {"path": "/x"}}});
        assert_eq!(errors_of(local, volume("h", Some("s"))), SOURCE, "another source");
    }

    #[test]
    fn paths_of_volumes_have_no_steps_up() {
        let with = |source: Value| {
            let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}});
            crate::patch::merge(&mut spec, &source);
            problems(validate, json!({ "spec": spec }))
        };
        assert_eq!(with(json!({"hostPath": {"path": "/data/..a"}})), [""; 0]);
        for (source, want) in [
            (
                json!({"hostPath": {"path": "/../../tmp/x"}}),
                "spec.hostPath.path: Invalid value: \"/../../tmp/x\": must not contain '..'",
            ),
            (
                json!({"local": {"path": "/a/.."}}),
                "spec.local.path: Invalid value: \"/a/..\": must not contain '..'",
            ),
            (json!({"local": {}}), "spec.local.path: Required value"),
            (
                json!({"hostPath": {"path": "/x"}, "volumeAttributesClassName": "fast"}),
                "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
            ),
            (
                json!({"csi": {"driver": "d", "volumeHandle": "h"}, "volumeAttributesClassName": ""}),
                "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
            ),
            (
                json!({"hostPath": {"path": "/x"}, "capacity": {"storage": "0"}}),
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                json!({"hostPath": {"path": "/x"}, "nodeAffinity": {"required": {"nodeSelectorTerms": []}}}),
                "spec.nodeAffinity.required.nodeSelectorTerms: Required value: must have at least one node selector term",
            ),
            (
                json!({"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}),
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
            ),
        ] {
            assert_eq!(with(source), [want]);
        }
    }

    #[test]
    fn the_capacity_of_a_volume_is_an_amount_of_storage() {
        let errors_of = |amounts: Value| {
            let mut errors = Errors::default();
            capacity(&amounts, &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let supported = "supported values: \"storage\"";
        assert_eq!(errors_of(json!({"storage": "1Gi"})), [""; 0]);
        assert_eq!(
            errors_of(json!({"cpu": "1"})),
            [format!("spec.capacity: Unsupported value: {{\"cpu\":\"1\"}}: {supported}")]
        );
        assert_eq!(errors_of(json!({"storage": "1", "cpu": "1"})).len(), 1);
        assert_eq!(
            errors_of(Value::Null),
            [
                "spec.capacity: Required value".to_string(),
                format!("spec.capacity: Unsupported value: null: {supported}")
            ]
        );
        assert_eq!(
            errors_of(json!({"storage": "-1Ki"})),
            [
                "spec.capacity[storage]: Invalid value: -1024: must be a valid resource quantity",
                "spec.capacity[storage]: Invalid value: \"-1Ki\": must be greater than zero",
            ]
        );
    }

    #[test]
    fn a_volume_tells_since_when_it_has_its_phase() {
        clock::pin("2026-01-01T00:00:00Z".parse().unwrap());
        let (first, now) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let mut volume = json!({});
        prepare(&mut volume);
        assert_eq!(volume["status"], json!({"phase": "Pending", PHASE_SINCE: first}));
        let own = "2025-12-31T00:00:00Z";
        for (phase, since, want) in [
            ("Pending", None, first),
            ("Pending", Some(own), own),
            ("Bound", None, now),
            ("Bound", Some(first), now),
            ("Bound", Some(own), own),
        ] {
            let mut new = json!({"status": {"phase": phase}});
            since.iter().for_each(|since| new["status"][PHASE_SINCE] = json!(since));
            clock::pin(now.parse().unwrap());
            prepare_status_update(&mut new, &volume, "status");
            assert_eq!(new["status"][PHASE_SINCE], want, "{phase} {since:?}");
        }
    }

    #[test]
    fn the_affinity_of_a_volume_may_get_stable_labels() {
        let volume = |key: &str, value: &str| {
            let rule = json!({"key": key, "operator": "In", "values": [value]});
            let terms = json!([{"matchExpressions": [rule]}]);
            json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}})
        };
        let errors_of = |new: Value, old: Value| {
            let mut errors = Errors::default();
            validate_update(&new, &old, &mut errors);
            errors.iter().map(|error| error.field.clone()).collect::<Vec<_>>()
        };
        let (beta, stable) = ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone");
        assert_eq!(errors_of(volume(stable, "a"), volume(beta, "a")), [""; 0]);
        assert_eq!(errors_of(volume(stable, "b"), volume(beta, "a")), ["nodeAffinity"]);
        assert_eq!(errors_of(volume(beta, "a"), volume(stable, "a")), ["nodeAffinity"]);
        assert_eq!(errors_of(volume("kubernetes.io/os", "a"), volume(beta, "a")), ["nodeAffinity"]);
    }
}
