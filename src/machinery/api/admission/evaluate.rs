//! A policy is asked about one request.

use super::attempt::{Evaluation, Failure};
use super::authorizer::{self, AccessCheck, Decision, Resource};
use super::needs::Decisions;
use super::policy::{Policy, Validation};
use crate::cel::cost;
use crate::cel::environment::context_with;
use crate::cel::message::usable_message;
use crate::cel::values::plain;
use crate::value::text;
use cel::{Context, Value};
use serde_json::Value as Json;
use std::sync::Arc;

/// Steps of all conditions of a policy (`RuntimeCELCostBudgetMatchConditions` upstream).
const CONDITIONS_MAX: f64 = 2_500_000.0;
/// Bytes of an audit annotation (`maxAuditAnnotationValueLength` upstream).
const ANNOTATION_MAX: usize = 10 << 10;
/// The error that ends a policy whose budget is spent.
pub(super) const NO_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// A request as expressions see it. Its values are made once, whatever number of policies is asked.
pub struct Review {
    /// Names of variables, with their values in JSON, by which costs are estimated.
    pub(super) parts: [(&'static str, Json); 4],
    /// The variable `request` of match conditions, if it is another one, and the steps of a copy.
    pub(super) request_of_conditions: Option<(Value, f64)>,
    /// The resource of the request, for `authorizer.requestResource`.
    pub(super) resource: Resource,
    /// Answers to questions about rights that policies have asked until now.
    pub(super) decisions: Arc<Decisions>,
    pub(super) root: Context<'static, 'static>,
}

/// One reason to refuse a request.
#[derive(Debug, PartialEq)]
pub struct Denial {
    /// Which of the policy's validations it is, from 0.
    pub index: usize,
    /// The sentence that the client gets.
    pub message: String,
    /// The reason that the validation gives; empty: `Invalid`.
    pub reason: String,
    /// The request is refused whatever the binding says: an audit annotation has no value.
    pub is_final: bool,
}

/// What a policy says of a request.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// What is wrong; empty if nothing is, or if the policy is not about the request.
    pub denials: Vec<Denial>,
    /// Audit annotations: keys and values.
    pub annotations: Vec<(String, String)>,
}

impl Review {
    /// Steps that all policies of a request may take together: twice what one may. Upstream has no
    /// such bound; here a request is not to hold a processor for longer.
    pub const STEPS_MAX: f64 = 2.0 * cost::OBJECT_MAX;

    /// Makes the variables of a request. A variable without a value is `Null`: the object of a
    /// deletion, the old object of a creation, the namespace of an object that is in none.
    pub fn new(object: Json, old: Json, request: Json, namespace: Json) -> Review {
        let request_of_conditions =
            request_of_conditions(&request).map(|request| (plain(&request), cost::of_values(&request)));
        let resource = resource_of(&request);
        let parts =
            [("object", object), ("oldObject", old), ("request", request), ("namespaceObject", namespace)];
        let mut root = context_with(authorizer::FUNCTIONS);
        for (name, json) in &parts {
            root.add_variable_from_value(*name, plain(json));
        }
        Review { parts, request_of_conditions, resource, decisions: Arc::default(), root }
    }
}

/// Returns what a request is about, as an authorizer sees it.
fn resource_of(request: &Json) -> Resource {
    let field = |path: &str| text(request, path).to_string();
    Resource {
        group: field("requestResource.group"),
        resource: field("requestResource.resource"),
        subresource: field("requestSubResource"),
        namespace: field("namespace"),
        name: field("name"),
        ..Resource::default()
    }
}

/// Returns the request as match conditions see it: `request.resource` is what the client wrote, and
/// not what the policy matches (upstream: `matchconditions/matcher.go`). `None` if both are the
/// same.
fn request_of_conditions(request: &Json) -> Option<Json> {
    let written =
        request.get("requestResource").filter(|written| request.get("resource") != Some(*written))?;
    let mut seen = request.clone();
    seen["resource"] = written.clone();
    Some(seen)
}

impl Policy {
    /// Asks the policy about a request. `params`: one of its parameters, or null. `left`: steps
    /// that the policies of the request may still take together, at first [`Review::STEPS_MAX`].
    /// `authorize` decides about a right.
    pub fn evaluate(
        &self,
        review: &Review,
        params: &Json,
        left: &mut f64,
        authorize: &dyn Fn(&AccessCheck) -> Decision,
    ) -> Outcome {
        let mut evaluation = Evaluation::new(review, self, params, authorize, left, CONDITIONS_MAX);
        match evaluation.conditions() {
            Ok(true) => {}
            Ok(false) => return Outcome::default(),
            Err(why) => return Outcome { denials: self.failure(0, why), ..Outcome::default() },
        }
        (evaluation.is_in_conditions, evaluation.budget) = (false, cost::OBJECT_MAX);
        let mut outcome = Outcome::default();
        for (index, validation) in self.validations.iter().enumerate() {
            match evaluation.validation(index, validation) {
                Ok(denial) => outcome.denials.extend(denial),
                Err(why) => return Outcome { denials: self.failure(0, why), ..Outcome::default() },
            }
        }
        (evaluation.has_authorizer, evaluation.budget) = (false, cost::OBJECT_MAX);
        evaluation.annotations(&mut outcome);
        outcome
    }

    /// Returns what follows from an error by the failure policy: a refusal, or nothing.
    fn failure(&self, index: usize, message: String) -> Vec<Denial> {
        match self.ignores_failures {
            true => vec![],
            false => vec![Denial { index, message, reason: String::new(), is_final: false }],
        }
    }
}

impl Evaluation<'_> {
    /// Returns whether the policy is about the request. One condition that is false decides, also
    /// beside others that fail.
    fn conditions(&mut self) -> Result<bool, String> {
        let mut failed = vec![];
        for condition in &self.policy.conditions {
            match self.value(condition) {
                Ok(Value::Bool(false)) => return Ok(false),
                Ok(_) => {}
                Err(Failure::Budget) => return Err(NO_BUDGET.to_string()),
                Err(Failure::Error(why)) => failed.push(why),
            }
        }
        match failed.as_slice() {
            [] => Ok(true),
            _ if self.policy.ignores_failures => Ok(false),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    /// # Errors
    /// The policy has no steps left: nothing that it said until now counts.
    fn validation(&mut self, index: usize, validation: &Validation) -> Result<Vec<Denial>, String> {
        match self.value(&validation.expression) {
            Ok(Value::Bool(true)) => Ok(vec![]),
            Ok(_) => {
                self.has_authorizer = false;
                let made = validation.message_expression.as_ref().map(|expression| self.value(expression));
                self.has_authorizer = true;
                let made = match made {
                    Some(Err(Failure::Budget)) => {
                        let why = format!("failed messageExpression: {NO_BUDGET}");
                        return Ok(self.policy.failure(index, why));
                    }
                    Some(Ok(Value::String(made))) => usable_message(&made),
                    _ => None,
                };
                let otherwise = || match validation.message.as_str() {
                    "" => format!("failed expression: {}", validation.expression.source.trim()),
                    message => message.to_string(),
                };
                let message = made.unwrap_or_else(otherwise);
                let reason = validation.reason.clone();
                Ok(vec![Denial { index, message, reason, is_final: false }])
            }
            Err(Failure::Budget) => Err(NO_BUDGET.to_string()),
            Err(Failure::Error(why)) => Ok(self.policy.failure(index, why)),
        }
    }

    fn annotations(&mut self, outcome: &mut Outcome) {
        for (key, expression) in &self.policy.annotations {
            let value = self.value(expression);
            match value {
                Ok(Value::String(made)) => {
                    let made = made.trim();
                    let made = &made[..made.floor_char_boundary(ANNOTATION_MAX)];
                    if !made.is_empty() {
                        outcome.annotations.push((key.clone(), made.to_string()));
                    }
                }
                Ok(Value::Null) => {}
                Ok(other) => {
                    let source = &expression.source;
                    let kind = other.type_of();
                    let message = format!(
                        "valueExpression '{source}' resulted in unsupported return type: {kind}. Return type must be either string or null."
                    );
                    outcome.denials.push(Denial { index: 0, message, reason: String::new(), is_final: true });
                }
                Err(failure) => {
                    let denials = self.policy.failure(0, failure.text());
                    let denials = denials.into_iter().map(|denial| Denial { is_final: true, ..denial });
                    outcome.denials.extend(denials);
                }
            }
        }
    }
}
