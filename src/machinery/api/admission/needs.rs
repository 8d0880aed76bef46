//! What an expression turns out to need while it is evaluated: the variables of the policy that it
//! reads, and answers to what it asks about rights.
//!
//! A variable is made when an expression first reads it, as upstream (`cel/lazy/lazy.go`):
//! `object.a == 1 || variables.dear` does not pay for `dear` if the first part holds. The evaluator
//! cannot be stopped half-way, and variables in a row would fill its stack. So an expression is
//! attempted: what it reads first and is not there ends the attempt with an error, is noted here,
//! and is there for the next attempt.
//!
//! ```text
//! variables.a && variables.b     a is noted; a is made
//! true && variables.b            b is noted; b is made
//! true && false                  nothing is noted: the result counts
//! ```
//!
//! Questions about rights are answered in the same way, so that this room knows no authorizer.

use super::attempt::TOO_COSTLY;
use super::authorizer::{AccessCheck, Decision};
use crate::cel::cost::{CALL_MAX, REASON_MAX};
use crate::cel::terms::AS_IT_IS;
use crate::path::cut;
use cel::ExecutionError;
use cel::common::traits::Indexer;
use cel::common::types::{CelString, Type};
use cel::common::value::{CowVal, Val};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A variable that is made: its value, or why it has none.
pub(super) type Made = Result<Box<dyn Val>, String>;

/// Steps of a question about rights: an expression may ask two (`CallCost` of `check` upstream).
pub(super) const CHECK: f64 = 350_000.0;

/// What an attempt misses.
#[derive(Debug)]
pub(super) enum Need {
    /// A variable, by its place among the policy's.
    Variable(usize),
    /// The answer to a question about rights.
    Decision(Box<AccessCheck>),
}

/// Answers to questions about rights.
pub(super) type Decisions = Mutex<HashMap<AccessCheck, Decision>>;

/// What the evaluation of a policy waits for, and the answers that it has got.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// The first thing that the attempt misses.
    first: Mutex<Option<Need>>,
    /// Questions of the attempt, answered or not.
    checks: AtomicUsize,
    /// The decisions about rights in the request. What several policies ask, or one with several
    /// parameters, is decided once (`NewCachingAuthorizer` upstream).
    decisions: Arc<Decisions>,
}

impl Needs {
    pub(super) fn new(decisions: Arc<Decisions>) -> Needs {
        Needs { decisions, ..Needs::default() }
    }

    /// Begins an attempt: it has asked nothing yet.
    pub(super) fn begin(&self) {
        self.checks.store(0, Ordering::Relaxed);
    }

    /// Returns what the attempt missed first.
    pub(super) fn take(&self) -> Option<Need> {
        self.first.lock().take()
    }

    /// Returns the steps of the questions that the attempt has asked.
    pub(super) fn steps(&self) -> f64 {
        self.checks.load(Ordering::Relaxed) as f64 * CHECK
    }

    /// Notes what is missing, unless something was missing before it.
    fn note(&self, need: Need) {
        self.first.lock().get_or_insert(need);
    }

    /// Returns the answer to a question. Without one it is noted.
    ///
    /// # Errors
    /// There is no answer yet, or the expression has asked too much.
    pub(super) fn decide(&self, check: AccessCheck) -> Result<Decision, String> {
        let count = self.checks.fetch_add(1, Ordering::Relaxed) + 1;
        if count as f64 * CHECK > CALL_MAX {
            return Err(TOO_COSTLY.to_string());
        }
        if let Some(decision) = self.decisions.lock().get(&check) {
            return Ok(decision.clone());
        }
        self.note(Need::Decision(Box::new(check)));
        Err("the right is not decided yet".to_string())
    }

    /// Keeps the answer to a question.
    pub(super) fn answer(&self, check: AccessCheck, decision: Decision) {
        let decision = Decision { reason: cut(decision.reason, REASON_MAX), ..decision };
        self.decisions.lock().insert(check, decision);
    }
}

/// The variable `variables` of one attempt.
#[derive(Clone, Debug)]
pub(super) struct Composed {
    /// The variables that are made, by name.
    pub made: Arc<HashMap<String, Made>>,
    /// The places of the policy's variables by name.
    pub places: Arc<HashMap<String, usize>>,
    /// How many of them the expression may read.
    pub readable: usize,
    pub needs: Arc<Needs>,
}

static TYPE: Type = Type::new_unspecified_type("kubernetes.variables");

impl Val for Composed {
    fn get_type(&self) -> &Type {
        &TYPE
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(self.clone())
    }
}

impl Indexer for Composed {
    fn get<'b, 'w>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        let name = key.downcast_ref::<CelString>().map(|name| name.inner()).unwrap_or_default();
        let Some(place) = self.places.get(name).filter(|place| **place < self.readable) else {
            return Err(ExecutionError::no_such_key(name));
        };
        match self.made.get(name) {
            Some(Ok(value)) => Ok(CowVal::Borrowed(value.as_ref())),
            Some(Err(why)) => Err(ExecutionError::function_error(AS_IT_IS, why)),
            None => {
                self.needs.note(Need::Variable(*place));
                Err(ExecutionError::no_such_key(name))
            }
        }
    }

    fn steal<'w>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.get(key).map(CowVal::into_owned)
    }
}
