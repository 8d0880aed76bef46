//! `clusterIP`, `clusterIPs` and the families of a Service's addresses. This cluster has one
//! family, IPv4.
//!
//! Upstream checks a Service in three steps, and so does this file. A step that finds problems is
//! the last one: the next one would report them again in other words. The first two come before all
//! other rules for a Service.
//!
//! 1. [`check_related_fields`]: the fields contradict neither themselves nor each other
//!    (`ValidateServiceClusterIPsRelatedFields`).
//! 2. [`check_cluster_has_families`]: the cluster has what they ask for (`initIPFamilyFields`).
//! 3. [`check_addresses_stay`] and [`check_families_stay`]: what was set once stays
//!    (`validateUpgradeDowngradeClusterIPs`, `validateUpgradeDowngradeIPFamilies`).

use crate::cidr;
use crate::errors::Errors;
use crate::validate::addresses::legacy_ip;
use crate::validate::fields::one_of;
use crate::value::{at, empty, list, text};
use serde_json::Value;
use std::collections::HashSet;

const IPS: &str = "spec.clusterIPs";
const FAMILIES: &str = "spec.ipFamilies";
const POLICY: &str = "spec.ipFamilyPolicy";

const SINGLE_STACK: &str = "SingleStack";
const REQUIRE_DUAL_STACK: &str = "RequireDualStack";
const PREFER_DUAL_STACK: &str = "PreferDualStack";

/// Checks the addresses of a Service and their families before all other rules, as upstream does
/// before it allocates addresses (`beginCreate` and `beginUpdate` in `registry/core/service`).
pub(super) fn check_before_allocation(new: &Value, old: Option<&Value>, errors: &mut Errors) {
    let old = old.unwrap_or(&Value::Null);
    if is_external(new) || prefers_as_before(new, old) {
        return;
    }
    check_related_fields(new, old, errors);
    if errors.is_empty() {
        check_cluster_has_families(new, old, errors);
    }
}

/// Checks what [`check_before_allocation`] passes over in a new Service.
pub(super) fn check_new(object: &Value, errors: &mut Errors) {
    errors.append(check_skipped(object, &Value::Null));
}

/// Checks what [`check_before_allocation`] passes over in a Service that replaces `old`, and that
/// addresses and families stay.
pub(super) fn check_update(new: &Value, old: &Value, errors: &mut Errors) {
    let mut found = check_skipped(new, old);
    if found.is_empty() && !is_external(new) && !is_external(old) {
        check_addresses_stay(new, old, &mut found);
        check_families_stay(new, old, &mut found);
    }
    errors.append(found);
}

/// True for a headless Service without a selector: its user writes its endpoints, of any family.
pub fn has_own_endpoints(service: &Value) -> bool {
    text(service, "spec.clusterIP") == "None" && empty(service, "spec.selector")
}

/// Returns the family policy of a Service that names none.
pub fn default_policy(service: &Value) -> &'static str {
    if has_own_endpoints(service) { REQUIRE_DUAL_STACK } else { SINGLE_STACK }
}

/// True for a Service that prefers two families and leaves its families and addresses as they were.
/// It gets the second family when it is made, and not by any later write
/// (`isMatchingPreferDualStackClusterIPFields`).
pub fn prefers_as_before(new: &Value, old: &Value) -> bool {
    let is_same = |path: &&str| text(new, path) == text(old, path);
    let is_same_list = |path: &&str| list(new, path) == list(old, path); // a missing one is empty
    text(old, POLICY) == PREFER_DUAL_STACK
        && ["spec.type", POLICY, "spec.clusterIP"].iter().all(is_same)
        && [FAMILIES, IPS].iter().all(is_same_list)
}

fn is_external(service: &Value) -> bool {
    text(service, "spec.type") == "ExternalName"
}

fn is_headless(service: &Value) -> bool {
    matches!(list(service, IPS), [only] if only == "None")
}

/// True for an address of IPv6. An IPv4 address that is written as IPv6 is one of IPv4.
fn is_ipv6(ip: &Value) -> bool {
    ip.as_str().and_then(cidr::canonical_ip).is_some_and(|ip| ip.is_ipv6())
}

/// Checks a Service that [`check_before_allocation`] passes over: one of type `ExternalName`, and
/// one that prefers two families as before.
fn check_skipped(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    if is_external(new) {
        for field in [IPS, FAMILIES, POLICY].into_iter().filter(|field| !empty(new, field)) {
            errors.forbidden(field, "may not be set for ExternalName services");
        }
    } else if prefers_as_before(new, old) {
        check_related_fields(new, old, &mut errors);
    }
    errors
}

/// Checks the fields each by itself and then with each other. An address that `old` has is accepted
/// in whatever form.
fn check_related_fields(new: &Value, old: &Value, errors: &mut Errors) {
    let (one, all, whole) = (text(new, "spec.clusterIP"), list(new, IPS), at(new, IPS));
    // Strategy has filled in the list of an object that has the single address alone.
    match all.first() {
        None if !one.is_empty() => errors.required(IPS, ""),
        Some(_) if one.is_empty() => {
            errors.invalid(IPS, whole, "must be empty when `clusterIP` is not specified");
        }
        Some(first) if first != one => errors.invalid(IPS, whole, "first value must match `clusterIP`"),
        _ => {}
    }
    let families = list(new, FAMILIES);
    check_family_names(families, errors);
    one_of(new, POLICY, POLICY, &[PREFER_DUAL_STACK, REQUIRE_DUAL_STACK, SINGLE_STACK], errors);
    let are_addresses = check_address_forms(new, old, errors);
    if all.len() > 2 {
        errors.invalid(IPS, whole, "may only hold up to 2 values");
    }
    if !are_addresses {
        return; // the problems below would name addresses that are none
    }
    if all.len() > 1 && (all.iter().all(is_ipv6) || !all.iter().any(is_ipv6)) {
        errors.invalid(IPS, whole, "may specify no more than one IP for each IP family");
    }
    if !is_headless(new) {
        check_address_families(all, families, errors);
    }
}

/// Checks that each family is known, and that none is named twice.
fn check_family_names(families: &[Value], errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, family) in families.iter().enumerate() {
        let field = format!("{FAMILIES}[{i}]");
        if !matches!(family.as_str(), Some("IPv4" | "IPv6")) {
            errors.not_supported(&field, family, &["IPv4", "IPv6"]);
        }
        if !seen.insert(family) {
            errors.duplicate(field, family);
        }
    }
}

/// Checks that each address is of the family at its place, if there is one.
fn check_address_families(ips: &[Value], families: &[Value], errors: &mut Errors) {
    for (i, (ip, family)) in ips.iter().zip(families).enumerate() {
        let is_other = match family.as_str() {
            Some("IPv4") => is_ipv6(ip),
            Some("IPv6") => !is_ipv6(ip),
            _ => false,
        };
        if is_other {
            let family = family.as_str().unwrap_or_default();
            let why = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(format!("{IPS}[{i}]"), ip, &why);
        }
    }
}

/// Checks that each item of the list is an address, or that the only one is `None`. False if not.
fn check_address_forms(new: &Value, old: &Value, errors: &mut Errors) -> bool {
    let (all, before) = (list(new, IPS), list(old, IPS));
    let mut are_addresses = true;
    for (i, ip) in all.iter().enumerate() {
        if i == 0 && ip == "None" {
            if all.len() > 1 {
                errors.invalid(IPS, at(new, IPS), "'None' must be the first and only value");
                are_addresses = false;
            }
        } else if !before.contains(ip) {
            let text = ip.as_str().unwrap_or_default();
            are_addresses &= legacy_ip(text, &format!("{IPS}[{i}]"), errors).is_some();
        }
    }
    are_addresses
}

/// Checks that the policy fits the number of addresses and families, and that the cluster has the
/// families.
fn check_cluster_has_families(new: &Value, old: &Value, errors: &mut Errors) {
    let (ips, families) = (list(new, IPS), list(new, FAMILIES));
    let policy = Some(text(new, POLICY)).filter(|set| !set.is_empty()).unwrap_or_else(|| default_policy(new));
    let is_fewer = |field: &str| (1..list(old, field).len()).contains(&list(new, field).len());
    for (field, several, secondary) in
        [(IPS, "multiple cluster IPs", "cluster IP"), (FAMILIES, "multiple IP families", "IP family")]
    {
        if policy == SINGLE_STACK && list(new, field).len() == 2 {
            let why = format!(
                "must be '{REQUIRE_DUAL_STACK}' or '{PREFER_DUAL_STACK}' when {several} are specified"
            );
            errors.invalid_text(POLICY, policy, &why);
        } else if policy != SINGLE_STACK && is_fewer(field) {
            let why = format!("must be '{SINGLE_STACK}' to release the secondary {secondary}");
            errors.invalid_text(POLICY, policy, &why);
        }
    }
    // The family of an address is added to the families if there is none at its place.
    for (i, _) in ips.iter().enumerate().skip(families.len()).filter(|(_, ip)| is_ipv6(ip)) {
        errors.invalid(format!("{IPS}[{i}]"), at(new, IPS), "IPv6 is not configured on this cluster");
    }
    if !errors.is_empty() || has_own_endpoints(new) {
        return;
    }
    if policy == REQUIRE_DUAL_STACK {
        errors.invalid_text(POLICY, policy, "this cluster is not configured for dual-stack services");
    }
    if let Some(i) = families.iter().position(|family| family == "IPv6") {
        errors.invalid_text(format!("{FAMILIES}[{i}]"), "IPv6", "not configured on this cluster");
    }
}

/// Checks that the addresses stay: a second one may come and go, and nothing else changes. Another
/// spelling is a change, too.
fn check_addresses_stay(new: &Value, old: &Value, errors: &mut Errors) {
    let (after, before, whole) = (list(new, IPS), list(old, IPS), at(new, IPS));
    if is_headless(new) && is_headless(old) {
        return;
    }
    if after.is_empty() && !before.is_empty() {
        return errors.invalid(format!("{IPS}[0]"), whole, "primary clusterIP can not be unset");
    }
    let compared = if after.len() == before.len() { after.len() } else { 1 };
    for (i, _) in after.iter().zip(before).enumerate().take(compared).filter(|(_, (a, b))| a != b) {
        errors.invalid(format!("{IPS}[{i}]"), whole, "may not change once set");
    }
}

/// Checks that the families stay: a second one may come and go. Those of a headless Service may
/// change.
fn check_families_stay(new: &Value, old: &Value, errors: &mut Errors) {
    if is_headless(new) || is_headless(old) {
        return;
    }
    let (after, before) = (list(new, FAMILIES), list(old, FAMILIES));
    let is_same_length = after.len() == before.len();
    let compared = if is_same_length { after.len() } else { 1 };
    // Where the number of families changes, upstream shows the addresses; it names the first.
    let whole = at(new, if is_same_length { FAMILIES } else { IPS });
    for _ in after.iter().zip(before).take(compared).filter(|(a, b)| a != b) {
        errors.invalid(format!("{FAMILIES}[0]"), whole, "may not change once set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SIX: &str = "IPv6 is not configured on this cluster";
    const STAYS: &str = "may not change once set";

    fn service(spec: &Value) -> Value {
        let mut whole = json!({"type": "ClusterIP", "ports": [{"port": 80}]});
        crate::patch::merge(&mut whole, spec);
        json!({ "spec": whole })
    }

    fn texts(errors: &Errors) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    /// `clusterIPs`, and `clusterIP` with the first of them.
    fn with(ips: &[&str], more: Value) -> Value {
        let mut spec = json!({"clusterIP": ips[0], "clusterIPs": ips});
        crate::patch::merge(&mut spec, &more);
        spec
    }

    /// Why a new Service with this spec is refused.
    fn refused(spec: &Value) -> Vec<String> {
        let (service, mut errors) = (service(spec), Errors::default());
        check_before_allocation(&service, None, &mut errors);
        if errors.is_empty() {
            check_new(&service, &mut errors);
        }
        texts(&errors)
    }

    #[test]
    fn addresses_and_families_of_a_new_service_fit_together() {
        let four = "10.96.0.9";
        for (spec, want) in [
            (json!({}), vec![]),
            (with(&[four], json!({"ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack"})), vec![]),
            (with(&["::ffff:10.96.0.9"], json!({"ipFamilies": ["IPv4"]})), vec![]),
            (with(&["None"], json!({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"})), vec![]),
            (with(&["None"], json!({"ipFamilies": ["IPv6", "IPv4"]})), vec![]),
            // One with a selector gets its endpoints from the cluster.
            (
                with(&["None"], json!({"selector": {"app": "a"}, "ipFamilies": ["IPv6"]})),
                vec!["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster".to_string()],
            ),
            (
                with(&["None"], json!({"selector": {"app": "a"}, "ipFamilyPolicy": "RequireDualStack"})),
                vec!["spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services".to_string()],
            ),
        ] {
            assert_eq!(refused(&spec), want, "{spec}");
        }
    }

    #[test]
    fn addresses_fit_each_other_and_the_families() {
        let four = "10.96.0.9";
        let several = "must be 'RequireDualStack' or 'PreferDualStack' when multiple";
        for (spec, want) in [
            (json!({"clusterIP": four}), vec!["spec.clusterIPs: Required value".to_string()]),
            (
                json!({"clusterIPs": [four]}),
                vec![format!("spec.clusterIPs: Invalid value: [\"{four}\"]: must be empty when `clusterIP` is not specified")],
            ),
            (
                json!({"clusterIP": four, "clusterIPs": ["10.96.0.8"]}),
                vec!["spec.clusterIPs: Invalid value: [\"10.96.0.8\"]: first value must match `clusterIP`".to_string()],
            ),
            (
                with(&["None", four], json!({})),
                vec![format!("spec.clusterIPs: Invalid value: [\"None\",\"{four}\"]: 'None' must be the first and only value")],
            ),
            (
                with(&[four, "10.96.0.8"], json!({"ipFamilyPolicy": "RequireDualStack"})),
                vec![format!("spec.clusterIPs: Invalid value: [\"{four}\",\"10.96.0.8\"]: may specify no more than one IP for each IP family")],
            ),
            (
                with(&[four, "fd00::1", "fd00::2"], json!({})),
                vec![format!("spec.clusterIPs: Invalid value: [\"{four}\",\"fd00::1\",\"fd00::2\"]: may only hold up to 2 values")],
            ),
            (
                with(&[four], json!({"ipFamilies": ["IPv6"]})),
                vec![format!("spec.clusterIPs[0]: Invalid value: \"{four}\": expected an IPv6 value as indicated by `ipFamilies[0]`")],
            ),
            (
                with(&[four, "fd00::1"], json!({"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "RequireDualStack"})),
                vec![
                    format!("spec.clusterIPs[0]: Invalid value: \"{four}\": expected an IPv6 value as indicated by `ipFamilies[0]`"),
                    "spec.clusterIPs[1]: Invalid value: \"fd00::1\": expected an IPv4 value as indicated by `ipFamilies[1]`".to_string(),
                ],
            ),
            (
                with(&[four, "fd00::1"], json!({"ipFamilies": ["IPv4", "IPv6"]})),
                vec![
                    format!("spec.ipFamilyPolicy: Invalid value: \"SingleStack\": {several} cluster IPs are specified"),
                    format!("spec.ipFamilyPolicy: Invalid value: \"SingleStack\": {several} IP families are specified"),
                ],
            ),
            (
                with(&["fd00::1"], json!({})),
                vec![format!("spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: {SIX}")],
            ),
            (
                json!({"ipFamilyPolicy": "x"}),
                vec!["spec.ipFamilyPolicy: Unsupported value: \"x\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"".to_string()],
            ),
            (
                json!({"type": "ExternalName", "clusterIPs": ["10.96.0.9"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}),
                ["clusterIPs", "ipFamilies", "ipFamilyPolicy"]
                    .map(|field| format!("spec.{field}: Forbidden: may not be set for ExternalName services"))
                    .to_vec(),
            ),
        ] {
            assert_eq!(refused(&spec), want, "{spec}");
        }
    }

    #[test]
    fn a_missing_list_is_an_empty_one() {
        let old = service(
            &json!({"clusterIP": "None", "clusterIPs": ["None"], "ipFamilyPolicy": PREFER_DUAL_STACK}),
        );
        let mut new = old.clone();
        new["spec"]["ipFamilies"] = json!([]);
        assert!(prefers_as_before(&new, &old));
        new["spec"]["ipFamilies"] = json!(["IPv4"]);
        assert!(!prefers_as_before(&new, &old));
    }

    #[test]
    fn what_a_service_was_given_stays() {
        let four = json!({"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"});
        let both = |ips: &[&str], policy: &str| {
            with(ips, json!({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": policy}))
        };
        let external = json!({"type": "ExternalName", "externalName": "a.example"});
        let old = with(&["10.96.0.9"], four.clone());
        let dual = both(&["10.96.0.9", "fd00::1"], "PreferDualStack");
        for (old, new, want) in [
            (&old, with(&["10.96.0.9"], four.clone()), vec![]),
            (
                &old,
                with(&["10.96.0.8"], four.clone()),
                vec![format!("spec.clusterIPs[0]: Invalid value: [\"10.96.0.8\"]: {STAYS}")],
            ),
            (
                &old,
                with(&["010.96.0.9"], four.clone()),
                vec![format!("spec.clusterIPs[0]: Invalid value: [\"010.96.0.9\"]: {STAYS}")],
            ),
            (
                &old,
                with(&["None"], four.clone()),
                vec![format!("spec.clusterIPs[0]: Invalid value: [\"None\"]: {STAYS}")],
            ),
            (
                &old,
                four.clone(),
                vec!["spec.clusterIPs[0]: Invalid value: null: primary clusterIP can not be unset".to_string()],
            ),
            (&old, external.clone(), vec![]),
            (&external, with(&["10.96.0.8"], four.clone()), vec![]),
            (&with(&["None"], json!({"ipFamilies": ["IPv4"]})), with(&["None"], json!({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"})), vec![]),
            // Services of two families, as a cluster that has both would store them.
            (&dual, dual.clone(), vec![]),
            (&dual, with(&["10.96.0.9"], four.clone()), vec![]),
            (
                &dual,
                with(&["10.96.0.8"], four),
                vec![format!("spec.clusterIPs[0]: Invalid value: [\"10.96.0.8\"]: {STAYS}")],
            ),
            (
                &dual,
                with(&["10.96.0.9"], json!({"ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack"})),
                ["cluster IP", "IP family"]
                    .map(|what| format!("spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be 'SingleStack' to release the secondary {what}"))
                    .to_vec(),
            ),
            (
                &dual,
                both(&["10.96.0.9", "fd00::2"], "PreferDualStack"),
                vec!["spec.ipFamilies[1]: Invalid value: \"IPv6\": not configured on this cluster".to_string()],
            ),
        ] {
            let (after, before, mut errors) = (service(&new), service(old), Errors::default());
            check_before_allocation(&after, Some(&before), &mut errors);
            if errors.is_empty() {
                check_update(&after, &before, &mut errors);
            }
            assert_eq!(texts(&errors), want, "{old} -> {new}");
        }
        let mut errors = Errors::default();
        let six = with(&["10.96.0.9"], json!({"ipFamilies": ["IPv6"]}));
        check_families_stay(&service(&six), &service(&old), &mut errors);
        assert_eq!(texts(&errors), [format!("spec.ipFamilies[0]: Invalid value: [\"IPv6\"]: {STAYS}")]);
    }
}
