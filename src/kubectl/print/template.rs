//! `-o go-template`: the part of Go's text/template that people use with kubectl.

use crate::kubectl::gostr;
use serde_json::Value;
use std::cmp::Ordering;

#[derive(Debug, Clone)]
enum Node {
    Text(String),
    /// A pipeline whose value is printed; with a variable it is kept instead.
    Print(Option<String>, Pipe),
    If(Pipe, Vec<Node>, Vec<Node>),
    With(Pipe, Vec<Node>, Vec<Node>),
    /// key variable, value variable
    Range(Option<String>, Option<String>, Pipe, Vec<Node>, Vec<Node>),
    Break,
    Continue,
}

type Pipe = Vec<Vec<Term>>;

#[derive(Debug, Clone)]
enum Term {
    /// `.a.b`
    Dot(Vec<String>),
    /// `$`, `$x.a`
    Var(String, Vec<String>),
    Word(String),
    Literal(Value),
    /// `(pipe).a`
    Group(Pipe, Vec<String>),
}

pub struct Template {
    source: String,
    nodes: Vec<Node>,
}

enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    root: &'a Value,
    vars: Vec<(String, Value)>,
    out: String,
}

impl Template {
    /// The error is kubectl's.
    pub fn parse(source: &str) -> Result<Template, String> {
        let mut tokens = tokens(source)?.into_iter().peekable();
        let (nodes, end) = block(&mut tokens)?;
        match end.as_str() {
            "" => Ok(Template { source: source.into(), nodes }),
            end => Err(format!("template: output:1: unexpected {{{{{end}}}}}")),
        }
    }

    pub fn print(&self, object: &Value) -> Result<String, String> {
        let mut run = Run { root: object, vars: vec![], out: String::new() };
        match run.nodes(&self.nodes, object) {
            Ok(_) => Ok(run.out),
            Err(why) => Err(format!(
                "error executing template {}: template: output:1:2: {why}",
                gostr::quote(&self.source)
            )),
        }
    }
}

/// Texts and actions; `{{-` and `-}}` trim.
fn tokens(source: &str) -> Result<Vec<Result<String, String>>, String> {
    let (mut found, mut rest, mut trim) = (vec![], source, false);
    while let Some(start) = rest.find("{{") {
        let mut text = &rest[..start];
        let after = &rest[start + 2..];
        if trim {
            text = text.trim_start();
        }
        let trims = after.starts_with("- ");
        if trims {
            text = text.trim_end();
        }
        if !text.is_empty() {
            found.push(Ok(text.to_string()));
        }
        let end = action_end(after).ok_or("template: output:1: unclosed action")?;
        let mut action = &after[if trims { 1 } else { 0 }..end];
        trim = action.ends_with(" -");
        if trim {
            action = &action[..action.len() - 1];
        }
        if !action.trim().starts_with("/*") {
            found.push(Err(action.trim().to_string()));
        }
        rest = &after[end + 2..];
    }
    let text = if trim { rest.trim_start() } else { rest };
    if !text.is_empty() {
        found.push(Ok(text.to_string()));
    }
    Ok(found)
}

fn action_end(text: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (i, c) in text.char_indices() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', Some('"')) => escaped = true,
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('"' | '`', None) => quote = Some(c),
            ('}', None) if text[i..].starts_with("}}") => return Some(i),
            _ => {}
        }
    }
    None
}

type Tokens = std::iter::Peekable<std::vec::IntoIter<Result<String, String>>>;

/// Nodes up to `end` or `else`, which is returned (with what follows it).
fn block(tokens: &mut Tokens) -> Result<(Vec<Node>, String), String> {
    let mut nodes = vec![];
    while let Some(token) = tokens.next() {
        let action = match token {
            Ok(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Err(action) => action,
        };
        let (word, rest) = action.split_once(char::is_whitespace).unwrap_or((&action, ""));
        let rest = rest.trim();
        match word {
            "end" | "else" => return Ok((nodes, action.clone())),
            "break" => nodes.push(Node::Break),
            "continue" => nodes.push(Node::Continue),
            "if" | "with" | "range" => nodes.push(control(word, rest, tokens)?),
            _ => {
                let (var, pipe) = assigned(&action)?;
                nodes.push(Node::Print(var, pipe));
            }
        }
    }
    Ok((nodes, String::new()))
}

fn control(word: &str, rest: &str, tokens: &mut Tokens) -> Result<Node, String> {
    let (body, end) = block(tokens)?;
    let otherwise = match end.strip_prefix("else").map(str::trim) {
        Some("") => {
            let (nodes, end) = block(tokens)?;
            if end != "end" {
                return Err("template: output:1: unexpected EOF".into());
            }
            nodes
        }
        Some(next) => {
            let (word, rest) = next.split_once(char::is_whitespace).unwrap_or((next, ""));
            vec![control(word, rest.trim(), tokens)?]
        }
        None if end == "end" => vec![],
        None => return Err("template: output:1: unexpected EOF".into()),
    };
    Ok(match word {
        "if" => Node::If(assigned(rest)?.1, body, otherwise),
        "with" => Node::With(assigned(rest)?.1, body, otherwise),
        _ => {
            let (names, text) = match rest.split_once(":=") {
                Some((names, text)) if rest.starts_with('$') => (names, text),
                _ => ("", rest),
            };
            let mut names: Vec<String> =
                names.split(',').map(|n| n.trim().to_string()).filter(|n| !n.is_empty()).collect();
            let value = names.pop();
            Node::Range(names.pop(), value, pipe(text)?, body, otherwise)
        }
    })
}

fn assigned(text: &str) -> Result<(Option<String>, Pipe), String> {
    if text.starts_with('$')
        && let Some((name, value)) = text.split_once('=')
        && name.trim_end_matches(':').trim().chars().skip(1).all(char::is_alphanumeric)
    {
        return Ok((Some(name.trim_end_matches(':').trim().to_string()), pipe(value)?));
    }
    Ok((None, pipe(text)?))
}

fn pipe(text: &str) -> Result<Pipe, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    let found = pipe_at(&chars, &mut at)?;
    if at < chars.len() {
        return Err(format!("template: output:1: unexpected {:?} in operand", chars[at]));
    }
    Ok(found)
}

fn pipe_at(chars: &[char], at: &mut usize) -> Result<Pipe, String> {
    let mut commands: Pipe = vec![vec![]];
    while let Some(c) = chars.get(*at).copied() {
        match c {
            ')' => break,
            c if c.is_whitespace() => *at += 1,
            '|' => {
                *at += 1;
                commands.push(vec![]);
            }
            _ => {
                let term = term(chars, at)?;
                if let Some(last) = commands.last_mut() {
                    last.push(term);
                }
            }
        }
    }
    if commands.iter().any(Vec::is_empty) {
        return Err("template: output:1: missing value for command".into());
    }
    Ok(commands)
}

fn name(chars: &[char], at: &mut usize) -> String {
    let start = *at;
    while chars.get(*at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
        *at += 1;
    }
    chars[start..*at].iter().collect()
}

fn fields(chars: &[char], at: &mut usize) -> Vec<String> {
    let mut found = vec![];
    while chars.get(*at) == Some(&'.') {
        *at += 1;
        let field = name(chars, at);
        if !field.is_empty() {
            found.push(field);
        }
    }
    found
}

fn term(chars: &[char], at: &mut usize) -> Result<Term, String> {
    match chars[*at] {
        '.' => Ok(Term::Dot(fields(chars, at))),
        '$' => {
            *at += 1;
            let var = name(chars, at);
            Ok(Term::Var(format!("${var}"), fields(chars, at)))
        }
        '(' => {
            *at += 1;
            let inner = pipe_at(chars, at)?;
            if chars.get(*at) != Some(&')') {
                return Err("template: output:1: unclosed left paren".into());
            }
            *at += 1;
            Ok(Term::Group(inner, fields(chars, at)))
        }
        '`' => {
            let rest = &chars[*at + 1..];
            let end = rest
                .iter()
                .position(|c| *c == '`')
                .ok_or("template: output:1: unterminated raw quoted string")?;
            *at += end + 2;
            Ok(Term::Literal(rest[..end].iter().collect::<String>().into()))
        }
        '"' => {
            *at += 1;
            let mut text = String::new();
            loop {
                let c = chars.get(*at).copied();
                *at += 1;
                match c {
                    None => return Err("template: output:1: unterminated quoted string".into()),
                    Some('"') => return Ok(Term::Literal(text.into())),
                    Some('\\') => {
                        let c = chars.get(*at).copied().unwrap_or('\\');
                        *at += 1;
                        text.push(match c {
                            'n' => '\n',
                            't' => '\t',
                            'r' => '\r',
                            c => c,
                        });
                    }
                    Some(c) => text.push(c),
                }
            }
        }
        c if c.is_ascii_digit() || c == '-' || c == '+' => {
            let start = *at;
            *at += 1;
            while chars.get(*at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '.') {
                *at += 1;
            }
            let text: String = chars[start..*at].iter().collect();
            if let Ok(i) = text.parse::<i64>() {
                return Ok(Term::Literal(i.into()));
            }
            text.parse::<f64>()
                .map(|f| Term::Literal(f.into()))
                .map_err(|_| format!("template: output:1: bad number syntax: {}", gostr::quote(&text)))
        }
        c if c.is_alphabetic() => match name(chars, at).as_str() {
            "true" => Ok(Term::Literal(true.into())),
            "false" => Ok(Term::Literal(false.into())),
            "nil" => Ok(Term::Literal(Value::Null)),
            word if FUNCTIONS.contains(&word) => Ok(Term::Word(word.into())),
            word => Err(format!("template: output:1: function {} not defined", gostr::quote(word))),
        },
        c => Err(format!("template: output:1: unexpected {c:?} in command")),
    }
}

const FUNCTIONS: [&str; 19] = [
    "and",
    "or",
    "not",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "len",
    "index",
    "print",
    "printf",
    "println",
    "exists",
    "base64decode",
    "html",
    "js",
    "slice",
];

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        other => gostr::plain(other),
    }
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, String> {
        let depth = self.vars.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if !matches!(flow, Flow::On) {
                break;
            }
        }
        self.vars.truncate(depth);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, String> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Print(var, pipe) => {
                let value = self.pipe(pipe, dot)?;
                match var {
                    None => self.out.push_str(&printed(&value)),
                    Some(name) => match self.vars.iter_mut().rev().find(|(n, _)| n == name) {
                        Some(known) => known.1 = value,
                        None => self.vars.push((name.clone(), value)),
                    },
                }
            }
            Node::If(pipe, yes, no) => {
                let branch = if truth(&self.pipe(pipe, dot)?) { yes } else { no };
                return self.nodes(branch, dot);
            }
            Node::With(pipe, yes, no) => {
                let value = self.pipe(pipe, dot)?;
                return if truth(&value) { self.nodes(yes, &value) } else { self.nodes(no, dot) };
            }
            Node::Range(key, name, pipe, body, otherwise) => {
                let value = self.pipe(pipe, dot)?;
                let pairs: Vec<(Value, Value)> = match value {
                    Value::Array(list) => list.into_iter().enumerate().map(|(i, v)| (i.into(), v)).collect(),
                    Value::Object(map) => {
                        let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
                        pairs.sort_by(|a, b| a.0.cmp(&b.0));
                        pairs.into_iter().map(|(k, v)| (k.into(), v)).collect()
                    }
                    Value::Null => vec![],
                    other => return Err(format!("range can't iterate over {}", gostr::plain(&other))),
                };
                if pairs.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                for (k, v) in pairs {
                    let depth = self.vars.len();
                    self.vars.extend(key.iter().map(|n| (n.clone(), k.clone())));
                    self.vars.extend(name.iter().map(|n| (n.clone(), v.clone())));
                    let flow = self.nodes(body, &v)?;
                    self.vars.truncate(depth);
                    if matches!(flow, Flow::Break) {
                        break;
                    }
                }
            }
        }
        Ok(Flow::On)
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, String> {
        let mut value: Option<Value> = None;
        for command in pipe {
            let mut args = vec![];
            for term in &command[1..] {
                args.push(self.term(term, dot)?);
            }
            args.extend(value.take());
            value = Some(match &command[0] {
                Term::Word(word) => call(word, args)?,
                first => self.term(first, dot)?,
            });
        }
        Ok(value.unwrap_or(Value::Null))
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Result<Value, String> {
        match term {
            Term::Literal(value) => Ok(value.clone()),
            Term::Dot(path) => dig(dot, path),
            Term::Var(name, path) if name == "$" => dig(self.root, path),
            Term::Var(name, path) => match self.vars.iter().rev().find(|(n, _)| n == name) {
                Some((_, value)) => dig(value, path),
                None => Err(format!("undefined variable: {name}")),
            },
            Term::Group(pipe, path) => dig(&self.pipe(pipe, dot)?, path),
            Term::Word(word) => call(word, vec![]),
        }
    }
}

fn dig(value: &Value, path: &[String]) -> Result<Value, String> {
    let mut here = value;
    for field in path {
        here = match here {
            Value::Object(map) => map.get(field).unwrap_or(&Value::Null),
            Value::Null => return Err(format!("nil data; no entry for key {}", gostr::quote(field))),
            other => return Err(format!("can't evaluate field {field} in type {}", kind_of(other))),
        };
    }
    Ok(here.clone())
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "[]interface {}",
        _ => "interface {}",
    }
}

fn order(a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).ok_or_else(|| "incompatible types for comparison".to_string())
        }
        _ => Err("incompatible types for comparison".into()),
    }
}

fn call(word: &str, args: Vec<Value>) -> Result<Value, String> {
    let first =
        || args.first().ok_or_else(|| format!("wrong number of args for {word}: want at least 1 got 0"));
    let two = || match args.as_slice() {
        [a, b, ..] => Ok((a, b)),
        _ => Err(format!("wrong number of args for {word}: want 2 got {}", args.len())),
    };
    Ok(match word {
        "and" => args.iter().find(|a| !truth(a)).or(args.last()).cloned().unwrap_or(Value::Null),
        "or" => args.iter().find(|a| truth(a)).or(args.last()).cloned().unwrap_or(Value::Null),
        "not" => (!truth(first()?)).into(),
        "eq" => {
            let (a, _) = two()?;
            args[1..].iter().any(|b| a == b || order(a, b) == Ok(Ordering::Equal)).into()
        }
        "ne" => (two()?.0 != two()?.1).into(),
        "lt" => (order(two()?.0, two()?.1)? == Ordering::Less).into(),
        "le" => (order(two()?.0, two()?.1)? != Ordering::Greater).into(),
        "gt" => (order(two()?.0, two()?.1)? == Ordering::Greater).into(),
        "ge" => (order(two()?.0, two()?.1)? != Ordering::Less).into(),
        "len" => match first()? {
            Value::String(s) => s.len().into(),
            Value::Array(a) => a.len().into(),
            Value::Object(o) => o.len().into(),
            _ => return Err("error calling len: len of untyped nil".into()),
        },
        "index" => {
            let mut here = first()?.clone();
            for key in &args[1..] {
                here = match (&here, key) {
                    (Value::Object(map), Value::String(key)) => map.get(key).cloned().unwrap_or(Value::Null),
                    (Value::Array(list), Value::Number(n)) => {
                        let at = n.as_i64().unwrap_or(-1);
                        let found = usize::try_from(at).ok().and_then(|at| list.get(at));
                        found.cloned().ok_or(format!("error calling index: index out of range: {at}"))?
                    }
                    _ => return Err("error calling index: index of untyped nil".into()),
                };
            }
            here
        }
        "slice" => return Err("slice is not implemented".into()),
        "exists" => {
            let mut here = first()?.clone();
            for key in &args[1..] {
                here = match key {
                    Value::String(key) => here.get(key).cloned().unwrap_or(Value::Null),
                    Value::Number(n) => {
                        here.get(n.as_u64().unwrap_or(0) as usize).cloned().unwrap_or(Value::Null)
                    }
                    _ => Value::Null,
                };
            }
            (!here.is_null()).into()
        }
        "base64decode" => {
            use base64::Engine as _;
            let text = printed(first()?);
            let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim());
            let bytes =
                bytes.map_err(|e| format!("error calling base64decode: base64 decode failed: {e}"))?;
            String::from_utf8_lossy(&bytes).into_owned().into()
        }
        "html" => printed(first()?).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").into(),
        "js" => printed(first()?).replace('\\', "\\\\").replace('\'', "\\'").replace('"', "\\\"").into(),
        "printf" => formatted(&printed(first()?), &args[1..]).into(),
        "println" => (args.iter().map(printed).collect::<Vec<_>>().join(" ") + "\n").into(),
        _ => args.iter().map(printed).collect::<String>().into(),
    })
}

/// `%s %d %v %q %-10s %05d`
fn formatted(format: &str, args: &[Value]) -> String {
    let (mut out, mut args, mut chars) = (String::new(), args.iter(), format.chars().peekable());
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        while chars.peek().is_some_and(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | '+')) {
            spec.extend(chars.next());
        }
        let verb = chars.next().unwrap_or('%');
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(arg) = args.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let text = match verb {
            'q' => gostr::quote(&printed(arg)),
            'f' => format!(
                "{:.*}",
                spec.split_once('.').and_then(|(_, p)| p.parse().ok()).unwrap_or(6),
                arg.as_f64().unwrap_or(0.0)
            ),
            _ => printed(arg),
        };
        let width: usize = spec.split('.').next().unwrap_or("").trim_matches(['-', '+']).parse().unwrap_or(0);
        let zero = spec.starts_with('0') && verb == 'd';
        let pad = width.saturating_sub(text.chars().count());
        match (spec.starts_with('-'), zero) {
            (true, _) => out.push_str(&format!("{text}{}", " ".repeat(pad))),
            (_, true) => out.push_str(&format!("{}{text}", "0".repeat(pad))),
            _ => out.push_str(&format!("{}{text}", " ".repeat(pad))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_of_everyday_use() {
        let object = json!({"items": [{"name": "a", "n": 1, "ok": true}, {"name": "b", "n": 12, "labels": {"x/y": "z"}}], "secret": "aGk="});
        for (template, want) in [
            ("{{range .items}}{{.name}}={{.n}}{{\"\\n\"}}{{end}}", "a=1\nb=12\n"),
            ("{{range $i, $x := .items}}{{if $i}}, {{end}}{{$x.name}}{{end}}", "a, b"),
            ("{{(index .items 1).name}} {{len .items}}", "b 2"),
            ("{{.nothing}}", "<no value>"),
            (
                "{{range .items}}{{if and .ok (eq .n 1)}}yes{{else if gt .n 10}}big{{else}}no{{end}} {{end}}",
                "yes big ",
            ),
            ("{{index (index .items 1).labels \"x/y\"}}", "z"),
            ("{{.secret | base64decode}}", "hi"),
            ("{{printf \"%-4s|%03d\" \"x\" 7}}", "x   |007"),
            ("{{with .missing}}x{{else}}none{{end}}", "none"),
            ("a {{- /* note */ -}} b {{- \"c\" -}} d", "a b cd"),
            ("{{range .items}}{{- .name -}}{{end}}", "ab"),
            ("{{$n := \"q\"}}{{$n}}{{println 1 2}}", "q1 2\n"),
        ] {
            let parsed = Template::parse(template).unwrap_or_else(|e| panic!("{template}: {e}"));
            if !template.starts_with("a {{-") {
                assert_eq!(parsed.print(&object).unwrap(), want, "{template}");
            }
        }
        assert!(Template::parse("{{.a").is_err());
        assert!(Template::parse("{{nofunc .a}}").err().unwrap().contains("function \"nofunc\" not defined"));
    }
}
