//! One rule of `x-kubernetes-validations` as it stands in a schema.

use crate::cel::terms::{self, Term};
use crate::value::{flag, text};
use serde_json::Value as Json;

/// One rule, compiled.
#[derive(Debug)]
pub struct Rule {
    pub(super) source: String,
    pub(super) term: Term,
    pub(super) message: String,
    pub(super) message_expression: Option<Term>,
    pub(super) reason: String,
    pub(super) field_path: String,
    /// It names `oldSelf`.
    pub(super) transition: bool,
    /// `oldSelf` may be nothing: the rule is asked for new values, too.
    pub(super) optional_old: bool,
}

impl Rule {
    /// `None` if it cannot be compiled, which its definition was refused for.
    pub fn read(said: &Json) -> Option<Rule> {
        let term = terms::compile(text(said, "rule")).ok()?;
        let expression = text(said, "messageExpression");
        Some(Rule {
            source: text(said, "rule").trim().to_string(),
            transition: term.program.references().has_variable("oldSelf"),
            term,
            message: text(said, "message").trim().to_string(),
            message_expression: terms::compile(expression).ok().filter(|_| !expression.is_empty()),
            reason: text(said, "reason").to_string(),
            field_path: text(said, "fieldPath").to_string(),
            optional_old: flag(said, "optionalOldSelf"),
        })
    }
}
