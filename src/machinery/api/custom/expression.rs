//! Expressions of a definition's rules, checked before they run: the functions that they call and
//! the fields of `self` that they name.

use crate::cel::environment::{TYPE_NAMES, check_call, check_form, is_library};
use crate::cel::fault::Fault;
use crate::cel::terms;
use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr as Node};

/// Checks an expression of a definition. `known` returns whether `self.a.b` names a field.
///
/// # Errors
/// A sentence that names what is wrong with it.
pub(super) fn problems(source: &str, known: &dyn Fn(&[String]) -> bool) -> Result<(), String> {
    let term = terms::compile(source).map_err(|e| e.replace('\n', " "))?;
    walk(term.program.expression(), &mut vec![], known).map_err(|fault| fault.text(&term))
}

/// `inner` are the names that the macros around this node bind.
fn walk(node: &IdedExpr, inner: &mut Vec<String>, known: &dyn Fn(&[String]) -> bool) -> Result<(), Fault> {
    check(&node.expr, inner, known).map_err(|fault| fault.within(node))
}

/// As [`walk`], without the place of the node.
fn check(node: &Node, inner: &mut Vec<String>, known: &dyn Fn(&[String]) -> bool) -> Result<(), Fault> {
    if let Some(steps) = path(node)
        && !inner.iter().any(|n| n == "self" || n == "oldSelf")
        && !known(&steps)
    {
        let field = steps.last().cloned().unwrap_or_default();
        return Err(Fault::new(format!("undefined field '{field}'")));
    }
    match node {
        Node::Call(call) => {
            check_call(call)?;
            check_form(call)?;
            // `strings.quote(x)` is a name, not a value that is called on.
            let target =
                call.target.as_deref().filter(|t| !matches!(&t.expr, Node::Ident(n) if is_library(n)));
            for part in target.into_iter().chain(&call.args) {
                walk(part, inner, known)?;
            }
        }
        Node::Comprehension(c) => {
            walk(&c.iter_range, inner, known)?;
            walk(&c.accu_init, inner, known)?;
            let depth = inner.len();
            inner.push(c.iter_var.clone());
            inner.extend(c.iter_var2.clone());
            inner.push(c.accu_var.clone());
            for part in [&c.loop_cond, &c.loop_step, &c.result] {
                walk(part, inner, known)?;
            }
            inner.truncate(depth);
        }
        Node::Ident(name) => {
            let bound = matches!(name.as_str(), "self" | "oldSelf")
                || name.starts_with('@')
                || inner.contains(name)
                || TYPE_NAMES.contains(&name.as_str());
            if !bound {
                return Err(Fault::new(format!("undeclared reference to '{name}' (in container '')")));
            }
        }
        Node::List(list) => {
            for item in &list.elements {
                walk(item, inner, known)?;
            }
        }
        Node::Select(select) => walk(&select.operand, inner, known)?,
        Node::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(e) = &entry.expr {
                    walk(&e.key, inner, known)?;
                    walk(&e.value, inner, known)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Returns the fields of `self.a.b`, if it is that.
fn path(node: &Node) -> Option<Vec<String>> {
    match node {
        Node::Ident(name) if matches!(name.as_str(), "self" | "oldSelf") => Some(vec![]),
        Node::Select(select) => {
            let mut steps = path(&select.operand.expr)?;
            steps.push(select.field.clone());
            Some(steps)
        }
        _ => None,
    }
}
