//! A policy is asked about one request.

use super::policy::{Expression, Policy, Validation};
use crate::bounds;
use crate::cel::environment::context;
use crate::cel::message::usable_message;
use crate::cel::values::plain;
use crate::cel::{cost, terms};
use crate::path::cut;
use cel::objects::{Key, Map, OptionalValue};
use cel::{Context, Value};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Steps of all conditions of a policy (`RuntimeCELCostBudgetMatchConditions` upstream).
const CONDITIONS_MAX: f64 = 2_500_000.0;
/// Bytes of an audit annotation (`maxAuditAnnotationValueLength` upstream).
const ANNOTATION_MAX: usize = 10 << 10;
/// Bytes of all variables of a policy together. Each may be as large as the steps of one expression
/// allow, and all of them are kept while the policy is asked.
const VARIABLES_MAX: usize = 8 << 20;
/// Bytes that each value counts for, beside its text.
const VALUE_BYTES: usize = 8;
/// Levels that the value of a variable may nest: what copies it recurses.
const LEVELS_MAX: usize = 2 * bounds::DEPTH_MAX;
/// Bytes of what is said of an expression that failed. A variable repeats what is said of another
/// one that it names.
const ERROR_MAX: usize = 5 << 10;
const TOO_COSTLY: &str = "operation cancelled: actual cost limit exceeded";
const NO_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// A request as expressions see it. Its values are made once, whatever number of policies is asked.
pub struct Review {
    /// Names of variables, with their values in JSON, by which costs are estimated.
    parts: [(&'static str, Json); 4],
    root: Context<'static, 'static>,
}

/// One reason to refuse a request.
#[derive(Debug, PartialEq)]
pub struct Denial {
    /// Which of the policy's validations it is, from 0.
    pub index: usize,
    /// For people.
    pub message: String,
    /// The reason that the validation gives; empty: `Invalid`.
    pub reason: String,
    /// It refuses whatever the binding says: an audit annotation has no value.
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

    /// Makes the variables of a request. `Null` stands for what there is not: the object of a
    /// deletion, the old one of a creation, the namespace of an object that is in none.
    pub fn new(object: Json, old: Json, request: Json, namespace: Json) -> Review {
        let parts =
            [("object", object), ("oldObject", old), ("request", request), ("namespaceObject", namespace)];
        let mut root = context();
        for (name, json) in &parts {
            root.add_variable_from_value(*name, plain(json));
        }
        Review { parts, root }
    }
}

/// Why an expression has no value.
enum Failure {
    Error(String),
    /// Nothing further is asked.
    Budget,
}

impl Failure {
    fn text(self) -> String {
        match self {
            Failure::Error(why) => why,
            Failure::Budget => NO_BUDGET.to_string(),
        }
    }
}

/// One policy at work: its parameters, and the variables that were needed until now.
struct Run<'r> {
    review: &'r Review,
    /// Steps that all policies together may still take.
    left: &'r mut f64,
    policy: &'r Policy,
    params: &'r Json,
    params_value: Value,
    /// Variables that have a value: for expressions, and for the estimate of their costs.
    values: HashMap<Key, Value>,
    jsons: Json,
    /// Variables that have none, and why.
    failed: BTreeMap<String, String>,
    done: Vec<bool>,
    budget: f64,
    /// The conditions are asked now. As upstream their `namespaceObject` is null.
    is_in_conditions: bool,
    /// What is left of [`VARIABLES_MAX`].
    room: usize,
}

impl Policy {
    /// Asks the policy about a request. `params`: one of its parameters, or null. `left`: steps
    /// that the policies of the request may still take together, at first [`Review::STEPS_MAX`].
    pub fn evaluate(&self, review: &Review, params: &Json, left: &mut f64) -> Outcome {
        let mut run = Run {
            review,
            left,
            policy: self,
            params,
            params_value: plain(params),
            values: HashMap::new(),
            jsons: Json::Object(serde_json::Map::new()),
            failed: BTreeMap::new(),
            done: vec![false; self.variables.len()],
            budget: CONDITIONS_MAX,
            is_in_conditions: true,
            room: VARIABLES_MAX,
        };
        match run.conditions() {
            Ok(true) => {}
            Ok(false) => return Outcome::default(),
            Err(why) => return Outcome { denials: self.failure(0, why), ..Outcome::default() },
        }
        (run.is_in_conditions, run.budget) = (false, cost::OBJECT_MAX);
        let mut outcome = Outcome::default();
        for (index, validation) in self.validations.iter().enumerate() {
            match run.validation(index, validation) {
                Ok(denial) => outcome.denials.extend(denial),
                Err(why) => return Outcome { denials: self.failure(0, why), ..Outcome::default() },
            }
        }
        run.budget = cost::OBJECT_MAX;
        run.annotations(&mut outcome);
        outcome
    }

    /// What follows from an error: a refusal, or nothing.
    fn failure(&self, index: usize, message: String) -> Vec<Denial> {
        match self.ignores_failures {
            true => vec![],
            false => vec![Denial { index, message, reason: String::new(), is_final: false }],
        }
    }
}

impl Run<'_> {
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
                let made = validation.message_expression.as_ref().map(|expression| self.value(expression));
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

    /// Evaluates an expression, and before it the variables that it needs.
    fn value(&mut self, expression: &Expression) -> Result<Value, Failure> {
        for at in self.missing(expression) {
            self.variable(at)?;
        }
        self.run(expression).map_err(|failure| match failure {
            Failure::Error(why) => {
                let why = self.blamed(why);
                Failure::Error(format!("expression '{}' resulted in error: {why}", expression.source))
            }
            budget => budget,
        })
    }

    /// Returns the variables that an expression needs and that are not made yet, in their order:
    /// each needs earlier ones only.
    fn missing(&mut self, expression: &Expression) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut wanted: Vec<usize> = expression.needs.iter().copied().collect();
        while let Some(at) = wanted.pop() {
            if !std::mem::replace(&mut self.done[at], true) {
                found.insert(at);
                wanted.extend(&self.policy.variables[at].1.needs);
            }
        }
        found
    }

    /// Names the variable that failed, where an expression misses it.
    fn blamed(&self, why: String) -> String {
        let missing = why.strip_prefix("no such key: ").and_then(|name| Some((name, self.failed.get(name)?)));
        let why = match missing {
            Some((name, why)) => format!("composited variable {name:?} fails to evaluate: {why}"),
            None => why,
        };
        cut(why, ERROR_MAX)
    }

    /// Evaluates a variable. One that fails has no value, and what names it fails.
    fn variable(&mut self, at: usize) -> Result<(), Failure> {
        let (name, expression) = &self.policy.variables[at];
        match self.run(expression) {
            Ok(value) => {
                let before = self.room;
                let json = json_of(&value, &mut self.room, LEVELS_MAX);
                let steps = (before - self.room) as f64 * cost::TEXT;
                self.budget -= steps;
                *self.left -= steps;
                match (json, &mut self.jsons) {
                    (Some(json), Json::Object(all)) => {
                        all.insert(name.clone(), json);
                        self.values.insert(Key::String(Arc::new(name.clone())), value);
                    }
                    _ => {
                        self.failed.insert(name.clone(), TOO_COSTLY.to_string());
                    }
                }
            }
            Err(Failure::Error(why)) => {
                let why = self.blamed(why);
                self.failed.insert(name.clone(), why);
            }
            Err(budget) => return Err(budget),
        }
        Ok(())
    }

    /// Evaluates an expression whose variables are there.
    fn run(&mut self, expression: &Expression) -> Result<Value, Failure> {
        let term = expression.term.as_ref();
        let term = term.map_err(|why| Failure::Error(format!("compilation error: {why}")))?;
        let some = |json: &Json| !json.is_null();
        let mut known: Vec<(&str, Option<&Json>)> =
            self.review.parts.iter().map(|(name, json)| (*name, Some(json).filter(|j| some(j)))).collect();
        known.push(("params", Some(self.params).filter(|j| some(j))));
        known.push(("variables", Some(&self.jsons)));
        let steps = cost::steps_over(&term.program.expression().expr, &known);
        if steps > cost::CALL_MAX {
            self.budget -= cost::CALL_MAX;
            *self.left -= cost::CALL_MAX;
            return Err(Failure::Error(TOO_COSTLY.to_string()));
        }
        let steps = steps.max(0.0) + term.overhead() + self.of_copies(expression);
        self.budget -= steps;
        *self.left -= steps;
        if self.budget < 0.0 || *self.left < 0.0 {
            return Err(Failure::Budget);
        }
        let mut scope = self.review.root.new_inner_scope();
        if self.is_in_conditions {
            scope.add_variable_from_value("namespaceObject", Value::Null);
        }
        if expression.reads_params {
            scope.add_variable_from_value("params", self.params_value.clone());
        }
        let named = self.names(expression).map(|name| Key::String(Arc::new(name.to_string())));
        let values = named.filter_map(|key| self.values.get(&key).cloned().map(|value| (key, value)));
        let map = Map { map: Arc::new(values.collect()) };
        scope.add_variable_from_value("variables", Value::Map(map));
        terms::execute(term, &scope).map_err(Failure::Error)
    }

    /// The variables that an expression names.
    fn names<'e>(&'e self, expression: &'e Expression) -> impl Iterator<Item = &'e str> {
        expression.needs.iter().map(|at| self.policy.variables[*at].0.as_str())
    }

    /// Steps of making the variables for an expression: they are copied for each.
    fn of_copies(&self, expression: &Expression) -> f64 {
        let params = Some(self.params).filter(|_| expression.reads_params);
        let named = self.names(expression).filter_map(|name| self.jsons.get(name));
        named.chain(params).map(|copied| cost::of_values(copied, None)).sum()
    }
}

/// Returns a value as the estimate of costs reads it: a text of about its length for what JSON does
/// not have, and for an optional what it holds. `None` if it has more than `room`, from which it is
/// taken, or more `levels`.
fn json_of(value: &Value, room: &mut usize, levels: usize) -> Option<Json> {
    let levels = levels.checked_sub(1)?;
    let bytes = match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    *room = room.checked_sub(VALUE_BYTES + bytes)?;
    Some(match value {
        Value::List(items) => {
            let items: Option<Vec<Json>> = items.iter().map(|item| json_of(item, room, levels)).collect();
            Json::Array(items?)
        }
        Value::Map(map) => {
            let mut all = serde_json::Map::new();
            for (key, value) in map.map.iter() {
                let key = key.to_string();
                *room = room.checked_sub(key.len())?;
                all.insert(key, json_of(value, room, levels)?);
            }
            Json::Object(all)
        }
        Value::String(text) => text.as_str().into(),
        Value::Bytes(bytes) => " ".repeat(bytes.len()).into(),
        Value::Bool(holds) => (*holds).into(),
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => (*number).into(),
        Value::Null => Json::Null,
        other => match <&OptionalValue>::try_from(other) {
            Ok(optional) => optional.value().map_or(Some(Json::Null), |held| json_of(held, room, levels))?,
            Err(_) => " ".repeat(64).into(),
        },
    })
}
