//! From text to nodes. The errors are kubectl's.

use serde_json::Value;

/// A step of a path, or a part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
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

/// Levels of brackets, filters and `range`s in a template. Reading and evaluating one recurses.
const DEPTH_MAX: usize = 32;

pub(super) struct Parser {
    text: Vec<char>,
    at: usize,
    /// Levels that this part of the template stands in.
    depth: usize,
}

impl Parser {
    pub(super) fn new(text: &str) -> Parser {
        Parser { text: text.chars().collect(), at: 0, depth: 0 }
    }

    /// A reader for a part of the template that is `depth` levels inside of it.
    fn inner(text: Vec<char>, depth: usize) -> Result<Parser, String> {
        match depth > DEPTH_MAX {
            true => Err(format!("the template nests more than {DEPTH_MAX} levels deep")),
            false => Ok(Parser { text, at: 0, depth }),
        }
    }

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
    pub(super) fn document(&mut self, nested: bool) -> Result<Vec<Vec<Node>>, String> {
        let mut found = vec![];
        let mut text = String::new();
        while let Some(c) = self.next() {
            if c != '{' {
                text.push(c);
                continue;
            }
            if !text.is_empty() {
                found.push(vec![Node::Literal(std::mem::take(&mut text).into())]);
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
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(format!("the template nests more than {DEPTH_MAX} levels deep"));
                    }
                    let body = self.document(true)?;
                    self.depth -= 1;
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
            found.push(vec![Node::Literal(text.into())]);
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
                    nodes.push(bracketed(&inside, self.depth + 1)?);
                }
                '"' | '\'' => nodes.push(Node::Literal(self.quoted()?.into())),
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
fn bracketed(inside: &str, depth: usize) -> Result<Node, String> {
    let inside = inside.trim();
    if inside == "*" {
        return Ok(Node::Wildcard);
    }
    if let Some(filter) = inside.strip_prefix("?(") {
        let Some(filter) = filter.strip_suffix(')') else { return Err("unterminated filter".into()) };
        return filtered(filter, depth);
    }
    let parts = split(inside, ',');
    if parts.len() > 1 {
        let paths =
            parts.iter().map(|p| bracketed(p, depth + 1).map(|n| vec![n])).collect::<Result<_, _>>()?;
        return Ok(Node::Union(paths));
    }
    for quote in ['\'', '"'] {
        if let Some(key) = inside.strip_prefix(quote).and_then(|k| k.strip_suffix(quote)) {
            let mut parser = Parser::inner(format!(".{key}").chars().collect(), depth)?;
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
        [Some(index)] => Ok(Node::Slice(Some(*index), Some(index.wrapping_add(1)), true, None)),
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

fn filtered(text: &str, level: usize) -> Result<Node, String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut quote, mut depth) = (None, 0);
    let expression = |part: &[char]| Parser::inner(part.to_vec(), level)?.path(&[]);
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
