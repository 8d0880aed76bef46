//! Storage classes: which provisioner makes the volume of a claim, and when.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of};
use crate::meta;
use crate::table::cells::{Printer, age, text_or};
use crate::validate::fields::one_of;
use crate::validate::names;
use crate::value::{at, default, flag, list, map, pairs, text};
use crate::volumes::is_default_class;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashSet};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["sc"],
        returns_deleted: true,
        defaults,
        validate,
        immutable: &["volumeBindingMode"],
        validate_update,
        printer: Some(&PRINTER),
        ..of::<StorageClass>()
    }
}

fn defaults(object: &mut Value) {
    default(object, "reclaimPolicy", "Delete");
    default(object, "volumeBindingMode", "Immediate");
}

fn validate(object: &Value, errors: &mut Errors) {
    let provisioner = text(object, "provisioner").to_lowercase();
    if provisioner.is_empty() {
        errors.required("provisioner", "");
    } else {
        let problems = names::qualified_name(&provisioner);
        problems.iter().for_each(|problem| errors.invalid_text("provisioner", &provisioner, problem));
    }
    parameters(object, errors);
    topologies(object, errors);
    // An empty policy is accepted, as upstream: a volume that is made with it is retained.
    if !text(object, "reclaimPolicy").is_empty() {
        one_of(object, "reclaimPolicy", "reclaimPolicy", &["Delete", "Retain"], errors);
    }
    one_of(object, "volumeBindingMode", "volumeBindingMode", &["Immediate", "WaitForFirstConsumer"], errors);
}

/// Parameters of a class, and the bytes of their names and values (`maxProvisionerParameterLen`,
/// `maxProvisionerParameterSize`).
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_SIZE_MAX: usize = 256 << 10;

/// Checks the parameters for the provisioner: their names, number and size.
fn parameters(object: &Value, errors: &mut Errors) {
    const FIELD: &str = "parameters";
    if map(object, FIELD).is_some_and(|all| all.len() > PARAMETERS_MAX) {
        return errors.too_long(FIELD, PARAMETERS_MAX);
    }
    let mut size = 0;
    for (key, value) in pairs(object, FIELD) {
        if key.is_empty() {
            errors.invalid_text(FIELD, key, "field can not be empty.");
        }
        size += key.len() + value.len();
    }
    if size > PARAMETERS_SIZE_MAX {
        errors.too_long(FIELD, PARAMETERS_SIZE_MAX);
    }
}

/// Checks the labels of the nodes for which volumes may be made.
fn topologies(object: &Value, errors: &mut Errors) {
    let mut known: HashSet<BTreeMap<&str, BTreeSet<&str>>> = HashSet::new();
    for (i, term) in list(object, "allowedTopologies").iter().enumerate() {
        let field = format!("allowedTopologies[{i}].matchLabelExpressions");
        let rules = list(term, "matchLabelExpressions");
        let mut keys: HashSet<&str> = HashSet::new();
        let mut selected: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (j, rule) in rules.iter().enumerate() {
            let field = format!("{field}[{j}]");
            let (key, values) = (text(rule, "key"), list(rule, "values"));
            if values.is_empty() {
                errors.required(format!("{field}.values"), "");
            }
            let mut seen: HashSet<&Value> = HashSet::new();
            for (k, value) in values.iter().enumerate().filter(|(_, value)| !seen.insert(value)) {
                errors.duplicate(format!("{field}.values[{k}]"), value);
            }
            for problem in names::qualified_name(key) {
                errors.invalid_text(format!("{field}.key"), key, &problem);
            }
            if !keys.insert(key) {
                errors.duplicate(format!("{field}.key"), &json!(key));
            }
            selected.insert(key, values.iter().filter_map(Value::as_str).collect());
        }
        // The order of keys and values does not count. A term without a rule is refused in the same
        // way, as upstream.
        if rules.is_empty() || !known.insert(selected) {
            errors.duplicate(field, &json!(""));
        }
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    for field in ["parameters", "provisioner", "reclaimPolicy"] {
        if at(new, field) != at(old, field) {
            errors.forbidden(field, &format!("updates to {field} are forbidden."));
        }
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Provisioner", "string", false),
        ("ReclaimPolicy", "string", false),
        ("VolumeBindingMode", "string", false),
        ("AllowVolumeExpansion", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let is_default = is_default_class(|key| meta::annotation(o, key));
        let suffix = if is_default { " (default)" } else { "" };
        vec![
            format!("{}{suffix}", meta::name(o)).into(),
            text(o, "provisioner").into(),
            at(o, "reclaimPolicy").as_str().unwrap_or("Delete").into(),
            text_or(o, "volumeBindingMode", "Immediate").into(),
            flag(o, "allowVolumeExpansion").into(),
            age(o, now),
        ]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn provisioners_and_labels_have_names() {
        let errors_of = |provisioner: &str, terms: Value| {
            let class = json!({"provisioner": provisioner, "reclaimPolicy": "Delete",
                "volumeBindingMode": "Immediate", "allowedTopologies": terms});
            let problems = problems(validate, class);
            problems.iter().map(|p| p.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect::<Vec<_>>()
        };
        let rule = |key: &str, values: &[&str]| json!({"key": key, "values": values});
        let term = |rules: &[Value]| json!({"matchLabelExpressions": rules});
        let zone = || rule("topology.kubernetes.io/zone", &["a", "b"]);
        assert_eq!(
            errors_of("Example.com/Disk", json!([term(&[zone()]), term(&[rule("x", &["a"])])])),
            [""; 0]
        );
        assert_eq!(errors_of("a b", json!([])), ["provisioner: Invalid value"]);
        let field = "allowedTopologies[0].matchLabelExpressions";
        for (terms, why) in [
            (json!([term(&[])]), format!("{field}: Duplicate value")),
            (json!([term(&[rule("x", &[])])]), format!("{field}[0].values: Required value")),
            (json!([term(&[rule("x", &["a", "a"])])]), format!("{field}[0].values[1]: Duplicate value")),
            (json!([term(&[rule("a b", &["a"])])]), format!("{field}[0].key: Invalid value")),
            (json!([term(&[zone(), zone()])]), format!("{field}[1].key: Duplicate value")),
            (
                json!([term(&[zone()]), term(&[zone()])]),
                "allowedTopologies[1].matchLabelExpressions: Duplicate value".to_string(),
            ),
            (
                json!([
                    term(&[zone(), rule("x", &["a"])]),
                    term(&[rule("x", &["a"]), rule("topology.kubernetes.io/zone", &["b", "a"])])
                ]),
                "allowedTopologies[1].matchLabelExpressions: Duplicate value".to_string(),
            ),
        ] {
            assert_eq!(errors_of("a/b", terms), [why]);
        }
    }

    #[test]
    fn the_work_for_topologies_grows_as_they_do() {
        let many = |n: usize| {
            let rule = |i: usize| json!({"key": "zone", "values": ["a", format!("b{i}")]});
            let term = |i: usize| json!({"matchLabelExpressions": [rule(i)]});
            let terms: Vec<Value> = (0..n).map(term).collect();
            json!({"provisioner": "a/b", "allowedTopologies": terms})
        };
        rng::growth::grows_as_its_input("allowed topologies", 4_000, many, |class| {
            assert_eq!(problems(validate, class), [""; 0]);
        });
    }

    /// The fields are pointers in Go: an empty text is not the same as none.
    #[test]
    fn an_empty_policy_is_no_missing_one() {
        let errors_of = |class: Value| {
            let mut class = class;
            class["provisioner"] = "a/b".into();
            defaults(&mut class);
            let found = problems(validate, class).into_iter();
            found.map(|p| p.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect::<Vec<_>>()
        };
        assert_eq!(errors_of(json!({})), [""; 0]);
        assert_eq!(errors_of(json!({"reclaimPolicy": ""})), [""; 0], "upstream does not judge it");
        assert_eq!(
            errors_of(json!({"reclaimPolicy": "Recycle", "volumeBindingMode": ""})),
            ["reclaimPolicy: Unsupported value", "volumeBindingMode: Unsupported value"]
        );
        let policy = |policy: Value| {
            (PRINTER.cells)(&json!({"reclaimPolicy": policy}), clock::Timestamp::UNIX_EPOCH)[2].clone()
        };
        assert_eq!((policy(json!("")), policy(Value::Null)), (json!(""), json!("Delete")));
    }

    #[test]
    fn parameters_of_a_class_are_bounded() {
        let errors_of =
            |parameters: Value| problems(validate, json!({"provisioner": "a/b", "parameters": parameters}));
        let many = |count: usize| (0..count).map(|n| (n.to_string(), json!("x"))).collect::<Value>();
        assert_eq!(errors_of(many(512)), [""; 0]);
        assert_eq!(errors_of(many(513)), ["parameters: Too long: may not be more than 512 bytes"]);
        let large = |bytes: usize| json!({"k": "x".repeat(bytes - 1)});
        assert_eq!(errors_of(large(256 << 10)), [""; 0]);
        assert_eq!(
            errors_of(large((256 << 10) + 1)),
            ["parameters: Too long: may not be more than 262144 bytes"]
        );
        assert_eq!(errors_of(json!({"": "x"})), ["parameters: Invalid value: \"\": field can not be empty."]);
    }

    #[test]
    fn a_default_class_says_so_behind_its_name() {
        let name = |key: &str| {
            let class = json!({"metadata": {"name": "c", "annotations": {key: "true"}}});
            (PRINTER.cells)(&class, clock::now())[0].clone()
        };
        assert_eq!(name("storageclass.kubernetes.io/is-default-class"), "c (default)");
        assert_eq!(name("storageclass.beta.kubernetes.io/is-default-class"), "c (default)");
        assert_eq!(name("example.com/is-default-class"), "c");
    }

    #[test]
    fn a_class_stays_as_it_is() {
        let class = |policy: &str, by: &str| json!({"provisioner": by, "reclaimPolicy": policy});
        let errors_of = |new: Value| {
            let mut errors = Errors::default();
            validate_update(&new, &class("Delete", "a/b"), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(errors_of(class("Delete", "a/b")), [""; 0]);
        assert_eq!(
            errors_of(class("Retain", "a/c")),
            [
                "provisioner: Forbidden: updates to provisioner are forbidden.",
                "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden."
            ]
        );
    }
}
