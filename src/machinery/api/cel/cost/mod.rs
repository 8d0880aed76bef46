//! What a rule may cost: an estimate of its steps, made before it runs, that errs upwards.
//!
//! The evaluator has no brake, so a rule like `self.a.all(x, self.a.all(y, self.a.all(z, …)))` has
//! to be refused before it begins. This walks through the expression with the value at hand and
//! multiplies: a loop costs its body as often as the list that is really there has items; a text
//! costs a tenth of its length wherever it is looked at. The estimate itself counts too: a tenth of
//! a step for every value it looks at. Upstream estimates from the bounds in the schema
//! (`maxItems`) when a definition is made, and counts while a rule runs; the limits are upstream's.

use super::environment::is_library;
use super::functions::MATCHES;
use super::values::escaped;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr as Node, LiteralValue};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::rc::Rc;

/// Steps of one expression (`PerCallLimit` upstream).
pub(crate) const CALL_MAX: f64 = 1_000_000.0;
/// Steps of all rules of one object (`RuntimeCELCostBudget` upstream).
pub(crate) const OBJECT_MAX: f64 = 10_000_000.0;
/// Steps per byte of text that is read, compared or copied.
pub(crate) const TEXT: f64 = 0.1;
/// Steps of comparing one byte of a text at one place of another, as the library's `indexOf` does
/// at each place, or of counting it.
const PLACE: f64 = 0.01;
/// Steps of copying a value, or a byte of text: a loop copies each item.
const COPY: f64 = 0.05;
/// A text grows so many times in quotes, which need a backslash before each quote in it, and by
/// `%x`, which writes two digits for a byte.
const DOUBLE: f64 = 2.0;
/// Steps of compiling a pattern that is not written in the rule: it may be another one for every
/// item of a list.
const PATTERN: f64 = 2_000.0;
/// Bytes of the reason of a decision about a right.
pub(crate) const REASON_MAX: usize = 4 << 10;
/// Values that the estimate of one expression may look at. As many cost [`CALL_MAX`].
const WORK_MAX: f64 = CALL_MAX / TEXT;
/// Values of the object that one place of an expression may stand for, before only their size is
/// known.
const KNOWN_MAX: usize = 10_000;

/// What the estimate knows of a value before the expression runs.
#[derive(Clone)]
enum Known<'a> {
    /// The value is one of these parts of the object.
    Parts(Rc<Vec<&'a Json>>),
    /// The value, with everything in it, has at most so many items and bytes of text.
    Size(f64),
}

impl<'a> Known<'a> {
    fn parts(parts: Vec<&'a Json>) -> Known<'a> {
        Known::Parts(Rc::new(parts))
    }
}

/// Returns the number of items of a list or map, or of bytes of a text.
fn length(value: &Json) -> f64 {
    match value {
        Json::String(s) => s.len() as f64,
        Json::Array(a) => a.len() as f64,
        Json::Object(o) => o.len() as f64,
        _ => 1.0,
    }
}

/// Returns the bytes of the longest text that a value may be: `size` counts the characters of a
/// text one by one, and reads the length of a list.
fn counted(known: &Known) -> f64 {
    match known {
        Known::Size(size) => *size,
        Known::Parts(parts) => {
            parts.iter().filter_map(|part| part.as_str()).map(str::len).max().unwrap_or(0) as f64
        }
    }
}

/// Returns the weight of a value: one for each value in it, and its bytes of text. Adds the number
/// of values that it looks at to `work`.
fn weight(value: &Json, work: &mut f64) -> f64 {
    *work += 1.0;
    match value {
        Json::String(s) => 1.0 + s.len() as f64,
        Json::Array(a) => 1.0 + a.iter().map(|v| weight(v, work)).sum::<f64>(),
        Json::Object(o) => 1.0 + o.iter().map(|(k, v)| k.len() as f64 + weight(v, work)).sum::<f64>(),
        _ => 1.0,
    }
}

/// Returns the steps of making CEL's values of what a rule is about, whatever the rule reads of it.
/// A rule at each of 80 levels copies what is below 80 times.
pub(crate) fn of_values(this: &Json, before: Option<&Json>) -> f64 {
    let all = [Some(this), before].into_iter().flatten();
    all.map(|part| weight(part, &mut 0.0)).sum::<f64>() * TEXT
}

/// Estimates the steps of an expression over `this`, and what it was before. Infinite if the
/// estimate itself would take too long.
pub(crate) fn steps(expression: &Node, this: &Json, before: Option<&Json>) -> f64 {
    steps_over(expression, &[("self", Some(this)), ("oldSelf", before)])
}

/// As [`steps`], over variables with these names. A variable without a value counts as empty.
pub(crate) fn steps_over<'a>(expression: &'a Node, variables: &[(&'a str, Option<&'a Json>)]) -> f64 {
    let parts = |value: &Option<&'a Json>| Known::parts(value.iter().copied().collect());
    let names = variables.iter().map(|(name, value)| (*name, parts(value))).collect();
    let mut scope = Scope { names, weights: HashMap::new(), work: 0.0 };
    let steps = scope.node(expression).0;
    if scope.work > WORK_MAX { f64::INFINITY } else { steps + scope.work * TEXT }
}

struct Scope<'a> {
    names: Vec<(&'a str, Known<'a>)>,
    /// Weights of lists and maps that were computed before, by address.
    weights: HashMap<*const Json, f64>,
    /// Values that the estimate has looked at, until [`WORK_MAX`].
    work: f64,
}

impl<'a> Scope<'a> {
    /// Returns the number of items of a list or map, or of bytes of a text.
    fn length(&mut self, known: &Known) -> f64 {
        match known {
            Known::Size(size) => *size,
            Known::Parts(parts) => {
                self.work += parts.len() as f64;
                parts.iter().map(|part| length(part)).fold(0.0, f64::max)
            }
        }
    }

    /// Returns the number of items of a value that can only be a list.
    fn items(&mut self, known: &Known) -> Option<f64> {
        let Known::Parts(parts) = known else { return None };
        self.work += parts.len() as f64;
        let counts: Option<Vec<usize>> = parts.iter().map(|part| Some(part.as_array()?.len())).collect();
        counts?.into_iter().max().map(|items| items as f64)
    }

    /// Returns the weight of the heaviest part that a value may be.
    fn weight(&mut self, known: &Known) -> f64 {
        let parts = match known {
            Known::Size(size) => return *size,
            Known::Parts(parts) => parts,
        };
        let mut heaviest: f64 = 0.0;
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
            heaviest = heaviest.max(found);
        }
        heaviest
    }

    /// Returns the steps of a node, and what is known of its value.
    fn node(&mut self, node: &'a Node) -> (f64, Known<'a>) {
        if self.work > WORK_MAX {
            return (0.0, Known::Size(1.0));
        }
        match node {
            Node::Literal(LiteralValue::String(s)) => (1.0, Known::Size(s.inner().len() as f64)),
            Node::Literal(LiteralValue::Bytes(b)) => (1.0, Known::Size(b.inner().len() as f64)),
            Node::Ident(name) => {
                let found = self.names.iter().rev().find(|(n, _)| n == name);
                (1.0, found.map_or(Known::Size(1.0), |(_, known)| known.clone()))
            }
            Node::Select(select) => {
                let (cost, operand) = self.node(&select.operand.expr);
                (cost + 1.0, self.field(operand, &select.field))
            }
            Node::List(list) => {
                let mut sum = (1.0, 0.0);
                for element in &list.elements {
                    let (cost, value) = self.node(&element.expr);
                    let weight = self.weight(&value);
                    sum = (sum.0 + cost + weight * TEXT, sum.1 + weight + 1.0);
                }
                (sum.0, Known::Size(sum.1))
            }
            Node::Map(map) => {
                let mut sum = (1.0, 0.0);
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        for part in [&entry.key, &entry.value] {
                            let (cost, value) = self.node(&part.expr);
                            let weight = self.weight(&value);
                            sum = (sum.0 + cost + weight * TEXT, sum.1 + weight + 1.0);
                        }
                    }
                }
                (sum.0, Known::Size(sum.1))
            }
            Node::Call(call) => self.call(call),
            Node::Comprehension(c) => self.comprehension(c),
            _ => (1.0, Known::Size(1.0)),
        }
    }

    /// Returns the steps of a call, with those of its arguments, and what is known of its value.
    fn call(&mut self, call: &'a CallExpr) -> (f64, Known<'a>) {
        // `lists.range(3)`: the name of a library is no value.
        let is_value = |target: &&'a Node| {
            !matches!(target, Node::Ident(name)
                if is_library(name) && !self.names.iter().any(|(n, _)| n == name))
        };
        let target = call.target.iter().map(|t| &t.expr).filter(is_value);
        let parts: Vec<&Node> = target.chain(call.args.iter().map(|a| &a.expr)).collect();
        let (mut cost, mut values, mut numbers) = (1.0, vec![], vec![]);
        for part in parts {
            let (steps, value) = self.node(part);
            cost += steps;
            values.push(value);
            numbers.push(whole(part));
        }
        let (own, value) = self.call_of(&call.func_name, values, &numbers);
        let pattern = call.args.get(usize::from(call.target.is_none()));
        let written = pattern.is_some_and(|a| matches!(a.expr, Node::Literal(_)));
        let compiles = matches!(call.func_name.as_str(), MATCHES | "find" | "findAll") && !written;
        (cost + own + if compiles { PATTERN } else { 0.0 }, value)
    }

    /// Returns the steps of a macro over all items of its range, and what is known of its value.
    fn comprehension(&mut self, c: &'a ComprehensionExpr) -> (f64, Known<'a>) {
        let (range_cost, range) = self.node(&c.iter_range.expr);
        let (init_cost, init) = self.node(&c.accu_init.expr);
        let turns = match &c.iter_range.expr {
            Node::List(list) => list.elements.len() as f64,
            _ => self.length(&range),
        };
        let copied = (self.weight(&range) + self.weight(&init)) * COPY;
        let depth = self.names.len();
        let (keys, items) = self.members(range);
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
        let condition = self.node(&c.loop_cond.expr).0;
        let (step, grown) = self.node(&c.loop_step.expr);
        let end = match turns > 0.0 {
            true => Known::Size(before + turns * (self.weight(&grown) - before).max(0.0)),
            false => init,
        };
        if let Some(last) = self.names.last_mut() {
            last.1 = end;
        }
        let (result_cost, result) = self.node(&c.result.expr);
        self.names.truncate(depth);
        (range_cost + init_cost + copied + turns * (condition + step + 1.0) + result_cost, result)
    }

    /// Returns what is known of a field of a value.
    fn field(&mut self, of: Known<'a>, name: &str) -> Known<'a> {
        let Known::Parts(parts) = of else { return of };
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
        Known::parts(found)
    }

    /// Returns what is known of the keys and of the items of a list or map.
    fn members(&mut self, of: Known<'a>) -> (Known<'a>, Known<'a>) {
        let Known::Parts(parts) = &of else { return (of.clone(), of) };
        let mut keys: f64 = 1.0;
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
                return (Known::Size(keys), Known::Size(self.weight(&of)));
            }
        }
        self.work += (parts.len() + items.len()) as f64;
        (Known::Size(keys), Known::parts(items))
    }

    /// Returns what is known of a value that is one of two, as in `a ? b : c`.
    fn larger(&mut self, a: Known<'a>, b: Known<'a>) -> Known<'a> {
        match (a, b) {
            (Known::Parts(a), Known::Parts(b)) if a.len() + b.len() <= KNOWN_MAX => {
                self.work += (a.len() + b.len()) as f64;
                Known::parts(a.iter().chain(b.iter()).copied().collect())
            }
            (Known::Size(small), Known::Parts(b))
                if b.iter().all(|b| length(b) >= small) && !b.is_empty() =>
            {
                self.work += b.len() as f64;
                Known::Parts(b)
            }
            (a, b) => Known::Size(self.weight(&a).max(self.weight(&b))),
        }
    }

    /// Returns the steps of a function beside those of its arguments, and what is known of its
    /// result.
    fn call_of(
        &mut self,
        name: &str,
        mut values: Vec<Known<'a>>,
        numbers: &[Option<f64>],
    ) -> (f64, Known<'a>) {
        let weights: Vec<f64> = values.iter().map(|v| self.weight(v)).collect();
        let total: f64 = weights.iter().sum();
        let first = weights.first().copied().unwrap_or(0.0);
        let second = weights.get(1).copied().unwrap_or(0.0);
        match name.rsplit('.').next().unwrap_or(name) {
            "_?_:_" | "or" | "orValue" => match (values.pop(), values.pop()) {
                (Some(b), Some(a)) => (0.0, self.larger(a, b)),
                _ => (0.0, Known::Size(1.0)),
            },
            "_[_]" | "_[?_]" => {
                (0.0, values.into_iter().next().map_or(Known::Size(1.0), |v| self.members(v).1))
            }
            // What an optional holds, and what is only called another type.
            "value" | "of" | "ofNonZeroValue" | "dyn" => (0.0, values.pop().unwrap_or(Known::Size(1.0))),
            "size" => (values.first().map_or(0.0, counted) * PLACE, Known::Size(1.0)),
            "has" | "hasValue" | "_&&_" | "_||_" | "!_" | "@not_strictly_false" | "type" => {
                (0.0, Known::Size(1.0))
            }
            "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "startsWith" | "endsWith" => {
                (first.min(second) * TEXT, Known::Size(1.0))
            }
            "@in" | "contains" => {
                (total * TEXT + values.last().map_or(0.0, |v| self.length(v)), Known::Size(1.0))
            }
            "indexOf" | "lastIndexOf" => {
                let own = match values.first().and_then(|v| self.items(v)) {
                    Some(items) => items,
                    None => first * second * PLACE,
                };
                (total * TEXT + own, Known::Size(1.0))
            }
            // Time grows with the text and with the pattern.
            MATCHES => (first * TEXT * (second * 0.25).max(1.0), Known::Size(1.0)),
            "find" | "findAll" => (first * TEXT * (second * 0.25).max(1.0), Known::Size(first + 1.0)),
            "replace" => {
                let with = weights.get(2).copied().unwrap_or(0.0);
                let size = first + (first + 1.0) * with;
                (size * TEXT, Known::Size(size))
            }
            "quote" | "format" => (total * DOUBLE * TEXT, Known::Size(total * DOUBLE + 64.0)),
            // Of a decision about a right.
            "reason" | "error" => (0.0, Known::Size(REASON_MAX as f64)),
            "join" => {
                let size = first * (1.0 + second);
                (size * TEXT, Known::Size(size))
            }
            "range" => {
                // A negative one is no range, and gives back no steps.
                let size = numbers.last().copied().flatten().unwrap_or(CALL_MAX).max(0.0);
                (size, Known::Size(size))
            }
            // Each item is compared with all others before it.
            "distinct" => {
                let items = values.first().map_or(0.0, |v| self.length(v));
                (items * first * TEXT / 2.0, Known::Size(first))
            }
            "sort" | "sortBy" | "isSorted" => (first * first.max(2.0).log2(), Known::Size(first)),
            // Everything else reads its arguments once, and what it gives is no larger than they
            // are, and a few digits more.
            _ => (total * TEXT, Known::Size(total + 64.0)),
        }
    }
}

/// Returns the whole number that an expression consists of.
fn whole(node: &Node) -> Option<f64> {
    match node {
        Node::Literal(LiteralValue::Int(n)) => Some(*n.inner() as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
