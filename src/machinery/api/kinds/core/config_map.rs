//! Config maps: settings and small files that pods read.

use crate::errors::Errors;
use crate::kinds::core::data::{SIZE_MAX, count, decoded, immutable, keys};
use crate::kinds::entry::{Kind, of};
use crate::table::cells::{Printer, age, name};
use crate::value::{at, map};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind { short_names: &["cm"], validate, validate_update, printer: Some(&PRINTER), ..of::<ConfigMap>() }
}

pub(super) fn validate(object: &Value, errors: &mut Errors) {
    let size = keys(object, "data", str::len, errors) + keys(object, "binaryData", decoded, errors);
    for key in map(object, "binaryData").into_iter().flatten().map(|(k, _)| k) {
        if at(object, "data").get(key).is_some() {
            errors.invalid_text(format!("data[{key}]"), key, "duplicate of key present in binaryData");
        }
    }
    if size > SIZE_MAX {
        errors.too_long("", SIZE_MAX);
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    immutable(new, old, &["data", "binaryData"], errors);
}

static PRINTER: Printer = Printer {
    columns: &[("Name", "string", false), ("Data", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), (count(o, "data") + count(o, "binaryData")).into(), age(o, now)],
    conditions: None,
};
