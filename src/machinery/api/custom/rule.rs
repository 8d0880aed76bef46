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
    /// The rule names `oldSelf`.
    pub(super) transition: bool,
    /// `oldSelf` may be nothing: the rule is asked for new values, too.
    pub(super) optional_old: bool,
}

impl Rule {
    /// Compiles a rule; `None` for one that cannot be compiled. Definitions with such a rule are
    /// refused.
    pub fn read(entry: &Json) -> Option<Rule> {
        let term = terms::compile(text(entry, "rule")).ok()?;
        let expression = text(entry, "messageExpression");
        Some(Rule {
            source: text(entry, "rule").trim().to_string(),
            transition: term.program.references().has_variable("oldSelf"),
            term,
            message: text(entry, "message").trim().to_string(),
            message_expression: terms::compile(expression).ok().filter(|_| !expression.is_empty()),
            reason: text(entry, "reason").to_string(),
            field_path: text(entry, "fieldPath").to_string(),
            optional_old: flag(entry, "optionalOldSelf"),
        })
    }
}
