//! Ingresses: which Service answers an HTTP request from outside, by host name and path.

use crate::cidr;
use crate::errors::Errors;
use crate::kinds::entry::{Kind, of, status};
use crate::kinds::networking::references::check_reference;
use crate::meta;
use crate::table::cells::{Printer, age, name, text_or};
use crate::validate::addresses::load_balancer_ingress;
use crate::validate::fields::add_problems;
use crate::validate::names;
use crate::value::{at, empty, int, list, put, text};
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["ing"],
        subresources: vec![status("Ingress")],
        has_status: true,
        generation: true,
        prepare,
        validate,
        validate_create: one_class,
        validate_status_update,
        printer: Some(&PRINTER),
        ..of::<Ingress>()
    }
}

/// Drops the status of a new Ingress, which has no address yet.
fn prepare(object: &mut Value) {
    put(object, "status", json!({"loadBalancer": {}}));
}

const CLASS: &str = "kubernetes.io/ingress.class";

/// Checks a host name: `*.example.com`, or a plain name.
fn host_name(host: &str, field: &str, errors: &mut Errors) {
    if !host.contains('*') {
        add_problems(names::dns_subdomain(host), field, host, errors);
    } else if !host.strip_prefix("*.").is_some_and(|rest| names::dns_subdomain(rest).is_empty()) {
        let why = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        errors.invalid_text(field, host, why);
    }
}

/// Checks that the annotation, the older form of `ingressClassName`, names the same class. An
/// update may set the field beside another annotation.
fn one_class(object: &Value, errors: &mut Errors) {
    let class = at(object, "spec.ingressClassName").as_str();
    if let (Some(named), Some(class)) = (meta::annotation(object, CLASS), class)
        && named != class
    {
        let field = format!("annotations.{CLASS}");
        errors.invalid_text(field, named, "must match `ingressClassName` when both are specified");
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let class = at(object, "spec.ingressClassName");
    let rules = list(object, "spec.rules");
    if rules.is_empty() && at(object, "spec.defaultBackend").is_null() {
        let why = "either `defaultBackend` or `rules` must be specified";
        errors.invalid("spec", at(object, "spec.rules"), why);
    }
    if !at(object, "spec.defaultBackend").is_null() {
        backend(at(object, "spec.defaultBackend"), "spec.defaultBackend", errors);
    }
    for (i, rule) in rules.iter().enumerate() {
        ingress_rule(rule, &format!("spec.rules[{i}]"), errors);
    }
    for (i, tls) in list(object, "spec.tls").iter().enumerate() {
        for (j, host) in list(tls, "hosts").iter().enumerate() {
            host_name(host.as_str().unwrap_or(""), &format!("spec.tls[{i}].hosts[{j}]"), errors);
        }
        if !empty(tls, "secretName") {
            let secret = text(tls, "secretName");
            add_problems(names::dns_subdomain(secret), &format!("spec.tls[{i}].secretName"), secret, errors);
        }
    }
    if let Some(class) = class.as_str() {
        add_problems(names::dns_subdomain(class), "spec.ingressClassName", class, errors);
    }
}

fn ingress_rule(rule: &Value, field: &str, errors: &mut Errors) {
    let host = text(rule, "host");
    if !host.is_empty() {
        let field = format!("{field}.host");
        if cidr::parse_ip(host).is_some() {
            errors.invalid_text(&field, host, "must be a DNS name, not an IP address");
        }
        host_name(host, &field, errors);
    }
    if at(rule, "http").is_null() {
        return;
    }
    let paths = list(rule, "http.paths");
    if paths.is_empty() {
        errors.required(format!("{field}.http.paths"), "");
    }
    for (i, path) in paths.iter().enumerate() {
        ingress_path(path, &format!("{field}.http.paths[{i}]"), errors);
    }
}

fn ingress_path(path: &Value, field: &str, errors: &mut Errors) {
    let Some(kind) = at(path, "pathType").as_str() else {
        return errors.required(format!("{field}.pathType"), "pathType must be specified");
    };
    let (shown, at_path) = (text(path, "path"), format!("{field}.path"));
    match kind {
        "Exact" | "Prefix" => {
            if !shown.starts_with('/') {
                errors.invalid_text(&at_path, shown, "must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|p| shown.contains(**p)) {
                errors.invalid_text(&at_path, shown, &format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."].iter().filter(|e| shown.ends_with(**e)) {
                errors.invalid_text(&at_path, shown, &format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" => {
            if !shown.is_empty() && !shown.starts_with('/') {
                errors.invalid_text(&at_path, shown, "must be an absolute path");
            }
        }
        other => errors.not_supported(
            format!("{field}.pathType"),
            &json!(other),
            &["Exact", "ImplementationSpecific", "Prefix"],
        ),
    }
    backend(at(path, "backend"), &format!("{field}.backend"), errors);
}

fn backend(backend: &Value, field: &str, errors: &mut Errors) {
    match (at(backend, "service").is_object(), at(backend, "resource").is_object()) {
        (true, true) => errors.invalid_text(field, "", "cannot set both resource and service backends"),
        (false, false) => errors.invalid_text(field, "", "resource or service backend is required"),
        (false, true) => check_reference(at(backend, "resource"), &format!("{field}.resource"), errors),
        (true, false) => {
            match text(backend, "service.name") {
                "" => errors.required(format!("{field}.service.name"), ""),
                name => add_problems(names::dns_1035(name), &format!("{field}.service.name"), name, errors),
            }
            let (name, number) =
                (text(backend, "service.port.name"), int(backend, "service.port.number").unwrap_or(0));
            match (name, number) {
                ("", 0) => errors.required(field, "port name or number is required"),
                ("", number) => {
                    if let Some(why) = names::port_number(number) {
                        errors.invalid(format!("{field}.service.port.number"), &json!(number), why);
                    }
                }
                (name, 0) => {
                    add_problems(names::port_name(name), &format!("{field}.service.port.name"), name, errors);
                }
                _ => errors.invalid_text(field, "", "cannot set both port name & port number"),
            }
        }
    }
}

/// Checks the addresses that a write through `/status` gives to an Ingress.
fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    load_balancer_ingress(new, old, errors);
}

/// The largest number of hosts in the cell.
const HOSTS: usize = 3;

/// Returns the cell `Hosts`: `a.example.com,b.example.com`, or `*`.
fn hosts(ingress: &Value) -> String {
    let rules = list(ingress, "spec.rules");
    let (mut shown, mut more) = (vec![], false);
    for rule in rules {
        more |= shown.len() == HOSTS;
        if !more && !text(rule, "host").is_empty() {
            shown.push(text(rule, "host"));
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".into(),
        (_, false) => shown.join(","),
        (_, true) => format!("{} + {} more...", shown.join(","), rules.len() - HOSTS),
    }
}

fn address(ingress: &Value) -> String {
    let all: BTreeSet<&str> = list(ingress, "status.loadBalancer.ingress")
        .iter()
        .map(|i| if text(i, "ip").is_empty() { text(i, "hostname") } else { text(i, "ip") })
        .filter(|a| !a.is_empty())
        .collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Class", "string", false),
        ("Hosts", "string", false),
        ("Address", "string", false),
        ("Ports", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let ports = if list(o, "spec.tls").is_empty() { "80" } else { "80, 443" };
        vec![
            name(o),
            text_or(o, "spec.ingressClassName", "<none>").into(),
            hosts(o).into(),
            address(o).into(),
            ports.into(),
            age(o, now),
        ]
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn only_a_new_ingress_has_to_name_one_class() {
        let kind = crate::kinds::find("networking.k8s.io", "v1", "Ingress").expect("a kind of the table");
        let ingress = |class: Value| {
            let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
            json!({"metadata": {"name": "i", "namespace": "d", "annotations": {CLASS: "a"}},
                "spec": {"defaultBackend": backend, "ingressClassName": class}})
        };
        let errors_of = |errors: Errors| errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>();
        assert_eq!(errors_of(crate::validate::create(kind, &ingress(json!("a")))), [""; 0]);
        let other = ingress(json!("b"));
        assert_eq!(errors_of(crate::validate::create(kind, &other)), [format!("annotations.{CLASS}")]);
        assert_eq!(errors_of(crate::validate::update(kind, &other, &ingress(Value::Null))), [""; 0]);
    }

    #[test]
    fn an_ingress_says_where_everything_goes() {
        assert_eq!(
            problems(validate, json!({"spec": {}})),
            ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]
        );
        let backend = json!({"service": {"name": "web"}});
        assert_eq!(
            problems(validate, json!({"spec": {"defaultBackend": backend}})),
            ["spec.defaultBackend: Required value: port name or number is required"]
        );
        assert_eq!(
            problems(validate, json!({"spec": {"defaultBackend": {"resource": {"name": "a/b"}}}})),
            [
                "spec.defaultBackend.resource.kind: Required value",
                "spec.defaultBackend.resource.name: Invalid value: \"a/b\": may not contain '/'",
            ]
        );
        let path = |path: &str, kind: &str| json!({"path": path, "pathType": kind, "backend": {"service": {"name": "web", "port": {"number": 80}}}});
        let rule =
            |host: &str, path: Value| json!({"spec": {"rules": [{"host": host, "http": {"paths": [path]}}]}});
        assert!(problems(validate, rule("*.example.com", path("/a", "Prefix"))).is_empty());
        for (object, why) in [
            (rule("10.0.0.1", path("/", "Exact")), "must be a DNS name, not an IP address"),
            (rule("a.*.com", path("/", "Exact")), "a wildcard DNS-1123 subdomain must start with"),
            (rule("", path("a", "Exact")), "must be an absolute path"),
            (rule("", path("/a/../b", "Prefix")), "must not contain '/../'"),
            (rule("", path("/", "prefix")), "Unsupported value: \"prefix\""),
            (rule("", path("/", "")), "Unsupported value: \"\""),
            (rule("", json!({"path": "/"})), "Required value: pathType must be specified"),
        ] {
            let found = problems(validate, object);
            assert!(found.len() == 1 && found[0].contains(why), "{found:?}");
        }
        let both = json!({"service": {"name": "web", "port": {"number": 80, "name": "http"}}});
        let found = problems(validate, json!({"spec": {"defaultBackend": both}}));
        assert_eq!(
            found,
            ["spec.defaultBackend: Invalid value: \"\": cannot set both port name & port number"]
        );
    }
}
