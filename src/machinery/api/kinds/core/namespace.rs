//! Namespaces: divide names and rights among users and applications. The controller deletes the
//! objects of a namespace before the namespace itself.

use crate::kinds::{Kind, of, status, sub};
use crate::meta;
use crate::table::{Printer, age, name};
use crate::validate::names::dns_label;
use crate::value::{self, put, text};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["ns"],
        verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: vec![sub("finalize", "Namespace", &["update"]), status("Namespace")],
        has_status: true,
        name_rule: dns_label,
        defaults,
        prepare,
        prepare_update,
        prepare_status_update: |new, _, _| defaults(new),
        prepare_delete,
        fields: &[("status.phase", "status.phase")],
        printer: Some(&PRINTER),
        ..of::<Namespace>()
    }
}

fn defaults(object: &mut Value) {
    let name = meta::name(object).to_string();
    if !name.is_empty() {
        value::slot_map(object, "metadata.labels").insert("kubernetes.io/metadata.name".into(), name.into());
    }
}

fn prepare(object: &mut Value) {
    put(object, "status", json!({"phase": "Active"}));
    let slot = value::slot_map(object, "spec").entry("finalizers").or_insert(Value::Null);
    match slot {
        Value::Array(list) => {
            if !list.iter().any(|f| f == "kubernetes") {
                list.push("kubernetes".into());
            }
        }
        other => *other = json!(["kubernetes"]),
    }
}

/// `spec.finalizers` changes through `/finalize` only.
fn prepare_update(new: &mut Value, old: &Value) {
    value::copy(old, new, "spec.finalizers");
}

fn prepare_delete(object: &mut Value) {
    put(object, "status.phase", "Terminating");
}

static PRINTER: Printer = Printer {
    columns: &[("Name", "string", false), ("Status", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), text(o, "status.phase").into(), age(o, now)],
    conditions: None,
};
