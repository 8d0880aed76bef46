//! Kubernetes' JSONPath: `{range .items[*]}{.metadata.name}{"\n"}{end}`. It finds and refuses what
//! client-go's `util/jsonpath` does, also where that is odd.

mod found;
mod parse;

use super::{gojson, gostr};
use found::Found;
use parse::Node;
use serde_json::Value;
use std::cell::Cell;
use std::cmp::Ordering;

/// Values that a template may come to, for each one of the object: a hundred actions over all of it
/// are ten times less. Only `..` behind `..` comes to more, and multiplies with each. (16 bytes
/// each, while they are collected.)
const VALUES_EACH: u64 = 1000;
/// Values that a template may come to, however small the object is.
const VALUES_LEAST: u64 = 10_000;
/// Values and bytes of text that the results may have together, for each one of the object.
const RESULTS_EACH: u64 = 100;
/// Values and bytes that the results may have together, however small the object is.
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
    // A dot alone is a name, so `.` is `{..}`.
    let inner = inner.strip_prefix('.').filter(|name| !name.is_empty()).unwrap_or(inner);
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
        Ok(JsonPath { source: source.to_string(), root: parse::template(source)?, strict: false })
    }

    /// Returns the template as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns what each action finds, copied.
    ///
    /// # Errors
    /// kubectl's; or the template comes to more than [`VALUES_EACH`] values for each one of the
    /// object; or the results together have more than [`RESULTS_EACH`] times what
    /// the object has.
    pub fn find(&self, object: &Value) -> Result<Vec<Vec<Value>>, String> {
        let found = self.find_in(object, VALUES_EACH)?;
        let mut left = RESULTS_EACH.saturating_mul(weight(object)).saturating_add(RESULTS_LEAST);
        for value in found.iter().flatten() {
            left = left.checked_sub(weight(value)).ok_or(TOO_MUCH)?;
        }
        Ok(found.into_iter().map(|action| action.into_iter().cloned().collect()).collect())
    }

    /// Returns what each action finds. No value is copied: each one is a part of the object or of
    /// the template.
    ///
    /// # Errors
    /// kubectl's; or the template comes to more than `each` values for each one of the object.
    pub(crate) fn find_in<'a>(&'a self, object: &'a Value, each: u64) -> Result<Vec<Vec<&'a Value>>, String> {
        let mut found = vec![];
        let left = Cell::new(each.saturating_mul(size(object)).saturating_add(VALUES_LEAST));
        let walk = Walk { strict: self.strict, left: &left, ranges: &Ranges::default(), is_mute: false };
        walk.block(&self.root, 0, Found::In(object), &mut found).map_err(Failure::words)?;
        Ok(found.into_iter().map(|action| action.into_iter().map(Found::value).collect()).collect())
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
                if object.is_object() { gostr::syntax(object) } else { plain },
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

/// Why an evaluation ends.
enum Failure {
    TooMuch,
    /// kubectl's words, and whether its evaluation has values at this moment all the same: a
    /// filter that asks whether there is something takes them for an answer.
    Told(String, bool),
}

impl Failure {
    fn words(self) -> String {
        match self {
            Failure::TooMuch => TOO_MUCH.into(),
            Failure::Told(why, _) => why,
        }
    }

    /// Returns the same failure of a step that leaves values, or none.
    fn leaving(self, values: bool) -> Failure {
        match self {
            Failure::TooMuch => Failure::TooMuch,
            Failure::Told(why, _) => Failure::Told(why, values),
        }
    }
}

/// Where an evaluation stands in its ranges. As in kubectl, `range` and `end` are no brackets but
/// words that are counted when they are reached: a `range` that nothing ends goes on to the end of
/// the template, and the object around it goes over the same actions once more.
#[derive(Default)]
struct Ranges {
    /// Ranges whose action was reached, and that did not begin yet.
    begun: Cell<usize>,
    open: Cell<usize>,
    /// `end`s that were reached, and whose ranges did not end yet.
    ended: Cell<usize>,
    /// The action with the last `end`.
    last_end: Cell<Option<usize>>,
}

/// One evaluation of a template.
#[derive(Clone, Copy)]
struct Walk<'w> {
    strict: bool,
    /// Values that it may still come to.
    left: &'w Cell<u64>,
    ranges: &'w Ranges,
    /// The words of a failure are dropped. Those of a filter hold a whole value, and a filter in
    /// the path of another one may fail for each item.
    is_mute: bool,
}

impl Walk<'_> {
    /// Takes note of values that were found, or are gone over. A step notes them before it collects
    /// them: ten thousand copies of a list, or of a text with its bytes, would fill the memory.
    fn spend(&self, found: usize) -> Result<(), Failure> {
        let left = self.left.get().checked_sub(found as u64);
        self.left.set(left.ok_or(Failure::TooMuch)?);
        Ok(())
    }

    /// Goes over the actions from `first` on, to the end of a range or of the template.
    fn block<'a>(
        &self,
        actions: &'a [Vec<Node>],
        first: usize,
        here: Found<'a>,
        out: &mut Vec<Vec<Found<'a>>>,
    ) -> Result<(), Failure> {
        let Ranges { begun, open, ended, last_end } = self.ranges;
        let mut at = first;
        while let Some(action) = actions.get(at) {
            self.spend(1)?;
            let found = self.walk(action, vec![here])?;
            if (1..=open.get()).contains(&ended.get()) {
                ended.set(ended.get() - 1);
                last_end.set(Some(at));
                return Ok(());
            }
            if begun.get() == 0 {
                out.push(found);
                at += 1;
                continue;
            }
            if open.get() == parse::DEPTH_MAX {
                return Err(Failure::Told(parse::too_deep(), false));
            }
            begun.set(begun.get() - 1);
            open.set(open.get() + 1);
            // Over nothing the actions are gone over too: only this finds the `end`.
            if found.is_empty() {
                self.block(actions, at + 1, Found::Nothing, &mut vec![])?;
            }
            for value in found {
                self.block(actions, at + 1, value.in_range(), out)?;
            }
            open.set(open.get() - 1);
            at = last_end.get().filter(|end| *end > at).unwrap_or(at) + 1;
        }
        Ok(())
    }

    fn walk<'a>(&self, nodes: &'a [Node], mut values: Vec<Found<'a>>) -> Result<Vec<Found<'a>>, Failure> {
        for node in nodes {
            values = self.step(node, values)?;
        }
        Ok(values)
    }

    fn step<'a>(&self, node: &'a Node, values: Vec<Found<'a>>) -> Result<Vec<Found<'a>>, Failure> {
        let mut found = vec![];
        match node {
            Node::Text(text) => found.push(Found::In(text)),
            Node::Int(int) => found.resize(values.len(), Found::Int(int)),
            Node::Constant(value) => found.resize(values.len(), Found::In(value)),
            Node::Identifier(word) => return self.word(word, values),
            Node::Field(name) => {
                found.extend(values.iter().filter_map(|v| v.value().as_object()?.get(name)).map(Found::In));
                if found.is_empty() && self.strict && !values.is_empty() {
                    return Err(Failure::Told(format!("{name} is not found"), false));
                }
            }
            Node::Slice(start, end, derived, step) => {
                for value in values.iter().filter(|v| !v.is_null()) {
                    let Value::Array(list) = value.value() else {
                        let why = format!("{} is not array or slice", value.go_type());
                        return Err(Failure::Told(why, true));
                    };
                    let part = slice(list, *start, *end, *derived, *step);
                    let part = part.map_err(|why| Failure::Told(why, true))?;
                    // As kubectl, which looks at no list behind one that it takes nothing of.
                    if part.is_empty() {
                        break;
                    }
                    self.spend(part.len())?;
                    found.extend(part.into_iter().map(Found::In));
                }
            }
            Node::Wildcard => {
                for value in &values {
                    let children = value.children();
                    self.spend(children.len())?;
                    found.extend(children);
                }
            }
            Node::Recursive => {
                for value in values {
                    let visited = deep(value, &mut found);
                    self.spend(visited)?;
                }
            }
            Node::Union(paths) => {
                for path in paths {
                    self.spend(values.len())?;
                    let part = self.walk(path, values.clone());
                    found.extend(part.map_err(|why| why.leaving(!values.is_empty()))?);
                }
            }
            Node::Filter(left, op, right) => {
                for value in &values {
                    self.filter(left, op, right, *value, &mut found)?;
                }
            }
        }
        self.spend(found.len() + 1)?;
        Ok(found)
    }

    /// Counts a `range` or an `end`.
    fn word<'a>(&self, word: &str, values: Vec<Found<'a>>) -> Result<Vec<Found<'a>>, Failure> {
        match word {
            "range" => {
                self.ranges.begun.set(self.ranges.begun.get() + 1);
                Ok(values)
            }
            "end" if self.ranges.open.get() > 0 => {
                self.ranges.ended.set(self.ranges.ended.get() + 1);
                Ok(vec![])
            }
            "end" => Err(Failure::Told("not in range, nothing to end".into(), false)),
            _ => Err(Failure::Told(format!("unrecognized identifier {word}"), !values.is_empty())),
        }
    }

    /// Takes the items of a list that a filter keeps.
    fn filter<'a>(
        &self,
        left: &[Node],
        op: &str,
        right: &[Node],
        value: Found<'a>,
        found: &mut Vec<Found<'a>>,
    ) -> Result<(), Failure> {
        let Value::Array(list) = value.value() else {
            let plain = if self.is_mute { String::new() } else { value.plain() };
            let why = format!("{plain} is not array or slice and cannot be filtered");
            return Err(Failure::Told(why, true));
        };
        for item in list {
            self.spend(1)?;
            if op == "exists" {
                // As in kubectl, a path that cannot be followed counts as one that leads somewhere:
                // `[?(@.list[5])]` keeps an item whose list is shorter.
                let walk = Walk { is_mute: true, ..*self };
                let is_kept = match walk.walk(left, vec![Found::In(item)]) {
                    Ok(values) => !values.is_empty(),
                    Err(Failure::Told(_, leaves_values)) => leaves_values,
                    Err(Failure::TooMuch) => return Err(Failure::TooMuch),
                };
                found.extend(is_kept.then_some(Found::In(item)));
                continue;
            }
            let Some(a) = self.side(left, item)? else { continue };
            let Some(b) = self.side(right, item)? else { continue };
            let is_kept = compare(op, a, b).map_err(|why| Failure::Told(why, !found.is_empty()))?;
            found.extend(is_kept.then_some(Found::In(item)));
        }
        Ok(())
    }

    /// Returns the value that one side of a comparison leads to; `None` if it leads nowhere.
    fn side<'a>(&self, nodes: &'a [Node], item: &'a Value) -> Result<Option<&'a Value>, Failure> {
        let found = self.walk(nodes, vec![Found::In(item)]).map_err(|why| why.leaving(true))?;
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.value())),
            _ => Err(Failure::Told("can only compare one element at a time".into(), true)),
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

/// Returns one value as the template prints it.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => gojson::compact(value),
        Value::Null => "null".into(),
        other => gostr::plain(other),
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

/// Returns how many values a value has in it, itself among them.
fn size(value: &Value) -> u64 {
    match value {
        Value::Array(list) => 1 + list.iter().map(size).sum::<u64>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<u64>(),
        _ => 1,
    }
}

/// Finds the value and everything below it. As in kubectl, numbers, truth values and empty values
/// are not found. Returns how many values were visited.
fn deep<'a>(value: Found<'a>, found: &mut Vec<Found<'a>>) -> usize {
    // Below a text are its bytes, which are numbers.
    if let Found::In(Value::String(text)) = value {
        found.extend((!text.is_empty()).then_some(value));
        return 1;
    }
    let inner = value.children();
    found.extend((!inner.is_empty()).then_some(value));
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
