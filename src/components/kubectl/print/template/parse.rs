//! From text to nodes.

use super::functions::FUNCTIONS;
use super::literal;
use super::tree::{Node, Pipe, Term};
use api::gostr;
use serde_json::Value;
use std::collections::BTreeMap;

/// Go's spaces: they are trimmed, and one of them stands beside the dash that trims.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// Texts and actions; `{{-` and `-}}` trim.
fn tokens(source: &str) -> Result<Vec<Result<String, String>>, String> {
    let (mut found, mut rest, mut trim) = (vec![], source, false);
    while let Some(start) = rest.find("{{") {
        let mut text = &rest[..start];
        let after = &rest[start + 2..];
        if trim {
            text = text.trim_start_matches(SPACES);
        }
        let trims = after.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES));
        if trims {
            text = text.trim_end_matches(SPACES);
        }
        if !text.is_empty() {
            found.push(Ok(text.to_string()));
        }
        let end = action_end(after).ok_or("template: output:1: unclosed action")?;
        let mut action = &after[if trims { 1 } else { 0 }..end];
        trim = action.strip_suffix('-').is_some_and(|rest| rest.ends_with(SPACES));
        if trim {
            action = &action[..action.len() - 1];
        }
        if !action.trim().starts_with("/*") {
            found.push(Err(action.trim().to_string()));
        }
        rest = &after[end + 2..];
    }
    let text = if trim { rest.trim_start_matches(SPACES) } else { rest };
    if !text.is_empty() {
        found.push(Ok(text.to_string()));
    }
    Ok(found)
}

fn action_end(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('-').filter(|rest| rest.starts_with(SPACES)).unwrap_or(text);
    if inner.trim_start().starts_with("/*") {
        let end = text.find("*/")?;
        return text[end..].find("}}").map(|closing| end + closing);
    }
    let (mut quote, mut escaped) = (None, false);
    for (i, c) in text.char_indices() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', Some('"' | '\'')) => escaped = true,
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('"' | '`' | '\'', None) => quote = Some(c),
            ('}', None) if text[i..].starts_with("}}") => return Some(i),
            _ => {}
        }
    }
    None
}

/// Deeper nesting is refused: parsing and running a template take a part of the stack per level,
/// and an overflow would end the whole program.
const DEPTH_MAX: usize = 100;

fn deeper(depth: usize) -> Result<usize, String> {
    match depth < DEPTH_MAX {
        true => Ok(depth + 1),
        false => Err(format!("template: output:1: nested more than {DEPTH_MAX} levels deep")),
    }
}

/// What is left of a template, and the templates that it has defined so far.
pub(super) struct Tokens {
    rest: std::vec::IntoIter<Result<String, String>>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
    /// How many bodies of `range` are open, within one template.
    loops: usize,
}

impl Tokens {
    pub(super) fn of(source: &str) -> Result<Tokens, String> {
        Ok(Tokens { rest: tokens(source)?.into_iter(), defined: BTreeMap::new(), loops: 0 })
    }

    /// Keeps a template under its name. One that prints nothing gives way to another, as in Go.
    fn define(&mut self, name: String, nodes: Vec<Node>) -> Result<(), String> {
        let empty = |nodes: &[Node]| nodes.iter().all(|n| matches!(n, Node::Text(t) if t.trim().is_empty()));
        match self.defined.get(&name) {
            Some(known) if !empty(known) && !empty(&nodes) => {
                Err(format!("template: output:1: multiple definition of template {}", gostr::quote(&name)))
            }
            Some(known) if !empty(known) => Ok(()),
            _ => {
                self.defined.insert(name, nodes);
                Ok(())
            }
        }
    }
}

/// Nodes up to `end` or `else`, which is returned (with what follows it). `depth`: how many blocks
/// are open around it.
pub(super) fn block(tokens: &mut Tokens, depth: usize) -> Result<(Vec<Node>, String), String> {
    let mut nodes = vec![];
    while let Some(token) = tokens.rest.next() {
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
            "break" | "continue" if tokens.loops == 0 => {
                return Err(format!("template: output:1: {{{{{word}}}}} outside {{{{range}}}}"));
            }
            "break" => nodes.push(Node::Break),
            "continue" => nodes.push(Node::Continue),
            "define" | "template" | "block" => {
                let (name, pipe) = named(word, rest)?;
                if word == "define" && depth > 0 {
                    return Err("template: output:1: unexpected <define> in command".into());
                }
                if word != "template" {
                    let loops = std::mem::take(&mut tokens.loops);
                    let (body, end) = block(tokens, deeper(depth)?)?;
                    tokens.loops = loops;
                    match end.as_str() {
                        "end" => {}
                        "" => return Err("template: output:1: unexpected EOF".into()),
                        end => {
                            return Err(format!(
                                "template: output:1: unexpected {{{{{end}}}}} in {word} clause"
                            ));
                        }
                    }
                    tokens.define(name.clone(), body)?;
                }
                if word != "define" {
                    nodes.push(Node::Call(name, pipe));
                }
            }
            "if" | "with" | "range" => nodes.push(control(word, rest, tokens, deeper(depth)?)?),
            _ => {
                nodes.push(match assigned(&action)? {
                    (Some((name, new)), pipe) => Node::Keep(name, new, pipe),
                    (None, pipe) => Node::Print(pipe),
                });
            }
        }
    }
    Ok((nodes, String::new()))
}

/// The name behind `define`, `template` and `block`, and what the template is called with.
fn named(word: &str, rest: &str) -> Result<(String, Option<Pipe>), String> {
    let mut given = pipe(rest)?;
    // `pipe` gives no empty command.
    let Term::Literal(Value::String(name)) = given[0].remove(0) else {
        return Err(format!("template: output:1: unexpected {} in {word} clause", gostr::quote(rest)));
    };
    let alone = given.len() == 1 && given[0].is_empty();
    let given = (!alone).then_some(given);
    let fits = match word {
        "define" => given.is_none(),
        "block" => given.is_some(),
        _ => true,
    };
    if !fits || given.iter().flatten().any(Vec::is_empty) {
        return Err(format!("template: output:1: unexpected {} in {word} clause", gostr::quote(rest)));
    }
    Ok((name, given))
}

fn control(word: &str, rest: &str, tokens: &mut Tokens, depth: usize) -> Result<Node, String> {
    let inner = usize::from(word == "range");
    tokens.loops += inner;
    let (body, end) = block(tokens, depth)?;
    tokens.loops -= inner;
    let otherwise = match end.strip_prefix("else").map(str::trim) {
        Some("") => {
            let (nodes, end) = block(tokens, depth)?;
            if end != "end" {
                return Err("template: output:1: unexpected EOF".into());
            }
            nodes
        }
        Some(next) => {
            let (word, rest) = next.split_once(char::is_whitespace).unwrap_or((next, ""));
            vec![control(word, rest.trim(), tokens, deeper(depth)?)?]
        }
        None if end == "end" => vec![],
        None => return Err("template: output:1: unexpected EOF".into()),
    };
    Ok(match word {
        "if" | "with" => {
            let (var, pipe) = assigned(rest)?;
            let var = var.map(|(name, _)| name);
            match word {
                "if" => Node::If(var, pipe, body, otherwise),
                _ => Node::With(var, pipe, body, otherwise),
            }
        }
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

/// The variable that an action gives a value to, and whether it is a new one (`:=`).
type Assigned = Option<(String, bool)>;

fn assigned(text: &str) -> Result<(Assigned, Pipe), String> {
    if text.starts_with('$')
        && let Some((name, value)) = text.split_once('=')
        && name.trim_end_matches(':').trim().chars().skip(1).all(|c| c.is_alphanumeric() || c == '_')
    {
        let new = name.ends_with(':');
        return Ok((Some((name.trim_end_matches(':').trim().to_string(), new)), pipe(value)?));
    }
    Ok((None, pipe(text)?))
}

fn pipe(text: &str) -> Result<Pipe, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    let found = pipe_at(&chars, &mut at, 0)?;
    if at < chars.len() {
        return Err(format!("template: output:1: unexpected {:?} in operand", chars[at]));
    }
    Ok(found)
}

fn pipe_at(chars: &[char], at: &mut usize, depth: usize) -> Result<Pipe, String> {
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
                let term = term(chars, at, depth)?;
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

fn term(chars: &[char], at: &mut usize, depth: usize) -> Result<Term, String> {
    match chars[*at] {
        '.' => Ok(Term::Dot(fields(chars, at))),
        '$' => {
            *at += 1;
            let var = name(chars, at);
            Ok(Term::Var(format!("${var}"), fields(chars, at)))
        }
        '(' => {
            *at += 1;
            let inner = pipe_at(chars, at, deeper(depth)?)?;
            if chars.get(*at) != Some(&')') {
                return Err("template: output:1: unclosed left paren".into());
            }
            *at += 1;
            Ok(Term::Group(inner, fields(chars, at)))
        }
        '`' | '"' | '\'' => literal::quoted(chars, at),
        c if c.is_ascii_digit() || c == '-' || c == '+' => literal::number(chars, at),
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
