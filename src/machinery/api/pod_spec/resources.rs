//! Requests and limits of containers and of whole pods.

use crate::errors::{ErrorKind, Errors, FieldError, brief};
use crate::gostr;
use crate::kinds::core::resource_quota::{self, COMPUTE};
use crate::quantity::Quantity;
use crate::requests::is_extended;
use crate::validate::fields::add_problems;
use crate::validate::names;
use crate::value::{at, list, map, text};
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::collections::HashSet;

/// Checks the name of a container's resource: a standard one of containers, or `example.com/gpu`
/// (`validateContainerResourceName` upstream).
pub(crate) fn container_resource_name(name: &str, field: &str, errors: &mut Errors) {
    resource_quota::resource_name(name, field, errors);
    let is_native = !name.contains('/') || name.contains("kubernetes.io/");
    let is_quota_name = || names::qualified_name(&format!("requests.{name}")).is_empty();
    if !name.contains('/') && !COMPUTE.contains(&name) && !name.starts_with("hugepages-") {
        errors.invalid_text(field, name, "must be a standard resource for containers");
    } else if !(is_native || is_extended(name) && is_quota_name()) {
        errors.invalid_text(field, name, "doesn't follow extended resource name standard");
    }
}

/// Checks the name of a resource of a pod as a whole (`validatePodResourceName` upstream).
pub(super) fn pod_resource_name(name: &str, field: &str, errors: &mut Errors) {
    let mut own = Errors::default();
    resource_quota::resource_name(name, field, &mut own);
    if own.is_empty() && !["cpu", "memory"].contains(&name) && !name.starts_with("hugepages-") {
        own.not_supported(field, &json!(name), &["cpu", "hugepages-", "memory"]);
    }
    errors.append(own);
}

fn parsed(value: &Value) -> Option<Quantity> {
    value.as_str().and_then(Quantity::parse)
}

/// Returns whether a resource may be promised to more than one container. Huge pages and devices
/// may not, and they come in whole pieces.
fn is_shared(name: &str) -> bool {
    !name.starts_with("hugepages-") && (!name.contains('/') || name.contains("kubernetes.io/"))
}

/// Returns whether an amount of huge pages is a multiple of the size that their name has: 3Mi of
/// `hugepages-2Mi` is none. A name without a size has no multiples
/// (`IsHugePageResourceValueDivisible` upstream).
fn is_in_whole_pages(name: &str, amount: &Quantity) -> bool {
    let Some(size) = name.strip_prefix("hugepages-") else { return true };
    let size = Quantity::parse(size).filter(Quantity::is_whole).map_or(0, |size| size.units());
    size > 0 && amount.units() % size == 0
}

/// Checks an amount of a resource.
fn amount(name: &str, value: &Value, field: &str, errors: &mut Errors) {
    let Some(quantity) = parsed(value) else { return };
    if quantity.is_negative() {
        errors.invalid(field, value, "must be greater than or equal to 0");
    }
    if !is_shared(name) && !name.starts_with("hugepages-") && !quantity.is_whole() {
        errors.invalid(field, value, "must be an integer");
    }
    if !is_in_whole_pages(name, &quantity) {
        let shown = value.as_str().unwrap_or_default();
        errors.invalid(field, value, &format!("{shown} is not positive integer multiple of {name}"));
    }
}

/// Checks requests and limits; `check_name` checks the names of resources.
pub(super) fn requirements(
    resources: &Value,
    field: &str,
    check_name: &dyn Fn(&str, &str, &mut Errors),
    errors: &mut Errors,
) {
    let limits = at(resources, "limits");
    let (mut basic, mut pages) = (false, false);
    for what in ["limits", "requests"] {
        for (name, value) in map(resources, what).into_iter().flatten() {
            let here = format!("{field}.{what}[{name}]");
            check_name(name, &here, errors);
            amount(name, value, &here, errors);
            basic |= ["cpu", "memory"].contains(&name.as_str());
            pages |= name.starts_with("hugepages-");
            if what == "limits" {
                continue;
            }
            let limit = limits.get(name);
            let shown = limit.and_then(Value::as_str).unwrap_or("");
            match (parsed(value), limit.and_then(parsed)) {
                (Some(r), Some(l)) if r != l && !is_shared(name) => {
                    let why = format!("must be equal to {name} limit of {shown}");
                    errors.invalid(format!("{field}.requests"), value, &why);
                }
                (Some(r), Some(l)) if r > l => {
                    let why = format!("must be less than or equal to {name} limit of {shown}");
                    errors.invalid(format!("{field}.requests"), value, &why);
                }
                (Some(_), None) if !is_shared(name) => {
                    let why = "Limit must be set for non overcommitable resources";
                    errors.required(format!("{field}.limits"), why);
                }
                _ => {}
            }
        }
    }
    if pages && !basic {
        errors.forbidden(field, "HugePages require cpu or memory");
    }
}

/// Checks the claims that a pod has for its containers: each has a name of its own and one source.
pub(super) fn pod_claims(spec: &Value, field: &str, errors: &mut Errors) {
    const SOURCES: [&str; 2] = ["resourceClaimName", "resourceClaimTemplateName"];
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, claim) in list(spec, "resourceClaims").iter().enumerate() {
        let (name, place) = (text(claim, "name"), format!("{field}[{i}]"));
        let name_field = format!("{place}.name");
        if name.is_empty() {
            errors.required(name_field, "");
        } else if !seen.insert(name) {
            errors.duplicate(name_field, &json!(name));
        } else {
            add_problems(names::dns_label(name), &name_field, name, errors);
        }
        let sources = SOURCES.map(|source| at(claim, source).as_str());
        let why = match sources {
            [Some(_), Some(_)] => {
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            }
            [None, None] => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            _ => "",
        };
        if !why.is_empty() {
            // Upstream shows its internal type, which has capital letters.
            let [own, template] = sources;
            let shown =
                json!({"Name": name, "ResourceClaimName": own, "ResourceClaimTemplateName": template});
            errors.invalid(&*place, &shown, why);
        }
        for (source, name) in SOURCES.iter().zip(sources) {
            if let Some(name) = name {
                add_problems(names::dns_subdomain(name), &format!("{place}.{source}"), name, errors);
            }
        }
    }
}

/// The claims that a pod has for its containers, by their names.
pub(super) struct Claims<'a> {
    names: HashSet<&'a str>,
    /// The names as errors list them: made once, however many unknown claims containers name.
    shown: OnceCell<String>,
}

impl<'a> Claims<'a> {
    pub(super) fn of(spec: &'a Value) -> Claims<'a> {
        let names = list(spec, "resourceClaims").iter().map(|claim| text(claim, "name")).collect();
        Claims { names, shown: OnceCell::new() }
    }

    /// Returns the error that the pod has no claim of this name, with the names that it has.
    fn unknown(&self, name: &str) -> String {
        let shown = self.shown.get_or_init(|| {
            let mut names: Vec<&str> = self.names.iter().copied().filter(|name| !name.is_empty()).collect();
            names.sort_unstable();
            if names.is_empty() { " which is empty".to_string() } else { format!(": {}", names.join(", ")) }
        });
        let (quoted, shown) = (gostr::quote(brief(name)), brief(shown));
        format!("Not found: {quoted}: must be one of the names in pod.spec.resourceClaims{shown}")
    }
}

/// Checks the claims of the pod that a container uses: each as a whole, or only some of its
/// requests.
pub(super) fn claims(known: &Claims, c: &Value, field: &str, errors: &mut Errors) {
    let (mut seen, mut in_part): (HashSet<String>, HashSet<&str>) = Default::default();
    for (i, claim) in list(c, "resources.claims").iter().enumerate() {
        if errors.is_cut() {
            return;
        }
        let (name, request, place) = (text(claim, "name"), text(claim, "request"), format!("{field}[{i}]"));
        if name.is_empty() {
            errors.required(place, "");
            continue;
        }
        if seen.contains(name) || (request.is_empty() && in_part.contains(name)) {
            errors.duplicate(&place, &json!(name));
        } else if request.is_empty() {
            seen.insert(name.to_string());
        } else {
            add_problems(names::dns_label(request), &format!("{place}.request"), request, errors);
            let part = format!("{name}/{request}");
            if seen.contains(&part) {
                errors.duplicate(&place, &json!(part));
            }
            seen.insert(part);
            in_part.insert(name);
        }
        if !known.names.contains(name) {
            errors.add(FieldError { kind: ErrorKind::NotFound, field: place, body: known.unknown(name) });
        }
    }
}

pub(super) fn resize(spec: &Value, c: &Value, field: &str, errors: &mut Errors) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, policy) in list(c, "resizePolicy").iter().enumerate() {
        let (name, restart) = (text(policy, "resourceName"), text(policy, "restartPolicy"));
        if seen.contains(&name) {
            errors.duplicate(format!("{field}[{i}]"), &json!(name));
        }
        seen.insert(name);
        for (value, known) in [(name, ["cpu", "memory"]), (restart, ["NotRequired", "RestartContainer"])] {
            match value {
                "" => errors.required(field, ""),
                value if !known.contains(&value) => errors.not_supported(field, &json!(value), &known),
                _ => {}
            }
        }
        if text(spec, "restartPolicy") == "Never" && restart != "NotRequired" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid_text(field, restart, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_pod_requests_no_less_than_its_containers_together() {
        let with = |whole: &str| {
            let part = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}});
            let container = |name: &str| json!({"name": name, "image": "x", "resources": part});
            super::super::tests::errors_of(
                json!({"containers": [container("a"), container("b")], "resources": {"requests": {"cpu": whole}}}),
            )
        };
        assert_eq!(with("2"), [""; 0]);
        assert_eq!(
            with("1500m"),
            [
                "spec.resources.requests[cpu]: Invalid value: \"1500m\": must be greater than or equal to aggregate container requests of 2"
            ]
        );
    }

    #[test]
    fn a_claim_of_a_pod_has_one_name_and_one_source() {
        let errors_of = |claims: Value| {
            let mut errors = Errors::default();
            pod_claims(&json!({"resourceClaims": claims}), "spec.resourceClaims", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let one = json!({"name": "a", "resourceClaimName": "x.y"});
        assert_eq!(errors_of(json!([one, {"name": "b", "resourceClaimTemplateName": "t"}])), [""; 0]);
        assert_eq!(errors_of(json!([one, one])), ["spec.resourceClaims[1].name: Duplicate value: \"a\""]);
        let shown = r#"{"Name":"a","ResourceClaimName":null,"ResourceClaimTemplateName":null}"#;
        let why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
        assert_eq!(
            errors_of(json!([{"name": "a"}])),
            [format!("spec.resourceClaims[0]: Invalid value: {shown}: {why}")]
        );
        let both =
            errors_of(json!([{"name": "a", "resourceClaimName": "x", "resourceClaimTemplateName": "T"}]));
        assert!(both.len() == 2 && both[0].contains("at most one of"), "{both:?}");
        assert!(both[1].starts_with("spec.resourceClaims[0].resourceClaimTemplateName: Invalid"), "{both:?}");
        assert_eq!(
            errors_of(json!([{"resourceClaimName": "x"}])),
            ["spec.resourceClaims[0].name: Required value"]
        );
    }

    /// As `validateResourceClaimNames` of Kubernetes 1.35.
    #[test]
    fn a_claim_is_used_as_a_whole_or_by_its_requests() {
        let errors_of = |claims: Value| {
            let mut errors = Errors::default();
            let container = json!({"resources": {"claims": claims}});
            let spec = json!({"resourceClaims": [{"name": "a"}, {"name": "b"}]});
            super::claims(&Claims::of(&spec), &container, "claims", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (whole, one) = (json!({"name": "a"}), json!({"name": "a", "request": "r"}));
        let other = json!({"name": "a", "request": "s"});
        assert_eq!(errors_of(json!([one, other, {"name": "b"}])), [""; 0]);
        for (claims, key) in [
            (json!([whole, whole]), "a"),
            (json!([whole, one]), "a"),
            (json!([one, whole]), "a"),
            (json!([one, one]), "a/r"),
        ] {
            assert_eq!(
                errors_of(claims.clone()),
                [format!("claims[1]: Duplicate value: {key:?}")],
                "{claims}"
            );
        }
        let lines = errors_of(json!([{"name": "c", "request": "R"}, {"request": "r"}]));
        assert!(lines[0].starts_with("claims[0].request: Invalid value: \"R\": a lowercase"), "{lines:?}");
        let why = "must be one of the names in pod.spec.resourceClaims: a, b";
        let unknown = format!("claims[0]: Not found: \"c\": {why}");
        assert_eq!(lines[1..], [unknown, "claims[1]: Required value".to_string()]);
        let nameless = json!({"resourceClaims": [{"name": ""}]});
        let none = Claims::of(&nameless).unknown("c");
        assert_eq!(
            none,
            "Not found: \"c\": must be one of the names in pod.spec.resourceClaims which is empty"
        );
    }

    #[test]
    fn the_work_for_unknown_claims_grows_as_they_do() {
        let named = |letter: &str, n: usize| {
            (0..n).map(|i| json!({"name": format!("{letter}{i}")})).collect::<Vec<_>>()
        };
        let many = |n: usize| {
            (json!({"resourceClaims": named("a", n)}), json!({"resources": {"claims": named("b", n)}}))
        };
        rng::growth::grows_as_its_input("unknown claims", 12_000, many, |(spec, container)| {
            super::claims(&Claims::of(&spec), &container, "claims", &mut Errors::default());
        });
    }

    /// As `validateContainerResourceName` and `validatePodResourceName` of Kubernetes 1.35.
    #[test]
    fn a_resource_of_a_quota_is_none_of_a_container() {
        let errors_of = |check: fn(&str, &str, &mut Errors), name: &str| {
            let mut errors = Errors::default();
            check(name, "r", &mut errors);
            errors.iter().map(|e| e.body.rsplit(": ").next().map(String::from)).collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_string());
        let (any, own) = (
            "must be a standard resource type or fully qualified",
            "must be a standard resource for containers",
        );
        for name in ["requests.cpu", "pods", "storage"] {
            assert_eq!(errors_of(container_resource_name, name), [some(own)], "{name}");
        }
        assert_eq!(errors_of(container_resource_name, "gpu"), [some(any), some(own)]);
        assert_eq!(errors_of(pod_resource_name, "gpu"), [some(any)]);
        for name in ["example.com/gpu", "pods"] {
            assert_eq!(
                errors_of(pod_resource_name, name),
                [some("\"cpu\", \"hugepages-\", \"memory\"")],
                "{name}"
            );
        }
        for name in ["cpu", "hugepages-2Mi"] {
            assert_eq!(
                (errors_of(container_resource_name, name), errors_of(pod_resource_name, name)),
                (vec![], vec![]),
                "{name}"
            );
        }
    }

    #[test]
    fn huge_pages_are_asked_for_in_whole_pages() {
        let errors_of = |name: &str, amount: &str| {
            let resources = json!({"limits": {name: amount, "cpu": "1"}, "requests": {name: amount}});
            let mut errors = Errors::default();
            requirements(&resources, "r", &|_, _, _: &mut Errors| {}, &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(errors_of("hugepages-2Mi", "4Mi"), [""; 0]);
        assert_eq!(errors_of("hugepages-2Mi", "0"), [""; 0]);
        let why = "is not positive integer multiple of";
        for (name, amount) in [("hugepages-2Mi", "3Mi"), ("hugepages-", "1"), ("hugepages-500m", "1")] {
            let want = format!("[{name}]: Invalid value: {amount:?}: {amount} {why} {name}");
            assert_eq!(errors_of(name, amount), [format!("r.limits{want}"), format!("r.requests{want}")]);
        }
    }
}
