//! Services: one stable name and address for the pods that a selector chooses. The API server
//! allocates the addresses and node ports, not this file.

mod cluster_ips;
mod validate;

pub use cluster_ips::{default_policy, has_own_endpoints, prefers_as_before};

use crate::kinds::entry::{Kind, of, proxy, status};
use crate::table::cells::{Printer, age, labels, name, text_or};
use crate::validate::names::dns_1035;
use crate::value::{self, at, default, default_zero, int, list, list_mut, put, text};
use clock::Timestamp;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap, HashSet};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["svc"],
        categories: &["all"],
        subresources: vec![proxy("ServiceProxyOptions"), status("Service")],
        has_status: true,
        returns_deleted: true,
        create_on_update: true,
        name_rule: dns_1035,
        defaults,
        prepare,
        prepare_update,
        prepare_status_update,
        validate_first: cluster_ips::check_before_allocation,
        validate: validate::validate,
        validate_create: validate::validate_create,
        validate_update: validate::validate_update,
        validate_status_update: validate::validate_status_update,
        fields: &[("spec.clusterIP", "spec.clusterIP"), ("spec.type", "spec.type")],
        printer: Some(&PRINTER),
        ..of::<Service>()
    }
}

fn defaults(object: &mut Value) {
    default_zero(object, "spec.sessionAffinity", "None");
    match text(object, "spec.sessionAffinity") {
        "ClientIP" => default(object, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", 10800),
        "None" => drop(value::remove(object, "spec.sessionAffinityConfig")),
        _ => {}
    }
    default_zero(object, "spec.type", "ClusterIP");
    for port in list_mut(object, "spec.ports") {
        default_zero(port, "protocol", "TCP");
        let number = at(port, "port").clone();
        default_zero(port, "targetPort", number);
    }
    let kind = text(object, "spec.type").to_string();
    if is_reached_from_outside(object) {
        default_zero(object, "spec.externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        default(object, "spec.internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(object, "spec.allocateLoadBalancerNodePorts", true);
    }
}

/// Fills in the `ipMode` of addresses of a load balancer: `VIP` by default.
fn prepare_status_update(new: &mut Value, _: &Value, _: &str) {
    if text(new, "spec.type") == "LoadBalancer" {
        let ingress = list_mut(new, "status.loadBalancer.ingress").iter_mut();
        ingress.filter(|i| !text(i, "ip").is_empty()).for_each(|i| default(i, "ipMode", "VIP"));
    }
}

/// True if clients outside of the cluster have an address for the Service (`ExternallyAccessible`
/// upstream).
fn is_reached_from_outside(service: &Value) -> bool {
    match text(service, "spec.type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !value::empty(service, "spec.externalIPs"),
        _ => false,
    }
}

/// Drops the status of a new Service, which has no load balancer yet, and makes the list of
/// addresses of a single one.
fn prepare(object: &mut Value) {
    pair_addresses(object);
    drop_inside_policy(object);
    put(object, "status", json!({"loadBalancer": {}}));
}

/// Fills in the list of addresses if the client set the single address alone.
fn pair_addresses(service: &mut Value) {
    let one = text(service, "spec.clusterIP").to_string();
    if !one.is_empty() && value::empty(service, "spec.clusterIPs") {
        put(service, "spec.clusterIPs", json!([one]));
    }
}

/// Copies a change of the single address, the only one that old clients know, into the list.
/// Validation refuses two changes that contradict each other (`normalizeClusterIPs` upstream).
fn normalize_addresses(new: &mut Value, old: &Value) {
    const IPS: &str = "spec.clusterIPs";
    let one = text(new, "spec.clusterIP").to_string();
    if one != text(old, "spec.clusterIP") && at(new, IPS) == at(old, IPS) {
        match one.is_empty() {
            true => drop(value::remove(new, IPS)),
            false => put(new, IPS, json!([one])),
        }
    }
    pair_addresses(new);
}

/// Keeps allocated addresses and ports that the new object does not have
/// (`patchAllocatedValues` upstream).
fn prepare_update(new: &mut Value, old: &Value) {
    let needs_ip = |s: &Value| text(s, "spec.type") != "ExternalName";
    if needs_ip(new) && needs_ip(old) {
        if text(new, "spec.clusterIP").is_empty() {
            value::copy(old, new, "spec.clusterIP");
        }
        if value::empty(new, "spec.clusterIPs") {
            value::copy(old, new, "spec.clusterIPs");
        }
        // The families follow from the addresses. A headless Service has none, and so gets those of
        // its policy again (`initIPFamilyFields` upstream).
        if at(new, "spec.ipFamilyPolicy").is_null() {
            value::copy(old, new, "spec.ipFamilyPolicy");
        }
    }
    normalize_addresses(new, old);
    if needs_ip(new) && needs_ip(old) {
        release_second_family(new, old);
    }
    let needs_ports = |s: &Value| matches!(text(s, "spec.type"), "NodePort" | "LoadBalancer");
    if needs_ports(new) && needs_ports(old) {
        // Ports are matched by name, since the number and the target may change. A node port that
        // the new object sets itself stays with the port that has it there.
        let used = &node_ports(old) & &node_ports(new);
        let before: HashMap<&str, i64> = list(old, "spec.ports")
            .iter()
            .map(|p| (text(p, "name"), int(p, "nodePort").unwrap_or(0)))
            .collect();
        for port in list_mut(new, "spec.ports") {
            let had = before.get(text(port, "name")).copied().filter(|n| *n != 0 && !used.contains(n));
            if let Some(number) = had {
                default_zero(port, "nodePort", number);
            }
        }
    }
    if is_checked(new) && is_checked(old) && int(new, "spec.healthCheckNodePort").unwrap_or(0) == 0 {
        value::copy(old, new, "spec.healthCheckNodePort");
    }
    drop_what_its_type_has_not(new, old);
    drop_inside_policy(new);
}

/// Takes `internalTrafficPolicy` out of an ExternalName, which has no traffic of its own. A wrong
/// one stays, for validation to refuse it. Upstream stores it and leaves it out of all that is read
/// (`defaultOnReadInternalTrafficPolicy`), so only a patch of the type alone finds it again there.
fn drop_inside_policy(service: &mut Value) {
    const POLICY: &str = "spec.internalTrafficPolicy";
    if text(service, "spec.type") == "ExternalName" && matches!(text(service, POLICY), "Cluster" | "Local") {
        value::remove(service, POLICY);
    }
}

/// Drops the second address and the second family of a Service whose policy has become
/// `SingleStack`, unless the request changes them (`initIPFamilyFields` upstream).
fn release_second_family(new: &mut Value, old: &Value) {
    if text(new, "spec.ipFamilyPolicy") != "SingleStack" {
        return;
    }
    for field in ["spec.clusterIPs", "spec.ipFamilies"] {
        let is_same = at(new, field) == at(old, field);
        if is_same && let Some(Value::Array(all)) = value::at_mut(new, field) {
            all.truncate(1);
        }
    }
}

/// Returns the node ports that a Service names.
fn node_ports(service: &Value) -> HashSet<i64> {
    list(service, "spec.ports").iter().filter_map(|p| int(p, "nodePort")).filter(|n| *n != 0).collect()
}

/// True if a load balancer asks each node whether it has endpoints, on a port for health checks.
pub fn is_checked(service: &Value) -> bool {
    text(service, "spec.type") == "LoadBalancer" && text(service, "spec.externalTrafficPolicy") == "Local"
}

/// Drops the fields that the new type does not have, unless the request changes them
/// (`dropTypeDependentFields` upstream). So a patch of the type alone is enough.
fn drop_what_its_type_has_not(new: &mut Value, old: &Value) {
    let kind = |s: &Value| text(s, "spec.type").to_string();
    let lost = |has: fn(&str) -> bool| has(&kind(old)) && !has(&kind(new));
    let outside = lost(|t| matches!(t, "NodePort" | "LoadBalancer"));
    let balancer = lost(|t| t == "LoadBalancer");
    let check = is_checked(old) && !is_checked(new);
    let address = lost(|t| t != "ExternalName");
    // Ports may be added and removed with the change of type, but no new node port.
    if outside && node_ports(new).is_subset(&node_ports(old)) {
        for port in list_mut(new, "spec.ports") {
            value::remove(port, "nodePort");
        }
    }
    let fields: [(bool, &[&str]); 4] = [
        (check, &["healthCheckNodePort"]),
        (is_reached_from_outside(old) && !is_reached_from_outside(new), &["externalTrafficPolicy"]),
        (balancer, &["allocateLoadBalancerNodePorts", "loadBalancerClass"]),
        (address, &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]),
    ];
    for field in fields.iter().filter(|(lost, _)| *lost).flat_map(|(_, fields)| fields.iter()) {
        let path = format!("spec.{field}");
        if at(new, &path) == at(old, &path) {
            value::remove(new, &path);
        }
    }
    // Every node serves the addresses that stand here.
    if kind(new) != "LoadBalancer" && !at(new, "status").is_null() {
        put(new, "status.loadBalancer", json!({}));
    }
}

static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Type", "string", false),
        ("Cluster-IP", "string", false),
        ("External-IP", "string", false),
        ("Port(s)", "string", false),
        ("Age", "string", false),
        ("Selector", "string", true),
    ],
    cells,
    conditions: None,
};

fn cells(o: &Value, now: Timestamp) -> Vec<Value> {
    let strings =
        |path: &str| list(o, path).iter().filter_map(Value::as_str).map(String::from).collect::<Vec<_>>();
    let external = strings("spec.externalIPs");
    let external_ip = match text(o, "spec.type") {
        "ClusterIP" | "NodePort" if external.is_empty() => "<none>".to_string(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let ingress = list(o, "status.loadBalancer.ingress").iter();
            let addresses = ingress.map(|i| text_or(i, "ip", text(i, "hostname")).to_string());
            let unique: BTreeSet<String> = addresses.filter(|address| !address.is_empty()).collect();
            let all: Vec<String> = unique.into_iter().chain(external).collect();
            if all.is_empty() { "<pending>".to_string() } else { all.join(",") }
        }
        "ExternalName" => text(o, "spec.externalName").to_string(),
        _ => "<unknown>".to_string(),
    };
    let ports: Vec<String> = list(o, "spec.ports")
        .iter()
        .map(|p| match int(p, "nodePort").unwrap_or(0) {
            0 => format!("{}/{}", at(p, "port"), text(p, "protocol")),
            node_port => format!("{}:{node_port}/{}", at(p, "port"), text(p, "protocol")),
        })
        .collect();
    let cluster_ip = strings("spec.clusterIPs").into_iter().next().unwrap_or_else(|| "<none>".to_string());
    vec![
        name(o),
        text(o, "spec.type").into(),
        cluster_ip.into(),
        external_ip.into(),
        if ports.is_empty() { "<none>".into() } else { ports.join(",").into() },
        age(o, now),
        labels(o, "spec.selector").into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_port() -> Value {
        json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "externalTrafficPolicy": "Cluster", "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]}})
    }

    #[test]
    fn a_patch_of_the_type_alone_closes_the_door() {
        let old = node_port();
        let mut new = old.clone();
        put(&mut new, "spec.type", json!("ClusterIP"));
        prepare_update(&mut new, &old);
        let spec = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80, "protocol": "TCP"}]});
        assert_eq!(new["spec"], spec);
    }

    #[test]
    fn an_update_without_families_keeps_the_policy_alone() {
        for ip in ["None", "10.96.0.9"] {
            let policy = json!({"clusterIP": ip, "clusterIPs": [ip], "ipFamilyPolicy": "PreferDualStack"});
            let mut old = json!({ "spec": policy });
            put(&mut old, "spec.ipFamilies", json!(["IPv6"]));
            let mut new = json!({"spec": {}});
            prepare_update(&mut new, &old);
            assert_eq!(new["spec"], policy);
        }
    }

    #[test]
    fn a_service_without_load_balancer_has_none_of_its_addresses() {
        let with = |kind: &str| {
            let status = json!({"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}]}, "conditions": []});
            json!({"spec": {"type": kind, "ports": []}, "status": status})
        };
        for (kind, kept) in
            [("LoadBalancer", true), ("ClusterIP", false), ("NodePort", false), ("ExternalName", false)]
        {
            let mut new = with(kind);
            prepare_update(&mut new, &with("LoadBalancer"));
            let want = if kept { at(&with(kind), "status.loadBalancer").clone() } else { json!({}) };
            assert_eq!(new["status"], json!({"loadBalancer": want, "conditions": []}), "{kind}");
        }
    }

    #[test]
    fn ports_may_come_and_go_with_the_type() {
        let with = |kind: &str, ports: Value| json!({"spec": {"type": kind, "ports": ports}});
        let (http, metrics) = (
            json!({"name": "http", "port": 80, "nodePort": 30080}),
            json!({"name": "metrics", "port": 90, "nodePort": 30090}),
        );
        let old = with("NodePort", json!([http, metrics]));
        let more = json!({"name": "more", "port": 70});
        for ports in [json!([http]), json!([metrics, http]), json!([http, metrics, more])] {
            let mut new = with("ClusterIP", ports);
            prepare_update(&mut new, &old);
            assert!(node_ports(&new).is_empty(), "{new}");
        }
    }

    #[test]
    fn a_node_port_stays_with_the_name_of_its_port() {
        let with =
            |ports: Value| json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": ports}});
        let after = |old: Value, new: Value| {
            let mut new = with(new);
            prepare_update(&mut new, &with(old));
            list(&new, "spec.ports").iter().map(|p| int(p, "nodePort")).collect::<Vec<_>>()
        };
        let one = json!([{"port": 80, "nodePort": 30080}]);
        assert_eq!(after(one, json!([{"port": 8080}])), [Some(30080)]);
        let named = json!([{"name": "a", "port": 80, "nodePort": 30080}]);
        let taken = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30080}]);
        assert_eq!(after(named.clone(), taken), [None, Some(30080)]);
        assert_eq!(after(named, json!([{"name": "c", "port": 80}])), [None]);
    }

    #[test]
    fn a_service_with_external_addresses_has_a_policy_for_traffic_from_outside() {
        let mut object = json!({"spec": {"externalIPs": ["192.0.2.1"], "ports": [{"port": 80}]}});
        defaults(&mut object);
        assert_eq!(text(&object, "spec.externalTrafficPolicy"), "Cluster");
        let old = object.clone();
        value::remove(&mut object, "spec.externalIPs");
        prepare_update(&mut object, &old);
        assert_eq!(at(&object, "spec.externalTrafficPolicy"), &Value::Null);
    }

    #[test]
    fn an_empty_policy_for_traffic_from_inside_is_no_missing_one() {
        let policy = |spec: Value| {
            let mut service = json!({ "spec": spec });
            defaults(&mut service);
            at(&service, "spec.internalTrafficPolicy").clone()
        };
        assert_eq!(policy(json!({})), "Cluster");
        assert_eq!(policy(json!({"internalTrafficPolicy": ""})), "", "validation refuses it");
        assert_eq!(policy(json!({"type": "ExternalName"})), Value::Null);
    }

    #[test]
    fn an_external_name_has_no_policy_for_traffic_from_inside() {
        let spec = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Local"});
        let old = json!({ "spec": spec });
        let mut away = old.clone();
        put(&mut away, "spec.type", "ExternalName");
        prepare_update(&mut away, &old);
        assert_eq!(away["spec"], json!({"type": "ExternalName"}));
        for (policy, kept) in
            [("Cluster", Value::Null), ("Local", Value::Null), ("Wrong", json!("Wrong")), ("", json!(""))]
        {
            let given = json!({"spec": {"type": "ExternalName", "internalTrafficPolicy": policy}});
            let (mut made, mut changed) = (given.clone(), given);
            prepare(&mut made);
            prepare_update(&mut changed, &away);
            for service in [made, changed] {
                assert_eq!(at(&service, "spec.internalTrafficPolicy"), &kept, "{policy}");
            }
        }
    }

    #[test]
    fn a_load_balancer_without_an_address_is_pending() {
        let cell = |ingress: Value, external: Value| {
            let service = json!({"spec": {"type": "LoadBalancer", "externalIPs": external},
                "status": {"loadBalancer": {"ingress": ingress}}});
            cells(&service, Timestamp::UNIX_EPOCH)[3].clone()
        };
        assert_eq!(cell(Value::Null, Value::Null), "<pending>");
        assert_eq!(cell(json!([{}]), Value::Null), "<pending>");
        let both = json!([{"hostname": "b"}, {"ip": "9.9.9.9"}, {"ports": []}]);
        assert_eq!(cell(both, json!(["192.0.2.1"])), "9.9.9.9,b,192.0.2.1");
    }

    #[test]
    fn what_a_request_asks_for_is_not_dropped_in_silence() {
        let old = node_port();
        let mut new = old.clone();
        put(&mut new, "spec.type", json!("ClusterIP"));
        new["spec"]["ports"][0]["nodePort"] = json!(30081);
        prepare_update(&mut new, &old);
        assert_eq!(new["spec"]["ports"][0]["nodePort"], 30081); // which validation then refuses
    }
}
