use crate::cel::facts::Facts;
use crate::cel::value::{self, text};
use crate::cel::{Expr, Meaning, Use};
use cel::Value;
use std::sync::Arc;

/// In a lab `v` is the drawn values; a macro that binds the name means its own element.
#[test]
fn a_name_that_a_macro_around_binds_is_no_value_of_the_lab() {
    let facts = || {
        let record = value::map([("own", Value::Bool(true)), ("code", Value::Int(404))]);
        Arc::new(Facts {
            trace: Arc::new(vec![record]),
            variant: Some(value::map([("app", text("menu"))])),
            since_step: 7,
            ..Facts::default()
        })
    };
    for (source, truth) in [
        ("[404, 409].exists(v, trace.exists(t, t.own && t.code == v))", true),
        ("[409].exists(v, trace.exists(t, t.own && t.code == v))", false),
        ("[404].all(since_step, trace.exists(t, t.code == since_step))", true),
        ("[[{'code': 200}]].exists(trace, trace.exists(t, t.code == 200))", true),
        ("trace.exists(v, [404].exists(t, v.code == t))", true),
        ("trace.exists(t, t.code == 404 && v.app == 'menu')", true),
    ] {
        assert_eq!(
            Expr::compile(source, Use::Check, &[]).unwrap().value(&facts(), &[]),
            Ok(Value::Bool(truth)),
            "{source}"
        );
    }
}

/// Equality has no sides, whichever of the two a macro has gathered and whichever is stored.
#[test]
fn a_gathered_list_equals_a_stored_one_from_either_side() {
    let variant = value::of_json(&serde_json::json!({"all": ["a", "b"], "one": {"n": 1}}));
    let facts = Arc::new(Facts { variant: Some(variant), ..Facts::default() });
    for source in [
        "v.all.map(a, a) == v.all",
        "v.all == v.all.map(a, a)",
        "!(v.all.filter(a, true) != v.all)",
        "v.all.map(a, a) != v.one",
        "v.all.map(a, a) == v.all.filter(a, true)",
        "['a'] + ['b'] == v.all",
        "(size(v.all) == 2 ? ['a', 'b'] : []) == v.all",
        "(v.all.exists(a, a == 'a') ? {'n': 1} : {}) == v.one",
        "[v.all.map(a, a)] == [v.all] && {'n': 1} == v.one",
        "'a' + 'b' == 'ab' && 1 + 2 == 3 && [1].exists(n, n == 1) == true",
    ] {
        let value = Expr::compile(source, Use::Check, &[]).unwrap().value(&facts, &[]);
        assert_eq!(value, Ok(Value::Bool(true)), "{source}");
    }
}

/// A debrief may bind any name, also that of a lab's values.
#[test]
fn a_name_that_is_given_is_no_value_of_the_lab() {
    let record = value::map([("code", Value::Int(404))]);
    let facts = Arc::new(Facts {
        trace: Arc::new(vec![record]),
        variant: Some(value::map([("app", text("menu"))])),
        ..Facts::default()
    });
    let source = "trace.exists(t, t.code == v)";
    let expr = Expr::compile(source, Use::Beat, &[("v", Meaning::default())]).unwrap();
    assert_eq!(expr.value(&facts, &[("v", Value::Int(404))]), Ok(Value::Bool(true)));
}

/// The tests of a single record may be as deep as a whole expression.
#[test]
fn a_deep_test_of_a_record_has_a_stack_of_its_own() {
    let source = format!("trace.exists(t, t.code == {})", ["1"; 91].join(" + "));
    let expr = Expr::compile(&source, Use::Check, &[]).unwrap();
    let record = value::map([("code", Value::Int(91))]);
    let facts = Arc::new(Facts { trace: Arc::new(vec![record]), ..Facts::default() });
    // Less than a task has: on it the evaluator would end the whole process.
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let holds = small.spawn(move || expr.holds(&facts)).unwrap().join().unwrap();
    assert!(holds);
}
