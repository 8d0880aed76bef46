//! Which objects an expression looks at, as far as that can be said without evaluating it: the
//! values of its calls are known as soon as those of the lab (`v`) are.

use super::language::STDLIB;
use super::{facts, functions, shared};
use api::kinds::Kind;
use api::labels::Selector;
use cel::common::ast::{CallExpr, Expr as Node, IdedExpr};
use cel::{Context, Value};
use serde_json::Value as Json;

/// A call that looks at objects.
#[derive(Clone)]
pub(super) struct Read {
    function: &'static str,
    args: Vec<IdedExpr>,
}

impl Read {
    /// `None`: the function looks at no objects.
    pub(super) fn of(known: &functions::Function, call: &CallExpr) -> Option<Read> {
        let looks = matches!(
            known.name,
            "object"
                | "present"
                | "before"
                | "history"
                | "pods_of"
                | "objects"
                | "backends"
                | "exec"
                | "logs"
                | "new_logs"
                | "new_lines"
        );
        looks.then(|| Read { function: known.name, args: call.args.clone() })
    }

    /// Returns whether the read may be of this object. A value that is known only while the
    /// expression is evaluated, e.g. of a macro's variable, may be any.
    pub(super) fn may_be(&self, kind: &Kind, object: &Json, variant: &Value) -> bool {
        let text = |at: usize| self.args.get(at).and_then(|arg| text(arg, variant));
        let is = |given: Option<String>, own: &str| given.is_none_or(|given| given == "*" || given == own);
        let metadata = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
        let (namespace, name) = (metadata("namespace"), metadata("name"));
        let is_kind = |given: Option<String>| {
            given.is_none_or(|given| facts::kind(&given).is_some_and(|k| k.qualified() == kind.qualified()))
        };
        match self.function {
            "backends" => kind.kind == "Service" && is(text(0), namespace) && is(text(1), name),
            "exec" | "logs" | "new_logs" | "new_lines" => {
                kind.kind == "Pod"
                    && text(0).is_none_or(|target| {
                        let mut parts = target.split('/');
                        parts.next() == Some(namespace) && parts.next() == Some(name)
                    })
            }
            "objects" => {
                let fits = |selector: String| {
                    Selector::parse(&selector).is_ok_and(|s| s.matches(&object["metadata"]["labels"]))
                };
                is_kind(text(0)) && is(text(1), namespace) && text(2).is_none_or(fits)
            }
            _ => is_kind(text(0)) && is(text(1), namespace) && is(text(2), name),
        }
    }
}

/// Nodes of an argument inside each other: it is worked out on the stack of a task.
const LEVELS_MAX: usize = 16;

/// Returns whether an argument can be worked out at once. A loop could run for hours, as nothing
/// limits it here.
fn is_short(arg: &IdedExpr, levels: usize) -> bool {
    levels > 0
        && match &arg.expr {
            Node::Literal(_) | Node::Ident(_) => true,
            Node::Select(select) => is_short(&select.operand, levels - 1),
            Node::Call(call) => {
                call.target.iter().all(|t| is_short(t, levels - 1))
                    && call.args.iter().all(|a| is_short(a, levels - 1))
            }
            Node::List(list) => list.elements.iter().all(|e| is_short(e, levels - 1)),
            _ => false,
        }
}

/// The text that an expression comes to from a lab's values alone. `None`: it is known only while
/// the whole expression is evaluated, or takes a loop.
fn text(arg: &IdedExpr, variant: &Value) -> Option<String> {
    if !is_short(arg, LEVELS_MAX) {
        return None;
    }
    let mut context = Context::with_env(STDLIB.clone());
    context.add_variable_as_val("v", shared::wrap(variant.clone()));
    let value = Value::resolve_val(arg, &context).ok()?;
    match shared::unwrap(value.as_ref()).ok()? {
        Value::String(text) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expr, Use, value};
    use super::*;
    use serde_json::json;

    #[test]
    fn an_expression_looks_at_what_its_calls_name() {
        let variant = value::of_json(&json!({"ns": "shop", "app": "menu", "all": ["one", "two"]}));
        let looks = |source: &str, kind: &str, name: &str| {
            let labels = json!({"app": name});
            let object = json!({"metadata": {"namespace": "shop", "name": name, "labels": labels}});
            let expr = Expr::compile(source, Use::Check, &[]).unwrap();
            expr.may_look_at(facts::kind(kind).unwrap(), &object, &variant)
        };
        for (source, kind, name, is_read) in [
            ("ready(object('Deployment', v.ns, v.app))", "Deployment", "menu", true),
            ("ready(object('Deployment', v.ns, v.app))", "Deployment", "menu-old", false),
            ("ready(object('Deployment', v.ns, v.app))", "Service", "menu", false),
            ("present('Pod', 'other', v.app)", "Pod", "menu", false),
            ("size(pods_of('Deployment', v.ns, v.app)) > 0", "Deployment", "menu", true),
            ("backends(v.ns, v.app) == []", "Service", "menu", true),
            ("backends(v.ns, v.app) == []", "Service", "menu-old", false),
            ("exec(v.ns + '/tester', 'wget').exit == 0", "Pod", "tester", true),
            ("exec(v.ns + '/tester', 'wget').exit == 0", "Pod", "other", false),
            ("logs(v.ns + '/tester/side') == ''", "Pod", "tester", true),
            ("size(objects('Pod', v.ns, 'app=' + v.app)) == 1", "Pod", "menu", true),
            ("size(objects('Pod', v.ns, 'app=' + v.app)) == 1", "Pod", "other", false),
            ("size(objects('Pod', v.ns)) == 1", "Pod", "other", true),
            ("size(history('Pod', v.ns, '*')) == 1", "Pod", "other", true),
            ("v.all.all(d, present('Pod', v.ns, d))", "Pod", "one", true),
            ("v.all.all(d, present('Pod', v.ns, d))", "Service", "one", false),
            ("present('Pod', v.ns, v.all[0])", "Pod", "two", false),
            // A loop is not run for this.
            ("present('Pod', v.ns, v.all.map(a, v.all.map(b, a))[0][0])", "Pod", "two", true),
        ] {
            assert_eq!(looks(source, kind, name), is_read, "{source} {kind} {name}");
        }
    }
}
