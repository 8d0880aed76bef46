//! What the parts of the compiler and the evaluator agree on: the names that an expression may use
//! beside those of a lesson, those that the compiler writes into it, and how deep it may be.

use cel::Env;
use std::sync::{Arc, LazyLock};

/// Where an expression stands, which decides what it may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A check: sees the world only.
    Check,
    /// A hint: sees what was typed, too.
    Hint,
    /// A debrief's beat: sees hops, and the values that the beat binds.
    Beat,
}

/// Kind, namespace and name.
pub(crate) type Named = (String, String, String);

/// What an expression may call beside ours; anything else is a slip.
pub(super) fn standard() -> impl Iterator<Item = &'static str> {
    api::cel::FUNCTIONS.iter().copied()
}

/// Types by their names.
pub(super) const TYPES: &[&str] =
    &["int", "uint", "double", "string", "bool", "list", "map", "null_type", "bytes", "type"];

/// Functions that only beats have a use for; they are known everywhere.
pub(super) const BEAT_FUNCTIONS: &[&str] =
    &["hop", "hops", "asked", "wrote", "removed", "since", "last", "ms", "after", "name", "because"];

/// No expression of a lesson has so many nodes inside each other.
pub(super) const DEPTH_MAX: usize = 100;

pub(super) static STDLIB: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// The name under which an evaluation finds a function.
pub(super) fn function_name(name: &str) -> String {
    format!("@f:{name}")
}

/// The name under which an evaluation finds the n-th narrowed list.
pub(super) fn list_name(at: usize) -> String {
    format!("@n:{at}")
}

/// Names under which an evaluation finds its limit.
pub(super) const TICK: &str = "@tick";
pub(super) const WEIGH: &str = "@weigh";

/// Operators by the names that the parser gives them.
pub(super) const OR: &str = "_||_";
pub(super) const AND: &str = "_&&_";
pub(super) const CONDITIONAL: &str = "_?_:_";
pub(super) const INDEX: &str = "_[_]";
pub(super) const ADD: &str = "_+_";
