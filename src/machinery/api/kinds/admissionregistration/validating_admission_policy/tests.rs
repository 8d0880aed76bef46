use super::*;
use crate::{kinds, validate};

/// A policy for Deployments, with `spec` over what it has.
fn policy(spec: Value) -> Value {
    let rule = json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"],
        "resources": ["deployments"]});
    let mut object = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "object.spec.replicas > 1"}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    (kind().defaults)(&mut object);
    object
}

fn errors_of(spec: Value) -> Vec<String> {
    let kind = kinds::find("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy").unwrap();
    validate::create(kind, &policy(spec)).iter().map(ToString::to_string).collect()
}

#[test]
fn a_policy_fails_unless_it_says_otherwise() {
    let object = policy(json!({}));
    assert_eq!(object["spec"]["failurePolicy"], "Fail");
    assert_eq!(object["spec"]["matchConstraints"]["matchPolicy"], "Equivalent");
    assert_eq!(object["spec"]["matchConstraints"]["resourceRules"][0]["scope"], "*");
    assert_eq!(errors_of(json!({})), [""; 0]);
    assert_eq!(
        errors_of(json!({"failurePolicy": "Warn"})),
        ["spec.failurePolicy: Unsupported value: \"Warn\": supported values: \"Fail\", \"Ignore\""]
    );
}

#[test]
fn a_policy_says_what_it_is_about_and_what_must_hold() {
    assert_eq!(errors_of(json!({"matchConstraints": null})), ["spec.matchConstraints: Required value"]);
    assert_eq!(
        errors_of(json!({"matchConstraints": {"matchPolicy": "Exact"}})),
        ["spec.matchConstraints.resourceRules: Required value"]
    );
    let why = "Required value: validations or auditAnnotations must contain at least one item";
    assert_eq!(
        errors_of(json!({"validations": null})),
        [format!("spec.validations: {why}"), format!("spec.auditAnnotations: {why}")]
    );
    let audits = json!([{"key": "k", "valueExpression": "'a'"}]);
    assert_eq!(errors_of(json!({"validations": null, "auditAnnotations": audits})), [""; 0]);
}

#[test]
fn expressions_that_do_not_compile_are_refused_where_they_stand() {
    let validation = |fields: Value| errors_of(json!({ "validations": [fields] }));
    const FIELD: &str = "spec.validations[0]";
    assert_eq!(
        validation(json!({"expression": " "})),
        [format!("{FIELD}.expression: Required value: expression is not specified")]
    );
    assert_eq!(
        validation(json!({"expression": "object.spec.paused"})),
        [format!(
            "{FIELD}.expression: Invalid value: \"object.spec.paused\": must evaluate to bool but got dyn"
        )]
    );
    let unknown = validation(json!({"expression": "objekt == 1"}));
    let want = format!(
        "{FIELD}.expression: Invalid value: \"objekt == 1\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'objekt'"
    );
    assert!(unknown.len() == 1 && unknown[0].starts_with(&want), "{unknown:?}");
    let broken = validation(json!({"expression": "object.("}));
    assert!(broken[0].contains("compilation failed: ERROR: <input>:1:"), "{broken:?}");
    let number = validation(json!({"expression": "true", "messageExpression": "1"}));
    assert_eq!(
        number,
        [format!("{FIELD}.messageExpression: Invalid value: \"1\": must evaluate to string but got int")]
    );
    assert_eq!(
        validation(
            json!({"expression": "true", "message": "a\nb", "messageExpression": " ", "reason": "Gone"})
        ),
        [
            format!("{FIELD}.messageExpression: Invalid value: \" \": must be non-empty if specified"),
            format!("{FIELD}.message: Invalid value: \"a\\nb\": must not contain line breaks"),
            format!(
                "{FIELD}.reason: Unsupported value: \"Gone\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\""
            ),
        ]
    );
    let right = "authorizer.path('/').check('get')";
    let asks = |message: String| {
        validation(json!({"expression": format!("{right}.allowed()"), "messageExpression": message}))
    };
    assert_eq!(asks("'no'".to_string()), [""; 0]);
    let message = asks(format!("{right}.reason()"));
    assert!(message[0].contains("undeclared reference to 'authorizer'"), "as upstream: {message:?}");
}

#[test]
fn variables_may_name_those_before_them() {
    let with = |variables: Value, expression: &str| {
        errors_of(json!({"variables": variables, "validations": [{"expression": expression}]}))
    };
    let two = json!([{"name": "a", "expression": "object.spec.replicas"}, {"name": "b", "expression": "variables.a > 1"}]);
    assert_eq!(with(two.clone(), "variables.b"), [""; 0]);
    let later = json!([two[1], two[0]]);
    let wrong = with(later, "true");
    assert!(
        wrong.len() == 1
            && wrong[0].starts_with("spec.variables[0].expression: Invalid value: \"variables.a > 1\""),
        "{wrong:?}"
    );
    let named = |name: &str| with(json!([{"name": name, "expression": "1"}]), "true");
    assert_eq!(named(""), ["spec.variables[0].name: Required value: name is not specified"]);
    for name in ["a-b", "1a", "namespace"] {
        assert_eq!(
            named(name),
            [format!("spec.variables[0].name: Invalid value: {name:?}: must be a valid CEL identifier")]
        );
    }
}

#[test]
fn conditions_have_names_of_their_own() {
    let condition = |name: &str, expression: &str| json!({"name": name, "expression": expression});
    let with = |all: Value| errors_of(json!({ "matchConditions": all }));
    assert_eq!(with(json!([condition("a", "true"), condition("b", "request.dryRun")])), [""; 0]);
    assert_eq!(
        with(json!([condition("a", "true"), condition("a", "true")])),
        ["spec.matchConditions[1].name: Duplicate value: \"a\""]
    );
    let nameless = with(json!([condition("", "")]));
    assert_eq!(
        nameless,
        [
            "spec.matchConditions[0].expression: Required value",
            "spec.matchConditions[0].name: Required value"
        ]
    );
    let many: Vec<Value> = (0..65).map(|n| condition(&format!("c{n}"), "true")).collect();
    assert_eq!(with(json!(many)), ["spec.matchConditions: Too many: 65: must have at most 64 items"]);
    let before = policy(json!({"matchConditions": [condition("a", "no.such == 1")]}));
    let kind = kinds::find("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy").unwrap();
    let mut errors = Errors::default();
    (kind.validate_update)(&before, &before, &mut errors);
    assert!(errors.is_empty(), "what was taken before stays");
}

#[test]
fn annotations_have_keys_below_the_policy() {
    let with = |all: Value| errors_of(json!({ "auditAnnotations": all }));
    let one = json!({"key": "k", "valueExpression": "'a'"});
    assert_eq!(with(json!([one])), [""; 0]);
    assert_eq!(with(json!([one, one])), ["spec.auditAnnotations[1].key: Duplicate value: \"k\""]);
    let bad = with(json!([{"key": "a/b", "valueExpression": "1"}]));
    assert!(bad[0].starts_with("spec.auditAnnotations[0].key: Invalid value: \"p/a/b\""), "{bad:?}");
    assert!(bad[1].ends_with("must evaluate to one of [string null_type] but got int"), "{bad:?}");
    let long = format!("'{}'", "x".repeat(ANNOTATION_MAX));
    assert_eq!(
        with(json!([{"key": "k", "valueExpression": long}])),
        ["spec.auditAnnotations[0].valueExpression: Required value: must not exceed 5120 bytes in length"]
    );
}

#[test]
fn parameters_are_of_a_kind() {
    let with =
        |version: &str, kind: &str| errors_of(json!({"paramKind": {"apiVersion": version, "kind": kind}}));
    assert_eq!(with("v1", "ConfigMap"), [""; 0]);
    assert_eq!(
        with("", ""),
        ["spec.paramKind.apiVersion: Required value", "spec.paramKind.kind: Required value"]
    );
    assert_eq!(
        with("a/", "K"),
        ["spec.paramKind.apiVersion: Invalid value: \"a/\": version must be specified"]
    );
    assert!(with("a/b/c", "K")[0].ends_with("unexpected GroupVersion string: a/b/c"));
    let params = |kind: Value| {
        errors_of(json!({"paramKind": kind, "validations": [{"expression": "params.data.max == '1'"}]})).len()
    };
    assert_eq!(params(json!({"apiVersion": "v1", "kind": "ConfigMap"})), 0);
    assert_eq!(params(Value::Null), 1, "undeclared without a kind");
}

#[test]
fn a_status_says_where_a_warning_belongs() {
    let status = |field: &str, warning: &str| {
        let all = json!([{"fieldRef": field, "warning": warning}]);
        let mut errors = Errors::default();
        let new = json!({"status": {"typeChecking": {"expressionWarnings": all}}});
        validate_status_update(&new, &Value::Null, &mut errors);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(status("spec.validations[0].expression", "w"), [""; 0]);
    const FIELD: &str = "status.typeChecking.expressionWarnings[0]";
    assert_eq!(
        status("", ""),
        [format!("{FIELD}.warning: Required value"), format!("{FIELD}.fieldRef: Required value")]
    );
    assert!(status("spec[", "w")[0].contains("invalid JSONPath"));
}

#[test]
fn a_status_follows_the_spec() {
    let kind = kinds::find("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy").unwrap();
    let mut new = policy(json!({}));
    (kind.prepare)(&mut new);
    assert_eq!(new["status"], json!({"observedGeneration": 1, "typeChecking": {}}));
    let mut old = new.clone();
    old["metadata"]["generation"] = json!(1);
    let mut same = old.clone();
    (kind.prepare_update)(&mut same, &old);
    assert_eq!(same, old);
    let mut changed = old.clone();
    changed["spec"]["validations"][0]["expression"] = json!("object.spec.replicas > '1'");
    (kind.prepare_update)(&mut changed, &old);
    let status = &changed["status"];
    assert_eq!(status["observedGeneration"], 2);
    assert_eq!(status["typeChecking"]["expressionWarnings"][0]["fieldRef"], "spec.validations[0].expression");
}

#[test]
fn a_policy_is_shown_with_its_validations_and_parameters() {
    let cells = (PRINTER.cells)(
        &policy(json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}})),
        clock::Timestamp::UNIX_EPOCH,
    );
    assert_eq!((&cells[1], &cells[2]), (&json!(1), &json!("v1/ConfigMap")));
}

/// Each of them is compiled on a thread of its own, and stays as long as the policy.
#[test]
fn the_expressions_of_a_policy_have_a_size() {
    let with = |count: usize, expression: &str| {
        errors_of(json!({"validations": vec![json!({ "expression": expression }); count]}))
    };
    assert_eq!(with(50, "object.metadata.name.matches('^[a-z]+$')"), [""; 0]);
    assert_eq!(
        with(6_000, "true"),
        ["spec: Forbidden: the expressions have more than 524288 bytes together"]
    );
    let dear = with(20, r"'a'.matches(r'\pL{60}')");
    assert!(dear.len() == 1 && dear[0].contains("take more than 33554432 bytes"), "{dear:?}");
}
