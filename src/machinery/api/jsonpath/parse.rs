//! From text to nodes, as client-go's `util/jsonpath/parser.go` reads it. The errors are kubectl's.

use crate::gostr;
use serde_json::Value;

/// A step of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// A name without characters is one too: `{.}` asks for the field "".
    Field(String),
    /// start, end, whether the end was derived from the start, step
    Slice(Option<i64>, Option<i64>, bool, Option<i64>),
    Wildcard,
    Recursive,
    Union(Vec<Vec<Node>>),
    /// left side, operator or `exists`, right side
    Filter(Vec<Node>, String, Vec<Node>),
    Text(Value),
    Int(Value),
    /// A truth value, or a number with a fraction.
    Constant(Value),
    /// `range`, `end`, or a word that means nothing: kubectl refuses it when it comes to it.
    Identifier(String),
}

/// Levels of brackets and filters in a template. Reading and evaluating one recurses.
pub(super) const DEPTH_MAX: usize = 32;

/// Returns the error of a template that nests deeper than [`DEPTH_MAX`].
pub(super) fn too_deep() -> String {
    format!("the template nests more than {DEPTH_MAX} levels deep")
}

/// Reads a template. Each text and each action in braces is a list of nodes.
pub(super) fn template(text: &str) -> Result<Vec<Vec<Node>>, String> {
    Parser { text: text.chars().collect(), at: 0, depth: 0 }.document()
}

struct Parser {
    text: Vec<char>,
    at: usize,
    /// Levels that this part of the template stands in.
    depth: usize,
}

impl Parser {
    /// Reads a part of this template as an action of its own.
    fn inner(&self, text: &str) -> Result<Vec<Node>, String> {
        if self.depth == DEPTH_MAX {
            return Err(too_deep());
        }
        let text = format!("{{{text}}}").chars().collect();
        let found = Parser { text, at: 0, depth: self.depth + 1 }.document()?;
        // A `}` in the text ends the action early. As in kubectl, the rest means nothing.
        Ok(found.into_iter().next().unwrap_or_default())
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    /// Skips these characters if they come next.
    fn skip(&mut self, word: &str) -> bool {
        let comes = word.chars().enumerate().all(|(i, c)| self.text.get(self.at + i) == Some(&c));
        self.at += if comes { word.chars().count() } else { 0 };
        comes
    }

    fn document(&mut self) -> Result<Vec<Vec<Node>>, String> {
        let (mut found, mut text) = (vec![], String::new());
        while let Some(c) = self.next() {
            if c != '{' {
                text.push(c);
                continue;
            }
            if !text.is_empty() {
                found.push(vec![Node::Text(std::mem::take(&mut text).into())]);
            }
            found.push(self.action()?);
        }
        if !text.is_empty() {
            found.push(vec![Node::Text(text.into())]);
        }
        Ok(found)
    }

    /// Reads up to the closing brace. All that stands in one pair of braces is one path:
    /// `{.a .b}` is `{.a.b}`.
    fn action(&mut self) -> Result<Vec<Node>, String> {
        let mut nodes = vec![];
        loop {
            if self.skip("[?(") {
                nodes.push(self.filter()?);
                continue;
            }
            if self.skip("..") {
                self.descent(&mut nodes)?;
                continue;
            }
            match self.next() {
                Some('}') => return Ok(nodes),
                None | Some('\n' | '\r') => return Err("unclosed action".into()),
                Some(' ' | '@' | '$') => {}
                Some('[') => self.bracket(&mut nodes)?,
                Some(quote @ ('"' | '\'')) => nodes.push(self.quoted(quote)?),
                Some('.') => self.field(&mut nodes),
                Some(c) if matches!(c, '+' | '-') || c.is_numeric() => nodes.push(self.number()?),
                Some(c) if is_word(c) => nodes.push(self.identifier()),
                Some(c) if gostr::is_print(c) => {
                    return Err(format!("unrecognized character in action: U+{:04X} '{c}'", c as u32));
                }
                Some(c) => return Err(format!("unrecognized character in action: U+{:04X}", c as u32)),
            }
        }
    }

    /// Reads on behind `..`: the name of a field may follow without a dot.
    fn descent(&mut self, nodes: &mut Vec<Node>) -> Result<(), String> {
        if nodes.last() == Some(&Node::Recursive) {
            return Err("invalid multiple recursive descent".into());
        }
        nodes.push(Node::Recursive);
        if self.peek().is_some_and(is_word) {
            self.field(nodes);
        }
        Ok(())
    }

    /// Reads the name of a field, or `*`, up to a character that no name has.
    fn field(&mut self, nodes: &mut Vec<Node>) {
        let begin = self.at;
        while let Some(c) = self.peek().filter(|c| !is_terminator(*c)) {
            self.at += 1;
            if c == '\\' {
                self.next();
            }
        }
        let name: String = self.text[begin..self.at].iter().collect();
        nodes.push(match name.as_str() {
            "*" => Node::Wildcard,
            _ => Node::Field(name.replace('\\', "")),
        });
    }

    /// Reads what stands between `[` and the next `]`: `0`, `-1:`, `*`, `'a','b'`.
    fn bracket(&mut self, nodes: &mut Vec<Node>) -> Result<(), String> {
        let begin = self.at;
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated array".into()),
                Some(']') => break,
                Some(_) => {}
            }
        }
        let inside: String = self.text[begin..self.at - 1].iter().collect();
        let parts: Vec<&str> = inside.split(',').collect();
        if parts.len() > 1 {
            let path = |part: &&str| self.inner(&format!("[{}]", part.trim_matches(' ')));
            nodes.push(Node::Union(parts.iter().map(path).collect::<Result<_, _>>()?));
            return Ok(());
        }
        // Only in single quotes: kubectl takes no others for a key.
        let key = inside.strip_prefix('\'').and_then(|key| key.strip_suffix('\''));
        match key.filter(|key| !key.contains('\'')) {
            Some(key) => nodes.extend(self.inner(&format!(".{key}"))?),
            // `[*]` is `[:]`: a map has no such items.
            None => nodes.push(indexes(if inside == "*" { ":" } else { &inside })?),
        }
        Ok(())
    }

    /// Reads on behind `[?(`. As in kubectl, the first `)` that is not in quotes ends it, and
    /// behind the first text in quotes a quote means nothing any more.
    fn filter(&mut self) -> Result<Node, String> {
        let begin = self.at;
        let (mut quote, mut is_closed) = (None, false);
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated filter".into()),
                Some(c @ ('"' | '\'')) => match quote {
                    None => quote = Some(c),
                    Some(open) => is_closed |= open == c && self.text[self.at - 2] != '\\',
                },
                Some(')') if quote.is_some() == is_closed => break,
                Some(_) => {}
            }
        }
        let text: String = self.text[begin..self.at - 1].iter().collect();
        if self.next() != Some(']') {
            return Err("unclosed array expect ]".into());
        }
        match compared(&text) {
            Some((left, operator, right)) => {
                Ok(Node::Filter(self.inner(left)?, operator.into(), self.inner(right)?))
            }
            None => Ok(Node::Filter(self.inner(&text)?, "exists".into(), vec![])),
        }
    }

    /// Reads on behind an opening quote. A quote behind a backslash ends nothing, also where the
    /// backslash is itself behind one.
    fn quoted(&mut self, quote: char) -> Result<Node, String> {
        let begin = self.at;
        loop {
            match self.next() {
                None | Some('\n') => return Err("unterminated quoted string".into()),
                Some(c) if c == quote && self.text[self.at - 2] != '\\' => break,
                Some(_) => {}
            }
        }
        let inside = &self.text[begin..self.at - 1];
        unquoted(inside, quote).map(|text| Node::Text(text.into())).ok_or_else(|| {
            let inside: String = inside.iter().collect();
            format!("unquote string {quote}{inside}{quote} error invalid syntax")
        })
    }

    /// Reads a number, whose first character was read already.
    fn number(&mut self) -> Result<Node, String> {
        let begin = self.at - 1;
        while self.peek().is_some_and(|c| c == '.' || c.is_numeric()) {
            self.at += 1;
        }
        let text: String = self.text[begin..self.at].iter().collect();
        if let Ok(int) = text.parse::<i64>() {
            return Ok(Node::Int(int.into()));
        }
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Node::Constant(float.into())),
            _ => Err(format!("cannot parse number {text}")),
        }
    }

    /// Reads a word, whose first character was read already.
    fn identifier(&mut self) -> Node {
        let begin = self.at - 1;
        while self.peek().is_some_and(|c| !is_terminator(c)) {
            self.at += 1;
        }
        let word: String = self.text[begin..self.at].iter().collect();
        match word.as_str() {
            "true" => Node::Constant(true.into()),
            "false" => Node::Constant(false.into()),
            _ => Node::Identifier(word),
        }
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn is_terminator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

/// Reads `0`, `1:3` or `::2`.
fn indexes(inside: &str) -> Result<Node, String> {
    let bad = || format!("invalid array index {inside}");
    let parts: Vec<&str> = inside.split(':').collect();
    let is_index = |part: &&str| part.strip_prefix('-').unwrap_or(part).bytes().all(|b| b.is_ascii_digit());
    if !parts.iter().all(is_index) {
        return Err(bad());
    }
    let number = |part: &str| match part {
        "" => Ok(None),
        _ => part.parse::<i64>().map(Some).map_err(|_| format!("array index {part} is not a number")),
    };
    match parts.as_slice() {
        [index] => {
            let index = number(index)?.unwrap_or(0); // `[]` is `[0]`
            Ok(Node::Slice(Some(index), Some(index.wrapping_add(1)), true, None))
        }
        [start, end] => Ok(Node::Slice(number(start)?, number(end)?, false, None)),
        [start, end, step] => Ok(Node::Slice(number(start)?, number(end)?, false, number(step)?)),
        _ => Err(bad()),
    }
}

/// Splits the text of a filter at its first operator, which may be one that means nothing. `None`
/// if it compares nothing.
fn compared(text: &str) -> Option<(&str, &str, &str)> {
    let is_operator = |c: char| matches!(c, '!' | '<' | '=' | '>');
    let begin = text.find(is_operator).filter(|begin| *begin > 0)?;
    let rest = &text[begin..];
    // Something has to stand behind it: of `a==` the right side is the second `=`.
    let end = rest.find(|c: char| !is_operator(c)).unwrap_or(rest.len() - 1);
    (end > 0).then(|| (&text[..begin], &rest[..end], &rest[end..]))
}

/// Returns the text between quotes as Go's `strconv.UnquoteChar` reads it. `None` if it has an
/// escape that Go does not know.
fn unquoted(inside: &[char], quote: char) -> Option<String> {
    let mut bytes: Vec<u8> = vec![];
    let mut chars = inside.iter().copied();
    while let Some(c) = chars.next() {
        let read = match c {
            _ if c == quote => return None,
            '\\' => match chars.next()? {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                'u' => char::from_u32(number(&mut chars, 4, 16)?)?,
                'U' => char::from_u32(number(&mut chars, 8, 16)?)?,
                'x' => {
                    bytes.push(u8::try_from(number(&mut chars, 2, 16)?).ok()?);
                    continue;
                }
                c @ '0'..='7' => {
                    let first = c.to_digit(8)? * 64;
                    bytes.push(u8::try_from(first + number(&mut chars, 2, 8)?).ok()?);
                    continue;
                }
                c if c == '\\' || c == quote => c,
                _ => return None,
            },
            c => c,
        };
        bytes.extend(read.encode_utf8(&mut [0; 4]).bytes());
    }
    // `\xff` is no text. kubectl prints the byte.
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a number of so many digits.
fn number(chars: &mut impl Iterator<Item = char>, digits: usize, radix: u32) -> Option<u32> {
    let mut number: u32 = 0;
    for _ in 0..digits {
        number = number.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)?;
    }
    Some(number)
}
