//! What a rule may cost: an estimate of its steps, made before it runs, that errs upwards.
//!
//! The evaluator has no brake, so a rule like `self.a.all(x, self.a.all(y, self.a.all(z, …)))` has
//! to be refused before it begins. This walks through the expression with the value at hand and
//! multiplies: a loop costs its body as often as the list that is really there has items; a text
//! costs a tenth of its length wherever it is looked at. The estimate itself counts too: a tenth of
//! a step for every value it looks at. Upstream estimates from the bounds in the schema
//! (`maxItems`) when a definition is made, and counts while a rule runs; the limits are upstream's.
//!
//! The steps bound the memory, too. Upstream's values are shared; this evaluator copies a list or
//! map into each list that names it. A value takes some 100 bytes there, so that one costs a step:
//!
//! ```text
//! self.a.size()                     self.a is looked at: no copy
//! [self.a, self.a, self.a].size()   three copies: 3 000 steps if it has a thousand numbers
//! optional.of(self.a), self.?a      a copy
//! 1 < self.a                        an error, which has a copy of both sides
//! ```
//!
//! What the evaluator does at each step grows with the source, too: a name is looked up in the
//! scope of each loop around it, and its bytes are compared or hashed.
//!
//! | part | what it has |
//! |---|---|
//! | `known` | what is known of a value: which part of the object it is, or its weight |
//! | `calls` | the steps of functions and operators, and what is known of their results |

mod calls;
mod known;

use super::values::escaped;
use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr as Node, LiteralValue, SelectExpr};
use known::{Known, Weight, What, weight};
use serde_json::Value as Json;
use std::collections::HashMap;

/// Steps of one expression (`PerCallLimit` upstream).
pub(crate) const CALL_MAX: f64 = 1_000_000.0;
/// Steps of all rules of one object (`RuntimeCELCostBudget` upstream).
pub(crate) const OBJECT_MAX: f64 = 10_000_000.0;
/// Steps per value and byte of text that is read, compared or copied.
pub(crate) const TEXT: f64 = 0.1;
/// Steps of a value that is copied into a list or map, for the memory that it takes: 48 bytes for a
/// number, 80 for an empty map, some 110 for each value of a map of one field.
const VALUE: f64 = 1.0;
/// Steps of comparing one byte of a text at one place of another, as the library's `indexOf` does
/// at each place, of counting it, or of hashing it.
const PLACE: f64 = 0.01;
/// Steps of copying a value for a single turn of a loop: some 40 ns to allocate it and to give it
/// back. Its bytes cost [`PLACE`].
const TURN: f64 = 0.4;
/// Steps of going from the scope of a loop to the one around it: 2 ns.
const SCOPE: f64 = 0.02;
/// Times that a call goes through all scopes for its function.
const CALL_SCOPES: f64 = 5.0;
/// Bytes of the reason of a decision about a right.
pub(crate) const REASON_MAX: usize = 4 << 10;
/// Values that the estimate of one expression may look at. As many cost [`CALL_MAX`].
const WORK_MAX: f64 = CALL_MAX / TEXT;
/// Values of the object that one place of an expression may stand for, before only their size is
/// known.
const KNOWN_MAX: usize = 10_000;
/// The variable of a policy's own variables. Each may be an optional: only what it holds is known.
const VARIABLES: &str = "variables";

/// Returns the number of items of a list or map, or of bytes of a text.
fn length(value: &Json) -> f64 {
    match value {
        Json::String(s) => s.len() as f64,
        Json::Array(a) => a.len() as f64,
        Json::Object(o) => o.len() as f64,
        _ => 1.0,
    }
}

/// Returns the steps of making CEL's values of this, whatever the rule reads of it. A rule at each
/// of 80 levels copies what is below 80 times.
pub(crate) fn of_values(json: &Json) -> f64 {
    weight(json, &mut 0.0).copied()
}

/// Estimates the steps of an expression over `this`, and what it was before, which the expression
/// sees as an optional if `optional_old`. Infinite if the estimate itself would take too long.
pub(crate) fn steps(expression: &Node, this: &Json, before: Option<&Json>, optional_old: bool) -> f64 {
    let this = Known::parts(vec![this]);
    let before = Known::parts(before.into_iter().collect()).or_optional(optional_old);
    estimate(expression, vec![("self", this), ("oldSelf", before)])
}

/// As [`steps`], over variables with these names. A variable without a value counts as empty.
pub(crate) fn steps_over<'a>(expression: &'a Node, variables: &[(&'a str, Option<&'a Json>)]) -> f64 {
    let known = |(name, value): &(&'a str, Option<&'a Json>)| {
        let parts = Known::parts(value.iter().copied().collect());
        (*name, Known { has_optionals: *name == VARIABLES, ..parts })
    };
    estimate(expression, variables.iter().map(known).collect())
}

fn estimate<'a>(expression: &'a Node, names: Vec<(&'a str, Known<'a>)>) -> f64 {
    let mut scope = Scope { names, loops: 0.0, weights: HashMap::new(), work: 0.0 };
    let steps = scope.node(expression).0;
    if scope.work > WORK_MAX { f64::INFINITY } else { steps + scope.work * TEXT }
}

struct Scope<'a> {
    names: Vec<(&'a str, Known<'a>)>,
    /// Loops around the node, each of which has a scope of its own.
    loops: f64,
    /// Weights of lists and maps that were computed before, by address.
    weights: HashMap<*const Json, Weight>,
    /// Values that the estimate has looked at, until [`WORK_MAX`].
    work: f64,
}

impl<'a> Scope<'a> {
    /// Returns the most items of a list or map, or the most bytes of a part that is a text.
    fn length(&mut self, known: &Known) -> f64 {
        match &known.what {
            What::Size(whole, _) => whole.values,
            What::Parts(parts) => {
                self.work += parts.len() as f64;
                parts.iter().map(|part| length(part)).fold(0.0, f64::max)
            }
        }
    }

    /// Returns the number of items of a value that can only be a list.
    fn items(&mut self, known: &Known) -> Option<f64> {
        let What::Parts(parts) = &known.what else { return None };
        self.work += parts.len() as f64;
        let counts: Option<Vec<usize>> = parts.iter().map(|part| Some(part.as_array()?.len())).collect();
        counts?.into_iter().max().map(|items| items as f64)
    }

    /// Returns the weight of the heaviest part that a value may be.
    fn weight(&mut self, known: &Known) -> Weight {
        let parts = match &known.what {
            What::Size(whole, _) => return *whole,
            What::Parts(parts) => parts,
        };
        let mut heaviest = Weight::NONE;
        for &part in parts.iter() {
            if self.work > WORK_MAX {
                break;
            }
            self.work += 1.0;
            let found = match part {
                Json::Array(_) | Json::Object(_) => {
                    let work = &mut self.work;
                    *self.weights.entry(part).or_insert_with(|| weight(part, work))
                }
                plain => weight(plain, &mut self.work),
            };
            heaviest = heaviest.or(found);
        }
        heaviest
    }

    /// Returns the weight of the heaviest item of a list or map.
    fn heaviest_item(&mut self, known: &Known<'a>) -> Weight {
        if let What::Size(_, item) = &known.what {
            return *item;
        }
        let items = self.members(known.clone()).1;
        self.weight(&items)
    }

    /// Returns the steps of a node, and what is known of its value.
    fn node(&mut self, node: &'a Node) -> (f64, Known<'a>) {
        if self.work > WORK_MAX {
            return (0.0, Known::ONE);
        }
        match node {
            Node::Literal(LiteralValue::String(s)) => (1.0, Known::text(s.inner().len() as f64)),
            Node::Literal(LiteralValue::Bytes(b)) => (1.0, Known::text(b.inner().len() as f64)),
            Node::Ident(name) => {
                let found = self.names.iter().rev().find(|(n, _)| n == name);
                let known = found.map_or(Known::ONE, |(_, known)| known.clone());
                (1.0 + self.lookup(name), known)
            }
            Node::Select(select) => self.select(select),
            Node::List(list) => self.collection(list.elements.iter().map(|element| &element.expr)),
            Node::Map(map) => {
                let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => Some([&entry.key.expr, &entry.value.expr]),
                    EntryExpr::StructField(_) => None,
                });
                self.collection(entries.flatten())
            }
            Node::Call(call) => self.call(call),
            Node::Comprehension(c) => self.comprehension(c),
            _ => (1.0, Known::ONE),
        }
    }

    /// Returns the steps of looking up a name. From each scope up to the one that has it the
    /// evaluator goes through all that are around, for what the outermost knows.
    fn lookup(&self, name: &str) -> f64 {
        const NAMES: f64 = 2.0; // of a loop: its variable, and its result
        let inner = self.names.iter().rev().take_while(|(known, _)| *known != name).count() as f64;
        let scopes = (inner / NAMES).min(self.loops) + 1.0;
        scopes * self.loops * SCOPE + name.len() as f64 * PLACE
    }

    /// Returns the steps of a list or map that is written in the expression, which copies what it
    /// has in it.
    fn collection(&mut self, elements: impl Iterator<Item = &'a Node>) -> (f64, Known<'a>) {
        let (mut cost, mut whole, mut item, mut optional) = (1.0, Weight::ONE, Weight::NONE, false);
        for element in elements {
            let (steps, value) = self.node(element);
            let weight = self.weight(&value);
            cost += steps + weight.copied();
            whole = whole.and(weight);
            item = item.or(weight);
            optional |= value.gives_optionals();
        }
        (cost, Known::list(whole, item).or_optional(optional))
    }

    /// Returns the steps of reading a field, and what is known of it.
    fn select(&mut self, select: &'a SelectExpr) -> (f64, Known<'a>) {
        let (cost, operand) = self.node(&select.operand.expr);
        // The evaluator looks for `a.b.c` as a whole, then for `a.b`, then for `a`.
        let lookup = root(&select.operand.expr).map_or(0.0, |name| self.lookup(name));
        let key = select.field.len() as f64 * PLACE;
        let copies = operand.optional && !select.test;
        let field = self.field(operand, &select.field);
        let copied = if copies { self.weight(&field).copied() } else { 0.0 };
        (cost + 1.0 + lookup + key + copied, field)
    }

    /// Returns the steps of a macro over all items of its range, and what is known of its value.
    fn comprehension(&mut self, c: &'a ComprehensionExpr) -> (f64, Known<'a>) {
        let (range_cost, range) = self.node(&c.iter_range.expr);
        let (init_cost, init) = self.node(&c.accu_init.expr);
        let turns = match &c.iter_range.expr {
            Node::List(list) => list.elements.len() as f64,
            _ => self.length(&range),
        };
        let copied = self.weight(&range).in_turns() + self.weight(&init).copied();
        let depth = self.names.len();
        let (keys, items) = self.members(range);
        // Each item is copied for its turn alone: in loops within loops one of each is there.
        let item = self.weight(&items).kept();
        match &c.iter_var2 {
            Some(second) => {
                self.names.push((&c.iter_var, keys));
                self.names.push((second, items));
            }
            // Of a map it runs over the keys, of a list over the items.
            None => {
                let either = self.larger(keys, items);
                self.names.push((&c.iter_var, either));
            }
        }
        let before = self.weight(&init);
        self.names.push((&c.accu_var, init.clone()));
        self.loops += 1.0;
        let condition = self.node(&c.loop_cond.expr).0;
        let (step, grown) = self.node(&c.loop_step.expr);
        let end = match turns > 0.0 {
            true => {
                let whole = before.after(turns, self.weight(&grown));
                let item = self.heaviest_item(&init).or(self.heaviest_item(&grown));
                Known::list(whole, item).or_optional(init.gives_optionals() || grown.gives_optionals())
            }
            false => init,
        };
        if let Some(last) = self.names.last_mut() {
            last.1 = end;
        }
        let (result_cost, result) = self.node(&c.result.expr);
        self.names.truncate(depth);
        self.loops -= 1.0;
        // Each turn binds both names anew.
        let bound = (c.iter_var.len() + c.accu_var.len()) as f64 * PLACE;
        let turns = turns * (condition + step + bound + 1.0);
        (range_cost + init_cost + copied + item + turns + result_cost, result)
    }

    /// Returns what is known of a field of a value.
    fn field(&mut self, of: Known<'a>, name: &str) -> Known<'a> {
        let optional = of.gives_optionals();
        let parts = match &of.what {
            What::Size(_, item) => return Known::size(*item).or_optional(optional),
            What::Parts(parts) => parts,
        };
        self.work += parts.len() as f64;
        let mut found = vec![];
        for map in parts.iter().filter_map(|part| part.as_object()) {
            let field = map.get(name).or_else(|| {
                // Only the name of an escaped field has two underscores in a row.
                if !name.contains("__") {
                    return None;
                }
                self.work += map.len() as f64;
                let is_wanted = |(key, _): &(&String, &Json)| escaped(key).as_deref() == Some(name);
                map.iter().find(is_wanted).map(|(_, value)| value)
            });
            found.extend(field);
        }
        Known::parts(found).or_optional(optional)
    }

    /// Returns what is known of the keys and of the items of a list or map.
    fn members(&mut self, of: Known<'a>) -> (Known<'a>, Known<'a>) {
        let optional = of.gives_optionals();
        let parts = match &of.what {
            What::Size(_, item) => {
                let item = Known::size(*item).or_optional(optional);
                return (item.clone(), item);
            }
            What::Parts(parts) => parts,
        };
        let mut keys: f64 = 0.0;
        let mut items: Vec<&'a Json> = vec![];
        for &part in parts.iter() {
            match part {
                Json::Array(all) => items.extend(all),
                Json::Object(all) => {
                    keys = all.keys().map(|k| k.len() as f64).fold(keys, f64::max);
                    items.extend(all.values());
                }
                _ => {}
            }
            if items.len() > KNOWN_MAX {
                self.work += items.len() as f64;
                let all = Known::size(self.weight(&of));
                return (Known::text(keys), all.or_optional(optional));
            }
        }
        self.work += (parts.len() + items.len()) as f64;
        (Known::text(keys), Known::parts(items).or_optional(optional))
    }

    /// Returns what is known of a value that is one of two, as in `a ? b : c`.
    fn larger(&mut self, a: Known<'a>, b: Known<'a>) -> Known<'a> {
        let optional = a.gives_optionals() || b.gives_optionals();
        let larger = match (&a.what, &b.what) {
            (What::Parts(a), What::Parts(b)) if a.len() + b.len() <= KNOWN_MAX => {
                self.work += (a.len() + b.len()) as f64;
                Known::parts(a.iter().chain(b.iter()).copied().collect())
            }
            // A number or an empty text is no heavier than any of the parts, and has no pieces.
            (What::Size(small, _), What::Parts(parts))
                if small.values <= 1.0 && small.bytes == 0.0 && !parts.is_empty() =>
            {
                self.work += parts.len() as f64;
                Known { what: What::Parts(parts.clone()), optional, has_optionals: false }
            }
            _ => {
                let whole = self.weight(&a).or(self.weight(&b));
                Known::list(whole, self.heaviest_item(&a).or(self.heaviest_item(&b)))
            }
        };
        larger.or_optional(optional)
    }
}

/// Returns the name that a chain of selections begins with, as `a` in `a.b.c`.
fn root(mut node: &Node) -> Option<&str> {
    loop {
        node = match node {
            Node::Ident(name) => return Some(name),
            Node::Select(select) if !select.test => &select.operand.expr,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
