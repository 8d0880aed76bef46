//! Rules written in CEL: `x-kubernetes-validations`. A rule stands in the schema beside the value
//! that it is about, `self`; one that names `oldSelf` is about changes, and is asked only where
//! there is something to compare with.

use super::expression;
use super::field_path;
use super::rule::Rule;
use super::schema::{ENVELOPE, Schema};
use super::typed::typed_value;
use crate::cel::arguments::NO_OVERLOAD;
use crate::cel::environment::context;
use crate::cel::message::usable_message;
use crate::cel::values::{escaped, optional};
use crate::cel::{cost, terms};
use crate::errors::Errors;
use crate::path::Path;
use crate::value::{at, flag, list, map, text};
use cel::{Context, Value};
use serde_json::Value as Json;
use std::borrow::Cow;

impl Rule {
    /// Returns what names the rule in an error: its message, or else its text (`ruleErrorString`
    /// upstream).
    fn shown(&self) -> &str {
        if self.message.is_empty() { &self.source } else { &self.message }
    }

    /// Returns what a broken rule says that makes no message of its own.
    fn default_message(&self) -> Cow<'_, str> {
        match self.message.as_str() {
            "" => format!("failed rule: {}", self.source).into(),
            message => message.into(),
        }
    }

    /// Subtracts the estimated steps of the rule from the budget of its object.
    fn spend(&self, here: &Json, old: Option<&Json>, budget: &mut f64) -> Result<(), String> {
        let expressions = [Some(&self.term), self.message_expression.as_ref()];
        for term in expressions.into_iter().flatten() {
            let steps = cost::steps(&term.program.expression().expr, here, old, self.optional_old);
            if steps > cost::CALL_MAX {
                *budget = -1.0;
                return Err(format!(
                    "'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                    self.shown()
                ));
            }
            *budget -= steps.max(0.0) + term.prepare();
        }
        match *budget < 0.0 {
            true => Err(NO_BUDGET.to_string()),
            false => Ok(()),
        }
    }

    /// Returns why the rule refuses the object; `None` if it holds.
    fn why_broken(&self, scope: &Context) -> Option<String> {
        match terms::execute(&self.term, scope) {
            Ok(Value::Bool(true)) => None,
            Ok(Value::Bool(false)) => {
                let made = self.message_expression.as_ref().and_then(|term| terms::execute(term, scope).ok());
                let message = match made {
                    Some(Value::String(made)) => usable_message(&made),
                    _ => None,
                };
                Some(message.unwrap_or_else(|| self.default_message().into_owned()))
            }
            Ok(_) => Some(format!("the rule is no truth value: {}", self.source)),
            Err(error) if error.starts_with(NO_OVERLOAD) => Some(format!(
                "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                self.shown()
            )),
            Err(error) => Some(format!("{error} evaluating rule: {}", self.shown())),
        }
    }

    /// True if the rule can be evaluated and does not hold.
    fn is_false(&self, scope: &Context) -> bool {
        matches!(terms::execute(&self.term, scope), Ok(Value::Bool(false)))
    }

    fn report(&self, schema: &Schema, path: Path, why: &str, errors: &mut Errors) {
        let field = match path.is_root() && self.field_path.is_empty() {
            true => "<nil>".to_string(),
            false => field_path::place_in_object(path, &self.field_path, schema),
        };
        match self.reason.as_str() {
            "FieldValueForbidden" => errors.forbidden(field, why),
            "FieldValueRequired" => errors.required(field, why),
            "FieldValueDuplicate" => errors.duplicate(field, &schema.kind.name().into()),
            _ => errors.invalid_text(field, schema.kind.name(), why),
        }
    }
}

/// Judges a whole object by all rules of its schema.
pub(crate) fn judge(schema: &Schema, object: &Json, old: Option<&Json>, errors: &mut Errors) {
    if schema.has_rules {
        let before = Before { value: old, is_same_around: false, asks_kept: false };
        let mut budget = cost::OBJECT_MAX;
        Judge::new(&mut budget, errors).judge_node(schema, object, before, Path::Root);
    }
}

/// Judges a default by all rules of its schema. `budget`: steps that are left; without any an error
/// says so.
pub(super) fn judge_within(schema: &Schema, default: &Json, budget: &mut f64, errors: &mut Errors) {
    if !schema.has_rules || default.is_null() {
        return;
    }
    if *budget < 0.0 {
        return errors.invalid_text("<nil>", schema.kind.name(), NO_BUDGET);
    }
    let before = Before { value: None, is_same_around: false, asks_kept: false };
    Judge::new(budget, errors).judge_node(schema, default, before, Path::Root);
}

/// Returns the rules that an update breaks where it leaves a value as it was. They do not refuse
/// it: the value may have been stored before there was the rule (ratcheting, KEP-4008).
pub(crate) fn broken_before(schema: &Schema, object: &Json, old: &Json) -> Errors {
    let mut errors = Errors::default();
    if schema.has_rules {
        let before = Before { value: Some(old), is_same_around: false, asks_kept: true };
        let mut budget = cost::OBJECT_MAX;
        Judge::new(&mut budget, &mut errors).judge_node(schema, object, before, Path::Root);
    }
    errors
}

/// What an update found at a place, and which rules are asked.
#[derive(Clone, Copy)]
struct Before<'a> {
    /// The old value; `None` for a value that is new, and for an item of a list without keys.
    value: Option<&'a Json>,
    /// The nearest value around this one that has an old value is as it was.
    is_same_around: bool,
    /// Only rules about values that are as they were are asked, and not the others.
    asks_kept: bool,
}

impl<'a> Before<'a> {
    /// True if nothing has changed here. Items of an atomic list have no old value of their own:
    /// the list, or what it is in, answers for them (`shouldRatchetError` upstream).
    fn is_same(self, here: &Json) -> bool {
        self.value.map_or(self.is_same_around, |old| old == here)
    }

    /// `value`: the old value of something within this one, which is as it was if `is_same`.
    fn below(self, value: Option<&'a Json>, is_same: bool) -> Before<'a> {
        Before { value, is_same_around: is_same, ..self }
    }

    /// True if a rule is asked about a value here. One that compares needs an old value, and one
    /// that does not needs a change.
    fn asks(self, rule: &Rule, unchanged: bool) -> bool {
        match (rule.transition, self.asks_kept) {
            (true, false) => self.value.is_some() || rule.optional_old,
            (false, false) => !unchanged,
            (transition, true) => !transition && unchanged,
        }
    }
}

const NO_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The rules of a schema at work on one object, or on one default.
struct Judge<'e> {
    /// The scope with all functions and without a variable.
    root: Context<'static, 'static>,
    /// Steps that the rules have left. Below zero none of them is asked any more.
    budget: &'e mut f64,
    errors: &'e mut Errors,
}

impl<'e> Judge<'e> {
    fn new(budget: &'e mut f64, errors: &'e mut Errors) -> Judge<'e> {
        Judge { root: context(), budget, errors }
    }

    /// Judges a value and all that is in it.
    fn judge_node(&mut self, schema: &Schema, here: &Json, before: Before, path: Path) {
        if !schema.has_rules || here.is_null() || *self.budget < 0.0 || self.errors.is_full() {
            return;
        }
        if !self.judge_rules(schema, here, before, path) {
            return;
        }
        let (old, unchanged) = (before.value, before.is_same(here));
        match here {
            Json::Object(map) => {
                for (name, field) in map {
                    let old = before.below(old.and_then(|o| o.get(name)), unchanged);
                    match schema.properties.get(name) {
                        Some(inner) => self.judge_node(inner, field, old, path.field(name)),
                        None => {
                            if let Some(inner) = &schema.additional {
                                self.judge_node(inner, field, old, path.key(name));
                            }
                        }
                    }
                }
            }
            Json::Array(items) => {
                let Some(inner) = &schema.items else { return };
                let by_key = schema.items_by_key(old);
                for (i, item) in items.iter().enumerate() {
                    let old = before.below(by_key.same(schema, item), unchanged);
                    self.judge_node(inner, item, old, path.item(i));
                }
            }
            _ => {}
        }
    }

    /// Judges a value by the rules beside its schema. False if no further rule of the object is to
    /// be asked. The copy of the value goes before what is in it is judged: there would be one of
    /// nearly the whole object for each level.
    fn judge_rules(&mut self, schema: &Schema, here: &Json, before: Before, path: Path) -> bool {
        if schema.rules.is_empty() {
            return true;
        }
        let (old, unchanged) = (before.value, before.is_same(here));
        let root = &self.root;
        // The scope with `self`, and the old value. They are made once for all rules.
        let mut made: Option<(Context, Option<Value>)> = None;
        for rule in schema.rules.iter().filter(|rule| before.asks(rule, unchanged)) {
            let of_old = || old.map_or(0.0, cost::of_values);
            if made.is_none() {
                *self.budget -= cost::of_values(here) + of_old();
            }
            if rule.transition {
                *self.budget -= of_old(); // the rule has a copy of its own
            }
            if let Err(why) = rule.spend(here, old, self.budget) {
                if !before.asks_kept {
                    let field = if path.is_root() { "<nil>".to_string() } else { path.to_string() };
                    self.errors.invalid_text(field, schema.kind.name(), &why);
                }
                return false;
            }
            let (of_node, that) = made.get_or_insert_with(|| {
                let mut scope = root.new_inner_scope();
                scope.add_variable_from_value("self", typed_value(schema, here));
                (scope, old.map(|old| typed_value(schema, old)))
            });
            let mut scope = of_node.new_inner_scope();
            if rule.transition {
                match (rule.optional_old, that.clone()) {
                    (true, that) => scope.add_variable_from_value("oldSelf", optional(that)),
                    (false, Some(that)) => scope.add_variable_from_value("oldSelf", that),
                    (false, None) => {}
                }
            }
            let why = rule.why_broken(&scope);
            if let Some(why) = why.filter(|_| !before.asks_kept || rule.is_false(&scope)) {
                rule.report(schema, path, &why, self.errors);
            }
        }
        true
    }
}

/// Reports what is wrong with the rules of one node of a definition's schema. `uncorrelated`: the
/// schema within which no new value has an old one. A rule that asks for it would never run there.
pub(crate) fn check(schema: &Json, path: Path, uncorrelated: Option<&str>, errors: &mut Errors) {
    let is_root = matches!(path, Path::Text(_));
    for (i, entry) in list(schema, "x-kubernetes-validations").iter().enumerate() {
        let place = format!("{path}.x-kubernetes-validations[{i}]");
        let rule = text(entry, "rule");
        if rule.trim().is_empty() {
            errors.required(format!("{place}.rule"), "rule is not specified");
            continue;
        }
        check_messages(entry, &place, errors);
        let known = |steps: &[String]| is_known(schema, steps, is_root);
        if let Err(why) = expression::problems(rule, &known) {
            errors.invalid(format!("{place}.rule"), entry, &format!("compilation failed: {why}"));
        }
        check_transitions(entry, rule, &place, uncorrelated, errors);
        let expression = text(entry, "messageExpression");
        if !expression.trim().is_empty()
            && let Err(why) = expression::problems(expression, &known)
        {
            let why = format!("messageExpression compilation failed: {why}");
            errors.invalid(format!("{place}.messageExpression"), entry, &why);
        }
        let path_text = text(entry, "fieldPath");
        let why = match path_text {
            "" => None,
            path if path.trim().is_empty() => Some("must be non-empty if specified".to_string()),
            path if has_breaks(path) => Some("must not contain line breaks".to_string()),
            path => field_path::find_schema(path, schema).err().map(|e| format!("must be a valid path: {e}")),
        };
        if let Some(why) = why {
            errors.invalid_text(format!("{place}.fieldPath"), path_text, &why);
        }
        let reasons =
            ["FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate"];
        let reason = text(entry, "reason");
        if !reason.is_empty() && !reasons.contains(&reason) {
            errors.not_supported(format!("{place}.reason"), &reason.into(), &reasons);
        }
    }
}

/// Returns whether a text has several lines, as CEL counts them.
fn has_breaks(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// Checks what a rule says when it is broken: one line. A rule of several lines needs a message,
/// since its own text is none.
fn check_messages(entry: &Json, place: &str, errors: &mut Errors) {
    let is_blank = |text: &str| !text.is_empty() && text.trim().is_empty();
    let (rule, message, field) = (text(entry, "rule"), text(entry, "message"), format!("{place}.message"));
    if is_blank(message) {
        errors.invalid_text(field, message, "must be non-empty if specified");
    } else if has_breaks(message.trim()) {
        errors.invalid_text(field, message, "must not contain line breaks");
    } else if has_breaks(rule.trim()) && message.is_empty() {
        errors.required(field, "message must be specified if rule contains line breaks");
    }
    if is_blank(text(entry, "messageExpression")) {
        let why = "messageExpression must be non-empty if specified";
        errors.required(format!("{place}.messageExpression"), why);
    }
}

/// Reports a rule that compares with the old value where there is none to compare with.
fn check_transitions(entry: &Json, rule: &str, place: &str, uncorrelated: Option<&str>, errors: &mut Errors) {
    let asks = || terms::compile(rule).is_ok_and(|term| term.program.references().has_variable("oldSelf"));
    let asks = rule.contains("oldSelf") && asks();
    if !asks && !at(entry, "optionalOldSelf").is_null() {
        let why = "may not be set if oldSelf is not used in rule";
        errors.invalid(format!("{place}.optionalOldSelf"), at(entry, "optionalOldSelf"), why);
    }
    if let Some(within) = uncorrelated.filter(|_| asks) {
        let why =
            format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {within}");
        errors.invalid_text(format!("{place}.rule"), rule, &why);
    }
}

/// Returns whether `self.a.b` names something that a rule can see (`SchemaDeclType` upstream): a
/// field that the schema says, or what is in a plain map. What a schema keeps without knowing it
/// (`x-kubernetes-preserve-unknown-fields`) no rule can see.
fn is_known(schema: &Json, steps: &[String], is_root: bool) -> bool {
    let Some((first, rest)) = steps.split_first() else { return true };
    if ENVELOPE.contains(&first.as_str()) && (is_root || flag(schema, "x-kubernetes-embedded-resource")) {
        return is_envelope(first, rest);
    }
    let named = map(schema, "properties")
        .into_iter()
        .flatten()
        .find(|(name, _)| escaped(name).as_deref() == Some(first));
    let more = at(schema, "additionalProperties");
    match named {
        Some((_, inner)) => !is_untyped(inner) && is_known(inner, rest, false),
        None if more.is_object() => is_known(more, rest, false),
        None => more == &Json::Bool(true),
    }
}

/// Returns whether a path leads to what rules see of the fields that every object has: of its
/// metadata only the names (`WithTypeAndObjectMeta` upstream).
fn is_envelope(first: &str, rest: &[String]) -> bool {
    match (first, rest) {
        (_, []) => true,
        ("metadata", [name]) => matches!(name.as_str(), "name" | "generateName"),
        _ => false,
    }
}

/// True for a schema without a type, and for lists and maps of such values.
fn is_untyped(schema: &Json) -> bool {
    let inner = match text(schema, "type") {
        "" => return !flag(schema, "x-kubernetes-int-or-string"),
        "array" => at(schema, "items"),
        "object" => at(schema, "additionalProperties"),
        _ => return false,
    };
    inner.is_object() && is_untyped(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of a million small items would start a million threads.
    #[test]
    fn a_rule_that_needs_a_thread_pays_for_it() {
        let paid = |levels: usize| {
            let source = format!("{}self{} > 0", "(".repeat(levels), ")".repeat(levels));
            let rule = Rule::read(&serde_json::json!({"rule": source})).unwrap();
            let mut budget = cost::OBJECT_MAX;
            rule.spend(&1.into(), None, &mut budget).unwrap();
            cost::OBJECT_MAX - budget
        };
        assert!(paid(1) < 10.0 && paid(40) > 100.0, "{} {}", paid(1), paid(40));
    }
}
