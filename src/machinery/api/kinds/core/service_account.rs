//! Service accounts: the identity under which the programs in a pod talk to the API server.

use crate::kinds::entry::{CREATE, Kind, Sub, of};
use crate::table::cells::{Printer, age, name};
use crate::value::list_mut;
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::Value;

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
        prepare: clean_secrets,
        prepare_update: |new, _| clean_secrets(new),
        printer: Some(&PRINTER),
        ..of::<ServiceAccount>()
    }
}

/// Keeps the name alone of each reference to a Secret: an account uses those of its own namespace
/// (`cleanSecretReferences` upstream).
fn clean_secrets(account: &mut Value) {
    for secret in list_mut(account, "secrets") {
        if let Value::Object(reference) = secret {
            reference.retain(|field, _| field == "name");
        }
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

    #[test]
    fn a_reference_to_a_secret_is_its_name() {
        let account = || {
            let far = json!({"kind": "Pod", "namespace": "other", "name": "s", "uid": "u"});
            json!({"secrets": [far, {"name": "t"}, {"namespace": "other"}]})
        };
        let cleaned = json!({"secrets": [{"name": "s"}, {"name": "t"}, {}]});
        let (mut made, mut changed) = (account(), account());
        (kind().prepare)(&mut made);
        assert_eq!(made, cleaned);
        (kind().prepare_update)(&mut changed, &account());
        assert_eq!(changed, cleaned);
    }

    /// Accounts have no Secrets of their own since 1.24; the column is gone in 1.35.
    #[test]
    fn an_account_has_a_name_and_an_age() {
        let cells = (PRINTER.cells)(&json!({"metadata": {"name": "robot"}}), Timestamp::UNIX_EPOCH);
        assert_eq!(cells, ["robot", "<unknown>"]);
        let titles: Vec<&str> = PRINTER.columns.iter().map(|(title, ..)| *title).collect();
        assert_eq!(titles, ["Name", "Age"]);
    }
}
