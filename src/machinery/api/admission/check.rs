//! Checks expressions of a policy before they run: when it is stored, and against the schemas of
//! the kinds that it matches.

use super::expression::{self, Variables};
use super::policy::param_kind;
use super::types::Type;
use crate::cel::terms::Term;
use crate::kinds::{self, Kind};
use crate::published;
use crate::value::{at, list, text};
use serde_json::{Value, json};

/// Kinds with which the expressions of a policy are checked (`maxTypesToCheck` upstream).
const KINDS_MAX: usize = 10;

/// Reads the expressions of the variables of a policy. `None` for one without text, which is
/// refused where the spec is validated.
fn parse_variables(policy: &Value) -> Vec<Option<Result<Term, String>>> {
    let source = |variable| Some(text(variable, "expression")).filter(|source| !source.trim().is_empty());
    list(policy, "spec.variables").iter().map(|variable| source(variable).map(expression::parse)).collect()
}

/// The error of a variable whose value may be the object `variables`, or have it in it. Upstream
/// takes it. Here the value of a variable is copied when it is made, for the estimate of costs, and
/// `variables` is never made as a whole.
const WHOLE: &str = "a variable that has all variables in its value is not supported in Ropewalk; read the fields that it needs, as in variables.x";

/// Judges the variables of a policy in their order: each may name those before it. Returns what its
/// other expressions may name; `report` is called for each variable with a fault, with its place.
fn judge_variables(
    policy: &Value,
    terms: &[Option<Result<Term, String>>],
    plain: Variables,
    mut report: impl FnMut(usize, String),
) -> Variables {
    let all = list(policy, "spec.variables");
    if all.is_empty() {
        return plain;
    }
    let mut known = plain.composed();
    for (i, (variable, term)) in all.iter().zip(terms).enumerate() {
        let given = match term {
            None => Ok(Type::Unknown),
            Some(Ok(term)) => expression::judge(term, &known),
            Some(Err(why)) => Err(why.clone()),
        };
        let given = given.and_then(|given| match given.has_variables() {
            true => Err(WHOLE.to_string()),
            false => Ok(given),
        });
        let given = given.unwrap_or_else(|why| {
            report(i, why);
            Type::Unknown
        });
        known.add(text(variable, "name"), given);
    }
    known
}

/// Holds the validations of a policy against the schemas of the kinds that its rules name, and
/// returns `status.typeChecking.expressionWarnings`. A rule with `*` names no kind, and what
/// CustomResourceDefinitions add is not checked.
///
/// Example: `object.spec.replicas > '1'` of a policy for Deployments compares a number with a text.
/// It is stored, since `object` may be anything, and warned of here.
pub(crate) fn warnings(policy: &Value) -> Vec<Value> {
    let kinds = kinds_of(policy);
    let params = param_kind(policy).map(|(group, version, kind)| {
        let found = kinds::find(group, version, kind).and_then(type_of);
        found.unwrap_or(Type::Dyn)
    });
    let mut all = vec![];
    let terms = if kinds.is_empty() { vec![] } else { parse_variables(policy) };
    let scopes: Vec<(String, Variables)> = kinds
        .into_iter()
        .filter_map(|kind| {
            let object = type_of(kind)?;
            let plain = Variables::of(object, params.clone());
            Some((go_name(kind), judge_variables(policy, &terms, plain, |_, _| {})))
        })
        .collect();
    if scopes.is_empty() {
        return all;
    }
    for (i, validation) in list(policy, "spec.validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let source = text(validation, field);
            // What cannot be read is refused where the spec is validated.
            let Ok(term) = expression::parse(source) else { continue };
            let warning_of = |(kind, scope): &(String, Variables)| {
                let why = expression::judge(&term, scope).err()?;
                Some(format!("{kind}: {why}\n"))
            };
            let found: Vec<String> = scopes.iter().filter_map(warning_of).collect();
            if !found.is_empty() {
                let field = format!("spec.validations[{i}].{field}");
                all.push(json!({"fieldRef": field, "warning": found.join("\n")}));
            }
        }
    }
    all
}

fn type_of(kind: &Kind) -> Option<Type> {
    published::schemas().get(kind.schema_name).map(Type::published)
}

/// Returns a kind as Go shows it: `apps/v1, Kind=Deployment`.
fn go_name(kind: &Kind) -> String {
    match kind.group {
        "" => format!("/{}, Kind={}", kind.version, kind.kind),
        group => format!("{group}/{}, Kind={}", kind.version, kind.kind),
    }
}

/// Returns the kinds of the table that the rules of a policy name.
fn kinds_of(policy: &Value) -> Vec<&'static Kind> {
    let mut found: Vec<&Kind> = vec![];
    for rule in list(policy, "spec.matchConstraints.resourceRules") {
        let words = |name: &str| list(rule, name).iter().filter_map(Value::as_str);
        for group in words("apiGroups") {
            for version in words("apiVersions") {
                for resource in words("resources") {
                    let Some(kind) = kinds::resource(group, version, resource) else { continue };
                    if found.len() < KINDS_MAX && !found.iter().any(|known| std::ptr::eq(*known, kind)) {
                        found.push(kind);
                    }
                }
            }
        }
    }
    found
}

/// Returns the variables of expressions as they are checked when a policy is stored: of its objects
/// and parameters nothing is known.
pub(crate) fn stored(policy: &Value, report: impl FnMut(usize, String)) -> Variables {
    let params = (!at(policy, "spec.paramKind").is_null()).then_some(Type::Dyn);
    let plain = Variables::of(Type::Dyn, params);
    judge_variables(policy, &parse_variables(policy), plain, report)
}

/// Returns the variables of match conditions, which are asked before the policy's own are made.
pub(crate) fn of_conditions(policy: &Value) -> Variables {
    let params = (!at(policy, "spec.paramKind").is_null()).then_some(Type::Dyn);
    Variables::of(Type::Dyn, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(expression: &str, message: &str, resources: Value) -> Value {
        json!({"spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": resources}]},
            "variables": [{"name": "n", "expression": "object.spec.replicas"}],
            "validations": [{"expression": expression, "messageExpression": message}]}})
    }

    /// It passed, and then each request failed with `no such overload`.
    #[test]
    fn a_variable_that_has_all_variables_in_it_is_refused() {
        let faults = |expression: &str| {
            let variables =
                json!([{"name": "n", "expression": "1"}, {"name": "v", "expression": expression}]);
            let mut faults = vec![];
            stored(&json!({"spec": {"variables": variables}}), |place, why| faults.push((place, why)));
            faults
        };
        for whole in ["variables", "[variables]", "{'a': variables}", "true ? dyn(variables) : 1"] {
            assert_eq!(faults(whole), [(1, WHOLE.to_string())], "{whole}");
        }
        for read in ["variables.n", "[variables].map(v, v.n)", "[variables].all(v, v.n > 0)"] {
            assert!(faults(read).is_empty(), "{read}");
        }
    }

    #[test]
    fn expressions_are_held_against_the_kinds_that_are_matched() {
        assert_eq!(
            warnings(&policy("object.spec.replicas > 1", "", json!(["deployments"]))),
            Vec::<Value>::new()
        );
        assert_eq!(warnings(&policy("variables.n > 1", "", json!(["deployments"]))), Vec::<Value>::new());
        let confused = policy(
            "object.spec.replicas > '1'",
            "'wants replicas > 1, got ' + object.spec.replicas",
            json!(["deployments", "*"]),
        );
        let warning = |column: u8, applied: &str| {
            let fault = format!("found no matching overload for {applied}");
            format!("apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:{column}: {fault}\n")
        };
        assert_eq!(
            warnings(&confused),
            [
                json!({"fieldRef": "spec.validations[0].expression",
                    "warning": warning(22, "'_>_' applied to '(int, string)'")}),
                json!({"fieldRef": "spec.validations[0].messageExpression",
                    "warning": warning(28, "'_+_' applied to '(string, int)'")}),
            ]
        );
        let composed = warnings(&policy("variables.n > '1'", "", json!(["deployments"])));
        assert!(composed[0]["warning"].as_str().unwrap().contains("(int, string)"), "{composed:?}");
        let two =
            warnings(&policy("object.spec.strategy.type == 'a'", "", json!(["deployments", "replicasets"])));
        assert_eq!(
            two[0]["warning"],
            "apps/v1, Kind=ReplicaSet: compilation failed: ERROR: <input>:1:12: undefined field 'strategy'\n"
        );
        assert!(warnings(&policy("object.nothing", "", json!(["*"]))).is_empty());
    }
}
