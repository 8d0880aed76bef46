//! A policy, compiled: what is read from its object once, and asked about many requests.

use crate::cel::terms::{self, Term};
use crate::value::{at, list, text};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// A compiled ValidatingAdmissionPolicy.
#[derive(Debug)]
pub struct Policy {
    /// An expression that fails is as if it were not there (`failurePolicy: Ignore`).
    pub(super) ignores_failures: bool,
    pub(super) conditions: Vec<Expression>,
    pub(super) variables: Vec<(String, Expression)>,
    /// The place of each variable. Of two with one name the last one counts.
    pub(super) places: Arc<HashMap<String, usize>>,
    pub(super) validations: Vec<Validation>,
    /// Keys and values.
    pub(super) annotations: Vec<(String, Expression)>,
}

#[derive(Debug)]
pub(super) struct Validation {
    pub expression: Expression,
    pub message: String,
    pub message_expression: Option<Expression>,
    pub reason: String,
}

/// An expression of a policy.
#[derive(Debug)]
pub(super) struct Expression {
    pub source: String,
    /// The compiled expression, or the error of an expression that another version has stored.
    pub term: Result<Term, String>,
    /// How many of the policy's variables it may read: those that stand before it.
    pub readable: usize,
    /// The expression names the parameters.
    pub reads_params: bool,
    /// The expression names the variable `authorizer`.
    pub reads_authorizer: bool,
}

impl Expression {
    fn read(source: &str, readable: usize) -> Expression {
        let term = terms::compile(source);
        let has_variable =
            |name: &str| term.as_ref().is_ok_and(|term| term.program.references().has_variable(name));
        let (reads_params, reads_authorizer) = (has_variable("params"), has_variable("authorizer"));
        Expression { source: source.to_string(), term, readable, reads_params, reads_authorizer }
    }
}

impl Policy {
    /// Compiles the expressions of a policy's object.
    pub fn read(object: &Value) -> Policy {
        let spec = at(object, "spec");
        let (mut variables, mut places) = (vec![], HashMap::new());
        for (place, variable) in list(spec, "variables").iter().enumerate() {
            let name = text(variable, "name").to_string();
            places.insert(name.clone(), place);
            variables.push((name, Expression::read(text(variable, "expression"), place)));
        }
        let all = variables.len();
        let validation = |entry: &Value| {
            let message = text(entry, "messageExpression");
            Validation {
                expression: Expression::read(text(entry, "expression"), all),
                message: text(entry, "message").trim().to_string(),
                message_expression: Some(message)
                    .filter(|source| !source.trim().is_empty())
                    .map(|source| Expression::read(source, all)),
                reason: text(entry, "reason").to_string(),
            }
        };
        let annotation = |entry: &Value| {
            (text(entry, "key").to_string(), Expression::read(text(entry, "valueExpression"), all))
        };
        Policy {
            ignores_failures: text(spec, "failurePolicy") == "Ignore",
            conditions: list(spec, "matchConditions")
                .iter()
                .map(|entry| Expression::read(text(entry, "expression").trim(), 0))
                .collect(),
            validations: list(spec, "validations").iter().map(validation).collect(),
            annotations: list(spec, "auditAnnotations").iter().map(annotation).collect(),
            variables,
            places: Arc::new(places),
        }
    }

    /// True if a failure of the policy lets the request pass (`failurePolicy: Ignore`).
    pub fn ignores_failures(&self) -> bool {
        self.ignores_failures
    }
}

/// Returns group, version and kind of a policy's parameters; `None` if it has none.
pub fn param_kind(policy: &Value) -> Option<(&str, &str, &str)> {
    let reference = at(policy, "spec.paramKind");
    if reference.is_null() {
        return None;
    }
    let (group, version) =
        text(reference, "apiVersion").split_once('/').unwrap_or(("", text(reference, "apiVersion")));
    Some((group, version, text(reference, "kind")))
}
