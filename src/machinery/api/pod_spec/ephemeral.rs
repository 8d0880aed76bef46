//! Ephemeral containers: debuggers that are added to a running pod.

use crate::errors::Errors;
use crate::schema::equality;
use crate::value::{list, text};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Fields that an ephemeral container may have; all others are for containers that are part of the
/// workload.
const EPHEMERAL: [&str; 16] = [
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
];

pub(super) fn ephemeral(others: &HashSet<&str>, c: &Value, field: &str, errors: &mut Errors) {
    let target = text(c, "targetContainerName");
    if !target.is_empty() && !others.contains(target) {
        errors.not_found(format!("{field}.targetContainerName"), &json!(target));
    }
    for (name, value) in c.as_object().into_iter().flatten() {
        let unset = value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(|o| name == "resources" && o.is_empty());
        if !unset && name != "targetContainerName" && !EPHEMERAL.contains(&name.as_str()) {
            errors.forbidden(format!("{field}.{name}"), "cannot be set for an Ephemeral Container");
        }
    }
    for (i, mount) in list(c, "volumeMounts").iter().enumerate() {
        for path in ["subPath", "subPathExpr"] {
            if !text(mount, path).is_empty() {
                let why = "cannot be set for an Ephemeral Container";
                errors.forbidden(format!("{field}.volumeMounts[{i}].{path}"), why);
            }
        }
    }
}

/// Checks a change of the ephemeral containers of a running pod: new ones may be added anywhere,
/// those that are there stay.
pub(crate) fn ephemeral_update(new: &Value, old: &Value, errors: &mut Errors) {
    let field = "spec.ephemeralContainers";
    let (new, old) = (list(new, field), list(old, field));
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (i, container) in new.iter().enumerate() {
        places.entry(text(container, "name")).or_insert(i);
    }
    for known in old {
        let name = text(known, "name");
        match places.get(name).copied() {
            None => {
                let why = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.forbidden(field, &why);
            }
            Some(i) if !equality::equal("io.k8s.api.core.v1.EphemeralContainer", "", &new[i], known) => {
                let why = format!("existing ephemeral containers {name:?} may not be changed\n");
                errors.forbidden(format!("{field}[{i}]"), &why);
            }
            Some(_) => {}
        }
    }
}
