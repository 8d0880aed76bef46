//! The rules for a Service, for its updates and for its status.

use crate::cidr;
use crate::errors::Errors;
use crate::kinds::core::service::cluster_ips;
use crate::validate::addresses::{external_ip, load_balancer_ingress};
use crate::validate::fields::{app_protocol, labels, one_of};
use crate::validate::names;
use crate::value::{at, empty, int, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) fn validate(object: &Value, errors: &mut Errors) {
    let ports = list(object, "spec.ports");
    let kind = text(object, "spec.type");
    one_of(
        object,
        "spec.type",
        "spec.type",
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        errors,
    );
    let headless = text(object, "spec.clusterIP") == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required("spec.ports", "");
    }
    match kind {
        "NodePort" | "LoadBalancer" if headless => {
            errors.invalid(
                "spec.clusterIPs[0]",
                &json!("None"),
                &format!("may not be set to 'None' for {kind} services"),
            );
        }
        "ExternalName" => match text(object, "spec.externalName").trim_end_matches('.') {
            "" => errors.required("spec.externalName", ""),
            name => names::dns_subdomain(name)
                .iter()
                .for_each(|p| errors.invalid_text("spec.externalName", name, p)),
        },
        _ => {}
    }
    const SPREAD: &str = "spec.trafficDistribution";
    one_of(object, SPREAD, SPREAD, &["PreferClose", "PreferSameNode", "PreferSameZone"], errors);
    ports_of(ports, kind, errors);
    for (i, ip) in list(object, "spec.externalIPs").iter().enumerate() {
        external_ip(ip.as_str().unwrap_or(""), &format!("spec.externalIPs[{i}]"), errors);
    }
    let mut node_ports: HashSet<(i64, &str)> = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let number = int(port, "nodePort").unwrap_or(0);
        if number != 0 && !node_ports.insert((number, text(port, "protocol"))) {
            errors.duplicate(format!("spec.ports[{i}].nodePort"), at(port, "nodePort"));
        }
    }
    health_check(object, kind, errors);
    session(object, errors);
    balancer(object, kind, errors);
    labels(object, "spec.selector", "spec.selector", errors);
    one_of(object, "spec.sessionAffinity", "spec.sessionAffinity", &["ClientIP", "None"], errors);
    if !empty(object, "spec.externalTrafficPolicy") {
        one_of(
            object,
            "spec.externalTrafficPolicy",
            "spec.externalTrafficPolicy",
            &["Cluster", "Local"],
            errors,
        );
        if kind == "ExternalName" || kind == "ClusterIP" && empty(object, "spec.externalIPs") {
            errors.invalid(
                "spec.externalTrafficPolicy",
                at(object, "spec.externalTrafficPolicy"),
                "may only be set for externally-accessible services",
            );
        }
    }
    one_of(object, "spec.internalTrafficPolicy", "spec.internalTrafficPolicy", &["Cluster", "Local"], errors);
}

/// Checks the addresses of a new Service: an update may leave what a stored one has.
pub(super) fn validate_create(object: &Value, errors: &mut Errors) {
    cluster_ips::check_new(object, errors);
}

/// Checks each port, and that no two have the same name or number.
fn ports_of(ports: &[Value], kind: &str, errors: &mut Errors) {
    let mut names_seen: HashSet<&str> = HashSet::new();
    let mut ports_seen: HashSet<(i64, &str)> = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{i}]");
        let name = text(port, "name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.required(format!("{field}.name"), "");
            }
        } else {
            for problem in names::dns_label(name) {
                errors.invalid_text(format!("{field}.name"), name, &problem);
            }
            if names_seen.contains(&name) {
                errors.duplicate(format!("{field}.name"), &json!(name));
            }
            names_seen.insert(name);
        }
        let number = int(port, "port").unwrap_or(0);
        if let Some(problem) = names::port_number(number) {
            errors.invalid(format!("{field}.port"), &json!(number), problem);
        }
        one_of(port, "protocol", &format!("{field}.protocol"), &["SCTP", "TCP", "UDP"], errors);
        target_port(port, &field, errors);
        app_protocol(port, &field, errors);
        let key = (number, text(port, "protocol"));
        if ports_seen.contains(&key) {
            errors.duplicate(&field, &json!({"port": key.0, "protocol": key.1}));
        }
        ports_seen.insert(key);
        if int(port, "nodePort").unwrap_or(0) != 0 && matches!(kind, "ClusterIP" | "ExternalName") {
            errors.forbidden(format!("{field}.nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
}

/// Checks the node port for the health checks of a load balancer.
fn health_check(object: &Value, kind: &str, errors: &mut Errors) {
    let health = int(object, "spec.healthCheckNodePort").unwrap_or(0);
    let is_local = text(object, "spec.externalTrafficPolicy") == "Local";
    if health != 0 && (kind != "LoadBalancer" || !is_local) {
        let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid("spec.healthCheckNodePort", &json!(health), why);
    } else if let Some(problem) = names::port_number(health).filter(|_| health != 0) {
        errors.invalid("spec.healthCheckNodePort", &json!(health), problem);
    }
}

/// Checks how long a client stays with its endpoint.
fn session(object: &Value, errors: &mut Errors) {
    let config = at(object, "spec.sessionAffinityConfig");
    let field = "spec.sessionAffinityConfig";
    match text(object, "spec.sessionAffinity") {
        "None" if !config.is_null() => {
            errors.forbidden(field, "must not be set when session affinity is None");
        }
        "ClientIP" => {
            let seconds = at(config, "clientIP.timeoutSeconds");
            if seconds.as_i64().is_some_and(|n| !(1..=86_400).contains(&n)) {
                let why = "must be greater than 0 and less than 86400";
                errors.invalid(format!("{field}.clientIP.timeoutSeconds"), seconds, why);
            }
        }
        _ => {}
    }
}

/// Checks the fields that only a Service of the type LoadBalancer has.
fn balancer(object: &Value, kind: &str, errors: &mut Errors) {
    let only = "may only be used when `type` is 'LoadBalancer'";
    let ranges = list(object, "spec.loadBalancerSourceRanges");
    // Upstream has this capital letter.
    let field = "spec.LoadBalancerSourceRanges";
    if !ranges.is_empty() && kind != "LoadBalancer" {
        errors.forbidden(field, only);
    }
    for (i, range) in ranges.iter().enumerate() {
        let range = range.as_str().unwrap_or("").trim();
        if cidr::parse(range).is_none() {
            let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.invalid_text(format!("{field}[{i}]"), range, why);
        }
    }
    let class = text(object, "spec.loadBalancerClass");
    if kind == "LoadBalancer" && !at(object, "spec.loadBalancerClass").is_null() {
        for problem in names::qualified_name(class) {
            errors.invalid_text("spec.loadBalancerClass", class, &problem);
        }
    }
    for path in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if !at(object, &format!("spec.{path}")).is_null() && kind != "LoadBalancer" {
            errors.forbidden(format!("spec.{path}"), only);
        }
    }
}

fn target_port(port: &Value, field: &str, errors: &mut Errors) {
    let target = at(port, "targetPort");
    if let Some(n) = target.as_i64() {
        if let Some(problem) = names::port_number(n) {
            errors.invalid(format!("{field}.targetPort"), target, problem);
        }
    } else if let Some(name) = target.as_str() {
        for problem in names::port_name(name) {
            errors.invalid_text(format!("{field}.targetPort"), name, &problem);
        }
    }
}

pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    cluster_ips::check_update(new, old, errors);
    const CLASS: &str = "spec.loadBalancerClass";
    let balanced = |s: &Value| text(s, "spec.type") == "LoadBalancer";
    if balanced(new) && balanced(old) && at(new, CLASS) != at(old, CLASS) {
        errors.invalid(CLASS, at(new, CLASS), "may not change once set");
    }
    const CHECK: &str = "spec.healthCheckNodePort";
    let is_checked = |s: &Value| balanced(s) && text(s, "spec.externalTrafficPolicy") == "Local";
    if is_checked(new) && is_checked(old) && int(new, CHECK) != int(old, CHECK) {
        errors.forbidden(CHECK, "field is immutable");
    }
}

/// The status of a Service: only one of the type LoadBalancer has addresses of a load balancer.
pub(super) fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    let ingress = list(new, "status.loadBalancer.ingress");
    let field = "status.loadBalancer.ingress";
    if text(new, "spec.type") != "LoadBalancer" && !ingress.is_empty() {
        return errors.forbidden(field, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    load_balancer_ingress(new, old, errors);
    for (i, one) in ingress.iter().enumerate() {
        let (field, has_ip) = (format!("{field}[{i}]"), !text(one, "ip").is_empty());
        let mode = at(one, "ipMode");
        match mode.as_str() {
            None if has_ip => {
                errors.required(format!("{field}.ipMode"), "must be specified when `ip` is set");
            }
            None => {}
            Some(_) if !has_ip => {
                errors.forbidden(format!("{field}.ipMode"), "may not be specified when `ip` is not set");
            }
            Some("VIP" | "Proxy") => {}
            Some(_) => errors.not_supported(format!("{field}.ipMode"), mode, &["Proxy", "VIP"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn addresses_have_the_family_that_the_cluster_has() {
        let told = |spec: Value| {
            let mut spec = spec;
            spec["ports"] = json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]);
            let service = json!({"metadata": {"name": "web"}, "spec": spec});
            let first = |object: &Value, errors: &mut Errors| {
                cluster_ips::check_before_allocation(object, None, errors)
            };
            let both = [problems(first, service.clone()), problems(validate, service)];
            both.concat().join("; ")
        };
        for good in [
            json!({"ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack", "trafficDistribution": "PreferClose"}),
            json!({"type": "ExternalName", "externalName": "example.com"}),
            json!({"clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}),
        ] {
            assert_eq!(told(good.clone()), "", "{good}");
        }
        for (spec, why) in [
            (
                json!({"ipFamilies": ["IPv6"]}),
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
            ),
            (
                json!({"ipFamilies": ["x"]}),
                "spec.ipFamilies[0]: Unsupported value: \"x\": supported values: \"IPv4\", \"IPv6\"",
            ),
            (json!({"ipFamilies": ["IPv4", "IPv4"]}), "spec.ipFamilies[1]: Duplicate value: \"IPv4\""),
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ),
            (
                json!({"trafficDistribution": "x"}),
                "spec.trafficDistribution: Unsupported value: \"x\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
            ),
            (
                json!({"type": "LoadBalancer", "loadBalancerClass": "b!"}),
                "spec.loadBalancerClass: Invalid value: \"b!\"",
            ),
        ] {
            assert!(told(spec.clone()).starts_with(why), "{spec}: {}", told(spec.clone()));
        }
        let balanced = |class: &str| json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": class}});
        let mut errors = Errors::default();
        validate_update(&balanced("x/a"), &balanced("x/b"), &mut errors);
        assert_eq!(errors.iter().count(), 1);
    }

    #[test]
    fn what_the_cluster_cannot_give_is_told_alone() {
        let kind = crate::kinds::find("", "v1", "Service").unwrap();
        let of = |errors: Errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        let service = |spec: Value| json!({"metadata": {"name": "web", "namespace": "d"}, "spec": spec});
        let six = service(json!({"type": "ClusterIP", "ipFamilies": ["IPv6"]}));
        let want = ["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"];
        assert_eq!(of(crate::validate::create(kind, &six)), want, "and nothing of the ports");
        let old = service(json!({"type": "ClusterIP", "ipFamilies": ["IPv4"]}));
        assert_eq!(of(crate::validate::update(kind, &six, &old)), want);
        let external = service(json!({"type": "ExternalName", "ipFamilies": ["IPv4"]}));
        let told = of(crate::validate::create(kind, &external));
        for why in ["spec.externalName: Required value", "spec.ipFamilies: Forbidden: "] {
            assert!(told.iter().any(|line| line.starts_with(why)), "{told:?}");
        }
    }

    #[test]
    fn fields_of_load_balancers_and_sessions_fit_together() {
        let told = |more: Value| {
            let mut spec = json!({"type": "ClusterIP", "sessionAffinity": "None", "ports": [{"port": 80, "protocol": "TCP"}]});
            crate::patch::merge(&mut spec, &more);
            problems(validate, json!({ "spec": spec }))
        };
        let config = json!({"clientIP": {"timeoutSeconds": 86_401}});
        for (change, want) in [
            (
                json!({"sessionAffinityConfig": config}),
                "spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None",
            ),
            (
                json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}),
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
            ),
            (
                json!({"loadBalancerClass": "x"}),
                "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ),
            (
                json!({"type": "ExternalName", "externalName": "a.b", "externalTrafficPolicy": "Local"}),
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ),
            (
                json!({"healthCheckNodePort": 30080}),
                "spec.healthCheckNodePort: Invalid value: 30080: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            ),
            (
                json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 70000}),
                "spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ),
            (
                json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/33"]}),
                "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
            (
                json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP", "name": "a", "nodePort": 30000}, {"port": 81, "protocol": "TCP", "name": "b", "nodePort": 30000}]}),
                "spec.ports[1].nodePort: Duplicate value: 30000",
            ),
        ] {
            assert_eq!(told(change), [want]);
        }
    }

    #[test]
    fn the_port_for_health_checks_stays() {
        let service = |kind: &str, port: i64| json!({"spec": {"type": kind, "externalTrafficPolicy": "Local", "healthCheckNodePort": port}});
        let told = |new: Value, old: Value| {
            let mut errors = Errors::default();
            validate_update(&new, &old, &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let balanced = |port: i64| service("LoadBalancer", port);
        assert_eq!(told(balanced(30_001), balanced(30_001)), [""; 0]);
        assert_eq!(
            told(balanced(30_002), balanced(30_001)),
            ["spec.healthCheckNodePort: Forbidden: field is immutable"]
        );
        assert_eq!(told(balanced(30_002), service("NodePort", 0)), [""; 0]);
    }

    #[test]
    fn names_of_services_and_of_ports_are_names() {
        let of = |group: &str, kind: &str| {
            crate::kinds::find(group, "v1", kind).expect("a kind of the table").validate
        };
        let (endpoints, endpoint_slice) = (of("", "Endpoints"), of("discovery.k8s.io", "EndpointSlice"));
        let named =
            |name: &str| problems(validate, json!({"spec": {"type": "ExternalName", "externalName": name}}));
        assert_eq!(named("db.example.com."), [""; 0]);
        assert!(
            named("my db!")[0]
                .starts_with("spec.externalName: Invalid value: \"my db!\": a lowercase RFC 1123")
        );
        let slice = |ports: Value| {
            problems(endpoint_slice, json!({"addressType": "IPv4", "endpoints": [], "ports": ports}))
        };
        assert_eq!(slice(json!([{"name": "a", "port": 80}, {"name": "", "port": 81}])), [""; 0]);
        assert_eq!(slice(json!([{"name": "a"}, {"name": "a"}])), ["ports[1].name: Duplicate value: \"a\""]);
        let subset = json!({"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}, {"name": "b", "port": 81, "protocol": "tcp"}]});
        assert_eq!(
            problems(endpoints, json!({"subsets": [subset]})),
            [
                "subsets[0].ports[0].name: Required value",
                "subsets[0].ports[1].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ]
        );
        let address = json!({"ip": "10.0.0.1", "hostname": "A", "nodeName": "a_b"});
        let port = json!({"port": 80, "protocol": "TCP", "appProtocol": "a b"});
        let of_addresses =
            problems(endpoints, json!({"subsets": [{"addresses": [address], "ports": [port]}]}));
        let of_slice = problems(
            endpoint_slice,
            json!({"addressType": "IPv4", "ports": [port],
                "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "a_b"}]}),
        );
        let fields = |problems: &[String]| {
            problems.iter().map(|p| p.split(": ").next().unwrap_or("").to_string()).collect::<Vec<_>>()
        };
        let place = "subsets[0].addresses[0]";
        assert_eq!(
            fields(&of_addresses),
            [
                format!("{place}.hostname"),
                format!("{place}.nodeName"),
                "subsets[0].ports[0].appProtocol".to_string()
            ]
        );
        assert_eq!(fields(&of_slice), ["endpoints[0].nodeName", "ports[0].appProtocol"]);
        let spec = json!({"type": "ClusterIP", "sessionAffinity": "None", "ports": [port]});
        assert_eq!(fields(&problems(validate, json!({ "spec": spec }))), ["spec.ports[0].appProtocol"]);
        let many = vec![json!({"addresses": ["10.0.0.1"]}); 1_001];
        let many = problems(endpoint_slice, json!({"addressType": "IPv4", "endpoints": many}));
        assert_eq!(many, ["endpoints: Too many: 1001: must have at most 1000 items"]);
    }

    #[test]
    fn load_balancers_have_addresses_and_names() {
        let of = |kind: &str, ingress: Value| {
            let mut errors = Errors::default();
            let object = json!({"spec": {"type": kind}, "status": {"loadBalancer": {"ingress": [ingress]}}});
            validate_status_update(&object, &Value::Null, &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let good = json!({"ip": "9.9.9.9", "ipMode": "VIP", "hostname": "a.b"});
        assert_eq!(of("LoadBalancer", good.clone()), [""; 0]);
        assert_eq!(
            of("ClusterIP", good),
            ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]
        );
        let field = "status.loadBalancer.ingress[0]";
        for (ingress, why) in [
            (json!({"ip": "banana", "ipMode": "VIP"}), format!("{field}.ip: Invalid value: \"banana\"")),
            (json!({"ip": "9.9.9.9"}), format!("{field}.ipMode: Required value: must be specified when")),
            (json!({"hostname": "a", "ipMode": "VIP"}), format!("{field}.ipMode: Forbidden: may not be")),
            (json!({"ip": "9.9.9.9", "ipMode": "X"}), format!("{field}.ipMode: Unsupported value: \"X\"")),
            (
                json!({"hostname": "9.9.9.9"}),
                format!("{field}.hostname: Invalid value: \"9.9.9.9\": must be a DNS name"),
            ),
            (json!({"hostname": "A b"}), format!("{field}.hostname: Invalid value: \"A b\"")),
        ] {
            let errors = of("LoadBalancer", ingress.clone());
            assert!(errors.len() == 1 && errors[0].starts_with(&why), "{errors:?}");
            let mut of_ingress = Errors::default();
            let object = json!({"status": {"loadBalancer": {"ingress": [ingress]}}});
            let kind = crate::kinds::find("networking.k8s.io", "v1", "Ingress").expect("a kind of the table");
            (kind.validate_status_update)(&object, &Value::Null, &mut of_ingress);
            assert_eq!(of_ingress.is_empty(), why.contains("ipMode"), "{why}");
        }
        for ip in ["010.1.2.3", "::ffff:10.1.2.3", "FD00::1"] {
            assert_eq!(of("LoadBalancer", json!({"ip": ip, "ipMode": "VIP"})), [""; 0], "{ip}");
        }
        let named = of("LoadBalancer", json!({"hostname": "010.1.2.3"}));
        assert!(named.len() == 1 && named[0].ends_with("must be a DNS name, not an IP address"), "{named:?}");
        let wrong = |ip: &str| {
            let ingress = json!([{"ip": ip, "ipMode": "VIP"}]);
            json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": ingress}}})
        };
        for (new, problems) in [("banana", 0), ("cherry", 1)] {
            let mut errors = Errors::default();
            validate_status_update(&wrong(new), &wrong("banana"), &mut errors);
            assert_eq!(errors.iter().count(), problems, "what was there may stay: {new}");
        }
    }
}
