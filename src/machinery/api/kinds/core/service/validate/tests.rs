//! The rules for a Service in upstream's words.

use super::*;
use crate::validate::fields::problems;

#[test]
fn addresses_have_the_family_that_the_cluster_has() {
    let errors_of = |spec: Value| {
        let mut spec = spec;
        spec["ports"] = json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]);
        let service = json!({"metadata": {"name": "web"}, "spec": spec});
        let first =
            |object: &Value, errors: &mut Errors| cluster_ips::check_before_allocation(object, None, errors);
        let both = [problems(first, service.clone()), problems(validate, service)];
        both.concat().join("; ")
    };
    for good in [
        json!({"ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack", "trafficDistribution": "PreferClose"}),
        json!({"type": "ExternalName", "externalName": "example.com"}),
        json!({"clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}),
    ] {
        assert_eq!(errors_of(good.clone()), "", "{good}");
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
            "spec.trafficDistribution: Unsupported value: \"x\": supported values: \"PreferClose\", \"PreferSameZone\", \"PreferSameNode\"",
        ),
        (
            json!({"type": "LoadBalancer", "loadBalancerClass": "b!"}),
            "spec.loadBalancerClass: Invalid value: \"b!\"",
        ),
    ] {
        assert!(errors_of(spec.clone()).starts_with(why), "{spec}: {}", errors_of(spec.clone()));
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
    let found = of(crate::validate::create(kind, &external));
    for why in ["spec.externalName: Required value", "spec.ipFamilies: Forbidden: "] {
        assert!(found.iter().any(|line| line.starts_with(why)), "{found:?}");
    }
}

#[test]
fn fields_of_load_balancers_and_sessions_fit_together() {
    let errors_of = |more: Value| {
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
        assert_eq!(errors_of(change), [want]);
    }
}

#[test]
fn ports_of_one_protocol_have_numbers_of_their_own() {
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 80, "protocol": protocol});
    let ports = json!([port("a", "TCP"), port("b", "UDP"), port("c", "TCP")]);
    let service = json!({"spec": {"type": "ClusterIP", "ports": ports, "externalTrafficPolicy": "x"}});
    assert_eq!(
        problems(validate, service),
        [
            "spec.ports[2]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}",
            "spec.externalTrafficPolicy: Invalid value: \"x\": may only be set for externally-accessible services",
        ]
    );
}

#[test]
fn annotations_of_a_service_fit_its_type_and_each_other() {
    let kind = crate::kinds::find("", "v1", "Service").unwrap();
    let service = |kind: &str, annotations: Value| {
        let ports = json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]);
        let spec = json!({"type": kind, "sessionAffinity": "None", "ports": ports});
        json!({"metadata": {"name": "web", "namespace": "d", "annotations": annotations}, "spec": spec})
    };
    let of = |errors: Errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
    let created =
        |kind_of: &str, annotations: Value| of(crate::validate::create(kind, &service(kind_of, annotations)));
    let modes = |mode: &str| json!({TOPOLOGY_MODE: mode, TOPOLOGY_HINTS: "Auto"});
    assert_eq!(created("ClusterIP", modes("Auto")), [""; 0]);
    let why = "must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified";
    let field = "metadata.annotations[service.kubernetes.io/topology-mode]";
    assert_eq!(
        created("ClusterIP", modes("Disabled")),
        [format!("{field}: Invalid value: \"Disabled\": {why}")]
    );
    let ranges = |ranges: &str| json!({ SOURCE_RANGES: ranges });
    let field = format!("metadata.annotations[{SOURCE_RANGES}]");
    for good in ["", " 10.0.0.0/8 , 192.0.2.0/24"] {
        assert_eq!(created("LoadBalancer", ranges(good)), [""; 0]);
    }
    assert_eq!(created("NodePort", ranges("10.0.0.0/8")), [format!("{field}: Forbidden: {ONLY_BALANCED}")]);
    let wrong = service("LoadBalancer", ranges("10.0.0.0/8,10.0.0.0/33"));
    let found = of(crate::validate::create(kind, &wrong));
    assert!(
        found.len() == 1 && found[0].starts_with(&format!("{field}: Invalid value: \"10.0.0.0/33\"")),
        "{found:?}"
    );
    assert_eq!(of(crate::validate::update(kind, &wrong, &wrong)), [""; 0], "what was there may stay");
}

#[test]
fn the_port_for_health_checks_stays() {
    let service = |kind: &str, port: i64| json!({"spec": {"type": kind, "externalTrafficPolicy": "Local", "healthCheckNodePort": port}});
    let errors_of = |new: Value, old: Value| {
        let mut errors = Errors::default();
        validate_update(&new, &old, &mut errors);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let balanced = |port: i64| service("LoadBalancer", port);
    assert_eq!(errors_of(balanced(30_001), balanced(30_001)), [""; 0]);
    assert_eq!(
        errors_of(balanced(30_002), balanced(30_001)),
        ["spec.healthCheckNodePort: Forbidden: field is immutable"]
    );
    assert_eq!(errors_of(balanced(30_002), service("NodePort", 0)), [""; 0]);
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
        named("db.example.com..")[0].starts_with("spec.externalName: Invalid value: \"db.example.com.\"")
    );
    assert_eq!(named("."), ["spec.externalName: Required value"]);
    assert!(
        named("my db!")[0].starts_with("spec.externalName: Invalid value: \"my db!\": a lowercase RFC 1123")
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
    let of_addresses = problems(endpoints, json!({"subsets": [{"addresses": [address], "ports": [port]}]}));
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
    assert_eq!(fields(&of_slice), ["ports[0].appProtocol", "endpoints[0].nodeName"]);
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
