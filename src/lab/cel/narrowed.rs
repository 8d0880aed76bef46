//! Narrowed lists: of `trace` or a history the elements that may matter to an expression
//! ([`super::compile::Narrow`]). Each is extended by what came since it was last asked for, and
//! kept in the [`Memo`].

use super::budget::{self, Budget};
use super::callable::Callable;
use super::compile::{Narrow, Source};
use super::facts::{self, Facts};
use super::language::{STDLIB, function_name};
use super::memo::{Element, Fresh, KEPT_MAX, Memo};
use super::{functions, shared, value};
use cel::common::ast::IdedExpr;
use cel::common::types::CelBool;
use cel::{Context, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Memo {
    /// The elements that passed, and a number that differs if they do.
    ///
    /// # Errors
    /// The kind whose history is asked for is not watched yet, or the budget is spent. Then the
    /// list stays as it was.
    pub(crate) fn narrowed(
        &self,
        narrow: &Narrow,
        facts: &Arc<Facts>,
        budget: &Arc<Budget>,
    ) -> Result<(Value, u64), String> {
        let mut known = self.open(facts.frame());
        let list = known.narrowed.get(&narrow.id);
        let renumbered = list.is_some_and(|list| list.renumbered);
        let next = list.filter(|list| !list.renumbered).map_or(0, |list| list.next);
        let mut fresh = match &narrow.source {
            Source::Trace => fresh_records(facts, next),
            Source::History { kind, namespace, name } => {
                let seen = list.map_or(0, |list| list.next);
                facts.fresh_versions([kind, namespace, name], next, seen)?
            }
        };
        fresh.anew |= renumbered;
        let tests = Tests::new(narrow, facts, budget);
        let passed: Vec<Value> = fresh
            .elements
            .iter()
            .filter(|element| tests.pass(narrow, &|whole| element.value(whole)))
            .map(|element| element.value(true))
            .collect();
        if let Some(stopped) = budget.stopped() {
            return Err(stopped);
        }
        known.work.tested += fresh.elements.len() as u64;
        let list = known.narrowed.entry(narrow.id).or_default();
        let kept = Arc::make_mut(&mut list.kept);
        if fresh.anew {
            if renumbered && !facts.forgotten.is_empty() && matches!(narrow.source, Source::History { .. }) {
                let there: BTreeSet<_> = fresh.elements.iter().filter_map(Element::identity).collect();
                kept.retain(|element| !there.contains(&identity(element)));
            } else {
                kept.clear();
            }
        }
        if fresh.anew || !passed.is_empty() {
            list.generation += 1;
            kept.extend(passed);
            if matches!(narrow.source, Source::History { .. }) {
                facts::sort_versions(kept);
            }
            let over = kept.len().saturating_sub(KEPT_MAX);
            kept.drain(..over);
        }
        list.next = fresh.next;
        list.renumbered = false;
        Ok((Value::List(list.kept.clone()), list.generation))
    }
}

/// Which version of which object it is: the revision (of what was there at first: none), namespace
/// and name.
fn identity(version: &Value) -> (i64, String, String) {
    let text = |path: &str| match value::at(version, path) {
        Some(Value::String(text)) => text.to_string(),
        _ => String::new(),
    };
    let is_first = value::str_field(version, "verb") == "WAS";
    let revision = if is_first { 0 } else { value::int_field(version, "revision") };
    (revision, text("object.metadata.namespace"), text("object.metadata.name"))
}

impl Element {
    /// As of [`identity`]; a record has none.
    fn identity(&self) -> Option<(i64, String, String)> {
        match self {
            Element::Record(_) => None,
            Element::Version { .. } => Some(identity(&self.value(true))),
        }
    }

    /// As expressions see it; a version that is not `whole` has no `object`.
    fn value(&self, whole: bool) -> Value {
        match self {
            Element::Record(record) => record.clone(),
            Element::Version { of, verb } => of.value_as(verb, whole),
        }
    }
}

fn fresh_records(facts: &Facts, next: u64) -> Fresh {
    let from = facts.place_in_trace(next);
    let elements = facts.trace.iter().skip(from).map(|r| Element::Record(r.clone())).collect();
    Fresh { elements, next: facts.trace_end().max(next), anew: false }
}

/// The tests of a narrowed list, ready to be made.
struct Tests<'a> {
    context: Context<'a, 'a>,
}

impl<'a> Tests<'a> {
    fn new(narrow: &Narrow, facts: &Arc<Facts>, budget: &Arc<Budget>) -> Tests<'a> {
        let mut context = Context::with_env(STDLIB.clone());
        budget::declare(&mut context, budget);
        for name in &narrow.functions {
            if let Some(function) = functions::TABLE.iter().find(|f| f.name == *name) {
                let (name, run, facts) = (function.name, function.run, facts.clone());
                let callable = Callable { name, run, facts, budget: budget.clone() };
                context.add_variable_as_val(function_name(function.name), Box::new(callable));
            }
        }
        for name in ["since_step", "v"] {
            if let Some(value) = facts.variable(name) {
                context.add_variable_as_val(name, shared::wrap(value));
            }
        }
        Tests { context }
    }

    /// An error is no verdict: the element is kept, and the whole expression decides.
    fn pass(&self, narrow: &Narrow, element: &dyn Fn(bool) -> Value) -> bool {
        let verdicts = |tests: &[IdedExpr], element: Value| -> Vec<Option<bool>> {
            let mut scope = self.context.new_inner_scope();
            scope.add_variable_as_val(narrow.var.clone(), shared::wrap(element));
            let one = |test: &IdedExpr| {
                let value = Value::resolve_val(test, &scope).ok()?;
                value.downcast_ref::<CelBool>().map(|b| *b.inner())
            };
            tests.iter().map(one).collect()
        };
        let out = |verdict: Option<bool>| verdict == Some(narrow.inverted);
        if !narrow.cheap.is_empty() && verdicts(&narrow.cheap, element(false)).into_iter().any(out) {
            return false;
        }
        narrow.costly.is_empty() || !verdicts(&narrow.costly, element(true)).into_iter().any(out)
    }
}
