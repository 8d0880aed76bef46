//! Checks of single fields that many kinds share: labels, selectors, numbers, names of finalizers.

use super::names;
use crate::errors::Errors;
use crate::value::{at, list, pairs, text};
use serde_json::Value;

/// Finalizers of Kubernetes itself whose names have no domain.
const FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// The problem of a changed field that may not change.
pub const IMMUTABLE: &str = "field is immutable";

/// Checks the protocol of an application that a port names, such as `kubernetes.io/h2c`.
pub(crate) fn app_protocol(port: &Value, field: &str, errors: &mut Errors) {
    let protocol = at(port, "appProtocol").as_str();
    for (protocol, problem) in
        protocol.iter().flat_map(|p| names::qualified_name(p).into_iter().map(move |why| (*p, why)))
    {
        errors.invalid_text(format!("{field}.appProtocol"), protocol, &problem);
    }
}

/// Checks the name of a finalizer, and that it has a domain.
pub(crate) fn finalizer_name(name: &str, field: &str, errors: &mut Errors) {
    add_problems(names::qualified_name(name), field, name, errors);
    finalizer_domain(name, field, errors);
}

/// Returns whether a finalizer has a domain, or is one of Kubernetes itself.
pub(crate) fn has_owner(finalizer: &str) -> bool {
    finalizer.contains('/') || FINALIZERS.contains(&finalizer)
}

/// Checks that a finalizer has a domain. A name without one is a slip of the pen unless Kubernetes
/// knows it: no controller would ever take it off.
pub(crate) fn finalizer_domain(name: &str, field: &str, errors: &mut Errors) {
    if !has_owner(name) {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        errors.invalid_text(field, name, why);
    }
}

/// What a path in a domain may have beside letters and digits (`httpPathFmt` upstream).
const PATH_SIGNS: &str = "/-._~%!$&'()*+,;=:";

/// Checks a name such as `example.com/queue`: a domain and a path (`IsDomainPrefixedPath`
/// upstream).
pub(crate) fn domain_prefixed_path(name: &str, field: &str, errors: &mut Errors) {
    match name.split_once('/') {
        _ if name.is_empty() => errors.required(field, ""),
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {
            add_problems(names::dns_subdomain(host), field, host, errors);
            if !path.chars().all(|c| c.is_ascii_alphanumeric() || PATH_SIGNS.contains(c)) {
                let why = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')";
                errors.invalid_text(field, path, why);
            }
        }
        _ => {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.invalid_text(field, name, why);
        }
    }
}

/// Checks the labels at `path`, reported as `field`.
pub(crate) fn labels(object: &Value, path: &str, field: &str, errors: &mut Errors) {
    for (key, value) in pairs(object, path) {
        for problem in names::qualified_name(key) {
            errors.invalid_text(field, key, &problem);
        }
        for problem in names::label_value(value) {
            errors.invalid_text(field, value, &problem);
        }
    }
}

/// Checks the annotations of an object or of a template, reported as `field`.
pub(crate) fn annotations(object: &Value, field: &str, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in pairs(object, "metadata.annotations") {
        for problem in names::qualified_name(&key.to_lowercase()) {
            errors.invalid_text(field, key, &problem);
        }
        size += key.len() + value.len();
    }
    if size > 256 * 1024 {
        errors.too_long(field, 256 * 1024);
    }
}

/// Checks the `metav1.LabelSelector` at `path`.
pub(crate) fn selector(object: &Value, path: &str, errors: &mut Errors) {
    selector_at(at(object, path), path, errors);
}

/// Checks a `metav1.LabelSelector`, reported as `field`.
pub(crate) fn selector_at(selector: &Value, field: &str, errors: &mut Errors) {
    labels(selector, "matchLabels", &format!("{field}.matchLabels"), errors);
    for (i, e) in list(selector, "matchExpressions").iter().enumerate() {
        let field = format!("{field}.matchExpressions[{i}]");
        let values = list(e, "values");
        match text(e, "operator") {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(
                    format!("{field}.values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.forbidden(
                    format!("{field}.values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid_text(format!("{field}.operator"), other, "not a valid selector operator"),
        }
        for problem in names::qualified_name(text(e, "key")) {
            errors.invalid_text(format!("{field}.key"), text(e, "key"), &problem);
        }
        for (j, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or("");
            for problem in names::label_value(value) {
                errors.invalid_text(format!("{field}.values[{j}]"), value, &problem);
            }
        }
    }
}

/// Checks that the number at `path` is not negative.
pub(crate) fn not_negative(object: &Value, path: &str, errors: &mut Errors) {
    if at(object, path).as_i64().is_some_and(|n| n < 0) {
        errors.invalid(path, at(object, path), "must be greater than or equal to 0");
    }
}

/// Checks that the text at `path` is one of `allowed`, if it is set.
pub(crate) fn one_of(object: &Value, path: &str, field: &str, allowed: &[&str], errors: &mut Errors) {
    let value = at(object, path);
    if !value.is_null() && !allowed.contains(&value.as_str().unwrap_or("")) {
        errors.not_supported(field, value, allowed);
    }
}

/// Returns the errors that a check finds in an object, as clients read them.
#[cfg(test)]
pub(crate) fn problems(check: fn(&Value, &mut Errors), object: Value) -> Vec<String> {
    let mut errors = Errors::default();
    check(&object, &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

/// Checks a number or a percentage, which may not be negative.
pub(crate) fn int_or_percent(object: &Value, path: &str, errors: &mut Errors) {
    match at(object, path) {
        Value::String(s) => {
            if percent(s).is_none() {
                errors.invalid_text(path, s, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
            }
        }
        _ => not_negative(object, path, errors),
    }
}

/// Checks a number or a percentage of at most 100 %: a part of something.
pub(crate) fn int_or_part(object: &Value, path: &str, errors: &mut Errors) {
    int_or_percent(object, path, errors);
    let given = text(object, path);
    if percent(given).is_some_and(|percent| percent > 100) {
        errors.invalid_text(path, given, "must not be greater than 100%");
    }
}

/// Returns the number before the `%` of a percentage, which may have any number of digits: one that
/// no `u64` holds is the largest there is. `None` for a text that is no percentage.
pub(crate) fn percent(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// Adds these problems of the text at `field`.
pub(crate) fn add_problems(problems: Vec<String>, field: &str, value: &str, errors: &mut Errors) {
    problems.iter().for_each(|problem| errors.invalid_text(field, value, problem));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_part_is_written_in_digits() {
        let count_errors =
            |part: &str| problems(|o, e| int_or_percent(o, "spec.x", e), json!({"spec": {"x": part}})).len();
        assert_eq!(
            (count_errors("5%"), count_errors("+5%"), count_errors("5"), count_errors("%")),
            (0, 1, 1, 1)
        );
    }

    #[test]
    fn a_path_in_a_domain_has_the_signs_of_an_address() {
        let errors_of = |name: &str| {
            let mut errors = Errors::default();
            domain_prefixed_path(name, "f", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for good in ["example.com/queue", "example.com/a/b", "example.com/~a-b_c.d%20!$&'()*+,;=:"] {
            assert_eq!(errors_of(good), [""; 0], "{good}");
        }
        for path in ["a b", "a?b", "\u{e4}", "a\n"] {
            let found = errors_of(&format!("example.com/{path}"));
            let want =
                format!("f: Invalid value: {path:?}: Invalid path (regex used for validation is '[A-Z");
            assert!(found.len() == 1 && found[0].starts_with(&want), "{found:?}");
        }
        assert_eq!(errors_of(""), ["f: Required value"]);
        let form = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        for bad in ["queue", "/queue", "example.com/"] {
            assert_eq!(errors_of(bad), [format!("f: Invalid value: {bad:?}: {form}")]);
        }
    }

    #[test]
    fn a_part_that_no_number_holds_is_more_than_all() {
        for part in ["101%", "99999999999%", "99999999999999999999999%"] {
            let object = json!({"spec": {"x": part}});
            let want = format!("spec.x: Invalid value: \"{part}\": must not be greater than 100%");
            assert_eq!(problems(|o, e| int_or_part(o, "spec.x", e), object.clone()), [want]);
            assert_eq!(problems(|o, e| int_or_percent(o, "spec.x", e), object), [""; 0]);
        }
        let all = json!({"spec": {"x": "100%"}});
        assert_eq!(problems(|o, e| int_or_part(o, "spec.x", e), all), [""; 0]);
    }
}
