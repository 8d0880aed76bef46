//! A policy, compiled: what is read from its object once, and asked about many requests.

use super::expression::{WHOLE, composed_in};
use crate::cel::terms::{self, Term};
use crate::value::{at, list, text};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A compiled ValidatingAdmissionPolicy.
#[derive(Debug)]
pub struct Policy {
    /// An expression that fails is as if it were not there (`failurePolicy: Ignore`).
    pub(super) ignores_failures: bool,
    pub(super) conditions: Vec<Expression>,
    pub(super) variables: Vec<(String, Expression)>,
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
    /// The variables of the policy that it names, with their places. What these need is not here:
    /// of a thousand variables in a row the last one needs them all.
    pub readable: Arc<BTreeMap<String, usize>>,
    /// It names the parameters.
    pub reads_params: bool,
    /// It names the variable `authorizer`.
    pub reads_authorizer: bool,
}

/// Places of the variables that an expression may name.
type Places = HashMap<String, usize>;

impl Expression {
    fn read(source: &str, places: &Places) -> Expression {
        let term = terms::compile(source);
        let mut readable = BTreeMap::new();
        let (mut reads_params, mut reads_authorizer) = (false, false);
        if let Ok(term) = &term {
            let mut names = vec![];
            composed_in(&term.program.expression().expr, &mut names);
            if names.iter().any(|name| name == WHOLE) {
                readable.extend(places.iter().map(|(name, at)| (name.clone(), *at)));
            } else {
                readable
                    .extend(names.into_iter().filter_map(|name| places.get(&name).map(|at| (name, *at))));
            }
            let references = term.program.references();
            reads_params = references.has_variable("params");
            reads_authorizer = references.has_variable("authorizer");
        }
        let (source, readable) = (source.to_string(), Arc::new(readable));
        Expression { source, term, readable, reads_params, reads_authorizer }
    }
}

impl Policy {
    /// Compiles the expressions of a policy's object.
    pub fn read(object: &Value) -> Policy {
        let spec = at(object, "spec");
        let (mut variables, mut places) = (vec![], Places::new());
        for variable in list(spec, "variables") {
            let (name, source) = (text(variable, "name").to_string(), text(variable, "expression"));
            let expression = Expression::read(source, &places);
            // Of two with one name the last one counts.
            places.insert(name.clone(), variables.len());
            variables.push((name, expression));
        }
        let validation = |entry: &Value| {
            let message = text(entry, "messageExpression");
            Validation {
                expression: Expression::read(text(entry, "expression"), &places),
                message: text(entry, "message").trim().to_string(),
                message_expression: Some(message)
                    .filter(|source| !source.trim().is_empty())
                    .map(|source| Expression::read(source, &places)),
                reason: text(entry, "reason").to_string(),
            }
        };
        let annotation = |entry: &Value| {
            let expression = Expression::read(text(entry, "valueExpression"), &places);
            (text(entry, "key").to_string(), expression)
        };
        Policy {
            ignores_failures: text(spec, "failurePolicy") == "Ignore",
            conditions: list(spec, "matchConditions")
                .iter()
                .map(|entry| Expression::read(text(entry, "expression").trim(), &Places::new()))
                .collect(),
            validations: list(spec, "validations").iter().map(validation).collect(),
            annotations: list(spec, "auditAnnotations").iter().map(annotation).collect(),
            variables,
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
