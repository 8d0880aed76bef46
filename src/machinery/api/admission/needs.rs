//! What an expression turns out to need while it is evaluated: the variables of the policy that it
//! reads.
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

use crate::cel::terms::AS_IT_IS;
use cel::ExecutionError;
use cel::common::traits::Indexer;
use cel::common::types::{CelString, Type};
use cel::common::value::{CowVal, Val};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A variable that is made: its value, or why it has none.
pub(super) type Made = Result<Box<dyn Val>, String>;

/// What the evaluation of a policy waits for.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// The first thing that the attempt misses.
    first: Mutex<Option<usize>>,
}

impl Needs {
    /// Notes what is missing, unless something was missing before it.
    fn note(&self, place: usize) {
        self.first.lock().get_or_insert(place);
    }

    /// Returns what the attempt missed first, as a place among the policy's variables. The next
    /// attempt begins without it.
    pub(super) fn take(&self) -> Option<usize> {
        self.first.lock().take()
    }
}

/// The variable `variables` of one attempt.
#[derive(Clone, Debug)]
pub(super) struct Composed {
    /// By name.
    pub made: Arc<HashMap<String, Made>>,
    /// Names of the variables that the expression may read, with their places.
    pub readable: Arc<BTreeMap<String, usize>>,
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
        match (self.made.get(name), self.readable.get(name)) {
            (Some(Ok(value)), _) => Ok(CowVal::Borrowed(&**value)),
            (Some(Err(why)), _) => Err(ExecutionError::function_error(AS_IT_IS, why)),
            (None, place) => {
                if let Some(place) = place {
                    self.needs.note(*place);
                }
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
