//! Leases: a holder renews its Lease to show that it is alive. Leader election and the heartbeats
//! of nodes use them.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::table::cells::{Printer, age, name};
use crate::validate::names;
use crate::value::{self, at, text};
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind {
        create_on_update: true,
        needs_version: true,
        prepare: |new| drop_election(new, &Value::Null),
        prepare_update: drop_election,
        validate,
        printer: Some(&PRINTER),
        ..of::<Lease>()
    }
}

/// Drops the fields of coordinated leader election unless the stored Lease has them: the feature
/// `CoordinatedLeaderElection` is off, as it is by default upstream.
fn drop_election(new: &mut Value, old: &Value) {
    for path in ["spec.strategy", "spec.preferredHolder"] {
        if at(old, path).is_null() {
            value::remove(new, path);
        }
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    for path in ["spec.leaseDurationSeconds", "spec.leaseTransitions"] {
        let low = if path == "spec.leaseDurationSeconds" { 1 } else { 0 };
        if at(object, path).as_i64().is_some_and(|n| n < low) {
            let why = if low == 1 { "must be greater than 0" } else { "must be greater than or equal to 0" };
            errors.invalid(path, at(object, path), why);
        }
    }
    const STRATEGIES: [&str; 1] = ["OldestEmulationVersion"];
    // As upstream, which names the field twice (`ValidateCoordinatedLeaseStrategy`).
    const STRATEGY: &str = "spec.strategy.strategy";
    let (strategy, shown) = (text(object, "spec.strategy"), at(object, "spec.strategy"));
    if strategy.contains('/') {
        for problem in names::qualified_name(strategy) {
            errors.invalid_text(STRATEGY, strategy, &problem);
        }
    } else if !shown.is_null() && !STRATEGIES.contains(&strategy) {
        errors.not_supported(STRATEGY, shown, &STRATEGIES);
    }
    if !text(object, "spec.preferredHolder").is_empty() && strategy.is_empty() {
        errors.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined");
    }
}

static PRINTER: Printer = Printer {
    columns: &[("Name", "string", false), ("Holder", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), text(o, "spec.holderIdentity").into(), age(o, now)],
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    #[test]
    fn a_new_lease_has_no_fields_of_coordinated_election() {
        let with = |spec: Value| json!({ "spec": spec });
        let asked = || with(json!({"holderIdentity": "a", "strategy": "x", "preferredHolder": "b"}));
        let plain = with(json!({"holderIdentity": "a"}));
        let mut made = asked();
        (kind().prepare)(&mut made);
        assert_eq!(made, plain);
        let mut changed = asked();
        (kind().prepare_update)(&mut changed, &plain);
        assert_eq!(changed, plain);
        let mut kept = asked();
        (kind().prepare_update)(&mut kept, &asked());
        assert_eq!(kept, asked(), "what is stored may stay");
    }

    #[test]
    fn a_preferred_holder_needs_a_strategy() {
        let errors_of = |spec: Value| problems(validate, json!({ "spec": spec }));
        let holder = |strategy: &str| json!({"preferredHolder": "a", "strategy": strategy});
        assert_eq!(errors_of(holder("OldestEmulationVersion")), [""; 0]);
        assert_eq!(errors_of(holder("example.com/own")), [""; 0]);
        assert_eq!(
            errors_of(json!({"preferredHolder": "a"})),
            ["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"]
        );
        assert_eq!(
            errors_of(holder("x")),
            [
                "spec.strategy.strategy: Unsupported value: \"x\": supported values: \"OldestEmulationVersion\""
            ]
        );
        assert_eq!(errors_of(holder("a/b/c")).len(), 1);
    }
}
