//! One expression of a policy, evaluated: attempted until nothing that it reads is missing
//! ([`super::needs`]).

use super::authorizer::{self, AccessCheck, Decision};
use super::evaluate::{NO_BUDGET, Review};
use super::needs::{CHECK, Composed, Made, Need, Needs};
use super::policy::{Expression, Policy};
use crate::bounds;
use crate::cel::cost;
use crate::cel::terms::{self, Term};
use crate::cel::values::plain;
use crate::path::cut;
use cel::common::value::Val;
use cel::objects::OptionalValue;
use cel::{Context, Value};
use serde_json::Value as Json;
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Bytes of all variables of a policy together. Each may be as large as the steps of one expression
/// allow, and all of them are kept while the policy is asked.
const VARIABLES_MAX: usize = 8 << 20;
/// Bytes that each value counts for, beside its text: some 100 for the two copies of a number. The
/// name of a field counts as a value.
const VALUE_BYTES: usize = 64;
/// Levels that the value of a variable may nest: what copies it recurses.
const LEVELS_MAX: usize = 2 * bounds::DEPTH_MAX;
/// Bytes of the error of an expression. The error of a variable repeats that of another one that it
/// names.
const ERROR_MAX: usize = 5 << 10;
pub(super) const TOO_COSTLY: &str = "operation cancelled: actual cost limit exceeded";
/// The error of a variable whose value needs itself. Only a variable that has the name of one
/// before it can do so; upstream evaluates it without end.
const READS_ITSELF: &str = "a variable reads its own value";

/// Why an expression has no value.
pub(super) enum Failure {
    Error(String),
    /// Nothing further is asked.
    Budget,
}

impl Failure {
    pub(super) fn text(self) -> String {
        match self {
            Failure::Error(why) => why,
            Failure::Budget => NO_BUDGET.to_string(),
        }
    }
}

/// One policy at work: its parameters, and the variables that were read until now.
pub(super) struct Evaluation<'r> {
    review: &'r Review,
    /// Steps that all policies together may still take.
    left: &'r mut f64,
    pub policy: &'r Policy,
    params: &'r Json,
    /// The parameters as expressions see them, made when one reads them first: reading them costs
    /// steps, and a binding may refer to thousands of large objects that no expression reads.
    params_value: OnceCell<Value>,
    /// Decides about rights.
    authorize: &'r dyn Fn(&AccessCheck) -> Decision,
    /// The expressions that are asked now may name the variable `authorizer`.
    pub has_authorizer: bool,
    /// Variables that are made: for expressions, and those with a value for the estimate of costs.
    made: Arc<HashMap<String, Made>>,
    jsons: Json,
    needs: Arc<Needs>,
    /// Steps that the policy may still take.
    pub budget: f64,
    /// The conditions are asked now. As upstream their `namespaceObject` is null.
    pub is_in_conditions: bool,
    /// What is left of [`VARIABLES_MAX`].
    room: usize,
}

/// The result of an attempt.
enum Attempt {
    /// The value, or the error of the evaluator.
    Done(Result<Value, String>),
    /// Something is missing.
    Needs(Need),
}

impl<'r> Evaluation<'r> {
    /// `budget`: the steps of the match conditions, which are asked first.
    pub(super) fn new(
        review: &'r Review,
        policy: &'r Policy,
        params: &'r Json,
        authorize: &'r dyn Fn(&AccessCheck) -> Decision,
        left: &'r mut f64,
        budget: f64,
    ) -> Evaluation<'r> {
        Evaluation {
            review,
            left,
            policy,
            params,
            params_value: OnceCell::new(),
            authorize,
            has_authorizer: true,
            made: Arc::default(),
            jsons: Json::Object(serde_json::Map::new()),
            needs: Arc::new(Needs::new(review.decisions.clone())),
            budget,
            is_in_conditions: true,
            room: VARIABLES_MAX,
        }
    }

    /// Evaluates an expression, and the variables that it reads, each when it is read first.
    pub(super) fn value(&mut self, expression: &Expression) -> Result<Value, Failure> {
        let policy = self.policy;
        // Variables that wait for those after them.
        let mut making: Vec<usize> = vec![];
        let mut begun = HashSet::new();
        loop {
            let current = making.last().map_or(expression, |place| &policy.variables[*place].1);
            // A variable always has it, and is not made anew for a message or an annotation.
            let has_authorizer = self.has_authorizer || !making.is_empty();
            let attempt = match self.attempt(current, has_authorizer)? {
                // That variable is begun and not made yet, so it waits for this expression.
                Attempt::Needs(Need::Variable(place)) if !begun.insert(place) => {
                    Attempt::Done(Err(READS_ITSELF.to_string()))
                }
                attempt => attempt,
            };
            match attempt {
                Attempt::Needs(Need::Variable(place)) => making.push(place),
                Attempt::Needs(Need::Decision(check)) => self.decide(*check),
                Attempt::Done(result) => match making.pop() {
                    Some(place) => self.keep(place, result),
                    None => return result.map_err(|why| failure(expression, why)),
                },
            }
        }
    }

    /// Evaluates an expression with the variables that are made. The budget of the policy pays for
    /// the last attempt alone, as upstream's does for one evaluation. The processor works for each
    /// attempt, so the steps that all policies have together pay for each.
    fn attempt(&mut self, expression: &Expression, has_authorizer: bool) -> Result<Attempt, Failure> {
        let term = match &expression.term {
            Ok(term) => term,
            Err(why) => return Ok(Attempt::Done(Err(format!("compilation error: {why}")))),
        };
        let steps = self.estimate(expression, term);
        if steps > cost::CALL_MAX {
            self.pay(cost::CALL_MAX);
            return Ok(Attempt::Done(Err(TOO_COSTLY.to_string())));
        }
        let steps = steps.max(0.0) + term.prepare() + self.of_copies(expression);
        *self.left -= steps;
        if self.budget < steps || *self.left < 0.0 {
            return Err(Failure::Budget);
        }
        self.needs.begin();
        let result = terms::execute(term, &self.scope(expression, has_authorizer));
        if let Some(need) = self.needs.take() {
            return Ok(Attempt::Needs(need));
        }
        // Questions are counted as they are asked: an estimate would count those of both branches.
        let checks = self.needs.steps();
        if checks > 0.0 && steps + checks > cost::CALL_MAX {
            self.budget -= cost::CALL_MAX;
            return Ok(Attempt::Done(Err(TOO_COSTLY.to_string())));
        }
        self.budget -= steps + checks;
        if self.budget < 0.0 { Err(Failure::Budget) } else { Ok(Attempt::Done(result)) }
    }

    /// Has a right decided that an attempt has asked about, and keeps the decision for the next
    /// one.
    fn decide(&mut self, check: AccessCheck) {
        let decision = (self.authorize)(&check);
        *self.left -= CHECK;
        self.needs.answer(check, decision);
    }

    /// Returns the estimated steps of an expression over the variables that are made.
    fn estimate(&self, expression: &Expression, term: &Term) -> f64 {
        let some = |json: &Json| !json.is_null();
        let mut known: Vec<(&str, Option<&Json>)> =
            self.review.parts.iter().map(|(name, json)| (*name, Some(json).filter(|j| some(j)))).collect();
        if expression.reads_params {
            known.push(("params", Some(self.params).filter(|j| some(j))));
        }
        known.push(("variables", Some(&self.jsons)));
        cost::steps_over(&term.program.expression().expr, &known)
    }

    /// Makes the scope of one attempt.
    fn scope(&self, expression: &Expression, has_authorizer: bool) -> Context<'_, 'static> {
        let mut scope = self.review.root.new_inner_scope();
        if self.is_in_conditions {
            scope.add_variable_from_value("namespaceObject", Value::Null);
            if let Some((request, _)) = &self.review.request_of_conditions {
                scope.add_variable_from_value("request", request.clone());
            }
        }
        if expression.reads_params {
            let params = self.params_value.get_or_init(|| plain(self.params));
            scope.add_variable_from_value("params", params.clone());
        }
        if expression.reads_authorizer && has_authorizer {
            let request = self.review.resource.clone();
            let (authorizer, of_request) = authorizer::variables(&self.needs, request);
            scope.add_variable_from_value("authorizer", authorizer);
            scope.add_variable_from_value("authorizer.requestResource", of_request);
        }
        let (made, places) = (self.made.clone(), self.policy.places.clone());
        let (readable, needs) = (expression.readable, self.needs.clone());
        let composed = Composed { made, places, readable, needs };
        scope.add_variable_as_val("variables", Box::new(composed));
        scope
    }

    /// Returns the steps of the variables that are copied for each attempt: the parameters, and the
    /// request as conditions see it.
    fn of_copies(&self, expression: &Expression) -> f64 {
        let params = Some(self.params).filter(|_| expression.reads_params);
        let request = self.review.request_of_conditions.as_ref().filter(|_| self.is_in_conditions);
        params.map_or(0.0, cost::of_values) + request.map_or(0.0, |(_, steps)| *steps)
    }

    /// Takes steps off the budget of the policy, and off that of all policies.
    fn pay(&mut self, steps: f64) {
        self.budget -= steps;
        *self.left -= steps;
    }

    /// Keeps a variable that was evaluated. One that fails has no value, and what reads it fails.
    fn keep(&mut self, place: usize, result: Result<Value, String>) {
        let (name, expression) = &self.policy.variables[place];
        let what = if expression.term.is_ok() { "evaluate" } else { "compile" };
        let made = result.and_then(|value| self.copied(name, value));
        let made = made
            .map_err(|why| cut(format!("composited variable {name:?} fails to {what}: {why}"), ERROR_MAX));
        if let Err(why) = &made {
            self.pay(why.len() as f64 * cost::TEXT); // thousands of errors take memory, too
        }
        Arc::make_mut(&mut self.made).insert(name.clone(), made);
    }

    /// Copies the value of a variable: for the estimates, and for the evaluator.
    ///
    /// # Errors
    /// The variables together, or the value in its depth, are larger than allowed.
    fn copied(&mut self, name: &str, value: Value) -> Result<Box<dyn Val>, String> {
        const COPIES: f64 = 2.0;
        let before = self.room;
        let json = json_of(&value, &mut self.room, LEVELS_MAX);
        let steps = (before - self.room) as f64 * cost::TEXT * COPIES;
        self.pay(steps);
        let json = json.ok_or(TOO_COSTLY)?;
        if let Json::Object(all) = &mut self.jsons {
            all.insert(name.to_string(), json);
        }
        Box::<dyn Val>::try_from(value).map_err(|error| error.to_string())
    }
}

/// Returns the error of an expression in upstream's words.
fn failure(expression: &Expression, why: String) -> Failure {
    let why = cut(why, ERROR_MAX);
    Failure::Error(match &expression.term {
        Ok(_) => format!("expression '{}' resulted in error: {why}", expression.source),
        Err(_) => why,
    })
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
                *room = room.checked_sub(VALUE_BYTES + key.len())?;
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
