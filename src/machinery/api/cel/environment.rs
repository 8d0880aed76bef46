//! The environment of expressions: which libraries are loaded, which functions an expression may
//! call, and the scope that has them.

use super::addresses;
use super::arguments::Run;
use super::fault::Fault;
use super::functions::{self, DURATION, MATCHES};
use super::language;
use super::lists;
use super::terms::AS_IT_IS;
use crate::{bounds, gostr, gotime};
use cel::common::ast::{CallExpr, Expr as Node, LiteralValue};
use cel::extractors::{Arguments, This};
use cel::parser::{Macro, MacroExprHelper};
use cel::{Context, DeclarationError, Env, ExecutionError, IdedExpr, ParseError, Value, extensions};
use std::sync::{Arc, LazyLock};

pub(super) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    for extension in [extensions::strings, extensions::lists, lists::extension, rename_own] {
        if let Err(error) = env.add_extension(extension) {
            tracing::error!(%error, "a library of CEL is missing");
        }
    }
    Arc::new(env)
});

/// Makes `text.matches(pattern)` and `matches(text, pattern)` calls of [`MATCHES`] on the text. The
/// library has a `matches`, too, whose patterns have ten times the size and are compiled for every
/// call, and functions of a library go before those that a context adds under the same name. One
/// that a context adds gets its first argument twice if it is called on no value
/// ([`add_function`]): the pattern would be the text itself, which matches. `duration(text)`
/// becomes a call of [`DURATION`]: the library's own reads the beginning of a text alone.
///
/// # Errors
/// If there is such a macro already.
fn rename_own(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_macro(Macro::receiver("matches", 1, renamed))?;
    env.add_macro(Macro::global("matches", 2, renamed))?;
    env.add_macro(Macro::global("duration", 1, renamed_duration))
}

fn renamed(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> Result<Option<IdedExpr>, ParseError> {
    Ok(Some(called_on_first(MATCHES, helper, target, args)))
}

fn renamed_duration(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> Result<Option<IdedExpr>, ParseError> {
    Ok(Some(called_on_first(DURATION, helper, target, args)))
}

/// Makes a call of our own function on what the call is made on, or else on its first argument,
/// which a global call has.
fn called_on_first(
    name: &str,
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> IdedExpr {
    let mut args = std::mem::take(args);
    let target = target.take().unwrap_or_else(|| args.remove(0));
    let call = CallExpr { func_name: name.to_string(), target: Some(Box::new(target)), args };
    helper.next_expr(Node::Call(call))
}

/// Functions of the libraries that Kubernetes loads for every expression.
const LIBRARIES: &[&str] = &[
    "charAt",
    "indexOf",
    "lastIndexOf",
    "join",
    "lowerAscii",
    "upperAscii",
    "trim",
    "replace",
    "split",
    "substring",
    "format",
    "quote",
    "reverse",
    "slice",
    "flatten",
    "distinct",
    "sort",
    "sortBy",
    "range",
    "hasValue",
    "value",
    "or",
    "orValue",
    "of",
    "none",
    "ofNonZeroValue",
    "optMap",
    "optFlatMap",
];

/// Types that an expression may name: `type(x) == int`.
pub(crate) const TYPE_NAMES: [&str; 10] =
    ["int", "uint", "double", "string", "bool", "list", "map", "null_type", "bytes", "type"];

/// Returns whether functions are called on this name, as in `strings.quote(x)`.
pub(crate) fn is_library(name: &str) -> bool {
    matches!(name, "strings" | "lists" | "optional")
}

/// Returns whether an expression may call this function: `name` as written, `short` without the
/// name of its library.
fn is_function(name: &str, short: &str) -> bool {
    language::FUNCTIONS.contains(&short)
        || LIBRARIES.contains(&short)
        || functions::OWN.iter().chain(addresses::FUNCTIONS).any(|(own, _)| *own == name)
}

/// Those of Kubernetes' own functions that are called on no value; all others are called on one.
/// `ip` has both forms: `ip('10.0.0.1')`, and `cidr('10.0.0.0/8').ip()`.
const ON_NO_VALUE: [&str; 8] = ["isURL", "isQuantity", "quantity", "sign", "isIP", "isCIDR", "ip", "cidr"];

/// Functions that Kubernetes has and Ropewalk lacks. An expression that calls one is refused by its
/// name, so that its author does not look for a slip.
const MISSING: &[&str] = &[
    "url",
    "getScheme",
    "getHost",
    "getHostname",
    "getPort",
    "getEscapedPath",
    "getQuery",
    "ip.isCanonical",
    "sets.contains",
    "sets.equivalent",
    "sets.intersects",
    "optional.unwrap",
    "semver",
    "isSemver",
    "major",
    "minor",
    "patch",
    "named",
    "validate",
    "transformList",
    "transformMap",
    "transformMapEntry",
];

/// Makes a scope with all functions and no variables.
pub(crate) fn context<'v>() -> Context<'static, 'v> {
    let mut context = Context::with_env(ENV.clone());
    for (name, run) in functions::OWN.iter().chain(addresses::FUNCTIONS) {
        add_function(&mut context, name, name.trim_start_matches('@'), *run);
    }
    context
}

/// Makes a scope that has `more` functions, too. Their errors are shown as they are.
pub(crate) fn context_with<'v>(more: &'static [(&'static str, Run)]) -> Context<'static, 'v> {
    let mut context = context();
    for (name, run) in more {
        add_function(&mut context, name, AS_IT_IS, *run);
    }
    context
}

/// Adds a function, whose errors name `shown`. One with several arguments has to be called on its
/// first: `This` takes it from a global call, and `Arguments` has it once more.
fn add_function(context: &mut Context, name: &str, shown: &'static str, run: Run) {
    let called = move |This(this): This<Value>, Arguments(rest): Arguments| {
        let mut all = vec![this];
        all.extend(rest.iter().cloned());
        run(&all).map_err(|e| ExecutionError::function_error(shown, e))
    };
    if let Err(error) = context.add_function(name, called) {
        tracing::error!(%error, "a function of CEL is missing");
    }
}

/// Checks that there is a function of the name that is called, and that it can read its argument if
/// that is written in the expression.
pub(crate) fn check_call(call: &CallExpr) -> Result<(), Fault> {
    check_name(call)?;
    check_literal(call)
}

/// Checks a text that a function reads as a pattern or a time (`ValidateRegexLiterals` and its
/// like in `cel-go`). As there it is the first argument beside the value that is called on; a
/// duration is what our own function is called on.
fn check_literal(call: &CallExpr) -> Result<(), Fault> {
    let argument = if call.func_name == DURATION { call.target.as_deref() } else { call.args.first() };
    let Some(argument) = argument else { return Ok(()) };
    let Node::Literal(LiteralValue::String(written)) = &argument.expr else { return Ok(()) };
    let text = written.inner();
    let (name, is_valid) = match call.func_name.as_str() {
        MATCHES => ("matches", bounds::is_regex(text)),
        DURATION => ("duration", gostr::parse_duration(text).is_ok()),
        "timestamp" => ("timestamp", gotime::parse_nearest(text).is_ok()),
        _ => return Ok(()),
    };
    match is_valid {
        true => Ok(()),
        false => Err(Fault::new(format!("invalid {name} argument")).within(argument)),
    }
}

/// Checks that a function of Kubernetes is called on a value, or on none, as it is declared
/// ([`add_function`] says what a call in the wrong form would give).
///
/// Example: `'abc'.find('b')` is a call of `find`, and `find('abc', 'b')` is none.
pub(crate) fn check_form(call: &CallExpr) -> Result<(), Fault> {
    let name = call.func_name.as_str();
    let is_own = functions::OWN.iter().chain(addresses::FUNCTIONS).any(|(own, _)| *own == name);
    let is_global = ON_NO_VALUE.contains(&name);
    let why = match call.target {
        None if is_own && !is_global => "is called on a value",
        Some(_) if is_own && is_global && name != "ip" => "is called on no value",
        _ => return Ok(()),
    };
    Err(Fault::new(format!("found no matching overload for '{name}', which {why}")))
}

fn check_name(call: &CallExpr) -> Result<(), Fault> {
    let name = call.func_name.as_str();
    let operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
    let short = name.rsplit('.').next().unwrap_or(name);
    let owner = match call.target.as_deref().map(|t| &t.expr) {
        Some(Node::Ident(owner)) => format!("{owner}.{name}"),
        _ => name.to_string(),
    };
    let missing = MISSING.iter().find(|m| **m == name || **m == owner);
    if let Some(missing) = missing.filter(|_| !operator) {
        let why = format!("the function '{missing}' of Kubernetes is not implemented in Ropewalk");
        return Err(Fault::new(why));
    }
    if !operator && !is_function(name, short) {
        return Err(Fault::new(format!("undeclared reference to '{name}' (in container '')")));
    }
    Ok(())
}
