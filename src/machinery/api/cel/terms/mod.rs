//! Expressions: compiled once, within bounds of length and depth, and evaluated on a stack that has
//! room for them. `room` bounds all expressions of one object together.

mod room;

pub(crate) use room::Room;

use super::arguments::NO_OVERLOAD;
use super::environment::ENV;
use super::functions::{check_places, prepare_pattern, takes_pattern};
use super::language;
use crate::bounds;
use cel::common::ast::{EntryExpr, Expr as Node, LiteralValue};
use cel::{Context, ExecutionError, Program, Value};
use std::collections::BTreeSet;

/// Levels of an expression (upstream: `MaxRecursionDepth`). Reading and evaluating one recurses.
const DEPTH_MAX: usize = 250;
/// Levels that the stack of any thread has room for when an expression is evaluated.
const DEPTH_SMALL: usize = 16;
/// Characters of an expression (upstream: `ExpressionSizeCodePointLimit`).
const LENGTH_MAX: usize = 100_000;
/// Patterns that are written in one expression. All of them are remembered together while it runs:
/// to compile one takes up to 30 milliseconds, and a loop asks for it in each turn.
const PATTERNS_MAX: usize = 32;
/// Bytes of these patterns, compiled.
const PATTERNS_BYTES: usize = 8 << 20;
/// Bytes of stack for an expression that nests deeper than [`DEPTH_SMALL`]: some 250 KiB a level,
/// most of which is never touched.
const STACK: usize = 64 * 1024 * 1024;

/// An expression that is neither too long nor too deep.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) program: Program,
    /// The most levels that the expression nests.
    pub(crate) depth: usize,
    /// The patterns that are written in the expression.
    patterns: Vec<String>,
    /// Bytes of these patterns, compiled.
    pattern_bytes: usize,
}

impl Term {
    /// Compiles the patterns of the expression that are not remembered, and returns the steps that
    /// an evaluation takes beside those of the expression: those of the patterns, and of a thread
    /// for an expression that needs a large stack, some 30 microseconds.
    pub(crate) fn prepare(&self) -> f64 {
        const THREAD: f64 = 300.0;
        /// Steps of compiling one byte of a pattern.
        const BYTE: f64 = 0.07;
        let bytes: usize = self.patterns.iter().map(|pattern| prepare_pattern(pattern)).sum();
        bytes as f64 * BYTE + if self.depth > DEPTH_SMALL { THREAD } else { 0.0 }
    }
}

/// Finds the patterns that are written in an expression.
fn find_patterns<'a>(node: &'a Node, found: &mut BTreeSet<&'a str>) {
    match node {
        Node::Call(call) => {
            let pattern = call.args.get(usize::from(call.target.is_none())).map(|argument| &argument.expr);
            if let Some(Node::Literal(LiteralValue::String(written))) = pattern
                && takes_pattern(&call.func_name)
            {
                found.insert(written.inner());
            }
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                find_patterns(&part.expr, found);
            }
        }
        Node::Comprehension(c) => {
            for part in [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result] {
                find_patterns(&part.expr, found);
            }
        }
        Node::List(list) => list.elements.iter().for_each(|element| find_patterns(&element.expr, found)),
        Node::Select(select) => find_patterns(&select.operand.expr, found),
        Node::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    find_patterns(&entry.key.expr, found);
                    find_patterns(&entry.value.expr, found);
                }
            }
        }
        _ => {}
    }
}

/// Returns the patterns that are written in an expression, and the bytes that they take when they
/// are compiled.
///
/// # Errors
/// There are too many, they are too large when compiled, or one repeats too much.
fn written_patterns(node: &Node) -> Result<(Vec<String>, usize), Refusal> {
    let mut found = BTreeSet::new();
    find_patterns(node, &mut found);
    if found.len() > PATTERNS_MAX {
        let why = format!("an expression may have at most {PATTERNS_MAX} patterns, and has {}", found.len());
        return Err(why.into());
    }
    found.iter().try_for_each(|pattern| check_places(pattern))?;
    let mut bytes = 0;
    for pattern in &found {
        bytes += bounds::regex_bytes(pattern);
        if bytes > PATTERNS_BYTES {
            return Err(Refusal::PatternsTooLarge);
        }
    }
    Ok((found.into_iter().map(String::from).collect(), bytes))
}

/// Why an expression is not compiled.
enum Refusal {
    /// Its patterns take more than [`PATTERNS_BYTES`].
    PatternsTooLarge,
    /// The sentence for the author.
    Other(String),
}

impl Refusal {
    fn text(self) -> String {
        match self {
            Refusal::PatternsTooLarge => {
                format!("the patterns of an expression may take at most {PATTERNS_BYTES} bytes when compiled")
            }
            Refusal::Other(why) => why,
        }
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Refusal {
        Refusal::Other(why)
    }
}

/// Compiles an expression. Every expression of a definition and of a policy is compiled here.
///
/// # Errors
/// The message of the compiler, or that the expression is too long, nests too deep, or has patterns
/// that are too large.
pub(crate) fn compile(source: &str) -> Result<Term, String> {
    read(source).map_err(Refusal::text)
}

fn read(source: &str) -> Result<Term, Refusal> {
    let length = source.chars().count();
    if length > LENGTH_MAX {
        let why = format!("expression code point size exceeds limit: size: {length}, limit {LENGTH_MAX}");
        return Err(why.into());
    }
    let depth = language::levels(source)?;
    if depth > DEPTH_MAX {
        return Err(format!("expression recursion limit exceeded: {DEPTH_MAX}").into());
    }
    on_large_stack(|| {
        let program = ENV.compile(source).map_err(|e| e.to_string())?;
        let (patterns, pattern_bytes) = written_patterns(&program.expression().expr)?;
        Ok(Term { program, depth, patterns, pattern_bytes })
    })
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
fn on_large_stack<T: Send, E: From<String> + Send>(
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
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

/// The function of an error whose message is shown as it is.
pub(crate) const AS_IT_IS: &str = "@error";

/// Returns the text of an error as `cel-go` has it. The evaluator's own text shows values as its
/// debug output has them: those of a Secret, too, which a policy has as its parameters.
fn in_words_of_upstream(error: &ExecutionError) -> String {
    match error {
        ExecutionError::FunctionError { function, message } if function == AS_IT_IS => message.clone(),
        ExecutionError::FunctionError { message, .. } if message == NO_OVERLOAD => NO_OVERLOAD.to_string(),
        ExecutionError::FunctionError { function, .. } if function == "duration" => {
            "type conversion error from 'string' to 'duration'".to_string()
        }
        ExecutionError::NoSuchOverload(_)
        | ExecutionError::UnsupportedBinaryOperator(..)
        | ExecutionError::ValuesNotComparable(..)
        | ExecutionError::UnsupportedIndex(..)
        | ExecutionError::UnsupportedKeyType(_)
        | ExecutionError::UnsupportedTargetType { .. }
        | ExecutionError::NotSupportedAsMethod { .. } => NO_OVERLOAD.to_string(),
        ExecutionError::DuplicateKey(_) => "repeated key".to_string(),
        ExecutionError::UndeclaredReference(name) => format!("no such attribute(s): {name}"),
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::IndexOutOfBounds(Value::Int(index)) => format!("index out of bounds: {index}"),
        ExecutionError::DivisionByZero(_) => "division by zero".to_string(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_string(),
        ExecutionError::Overflow(_, Value::Int(_), _) => "integer overflow".to_string(),
        ExecutionError::Overflow(_, Value::UInt(_), _) => "unsigned integer overflow".to_string(),
        ExecutionError::Overflow(_, Value::Timestamp(_), Value::Duration(_))
        | ExecutionError::Overflow(_, Value::Duration(_), Value::Timestamp(_)) => {
            "timestamp overflow".to_string()
        }
        ExecutionError::Overflow(..) => "duration overflow".to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
