//! Kubernetes' JSONPath: `{range .items[*]}{.metadata.name}{"\n"}{end}`.

mod parse;

use super::{gojson, gostr};
use parse::{Node, Parser};
use serde_json::Value;
use std::cell::Cell;
use std::cmp::Ordering;

/// Values that a template may come to, for each one of the object: a hundred actions over all of it
/// are ten times less. Only `..` behind `..` comes to more, and multiplies with each.
const VALUES_EACH: u64 = 1000;
/// The same for the smallest object.
const VALUES_LEAST: u64 = 10_000;
/// Values and bytes of text that the results may have together, for each one of the object.
const RESULTS_EACH: u64 = 100;
/// The same for the smallest object.
const RESULTS_LEAST: u64 = 1024 * 1024;

/// A template that was understood.
#[derive(Clone, Debug)]
pub struct JsonPath {
    source: String,
    /// Each action or text.
    root: Vec<Vec<Node>>,
    /// A missing field is an error.
    pub strict: bool,
}

/// Reads `.a.b`, `a.b` and `{.a.b}` alike, as custom columns and `--sort-by` take them.
///
/// # Errors
/// kubectl's sentence for an expression that is none of these, or as [`JsonPath::parse`].
pub fn relaxed(expression: &str) -> Result<JsonPath, String> {
    if expression.is_empty() {
        return JsonPath::parse(expression);
    }
    // An opening brace without its closing one leaves nothing, which is refused below.
    let inner = expression.strip_prefix('{').map_or(expression, |e| e.strip_suffix('}').unwrap_or_default());
    let inner = inner.strip_prefix('.').unwrap_or(inner);
    if inner.contains('{') || (inner.contains('}') && !inner.contains("{")) || inner.is_empty() {
        return Err("unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'".into());
    }
    JsonPath::parse(&format!("{{.{inner}}}"))
}

impl JsonPath {
    /// Reads a template: text, and actions in braces. A missing field will be no error
    /// ([`JsonPath::strict`]).
    ///
    /// # Errors
    /// kubectl's sentence for a template that cannot be read.
    pub fn parse(source: &str) -> Result<JsonPath, String> {
        let mut parser = Parser::new(source);
        let (root, _) = parser.document(false)?;
        Ok(JsonPath { source: source.to_string(), root, strict: false })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What each action finds, copied.
    ///
    /// # Errors
    /// As [`JsonPath::find_in`]; or the results together have more than [`RESULTS_EACH`] times what
    /// the object has.
    pub fn find(&self, object: &Value) -> Result<Vec<Vec<Value>>, String> {
        let found = self.find_in(object)?;
        let mut left = RESULTS_EACH.saturating_mul(weight(object)).saturating_add(RESULTS_LEAST);
        for value in found.iter().flatten() {
            left = left.checked_sub(weight(value)).ok_or(TOO_MUCH)?;
        }
        Ok(found.into_iter().map(|action| action.into_iter().cloned().collect()).collect())
    }

    /// What each action finds. No value is copied: each one is a part of the object or of the
    /// template.
    ///
    /// # Errors
    /// kubectl's; or the template comes to more than [`VALUES_EACH`] values for each one of the
    /// object.
    pub(crate) fn find_in<'a>(&'a self, object: &'a Value) -> Result<Vec<Vec<&'a Value>>, String> {
        let mut found = vec![];
        let left = Cell::new(VALUES_EACH.saturating_mul(size(object)).saturating_add(VALUES_LEAST));
        Walk { strict: self.strict, left: &left }.block(&self.root, object, &mut found)?;
        Ok(found)
    }

    /// Returns the text that `-o jsonpath` prints; with `as_json` that of `-o jsonpath-as-json`.
    ///
    /// # Errors
    /// kubectl's message, with the template and the object, if [`JsonPath::find`] fails.
    pub fn print(&self, object: &Value, as_json: bool) -> Result<String, String> {
        let found = self.find(object).map_err(|why| {
            let plain = gostr::plain(object);
            format!(
                "error executing jsonpath {}: Error executing template: {why}. Printing more information for debugging the template:\n\ttemplate was:\n\t\t{}\n\tobject given to jsonpath engine was:\n\t\t{}\n\n\n",
                gostr::quote(&self.source),
                self.source,
                if object.is_object() { go_syntax(object) } else { plain },
            )
        })?;
        let mut out = String::new();
        for values in found {
            if as_json {
                out.push_str(&gojson::pretty(&Value::Array(values), "    ", true));
                out.push('\n');
                continue;
            }
            let texts: Vec<String> = values.iter().map(text_of).collect();
            out.push_str(&texts.join(" "));
        }
        Ok(out)
    }
}

const TOO_MUCH: &str = "it leads to too many values";

/// One evaluation of a template.
#[derive(Clone, Copy)]
struct Walk<'w> {
    strict: bool,
    /// Values that it may still come to.
    left: &'w Cell<u64>,
}

impl Walk<'_> {
    /// Takes note of values that were found.
    fn spend(&self, found: usize) -> Result<(), String> {
        let left = self.left.get().checked_sub(found as u64);
        self.left.set(left.ok_or(TOO_MUCH)?);
        Ok(())
    }

    fn block<'a>(
        &self,
        actions: &'a [Vec<Node>],
        here: &'a Value,
        out: &mut Vec<Vec<&'a Value>>,
    ) -> Result<(), String> {
        for action in actions {
            if let [Node::Range(list, body, is_closed)] = action.as_slice() {
                self.spend(1)?;
                for item in self.walk(list, vec![here])? {
                    self.block(body, item, out)?;
                }
                if !is_closed {
                    self.block(behind_last_end(body), here, out)?;
                }
                continue;
            }
            out.push(self.walk(action, vec![here])?);
        }
        Ok(())
    }

    fn walk<'a>(&self, nodes: &'a [Node], mut values: Vec<&'a Value>) -> Result<Vec<&'a Value>, String> {
        for node in nodes {
            values = self.step(node, values)?;
        }
        Ok(values)
    }

    fn step<'a>(&self, node: &'a Node, values: Vec<&'a Value>) -> Result<Vec<&'a Value>, String> {
        let mut found = vec![];
        match node {
            Node::Literal(value) => found.push(value),
            Node::Field(name) if name.is_empty() => return Ok(values),
            Node::Field(name) => {
                found.extend(values.iter().filter_map(|v| v.as_object()?.get(name)));
                if found.is_empty() && self.strict && !values.is_empty() {
                    return Err(format!("{name} is not found"));
                }
            }
            Node::Slice(start, end, derived, step) => {
                for value in values.iter().filter(|v| !v.is_null()) {
                    let Value::Array(list) = value else {
                        return Err(format!("{} is not array or slice", go_type(value)));
                    };
                    let part = slice(list, *start, *end, *derived, *step)?;
                    // As kubectl, which looks at no list behind one that it takes nothing of.
                    if part.is_empty() {
                        break;
                    }
                    found.extend(part);
                }
            }
            Node::Wildcard => values.iter().for_each(|v| found.extend(children(v))),
            Node::Recursive => {
                for value in values {
                    let visited = deep(value, &mut found);
                    self.spend(visited)?;
                }
            }
            Node::Union(paths) => {
                for path in paths {
                    self.spend(values.len())?;
                    found.extend(self.walk(path, values.clone())?);
                }
            }
            Node::Filter(left, op, right) => {
                for value in &values {
                    let Value::Array(list) = value else {
                        return Err(format!(
                            "{} is not array or slice and cannot be filtered",
                            gostr::plain(value)
                        ));
                    };
                    for item in list {
                        if self.holds(left, op, right, item)? {
                            found.push(item);
                        }
                    }
                }
            }
            Node::Range(..) => {}
        }
        self.spend(found.len() + 1)?;
        Ok(found)
    }

    /// Returns whether a filter keeps an item of a list. As in kubectl, a path that cannot be
    /// followed counts as one that leads somewhere: `[?(@.list[5])]` keeps an item whose list is
    /// shorter.
    fn holds(&self, left: &[Node], op: &str, right: &[Node], item: &Value) -> Result<bool, String> {
        if op == "exists" {
            let lenient = Walk { strict: false, ..*self };
            return match lenient.walk(left, vec![item]) {
                Ok(found) => Ok(!found.is_empty()),
                Err(why) if why == TOO_MUCH => Err(why),
                Err(_) => Ok(true),
            };
        }
        let Some(a) = self.side(left, item)? else { return Ok(false) };
        let Some(b) = self.side(right, item)? else { return Ok(false) };
        compare(op, a, b)
    }

    /// The value that one side of a comparison leads to; `None` if it leads nowhere.
    fn side<'a>(&self, nodes: &'a [Node], item: &'a Value) -> Result<Option<&'a Value>, String> {
        let found = self.walk(nodes, vec![item])?;
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => Err("can only compare one element at a time".into()),
        }
    }
}

/// Compares two values as the functions of Go's templates do: numbers without a fraction with such
/// numbers only, and truth values for equality only.
fn compare(op: &str, a: &Value, b: &Value) -> Result<bool, String> {
    const NO_TYPE: &str = "invalid type for comparison";
    let by_order: fn(Ordering) -> bool = match op {
        "==" => Ordering::is_eq,
        "!=" => Ordering::is_ne,
        "<" => Ordering::is_lt,
        ">" => Ordering::is_gt,
        "<=" => Ordering::is_le,
        ">=" => Ordering::is_ge,
        other => return Err(format!("unrecognized filter operator {other}")),
    };
    let is_basic = |value: &Value| matches!(value, Value::Bool(_) | Value::Number(_) | Value::String(_));
    if !is_basic(a) || !is_basic(b) {
        return Err(NO_TYPE.into());
    }
    let order = match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() == b.is_f64() => {
            let whole = a.as_i64().zip(b.as_i64()).map(|(a, b)| a.cmp(&b));
            whole.or_else(|| a.as_f64().partial_cmp(&b.as_f64())).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) if matches!(op, "==" | "!=") => a.cmp(b),
        (Value::Bool(_), Value::Bool(_)) => return Err(NO_TYPE.into()),
        _ => return Err("incompatible types for comparison".into()),
    };
    Ok(by_order(order))
}

/// Returns the actions that kubectl runs once more for a `{range}` without an `{end}`, now for the
/// object that it stands in: those behind the last `{end}` of another one.
fn behind_last_end(body: &[Vec<Node>]) -> &[Vec<Node>] {
    let is_closed = |action: &Vec<Node>| matches!(action.as_slice(), [Node::Range(_, _, true)]);
    let begin = body.iter().rposition(is_closed).map_or(0, |at| at + 1);
    &body[begin..]
}

/// One value as the template prints it.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => gojson::compact(value),
        Value::Null => "null".into(),
        other => gostr::plain(other),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "map[string]interface {}",
        Value::Array(_) => "[]interface {}",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::Null => "<nil>",
    }
}

/// `%#v`, roughly as kubectl shows the object in an error.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let pairs: Vec<String> =
                keys.iter().map(|k| format!("{}:{}", gostr::quote(k), go_syntax(&map[*k]))).collect();
            format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
        }
        Value::Array(list) => {
            format!("[]interface {{}}{{{}}}", list.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::String(s) => gostr::quote(s),
        Value::Null => "interface {}(nil)".into(),
        other => gostr::plain(other),
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => {
            let mut fields: Vec<(&String, &Value)> = map.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            fields.into_iter().map(|(_, field)| field).collect()
        }
        _ => vec![],
    }
}

/// Values and bytes of text in it.
fn weight(value: &Value) -> u64 {
    match value {
        Value::Array(list) => 1 + list.iter().map(weight).sum::<u64>(),
        Value::Object(map) => 1 + map.iter().map(|(k, v)| k.len() as u64 + weight(v)).sum::<u64>(),
        Value::String(text) => 1 + text.len() as u64,
        _ => 1,
    }
}

/// How many values are in it, itself among them.
fn size(value: &Value) -> u64 {
    match value {
        Value::Array(list) => 1 + list.iter().map(size).sum::<u64>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<u64>(),
        _ => 1,
    }
}

/// Finds the value and everything below it. As in kubectl, numbers, truth values and empty values
/// are not found. Returns how many values were visited.
fn deep<'a>(value: &'a Value, found: &mut Vec<&'a Value>) -> usize {
    let inner = children(value);
    let is_text = value.as_str().is_some_and(|text| !text.is_empty());
    if is_text || !inner.is_empty() {
        found.push(value);
    }
    1 + inner.into_iter().map(|child| deep(child, found)).sum::<usize>()
}

fn slice(
    list: &[Value],
    start: Option<i64>,
    end: Option<i64>,
    derived: bool,
    step: Option<i64>,
) -> Result<Vec<&Value>, String> {
    let len = list.len() as i64;
    let mut from = start.unwrap_or(0);
    if from < 0 {
        from += len;
    }
    let mut to = end.unwrap_or(len);
    if to < 0 || (to == 0 && derived) {
        to += len;
    }
    if from == to {
        return Ok(vec![]);
    }
    if from >= len || from < 0 {
        return Err(format!("array index out of bounds: index {from}, length {len}"));
    }
    if to > len || to < 0 {
        return Err(format!("array index out of bounds: index {}, length {len}", to - 1));
    }
    if from > to {
        return Err(format!("starting index {from} is greater than ending index {to}"));
    }
    let step = step.unwrap_or(1);
    if step <= 0 {
        return Err("step must be > 0".to_string());
    }
    Ok(list[from as usize..to as usize].iter().step_by(step as usize).collect())
}

#[cfg(test)]
mod tests;
