//! Service accounts: the identity under which the programs in a pod talk to the API server.

use crate::kinds::entry::{CREATE, Kind, Sub, of};
use crate::table::cells::{Printer, age, name};
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
    columns: &[("Name", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), age(o, now)],
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use clock::Timestamp;
    use serde_json::json;

    /// Accounts have no Secrets of their own since 1.24; the column is gone in 1.35.
    #[test]
    fn an_account_has_a_name_and_an_age() {
        let cells = (PRINTER.cells)(&json!({"metadata": {"name": "robot"}}), Timestamp::UNIX_EPOCH);
        assert_eq!(cells, ["robot", "<unknown>"]);
        let titles: Vec<&str> = PRINTER.columns.iter().map(|(title, ..)| *title).collect();
        assert_eq!(titles, ["Name", "Age"]);
    }
}
