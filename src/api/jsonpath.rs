//! Kubernetes' JSONPath: `{range .items[*]}{.metadata.name}{"\n"}{end}`.

use super::{gojson, gostr};
use serde_json::Value;
use std::cmp::Ordering;

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Field(String),
    /// start, end, whether the end was derived from the start, step
    Slice(Option<i64>, Option<i64>, bool, Option<i64>),
    Wildcard,
    Recursive,
    Union(Vec<Vec<Node>>),
    Filter(Vec<Node>, String, Vec<Node>),
    Literal(Value),
    Range(Vec<Node>, Vec<Vec<Node>>),
}

/// A template that was understood.
#[derive(Clone, Debug)]
pub struct JsonPath {
    source: String,
    /// Each action or text.
    root: Vec<Vec<Node>>,
    /// A missing field is an error.
    pub strict: bool,
}

/// `.a.b`, `a.b` and `{.a.b}` alike, as custom columns and `--sort-by` take them. The error is kubectl's.
pub fn relaxed(expression: &str) -> Result<JsonPath, String> {
    if expression.is_empty() {
        return JsonPath::parse(expression);
    }
    let inner = expression.strip_prefix('{').map_or(expression, |e| e.strip_suffix('}').unwrap_or(e));
    let inner = inner.strip_prefix('.').unwrap_or(inner);
    if inner.contains('{') || (inner.contains('}') && !inner.contains("{")) || inner.is_empty() {
        return Err("unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'".into());
    }
    JsonPath::parse(&format!("{{.{inner}}}"))
}

impl JsonPath {
    pub fn parse(source: &str) -> Result<JsonPath, String> {
        let mut parser = Parser { text: source.chars().collect(), at: 0 };
        let root = parser.document(false)?;
        Ok(JsonPath { source: source.to_string(), root, strict: false })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What each action finds.
    pub fn find<'a>(&'a self, object: &'a Value) -> Result<Vec<Vec<Value>>, String> {
        let mut found = vec![];
        self.block(&self.root, object, &mut found)?;
        Ok(found)
    }

    /// The text that `-o jsonpath` prints. The error is kubectl's.
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

    fn block(&self, actions: &[Vec<Node>], here: &Value, out: &mut Vec<Vec<Value>>) -> Result<(), String> {
        for action in actions {
            if let [Node::Range(list, body)] = action.as_slice() {
                for item in self.walk(list, vec![here.clone()], here)? {
                    self.block(body, &item, out)?;
                }
                continue;
            }
            out.push(self.walk(action, vec![here.clone()], here)?);
        }
        Ok(())
    }

    fn walk(&self, nodes: &[Node], mut values: Vec<Value>, root: &Value) -> Result<Vec<Value>, String> {
        for node in nodes {
            values = self.step(node, values, root)?;
        }
        Ok(values)
    }

    fn step(&self, node: &Node, values: Vec<Value>, root: &Value) -> Result<Vec<Value>, String> {
        let mut found = vec![];
        match node {
            Node::Text(text) => found.push(Value::String(text.clone())),
            Node::Literal(value) => found.push(value.clone()),
            Node::Field(name) if name.is_empty() => return Ok(values),
            Node::Field(name) => {
                found.extend(values.iter().filter_map(|v| v.as_object()?.get(name)).cloned());
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
            Node::Recursive => values.iter().for_each(|v| deep(v, &mut found)),
            Node::Union(paths) => {
                for path in paths {
                    found.extend(self.walk(path, values.clone(), root)?);
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
                            found.push(item.clone());
                        }
                    }
                }
            }
            Node::Range(..) => {}
        }
        Ok(found)
    }

    fn holds(&self, left: &[Node], op: &str, right: &[Node], item: &Value) -> Result<bool, String> {
        let lenient = JsonPath { strict: false, ..self.clone() };
        let left = lenient.walk(left, vec![item.clone()], item)?;
        if op == "exists" {
            return Ok(!left.is_empty());
        }
        let right = lenient.walk(right, vec![item.clone()], item)?;
        let (Some(a), Some(b)) = (left.first(), right.first()) else { return Ok(false) };
        if left.len() > 1 || right.len() > 1 {
            return Err("can only compare one element at a time".into());
        }
        let order = match (a, b) {
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

fn children(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list.clone(),
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            keys.into_iter().map(|k| map[k].clone()).collect()
        }
        _ => vec![],
    }
}

/// The value and everything below it.
fn deep(value: &Value, found: &mut Vec<Value>) {
    found.push(value.clone());
    for child in children(value) {
        deep(&child, found);
    }
}

fn slice(
    list: &[Value],
    start: Option<i64>,
    end: Option<i64>,
    derived: bool,
    step: Option<i64>,
) -> Result<Vec<Value>, String> {
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
    let step = step.unwrap_or(1).max(1) as usize;
    Ok(list[from as usize..to as usize].iter().step_by(step).cloned().collect())
}

struct Parser {
    text: Vec<char>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
    }

    /// Texts and actions up to the end, or to `{end}` if `nested`.
    fn document(&mut self, nested: bool) -> Result<Vec<Vec<Node>>, String> {
        let mut found = vec![];
        let mut text = String::new();
        while let Some(c) = self.next() {
            if c != '{' {
                text.push(c);
                continue;
            }
            if !text.is_empty() {
                found.push(vec![Node::Text(std::mem::take(&mut text))]);
            }
            self.skip_spaces();
            let word = self.word();
            match word.as_str() {
                "end" => {
                    self.close()?;
                    if nested {
                        return Ok(found);
                    }
                    return Err("not in range, nothing to end".into());
                }
                "range" => {
                    self.skip_spaces();
                    let list = self.path(&['}'])?;
                    self.close()?;
                    let body = self.document(true)?;
                    found.push(vec![Node::Range(list, body)]);
                }
                "" => loop {
                    // One action may hold several expressions: {.a "text" .b}
                    let nodes = self.path(&['}', ' '])?;
                    found.push(nodes);
                    self.skip_spaces();
                    if self.peek() == Some('}') {
                        self.close()?;
                        break;
                    }
                    if self.peek().is_none() {
                        return Err("unclosed action".into());
                    }
                },
                _ => {
                    self.at -= word.chars().count();
                    let nodes = self.path(&['}'])?;
                    self.close()?;
                    found.push(nodes);
                }
            }
        }
        if nested {
            return Err("unterminated range: missing {end}".into());
        }
        if !text.is_empty() {
            found.push(vec![Node::Text(text)]);
        }
        Ok(found)
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            self.at += 1;
        }
        self.text[start..self.at].iter().collect()
    }

    fn close(&mut self) -> Result<(), String> {
        self.skip_spaces();
        match self.next() {
            Some('}') => Ok(()),
            _ => Err("unclosed action".into()),
        }
    }

    /// One expression, up to one of `ends` (not consumed).
    fn path(&mut self, ends: &[char]) -> Result<Vec<Node>, String> {
        let mut nodes = vec![];
        self.skip_spaces();
        while let Some(c) = self.peek() {
            if ends.contains(&c) {
                return Ok(nodes);
            }
            match c {
                '.' => {
                    self.at += 1;
                    if self.peek() == Some('.') {
                        self.at += 1;
                        nodes.push(Node::Recursive);
                        if self.peek().is_some_and(|c| c != '[' && c != '*') {
                            self.field(&mut nodes, ends)?;
                        }
                        continue;
                    }
                    self.field(&mut nodes, ends)?;
                }
                '[' => {
                    self.at += 1;
                    let inside = self.bracket()?;
                    nodes.push(bracketed(&inside)?);
                }
                '"' | '\'' => nodes.push(Node::Text(self.quoted()?)),
                '$' | '@' => self.at += 1,
                '*' => {
                    self.at += 1;
                    nodes.push(Node::Wildcard);
                }
                c if c.is_whitespace() => self.at += 1,
                c if c.is_ascii_digit() || c == '-' || c == '+' => nodes.push(self.number(ends)?),
                c if c.is_ascii_alphabetic() => {
                    let word = self.word();
                    match word.as_str() {
                        "true" => nodes.push(Node::Literal(true.into())),
                        "false" => nodes.push(Node::Literal(false.into())),
                        "null" => nodes.push(Node::Literal(Value::Null)),
                        word => return Err(format!("unrecognized identifier {word}")),
                    }
                }
                c => return Err(format!("unrecognized character in action: U+{:04X} '{c}'", c as u32)),
            }
        }
        Ok(nodes)
    }

    fn field(&mut self, nodes: &mut Vec<Node>, ends: &[char]) -> Result<(), String> {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.at += 1;
                    name.extend(self.next());
                }
                '.' | '[' | ' ' | '\t' | '\n' | '=' | '!' | '<' | '>' | '(' | ')' | '|' | '*' => break,
                c if ends.contains(&c) || c == '}' => break,
                c => {
                    name.push(c);
                    self.at += 1;
                }
            }
        }
        if name.is_empty() && self.peek() == Some('*') {
            self.at += 1;
            nodes.push(Node::Wildcard);
        } else if !name.is_empty() {
            nodes.push(Node::Field(name));
        }
        Ok(())
    }

    /// What stands between `[` and its `]`.
    fn bracket(&mut self) -> Result<String, String> {
        let (mut depth, mut quote, mut inside) = (1, None, String::new());
        while let Some(c) = self.next() {
            match (c, quote) {
                ('\\', Some(_)) => {
                    inside.push(c);
                    inside.extend(self.next());
                    continue;
                }
                (c, Some(q)) if c == q => quote = None,
                (_, Some(_)) => {}
                ('"' | '\'', None) => quote = Some(c),
                ('[', None) => depth += 1,
                (']', None) => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(inside);
            }
            inside.push(c);
        }
        Err("unterminated array".into())
    }

    fn quoted(&mut self) -> Result<String, String> {
        let quote = self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err("unterminated quoted string".into()),
                Some('\\') => text.push(match self.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(c) => c,
                    None => return Err("unterminated quoted string".into()),
                }),
                c if c == quote => return Ok(text),
                Some(c) => text.push(c),
            }
        }
    }

    fn number(&mut self, ends: &[char]) -> Result<Node, String> {
        let start = self.at;
        while self.peek().is_some_and(|c| !ends.contains(&c) && !c.is_whitespace() && c != ')') {
            self.at += 1;
        }
        let text: String = self.text[start..self.at].iter().collect();
        if let Ok(i) = text.parse::<i64>() {
            return Ok(Node::Literal(i.into()));
        }
        text.parse::<f64>()
            .map(|f| Node::Literal(f.into()))
            .map_err(|_| format!("cannot parse number {text}"))
    }
}

/// `0`, `-1:`, `*`, `'a','b'`, `?(@.x=="y")`
fn bracketed(inside: &str) -> Result<Node, String> {
    let inside = inside.trim();
    if inside == "*" {
        return Ok(Node::Wildcard);
    }
    if let Some(filter) = inside.strip_prefix("?(") {
        let Some(filter) = filter.strip_suffix(')') else { return Err("unterminated filter".into()) };
        return filtered(filter);
    }
    let parts = split(inside, ',');
    if parts.len() > 1 {
        let paths = parts.iter().map(|p| bracketed(p).map(|n| vec![n])).collect::<Result<_, _>>()?;
        return Ok(Node::Union(paths));
    }
    for quote in ['\'', '"'] {
        if let Some(key) = inside.strip_prefix(quote).and_then(|k| k.strip_suffix(quote)) {
            let mut parser = Parser { text: format!(".{key}").chars().collect(), at: 0 };
            let mut nodes = parser.path(&[])?;
            return Ok(match nodes.len() {
                1 => nodes.remove(0),
                _ => Node::Union(vec![nodes]),
            });
        }
    }
    let bad = || format!("invalid array index {inside}");
    let numbers: Vec<Option<i64>> = inside
        .split(':')
        .map(|n| match n.trim() {
            "" => Ok(None),
            n => n.parse().map(Some).map_err(|_| bad()),
        })
        .collect::<Result<_, _>>()?;
    match numbers.as_slice() {
        [Some(index)] => Ok(Node::Slice(Some(*index), Some(index + 1), true, None)),
        [start, end] => Ok(Node::Slice(*start, *end, false, None)),
        [start, end, step] => Ok(Node::Slice(*start, *end, false, *step)),
        _ => Err(bad()),
    }
}

/// Splits outside quotes and brackets.
fn split(text: &str, at: char) -> Vec<String> {
    let (mut parts, mut quote, mut depth) = (vec![String::new()], None, 0);
    for c in text.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(c),
            ('[' | '(', None) => depth += 1,
            (']' | ')', None) => depth -= 1,
            _ => {}
        }
        if c == at && quote.is_none() && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

fn filtered(text: &str) -> Result<Node, String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut quote, mut depth) = (None, 0);
    let expression = |part: &[char]| {
        let mut parser = Parser { text: part.to_vec(), at: 0 };
        parser.path(&[])
    };
    for (i, c) in chars.iter().enumerate() {
        match (*c, quote) {
            (c, Some(q)) if c == q && chars.get(i.wrapping_sub(1)) != Some(&'\\') => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(*c),
            ('[' | '(', None) => depth += 1,
            (']' | ')', None) => depth -= 1,
            ('=' | '!' | '<' | '>', None) if depth == 0 => {
                let long = chars.get(i + 1) == Some(&'=');
                let op: String = chars[i..i + 1 + usize::from(long)].iter().collect();
                return Ok(Node::Filter(
                    expression(&chars[..i])?,
                    op.clone(),
                    expression(&chars[i + op.len()..])?,
                ));
            }
            _ => {}
        }
    }
    Ok(Node::Filter(expression(&chars)?, "exists".into(), vec![]))
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
        assert!(relaxed("{.a}{.b}").is_err());
    }
}
