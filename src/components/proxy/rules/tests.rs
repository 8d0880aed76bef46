use super::*;

fn service(json: serde_json::Value) -> Vec<Arc<Service>> {
    vec![Arc::new(serde_json::from_value(json).unwrap())]
}

fn slices(endpoints: serde_json::Value) -> BTreeMap<String, Vec<Arc<EndpointSlice>>> {
    let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
        "addressType": "IPv4", "metadata": {}, "endpoints": endpoints, "ports": [{"name": "", "port": 8080}],
    }))
    .unwrap();
    [("d/web".to_string(), vec![Arc::new(slice)])].into()
}

fn rules_of(
    services: &[Arc<Service>],
    slices: &BTreeMap<String, Vec<Arc<EndpointSlice>>>,
    node: &str,
) -> Vec<ServiceRule> {
    rules(services, slices, node).0
}

#[test]
fn addresses_count_however_they_are_written() {
    let external = ["::ffff:203.0.113.9", "2001:db8::1", "203.000.113.009", "010.96.0.7", "203.0.113"];
    let spec =
        serde_json::json!({"clusterIP": "010.96.0.07", "externalIPs": external, "ports": [{"port": 80}]});
    let meta = serde_json::json!({"namespace": "d", "name": "web"});
    let web = service(serde_json::json!({"metadata": meta, "spec": spec}));
    let rules = rules_of(&web, &BTreeMap::new(), "n");
    let addresses = [Ipv4Addr::new(10, 96, 0, 7), Ipv4Addr::new(203, 0, 113, 9)];
    assert_eq!(rules[0].addresses, addresses);
    let endpoints = slices(serde_json::json!([
        {"addresses": ["010.244.1.02"]}, {"addresses": ["::ffff:10.244.1.2"]}, {"addresses": ["10.244.1.256"]},
    ]));
    assert_eq!(rules_of(&web, &endpoints, "n")[0].endpoints, [([10, 244, 1, 2].into(), 8080)]);
}

#[test]
fn endpoints_have_a_port_that_is_one() {
    let meta = serde_json::json!({"namespace": "d", "name": "web"});
    let spec = serde_json::json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]});
    let web = service(serde_json::json!({"metadata": meta, "spec": spec}));
    for (port, count) in [(8080, 1), (0, 0), (-1, 0), (70_000, 0)] {
        let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
            "addressType": "IPv4", "metadata": {}, "endpoints": [{"addresses": ["10.244.1.2"]}],
            "ports": [{"name": "", "port": port}],
        }))
        .unwrap();
        let slices = [("d/web".to_string(), vec![Arc::new(slice)])].into();
        assert_eq!(rules_of(&web, &slices, "n")[0].endpoints.len(), count, "port {port}");
    }
}

#[test]
fn what_belongs_to_another_service_is_left_out_and_told() {
    let named = |name: &str, made: &str, spec: serde_json::Value| {
        let meta = serde_json::json!({"namespace": "d", "name": name, "creationTimestamp": made});
        service(serde_json::json!({"metadata": meta, "spec": spec})).remove(0)
    };
    let port = |port: i32, node: i32| serde_json::json!([{"port": port, "nodePort": node}]);
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    // The thief is older and stands first: a cluster IP comes before an external address all
    // the same.
    let thief = serde_json::json!({
        "clusterIP": "10.96.0.7", "externalIPs": ["10.96.0.1", "9.9.9.9", "9.9.9.9"], "ports": port(443, 30000),
    });
    let all = [
        named("a-thief", early, thief),
        named("kubernetes", late, serde_json::json!({"clusterIP": "10.96.0.1", "ports": port(443, 0)})),
        named("z-late", late, serde_json::json!({"clusterIP": "10.96.0.7", "ports": port(443, 0)})),
        named(
            "node",
            late,
            serde_json::json!({"clusterIP": "10.96.0.8", "externalIPs": ["9.9.9.9"], "ports": port(443, 30000)}),
        ),
    ];
    let (rules, refused) = rules(&all, &BTreeMap::new(), "n");
    let show: Vec<_> = rules.iter().map(|r| (r.key.as_str(), r.addresses.len(), r.node_port)).collect();
    assert_eq!(
        show,
        [("d/a-thief:443", 2, Some(30000)), ("d/kubernetes:443", 1, None), ("d/node:443", 1, None)]
    );
    let mut seen = BTreeSet::new();
    for rule in &rules {
        assert!(rule.addresses.iter().all(|ip| seen.insert((*ip, rule.port))), "{rule:?}");
    }
    let told: Vec<_> = refused
        .iter()
        .map(|r| format!("{}: {}", r.service.metadata.name.as_deref().unwrap(), r.message))
        .collect();
    let tail = "this Service is not reachable there";
    assert_eq!(
        told,
        [
            format!("z-late: 10.96.0.7:443 belongs to d/a-thief:443: {tail}"),
            format!("a-thief: 10.96.0.1:443 belongs to d/kubernetes:443: {tail}"),
            format!("node: 9.9.9.9:443 belongs to d/a-thief:443: {tail}"),
            format!("node: node port 30000 belongs to d/a-thief:443: {tail}"),
        ]
    );
}

/// The kernel would refuse all rules of all Services.
#[test]
fn rules_have_a_bound_and_those_of_other_namespaces_stay() {
    let named = |namespace: &str, name: &str, ip: &str, made: &str, ports: i32| {
        let ports: Vec<_> =
            (1..=ports).map(|n| serde_json::json!({"name": format!("p{n}"), "port": n})).collect();
        let meta = serde_json::json!({"namespace": namespace, "name": name, "creationTimestamp": made});
        service(serde_json::json!({"metadata": meta, "spec": {"clusterIP": ip, "ports": ports}})).remove(0)
    };
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let all = [
        named("n", "own", "10.96.0.3", early, 2),
        named("n", "wide", "10.96.0.4", late, 5000),
        named("other", "web", "10.96.0.5", late, 1),
    ];
    let (rules, refused) = rules(&all, &BTreeMap::new(), "n");
    let of = |name: &str| rules.iter().filter(|r| r.key.starts_with(name)).count();
    assert_eq!((of("n/own:"), of("other/web:")), (2, 1));
    assert!((1000..5000).contains(&of("n/wide:")), "{}", of("n/wide:"));
    assert!(rules.iter().map(bytes).sum::<usize>() <= ALL_MAX);
    let told: Vec<_> = refused.iter().map(|r| (r.service.metadata.name.as_deref(), r.reason)).collect();
    assert_eq!(told, [(Some("wide"), "TooManyRules")], "once, not for each port");
    // One port whose addresses no socket would take.
    let addresses: Vec<String> = (0..5000).map(|n| format!("9.9.{}.{}", n / 256, n % 256)).collect();
    let spec =
        serde_json::json!({"clusterIP": "10.96.0.6", "externalIPs": addresses, "ports": [{"port": 80}]});
    let meta = serde_json::json!({"namespace": "d", "name": "web"});
    let long = service(serde_json::json!({"metadata": meta, "spec": spec}));
    let (rules, refused) = super::rules(&long, &BTreeMap::new(), "n");
    assert_eq!((rules.len(), refused.len(), refused[0].reason), (0, 1, "TooManyRules"));
}

#[test]
fn a_rule_that_is_left_out_keeps_nothing_from_younger_services() {
    let named = |name: &str, ip: &str, made: &str, external: &[String]| {
        let meta = serde_json::json!({"namespace": "d", "name": name, "creationTimestamp": made});
        let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
        let spec = serde_json::json!({"clusterIP": ip, "externalIPs": external, "ports": ports});
        service(serde_json::json!({"metadata": meta, "spec": spec})).remove(0)
    };
    let many: Vec<String> = (0..5000).map(|n| format!("9.9.{}.{}", n / 256, n % 256)).collect();
    let all = [
        named("wide", "10.96.0.6", "2026-01-01T00:00:00Z", &many),
        named("web", "10.96.0.7", "2026-01-02T00:00:00Z", &many[7..8]),
    ];
    let (rules, refused) = rules(&all, &BTreeMap::new(), "n");
    let reasons: Vec<_> = refused.iter().map(|r| r.reason).collect();
    assert_eq!(reasons, [TOO_MANY], "{refused:?}");
    let web = &rules[0];
    assert_eq!((web.key.as_str(), web.addresses.len(), web.node_port), ("d/web:80", 2, Some(30080)));
}

/// Each port of a Service has all of its endpoints: what would be thrown away is not even made.
#[test]
fn ports_times_endpoints_are_not_computed_beyond_a_bound() {
    let addresses: Vec<_> = (0..4000)
        .map(|n| serde_json::json!({"addresses": [format!("10.1.{}.{}", n / 250, n % 250)]}))
        .collect();
    let port = |n: i32| serde_json::json!({"name": format!("p{n}"), "port": n});
    let ports: Vec<_> = (1..=1000).map(port).collect();
    let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
        "addressType": "IPv4", "metadata": {}, "endpoints": addresses, "ports": ports,
    }))
    .unwrap();
    let slices = [("d/web".to_string(), vec![Arc::new(slice)])].into();
    let meta = serde_json::json!({"namespace": "d", "name": "web"});
    let web =
        service(serde_json::json!({"metadata": meta, "spec": {"clusterIP": "10.96.0.3", "ports": ports}}));
    let mut budget = Budget::default();
    let (made, all) = wanted_by(&web[0], &slices, "n", &mut budget);
    assert!(!all && made.len() < 100, "{} rules were made", made.len());
    assert!(!budget.has("d") && budget.has("other"));
    let (_, refused) = rules(&web, &slices, "n");
    assert_eq!(refused.iter().map(|r| r.reason).collect::<Vec<_>>(), [TOO_MANY], "and told, once");
}

/// They are looked at all the same.
#[test]
fn endpoints_that_are_not_ready_or_repeated_count_as_work() {
    for endpoint in [
        serde_json::json!({"addresses": ["10.1.0.1"], "conditions": {"ready": false}}),
        serde_json::json!({"addresses": ["10.1.0.1"]}),
    ] {
        let ports: Vec<_> =
            (0..1000).map(|n| serde_json::json!({"name": format!("p{n}"), "port": n + 1})).collect();
        let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
            "addressType": "IPv4", "metadata": {}, "endpoints": vec![endpoint; 1000], "ports": ports,
        }))
        .unwrap();
        let slices = [("d/web".to_string(), std::iter::repeat_n(Arc::new(slice), 100).collect())].into();
        let meta = serde_json::json!({"namespace": "d", "name": "web"});
        let web = service(
            serde_json::json!({"metadata": meta, "spec": {"clusterIP": "10.96.0.3", "ports": ports}}),
        );
        let mut budget = Budget::default();
        let (made, all) = wanted_by(&web[0], &slices, "n", &mut budget);
        assert!(!all && made.len() < 100, "{} rules were made", made.len());
        assert!(!budget.has("d") && budget.has("other"));
    }
}

#[test]
fn rules_that_are_left_out_for_their_size_do_not_spend_the_budget() {
    let endpoints: Vec<_> = (0..300)
        .map(|n| serde_json::json!({"addresses": [format!("10.1.{}.{}", n / 250, n % 250)]}))
        .collect();
    let slices = slices(serde_json::json!(endpoints));
    let named = |name: &str, made: &str, affinity: &str, ports: i32| {
        let meta = serde_json::json!({"namespace": "d", "name": name, "creationTimestamp": made});
        let ports: Vec<_> = (1..=ports).map(|port| serde_json::json!({"port": port})).collect();
        let spec = serde_json::json!({"clusterIP": "10.96.0.9", "sessionAffinity": affinity, "ports": ports});
        service(serde_json::json!({"metadata": meta, "spec": spec})).remove(0)
    };
    let all = [
        named("web", "2026-01-01T00:00:00Z", "ClientIP", 50),
        named("late", "2026-01-02T00:00:00Z", "None", 1),
    ];
    let (rules, refused) = rules(&all, &slices, "n");
    let told: Vec<_> = refused.iter().map(|r| r.service.metadata.name.as_deref().unwrap()).collect();
    assert_eq!((rules.len(), told), (1, vec!["web"]));
}

#[test]
fn services_of_other_namespaces_are_not_named() {
    let named = |namespace: &str, name: &str, made: &str, ip: &str| {
        let meta = serde_json::json!({"namespace": namespace, "name": name, "creationTimestamp": made});
        let spec = serde_json::json!({"clusterIP": ip, "externalIPs": ["9.9.9.9"], "ports": [{"port": 80}]});
        service(serde_json::json!({"metadata": meta, "spec": spec})).remove(0)
    };
    let all = [
        named("secret", "plan", "2026-01-01T00:00:00Z", "10.96.0.1"),
        named("d", "web", "2026-01-02T00:00:00Z", "10.96.0.2"),
    ];
    let (_, refused) = rules(&all, &BTreeMap::new(), "n");
    let tail = "this Service is not reachable there";
    assert_eq!(refused[0].message, format!("9.9.9.9:80 belongs to a Service of another namespace: {tail}"));
}

#[test]
fn two_namespaces_that_fill_the_table_take_nothing_from_a_third() {
    let named = |namespace: &str, ip: &str, made: &str, ports: i32| {
        let ports: Vec<_> =
            (1..=ports).map(|n| serde_json::json!({"name": format!("p{n}"), "port": n})).collect();
        let meta = serde_json::json!({"namespace": namespace, "name": "web", "creationTimestamp": made});
        service(serde_json::json!({"metadata": meta, "spec": {"clusterIP": ip, "ports": ports}})).remove(0)
    };
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let all = [
        named("one", "10.96.0.3", early, 5000),
        named("two", "10.96.0.4", early, 5000),
        named("late", "10.96.0.5", late, 100),
    ];
    let (rules, refused) = rules(&all, &BTreeMap::new(), "n");
    let of = |name: &str| rules.iter().filter(|r| r.key.starts_with(name)).count();
    assert_eq!(of("late/"), 100, "it came after the table was full");
    assert!(of("one/").abs_diff(of("two/")) <= 1 && of("one/") > 1000, "{} {}", of("one/"), of("two/"));
    assert!(rules.iter().map(bytes).sum::<usize>() <= ALL_MAX);
    let told: Vec<_> = refused.iter().map(|r| r.service.metadata.namespace.as_deref().unwrap()).collect();
    assert_eq!(told, ["one", "two"]);
    assert!(refused[1].message.contains("namespace two"), "{}", refused[1].message);
    // Where no single namespace has too much, the message says which one has the most.
    let few = [
        named("one", "10.96.0.3", early, 1500),
        named("two", "10.96.0.4", early, 1800),
        named("three", "10.96.0.5", late, 1500),
    ];
    let (_, refused) = super::rules(&few, &BTreeMap::new(), "n");
    assert!(refused.iter().all(|r| r.message.contains("have the most")), "{refused:?}");
    assert!(refused.iter().any(|r| r.message.contains("namespace two")));
}

#[test]
fn ports_of_a_slice_are_found_by_name_and_protocol() {
    let ports = |protocols: &[(&str, i32)]| {
        let port = |(protocol, port): &(&str, i32)| serde_json::json!({"name": "dns", "protocol": protocol, "port": port});
        protocols.iter().map(port).collect::<Vec<_>>()
    };
    let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
        "addressType": "IPv4", "metadata": {}, "endpoints": [{"addresses": ["10.244.1.2"]}],
        "ports": ports(&[("SCTP", 1), ("UDP", 5353), ("TCP", 5300)]),
    }))
    .unwrap();
    let slices = [("d/dns".to_string(), vec![Arc::new(slice)])].into();
    for (protocol, expected) in [("TCP", 5300), ("UDP", 5353)] {
        let dns = service(serde_json::json!({
            "metadata": {"namespace": "d", "name": "dns"},
            "spec": {"clusterIP": "10.96.0.10", "ports": ports(&[(protocol, 53)])},
        }));
        assert_eq!(rules_of(&dns, &slices, "n")[0].endpoints, [([10, 244, 1, 2].into(), expected)]);
    }
}

#[test]
fn ready_endpoints_get_traffic_and_ending_ones_only_when_nobody_else_is_left() {
    let web = service(serde_json::json!({
        "metadata": {"namespace": "d", "name": "web"},
        "spec": {"clusterIP": "10.96.0.9", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]},
    }));
    let mixed = slices(serde_json::json!([
        {"addresses": ["10.244.1.2"], "conditions": {"ready": true}, "nodeName": "n1"},
        {"addresses": ["10.244.2.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        {"addresses": ["10.244.2.3"], "conditions": {"ready": false}},
    ]));
    let rule = &rules_of(&web, &mixed, "n1")[0];
    assert_eq!((rule.key.as_str(), rule.port, rule.node_port), ("d/web:80", 80, Some(30080)));
    assert_eq!(rule.endpoints, [([10, 244, 1, 2].into(), 8080)]);
    let ending = slices(serde_json::json!([
        {"addresses": ["10.244.2.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
    ]));
    assert_eq!(rules_of(&web, &ending, "n1")[0].endpoints, [([10, 244, 2, 2].into(), 8080)]);
    // A slice that another controller writes need not say that an endpoint serves.
    let silent = slices(serde_json::json!([
        {"addresses": ["10.244.2.2"], "conditions": {"ready": false, "terminating": true}},
    ]));
    assert_eq!(rules_of(&web, &silent, "n1")[0].endpoints, [([10, 244, 2, 2].into(), 8080)]);
    assert!(rules_of(&web, &BTreeMap::new(), "n1")[0].endpoints.is_empty());
}

#[test]
fn udp_flows_may_stay_with_endpoints_that_serve() {
    let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
        "addressType": "IPv4", "metadata": {},
        "ports": [{"name": "", "port": 53, "protocol": "UDP"}, {"name": "", "port": 53, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.244.1.2"]},
            {"addresses": ["10.244.1.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.244.1.4"], "conditions": {"ready": false, "serving": false, "terminating": true}},
            {"addresses": ["10.244.1.5"], "conditions": {"ready": false}}, // as another controller may write it
            {"addresses": ["10.244.1.6"], "conditions": {"ready": false, "serving": false}},
        ],
    }))
    .unwrap();
    let slices = [("d/dns".to_string(), vec![Arc::new(slice)])].into();
    let stay = vec![([10, 244, 1, 3].into(), 53), ([10, 244, 1, 5].into(), 53)];
    for (protocol, draining) in [("UDP", stay), ("TCP", vec![])] {
        let ports = serde_json::json!([{"port": 53, "protocol": protocol}]);
        let dns = service(serde_json::json!({
            "metadata": {"namespace": "d", "name": "dns"}, "spec": {"clusterIP": "10.96.0.10", "ports": ports},
        }));
        let rule = &rules_of(&dns, &slices, "n")[0];
        assert_eq!((rule.endpoints.len(), &rule.draining), (1, &draining));
    }
}

#[test]
fn headless_and_external_names_need_no_rules_and_local_policies_stay_local() {
    assert!(
        rules_of(
            &service(
                serde_json::json!({"metadata": {}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}})
            ),
            &BTreeMap::new(),
            "n"
        )
        .is_empty()
    );
    // A client may give an ExternalName Service a cluster IP all the same.
    let external = service(serde_json::json!({
        "metadata": {"namespace": "d", "name": "web"},
        "spec": {"type": "ExternalName", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30080}]},
    }));
    assert!(rules_of(&external, &BTreeMap::new(), "n").is_empty());
    let local = service(serde_json::json!({
        "metadata": {"namespace": "d", "name": "web"},
        "spec": {"clusterIP": "10.96.0.9", "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]},
    }));
    let two = slices(serde_json::json!([
        {"addresses": ["10.244.1.2"], "nodeName": "n1"}, {"addresses": ["10.244.2.2"], "nodeName": "n2"},
    ]));
    let rule = &rules_of(&local, &two, "n2")[0];
    assert_eq!(rule.endpoints.len(), 2);
    assert_eq!(rule.local_endpoints, Some(vec![([10, 244, 2, 2].into(), 8080)]));
    assert_eq!(rule.affinity_seconds, Some(10800));
    assert_eq!(rule.all_endpoints, None);
}

#[test]
fn an_internal_policy_leaves_node_ports_alone() {
    let web = service(serde_json::json!({
        "metadata": {"namespace": "d", "name": "web"},
        "spec": {"clusterIP": "10.96.0.9", "internalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}]},
    }));
    let one = slices(serde_json::json!([{"addresses": ["10.244.1.2"], "nodeName": "n1"}]));
    let elsewhere = &rules_of(&web, &one, "n2")[0];
    assert!(elsewhere.endpoints.is_empty() && elsewhere.local_endpoints.is_none());
    assert_eq!(elsewhere.all_endpoints, Some(vec![([10, 244, 1, 2].into(), 8080)]));
    let here = &rules_of(&web, &one, "n1")[0];
    assert_eq!((here.endpoints.len(), &here.all_endpoints), (1, &None));
}

#[test]
fn what_is_labelled_for_another_proxy_is_left_alone() {
    let named = |name: &str, ip: &str, labels: serde_json::Value| {
        let meta = serde_json::json!({"namespace": "d", "name": name, "labels": labels});
        service(serde_json::json!({"metadata": meta, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}}))
            .remove(0)
    };
    let foreign = serde_json::json!({"service.kubernetes.io/service-proxy-name": "mesh"});
    let services = [
        named("mesh", "10.96.0.8", foreign.clone()),
        named("headless", "10.96.0.7", serde_json::json!({"service.kubernetes.io/headless": ""})),
        named("web", "10.96.0.9", serde_json::json!({"app": "web"})),
    ];
    let mut slices = slices(serde_json::json!([{"addresses": ["10.244.1.2"]}]));
    let mut rules = rules_of(&services, &slices, "n");
    assert_eq!((rules.len(), rules[0].key.as_str(), rules[0].endpoints.len()), (1, "d/web:80", 1));
    for slice in slices.get_mut("d/web").unwrap() {
        Arc::make_mut(slice).metadata.labels = serde_json::from_value(foreign.clone()).unwrap();
    }
    rules = rules_of(&services, &slices, "n");
    assert!(rules[0].endpoints.is_empty(), "a slice is left alone too");
}

#[test]
fn the_address_of_a_balancer_that_is_a_proxy_is_left_to_it() {
    let web = service(serde_json::json!({
        "metadata": {"namespace": "d", "name": "web"},
        "spec": {"clusterIP": "10.96.0.9", "type": "LoadBalancer", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [
            {"ip": "9.9.9.1", "ipMode": "Proxy"}, {"ip": "9.9.9.2", "ipMode": "VIP"}, {"ip": "9.9.9.3"},
        ]}},
    }));
    let rules = rules_of(&web, &BTreeMap::new(), "n");
    let addresses: Vec<_> = rules[0].addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.96.0.9", "9.9.9.2", "9.9.9.3"]);
}

#[test]
fn an_endpoint_has_one_address() {
    let web = service(serde_json::json!({
        "metadata": {"namespace": "d", "name": "web"}, "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]},
    }));
    let several = slices(serde_json::json!([
        {"addresses": ["10.244.1.2", "10.244.1.3"]}, {"addresses": ["no address", "10.244.1.4"]},
    ]));
    assert_eq!(rules_of(&web, &several, "n1")[0].endpoints, [([10, 244, 1, 2].into(), 8080)]);
}

#[test]
fn an_endpoint_of_two_slices_is_one() {
    let web = service(serde_json::json!({
        "metadata": {"namespace": "d", "name": "web"}, "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]},
    }));
    let twice = slices(serde_json::json!([
        {"addresses": ["10.244.1.2"], "nodeName": "n1"}, {"addresses": ["10.244.1.2"]},
    ]));
    assert_eq!(rules_of(&web, &twice, "n1")[0].endpoints, [([10, 244, 1, 2].into(), 8080)]);
}

#[test]
fn an_endpoint_of_one_node_alone_counts_in_what_a_rule_takes() {
    let sticky = service(serde_json::json!({
        "metadata": {"namespace": "d", "name": "web"},
        "spec": {
            "clusterIP": "10.96.0.9", "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP",
            "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}],
        },
    }));
    let ending = serde_json::json!({"ready": false, "serving": true, "terminating": true});
    let slices = slices(serde_json::json!([
        {"addresses": ["10.244.1.2"], "conditions": ending, "nodeName": "n1"},
        {"addresses": ["10.244.2.2"], "conditions": {"ready": true}, "nodeName": "n2"},
    ]));
    let taken = |node: &str| bytes(&rules_of(&sticky, &slices, node)[0]);
    assert_eq!(taken("n1") - taken("n2"), 800, "one more chain and set of clients");
}

#[test]
fn a_node_whose_last_endpoint_ends_serves_local_traffic_until_then() {
    let web = service(serde_json::json!({
        "metadata": {"namespace": "d", "name": "web"},
        "spec": {
            "clusterIP": "10.96.0.9", "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local",
            "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}],
        },
    }));
    let ending = serde_json::json!({"ready": false, "serving": true, "terminating": true});
    let slices = slices(serde_json::json!([
        {"addresses": ["10.244.1.2"], "conditions": ending, "nodeName": "n1"},
        {"addresses": ["10.244.2.2"], "conditions": {"ready": true}, "nodeName": "n2"},
        {"addresses": ["10.244.2.3"], "conditions": ending, "nodeName": "n2"},
    ]));
    for (node, expected) in [("n1", vec![[10, 244, 1, 2]]), ("n2", vec![[10, 244, 2, 2]]), ("n3", vec![])] {
        let rule = rules_of(&web, &slices, node).remove(0);
        let expected: Vec<(Ipv4Addr, u16)> = expected.into_iter().map(|ip| (ip.into(), 8080)).collect();
        assert_eq!(rule.endpoints, expected, "{node}");
        assert_eq!(rule.local_endpoints, Some(expected), "{node}");
    }
}
