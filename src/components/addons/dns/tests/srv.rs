//! SRV records, and what many ports and endpoints cost.

use crate::dns::answer::{Answer, answer};
use crate::dns::message::serve;
use crate::dns::tests::{slice, zone, zone_with};
use crate::dns::zone::{Entry, called};
use crate::dns::*;
use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RecordType};
use serde_json::json;
use std::net::Ipv4Addr;

/// Twelve slices with other endpoints each make a history for each of many endpoints, and then
/// every one of these would have a slice of its own with thousands of ports.
#[test]
fn slices_of_the_same_endpoints_cost_no_more_than_a_bound() {
    let (endpoints, count) = (1000_u32, 2000);
    let host = |n: u32| json!({"addresses": [Ipv4Addr::from(0x0af4_0000 + n).to_string()], "hostname": format!("h{n}")});
    let ports = |name: &str, count: usize| -> serde_json::Value {
        (0..count).map(|n| json!({"name": format!("{name}{n}"), "port": 1 + n})).collect()
    };
    let mut slices: Vec<(&str, serde_json::Value, serde_json::Value)> = Vec::new();
    for bit in 0..12 {
        let some = (0..endpoints).filter(|n| n >> bit & 1 == 1).map(host);
        slices.push(("db", ports(&format!("b{bit}-"), 1), some.collect()));
    }
    for slice in ["x", "y"] {
        slices.push(("db", ports(slice, count), (0..endpoints).map(host).collect()));
    }
    let zone = zone_with(&slices);
    let entry = &zone.services[&("aaa".to_string(), "db".to_string())];
    let made: usize = entry.slices.iter().map(|slice| slice.ports.len()).sum();
    assert!(made < 300_000, "{made} ports, where there are 4012");
    // Nothing is missing.
    for (port, hosts) in [("b0-0", 500), ("x1999", 1000), ("y7", 1000)] {
        let having = entry.slices.iter().filter(|slice| slice.ports.contains_key(&called(port, "tcp")));
        let found: std::collections::BTreeSet<_> = having.flat_map(|slice| &slice.endpoints).collect();
        assert_eq!(found.len(), hosts, "{port}");
    }
}

/// Ports times endpoints are made no further than the message holds, and one port is found
/// without a look at the others.
#[test]
fn an_answer_costs_no_more_than_its_message_holds() {
    let (service, namespace, ports) = ("db", "default", 5000);
    let port = |n: i32| serde_json::json!({"name": format!("p{n}"), "protocol": "TCP", "port": n + 1});
    let in_slice = |n: i32| serde_json::json!({"name": format!("p{n}"), "port": n + 10_001});
    let metadata = serde_json::json!({"name": service, "namespace": namespace,
        "labels": {"kubernetes.io/service-name": service}});
    let endpoint =
        |n: i32| serde_json::json!({"addresses": [format!("10.244.1.{n}")], "hostname": format!("h{n}")});
    let of = |make: &dyn Fn(i32) -> serde_json::Value, count| {
        let udp = serde_json::json!({"name": "p1", "protocol": "UDP", "port": 7});
        (0..count).map(make).chain((count == ports).then_some(udp)).collect::<Vec<_>>()
    };
    let headless: Service = serde_json::from_value(serde_json::json!({
        "metadata": metadata, "spec": {"clusterIP": "None", "ports": of(&port, ports)},
    }))
    .unwrap();
    let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
        "metadata": metadata, "addressType": "IPv4", "ports": of(&in_slice, ports), "endpoints": of(&endpoint, 10),
    }))
    .unwrap();
    let zone = Zone::of("cluster.local", &[Arc::new(headless)], &[Arc::new(slice)], &[]);
    let slices = &zone.services[&(namespace.to_string(), service.to_string())].slices;
    assert_eq!((slices.len(), slices[0].endpoints.len(), slices[0].ports.len()), (1, 10, 5001));
    let records = |name: &str, room| {
        let name = Name::from_ascii(format!("{name}db.default.svc.cluster.local.")).unwrap();
        match answer(&zone, &Query::query(name, RecordType::SRV), room, 0) {
            Answer::Records(records) => records.iter().map(|r| r.data.to_string()).collect::<Vec<String>>(),
            _ => vec![],
        }
    };
    for room in [UDP_MAX, EDNS_MAX, usize::from(u16::MAX)] {
        let made = records("", room).len();
        assert!((room / 80..room / 40).contains(&made), "{made} records for {room} bytes");
    }
    let one = records("_p4999._tcp.", UDP_MAX);
    assert_eq!((one.len(), &*one[3]), (10, "0 10 15000 h3.db.default.svc.cluster.local."));
    assert!(records("_p5000._tcp.", UDP_MAX).is_empty());
    // A port of the same name over another protocol is another one.
    assert_eq!(records("_p1._udp.", UDP_MAX)[0], "0 10 7 h0.db.default.svc.cluster.local.");
    // What does not fit over UDP says so.
    let mut request = Message::query();
    let name = Name::from_ascii("db.default.svc.cluster.local.").unwrap();
    request.add_query(Query::query(name, RecordType::SRV));
    for limit in [UDP_MAX, usize::from(u16::MAX)] {
        let Served::Reply(reply) = serve(&zone, &request.to_vec().unwrap(), limit, 0) else {
            panic!("no reply")
        };
        assert!(reply.len() <= limit && Message::from_vec(&reply).unwrap().metadata.truncation);
    }
}

/// What does not fit of them is left out, and the answer is whole all the same.
#[test]
fn an_srv_answer_has_the_addresses_of_its_targets() {
    let answer_to = |zone: &Zone, name: &str| {
        let mut request = Message::query();
        request.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::SRV));
        let Served::Reply(reply) = serve(zone, &request.to_vec().unwrap(), UDP_MAX, 0) else {
            panic!("no reply")
        };
        assert!(reply.len() <= UDP_MAX);
        Message::from_vec(&reply).unwrap()
    };
    let shown = |name: &str| -> Vec<String> {
        let all = answer_to(&zone(), name).additionals;
        all.iter().map(|record| format!("{} {}", record.name, record.data)).collect()
    };
    assert_eq!(
        shown("_http._tcp.db.default.svc.cluster.local."),
        ["db-0.db.default.svc.cluster.local. 10.244.1.3", "db-1.db.default.svc.cluster.local. 10.244.2.3"]
    );
    assert_eq!(shown("web.default.svc.cluster.local."), ["web.default.svc.cluster.local. 10.96.0.9"]);
    let mut zone = Zone { domain: "cluster.local".into(), ..Zone::default() };
    let eight = (0..8u8).map(|n| (format!("h{n}"), Ipv4Addr::new(10, 244, 1, n)));
    zone.services
        .insert(("d".into(), "many".into()), Entry { slices: vec![slice(eight)], ..Entry::default() });
    let answer = answer_to(&zone.indexed(), "many.d.svc.cluster.local.");
    assert_eq!((answer.answers.len(), answer.metadata.truncation), (8, false));
    assert!((1..8).contains(&answer.additionals.len()), "{}", answer.additionals.len());
}

/// kube-dns has port 53 over UDP and TCP, and all pods of a Deployment may have the same host name.
#[test]
fn an_srv_answer_has_no_record_twice() {
    let both = json!([{"name": "dns", "protocol": "UDP", "port": 53}, {"name": "dns-tcp", "port": 53}]);
    let same = json!([
        {"addresses": ["10.244.1.1"], "hostname": "db"}, {"addresses": ["10.244.1.2"], "hostname": "db"},
        {"addresses": ["10.244.1.3"], "hostname": "other"}, {"addresses": ["10.244.1.4"], "hostname": "db"},
    ]);
    let mut zone = zone_with(&[("db", both, same)]);
    let mut dns = Entry { cluster_ip: Some(Ipv4Addr::new(10, 96, 0, 10)), ..Entry::default() };
    dns.ports = ["udp", "tcp"].map(|protocol| (format!("dns-{protocol}"), protocol.into(), 53)).into();
    zone.services.insert(("aaa".into(), "dns".into()), dns);
    let srv = |name: &str| {
        let name = Name::from_ascii(format!("{name}.aaa.svc.cluster.local.")).unwrap();
        match answer(&zone, &Query::query(name, RecordType::SRV), UDP_MAX, 0) {
            Answer::Records(records) => records.iter().map(|r| r.data.to_string()).collect::<Vec<String>>(),
            _ => vec![],
        }
    };
    assert_eq!(srv("dns"), ["0 50 53 dns.aaa.svc.cluster.local."]);
    let of = |weight: u8, host: &str| format!("0 {weight} 53 {host}.db.aaa.svc.cluster.local.");
    assert_eq!(srv("db"), [of(12, "db"), of(12, "other")], "eight ports of four endpoints");
    assert_eq!(srv("_dns._udp.db"), [of(25, "db"), of(25, "other")]);
    assert_eq!(srv("db.db"), [of(16, "db")], "two ports of three endpoints");
}

/// The EndpointSlices of a Service stay when its type becomes ExternalName.
#[test]
fn an_external_name_has_neither_endpoints_nor_ports() {
    let pod = slice([("db-0".to_string(), Ipv4Addr::new(10, 244, 1, 3))]);
    let exist = |external_name: Option<&str>| {
        let external_name = external_name.map(String::from);
        let entry = Entry { external_name, slices: vec![pod.clone()], ..Entry::default() };
        let mut zone = Zone { domain: "cluster.local".into(), ..Zone::default() };
        zone.services.insert(("default".into(), "db".into()), entry);
        let zone = zone.indexed();
        let exists = |name: &str, kind: RecordType| {
            let name = Name::from_ascii(format!("{name}.db.default.svc.cluster.local.")).unwrap();
            answer(&zone, &Query::query(name, kind), UDP_MAX, 0) != Answer::NoSuchName
        };
        [exists("db-0", RecordType::A), exists("_http._tcp", RecordType::SRV)]
    };
    assert_eq!(exist(None), [true, true]);
    assert_eq!(exist(Some("example.org")), [false, false]);
}
