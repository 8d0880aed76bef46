//! Functions of lessons as values of the evaluator.

use super::budget::{self, Budget};
use super::facts::Facts;
use super::shared::{unwrap, wrap};
use cel::common::traits::Indexer;
use cel::common::types::{CelList, Type};
use cel::common::value::{CowVal, Val};
use cel::{ExecutionError, Value};
use std::sync::Arc;

/// What a function of [`super::functions::TABLE`] does.
pub(super) type Run = fn(&Arc<Facts>, &[Value]) -> Result<Value, String>;

/// A function of lessons as a value: a call `f(a, b)` is compiled to the index expression `f[[a,
/// b]]`, because an index operator, unlike a function call, hands its operands over without copying
/// them.
#[derive(Clone)]
pub(super) struct Callable {
    pub name: &'static str,
    pub run: Run,
    pub facts: Arc<Facts>,
    pub budget: Arc<Budget>,
}

static CALLABLE: Type = Type::new_unspecified_type("function");

impl std::fmt::Debug for Callable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Callable({})", self.name)
    }
}

impl Val for Callable {
    fn get_type(&self) -> &Type {
        &CALLABLE
    }
    fn cel_type() -> &'static Type {
        &CALLABLE
    }
    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }
    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl Callable {
    fn call(&self, args: &dyn Val) -> Result<Box<dyn Val>, ExecutionError> {
        let failed = |why: String| ExecutionError::function_error(self.name, why);
        let list = args.downcast_ref::<CelList<'_>>().ok_or_else(|| failed("takes a list".into()))?;
        // What a function makes of a text is about as long as the text.
        let copies: u64 = list.inner().iter().map(|arg| budget::steps_of(arg.as_ref())).sum();
        if !self.budget.charge(1 + copies) {
            return Err(failed("the evaluation was stopped".into()));
        }
        let args: Result<Vec<Value>, _> = list.inner().iter().map(|arg| unwrap(arg.as_ref())).collect();
        (self.run)(&self.facts, &args?).map(wrap).map_err(failed)
    }
}

impl Indexer for Callable {
    fn get<'b, 'v>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.call(key).map(CowVal::Owned)
    }
    fn steal<'v>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.call(key).map(|value| value as Box<dyn Val + 'v>)
    }
}
