//! Expressions: compiled once, within bounds of length and depth, and evaluated on a stack that has
//! room for them.

use super::arguments::NO_OVERLOAD;
use super::environment::ENV;
use super::language;
use cel::{Context, ExecutionError, Program, Value};

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
    /// The most levels that the expression nests.
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

/// Compiles an expression. Every expression of a definition and of a policy is compiled here.
///
/// # Errors
/// The message of the compiler, or that the expression is too long or nests too deep.
pub(crate) fn compile(source: &str) -> Result<Term, String> {
    let length = source.chars().count();
    if length > LENGTH_MAX {
        return Err(format!("expression code point size exceeds limit: size: {length}, limit {LENGTH_MAX}"));
    }
    let depth = language::levels(source)?;
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

/// The function of an error whose message is shown as it is.
pub(crate) const AS_IT_IS: &str = "@error";

/// Returns the text of an error as `cel-go` has it. The evaluator's own text shows values as its
/// debug output has them: those of a Secret, too, which a policy has as its parameters.
fn in_words_of_upstream(error: &ExecutionError) -> String {
    match error {
        ExecutionError::FunctionError { function, message } if function == AS_IT_IS => message.clone(),
        ExecutionError::FunctionError { function, .. } if function == "duration" => {
            "type conversion error from 'string' to 'duration'".to_string()
        }
        ExecutionError::FunctionError { message, .. } if message == NO_OVERLOAD => NO_OVERLOAD.to_string(),
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
