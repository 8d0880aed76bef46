//! Admission policies: which requests a rule in CEL is about, and what must be true of them.

use super::match_resources;
use crate::admission::check::{of_conditions, stored, warnings};
use crate::admission::expression::{self, Variables, Wanted};
use crate::cel::{RESERVED, terms};
use crate::errors::Errors;
use crate::jsonpath::JsonPath;
use crate::kinds::entry::{Kind, of, status};
use crate::meta;
use crate::table::cells::{Printer, age, name};
use crate::validate::fields::add_problems;
use crate::validate::names::{dns_1035, dns_subdomain, qualified_name};
use crate::validate::status::conditions;
use crate::value::{self, at, default, list, text};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
const CONDITIONS_MAX: usize = 64;
const ANNOTATIONS_MAX: usize = 20;
/// Bytes of an expression whose value is an annotation.
const ANNOTATION_MAX: usize = 5 << 10;

pub(super) fn kind() -> Kind {
    Kind {
        categories: &["api-extensions"],
        subresources: vec![status("ValidatingAdmissionPolicy")],
        has_status: true,
        generation: true,
        needs_version: true,
        defaults,
        prepare: |object| write_status(object, 1),
        prepare_update: |new, old| {
            if at(new, "spec") != at(old, "spec") {
                write_status(new, meta::generation(old).saturating_add(1));
            }
        },
        validate,
        validate_create: check_conditions,
        validate_update: |new, old, errors| {
            // Those that were taken before stay.
            let same = |path: &str| at(new, path) == at(old, path);
            if !(same("spec.paramKind") && same("spec.matchConditions")) {
                check_conditions(new, errors);
            }
        },
        validate_status_update,
        printer: Some(&PRINTER),
        ..of::<ValidatingAdmissionPolicy>()
    }
}

fn defaults(object: &mut Value) {
    default(object, "spec.failurePolicy", "Fail");
    match_resources::fill(object, "spec.matchConstraints");
}

/// Writes what the checker of types finds, for this generation. Upstream a controller does so a
/// moment later; here it is a part of the write.
fn write_status(object: &mut Value, generation: i64) {
    let found = if take_expressions(object).is_ok() { warnings(object) } else { vec![] };
    let checked = if found.is_empty() { json!({}) } else { json!({ "expressionWarnings": found }) };
    value::put(object, "status.typeChecking", checked);
    value::put(object, "status.observedGeneration", generation);
}

/// Judges the size of all expressions together, before they are compiled.
///
/// # Errors
/// They are too large ([`terms::Room`]).
fn take_expressions(object: &Value) -> Result<(), String> {
    let mut room = terms::Room::default();
    for (list_of, fields) in [
        ("spec.variables", &["expression"][..]),
        ("spec.matchConditions", &["expression"][..]),
        ("spec.validations", &["expression", "messageExpression"][..]),
        ("spec.auditAnnotations", &["valueExpression"][..]),
    ] {
        for entry in list(object, list_of) {
            fields.iter().try_for_each(|field| room.take(text(entry, field)))?;
        }
    }
    Ok(())
}

fn validate(object: &Value, errors: &mut Errors) {
    let spec = at(object, "spec");
    if let Err(why) = take_expressions(object) {
        return errors.forbidden("spec", &why);
    }
    let policy = at(spec, "failurePolicy");
    if !FAILURE_POLICIES.contains(&policy.as_str().unwrap_or_default()) {
        errors.not_supported("spec.failurePolicy", policy, &FAILURE_POLICIES);
    }
    if !at(spec, "paramKind").is_null() {
        check_param_kind(at(spec, "paramKind"), errors);
    }
    const CONSTRAINTS: &str = "spec.matchConstraints";
    match at(object, CONSTRAINTS) {
        Value::Null => errors.required(CONSTRAINTS, ""),
        constraints => {
            match_resources::check(constraints, CONSTRAINTS, errors);
            if value::empty(constraints, "resourceRules") {
                errors.required(format!("{CONSTRAINTS}.resourceRules"), "");
            }
        }
    }
    let variables = check_variables(object, errors);
    let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let why = "validations or auditAnnotations must contain at least one item";
        errors.required("spec.validations", why);
        errors.required("spec.auditAnnotations", why);
    }
    for (i, validation) in validations.iter().enumerate() {
        check_validation(validation, &format!("spec.validations[{i}]"), &variables, errors);
    }
    check_annotations(object, annotations, &variables, errors);
}

/// Judges `apiVersion` and `kind` of the parameters (`validateParamKind` upstream).
fn check_param_kind(reference: &Value, errors: &mut Errors) {
    const VERSION: &str = "spec.paramKind.apiVersion";
    const KIND: &str = "spec.paramKind.kind";
    let api_version = text(reference, "apiVersion");
    let parts: Vec<&str> = api_version.split('/').collect();
    let of_parts = |group: &str, version: &str, errors: &mut Errors| {
        let problems = dns_subdomain(group);
        if !group.is_empty() && !problems.is_empty() {
            errors.invalid_text(VERSION, group, &problems.join(","));
        }
        let problems = dns_1035(version);
        if version.is_empty() {
            errors.invalid_text(VERSION, api_version, "version must be specified");
        } else if !problems.is_empty() {
            errors.invalid_text(VERSION, version, &problems.join(","));
        }
    };
    match parts.as_slice() {
        [""] => errors.required(VERSION, ""),
        [version] => of_parts("", version, errors),
        [group, version] => of_parts(group, version, errors),
        _ => {
            let why = format!("unexpected GroupVersion string: {api_version}");
            errors.invalid_text(VERSION, api_version, &why);
        }
    }
    let kind = text(reference, "kind");
    let problems = dns_1035(&kind.to_lowercase());
    if kind.is_empty() {
        errors.required(KIND, "");
    } else if !problems.is_empty() {
        let why = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
        errors.invalid_text(KIND, kind, &why);
    }
}

/// Compiles an expression and reports what is wrong with it, with its text as `shown`.
fn compile(source: &str, shown: &str, scope: (&Variables, Wanted), field: String, errors: &mut Errors) {
    if !errors.is_full()
        && let Err(why) = expression::compile(source, scope.0, scope.1)
    {
        errors.invalid_text(field, shown, &why);
    }
}

fn check_conditions(object: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.matchConditions";
    if take_expressions(object).is_err() {
        return; // the whole policy is refused for it
    }
    let (all, variables) = (list(object, FIELD), of_conditions(object));
    if all.len() > CONDITIONS_MAX {
        errors.too_many(FIELD, all.len(), CONDITIONS_MAX as u64);
    }
    let mut seen = BTreeSet::new();
    for (i, condition) in all.iter().enumerate() {
        let (place, name) = (format!("{FIELD}[{i}]"), text(condition, "name"));
        match text(condition, "expression").trim() {
            "" => errors.required(format!("{place}.expression"), ""),
            source => {
                compile(source, source, (&variables, Wanted::Bool), format!("{place}.expression"), errors)
            }
        }
        match name {
            "" => errors.required(format!("{place}.name"), ""),
            name => add_problems(qualified_name(name), &format!("{place}.name"), name, errors),
        }
        if !name.is_empty() && !seen.insert(name) {
            errors.duplicate(format!("{place}.name"), &json!(name));
        }
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    starts && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') && !RESERVED.contains(&name)
}

/// Judges the variables, and returns what the expressions after them may name.
fn check_variables(object: &Value, errors: &mut Errors) -> Variables {
    for (i, variable) in list(object, "spec.variables").iter().enumerate() {
        let (place, name) = (format!("spec.variables[{i}]"), text(variable, "name"));
        if name.trim().is_empty() {
            errors.required(format!("{place}.name"), "name is not specified");
        } else if !is_name(name) {
            errors.invalid_text(format!("{place}.name"), name, "must be a valid CEL identifier");
        }
        if text(variable, "expression").trim().is_empty() {
            errors.required(format!("{place}.expression"), "expression is not specified");
        }
    }
    stored(object, |i, why| {
        let source = text(&list(object, "spec.variables")[i], "expression");
        errors.invalid_text(format!("spec.variables[{i}].expression"), source, &why);
    })
}

fn has_breaks(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

fn check_validation(validation: &Value, place: &str, variables: &Variables, errors: &mut Errors) {
    let source = text(validation, "expression");
    match source.trim() {
        "" => errors.required(format!("{place}.expression"), "expression is not specified"),
        _ => compile(source, source, (variables, Wanted::Bool), format!("{place}.expression"), errors),
    }
    let (field, source) = (format!("{place}.messageExpression"), text(validation, "messageExpression"));
    if !source.trim().is_empty() {
        compile(source, source, (variables, Wanted::Text), field, errors);
    } else if !source.is_empty() {
        errors.invalid_text(field, source, "must be non-empty if specified");
    }
    let (field, message) = (format!("{place}.message"), text(validation, "message"));
    if !message.is_empty() && message.trim().is_empty() {
        errors.invalid_text(field, message, "must be non-empty if specified");
    } else if has_breaks(message.trim()) {
        errors.invalid_text(field, message, "must not contain line breaks");
    }
    let reason = at(validation, "reason");
    if !reason.is_null() && !REASONS.contains(&reason.as_str().unwrap_or_default()) {
        errors.not_supported(format!("{place}.reason"), reason, &REASONS);
    }
}

fn check_annotations(object: &Value, all: &[Value], variables: &Variables, errors: &mut Errors) {
    const FIELD: &str = "spec.auditAnnotations";
    if all.len() > ANNOTATIONS_MAX {
        let why = format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations");
        errors.invalid(FIELD, at(object, FIELD), &why);
    }
    let mut seen = BTreeSet::new();
    for (i, annotation) in all.iter().enumerate() {
        let (place, key, policy) = (format!("{FIELD}[{i}]"), text(annotation, "key"), meta::name(object));
        let named = format!("{policy}/{key}");
        match policy {
            "" => errors.invalid_text(format!("{place}.key"), key, "requires metadata.name be non-empty"),
            _ => add_problems(qualified_name(&named), &format!("{place}.key"), &named, errors),
        }
        let (field, source) = (format!("{place}.valueExpression"), text(annotation, "valueExpression"));
        match source.trim() {
            "" => errors.required(field, "valueExpression is not specified"),
            long if long.len() > ANNOTATION_MAX => {
                errors.required(field, &format!("must not exceed {ANNOTATION_MAX} bytes in length"));
            }
            trimmed => compile(trimmed, source, (variables, Wanted::TextOrNull), field, errors),
        }
        if !seen.insert(key) {
            errors.duplicate(format!("{place}.key"), &json!(key));
        }
    }
}

fn validate_status_update(new: &Value, _: &Value, errors: &mut Errors) {
    for (i, warning) in list(new, "status.typeChecking.expressionWarnings").iter().enumerate() {
        let place = format!("status.typeChecking.expressionWarnings[{i}]");
        if text(warning, "warning").is_empty() {
            errors.required(format!("{place}.warning"), "");
        }
        let (field, reference) = (format!("{place}.fieldRef"), text(warning, "fieldRef").trim());
        if reference.is_empty() {
            errors.required(field, "");
        } else if let Err(why) = JsonPath::parse(&format!("{{{reference}}}")) {
            errors.invalid_text(field, reference, &format!("invalid JSONPath: {why}"));
        }
    }
    conditions(new, errors);
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Validations", "integer", false),
        ("ParamKind", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let kind = at(o, "spec.paramKind");
        let shown = match kind.is_null() {
            true => "<unset>".to_string(),
            false => format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind")),
        };
        vec![name(o), list(o, "spec.validations").len().into(), shown.into(), age(o, now)]
    },
    conditions: None,
};

#[cfg(test)]
mod tests;
