//! Service accounts: the identity under which the programs in a pod talk to the API server.

use crate::kinds::{CREATE, Kind, Sub, of};
use crate::table::{Printer, age, name};
use crate::value::list;
use k8s_openapi::api::core::v1::ServiceAccount;

pub(super) fn kind() -> Kind {
    let token = Sub {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: CREATE,
    };
    Kind {
        short_names: &["sa"],
        subresources: vec![token],
        returns_deleted: true,
        printer: Some(&PRINTER),
        ..of::<ServiceAccount>()
    }
}

static PRINTER: Printer = Printer {
    columns: &[("Name", "string", false), ("Secrets", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), list(o, "secrets").len().into(), age(o, now)],
    conditions: None,
};
