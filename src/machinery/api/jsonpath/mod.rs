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
        let root = parser.document(false)?;
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
                "error executing jsonpath {}: Error executing template: {why}. Printing more information for debugging the template:\n\ttemplate was:\n\t\t{}\n\tobject given to jsonpath engine was:\n\t\t{}\n\n",
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
            if let [Node::Range(list, body)] = action.as_slice() {
                for item in self.walk(list, vec![here])? {
                    self.block(body, item, out)?;
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
                if found.is_empty() && self.strict {
                    return Err(format!("{name} is not found"));
                }
            }
            Node::Slice(start, end, derived, step) => {
                for value in values.iter().filter(|v| !v.is_null()) {
                    let Value::Array(list) = value else {
                        return Err(format!("{} is not array or slice", go_type(value)));
                    };
                    found.extend(slice(list, *start, *end, *derived, *step)?);
                }
            }
            Node::Wildcard => values.iter().for_each(|v| found.extend(children(v))),
            Node::Recursive => {
                for value in values {
                    let before = found.len();
                    deep(value, &mut found);
                    self.spend(found.len() - before)?;
                }
            }
            Node::Union(paths) => {
                for path in paths {
                    self.spend(values.len())?;
                    found.extend(self.walk(path, values.clone())?);
                }
            }
            Node::Filter(left, op, right) => {
                for value in values.iter().filter(|v| !v.is_null()) {
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

    fn holds(&self, left: &[Node], op: &str, right: &[Node], item: &Value) -> Result<bool, String> {
        let lenient = Walk { strict: false, ..*self };
        let left = lenient.walk(left, vec![item])?;
        if op == "exists" {
            return Ok(!left.is_empty());
        }
        let right = lenient.walk(right, vec![item])?;
        let (Some(a), Some(b)) = (left.first(), right.first()) else { return Ok(false) };
        if left.len() > 1 || right.len() > 1 {
            return Err("can only compare one element at a time".into());
        }
        let order = match (*a, *b) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            _ => return Err("incompatible types for comparison".into()),
        };
        Ok(match op {
            "==" => order == Some(Ordering::Equal),
            "!=" => order != Some(Ordering::Equal),
            "<" => order == Some(Ordering::Less),
            ">" => order == Some(Ordering::Greater),
            "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            ">=" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            other => return Err(format!("unrecognized filter operator {other}")),
        })
    }
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

/// The value and everything below it.
fn deep<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(value);
    for child in children(value) {
        deep(child, found);
    }
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
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_of_everyday_use() {
        let object = json!({"kind": "List", "items": [
            {"metadata": {"name": "a", "labels": {"x.io/y": "1"}}, "n": 1, "c": [{"t": "Ready", "s": "True"}, {"t": "Z", "s": "F"}]},
            {"metadata": {"name": "b"}, "n": 2.5, "c": [{"t": "Ready", "s": "False"}]}]});
        for (template, want) in [
            ("{.kind}", "List"),
            ("kind={.kind}!", "kind=List!"),
            ("{.items[*].metadata.name}", "a b"),
            ("{.items[0].metadata.labels}", "{\"x.io/y\":\"1\"}"),
            ("{.items[0].metadata.labels.x\\.io/y}", "1"),
            ("{.items[0].metadata.labels['x\\.io/y']}", "1"),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{.n}{\"\\n\"}{end}", "a\t1\nb\t2.5\n"),
            ("{.items[?(@.n>1)].metadata.name}", "b"),
            ("{.items[0].c[?(@.t==\"Ready\")].s}", "True"),
            ("{.items[*].c[?(@.t=='Ready')].s}", "True False"),
            ("{.items[-1:].metadata.name}", "b"),
            ("{.items[-1].metadata.name}", "b"),
            ("{..name}", "a b"),
            ("{.items[*]['n','metadata.name']}", "1 2.5 a b"),
            ("{.missing.deep}", ""),
            ("{$.kind}", "List"),
            ("{.items[?(@.metadata.labels)].n}", "1"),
            ("{range .items[*]}[{.metadata.name}, {.n}] {end}", "[a, 1] [b, 2.5] "),
        ] {
            let parsed = JsonPath::parse(template).unwrap_or_else(|e| panic!("{template}: {e}"));
            assert_eq!(parsed.print(&object, false).unwrap(), want, "{template}");
        }
        let out_of_bounds = JsonPath::parse("{.items[5].n}").unwrap().print(&object, false).unwrap_err();
        assert!(out_of_bounds.contains("array index out of bounds: index 5, length 2"), "{out_of_bounds}");
        assert_eq!(JsonPath::parse("{.a").unwrap_err(), "unclosed action");
    }

    #[test]
    fn relaxed_paths_need_no_braces() {
        let object = json!({"a": {"b": 1}});
        for path in ["a.b", ".a.b", "{a.b}", "{.a.b}"] {
            assert_eq!(relaxed(path).unwrap().print(&object, false).unwrap(), "1", "{path}");
        }
        for wrong in ["{.a}{.b}", "{.a", ".a}", "{", "{}"] {
            assert!(relaxed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_template_that_nests_without_end_is_refused() {
        for deep in [
            format!("{{.a{}{}}}", "[?(@.b".repeat(20_000), ")]".repeat(20_000)),
            format!("{{.a{}{}}}", "['".repeat(20_000), "']".repeat(20_000)),
            "{range .a[*]}".repeat(20_000),
        ] {
            assert!(JsonPath::parse(&deep).is_err());
        }
        assert!(JsonPath::parse("{range .a[*]}{range .b[?(@.c[0].d==1)]}{.e}{end}{end}").is_ok());
    }

    #[test]
    fn the_largest_index_is_one_that_is_not_there() {
        let told = JsonPath::parse("{.a[9223372036854775807]}").unwrap().find(&json!({"a": [1, 2]}));
        assert_eq!(told.unwrap_err(), "array index out of bounds: index 9223372036854775807, length 2");
    }

    #[test]
    fn a_step_goes_forward() {
        let find = |path: &str| JsonPath::parse(path).unwrap().find(&json!({"a": [1, 2, 3]}));
        assert_eq!(find("{.a[0:3:2]}"), Ok(vec![vec![json!(1), json!(3)]]));
        for path in ["{.a[0:3:0]}", "{.a[::-1]}"] {
            assert_eq!(find(path), Err("step must be > 0".to_string()), "{path}");
        }
    }

    #[test]
    fn a_path_that_multiplies_ends_with_an_error() {
        let object = json!({"a": {"b": {"c": [{"d": 1}, {"e": {"f": [1, 2, 3]}}]}}});
        let all = JsonPath::parse("{..}").unwrap().find(&object).unwrap();
        assert_eq!(all[0].len() as u64, size(&object));
        let nested = (0..30).fold(json!(1), |inner, _| json!({"a": inner}));
        for (template, object) in [
            ("{.a".to_string() + &"..".repeat(200) + "}", &object),
            ("{".to_string() + &"['a','a']".repeat(30) + "}", &nested),
        ] {
            let told = JsonPath::parse(&template).unwrap().find(object);
            assert!(told.is_err_and(|e| e.contains("too many values")), "{template}");
        }
    }

    #[test]
    fn results_have_a_bound_together_and_are_copied_once() {
        let object = json!({"a": "x".repeat(100_000), "b": 1});
        let many = |n: usize| JsonPath::parse(&format!("{{[{}]}}", vec!["'a'"; n].join(","))).unwrap();
        let (few, much) = (many(50), many(2_500));
        assert_eq!(few.find(&object).unwrap()[0].len(), 50);
        let told = much.find(&object);
        assert!(told.is_err_and(|e| e.contains("too many values")));
        let found = much.find_in(&object).unwrap();
        assert!(found[0].len() == 2_500 && found[0].iter().all(|v| std::ptr::eq(*v, &object["a"])));
    }
}
