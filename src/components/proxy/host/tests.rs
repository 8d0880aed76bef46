use super::*;
use cni::fake::FakeHost;

#[tokio::test(start_paused = true)]
async fn a_connection_from_outside_is_told_with_its_service() {
    let (host, tap) = (FakeHost::default(), Tap::new());
    let service: Service =
        serde_json::from_value(serde_json::json!({"metadata": {"namespace": "default", "name": "pod-svc"}}))
            .unwrap();
    let served = watch::Sender::new(BTreeMap::from([(30080, Arc::new(service))]));
    let crew = Crew::new("test");
    crew.spawn(tell_visits(host.visits(), served.subscribe(), tap.at("", Component::Localhost)));
    let mut live = tap.subscribe();
    tokio::task::yield_now().await; // what was counted before it listens is no news
    host.visit(9); // leads nowhere
    host.visit(30080);
    let told = live.recv().await.unwrap();
    let visit = |connections| Event::Visit { port: 30080, connections };
    assert_eq!((told.component, &told.event), (Component::Localhost, &visit(1)));
    let object = told.object.clone().unwrap();
    assert_eq!(
        (object.resource.as_str(), object.namespace.as_str(), object.name.as_str()),
        ("services", "default", "pod-svc")
    );
    (0..50).for_each(|_| host.visit(30080));
    let told = live.recv().await.unwrap();
    assert_eq!(told.event, visit(50), "a flood is one record");
    crew.kill();
}

fn service(name: &str, spec: serde_json::Value) -> Arc<Service> {
    let meta = serde_json::json!({"namespace": "d", "name": name});
    Arc::new(serde_json::from_value(serde_json::json!({"metadata": meta, "spec": spec})).unwrap())
}

/// The slices of d/web, which has an endpoint on the node n2.
fn one_endpoint() -> BTreeMap<String, Vec<Arc<EndpointSlice>>> {
    let slice = serde_json::from_value(serde_json::json!({
        "addressType": "IPv4", "metadata": {}, "ports": [{"name": "", "port": 8080}],
        "endpoints": [{"addresses": ["10.244.2.2"], "nodeName": "n2"}],
    }));
    BTreeMap::from([("d/web".to_string(), vec![Arc::new(slice.unwrap())])])
}

#[test]
fn a_local_service_is_reached_on_nodes_that_have_an_endpoint() {
    let slices = one_endpoint();
    let node = |n: u8| ReadyNode { name: format!("n{n}"), ip: [172, 30, 0, n].into(), is_balanced: true };
    let to = |policy: &str, nodes: &[ReadyNode]| {
        let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
        let spec = serde_json::json!({"type": "NodePort", "externalTrafficPolicy": policy, "ports": ports});
        let port = wanted_ports(&[service("web", spec)], &slices, nodes).0.remove(0).0;
        (port.to.iter().map(ToString::to_string).collect::<Vec<_>>(), port.ready)
    };
    let all = [node(1), node(2), node(3)];
    assert_eq!(to("Cluster", &all).0.len(), 3);
    assert_eq!(to("Local", &all), (vec!["172.30.0.2:30080".to_string()], true));
    assert_eq!(to("Local", &[node(1)]), (vec![], false), "it refuses instead of being silent");
}

/// A connection that is led to such a node would be cut off when its endpoint has ended.
#[test]
fn a_node_whose_last_endpoint_ends_is_left_out_while_another_one_has_a_ready_one() {
    let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
        "addressType": "IPv4", "metadata": {}, "ports": [{"name": "", "port": 8080}],
        "endpoints": [
            {
                "addresses": ["10.244.1.2"], "nodeName": "n1",
                "conditions": {"ready": false, "serving": true, "terminating": true},
            },
            {"addresses": ["10.244.2.2"], "nodeName": "n2"},
        ],
    }))
    .unwrap();
    let slices = BTreeMap::from([("d/web".to_string(), vec![Arc::new(slice)])]);
    let node = |n: u8| ReadyNode { name: format!("n{n}"), ip: [172, 30, 0, n].into(), is_balanced: true };
    let to = |nodes: &[ReadyNode]| {
        let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
        let spec =
            serde_json::json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": ports});
        let ports = wanted_ports(&[service("web", spec)], &slices, nodes).0;
        let shown = |port: &HostPort| port.to.iter().map(ToString::to_string).collect::<Vec<String>>();
        ports.iter().map(|(port, _)| shown(port)).collect::<Vec<_>>()
    };
    assert_eq!(to(&[node(1), node(2), node(3)]), vec![["172.30.0.2:30080"]; 2], "node port and balancer");
    assert_eq!(to(&[node(1), node(3)]), vec![["172.30.0.1:30080"]; 2], "it is all that is left");
}

#[test]
fn a_balancer_leads_to_nodes_that_are_not_excluded_from_it() {
    let node = |n: u8, labels: serde_json::Value, ready: &str| {
        let status = serde_json::json!({
            "addresses": [{"type": "InternalIP", "address": format!("172.30.0.{n}")}],
            "conditions": [{"type": "Ready", "status": ready}],
        });
        let node =
            serde_json::json!({"metadata": {"name": format!("n{n}"), "labels": labels}, "status": status});
        Arc::new(serde_json::from_value::<Node>(node).unwrap())
    };
    let slices = one_endpoint();
    let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
    let web = service("web", serde_json::json!({"type": "LoadBalancer", "ports": ports}));
    let to = |nodes: &[Arc<Node>]| -> Vec<(u16, usize)> {
        let (ports, _) = wanted_ports(std::slice::from_ref(&web), &slices, &ready_nodes(nodes));
        ports.iter().map(|(port, _)| (port.port, port.to.len())).collect()
    };
    let plane = node(1, serde_json::json!({EXCLUDED: ""}), "True");
    let worker = |ready: &str| node(2, serde_json::json!({}), ready);
    assert_eq!(to(&[plane.clone(), worker("True")]), [(30080, 2), (80, 1)]);
    assert_eq!(to(&[plane.clone(), worker("Unknown")]), [(30080, 1), (80, 0)], "the other one may come back");
    assert_eq!(to(std::slice::from_ref(&plane)), [(30080, 1), (80, 1)], "there is no other node");
    for (value, balanced) in [("false", 2), ("F", 2), ("no", 1), ("true", 1)] {
        let plane = node(1, serde_json::json!({EXCLUDED: value}), "True");
        assert_eq!(to(&[plane, worker("True")]), [(30080, 2), (80, balanced)], "{value}");
    }
    let by_hand = serde_json::json!({"metadata": {"name": "atlantis"}, "status": {
        "conditions": [{"type": "Ready", "status": "Unknown"}], // the node lifecycle controller's
    }});
    let by_hand = Arc::new(serde_json::from_value::<Node>(by_hand).unwrap());
    assert_eq!(to(&[plane, by_hand]), [(30080, 1), (80, 1)], "no kubelet has registered the other one");
}

#[test]
fn a_node_is_reached_by_its_first_address_of_ipv4() {
    let addresses = serde_json::json!([
        {"type": "Hostname", "address": "172.30.0.9"},
        {"type": "InternalIP", "address": "fd00::1"},
        {"type": "InternalIP", "address": "172.30.0.1"},
    ]);
    let status =
        serde_json::json!({"addresses": addresses, "conditions": [{"type": "Ready", "status": "True"}]});
    let node: Node =
        serde_json::from_value(serde_json::json!({"metadata": {"name": "n"}, "status": status})).unwrap();
    let found: Vec<Ipv4Addr> = ready_nodes(&[Arc::new(node)]).iter().map(|node| node.ip).collect();
    assert_eq!(found, [Ipv4Addr::new(172, 30, 0, 1)]);
}

#[test]
fn a_headless_service_takes_nothing_from_those_that_localhost_leads_to() {
    let endpoints: Vec<_> = (0..1000)
        .map(|i| serde_json::json!({"addresses": [format!("10.244.{}.{}", i / 250, i % 250)]}))
        .collect();
    let slice: EndpointSlice = serde_json::from_value(
        serde_json::json!({"addressType": "IPv4", "metadata": {}, "endpoints": endpoints}),
    )
    .unwrap();
    let slice = Arc::new(slice);
    let slices = BTreeMap::from([("d/db".to_string(), vec![slice; 66])]);
    let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
    let services = [
        service("db", serde_json::json!({"clusterIP": "None", "ports": [{"port": 5432}]})),
        service("web", serde_json::json!({"type": "NodePort", "ports": ports})),
    ];
    let (open, refused) = wanted_ports(&services, &slices, &[]);
    assert_eq!((open.len(), refused.len()), (1, 0), "{refused:?}");
}

/// The API server reserves no node port for it: another Service may have the same one.
#[test]
fn an_external_name_takes_no_node_port_from_a_service_that_has_it() {
    let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
    let external = serde_json::json!({"type": "ExternalName", "externalName": "a.example", "ports": ports});
    let services =
        [service("a", external), service("web", serde_json::json!({"type": "NodePort", "ports": ports}))];
    let (open, refused) = wanted_ports(&services, &BTreeMap::new(), &[]);
    let owners: Vec<_> =
        open.iter().map(|(port, owner)| (port.port, owner.metadata.name.as_deref())).collect();
    assert_eq!((owners, refused.len()), (vec![(30080, Some("web"))], 0), "{refused:?}");
}

#[test]
fn the_affinity_of_a_service_holds_through_localhost() {
    let port = |affinity: &str| {
        let config = serde_json::json!({"clientIP": {"timeoutSeconds": 60}});
        let ports = serde_json::json!([{"port": 80, "nodePort": 30080}]);
        let spec =
            serde_json::json!({"sessionAffinity": affinity, "sessionAffinityConfig": config, "ports": ports});
        wanted_ports(&[service("web", spec)], &BTreeMap::new(), &[]).0.remove(0).0
    };
    assert_eq!(port("ClientIP").affinity_seconds, Some(60));
    assert_eq!(port("None").affinity_seconds, None);
}

#[test]
fn a_tcp_and_a_udp_port_of_one_number_are_two_ports() {
    let node_port = |name: &str, protocol: &str| {
        let ports = serde_json::json!([{"port": 53, "protocol": protocol, "nodePort": 30053}]);
        service(name, serde_json::json!({"type": "NodePort", "ports": ports}))
    };
    let services = [node_port("a-tcp", "TCP"), node_port("b-udp", "UDP")];
    let (ports, refused) = wanted_ports(&services, &BTreeMap::new(), &[]);
    assert_eq!((ports.len(), refused.len()), (2, 0));
    let name = |service: &Arc<Service>| service.metadata.name.clone().unwrap();
    for (protocol, expected) in [(Protocol::Tcp, "a-tcp"), (Protocol::Udp, "b-udp")] {
        assert_eq!(owner_of(&ports, 30053, protocol).map(name).as_deref(), Some(expected));
    }
    assert_eq!(by_tcp_port(&ports).get(&30053).map(name).as_deref(), Some("a-tcp"));
}

#[test]
fn a_load_balancer_without_node_ports_is_told_that_localhost_does_not_lead_to_it() {
    let spec = |kind: &str| {
        let ports = serde_json::json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
        serde_json::json!({"type": kind, "allocateLoadBalancerNodePorts": false, "ports": ports})
    };
    let services = [service("balancer", spec("LoadBalancer")), service("inside", spec("ClusterIP"))];
    let (ports, refused) = wanted_ports(&services, &BTreeMap::new(), &[]);
    let told: Vec<_> = refused.iter().map(|r| (r.service.metadata.name.as_deref(), r.reason)).collect();
    assert_eq!((ports.len(), told), (0, vec![(Some("balancer"), "NoNodePort")]), "once");
    assert!(refused[0].message.contains("allocateLoadBalancerNodePorts"), "{}", refused[0].message);
}

#[test]
fn a_load_balancer_of_another_class_has_its_node_ports_alone() {
    let balancer = |name: &str, node_port: Option<i32>, class: Option<&str>| {
        let ports = serde_json::json!([{"port": 80, "nodePort": node_port}]);
        let spec = serde_json::json!({"type": "LoadBalancer", "loadBalancerClass": class, "ports": ports});
        service(name, spec)
    };
    let other = Some("example.com/internal");
    let services = [
        balancer("other", Some(30001), other),
        balancer("bare", None, other),
        balancer("default", Some(30002), None),
    ];
    let (ports, refused) = wanted_ports(&services, &BTreeMap::new(), &[]);
    let mut leads: Vec<(u16, &str)> =
        ports.iter().map(|(port, of)| (port.port, of.metadata.name.as_deref().unwrap())).collect();
    leads.sort_unstable();
    assert_eq!(leads, [(80, "default"), (30001, "other"), (30002, "default")]);
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn a_second_load_balancer_with_the_same_port_is_told_whose_it_is() {
    let balancer = |name: &str, node_port: i32| {
        let ports = serde_json::json!([{"port": 80, "nodePort": node_port}]);
        service(name, serde_json::json!({"type": "LoadBalancer", "ports": ports}))
    };
    let services = [balancer("a", 30001), balancer("b", 30002)];
    let (ports, refused) = wanted_ports(&services, &BTreeMap::new(), &[]);
    let ports: Vec<u16> = ports.iter().map(|(port, _)| port.port).collect();
    assert_eq!(ports, [30001, 30002, 80]);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].service.metadata.name.as_deref(), Some("b"));
    assert!(
        refused[0].message.starts_with("localhost:80 leads to the Service d/a"),
        "{}",
        refused[0].message
    );
}

/// A node leads its port 30080 to the port `b`, and so does localhost.
#[test]
fn a_node_port_comes_before_a_balancers_port_of_the_same_number() {
    let ports = serde_json::json!([
        {"name": "a", "port": 30080, "nodePort": 31000}, {"name": "b", "port": 80, "nodePort": 30080},
        {"name": "c", "port": 30090, "nodePort": 30090},
    ]);
    let balancer = service("web", serde_json::json!({"type": "LoadBalancer", "ports": ports}));
    let ports = serde_json::json!([{"port": 1, "nodePort": 80}]);
    let younger = service("x", serde_json::json!({"type": "NodePort", "ports": ports}));
    let (ports, refused) = wanted_ports(&[balancer, younger], &BTreeMap::new(), &[]);
    let name = |service: &Service| service.metadata.name.clone().unwrap();
    let ports: Vec<(u16, String)> = ports.iter().map(|(port, of)| (port.port, name(of))).collect();
    let expected = [(31000, "web"), (30080, "web"), (30090, "web"), (80, "x")];
    assert_eq!(ports, expected.map(|(port, of)| (port, of.to_string())));
    let told: Vec<&str> = refused.iter().map(|r| &r.message[..30]).collect();
    assert_eq!(told, ["localhost:30080 leads to the n", "localhost:80 leads to the Serv"]);
}

#[test]
fn a_port_that_the_machine_refused_is_not_recorded_as_open() {
    let port = |port, protocol, ready| HostPort { port, protocol, to: vec![], ready, affinity_seconds: None };
    let ports = [
        port(30080, Protocol::Tcp, true),
        port(30081, Protocol::Tcp, true),
        port(30081, Protocol::Udp, true),
        port(30082, Protocol::Tcp, false),
    ];
    assert_eq!(open_ports(&ports, &BTreeSet::new()), [30080, 30081, 30081]);
    let reversed: Vec<HostPort> = ports.iter().rev().cloned().collect();
    assert_eq!(open_ports(&reversed, &BTreeSet::new()), [30080, 30081, 30081]);
    let failed = [(30080, Protocol::Tcp), (30081, Protocol::Udp)].into();
    assert_eq!(open_ports(&ports, &failed), [30081]);
}

#[test]
fn a_port_that_only_root_may_open_is_not_said_to_be_taken() {
    let ports = serde_json::json!([{"port": 1, "nodePort": 30080}]);
    let web = service("web", serde_json::json!({"type": "NodePort", "ports": ports}));
    let (wanted, _) = wanted_ports(&[web], &BTreeMap::new(), &[]);
    let denied = std::io::ErrorKind::PermissionDenied;
    for (error, reason) in [
        (cni::Error::PortTaken { port: 30080, cause: denied.into() }, "HostPortTaken"),
        (cni::Error::Kernel { what: "only root".into(), cause: denied.into() }, "HostPortNotOpened"),
    ] {
        let refused = not_opened(&wanted, vec![((30080, Protocol::Tcp), error)]);
        assert_eq!(refused[0].reason, reason, "{refused:?}");
    }
}

/// The older Service is deleted, and the port goes to the younger one in the same moment.
#[tokio::test]
async fn a_port_that_stays_taken_is_told_to_each_service_that_gets_it() {
    let (log, crew) = (client::testing::Log::default(), Crew::new("test"));
    let server = client::testing::Scripted::new(|_| client::testing::refusal(503, "ServiceUnavailable"));
    let server = server.await;
    let recorder = Recorder::new(&crew, &server.client, "ropewalk", "");
    let _guard = log.listen();
    let mut told = BTreeSet::new();
    for (name, warnings) in [("a", 1), ("a", 1), ("b", 2)] {
        let ports = serde_json::json!([{"port": 1, "nodePort": 30080}]);
        let mut asks = service(name, serde_json::json!({"type": "NodePort", "ports": ports}));
        Arc::make_mut(&mut asks).metadata.uid = Some(name.into());
        let (wanted, _) = wanted_ports(&[asks], &BTreeMap::new(), &[]);
        let error = cni::Error::PortTaken { port: 30080, cause: std::io::ErrorKind::AddrInUse.into() };
        let refused = not_opened(&wanted, vec![((30080, Protocol::Tcp), error)]);
        told = crate::report_refused(&recorder, LOCALHOST, refused, &told);
        assert_eq!(log.warnings().len(), warnings, "{name}: {:?}", log.warnings());
    }
    crew.kill();
}
