//! The CEL of definitions: the functions that Kubernetes adds to the standard ones, and what can be
//! said about an expression before it runs.

use super::addresses;
use super::arguments::{Run, text, word};
use super::lists;
use crate::bounds;
use crate::cel as standard;
use crate::quantity::Quantity;
use cel::common::ast::{CallExpr, Expr as Node};
use cel::extractors::{Arguments, This};
use cel::objects::Opaque;
use cel::parser::{Macro, MacroExprHelper};
use cel::{Context, DeclarationError, Env, ExecutionError, IdedExpr, ParseError, Program, Value, extensions};
use parking_lot::Mutex;
use regex::Regex;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    for extension in
        [extensions::strings, extensions::lists, extensions::math, lists::extension, rename_matches]
    {
        if let Err(error) = env.add_extension(extension) {
            tracing::error!(%error, "a library of CEL is missing");
        }
    }
    Arc::new(env)
});

/// The name of our own `matches`. No expression can write it.
pub(crate) const MATCHES: &str = "@matches";

/// Makes `text.matches(pattern)` and `matches(text, pattern)` calls of [`MATCHES`]. The library has
/// a `matches`, too, whose patterns have ten times the size and are compiled for every call, and
/// functions of a library go before those that a context adds under the same name.
///
/// # Errors
/// If there is such a macro already.
fn rename_matches(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_macro(Macro::receiver("matches", 1, renamed))?;
    env.add_macro(Macro::global("matches", 2, renamed))
}

fn renamed(
    helper: &mut MacroExprHelper<'_>,
    target: &mut Option<IdedExpr>,
    args: &mut Vec<IdedExpr>,
) -> Result<Option<IdedExpr>, ParseError> {
    let (target, args) = (target.take().map(Box::new), std::mem::take(args));
    let call = CallExpr { func_name: MATCHES.to_string(), target, args };
    Ok(Some(helper.next_expr(Node::Call(call))))
}

/// What the libraries add that Kubernetes loads for every expression.
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
    "greatest",
    "least",
    "bind",
];

/// Returns whether functions are called on this name, as in `strings.quote(x)`.
pub(crate) fn is_library(name: &str) -> bool {
    matches!(name, "strings" | "math" | "lists" | "optional" | "cel")
}

/// Returns whether an expression may call this function: `name` as written, `short` without the
/// name of its library.
fn is_function(name: &str, short: &str) -> bool {
    standard::FUNCTIONS.contains(&short)
        || LIBRARIES.contains(&short)
        || OWN.iter().chain(addresses::FUNCTIONS).any(|(own, _)| *own == name)
}

/// Functions that Kubernetes has and this reader of CEL has not. A rule that calls one is refused
/// by its name, so that its author does not look for a slip.
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

/// Levels of an expression (upstream: `MaxRecursionDepth`). Reading and evaluating one recurses.
const DEPTH_MAX: usize = 250;
/// Levels that the stack of any thread has room for when an expression is evaluated.
const DEPTH_SMALL: usize = 16;
/// Characters of an expression (upstream: `ExpressionSizeCodePointLimit`).
const LENGTH_MAX: usize = 100_000;
/// Bytes of stack for an expression that nests deeper than [`DEPTH_SMALL`]: some 250 KiB a level,
/// most of which is never touched.
const STACK: usize = 64 * 1024 * 1024;

/// An expression that is neither too long nor too deep.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) program: Program,
    /// Levels that it nests, at most.
    pub(crate) depth: usize,
}

impl Term {
    /// Returns the steps that each evaluation takes beside those of the expression: one that needs
    /// a large stack gets a thread of its own, for some 30 microseconds.
    pub(crate) fn overhead(&self) -> f64 {
        const THREAD: f64 = 300.0;
        if self.depth > DEPTH_SMALL { THREAD } else { 0.0 }
    }
}

/// Compiles an expression. Every expression of a definition is compiled here.
///
/// # Errors
/// The message of the compiler, or that the expression is too long or nests too deep.
pub(crate) fn compile(source: &str) -> Result<Term, String> {
    let length = source.chars().count();
    if length > LENGTH_MAX {
        return Err(format!("expression code point size exceeds limit: size: {length}, limit {LENGTH_MAX}"));
    }
    let depth = standard::levels(source)?;
    if depth > DEPTH_MAX {
        return Err(format!("expression recursion limit exceeded: {DEPTH_MAX}"));
    }
    let program = on_large_stack(|| ENV.compile(source).map_err(|e| e.to_string()))?;
    Ok(Term { program, depth })
}

/// Runs `work`, which recurses `depth` levels into an expression, on a stack that has room for it.
pub(crate) fn with_stack<T: Send>(
    depth: usize,
    work: impl FnOnce() -> Result<T, String> + Send,
) -> Result<T, String> {
    if depth <= DEPTH_SMALL { work() } else { on_large_stack(work) }
}

/// Runs `work` on a stack of [`STACK`] bytes. The parser always does: a few brackets take more than
/// a task's stack.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("cel".into()).stack_size(STACK);
        let thread =
            thread.spawn_scoped(scope, work).map_err(|e| format!("no thread for the expression: {e}"))?;
        thread.join().map_err(|_| "the expression cannot be evaluated".to_string())?
    })
}

/// Evaluates an expression.
///
/// # Errors
/// The message of the evaluator, in upstream's words.
pub(crate) fn execute(term: &Term, scope: &Context) -> Result<Value, String> {
    with_stack(term.depth, || term.program.execute(scope).map_err(|e| in_words_of_upstream(&e)))
}

/// The error of a call whose arguments are of other types than the function takes.
pub(super) const NO_OVERLOAD: &str = "no such overload";

/// Returns the text of an error as `cel-go` has it. The evaluator's own text shows values as its
/// debug output has them.
fn in_words_of_upstream(error: &ExecutionError) -> String {
    match error {
        ExecutionError::FunctionError { function, .. } if function == "duration" => {
            "type conversion error from 'string' to 'duration'".to_string()
        }
        ExecutionError::FunctionError { message, .. } if message == NO_OVERLOAD => NO_OVERLOAD.to_string(),
        ExecutionError::NoSuchOverload(_) => NO_OVERLOAD.to_string(),
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::IndexOutOfBounds(Value::Int(index)) => format!("index out of bounds: {index}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_string(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_string(),
        ExecutionError::Overflow(_, Value::Int(_), _) => "integer overflow".to_string(),
        ExecutionError::Overflow(_, Value::UInt(_), _) => "unsigned integer overflow".to_string(),
        other => other.to_string(),
    }
}

// -- functions
// -------------------------------------------------------------------------------------------------

#[derive(Debug, PartialEq)]
struct Amount(Quantity);
impl Eq for Amount {}
impl Opaque for Amount {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Quantity"
    }
}

/// Name, how many values beside the one it is called on, what it does with all of them.
const OWN: &[(&str, Run)] = &[
    (MATCHES, |v| Ok(Value::Bool(pattern(v, 1)?.is_match(word(v, 0)?)))),
    ("find", |v| Ok(text(pattern(v, 1)?.find(word(v, 0)?).map_or("", |m| m.as_str())))),
    ("findAll", |v| {
        let all = pattern(v, 1)?;
        let limit = if let Some(Value::Int(n)) = v.get(2) { *n } else { -1 };
        let found = all.find_iter(word(v, 0)?).map(|m| text(m.as_str()));
        Ok(Value::List(Arc::new(found.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())))
    }),
    ("isSorted", |v| {
        let sorted = items(v)?
            .windows(2)
            .all(|pair| !matches!(pair[0].partial_cmp(&pair[1]), Some(Ordering::Greater) | None));
        Ok(Value::Bool(sorted))
    }),
    ("sum", |v| {
        let mut sum = Value::Int(0);
        for item in items(v)? {
            sum = match (sum, item) {
                (Value::Int(0), other) => other.clone(),
                (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(*b).ok_or("integer overflow")?),
                (Value::UInt(a), Value::UInt(b)) => Value::UInt(a.checked_add(*b).ok_or("integer overflow")?),
                (Value::Float(a), Value::Float(b)) => Value::Float(a + b),
                (Value::Duration(a), Value::Duration(b)) => {
                    Value::Duration(a.checked_add(b).ok_or("duration overflow")?)
                }
                _ => return Err("these values cannot be summed".into()),
            };
        }
        Ok(sum)
    }),
    ("min", |v| extreme(v, Ordering::Less)),
    ("max", |v| extreme(v, Ordering::Greater)),
    ("isURL", |v| Ok(Value::Bool(addresses::is_request_uri(word(v, 0)?)))),
    ("isQuantity", |v| Ok(Value::Bool(Quantity::parse(word(v, 0)?).is_some()))),
    ("quantity", |v| Ok(Value::Opaque(Arc::new(Amount(Quantity::read(word(v, 0)?)?))))),
    ("add", |v| Ok(Value::Opaque(Arc::new(Amount(amount(v, 0)? + operand(v)?))))),
    ("sub", |v| Ok(Value::Opaque(Arc::new(Amount(amount(v, 0)? - operand(v)?))))),
    ("isGreaterThan", |v| Ok(Value::Bool(amount(v, 0)? > amount(v, 1)?))),
    ("isLessThan", |v| Ok(Value::Bool(amount(v, 0)? < amount(v, 1)?))),
    ("compareTo", |v| {
        let order = amount(v, 0)?.partial_cmp(&amount(v, 1)?).unwrap_or(Ordering::Equal);
        Ok(Value::Int(order as i64))
    }),
    ("sign", |v| {
        let amount = amount(v, 0)?;
        Ok(Value::Int(if amount.is_zero() {
            0
        } else if amount.is_negative() {
            -1
        } else {
            1
        }))
    }),
    ("isInteger", |v| Ok(Value::Bool(amount(v, 0)?.as_integer().is_some()))),
    ("asInteger", |v| {
        amount(v, 0)?.as_integer().map(Value::Int).ok_or_else(|| "cannot convert value to integer".into())
    }),
    ("asApproximateFloat", |v| Ok(Value::Float(amount(v, 0)?.approximate()))),
];

fn items(values: &[Value]) -> Result<&[Value], String> {
    match values.first() {
        Some(Value::List(items)) => Ok(items),
        _ => Err("no such overload".into()),
    }
}

/// Compiled patterns that are remembered. A rule over a list asks for the same one for every item.
/// They are shared, because a copy of a pattern begins without the memory that it works in.
const PATTERNS_MAX: usize = 64;
static PATTERNS: LazyLock<Mutex<HashMap<String, Arc<Regex>>>> = LazyLock::new(Mutex::default);

fn pattern(values: &[Value], at: usize) -> Result<Arc<Regex>, String> {
    let source = word(values, at)?;
    let known = || PATTERNS.lock();
    if let Some(found) = known().get(source) {
        return Ok(found.clone());
    }
    let made = bounds::regex(source).map_err(|e| format!("'{source}' not a valid regex:\n{e}"))?;
    let made = Arc::new(made);
    let mut known = known();
    if known.len() >= PATTERNS_MAX {
        known.clear();
    }
    known.insert(source.to_string(), made.clone());
    Ok(made)
}

fn amount(values: &[Value], at: usize) -> Result<Quantity, String> {
    match values.get(at) {
        Some(Value::Opaque(o)) => o.downcast_ref::<Amount>().map(|a| a.0).ok_or("no such overload".into()),
        _ => Err("no such overload".into()),
    }
}

/// What is added to a quantity: another one, or a whole number.
fn operand(values: &[Value]) -> Result<Quantity, String> {
    match values.get(1) {
        Some(Value::Int(n)) => Ok(Quantity::of_units(*n)),
        _ => amount(values, 1),
    }
}

fn extreme(values: &[Value], wanted: Ordering) -> Result<Value, String> {
    let mut all = items(values)?.iter();
    let first = all.next().ok_or("min or max of an empty list")?;
    Ok(all.fold(first, |best, v| if v.partial_cmp(best) == Some(wanted) { v } else { best }).clone())
}

/// A scope with all functions and no values.
pub(crate) fn context<'v>() -> Context<'static, 'v> {
    let mut context = Context::with_env(ENV.clone());
    for (name, run) in OWN.iter().chain(addresses::FUNCTIONS) {
        let called = move |This(this): This<Value>, Arguments(rest): Arguments| {
            let mut all = vec![this];
            all.extend(rest.iter().cloned());
            run(&all).map_err(|e| ExecutionError::function_error(name.trim_start_matches('@'), e))
        };
        if let Err(error) = context.add_function(name, called) {
            tracing::error!(%error, "a function of CEL is missing");
        }
    }
    context
}

// -- before it runs
// -------------------------------------------------------------------------------------------------

/// Checks an expression of a definition. `known` returns whether `self.a.b` names a field.
///
/// # Errors
/// A sentence that names what is wrong with it.
pub(super) fn problems(source: &str, known: &dyn Fn(&[String]) -> bool) -> Result<(), String> {
    let term = compile(source).map_err(|e| e.replace('\n', " "))?;
    walk(&term.program.expression().expr, &mut vec![], known)
}

/// Checks that there is a function of the name that is called.
pub(crate) fn check_name(call: &CallExpr) -> Result<(), String> {
    let name = call.func_name.as_str();
    let operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
    let short = name.rsplit('.').next().unwrap_or(name);
    let owner = match call.target.as_deref().map(|t| &t.expr) {
        Some(Node::Ident(owner)) => format!("{owner}.{name}"),
        _ => name.to_string(),
    };
    let missing = MISSING.iter().find(|m| **m == name || **m == owner);
    if let Some(missing) = missing.filter(|_| !operator) {
        return Err(format!(
            "ERROR: <input>: the function '{missing}' of Kubernetes is not implemented in Ropewalk"
        ));
    }
    if !operator && !is_function(name, short) {
        return Err(format!("ERROR: <input>: undeclared reference to '{name}' (in container '')"));
    }
    Ok(())
}

/// `inner` are the names that the macros around this node bind.
fn walk(node: &Node, inner: &mut Vec<String>, known: &dyn Fn(&[String]) -> bool) -> Result<(), String> {
    if let Some(steps) = path(node)
        && !inner.iter().any(|n| n == "self" || n == "oldSelf")
        && !known(&steps)
    {
        let field = steps.last().cloned().unwrap_or_default();
        return Err(format!("ERROR: <input>: undefined field '{field}'"));
    }
    match node {
        Node::Call(call) => {
            check_name(call)?;
            // `strings.quote(x)` is a name, not a value that is called on.
            let target = call.target.iter().map(|t| &t.expr);
            let target = target.filter(|t| !matches!(t, Node::Ident(n) if is_library(n)));
            for part in target.chain(call.args.iter().map(|a| &a.expr)) {
                walk(part, inner, known)?;
            }
        }
        Node::Comprehension(c) => {
            walk(&c.iter_range.expr, inner, known)?;
            walk(&c.accu_init.expr, inner, known)?;
            let depth = inner.len();
            inner.push(c.iter_var.clone());
            inner.extend(c.iter_var2.clone());
            inner.push(c.accu_var.clone());
            for part in [&c.loop_cond.expr, &c.loop_step.expr, &c.result.expr] {
                walk(part, inner, known)?;
            }
            inner.truncate(depth);
        }
        Node::Ident(name) => {
            let types =
                ["int", "uint", "double", "string", "bool", "list", "map", "null_type", "bytes", "type"];
            let bound = matches!(name.as_str(), "self" | "oldSelf")
                || name.starts_with('@')
                || inner.contains(name)
                || types.contains(&name.as_str());
            if !bound {
                return Err(format!("ERROR: <input>: undeclared reference to '{name}' (in container '')"));
            }
        }
        Node::List(list) => {
            for item in &list.elements {
                walk(&item.expr, inner, known)?;
            }
        }
        Node::Select(select) => walk(&select.operand.expr, inner, known)?,
        Node::Map(map) => {
            for entry in &map.entries {
                if let cel::common::ast::EntryExpr::MapEntry(e) = &entry.expr {
                    walk(&e.key.expr, inner, known)?;
                    walk(&e.value.expr, inner, known)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// The fields of `self.a.b`, if it is that.
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

#[cfg(test)]
mod tests;
