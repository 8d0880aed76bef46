//! Leases: a holder renews its Lease to show that it is alive. Leader election and the heartbeats
//! of nodes use them.

use crate::errors::Errors;
use crate::kinds::{Kind, of};
use crate::table::{Printer, age, name};
use crate::value::{at, text};
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind { create_on_update: true, needs_version: true, validate, printer: Some(&PRINTER), ..of::<Lease>() }
}

fn validate(object: &Value, errors: &mut Errors) {
    for path in ["spec.leaseDurationSeconds", "spec.leaseTransitions"] {
        let low = if path == "spec.leaseDurationSeconds" { 1 } else { 0 };
        if at(object, path).as_i64().is_some_and(|n| n < low) {
            let why = if low == 1 { "must be greater than 0" } else { "must be greater than or equal to 0" };
            errors.invalid(path, at(object, path), why);
        }
    }
}

static PRINTER: Printer = Printer {
    columns: &[("Name", "string", false), ("Holder", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), text(o, "spec.holderIdentity").into(), age(o, now)],
    conditions: None,
};
