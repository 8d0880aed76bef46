//! `clusterIP`, `clusterIPs` and the families of a Service's addresses
//! (`ValidateServiceClusterIPsRelatedFields` upstream). This cluster has one family, IPv4.

use crate::cidr;
use crate::errors::Errors;
use crate::validate::addresses::legacy_ip;
use crate::validate::one_of;
use crate::value::{at, empty, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;

const IPS: &str = "spec.clusterIPs";
const FAMILIES: &str = "spec.ipFamilies";
const POLICY: &str = "spec.ipFamilyPolicy";

/// Checks the addresses of a Service and their families.
pub(super) fn check(object: &Value, errors: &mut Errors) {
    if text(object, "spec.type") == "ExternalName" {
        for field in [IPS, FAMILIES, POLICY].into_iter().filter(|field| !empty(object, field)) {
            errors.forbidden(field, "may not be set for ExternalName services");
        }
        return;
    }
    addresses(object, errors);
    families(object, errors);
}

/// Checks that the list begins with the single address. Strategy (`prepare`) has filled in the list
/// of an object that has the single address alone.
fn addresses(object: &Value, errors: &mut Errors) {
    let (one, all, whole) = (text(object, "spec.clusterIP"), list(object, IPS), at(object, IPS));
    match all.first() {
        Some(_) if one.is_empty() => {
            errors.invalid(IPS, whole, "must be empty when `clusterIP` is not specified");
        }
        Some(first) if first != one => errors.invalid(IPS, whole, "first value must match `clusterIP`"),
        _ => {}
    }
    if one == "None" && all.len() > 1 {
        return errors.invalid(IPS, whole, "'None' must be the first and only value");
    }
    let parsed: Vec<IpAddr> = all.iter().filter_map(|ip| cidr::canonical_ip(ip.as_str()?)).collect();
    // The form of each is checked by `forms`; a wrong one would make these problems puzzling.
    if parsed.len() < 2 || parsed.len() < all.len() {
        return;
    }
    let six = parsed.iter().position(IpAddr::is_ipv6);
    if parsed.len() > 2 {
        errors.invalid(IPS, whole, "may only hold up to 2 values");
    } else if six.is_none() || parsed.iter().all(IpAddr::is_ipv6) {
        errors.invalid(IPS, whole, "may specify no more than one IP for each IP family");
    } else if matches!(text(object, POLICY), "" | "SingleStack") {
        let why = "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified";
        errors.invalid(POLICY, &json!("SingleStack"), why);
    } else if let Some(i) = six {
        errors.invalid(format!("{IPS}[{i}]"), whole, "IPv6 is not configured on this cluster");
    }
}

/// Checks that each address is one, in whatever form, but for those that `old` has.
pub(super) fn forms(object: &Value, old: &Value, errors: &mut Errors) {
    if text(object, "spec.type") == "ExternalName" {
        return;
    }
    let (all, before) = (list(object, IPS), list(old, IPS));
    for (i, ip) in all.iter().enumerate().filter(|(i, ip)| !(*i == 0 && *ip == "None")) {
        if !before.contains(ip) {
            legacy_ip(ip.as_str().unwrap_or_default(), &format!("{IPS}[{i}]"), errors);
        }
    }
}

/// Checks the families of the addresses. This cluster has one, IPv4.
fn families(object: &Value, errors: &mut Errors) {
    let (families, mut seen) = (list(object, FAMILIES), HashSet::new());
    for (i, family) in families.iter().enumerate() {
        let field = format!("{FAMILIES}[{i}]");
        if !matches!(family.as_str(), Some("IPv4" | "IPv6")) {
            errors.not_supported(&field, family, &["IPv4", "IPv6"]);
        }
        if !seen.insert(family) {
            errors.duplicate(field, family);
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    one_of(object, POLICY, POLICY, &policies, errors);
    // The user writes the endpoints of a headless Service without a selector, of any family.
    if text(object, "spec.clusterIP") == "None" && empty(object, "spec.selector") {
        return;
    }
    if let Some(i) = families.iter().position(|family| family == "IPv6") {
        errors.invalid_text(format!("{FAMILIES}[{i}]"), "IPv6", "not configured on this cluster");
    }
    if text(object, POLICY) == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        errors.invalid_text(POLICY, "RequireDualStack", why);
    }
}

/// The address of a Service may not change, except from none or to none. Another spelling is a
/// change, too, as upstream.
pub(super) fn update(new: &Value, old: &Value, errors: &mut Errors) {
    forms(new, old, errors);
    let external = |s: &Value| text(s, "spec.type") == "ExternalName";
    let (before, after) = (list(old, IPS).first(), list(new, IPS).first());
    if external(new) || external(old) || before.is_none() || before == after {
        return;
    }
    match after {
        None => errors.invalid(format!("{IPS}[0]"), at(new, IPS), "primary clusterIP can not be unset"),
        Some(_) => errors.invalid(format!("{IPS}[0]"), at(new, IPS), "may not change once set"),
    }
}
