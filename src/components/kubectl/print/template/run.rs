//! Nodes run over an object: what they print, and where `break` and `continue` lead.

use super::functions::{WRONG_TYPE, call, kind_of};
use super::tree::{Node, Pipe, Place, Term, What, place_of};
use super::values::{TOO_MUCH, printed, truth};
use api::gostr;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How many blocks may be open at a time, and how many templates may be called in all. A template
/// may call itself, which must not overflow the stack; two that call another twice each, and so on,
/// would not come to an end.
const OPEN_MAX: usize = 200;
const CALLS_MAX: usize = 10_000;
/// How many nodes may run, and how many bytes may be printed, before a template is given up: loops
/// in loops over a list of some hundred objects would not come to an end either.
const NODES_MAX: usize = 10_000_000;
const OUT_MAX: usize = 256 << 20;
/// How many values may be copied: each term copies the value that it names, and `$` may name a
/// whole list.
const COPIES_MAX: usize = 1_000_000_000;
/// How many copies each node has, where other bounds are set.
const COPIES_PER_NODE: usize = 20;

pub(super) enum Flow {
    On,
    Break,
    Continue,
}

pub(super) struct Run<'a> {
    /// `$`
    root: Cow<'a, Value>,
    vars: Vec<(String, Value)>,
    defined: &'a BTreeMap<String, Vec<Node>>,
    open: usize,
    calls: usize,
    /// How many nodes may still run, and how many bytes may be printed, and made by functions.
    left: (usize, usize),
    /// How many values may still be copied.
    copies: usize,
    /// A key that a map does not have is an error.
    pub(super) strict: bool,
    /// Bytes of the texts that functions made: a variable may be doubled again and again.
    made: usize,
    /// The name of the template that runs, and the part of it that ran last: errors name both.
    pub(super) name: String,
    pub(super) place: Option<Place>,
    pub(super) out: String,
}

impl<'a> Run<'a> {
    pub(super) fn new(root: &'a Value, defined: &'a BTreeMap<String, Vec<Node>>) -> Run<'a> {
        let root = Cow::Borrowed(root);
        Run {
            root,
            vars: vec![],
            defined,
            open: 0,
            calls: 0,
            left: (NODES_MAX, OUT_MAX),
            copies: COPIES_MAX,
            strict: false,
            made: 0,
            name: "output".into(),
            place: None,
            out: String::new(),
        }
    }

    /// With other bounds: nodes that may run, and bytes that may be printed.
    pub(super) fn within(self, nodes: usize, bytes: usize) -> Run<'a> {
        Run { left: (nodes, bytes), copies: nodes.saturating_mul(COPIES_PER_NODE), ..self }
    }

    pub(super) fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, String> {
        if self.open == OPEN_MAX {
            return Err(format!("nested more than {OPEN_MAX} levels deep"));
        }
        self.spend()?; // a block may be empty
        self.open += 1;
        let depth = self.vars.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            self.spend()?;
            if !matches!(flow, Flow::On) {
                break;
            }
        }
        self.vars.truncate(depth);
        self.open -= 1;
        Ok(flow)
    }

    /// Counts a node or a block.
    fn spend(&mut self) -> Result<(), String> {
        let (nodes, bytes) = self.left;
        if nodes == 0 || self.out.len() > bytes || self.made > bytes {
            return Err(TOO_MUCH.into());
        }
        self.left.0 = nodes - 1;
        Ok(())
    }

    /// Runs a template that was defined: it sees its own dot, as `$` too, and no variables of its
    /// caller.
    fn call(&mut self, name: &str, dot: Value) -> Result<(), String> {
        let defined = self.defined;
        let nodes = defined.get(name).ok_or_else(|| undefined(name))?;
        self.calls += 1;
        if self.calls > CALLS_MAX {
            return Err(format!("templates are called more than {CALLS_MAX} times"));
        }
        let root = std::mem::replace(&mut self.root, Cow::Owned(dot.clone()));
        let vars = std::mem::take(&mut self.vars);
        let caller = std::mem::replace(&mut self.name, name.into());
        self.nodes(nodes, &dot)?;
        (self.root, self.vars, self.name) = (root, vars, caller);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, String> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Print(pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.out.push_str(&printed(&value));
            }
            Node::Call(name, pipe, place) => {
                self.place = Some(place.clone());
                // As in Go a missing template is an error before its argument is evaluated.
                if !self.defined.contains_key(name) {
                    return Err(undefined(name));
                }
                let dot = match pipe {
                    Some(pipe) => self.pipe(pipe, dot)?,
                    None => Value::Null,
                };
                self.call(name, dot)?;
            }
            Node::Keep(name, new, pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.keep(name, *new, value)?;
            }
            Node::If(var, pipe, yes, no) | Node::With(var, pipe, yes, no) => {
                let value = self.pipe(pipe, dot)?;
                let depth = self.vars.len();
                if let Some((name, new)) = var {
                    self.keep(name, *new, value.clone())?;
                }
                let flow = match (truth(&value), node) {
                    (true, Node::With(..)) => self.nodes(yes, &value),
                    (true, _) => self.nodes(yes, dot),
                    (false, _) => self.nodes(no, dot),
                };
                self.vars.truncate(depth);
                return flow;
            }
            Node::Range(key, name, pipe, body, otherwise) => {
                let value = self.pipe(pipe, dot)?;
                let mut pairs = pairs_of(value, key.is_some())?.peekable();
                if pairs.peek().is_none() {
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

    /// Gives a value to a variable: to a new one, or to the one that is there.
    ///
    /// # Errors
    /// Go's words: there is none.
    fn keep(&mut self, name: &str, new: bool, value: Value) -> Result<(), String> {
        match self.vars.iter_mut().rev().find(|(n, _)| n == name).filter(|_| !new) {
            Some(known) => known.1 = value,
            None if !new && name != "$" => return Err(format!("undefined variable: {name}")),
            None => self.vars.push((name.into(), value)),
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, String> {
        let mut value: Option<Value> = None;
        for command in pipe {
            let first = &command[0];
            if let What::Word(word) = &first.what
                && matches!(word.as_str(), "and" | "or")
            {
                self.place = Some(first.place.clone());
                value = Some(self.decide(word, &command[1..], value.take(), dot)?);
                continue;
            }
            let mut args = vec![];
            for term in &command[1..] {
                args.push(self.term(term, dot)?);
            }
            args.extend(value.take());
            value = Some(match &first.what {
                What::Word(word) => {
                    let made = call(word, args).inspect_err(|why| {
                        // As in Go: what fails is the command, the argument has a wrong type, and
                        // the function has a wrong number of them.
                        self.place = Some(match why.as_str() {
                            why if why.starts_with("error calling") => place_of(command),
                            why if why.contains(WRONG_TYPE) => command.last().unwrap_or(first).place.clone(),
                            _ => first.place.clone(),
                        });
                    })?;
                    self.made = self.made.saturating_add(made.as_str().map_or(0, str::len));
                    self.spend()?;
                    made
                }
                _ if !args.is_empty() => {
                    self.place = Some(first.place.clone());
                    return Err(without_arguments(first));
                }
                What::Literal(Value::Null) => {
                    self.place = Some(first.place.clone());
                    return Err("nil is not a command".into());
                }
                _ => self.term(first, dot)?,
            });
        }
        Ok(value.unwrap_or(Value::Null))
    }

    /// `and` and `or` evaluate no more arguments than they need. `{{if and .a (gt (len .a) 1)}}`:
    /// without `.a`, `and` returns it and does not evaluate `len`, which would fail. `piped` is the
    /// value before a `|`, the last argument.
    fn decide(
        &mut self,
        word: &str,
        terms: &[Term],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, String> {
        let mut last = None;
        for term in terms {
            let value = self.term(term, dot)?;
            if truth(&value) == (word == "or") {
                return Ok(value);
            }
            last = Some(value);
        }
        // Without any argument the function returns the error.
        piped.or(last).map_or_else(|| call(word, vec![]), Ok)
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Result<Value, String> {
        self.place = Some(term.place.clone());
        let strict = self.strict;
        let made; // what a group in brackets came to
        let found = match &term.what {
            What::Literal(value) => value,
            What::Word(word) => return call(word, vec![]),
            What::Dot(path) => dig(dot, path, strict)?,
            What::Var(name, path) if name == "$" => dig(&self.root, path, strict)?,
            What::Var(name, path) => match self.vars.iter().rev().find(|(n, _)| n == name) {
                Some((_, value)) => dig(value, path, strict)?,
                None => return Err(format!("undefined variable: {name}")),
            },
            What::Group(pipe, path) => {
                made = self.pipe(pipe, dot)?;
                dig(&made, path, strict)?
            }
        };
        let left = left_of(self.copies, found).ok_or(TOO_MUCH)?;
        let copy = found.clone();
        self.copies = left;
        Ok(copy)
    }
}

/// Returns Go's words for arguments, or a value before `|`, of what is no function.
fn without_arguments(term: &Term) -> String {
    let field = match &term.what {
        What::Dot(path) | What::Var(_, path) | What::Group(_, path) => path.last(),
        What::Word(_) | What::Literal(_) => None,
    };
    match field {
        Some(field) => format!("{field} is not a method but has arguments"),
        None => format!("can't give argument to non-function {}", term.place.written),
    }
}

/// Go's words for a template that has no definition.
fn undefined(name: &str) -> String {
    format!("template {} not defined", gostr::quote(name))
}

/// The keys and values of a `range`.
type Pairs = Box<dyn Iterator<Item = (Value, Value)>>;

/// The keys and values of a list, a map or a number: `range 3` goes through 0, 1 and 2 (since Go
/// 1.24), and has no keys.
fn pairs_of(value: Value, with_keys: bool) -> Result<Pairs, String> {
    let pairs: Pairs = match value {
        Value::Array(list) => Box::new(list.into_iter().enumerate().map(|(i, v)| (Value::from(i), v))),
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Box::new(pairs.into_iter().map(|(k, v)| (Value::from(k), v)))
        }
        Value::Null => Box::new(std::iter::empty()),
        other => match other.as_i64() {
            Some(number) if with_keys => {
                return Err(format!("can't use {number} to iterate over more than one variable"));
            }
            Some(number) => Box::new((0..number).map(|i| (Value::Null, Value::from(i)))),
            None => return Err(format!("range can't iterate over {}", gostr::plain(&other))),
        },
    };
    Ok(pairs)
}

/// The number of copies that is left after a copy of this value; `None` if the number is used up.
fn left_of(copies: usize, value: &Value) -> Option<usize> {
    let copies = copies.checked_sub(1)?;
    match value {
        Value::Array(items) => items.iter().try_fold(copies, left_of),
        Value::Object(fields) => fields.values().try_fold(copies, left_of),
        _ => Some(copies),
    }
}

/// The field at `path`. A field that is missing is null, or with `strict` an error (Go's
/// `missingkey=error`).
fn dig<'a>(value: &'a Value, path: &[String], strict: bool) -> Result<&'a Value, String> {
    let mut here = value;
    for field in path {
        here = match here {
            Value::Object(map) => match map.get(field) {
                Some(found) => found,
                None if strict => return Err(format!("map has no entry for key {}", gostr::quote(field))),
                None => &Value::Null,
            },
            Value::Null if strict => {
                return Err(format!("nil data; no entry for key {}", gostr::quote(field)));
            }
            Value::Null => return Ok(&Value::Null),
            other => return Err(format!("can't evaluate field {field} in type {}", kind_of(other))),
        };
    }
    Ok(here)
}
