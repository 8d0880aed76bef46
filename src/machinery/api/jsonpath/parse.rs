//! From text to nodes. The errors are kubectl's.

use crate::gostr;
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
    /// list, body, whether the body has its `{end}`
    Range(Vec<Node>, Vec<Vec<Node>>, bool),
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
        while self.peek() == Some(' ') {
            self.at += 1;
        }
    }

    /// Reads texts and actions up to the end, or to `{end}` if `nested`. Returns them, and whether
    /// there was an `{end}`.
    pub(super) fn document(&mut self, nested: bool) -> Result<(Vec<Vec<Node>>, bool), String> {
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
                        return Ok((found, true));
                    }
                    return Err("not in range, nothing to end".into());
                }
                "range" => {
                    let list = self.path(&['}'])?;
                    self.close()?;
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(format!("the template nests more than {DEPTH_MAX} levels deep"));
                    }
                    let (body, is_closed) = self.document(true)?;
                    self.depth -= 1;
                    found.push(vec![Node::Range(list, body, is_closed)]);
                }
                _ => {
                    // All that stands in one pair of braces is one path: `{.a .b}` is `{.a.b}`.
                    self.at -= word.chars().count();
                    let nodes = self.path(&['}'])?;
                    self.close()?;
                    found.push(nodes);
                }
            }
        }
        if !text.is_empty() {
            found.push(vec![Node::Literal(text.into())]);
        }
        Ok((found, false))
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
                        if nodes.last() == Some(&Node::Recursive) {
                            return Err("invalid multiple recursive descent".into());
                        }
                        self.at += 1;
                        nodes.push(Node::Recursive);
                        if self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_') {
                            self.field(&mut nodes);
                        }
                        continue;
                    }
                    self.field(&mut nodes);
                }
                '[' => {
                    self.at += 1;
                    let inside = self.bracket()?;
                    nodes.push(bracketed(&inside, self.depth + 1)?);
                }
                '"' | '\'' => nodes.push(Node::Literal(self.quoted()?.into())),
                '$' | '@' | ' ' => self.at += 1,
                '\n' | '\r' => return Err("unclosed action".into()),
                c if c.is_ascii_digit() || c == '-' || c == '+' => nodes.push(self.number(ends)?),
                c if c.is_ascii_alphabetic() => {
                    let word = self.word();
                    match word.as_str() {
                        "true" => nodes.push(Node::Literal(true.into())),
                        "false" => nodes.push(Node::Literal(false.into())),
                        word => return Err(format!("unrecognized identifier {word}")),
                    }
                }
                c if gostr::is_print(c) => {
                    return Err(format!("unrecognized character in action: U+{:04X} '{c}'", c as u32));
                }
                c => return Err(format!("unrecognized character in action: U+{:04X}", c as u32)),
            }
        }
        Ok(nodes)
    }

    /// Reads the name of a field, or `*`, up to a character that no name has.
    fn field(&mut self, nodes: &mut Vec<Node>) {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.at += 1;
                    name.extend(self.next());
                }
                ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}' => break,
                c => {
                    name.push(c);
                    self.at += 1;
                }
            }
        }
        match name.as_str() {
            "" => {}
            "*" => nodes.push(Node::Wildcard),
            _ => nodes.push(Node::Field(name)),
        }
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
        let begin = self.at;
        let quote = self.next();
        let (mut text, mut is_right) = (String::new(), true);
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated quoted string".into()),
                Some('\\') => match self.escaped(quote) {
                    Some(c) => text.push(c),
                    None => is_right = false,
                },
                c if c == quote => break,
                Some(c) => text.push(c),
            }
        }
        if is_right {
            return Ok(text);
        }
        let said: String = self.text[begin..self.at].iter().collect();
        Err(format!("unquote string {said} error invalid syntax"))
    }

    /// The character of an escape, behind its backslash. `None` if Go knows no such escape
    /// (`strconv.UnquoteChar`).
    fn escaped(&mut self, quote: Option<char>) -> Option<char> {
        match self.peek()? {
            '0'..='7' => return self.code(3, 8),
            c if Some(c) == quote => {}
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | 'x' | 'u' | 'U' | '\\' => {}
            _ => return None,
        }
        match self.next()? {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            'x' => self.code(2, 16),
            'u' => self.code(4, 16),
            'U' => self.code(8, 16),
            c => Some(c),
        }
    }

    /// The character whose number has so many digits.
    fn code(&mut self, digits: usize, radix: u32) -> Option<char> {
        let mut number: u32 = 0;
        for _ in 0..digits {
            let digit = self.peek()?.to_digit(radix)?;
            number = number.checked_mul(radix)?.checked_add(digit)?;
            self.at += 1;
        }
        char::from_u32(number)
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
    if inside == "*" {
        return Ok(Node::Slice(None, None, false, None)); // `[:]`: a map has no such items
    }
    if let Some(filter) = inside.strip_prefix("?(") {
        let Some(filter) = filter.strip_suffix(')') else { return Err("unterminated filter".into()) };
        return filtered(filter, depth);
    }
    let parts = split(inside, ',');
    if parts.len() > 1 {
        let path = |part: &String| bracketed(part.trim_matches(' '), depth + 1).map(|node| vec![node]);
        return Ok(Node::Union(parts.iter().map(path).collect::<Result<_, _>>()?));
    }
    // Only in single quotes: kubectl takes no others for a key.
    let key = inside.strip_prefix('\'').and_then(|key| key.strip_suffix('\''));
    if let Some(key) = key.filter(|key| !key.contains('\'')) {
        let mut parser = Parser::inner(format!(".{key}").chars().collect(), depth)?;
        let mut nodes = parser.path(&[])?;
        return Ok(match nodes.len() {
            1 => nodes.remove(0),
            _ => Node::Union(vec![nodes]),
        });
    }
    let bad = || format!("invalid array index {inside}");
    let number = |text: &str| match text {
        "" => Ok(None),
        text if text.starts_with('+') => Err(bad()),
        text => text.parse::<i64>().map(Some).map_err(|_| bad()),
    };
    let numbers: Vec<Option<i64>> = inside.split(':').map(number).collect::<Result<_, _>>()?;
    match numbers.as_slice() {
        [index] => {
            let index = index.unwrap_or(0); // `[]` is `[0]`
            Ok(Node::Slice(Some(index), Some(index.wrapping_add(1)), true, None))
        }
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
