//! What a rule may cost: an upper bound of its steps, found before it runs.
//!
//! The evaluator has no brake, so a rule like `self.a.all(x, self.a.all(y, self.a.all(z, …)))` has to be refused before it
//! begins. This walks through the expression with the value at hand and multiplies: a loop costs its body as often as the
//! list that is really there has items; a text costs a tenth of its length wherever it is looked at. Upstream estimates from
//! the bounds in the schema (`maxItems`) when a definition is made, and counts while a rule runs; the limits are upstream's.

use super::terms;
use cel::common::ast::{EntryExpr, Expr as Node, LiteralValue};
use serde_json::Value as Json;

/// Steps of one expression (`PerCallLimit` upstream).
pub const CALL_MAX: f64 = 1_000_000.0;
/// Steps of all rules of one object (`RuntimeCELCostBudget` upstream).
pub const OBJECT_MAX: f64 = 10_000_000.0;
/// Steps per byte of text that is read, compared or copied.
const TEXT: f64 = 0.1;
/// Steps of compiling a pattern that is not written in the rule: it may be another one for every item of a list.
const PATTERN: f64 = 2_000.0;
/// Values of the object that one place of an expression may stand for, before only their size is known.
const KNOWN_MAX: usize = 10_000;

/// What is known of a value.
#[derive(Clone)]
enum Known<'a> {
    /// It is one of these parts of the object.
    Parts(Vec<&'a Json>),
    /// Items, or bytes of text, of it and of everything in it: at most so many.
    Size(f64),
}

impl Known<'_> {
    /// Items of a list or map, or bytes of a text.
    fn length(&self) -> f64 {
        match self {
            Known::Size(size) => *size,
            Known::Parts(parts) => parts.iter().map(|part| length(part)).fold(0.0, f64::max),
        }
    }

    /// With everything in it.
    fn weight(&self) -> f64 {
        match self {
            Known::Size(size) => *size,
            Known::Parts(parts) => parts.iter().map(|part| weight(part)).fold(0.0, f64::max),
        }
    }
}

fn length(value: &Json) -> f64 {
    match value {
        Json::String(s) => s.len() as f64,
        Json::Array(a) => a.len() as f64,
        Json::Object(o) => o.len() as f64,
        _ => 1.0,
    }
}

fn weight(value: &Json) -> f64 {
    match value {
        Json::String(s) => 1.0 + s.len() as f64,
        Json::Array(a) => 1.0 + a.iter().map(weight).sum::<f64>(),
        Json::Object(o) => 1.0 + o.iter().map(|(k, v)| k.len() as f64 + weight(v)).sum::<f64>(),
        _ => 1.0,
    }
}

/// Upper bound of the steps of an expression over `this`, and what it was before.
pub fn steps(expression: &Node, this: &Json, before: Option<&Json>) -> f64 {
    let mut scope = Scope { names: vec![("self", Known::Parts(vec![this]))] };
    scope.names.push(("oldSelf", Known::Parts(before.into_iter().collect())));
    scope.node(expression).0
}

struct Scope<'a> {
    names: Vec<(&'a str, Known<'a>)>,
}

impl<'a> Scope<'a> {
    /// Steps, and the value.
    fn node(&mut self, node: &'a Node) -> (f64, Known<'a>) {
        match node {
            Node::Literal(LiteralValue::String(s)) => (1.0, Known::Size(s.inner().len() as f64)),
            Node::Literal(LiteralValue::Bytes(b)) => (1.0, Known::Size(b.inner().len() as f64)),
            Node::Ident(name) => {
                let found = self.names.iter().rev().find(|(n, _)| n == name);
                (1.0, found.map_or(Known::Size(1.0), |(_, known)| known.clone()))
            }
            Node::Select(select) => {
                let (cost, operand) = self.node(&select.operand.expr);
                (cost + 1.0, field(operand, &select.field))
            }
            Node::List(list) => {
                let mut sum = (1.0, 0.0);
                for element in &list.elements {
                    let (cost, value) = self.node(&element.expr);
                    sum = (sum.0 + cost, sum.1 + value.weight() + 1.0);
                }
                (sum.0, Known::Size(sum.1))
            }
            Node::Map(map) => {
                let mut sum = (1.0, 0.0);
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        for part in [&entry.key, &entry.value] {
                            let (cost, value) = self.node(&part.expr);
                            sum = (sum.0 + cost, sum.1 + value.weight() + 1.0);
                        }
                    }
                }
                (sum.0, Known::Size(sum.1))
            }
            Node::Call(call) => {
                let parts = call.target.iter().map(|t| &t.expr).chain(call.args.iter().map(|a| &a.expr));
                let (mut cost, mut values, mut numbers) = (1.0, vec![], vec![]);
                for part in parts {
                    let (steps, value) = self.node(part);
                    cost += steps;
                    values.push(value);
                    numbers.push(whole(part));
                }
                let (own, value) = call_of(&call.func_name, values, &numbers);
                let written = call.args.first().is_some_and(|a| matches!(a.expr, Node::Literal(_)));
                let compiles = matches!(call.func_name.as_str(), "matches" | "find" | "findAll") && !written;
                (cost + own + if compiles { PATTERN } else { 0.0 }, value)
            }
            Node::Comprehension(c) => {
                let (range_cost, range) = self.node(&c.iter_range.expr);
                let (init_cost, init) = self.node(&c.accu_init.expr);
                let turns = match &c.iter_range.expr {
                    Node::List(list) => list.elements.len() as f64,
                    _ => range.length(),
                };
                let depth = self.names.len();
                let (keys, items) = members(range);
                match &c.iter_var2 {
                    Some(second) => {
                        self.names.push((&c.iter_var, keys));
                        self.names.push((second, items));
                    }
                    // Of a map it runs over the keys, of a list over the items.
                    None => self.names.push((&c.iter_var, larger(keys, items))),
                }
                let before = init.weight();
                self.names.push((&c.accu_var, init.clone()));
                let condition = self.node(&c.loop_cond.expr).0;
                let (step, grown) = self.node(&c.loop_step.expr);
                let end = match turns > 0.0 {
                    true => Known::Size(before + turns * (grown.weight() - before).max(0.0)),
                    false => init,
                };
                if let Some(last) = self.names.last_mut() {
                    last.1 = end;
                }
                let (result_cost, result) = self.node(&c.result.expr);
                self.names.truncate(depth);
                (range_cost + init_cost + turns * (condition + step + 1.0) + result_cost, result)
            }
            _ => (1.0, Known::Size(1.0)),
        }
    }
}

/// A whole number that is written there.
fn whole(node: &Node) -> Option<f64> {
    match node {
        Node::Literal(LiteralValue::Int(n)) => Some(*n.inner() as f64),
        _ => None,
    }
}

fn field<'a>(of: Known<'a>, name: &str) -> Known<'a> {
    let Known::Parts(parts) = of else { return of };
    let named = |part: &&'a Json| {
        let map = part.as_object()?;
        map.get(name).or_else(|| {
            let escaped = |(key, _): &(&String, &Json)| terms::escaped(key).as_deref() == Some(name);
            map.iter().find(escaped).map(|(_, value)| value)
        })
    };
    Known::Parts(parts.iter().filter_map(named).collect())
}

/// Keys and items of lists and maps.
fn members(of: Known<'_>) -> (Known<'_>, Known<'_>) {
    let Known::Parts(parts) = &of else { return (of.clone(), of) };
    let mut keys: f64 = 1.0;
    let mut items = vec![];
    for part in parts {
        match part {
            Json::Array(all) => items.extend(all),
            Json::Object(all) => {
                keys = all.keys().map(|k| k.len() as f64).fold(keys, f64::max);
                items.extend(all.values());
            }
            _ => {}
        }
        if items.len() > KNOWN_MAX {
            return (Known::Size(keys), Known::Size(of.weight()));
        }
    }
    (Known::Size(keys), Known::Parts(items))
}

/// What is known of a value that is one of two.
fn larger<'a>(a: Known<'a>, b: Known<'a>) -> Known<'a> {
    match (a, b) {
        (Known::Parts(mut a), Known::Parts(b)) if a.len() + b.len() <= KNOWN_MAX => {
            a.extend(b);
            Known::Parts(a)
        }
        (Known::Size(small), Known::Parts(b)) if b.iter().all(|b| length(b) >= small) && !b.is_empty() => {
            Known::Parts(b)
        }
        (a, b) => Known::Size(a.weight().max(b.weight())),
    }
}

/// Steps of a function beside those of its arguments, and what it gives.
fn call_of<'a>(name: &str, mut values: Vec<Known<'a>>, numbers: &[Option<f64>]) -> (f64, Known<'a>) {
    let weights: Vec<f64> = values.iter().map(Known::weight).collect();
    let total: f64 = weights.iter().sum();
    let first = weights.first().copied().unwrap_or(0.0);
    let second = weights.get(1).copied().unwrap_or(0.0);
    match name.rsplit('.').next().unwrap_or(name) {
        "_?_:_" => match (values.pop(), values.pop()) {
            (Some(b), Some(a)) => (0.0, larger(a, b)),
            _ => (0.0, Known::Size(1.0)),
        },
        "_[_]" | "_[?_]" => (0.0, values.into_iter().next().map_or(Known::Size(1.0), |v| members(v).1)),
        // What an optional holds, or the alternative.
        "value" | "of" | "ofNonZeroValue" => (0.0, values.into_iter().next().unwrap_or(Known::Size(1.0))),
        "or" | "orValue" => match (values.pop(), values.pop()) {
            (Some(b), Some(a)) => (0.0, larger(a, b)),
            _ => (0.0, Known::Size(1.0)),
        },
        "size" | "has" | "hasValue" | "_&&_" | "_||_" | "!_" | "@not_strictly_false" | "type" | "dyn" => {
            (0.0, Known::Size(1.0))
        }
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "startsWith" | "endsWith" => {
            (first.min(second) * TEXT, Known::Size(1.0))
        }
        "@in" | "contains" | "indexOf" | "lastIndexOf" => {
            (total * TEXT + values.last().map_or(0.0, Known::length), Known::Size(1.0))
        }
        // Time grows with the text and with the pattern.
        "matches" => (first * TEXT * (second * 0.25).max(1.0), Known::Size(1.0)),
        "find" | "findAll" => (first * TEXT * (second * 0.25).max(1.0), Known::Size(first + 1.0)),
        "replace" => {
            let with = weights.get(2).copied().unwrap_or(0.0);
            let size = first + (first + 1.0) * with;
            (size * TEXT, Known::Size(size))
        }
        "join" => {
            let size = first * (1.0 + second);
            (size * TEXT, Known::Size(size))
        }
        "range" => {
            let size = numbers.first().copied().flatten().unwrap_or(CALL_MAX);
            (size, Known::Size(size.max(0.0)))
        }
        "distinct" | "sort" | "sortBy" | "isSorted" => (first * first.max(2.0).log2(), Known::Size(first)),
        // Everything else reads its arguments once, and what it gives is no larger than they are, and a few digits more.
        _ => (total * TEXT, Known::Size(total + 64.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cost(rule: &str, this: Json) -> f64 {
        let term = terms::compile(rule).unwrap();
        steps(&term.program.expression().expr, &this, None)
    }

    #[test]
    fn everyday_rules_are_cheap_over_large_objects() {
        let items: Vec<Json> =
            (0..2_000).map(|i| json!({"name": format!("item-{i}"), "tags": ["a", "b"], "n": i})).collect();
        let object = json!({"items": items, "replicas": 3, "max": 5});
        for rule in [
            "self.replicas <= self.max",
            "self.items.all(i, i.n >= 0)",
            "self.items.all(i, i.tags.all(t, t.size() < 10))",
            "self.items.exists(i, i.name == 'item-7') && self.items.map(i, i.n).sum() > 0",
            "self.items.filter(i, i.name.matches('^item-[0-9]+$')).size() == 2000",
        ] {
            let cost = cost(rule, object.clone());
            assert!(cost < CALL_MAX / 10.0, "{rule}: {cost}");
        }
    }

    #[test]
    fn rules_that_multiply_are_dear() {
        let list: Vec<usize> = (0..200).collect();
        let object = json!({"a": list, "s": "x".repeat(1_000)});
        for rule in [
            "self.a.all(x, self.a.all(y, self.a.all(z, x + y + z > 0)))",
            "[self.s + self.s].map(a, [a + a].map(b, [b + b].map(c, [c + c].map(d, [d + d].map(e, [e + e].map(f, [f + f].map(g, [g + g].map(h, [h + h].map(i, [i + i].map(j, j + j)[0])[0])[0])[0])[0])[0])[0])[0])[0])[0] == ''",
            "self.s.replace('', self.s).replace('', self.s) == ''",
            "lists.range(100000000).all(x, x > 0)",
            "lists.range(self.a[0]).all(x, x > 0)",
            "self.a.all(x, self.a.all(y, 'a'.matches(self.s)))",
        ] {
            let cost = cost(rule, object.clone());
            assert!(cost > CALL_MAX, "{rule}: {cost}");
        }
    }
}
