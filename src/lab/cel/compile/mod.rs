//! What becomes of an expression when it is loaded, so that its evaluation costs what is new and
//! not what there is:
//!
//! - a call of a lesson's function becomes an index expression, which copies nothing
//!   ([`super::shared`]);
//! - `trace.exists(t, P)`, `trace.filter(t, P)` and the same over `history("Kind", "ns", "name")`
//!   read a *narrowed* list: of `P`, the conditions that look at nothing but the element are tested
//!   once for each element, when it is new ([`super::memo`]), and only elements that pass are kept.
//!
//! - every turn of a loop, and every copy into a list or a text, charges the evaluation's budget
//!   ([`super::budget`]).
//!
//! Worked example: in `trace.exists(t, t.user == "learner" && t.object == "Pod/default/" +
//! name(d))` the first condition is about the record alone, the second is not. The narrowed list
//! has the learner's records; the whole expression is evaluated over those.

use super::functions;
use super::language::{ADD, AND, CONDITIONAL, INDEX, OR, TICK, TYPES, WEIGH, function_name, list_name};
use super::words::Meaning;
use cel::Program;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr as Node, IdedExpr, ListExpr, LiteralValue};
use std::sync::atomic::{AtomicU64, Ordering};

/// Whose elements are narrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Trace,
    History { kind: String, namespace: String, name: String },
}

/// A list of which only some elements matter to an expression.
#[derive(Clone, Debug)]
pub(crate) struct Narrow {
    /// Of this program's run: under it [`super::memo::Memo`] keeps what passed.
    pub id: u64,
    pub source: Source,
    /// The name of the element in the tests.
    pub var: String,
    /// Tests that can be made without an object's body, and those that need it. An element passes
    /// if none of them is false.
    pub cheap: Vec<IdedExpr>,
    pub costly: Vec<IdedExpr>,
    /// For `all`: an element is of interest if its test is not true.
    pub inverted: bool,
    /// Functions that the tests call.
    pub functions: Vec<&'static str>,
    /// How many nodes of a test stand inside each other, at most.
    pub levels: usize,
}

/// An expression as it is evaluated.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub expr: IdedExpr,
    pub narrows: Vec<Narrow>,
    /// Functions that it calls itself.
    pub functions: Vec<&'static str>,
    /// It reads `trace` itself, not only narrowed parts.
    pub whole_trace: bool,
    /// The names that macros around the present node bind.
    bound: Vec<String>,
}

impl Compiled {
    fn of(expr: IdedExpr) -> Compiled {
        Compiled { expr, narrows: vec![], functions: vec![], whole_trace: false, bound: vec![] }
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number that no other expression of this process has.
pub(super) fn fresh_id() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Compiles an expression. `given`: names that are bound in the whole of it; like those of a macro
/// they hide the values of these names (`v`).
pub(super) fn compile(expr: &IdedExpr, given: &[(&str, Meaning)]) -> Compiled {
    let mut compiled = Compiled::of(expr.clone());
    compiled.bound.extend(given.iter().map(|(name, _)| name.to_string()));
    let mut expr = std::mem::take(&mut compiled.expr);
    compiled.rewrite(&mut expr, true);
    compiled.expr = expr;
    compiled
}

/// Functions whose value follows from their arguments alone.
const PURE: &[&str] = &[
    "get",
    "ready",
    "last",
    "ms",
    "after",
    "name",
    "since",
    "is_request",
    "covers",
    "shows",
    "base64",
    "alike",
    "near",
    "same_items",
    "fits",
];
impl Compiled {
    /// `narrow`: comprehensions may be narrowed; inside the tests of one they are not.
    fn rewrite(&mut self, node: &mut IdedExpr, narrow: bool) {
        if let Node::Call(call) = &node.expr
            && call.target.is_none()
            && call.func_name == "requests"
            && let Some(expanded) = requests(call)
        {
            *node = expanded;
        }
        if narrow
            && let Node::Comprehension(c) = &mut node.expr
            && let Some(narrow) = narrowed(c, &self.bound)
        {
            c.iter_range.expr = Node::Ident(list_name(self.narrows.len()));
            self.narrows.push(narrow);
        }
        match &mut node.expr {
            Node::Call(call) => {
                self.rewrite_args(call, narrow);
                let known = functions::TABLE.iter().find(|f| f.name == call.func_name);
                if let Some(known) = known.filter(|_| call.target.is_none()) {
                    self.call(known.name);
                    let args = std::mem::take(&mut call.args);
                    *node = index(known.name, args);
                }
            }
            Node::Comprehension(c) => {
                self.rewrite(&mut c.iter_range, narrow);
                self.rewrite(&mut c.accu_init, narrow);
                let depth = self.bound.len();
                self.bound
                    .extend([c.iter_var.clone(), c.accu_var.clone()].into_iter().chain(c.iter_var2.clone()));
                self.rewrite(&mut c.loop_cond, narrow);
                self.rewrite_step(c, narrow);
                self.rewrite(&mut c.result, narrow);
                self.bound.truncate(depth);
            }
            Node::List(list) => self.rewrite_list(list, narrow),
            Node::Select(select) => self.rewrite(&mut select.operand, narrow),
            Node::Map(map) => {
                for entry in &mut map.entries {
                    if let cel::common::ast::EntryExpr::MapEntry(e) = &mut entry.expr {
                        self.rewrite(&mut e.key, narrow);
                        self.rewrite(&mut e.value, narrow);
                        weigh(&mut e.value);
                    }
                }
            }
            Node::Ident(name) => self.whole_trace |= name == "trace",
            _ => {}
        }
    }

    /// Rewrites what a call is given. The evaluator's own lists and maps do not know shared ones,
    /// which know both: of a comparison the left side has to be shared, if one of the two is.
    ///
    /// ```text
    /// {} == x                   x == {}
    /// v.all.map(a, a) == x      WEIGH[v.all.map(a, a)] == x, which makes it a shared one
    /// ```
    fn rewrite_args(&mut self, call: &mut CallExpr, narrow: bool) {
        let compares = matches!(call.func_name.as_str(), "_==_" | "_!=_");
        if compares
            && let [left, right] = call.args.as_mut_slice()
            && is_written_out(&left.expr)
        {
            std::mem::swap(left, right);
        }
        if let Some(target) = &mut call.target {
            self.rewrite(target, narrow);
        }
        for arg in &mut call.args {
            self.rewrite(arg, narrow);
        }
        let is_sum = call.func_name == ADD;
        if let [left, right] = call.args.as_mut_slice() {
            if is_sum {
                weigh(right);
            } else if compares && is_gathered(&left.expr) && !is_written_out(&right.expr) {
                weigh(left);
            }
        }
    }

    fn rewrite_list(&mut self, list: &mut ListExpr, narrow: bool) {
        for element in &mut list.elements {
            self.rewrite(element, narrow);
            weigh(element);
        }
    }

    /// Has every turn of a loop charged. The evaluator knows the steps of `exists`, `all`, `map`
    /// and `filter` by their forms and runs them without copying what they have gathered: the forms
    /// stay.
    fn rewrite_step(&mut self, c: &mut ComprehensionExpr, narrow: bool) {
        let (var, accu) = (node(Node::Ident(c.iter_var.clone())), c.accu_var.clone());
        let tick = node(Node::Call(CallExpr {
            func_name: INDEX.into(),
            target: None,
            args: vec![node(Node::Ident(TICK.into())), var],
        }));
        let ticked = |then: IdedExpr, otherwise: IdedExpr| {
            let args = vec![tick.clone(), then, otherwise];
            node(Node::Call(CallExpr { func_name: CONDITIONAL.into(), target: None, args }))
        };
        let is_accu = |e: &IdedExpr| matches!(&e.expr, Node::Ident(name) if *name == accu);
        let gathered = || node(Node::Ident(accu.clone()));
        if let Node::Call(step) = &mut c.loop_step.expr
            && step.target.is_none()
        {
            match (step.func_name.as_str(), step.args.as_mut_slice()) {
                (OR | AND, [before, test]) if is_accu(before) => {
                    self.rewrite(test, narrow);
                    let never = node(Node::Literal(LiteralValue::Boolean(false.into())));
                    *test = ticked(std::mem::take(test), never);
                    return;
                }
                (CONDITIONAL, [test, then, otherwise]) if is_accu(otherwise) => {
                    self.rewrite(test, narrow);
                    let never = node(Node::Literal(LiteralValue::Boolean(false.into())));
                    *test = ticked(std::mem::take(test), never);
                    self.rewrite_gathering(then, &accu, narrow);
                    return;
                }
                _ => {}
            }
        }
        self.rewrite_gathering(&mut c.loop_step, &accu, narrow);
        let step = std::mem::take(&mut c.loop_step);
        c.loop_step = ticked(step, gathered());
    }

    /// `@result + [x]`: what was gathered is not copied.
    fn rewrite_gathering(&mut self, step: &mut IdedExpr, accu: &str, narrow: bool) {
        if let Node::Call(call) = &mut step.expr
            && call.func_name == ADD
            && let [before, more] = call.args.as_mut_slice()
            && matches!(&before.expr, Node::Ident(name) if name == accu)
            && let Node::List(list) = &mut more.expr
        {
            return self.rewrite_list(list, narrow);
        }
        self.rewrite(step, narrow);
    }

    fn call(&mut self, name: &'static str) {
        if !self.functions.contains(&name) {
            self.functions.push(name);
        }
    }
}

fn node(expr: Node) -> IdedExpr {
    IdedExpr { id: 0, expr }
}

/// Returns whether a node is a list or a map that stands in the expression.
fn is_written_out(node: &Node) -> bool {
    matches!(node, Node::Map(_) | Node::List(_))
}

/// Returns whether a node's value may be a list or a map that the evaluator has made.
fn is_gathered(node: &Node) -> bool {
    match node {
        Node::Comprehension(_) => true,
        Node::Call(call) if call.func_name == CONDITIONAL => {
            call.args.iter().skip(1).any(|branch| is_gathered(&branch.expr))
        }
        Node::Call(call) => call.func_name == ADD,
        other => is_written_out(other),
    }
}

/// Has a copy of a value charged.
fn weigh(value: &mut IdedExpr) {
    let is_light = match &value.expr {
        Node::Literal(_) => true,
        // Types are values that nothing can copy.
        Node::Ident(name) => TYPES.contains(&name.as_str()),
        Node::Call(call) => call.func_name == "type",
        _ => false,
    };
    if !is_light {
        let args = vec![node(Node::Ident(WEIGH.into())), std::mem::take(value)];
        *value = node(Node::Call(CallExpr { func_name: INDEX.into(), target: None, args }));
    }
}

/// `f(a, b)` as `f[[a, b]]`.
fn index(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let callee = node(Node::Ident(function_name(name)));
    let args = node(Node::List(ListExpr::new(args)));
    node(Node::Call(CallExpr { func_name: INDEX.into(), target: None, args: vec![callee, args] }))
}

/// `requests(verbs, object, commands)` is the part of the trace that fits.
fn requests(call: &CallExpr) -> Option<IdedExpr> {
    let template = Program::compile("trace.filter(request__, is_request(request__))").ok()?;
    let mut expanded = template.expression().clone();
    let Node::Comprehension(c) = &mut expanded.expr else { return None };
    let Node::Call(step) = &mut c.loop_step.expr else { return None };
    let Node::Call(test) = &mut step.args.first_mut()?.expr else { return None };
    test.args.extend(call.args.iter().cloned());
    Some(expanded)
}

/// The elements that matter to a comprehension, if it is over a list of what happened and says
/// something about the element alone. `outer`: names that macros around it bind; they hide the
/// values of these names (`v`, `trace`), and what is tested once for each element knows nothing of
/// them.
fn narrowed(c: &ComprehensionExpr, outer: &[String]) -> Option<Narrow> {
    if c.iter_var2.is_some() {
        return None;
    }
    let source = match &c.iter_range.expr {
        Node::Ident(name) if name == "trace" && !outer.contains(name) => Source::Trace,
        Node::Call(call) if call.target.is_none() && call.func_name == "history" => {
            let text = |at: usize| match &call.args.get(at)?.expr {
                Node::Literal(LiteralValue::String(s)) => Some(s.inner().to_string()),
                _ => None,
            };
            Source::History { kind: text(0)?, namespace: text(1)?, name: text(2)? }
        }
        _ => return None,
    };
    let Node::Call(step) = &c.loop_step.expr else { return None };
    let is_accu = |e: &IdedExpr| matches!(&e.expr, Node::Ident(name) if *name == c.accu_var);
    let (test, inverted) = match (step.func_name.as_str(), step.args.as_slice()) {
        (OR, [accu, test]) if is_accu(accu) => (test, false),
        (AND, [accu, test]) if is_accu(accu) => (test, true),
        (CONDITIONAL, [test, ..]) => (test, false),
        _ => return None,
    };
    let mut tests = Vec::new();
    if inverted {
        tests.push(test);
    } else {
        conditions(test, &mut tests);
    }
    let mut bound = vec![c.iter_var.clone()];
    let (mut cheap, mut costly, mut called) = (Vec::new(), Vec::new(), Compiled::of(IdedExpr::default()));
    let mut deepest = 0;
    for test in tests.into_iter().filter(|t| is_pure(t, &mut bound, outer)) {
        deepest = deepest.max(levels(test));
        let costs = reads_object(test);
        let mut test = test.clone();
        called.rewrite(&mut test, false);
        if costs { &mut costly } else { &mut cheap }.push(test);
    }
    if cheap.is_empty() && costly.is_empty() {
        return None;
    }
    let (id, var, functions) = (fresh_id(), c.iter_var.clone(), called.functions);
    Some(Narrow { id, source, var, cheap, costly, inverted, functions, levels: deepest })
}

/// How many nodes of a pure expression stand inside each other.
fn levels(node: &IdedExpr) -> usize {
    let inner = match &node.expr {
        Node::Call(call) => {
            let target = call.target.iter().map(|t| levels(t));
            target.chain(call.args.iter().map(levels)).max()
        }
        Node::Comprehension(c) => {
            let parts = [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result];
            parts.into_iter().map(levels).max()
        }
        Node::List(list) => list.elements.iter().map(levels).max(),
        Node::Select(select) => Some(levels(&select.operand)),
        _ => None,
    };
    1 + inner.unwrap_or_default()
}

/// The parts of `a && b && c`.
fn conditions<'a>(test: &'a IdedExpr, parts: &mut Vec<&'a IdedExpr>) {
    match &test.expr {
        Node::Call(call) if call.func_name == AND && call.target.is_none() && call.args.len() == 2 => {
            call.args.iter().for_each(|arg| conditions(arg, parts));
        }
        _ => parts.push(test),
    }
}

/// Returns whether a node's value follows from the bound names, and from what is the same
/// throughout a step. `outer`: as of [`narrowed`].
fn is_pure(node: &IdedExpr, bound: &mut Vec<String>, outer: &[String]) -> bool {
    let is_step = |name: &String| matches!(name.as_str(), "since_step" | "v") && !outer.contains(name);
    match &node.expr {
        Node::Literal(_) => true,
        Node::Ident(name) => bound.contains(name) || is_step(name),
        Node::Select(select) => is_pure(&select.operand, bound, outer),
        Node::Call(call) => {
            let ours = functions::TABLE.iter().any(|f| f.name == call.func_name);
            let known = call.func_name != "requests" && (!ours || PURE.contains(&call.func_name.as_str()));
            known
                && call.target.iter().all(|t| is_pure(t, bound, outer))
                && call.args.iter().all(|a| is_pure(a, bound, outer))
        }
        Node::List(list) => list.elements.iter().all(|e| is_pure(e, bound, outer)),
        Node::Comprehension(c) => {
            let begins = is_pure(&c.iter_range, bound, outer) && is_pure(&c.accu_init, bound, outer);
            let depth = bound.len();
            bound.push(c.iter_var.clone());
            bound.extend(c.iter_var2.clone());
            bound.push(c.accu_var.clone());
            let turns = [&c.loop_cond, &c.loop_step, &c.result];
            let turns = turns.into_iter().all(|part| is_pure(part, bound, outer));
            bound.truncate(depth);
            begins && turns
        }
        _ => false,
    }
}

/// Returns whether a node names the field `object` of a version, or hands the whole element on.
fn reads_object(node: &IdedExpr) -> bool {
    match &node.expr {
        Node::Select(select) => match &select.operand.expr {
            Node::Ident(_) => select.field == "object",
            _ => reads_object(&select.operand),
        },
        Node::Ident(name) => !matches!(name.as_str(), "since_step" | "v"),
        Node::Call(call) => call.target.iter().any(|t| reads_object(t)) || call.args.iter().any(reads_object),
        Node::List(list) => list.elements.iter().any(reads_object),
        Node::Literal(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
