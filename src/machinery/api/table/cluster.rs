//! Volumes, claims, storage classes, roles' bindings, priorities, leases, quotas, budgets.

use super::{Printer, age, name, or};
use crate::meta;
use crate::value::{at, empty, flag, list, map, text};
use crate::volumes::class_named_by;
use serde_json::Value;

pub static STORAGE_CLASSES: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Provisioner", "string", false),
        ("ReclaimPolicy", "string", false),
        ("VolumeBindingMode", "string", false),
        ("AllowVolumeExpansion", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let is_default = meta::annotation(o, "storageclass.kubernetes.io/is-default-class") == Some("true");
        let suffix = if is_default { " (default)" } else { "" };
        vec![
            format!("{}{suffix}", meta::name(o)).into(),
            text(o, "provisioner").into(),
            or(o, "reclaimPolicy", "Delete").into(),
            or(o, "volumeBindingMode", "Immediate").into(),
            flag(o, "allowVolumeExpansion").into(),
            age(o, now),
        ]
    },
    conditions: None,
};

fn modes(o: &Value, path: &str) -> String {
    let short = |m: &str| match m {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    let mut all: Vec<&str> = list(o, path).iter().filter_map(Value::as_str).map(short).collect();
    let order = ["RWO", "ROX", "RWX", "RWOP"];
    all.sort_by_key(|m| order.iter().position(|o| o == m));
    all.dedup();
    all.join(",")
}

/// An amount as Go prints one that may be missing: nothing is the amount zero.
fn amount(o: &Value, path: &str) -> Value {
    or(o, path, "0").into()
}

pub static VOLUMES: Printer = Printer {
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
            or(o, "spec.volumeAttributesClassName", "<unset>").into(),
            text(o, "status.reason").into(),
            age(o, now),
            or(o, "spec.volumeMode", "<unset>").into(),
        ]
    },
    conditions: None,
};

pub static CLAIMS: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Status", "string", false),
        ("Volume", "string", false),
        ("Capacity", "string", false),
        ("Access Modes", "string", false),
        ("StorageClass", "string", false),
        ("VolumeAttributesClass", "string", false),
        ("Age", "string", false),
        ("VolumeMode", "string", true),
    ],
    cells: |o, now| {
        let bound = !empty(o, "spec.volumeName");
        let status = if meta::is_terminating(o) { "Terminating" } else { text(o, "status.phase") };
        vec![
            name(o),
            status.into(),
            text(o, "spec.volumeName").into(),
            if bound { amount(o, "status.capacity.storage") } else { "".into() },
            if bound { modes(o, "status.accessModes").into() } else { "".into() },
            class_named_by(o).into(),
            or(o, "spec.volumeAttributesClassName", "<unset>").into(),
            age(o, now),
            or(o, "spec.volumeMode", "<unset>").into(),
        ]
    },
    conditions: None,
};

pub static RESOURCE_QUOTAS: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Request", "string", false),
        ("Limit", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let (mut requests, mut limits) = (vec![], vec![]);
        let mut hard: Vec<(&String, &Value)> = map(o, "status.hard").into_iter().flatten().collect();
        hard.sort_by_key(|(name, _)| *name);
        for (name, hard) in hard {
            let used = at(o, "status.used").get(name).and_then(Value::as_str).unwrap_or("0");
            let text = format!("{name}: {used}/{}", hard.as_str().unwrap_or("0"));
            if name.starts_with("limits.") { &mut limits } else { &mut requests }.push(text);
        }
        vec![name(o), requests.join(", ").into(), limits.join(", ").into(), age(o, now)]
    },
    conditions: None,
};

/// `Pending`, `Approved,Issued`, `Denied`, `Approved,Failed`.
pub fn request_status(request: &Value) -> String {
    let has = |kind: &str| list(request, "status.conditions").iter().any(|c| text(c, "type") == kind);
    let mut status = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    }
    .to_string();
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !empty(request, "status.certificate") {
        status.push_str(",Issued");
    }
    status
}

pub static CERTIFICATE_REQUESTS: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Age", "string", false),
        ("SignerName", "string", false),
        ("Requestor", "string", false),
        ("RequestedDuration", "string", false),
        ("Condition", "string", false),
    ],
    cells: |o, now| {
        let duration = match crate::value::int(o, "spec.expirationSeconds") {
            Some(seconds) => crate::duration::human(seconds),
            None => "<none>".to_string(),
        };
        vec![
            name(o),
            age(o, now),
            or(o, "spec.signerName", "<none>").into(),
            text(o, "spec.username").into(),
            duration.into(),
            request_status(o).into(),
        ]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use clock::Timestamp;
    use serde_json::json;

    #[test]
    fn a_claim_that_waits_for_its_volume_has_no_capacity_yet() {
        let claim = |spec: Value| {
            let object = json!({"metadata": {"name": "c"}, "spec": spec, "status": {"phase": "Pending"}});
            (CLAIMS.cells)(&object, Timestamp::UNIX_EPOCH)[3].clone()
        };
        assert_eq!(claim(json!({"volumeName": "v"})), "0");
        assert_eq!(claim(json!({})), "");
        let modes = json!({"m": ["ReadWriteMany", "ReadWriteOnce", "ReadWriteOnce"]});
        assert_eq!(super::modes(&modes, "m"), "RWO,RWX");
    }
}
