//! What an expression names: functions, kinds, objects, fields and the texts that it compares.

use super::call;
use super::error::Error;
use super::language::{DEPTH_MAX, Named};
use super::reads::Read;
use super::words::{self, Meaning};
use super::{functions, owned};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr as Node, IdedExpr, LiteralValue};
use std::collections::BTreeSet;

/// What an expression names.
#[derive(Default)]
pub(super) struct Seen {
    pub functions: BTreeSet<String>,
    pub variables: BTreeSet<String>,
    pub kinds: BTreeSet<String>,
    pub namespaces: BTreeSet<String>,
    pub needed: BTreeSet<Named>,
    pub absent: BTreeSet<Named>,
    pub fields: BTreeSet<String>,
    pub strings: BTreeSet<String>,
    pub compared: BTreeSet<(String, bool, String)>,
    pub reads: Vec<Read>,
    /// It names a kind by a value that is known only when it is evaluated.
    pub any_kind: bool,
    /// How many nodes are around the present one, and around the deepest.
    depth: usize,
    pub deepest: usize,
    /// The names that are bound here, and what they stand for: first those of the whole expression,
    /// then those of the macros around the present node.
    bound: Vec<(String, Meaning)>,
    /// How many of them are bound in the whole expression.
    given: usize,
}

impl Seen {
    /// Nothing is seen yet. `given`: names that are bound in the whole expression.
    pub(super) fn new(given: &[(&str, Meaning)]) -> Seen {
        let bound: Vec<_> = given.iter().map(|(name, meaning)| (name.to_string(), *meaning)).collect();
        Seen { given: bound.len(), bound, ..Seen::default() }
    }

    /// What the value of a whole expression is.
    pub(super) fn meaning(&self, expr: &Node) -> Meaning {
        Meaning::of(expr, &self.bound)
    }

    /// Reads a node and everything in it.
    ///
    /// # Errors
    /// Nodes stand too deep, a call has too few or too many values, or a text is compared with
    /// words of which it is none.
    pub(super) fn walk(&mut self, node: &Node) -> Result<(), Error> {
        if self.depth == DEPTH_MAX {
            return Err(Error::Syntax(format!("more than {DEPTH_MAX} expressions stand inside each other")));
        }
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.look(node)?;
        self.depth -= 1;
        Ok(())
    }

    fn look(&mut self, node: &Node) -> Result<(), Error> {
        match node {
            Node::Call(call) => {
                self.call(call)?;
                for part in call.target.iter().map(|t| &t.expr).chain(call.args.iter().map(|a| &a.expr)) {
                    self.walk(part)?;
                }
            }
            Node::Comprehension(c) => self.comprehension(c)?,
            Node::Ident(name) if !name.starts_with('@') && !self.binds(name) => {
                self.variables.insert(name.clone());
            }
            Node::List(list) => {
                for item in &list.elements {
                    self.walk(&item.expr)?;
                }
            }
            Node::Select(select) => {
                self.fields.insert(select.field.clone());
                self.walk(&select.operand.expr)?;
            }
            Node::Literal(_) => self.strings.extend(literal(node)),
            Node::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(e) = &entry.expr {
                        self.walk(&e.key.expr)?;
                        self.walk(&e.value.expr)?;
                    }
                }
            }
            Node::Struct(message) => {
                return Err(Error::Unknown { name: message.type_name.clone(), near: None });
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns whether a macro around the present node binds a name.
    fn binds(&self, name: &str) -> bool {
        self.bound[self.given..].iter().any(|(bound, _)| bound == name)
    }

    fn comprehension(&mut self, c: &ComprehensionExpr) -> Result<(), Error> {
        self.walk(&c.iter_range.expr)?;
        self.walk(&c.accu_init.expr)?;
        let outside = self.bound.len();
        let value = words::elements(&c.iter_range.expr, &self.bound);
        self.bound.push((c.iter_var.clone(), Meaning { value, ..Meaning::default() }));
        self.bound.extend(c.iter_var2.clone().map(|name| (name, Meaning::default())));
        self.bound.push((c.accu_var.clone(), Meaning::default()));
        for part in [&c.loop_cond.expr, &c.loop_step.expr, &c.result.expr] {
            self.walk(part)?;
        }
        self.bound.truncate(outside);
        Ok(())
    }

    fn call(&mut self, call: &CallExpr) -> Result<(), Error> {
        self.functions.insert(call.func_name.clone());
        self.name(&call.func_name, &call.args);
        if let [left, right] = call.args.as_slice() {
            self.compare(&call.func_name, &left.expr, &right.expr)?;
        }
        let text = |at: usize| call.args.get(at).and_then(|a| literal(&a.expr));
        words::called(&call.func_name, &text)?;
        // The first argument of `hop()` and `hops()` is the component.
        if matches!(call.func_name.as_str(), "hop" | "hops")
            && let Some(component) = text(0)
        {
            self.compared.insert(("component".into(), true, component));
        }
        match functions::TABLE.iter().find(|f| f.name == call.func_name) {
            Some(known) if call.target.is_none() => self.own_function(known, call),
            Some(known) => {
                let name = known.name;
                Err(Error::Syntax(format!("{name}() stands before its values: {name}(x), not x.{name}()")))
            }
            None => Ok(()),
        }
    }

    /// A call of a function of lessons: the kinds and namespaces that it reads.
    fn own_function(&mut self, known: &functions::Function, call: &CallExpr) -> Result<(), Error> {
        let text = |at: usize| call.args.get(at).and_then(|a| literal(&a.expr));
        if !known.takes.contains(&call.args.len()) {
            let wants = match known.takes.start() == known.takes.end() {
                true => known.takes.start().to_string(),
                false => format!("{} to {}", known.takes.start(), known.takes.end()),
            };
            return Err(Error::Arguments { name: known.name.into(), wants, got: call.args.len() });
        }
        self.reads.extend(Read::of(known, call));
        match text(0) {
            Some(kind) if known.kind_first => {
                self.kinds.insert(kind);
                self.namespaces.extend(text(1));
            }
            None if known.kind_first => self.any_kind = true,
            _ => {}
        }
        match known.name {
            "http" => call::check(&call.args)?,
            "exec" | "logs" | "new_logs" | "new_lines" => {
                let place = text(0).and_then(|t| Some(t.split_once('/')?.0.to_string()));
                self.namespaces.extend(place);
            }
            "events" => _ = self.kinds.insert("Event".into()),
            "backends" => {
                self.kinds.insert("EndpointSlice".into());
                self.namespaces.extend(text(0));
            }
            "mirrors" => {
                self.kinds.insert("Pod".into());
                self.namespaces.insert("kube-system".into());
            }
            "pods_of" => {
                let read = owned::between(&text(0).unwrap_or_default()).iter().copied().chain(["Pod"]);
                self.kinds.extend(read.map(String::from));
            }
            _ => {}
        }
        Ok(())
    }

    /// `x.field == "text"`, `x.field != "text"`, `x.field in ["text", …]`, `get(x, "field", …)` in
    /// place of `x.field`, and either side first.
    fn compare(&mut self, function: &str, left: &Node, right: &Node) -> Result<(), Error> {
        let alike = match function {
            "_==_" | "@in" => true,
            "_!=_" => false,
            _ => return Ok(()),
        };
        for (side, text) in [(left, right), (right, left)] {
            let Some((of, field)) = field(side) else { continue };
            let texts = match text {
                Node::List(list) => list.elements.iter().filter_map(|e| literal(&e.expr)).collect(),
                other => Vec::from_iter(literal(other)),
            };
            for text in texts {
                words::compared(words::record(of, &self.bound), &field, &text)?;
                self.compared.insert((field.clone(), alike, text));
            }
        }
        Ok(())
    }

    /// `object("Pod", "default", "web")` and `!present("Pod", "default", "web")`,
    /// `logs("default/web")`.
    fn name(&mut self, function: &str, args: &[IdedExpr]) {
        let text = |at: usize| args.get(at).and_then(|a| literal(&a.expr));
        match (function, args) {
            ("!_", [arg]) => {
                if let Node::Call(call) = &arg.expr
                    && call.func_name == "present"
                    && let Some(named) = named(&call.args)
                {
                    self.absent.insert(named);
                }
            }
            ("object" | "present" | "pods_of", args) => self.needed.extend(named(args)),
            // No address stands behind a Service that is gone.
            ("backends", _) => {
                let service =
                    text(0).zip(text(1)).map(|(namespace, name)| ("Service".into(), namespace, name));
                self.needed.extend(service);
            }
            ("exec" | "logs" | "new_logs" | "new_lines", _) => {
                let target = text(0).unwrap_or_default();
                if let Some((namespace, pod)) = target.split_once('/') {
                    let pod = pod.split('/').next().unwrap_or_default();
                    self.needed.insert(("Pod".into(), namespace.into(), pod.into()));
                }
            }
            _ => {}
        }
    }
}

/// The value whose field a node is, and the field: of `x.verb` and of `get(x, "verb", "")`.
fn field(node: &Node) -> Option<(&Node, String)> {
    match node {
        Node::Select(select) => Some((&select.operand.expr, select.field.clone())),
        Node::Call(call) if call.func_name == "get" && call.target.is_none() => {
            let path = call.args.get(1).and_then(|a| literal(&a.expr))?;
            (!path.contains('.')).then_some((&call.args.first()?.expr, path))
        }
        _ => None,
    }
}

fn named(args: &[IdedExpr]) -> Option<Named> {
    match args {
        [kind, namespace, name] => {
            Some((literal(&kind.expr)?, literal(&namespace.expr)?, literal(&name.expr)?))
        }
        _ => None,
    }
}

/// The text of a node that is one.
pub(super) fn literal(node: &Node) -> Option<String> {
    match node {
        Node::Literal(LiteralValue::String(s)) => Some(s.inner().to_string()),
        _ => None,
    }
}
