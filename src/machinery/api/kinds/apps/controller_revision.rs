//! Controller revisions: earlier templates of a DaemonSet or StatefulSet, kept for a rollback.

use crate::errors::Errors;
use crate::kinds::{Kind, of};
use crate::table::{Printer, age, name, number};
use crate::validate::not_negative;
use crate::value::{flag, list, text};
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind { validate, immutable: &["data"], printer: Some(&PRINTER), ..of::<ControllerRevision>() }
}

fn validate(object: &Value, errors: &mut Errors) {
    not_negative(object, "revision", errors);
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Controller", "string", false),
        ("Revision", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let owner = list(o, "metadata.ownerReferences").iter().find(|r| flag(r, "controller"));
        let controller = owner.map_or("<none>".to_string(), |r| {
            let group = text(r, "apiVersion").split_once('/').map_or("", |(g, _)| g);
            let resource = crate::status::qualified(group, &text(r, "kind").to_lowercase());
            format!("{resource}/{}", text(r, "name"))
        });
        vec![name(o), controller.into(), number(o, "revision"), age(o, now)]
    },
    conditions: None,
};
