//! Which expressions, once true, stay true, because what they ask for has happened. Such a check is
//! noted as held, also beyond a restart. An expression about the past that can turn false again
//! (`!trace.exists(…)`, `history(…).all(…)`, `size(history(…)) == 1`) is true before the learner
//! has done anything, so it is judged like one about the present: it has to hold while the step is.
//!
//! Example: in `trace.exists(t, t.verb == "delete" && !t.dry_run)` a further record adds a way to
//! be true and takes none away; the negation is about one record. In `!trace.exists(t, t.verb ==
//! "delete")` the next record may be the one that makes it false.

use super::functions::{Asks, TABLE};
use super::language::{AND, CONDITIONAL, OR};
use cel::common::ast::{EntryExpr, Expr as Node, IdedExpr};

/// Returns whether an expression stays true once it is, as long as history, trace and events only
/// grow.
pub(super) fn stays_true(node: &Node) -> bool {
    if !reads_past(node) {
        return true;
    }
    match node {
        Node::Call(call) if call.target.is_none() => {
            let args: Vec<&Node> = call.args.iter().map(|a| &a.expr).collect();
            match (call.func_name.as_str(), args.as_slice()) {
                (AND | OR, args) => args.iter().all(|a| stays_true(a)),
                (CONDITIONAL, [test, yes, no]) => !reads_past(test) && stays_true(yes) && stays_true(no),
                ("_>_" | "_>=_", [more, less]) => is_growing_size(more) && !reads_past(less),
                ("_!=_", [found, none] | [none, found]) if is_empty(none) => is_found(found),
                _ => false,
            }
        }
        Node::Comprehension(c) => {
            let Node::Call(step) = &c.loop_step.expr else { return false };
            let is_accu = |e: &IdedExpr| matches!(&e.expr, Node::Ident(name) if *name == c.accu_var);
            match (step.func_name.as_str(), step.args.as_slice()) {
                // exists: one element more can only help.
                (OR, [accu, test]) if is_accu(accu) => grows(&c.iter_range.expr) && stays_true(&test.expr),
                // all: the elements have to be those of the beginning.
                (AND, [accu, test]) if is_accu(accu) => {
                    !reads_past(&c.iter_range.expr) && stays_true(&test.expr)
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// Returns whether a node is a list to which elements are only ever added, or one that has nothing
/// to do with the past.
fn grows(node: &Node) -> bool {
    match node {
        _ if !reads_past(node) => true,
        Node::Ident(_) => true,
        Node::Call(call) => {
            call.target.is_none()
                && !call.args.iter().any(|a| reads_past(&a.expr))
                && is_growing(&call.func_name)
        }
        // filter
        Node::Comprehension(c) => match &c.loop_step.expr {
            Node::Call(step) if step.func_name == CONDITIONAL => {
                let test = step.args.first().map(|test| &test.expr);
                grows(&c.iter_range.expr) && test.is_some_and(stays_true)
            }
            _ => false,
        },
        _ => false,
    }
}

/// `size(list)` or `list.size()` of a list that grows.
fn is_growing_size(node: &Node) -> bool {
    let Node::Call(call) = node else { return false };
    let list = call.target.as_deref().or(call.args.first());
    call.func_name == "size" && list.is_some_and(|list| grows(&list.expr))
}

/// `{}`, which says that nothing was found.
fn is_empty(node: &Node) -> bool {
    matches!(node, Node::Map(map) if map.entries.is_empty())
}

/// Returns whether a node looks for a record in the trace. Once there is one, there is always one.
fn is_found(node: &Node) -> bool {
    let Node::Call(call) = node else { return false };
    searches_trace(&call.func_name)
        && !is_growing(&call.func_name)
        && call.target.is_none()
        && !call.args.iter().any(|arg| reads_past(&arg.expr))
}

/// Functions whose answer is a list to which elements are only ever added.
fn is_growing(function: &str) -> bool {
    matches!(function, "history" | "events" | "requests" | "hops")
}

fn searches_trace(function: &str) -> bool {
    TABLE.iter().any(|known| known.name == function && known.asks == Asks::Trace)
}

fn reads_past(node: &Node) -> bool {
    match node {
        Node::Ident(name) => matches!(name.as_str(), "trace" | "ran"),
        Node::Call(call) => {
            is_growing(&call.func_name)
                || searches_trace(&call.func_name)
                || call.target.iter().any(|t| reads_past(&t.expr))
                || call.args.iter().any(|a| reads_past(&a.expr))
        }
        Node::Comprehension(c) => {
            let parts = [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result];
            parts.into_iter().any(|part| reads_past(&part.expr))
        }
        Node::List(list) => list.elements.iter().any(|e| reads_past(&e.expr)),
        Node::Select(select) => reads_past(&select.operand.expr),
        Node::Map(map) => map.entries.iter().any(|entry| match &entry.expr {
            EntryExpr::MapEntry(e) => reads_past(&e.key.expr) || reads_past(&e.value.expr),
            EntryExpr::StructField(field) => reads_past(&field.value.expr),
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Use};

    #[test]
    fn only_what_stays_true_is_noted_as_held() {
        for (check, is_held) in [
            ("trace.exists(t, t.code == 409 && !t.dry_run)", true),
            ("requests('get list', 'Pod/default/*').exists(t, t.table)", true),
            ("requests('get', 'Pod/default/*').size() > 1", true),
            ("size(history('Pod','d','x').filter(h, h.verb == 'DELETED')) >= 2", true),
            ("['Pod','Service'].all(k, trace.exists(t, t.object == k + '/d/*'))", true),
            ("trace.exists(t, t.own && trace.exists(d, d.at < t.at)) || ran.exists(r, r.code == 7)", true),
            ("ran.exists(r, r.line.contains('curl') ? r.code == 7 : r.code == 4)", true),
            ("wrote('patch', 'Pod/d/x') != {} && {} != hop('kubelet', 'delete', 'Pod/d/x')", true),
            ("removed('Pod/d/x') != {} || hops('kubelet', 'delete', 'Pod/d/x').size() > 1", true),
            ("trace.exists(t, t.own && t.verb == 'create') && removed('Pod/d/x') == {}", false),
            ("asked('get', 'Pod/d/x').code == 200", false),
            ("hops('kubelet', 'delete', 'Pod/d/x').size() == 0", false),
            ("trace.exists(t, because(t) == {})", false),
            ("!trace.exists(t, t.verb == 'delete')", false),
            ("history('Pod','d','x').all(h, h.verb != 'DELETED')", false),
            ("size(history('Pod','d','x')) == 1", false),
            ("trace.exists(t, !trace.exists(d, d.at > t.at))", false),
            ("get(last(history('Pod','d','x')), 'verb', '') == 'DELETED'", false),
            ("present('Pod','d','x')", false),
        ] {
            let expr = Expr::compile(check, Use::Check, &[]).unwrap();
            assert_eq!(!expr.is_level(), is_held, "{check}");
        }
    }
}
