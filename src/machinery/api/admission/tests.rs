//! Policies asked about requests.

use super::*;
use serde_json::{Value, json};

fn policy(spec: Value) -> Policy {
    Policy::read(&json!({"metadata": {"name": "p"}, "spec": spec}))
}

fn asked_with(policy: &Policy, object: &Value, params: &Value) -> Outcome {
    let request = json!({"operation": "CREATE", "userInfo": {"username": "ann"}});
    let namespace = json!({"metadata": {"name": "shop"}});
    let review = Review::new(object.clone(), Value::Null, request, namespace);
    let mut left = Review::STEPS_MAX;
    policy.evaluate(&review, params, &mut left, &|_| Decision::default())
}

fn messages(spec: Value, object: Value) -> Vec<String> {
    let outcome = asked_with(&policy(spec), &object, &Value::Null);
    outcome.denials.into_iter().map(|denial| denial.message).collect()
}

fn replicas(count: i64) -> Value {
    json!({"spec": {"replicas": count, "containers": [{"image": "a/b"}, {"image": "c/d"}]}})
}

#[test]
fn a_validation_that_does_not_hold_refuses_in_its_words() {
    let one = |more: Value| {
        let mut validation = json!({"expression": "object.spec.replicas > 1"});
        for (field, value) in more.as_object().into_iter().flatten() {
            validation[field] = value.clone();
        }
        json!({ "validations": [validation] })
    };
    assert_eq!(messages(one(json!({})), replicas(2)), [""; 0]);
    assert_eq!(messages(one(json!({})), replicas(1)), ["failed expression: object.spec.replicas > 1"]);
    assert_eq!(messages(one(json!({"message": "too few"})), replicas(1)), ["too few"]);
    let made = json!({"message": "too few", "messageExpression": "'got ' + string(object.spec.replicas)"});
    assert_eq!(messages(one(made), replicas(1)), ["got 1"]);
    for unusable in ["'wants, got ' + object.spec.replicas", "''", "'a\\nb'"] {
        let made = json!({"message": "too few", "messageExpression": unusable});
        assert_eq!(messages(one(made), replicas(1)), ["too few"], "{unusable}");
    }
    let outcome = asked_with(&policy(one(json!({"reason": "Forbidden"}))), &replicas(1), &Value::Null);
    assert_eq!(outcome.denials[0].reason, "Forbidden");
}

#[test]
fn an_expression_that_fails_refuses_unless_failures_are_ignored() {
    let with = |policy: &str| json!({"failurePolicy": policy, "validations": [{"expression": "object.spec.no > 1"}]});
    let why = "expression 'object.spec.no > 1' resulted in error: no such key: no";
    assert_eq!(messages(with("Fail"), replicas(1)), [why]);
    assert_eq!(messages(with("Ignore"), replicas(1)), [""; 0]);
    let broken = json!({"validations": [{"expression": "("}]});
    assert!(
        messages(broken, replicas(1))[0].contains("compilation error"),
        "one that another version stored"
    );
}

#[test]
fn conditions_decide_whether_a_policy_is_asked() {
    let with = |failure: &str, conditions: &[&str]| {
        let all: Vec<Value> = conditions.iter().map(|c| json!({"name": "n", "expression": c})).collect();
        let spec = json!({"failurePolicy": failure, "matchConditions": all, "validations": [{"expression": "false"}]});
        messages(spec, replicas(1)).len()
    };
    assert_eq!(with("Fail", &["request.userInfo.username == 'ann'"]), 1);
    assert_eq!(with("Fail", &["request.userInfo.username == 'bob'"]), 0);
    assert_eq!(with("Fail", &["object.no == 1", "false"]), 0, "one that is false decides");
    assert_eq!(with("Fail", &["object.no == 1"]), 1);
    assert_eq!(with("Ignore", &["object.no == 1"]), 0);
    assert_eq!(with("Fail", &["namespaceObject == null"]), 1, "it is for validations only");
}

#[test]
fn variables_are_made_once_and_only_where_they_are_needed() {
    let variables = json!([
        {"name": "images", "expression": "object.spec.containers.map(c, c.image)"},
        {"name": "first", "expression": "variables.images[0]"},
        {"name": "broken", "expression": "object.no"},
        {"name": "worse", "expression": "variables.broken"},
    ]);
    let with = |expression: &str| {
        messages(json!({"variables": variables, "validations": [{"expression": expression}]}), replicas(1))
    };
    assert_eq!(with("variables.images.all(i, i.contains('/')) && variables.first == 'a/b'"), [""; 0]);
    assert_eq!(with("true || variables.broken == 1"), [""; 0], "what decides needs no more");
    assert_eq!(with("variables.broken == 1 || variables.first == 'a/b'"), [""; 0]);
    assert_eq!(with("has(variables.images)"), [""; 0]);
    assert_eq!(with("variables.?first.orValue('') == 'a/b'"), [""; 0]);
    assert_eq!(with("[variables].all(v, v.first == 'a/b')"), [""; 0]);
    let denied = with("variables.worse == 1");
    let want = "expression 'variables.worse == 1' resulted in error: composited variable \"worse\" fails to evaluate: composited variable \"broken\" fails to evaluate: no such key: no";
    assert_eq!(denied, [want]);
}

#[test]
fn parameters_and_the_namespace_are_variables() {
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [
        {"expression": "object.spec.replicas <= int(params.data.max)"},
        {"expression": "namespaceObject.metadata.name == 'shop'"},
        {"expression": "oldObject == null"}]});
    let policy = policy(spec);
    let with = |max: &str| asked_with(&policy, &replicas(3), &json!({"data": {"max": max}})).denials.len();
    assert_eq!((with("3"), with("2")), (0, 1));
    let none = asked_with(&policy, &replicas(3), &Value::Null);
    assert_eq!(none.denials.len(), 1, "without parameters they are null");
}

#[test]
fn audit_annotations_have_text_or_nothing() {
    let with = |failure: &str, expression: &str| {
        let spec = json!({"failurePolicy": failure, "auditAnnotations": [{"key": "k", "valueExpression": expression}]});
        asked_with(&policy(spec), &replicas(1), &Value::Null)
    };
    let some = with("Fail", "' got ' + string(object.spec.replicas)");
    assert_eq!(some.annotations, [("k".to_string(), "got 1".to_string())]);
    for nothing in ["null", "''"] {
        assert_eq!(with("Fail", nothing), Outcome::default(), "{nothing}");
    }
    assert!(with("Fail", "object.no").denials[0].is_final);
    assert_eq!(with("Ignore", "object.no"), Outcome::default());
    let long = with("Fail", "object.spec.containers.map(c, 'x').join('ä') + 'ä'");
    assert_eq!(long.annotations[0].1, "xäxä");
}

/// What may be written is bounded before it runs, and all policies of a request together are.
#[test]
fn an_expression_that_is_too_costly_fails_before_it_runs() {
    let items: Vec<u32> = (0..2_000).collect();
    let object = json!({ "a": items });
    let costly = "object.a.all(x, object.a.all(y, object.a.all(z, x + y + z >= 0)))";
    let spec = json!({"validations": [{"expression": costly}]});
    let denied = messages(spec, object.clone());
    assert_eq!(
        denied,
        [format!("expression '{costly}' resulted in error: operation cancelled: actual cost limit exceeded")]
    );
    let each = policy(json!({"validations": [{"expression": "object.a.all(x, x >= 0 && x < 3000)"}]}));
    let review = Review::new(object, Value::Null, Value::Null, Value::Null);
    let (mut asked, mut left) = (0, Review::STEPS_MAX);
    let denied = loop {
        asked += 1;
        let outcome = each.evaluate(&review, &Value::Null, &mut left, &|_| Decision::default());
        if let Some(denial) = outcome.denials.first() {
            break denial.message.clone();
        }
        assert!(asked < 100_000);
    };
    assert!(asked > 100 && denied.contains("running out of cost budget"), "{asked} {denied}");
}

/// As upstream: the expression reads it at last, or it never runs.
#[test]
fn a_variable_that_is_not_read_costs_nothing() {
    let items: Vec<u32> = (0..200).collect();
    let (count, dear) = (40, "object.a.all(x, object.a.all(y, x + y >= 0))");
    let variables: Vec<Value> =
        (0..count).map(|n| json!({"name": format!("v{n}"), "expression": dear})).collect();
    let all: Vec<String> = (0..count).map(|n| format!("variables.v{n}")).collect();
    let with = |first: &str| {
        let validation = json!({"expression": format!("{first} || {}", all.join(" && "))});
        messages(json!({"variables": variables, "validations": [validation]}), json!({ "a": items }))
    };
    assert_eq!(with("size(object.a) == 200"), [""; 0]);
    let denied = with("size(object.a) == 201");
    assert!(denied.len() == 1 && denied[0].contains("running out of cost budget"), "{denied:?}");
}

/// The version that the client wrote decides there, and not the one that the policy matches.
#[test]
fn conditions_see_the_resource_of_the_request() {
    let policy = policy(json!({
        "matchConditions": [{"name": "written", "expression": "request.resource.version == 'v1'"}],
        "validations": [{"expression": "request.resource.version != 'v2'"}]}));
    let request = json!({"resource": {"version": "v2"}, "requestResource": {"version": "v1"}});
    let review = Review::new(Value::Null, Value::Null, request, Value::Null);
    let outcome =
        policy.evaluate(&review, &Value::Null, &mut { Review::STEPS_MAX }, &|_| Decision::default());
    assert_eq!(outcome.denials.len(), 1, "{outcome:?}");
}

/// A list that names a variable a thousand times is small, and its copy is not.
#[test]
fn a_variable_that_grows_is_refused_before_it_fills_the_memory() {
    let many = vec!["variables.a"; 1_000].join(", ");
    let spec = json!({"variables": [
        {"name": "a", "expression": format!("'{}'", "x".repeat(20_000))},
        {"name": "b", "expression": format!("[{many}]")}],
        "validations": [{"expression": "variables.b.size() > 0"}]});
    let denied = messages(spec, replicas(1));
    assert!(denied[0].ends_with("operation cancelled: actual cost limit exceeded"), "{denied:?}");
}

/// All variables are kept until the policy is done, and a small value takes far more memory than
/// its text.
#[test]
fn variables_of_many_small_values_are_refused() {
    let with = |count: usize| {
        let numbers = json!({"name": "n", "expression": format!("lists.range({count})")});
        let spec = json!({"variables": [numbers], "validations": [{"expression": "variables.n.size() > 0"}]});
        messages(spec, replicas(1))
    };
    assert_eq!(with(50_000), [""; 0]);
    assert!(with(200_000)[0].ends_with("actual cost limit exceeded"));
}

/// Each list holds the list before it: copies of a deep one would fill the stack.
#[test]
fn a_variable_that_nests_too_deep_is_refused() {
    let mut variables = vec![json!({"name": "v0", "expression": "1"})];
    for n in 1..=250 {
        let within = format!("[variables.v{}]", n - 1);
        variables.push(json!({"name": format!("v{n}"), "expression": within}));
    }
    let with = |last: &str| {
        messages(json!({"variables": variables, "validations": [{"expression": last}]}), replicas(1))
    };
    assert_eq!(with("size(variables.v100) == 1"), [""; 0]);
    assert!(with("size(variables.v250) == 1")[0].ends_with("actual cost limit exceeded"));
}

#[test]
fn a_list_in_an_optional_costs_what_the_list_costs() {
    let items: Vec<u32> = (0..2_000).collect();
    let spec = json!({"variables": [{"name": "o", "expression": "optional.of(object.a)"}], "validations": [
        {"expression": "variables.o.value().all(x, variables.o.value().all(y, x + y >= 0))"}]});
    let denied = messages(spec, json!({ "a": items }));
    assert!(denied.len() == 1 && denied[0].ends_with("actual cost limit exceeded"), "{denied:?}");
}

#[test]
fn what_is_said_of_a_chain_of_variables_is_bounded() {
    let mut variables = vec![json!({"name": "v0", "expression": "object.no"})];
    for n in 1..500 {
        let before = format!("variables.v{}", n - 1);
        variables.push(json!({"name": format!("v{n}"), "expression": before}));
    }
    let last = json!([{"expression": "variables.v499 == 1"}]);
    let denied = messages(json!({"variables": variables, "validations": last}), replicas(1));
    assert!(denied.len() == 1 && denied[0].len() < 6_000, "{denied:?}");
}

#[test]
fn a_list_of_a_variable_costs_what_the_list_itself_costs() {
    let containers: Vec<Value> = (0..100).map(|n| json!({"image": format!("registry/image-{n}")})).collect();
    let spec = json!({"variables": [{"name": "all", "expression": "object.containers"}], "validations": [
        {"expression": "variables.all.all(a, variables.all.exists_one(b, a.image == b.image))"}]});
    assert_eq!(messages(spec, json!({ "containers": containers })), [""; 0]);
}

/// Asks one validation, with an authorizer that allows what is about pods and paths. Returns what
/// is wrong, and the questions.
fn asked_rights(spec: Value) -> (Vec<String>, Vec<AccessCheck>) {
    let questions = std::cell::RefCell::new(vec![]);
    let authorize = |check: &AccessCheck| {
        questions.borrow_mut().push(check.clone());
        let is_allowed = match &check.target {
            Target::Path(_) => true,
            Target::Resource(resource) => resource.resource == "pods",
        };
        Decision { is_allowed, reason: if is_allowed { "a role" } else { "" }.to_string() }
    };
    let request = json!({"requestResource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "requestSubResource": "scale", "namespace": "shop", "name": "web"});
    let review = Review::new(json!({"a": [1, 2, 3]}), Value::Null, request, Value::Null);
    let outcome = policy(spec).evaluate(&review, &Value::Null, &mut { Review::STEPS_MAX }, &authorize);
    let messages = outcome.denials.into_iter().map(|denial| denial.message).collect();
    (messages, questions.into_inner())
}

fn asked_right(expression: &str) -> (Vec<String>, Vec<AccessCheck>) {
    asked_rights(json!({"validations": [{"expression": expression, "message": "no"}]}))
}

#[test]
fn an_expression_asks_for_rights() {
    let pods = "authorizer.group('').resource('pods')";
    let narrowed = format!("{pods}.subresource('log').namespace('a').name('b').check('get').allowed()");
    let (denied, questions) = asked_right(&narrowed);
    let text = |text: &str| text.to_string();
    let resource = Resource {
        resource: text("pods"),
        subresource: text("log"),
        namespace: text("a"),
        name: text("b"),
        ..Resource::default()
    };
    let want = AccessCheck { account: None, verb: text("get"), target: Target::Resource(resource) };
    assert_eq!((denied, questions), (vec![], vec![want]));
    let (denied, questions) =
        asked_right("authorizer.group('apps').resource('pods2').check('get').allowed()");
    assert_eq!((denied.as_slice(), questions.len()), (["no".to_string()].as_slice(), 1));
    let decided = "authorizer.path('/x').check('get')";
    let rest = format!("{decided}.reason() == 'a role' && !{decided}.errored() && {decided}.error() == ''");
    assert_eq!(
        asked_right(&rest).0,
        ["expression '".to_string()
            + &rest
            + "' resulted in error: operation cancelled: actual cost limit exceeded"]
    );
    for part in rest.split(" && ") {
        assert_eq!(asked_right(part).0, [""; 0], "{part}");
    }
    let account = "authorizer.serviceAccount('shop', 'robot').path('/x').check('get').allowed()";
    assert_eq!(asked_right(account).1[0].account, Some((text("shop"), text("robot"))));
    let own = asked_right("authorizer.requestResource.check('update').allowed()").1;
    let Target::Resource(own) = &own[0].target else { panic!("{own:?}") };
    let words = [&own.group, &own.resource, &own.subresource, &own.namespace, &own.name];
    assert_eq!(words, ["apps", "deployments", "scale", "shop", "web"]);
}

#[test]
fn a_question_that_says_nothing_fails() {
    for (expression, why) in [
        ("authorizer.path(' ').check('get').allowed()", "path must not be empty"),
        ("authorizer.group('').resource('').check('get').allowed()", "resource must not be empty"),
        (
            "authorizer.serviceAccount('a', '@').path('/').check('get').allowed()",
            "Invalid service account name",
        ),
        (
            "authorizer.serviceAccount('a.b', 'c').path('/').check('get').allowed()",
            "Invalid service account namespace",
        ),
    ] {
        let want = format!("expression '{expression}' resulted in error: {why}");
        assert_eq!(asked_right(expression), (vec![want], vec![]), "{expression}");
    }
}

/// Upstream's cost of a question about a right lets an expression ask two.
#[test]
fn an_expression_may_ask_two_rights() {
    let ask = |verb: &str| format!("authorizer.group('').resource('pods').check('{verb}').allowed()");
    let (denied, questions) = asked_right(&format!("{} && {}", ask("get"), ask("list")));
    assert_eq!((denied.len(), questions.len()), (0, 2));
    let (denied, questions) = asked_right(&format!("{} && {} && {}", ask("get"), ask("list"), ask("watch")));
    assert!(denied[0].ends_with("actual cost limit exceeded") && questions.len() == 2, "{denied:?}");
    let each =
        "object.a.all(x, authorizer.group('').resource('pods').name(string(x)).check('get').allowed())";
    assert!(asked_right(each).0[0].ends_with("actual cost limit exceeded"), "a loop asks for each item");
    let either = format!("object.a.size() == 0 ? {} && {} : {}", ask("a"), ask("b"), ask("c"));
    assert_eq!(asked_right(&either).0, [""; 0], "the branch that is not taken costs nothing");
    let many: Vec<Value> = (0..20).map(|n| json!({"expression": ask(&format!("v{n}"))})).collect();
    assert_eq!(asked_rights(json!({"validations": many})).0, [""; 0], "each has its own two");
    let more: Vec<Value> = (0..30).map(|n| json!({"expression": ask(&format!("v{n}"))})).collect();
    let (denied, _) = asked_rights(json!({"validations": more}));
    assert!(denied[0].contains("running out of cost budget"), "{denied:?}");
}

/// Otherwise the sixty parameters of a policy that asks for a right take all steps of a request.
#[test]
fn a_right_is_decided_once_for_all_policies_of_a_request() {
    let asks =
        policy(json!({"validations": [{"expression": "authorizer.path('/x').check('get').allowed()"}]}));
    let review = Review::new(Value::Null, Value::Null, Value::Null, Value::Null);
    let (questions, mut left) = (std::cell::Cell::new(0), Review::STEPS_MAX);
    let authorize = |_: &AccessCheck| {
        questions.set(questions.get() + 1);
        Decision { is_allowed: true, ..Decision::default() }
    };
    for _ in 0..100 {
        let outcome = asks.evaluate(&review, &Value::Null, &mut left, &authorize);
        assert_eq!(outcome, Outcome::default());
    }
    assert_eq!(questions.get(), 1);
}

#[test]
fn a_right_is_asked_once_and_not_for_a_message() {
    let ask = "authorizer.path('/x').check('get').allowed()";
    let spec = json!({"variables": [{"name": "may", "expression": ask}],
        "matchConditions": [{"name": "may", "expression": ask}],
        "validations": [{"expression": ask}, {"expression": "variables.may && !variables.may",
            "message": "no", "messageExpression": "authorizer.path('/x').check('get').reason()"}]});
    let (denied, questions) = asked_rights(spec);
    assert_eq!((denied, questions.len()), (vec!["no".to_string()], 1));
}
