//! The checks of a definition's own defaults, and what the checks of its versions share: each would
//! take a second by itself, and a definition may have tens of thousands.

use super::check;
use super::patterns::Pattern;
use super::prune;
use super::rules;
use super::schema::Schema;
use crate::cel::cost;
use crate::errors::Errors;
use crate::path::Path;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// What the checks of all versions of a definition share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Steps of holding all defaults against their schemas: each default stands in those of the
    /// schemas around it, too.
    steps: Cell<usize>,
    /// Steps of all rules about defaults.
    cost: Cell<f64>,
    /// Patterns that are sound.
    patterns: RefCell<HashMap<String, Pattern>>,
}

impl Default for Shared {
    fn default() -> Self {
        let (steps, cost) = (Cell::new(check::STEPS_MAX), Cell::new(cost::OBJECT_MAX));
        Shared { steps, cost, patterns: RefCell::default() }
    }
}

impl Shared {
    /// Checks the pattern of a schema.
    ///
    /// # Errors
    /// The text is none.
    pub(super) fn check_pattern(&self, source: &str) -> Result<(), regex::Error> {
        if !source.is_empty() && !self.patterns.borrow().contains_key(source) {
            let pattern = Pattern::read(source)?;
            self.patterns.borrow_mut().insert(source.to_string(), pattern);
        }
        Ok(())
    }
}

/// Checks the default of a schema as an object of that schema. What all defaults of a definition
/// may take together is what one object may (upstream: of the steps of rules, those of a version).
pub(super) fn check_default(
    default: &Value,
    read: &Schema,
    path: Path,
    shared: &Shared,
    errors: &mut Errors,
) {
    if !prune::is_pruned(read, default) {
        errors.invalid(format!("{path}.default"), default, "must not have unknown fields");
    }
    let mut found = check::schema_errors(read, default, None, &shared.steps);
    if found.is_empty() {
        let mut budget = shared.cost.get();
        rules::judge_within(read, default, &mut budget, &mut found);
        shared.cost.set(budget);
    }
    for error in found {
        let inner = if error.field == "<nil>" { String::new() } else { format!(".{}", error.field) };
        errors.invalid(format!("{path}.default{}", inner.trim_end_matches('.')), default, &error.body);
    }
}
