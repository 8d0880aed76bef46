//! Names, answers and messages, and what is asked outside.

mod balance;
mod outside;
mod srv;
mod start;

use super::answer::{Answer, answer};
use super::limits::TTL;
use super::message::{Reply, reply};
use super::zone::{Entry, Slice, called};
use super::*;
use hickory_proto::op::{Edns, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::json;
use std::net::Ipv4Addr;

pub(super) fn slice(endpoints: impl IntoIterator<Item = (String, Ipv4Addr)>) -> Slice {
    Slice { ports: [(called("http", "tcp"), 8080)].into(), endpoints: endpoints.into_iter().collect() }
}

pub(super) fn zone() -> Zone {
    let entry = |ip: Option<[u8; 4]>, endpoints: &[(&str, [u8; 4])]| Entry {
        cluster_ip: ip.map(Ipv4Addr::from),
        ports: vec![("http".into(), "tcp".into(), 80)],
        slices: vec![slice(endpoints.iter().map(|(h, ip)| (h.to_string(), (*ip).into())))],
        ..Entry::default()
    };
    let mut zone = Zone { domain: "cluster.local".into(), ..Zone::default() };
    zone.namespaces = ["default", "bare"].map(String::from).into();
    let mut dns = entry(Some([10, 96, 0, 10]), &[]);
    dns.ports.clear();
    zone.services.insert(("kube-system".into(), "kube-dns".into()), dns);
    let mut put = |name: &str, e: Entry| drop(zone.services.insert(("default".into(), name.into()), e));
    put("web", entry(Some([10, 96, 0, 9]), &[("10-244-1-2", [10, 244, 1, 2])]));
    put("db", entry(None, &[("db-0", [10, 244, 1, 3]), ("db-1", [10, 244, 2, 3])]));
    put("empty", entry(None, &[]));
    let mut external = |name: &str, target: &str| {
        put(name, Entry { external_name: Some(target.into()), ..Entry::default() });
    };
    external("ext", "example.org");
    external("alias", "web.default.svc.cluster.local");
    external("away", "ext.default.svc.cluster.local");
    external("lost", "nope.default.svc.cluster.local.");
    external("ring", "ring.default.svc.cluster.local");
    external("address", "192.0.2.7");
    zone.indexed()
}

fn ask(name: &str, kind: RecordType) -> String {
    match answer(&zone(), &Query::query(Name::from_ascii(name).unwrap(), kind), UDP_MAX, 0) {
        Answer::Forward => "forward".into(),
        Answer::NoSuchName => "nxdomain".into(),
        Answer::Refused => "refused".into(),
        Answer::Follow(records, target) => {
            let links: Vec<String> = records.iter().map(|r| r.data.to_string()).collect();
            format!("{} | ask {target}", links.join(" | "))
        }
        Answer::Records(records) => {
            records.iter().map(|r| r.data.to_string()).collect::<Vec<_>>().join(" | ")
        }
    }
}

#[test]
fn services_and_pods_have_names() {
    use RecordType::{A, AAAA, PTR, SRV};
    assert_eq!(ask("web.default.svc.cluster.local.", A), "10.96.0.9");
    assert_eq!(ask("WEB.default.svc.cluster.local.", A), "10.96.0.9");
    assert_eq!(ask("web.default.svc.cluster.local.", AAAA), "", "the name exists, so no NXDOMAIN");
    assert_eq!(ask("db.default.svc.cluster.local.", A), "10.244.1.3 | 10.244.2.3");
    assert_eq!(ask("db-1.db.default.svc.cluster.local.", A), "10.244.2.3");
    assert_eq!(ask("empty.default.svc.cluster.local.", A), "nxdomain");
    assert_eq!(ask("nope.default.svc.cluster.local.", A), "nxdomain");
    assert_eq!(ask("ext.default.svc.cluster.local.", A), "example.org. | ask example.org.");
    assert_eq!(ask("dns-version.cluster.local.", RecordType::TXT), "1.1.0");
    assert_eq!(ask("dns-version.cluster.local.", A), "");
    assert_eq!(ask("10-244-1-2.default.pod.cluster.local.", A), "10.244.1.2");
    assert_eq!(
        ask("_http._tcp.web.default.svc.cluster.local.", SRV),
        "0 100 80 web.default.svc.cluster.local."
    );
    assert!(ask("_http._tcp.db.default.svc.cluster.local.", SRV).starts_with("0 50 8080 db-0.db.default"));
    assert_eq!(ask("9.0.96.10.in-addr.arpa.", PTR), "web.default.svc.cluster.local.");
    assert_eq!(ask("3.1.244.10.in-addr.arpa.", PTR), "db-0.db.default.svc.cluster.local.");
    // A name has the types that it has, whatever is asked.
    assert_eq!(ask("9.0.96.10.in-addr.arpa.", A), "");
    assert_eq!(
        ask("db-0.db.default.svc.cluster.local.", SRV),
        "0 100 8080 db-0.db.default.svc.cluster.local."
    );
    assert_eq!(ask("db-0.db.default.svc.cluster.local.", AAAA), "");
    // Namespaces have names, with or without services; names in no namespace do not exist.
    assert_eq!(
        (ask("bare.svc.cluster.local.", A), ask("bare.pod.cluster.local.", A)),
        (String::new(), String::new())
    );
    assert_eq!(ask("10-244-1-2.bare.pod.cluster.local.", A), "10.244.1.2");
    let v6 = |kind: RecordType| ask("fd00-10-244--5.bare.pod.cluster.local.", kind);
    assert_eq!([v6(AAAA), v6(A)], ["fd00:10:244::5", ""], "as in CoreDNS");
    for name in ["10-244-1-2.nope.pod", "x.bare.pod", "nope.svc", "nope.pod", "address.default.svc"] {
        assert_eq!(ask(&format!("{name}.cluster.local."), A), "nxdomain", "{name}");
    }
    // The server that negative answers name.
    assert_eq!(ask("cluster.local.", RecordType::NS), "ns.dns.cluster.local.");
    assert!(ask("cluster.local.", RecordType::SOA).starts_with("ns.dns.cluster.local."));
    assert_eq!(ask("ns.dns.cluster.local.", A), "10.96.0.10");
    assert_eq!(ask("example.org.", A), "forward");
    assert_eq!(ask("notcluster.local.", A), "forward");
}

/// A valid label of an object may be the ASCII form of a Unicode name, and stays as it is.
#[test]
fn labels_that_stand_for_unicode_names_are_compared_as_ascii() {
    let ascii = "xn--mnchen-3ya";
    let mut zone = Zone { domain: "cluster.local".into(), ..Zone::default() };
    zone.namespaces = [ascii.to_string()].into();
    let endpoints = slice([(ascii.to_string(), Ipv4Addr::new(10, 244, 1, 2))]);
    let entry = Entry { slices: vec![endpoints], ..Entry::default() };
    zone.services.insert((ascii.into(), ascii.into()), entry);
    let zone = zone.indexed();
    for name in [format!("{ascii}.{ascii}.svc"), format!("{ascii}.{ascii}.{ascii}.svc")] {
        let name = format!("{name}.cluster.local.");
        assert_eq!(ask_of(&zone, &name, RecordType::A), ["10.244.1.2"], "{name}");
    }
    let name = format!("{ascii}.svc.cluster.local.");
    assert!(ask_of(&zone, &name, RecordType::A).is_empty(), "the namespace exists");
}

fn objects<T: serde::de::DeserializeOwned>(all: serde_json::Value) -> Vec<Arc<T>> {
    let all: Vec<T> = serde_json::from_value(all).unwrap();
    all.into_iter().map(Arc::new).collect()
}

/// Headless services of the namespace `aaa` and a service with the cluster IP 10.96.0.9, whose
/// EndpointSlices (name of the service, ports, endpoints) are these.
pub(super) fn zone_with(slices: &[(&str, serde_json::Value, serde_json::Value)]) -> Zone {
    let ports = json!([{"name": "http", "port": 80}]);
    let services = json!([
        {"metadata": {"name": "web", "namespace": "default"}, "spec": {"clusterIP": "10.96.0.9", "ports": ports}},
        {"metadata": {"name": "db", "namespace": "aaa"}, "spec": {"clusterIP": "None", "ports": ports,
            "publishNotReadyAddresses": true}},
    ]);
    let slices = slices.iter().map(|(service, ports, endpoints)| {
        json!({
            "metadata": {"name": "s", "namespace": "aaa", "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        })
    });
    Zone::of("cluster.local", &objects(services), &objects(slices.collect()), &[])
}

#[test]
fn addresses_are_answered_however_they_are_written() {
    let ports = json!([{"name": "http", "port": 80}]);
    let services = json!([
        {"metadata": {"name": "web", "namespace": "aaa"}, "spec": {"clusterIP": "010.96.0.09", "ports": ports}},
        {"metadata": {"name": "db", "namespace": "aaa"}, "spec": {"clusterIP": "None", "ports": ports}},
    ]);
    let addresses = ["010.244.1.03", "::ffff:10.244.1.3", "10.244.1.256", "::ffff:10.244.1.4"];
    let endpoints: Vec<_> = addresses.iter().map(|address| json!({ "addresses": [address] })).collect();
    let slices = json!([{
        "metadata": {"name": "s", "namespace": "aaa", "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    }]);
    let zone = Zone::of("cluster.local", &objects(services), &objects(slices), &[]);
    assert_eq!(ask_of(&zone, "web.aaa.svc.cluster.local.", RecordType::A), ["10.96.0.9"]);
    assert_eq!(ask_of(&zone, "9.0.96.10.in-addr.arpa.", RecordType::PTR), ["web.aaa.svc.cluster.local."]);
    let both = ["10.244.1.3", "10.244.1.4"];
    assert_eq!(ask_of(&zone, "db.aaa.svc.cluster.local.", RecordType::A), both);
    assert_eq!(ask_of(&zone, "10-244-1-3.db.aaa.svc.cluster.local.", RecordType::A), both[..1]);
}

fn ask_of(zone: &Zone, name: &str, kind: RecordType) -> Vec<String> {
    match answer(zone, &Query::query(Name::from_ascii(name).unwrap(), kind), UDP_MAX, 0) {
        Answer::Records(records) => records.iter().map(|r| r.data.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cluster_ip_keeps_its_name_whatever_an_endpointslice_says() {
    let endpoints = json!([{"addresses": ["10.96.0.9"]}]);
    let zone = zone_with(&[("db", json!([{"name": "http", "port": 80}]), endpoints)]);
    assert_eq!(ask_of(&zone, "9.0.96.10.in-addr.arpa.", RecordType::PTR), ["web.default.svc.cluster.local."]);
}

/// As in CoreDNS, with or without a cluster IP.
#[test]
fn a_pod_has_a_reverse_name_for_each_service_that_leads_to_it() {
    let mut zone = Zone { domain: "cluster.local".into(), ..Zone::default() };
    for (namespace, name, cluster_ip) in
        [("default", "web", Some(Ipv4Addr::new(10, 96, 0, 9))), ("bare", "all", None)]
    {
        let pod = slice([("10-244-1-2".to_string(), Ipv4Addr::new(10, 244, 1, 2))]);
        let entry = Entry { cluster_ip, slices: vec![pod], ..Entry::default() };
        zone.services.insert((namespace.into(), name.into()), entry);
    }
    let zone = zone.indexed();
    assert_eq!(
        ask_of(&zone, "2.1.244.10.in-addr.arpa.", RecordType::PTR),
        ["10-244-1-2.all.bare.svc.cluster.local.", "10-244-1-2.web.default.svc.cluster.local."]
    );
    assert!(ask_of(&zone, "2.1.244.10.in-addr.arpa.", RecordType::A).is_empty());
}

#[test]
fn an_endpoint_has_the_ports_of_its_slices_and_each_once() {
    let port = |name: &str, port: u16| json!({"name": name, "port": port});
    let endpoints = |all: &[(&str, &str)]| {
        let each = all.iter().map(|(host, ip)| json!({"addresses": [ip], "hostname": host}));
        serde_json::Value::Array(each.collect())
    };
    let unready = json!([{"addresses": ["10.244.1.9"], "conditions": {"ready": false}}]);
    let zone = zone_with(&[
        ("db", json!([port("http", 8080)]), endpoints(&[("a", "10.244.1.1"), ("b", "10.244.1.2")])),
        ("db", json!([port("http", 8080)]), endpoints(&[("b", "10.244.1.2"), ("c", "10.244.1.3")])),
        ("db", json!([port("http", 8080), port("admin", 9090)]), endpoints(&[("a", "10.244.1.1")])),
        ("db", json!([]), endpoints(&[("none", "10.244.1.4")])),
        ("db", json!([port("http", 1)]), unready),
    ]);
    let base = "db.aaa.svc.cluster.local.";
    assert_eq!(
        ask_of(&zone, base, RecordType::A),
        ["10.244.1.1", "10.244.1.2", "10.244.1.3", "10.244.1.4"],
        "the slice says what is ready, not the service"
    );
    let records = |all: &[(u16, &str)]| -> Vec<String> {
        let weight = 100 / all.len();
        all.iter().map(|(port, host)| format!("0 {weight} {port} {host}.{base}")).collect()
    };
    let http = [(8080, "a"), (8080, "b"), (8080, "c")];
    assert_eq!(ask_of(&zone, &format!("_http._tcp.{base}"), RecordType::SRV), records(&http));
    assert_eq!(ask_of(&zone, &format!("_admin._tcp.{base}"), RecordType::SRV), records(&[(9090, "a")]));
    let all = [&http[..], &[(9090, "a")]].concat();
    assert_eq!(ask_of(&zone, base, RecordType::SRV), records(&all));
    assert_eq!(ask_of(&zone, &format!("a.{base}"), RecordType::SRV), records(&[(8080, "a"), (9090, "a")]));
    assert_eq!(ask_of(&zone, &format!("a.{base}"), RecordType::A), ["10.244.1.1"]);
}

#[test]
fn a_question_of_another_class_is_refused() {
    let mut query = Query::query(Name::from_ascii("web.default.svc.cluster.local.").unwrap(), RecordType::A);
    query.set_query_class(hickory_proto::rr::DNSClass::CH);
    let mut request = Message::query();
    request.add_query(query);
    let Some(Reply::Whole(reply)) = reply(&zone(), &request, UDP_MAX, 0) else { panic!("no reply") };
    assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::Refused, 0));
}

#[test]
fn an_external_name_is_answered_with_the_addresses_that_it_stands_for() {
    use RecordType::{A, AAAA};
    let name = |service: &str| format!("{service}.default.svc.cluster.local.");
    assert_eq!(ask(&name("alias"), A), format!("{} | 10.96.0.9", name("web")));
    assert_eq!(ask(&name("alias"), AAAA), "", "it has none of this type");
    assert_eq!(ask(&name("away"), A), format!("{} | example.org. | ask example.org.", name("ext")));
    assert_eq!((ask(&name("lost"), A), ask(&name("ring"), A)), (String::new(), String::new()));
    let mut request = Message::query();
    request.add_query(Query::query(Name::from_ascii(name("ext")).unwrap(), A));
    let Some(Reply::Follow(response, target)) = reply(&zone(), &request, UDP_MAX, 0) else {
        panic!("nothing to follow")
    };
    let asked = Message::from_vec(&question_for(&request, &target).unwrap()).unwrap();
    assert_eq!(asked.queries, [Query::query(Name::from_ascii("example.org.").unwrap(), A)]);
    let mut found = Message::response(asked.metadata.id, OpCode::Query);
    let address = RData::A(hickory_proto::rr::rdata::A(Ipv4Addr::new(192, 0, 2, 1)));
    let (org, net) = (target.clone(), Name::from_ascii("Example.net.").unwrap());
    let link = RData::CNAME(hickory_proto::rr::rdata::CNAME(net.to_lowercase()));
    let other = Name::from_ascii("bank.example.").unwrap();
    let text = RData::TXT(hickory_proto::rr::rdata::TXT::new(vec!["x".into()]));
    let records = [(&net, address.clone()), (&org, link), (&other, address), (&net, text)];
    found.add_answers(records.map(|(name, data)| Record::from_rdata(name.clone(), 60, data)));
    let whole = complete(response.clone(), &target, &found.to_vec().unwrap()).unwrap();
    let said: Vec<String> = whole.answers.iter().map(|r| r.data.to_string()).collect();
    assert_eq!(
        said,
        ["example.org.", "192.0.2.1", "example.net."],
        "what the name leads to, and nothing else"
    );
    assert_eq!(whole.queries, request.queries, "the question stays the client's");
    assert!(whole.metadata.authoritative, "the first name is the cluster's");
    found.metadata.response_code = ResponseCode::Refused;
    let failed = complete(response, &target, &found.to_vec().unwrap()).unwrap();
    assert!(!failed.metadata.authoritative, "the resolver has refused it");
}

/// As in CoreDNS, which asks outside for addresses alone.
#[test]
fn an_external_name_has_nothing_but_addresses_and_its_cname() {
    use RecordType::{CNAME, MX, NS, SRV, TXT};
    assert_eq!(ask("ext.default.svc.cluster.local.", CNAME), "example.org.");
    for kind in [MX, NS, SRV, TXT] {
        assert_eq!(ask("ext.default.svc.cluster.local.", kind), "", "{kind}");
        assert_eq!(ask("alias.default.svc.cluster.local.", kind), "", "{kind}");
        assert_eq!(ask("address.default.svc.cluster.local.", kind), "nxdomain", "{kind}");
    }
}

#[test]
fn a_transfer_of_the_domain_is_refused() {
    use RecordType::{AXFR, IXFR};
    let web = "web.default.svc.cluster.local.";
    for (name, kind) in [("cluster.local.", AXFR), ("cluster.local.", IXFR), (web, AXFR)] {
        let mut request = Message::query();
        request.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        let Some(Reply::Whole(reply)) = reply(&zone(), &request, UDP_MAX, 0) else { panic!("no reply") };
        let told = (reply.metadata.response_code, reply.metadata.authoritative, reply.authorities.len());
        assert_eq!(told, (ResponseCode::Refused, false, 0), "{name} {kind}");
    }
    assert_eq!(ask("example.org.", AXFR), "forward");
}

#[test]
fn the_version_of_the_schema_may_be_kept_for_eight_hours() {
    let name = Name::from_ascii("dns-version.cluster.local.").unwrap();
    match answer(&zone(), &Query::query(name, RecordType::TXT), UDP_MAX, 0) {
        Answer::Records(records) => assert_eq!(records[0].ttl, 28_800),
        other => panic!("{other:?}"),
    }
}

#[test]
fn eleven_external_names_are_followed_as_in_coredns() {
    let mut zone = Zone { domain: "cluster.local".into(), ..Zone::default() };
    let name = |n: usize| format!("s{n}.d.svc.cluster.local.");
    for n in 1..=12 {
        let entry = Entry { external_name: Some(name(n - 1)), ..Entry::default() };
        zone.services.insert(("d".into(), format!("s{n}")), entry);
    }
    let web = Entry { cluster_ip: Some(Ipv4Addr::new(10, 96, 0, 9)), ..Entry::default() };
    zone.services.insert(("d".into(), "s0".into()), web);
    let found = ask_of(&zone, &name(11), RecordType::A);
    assert_eq!((found.len(), found.last().map(String::as_str)), (12, Some("10.96.0.9")));
    assert!(ask_of(&zone, &name(12), RecordType::A).is_empty());
}

#[test]
fn a_negative_answer_is_kept_as_long_as_a_record_and_is_of_the_zone_of_its_name() {
    let names = ["nope.default.svc.cluster.local.", "9.9.244.10.in-addr.arpa.", "9.0.96.10.in-addr.arpa."];
    for (name, own) in names.into_iter().zip(["cluster.local.", "in-addr.arpa.", "in-addr.arpa."]) {
        let mut request = Message::query();
        request.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        let Some(Reply::Whole(response)) = reply(&zone(), &request, UDP_MAX, 0) else { panic!("no reply") };
        let [soa] = response.authorities.as_slice() else { panic!("no SOA") };
        let RData::SOA(data) = &soa.data else { panic!("{soa:?}") };
        assert_eq!((data.minimum, soa.ttl, soa.name.to_ascii().as_str()), (TTL, TTL, own));
        assert_eq!(data.mname.to_ascii(), format!("ns.dns.{own}"));
    }
}

#[test]
fn each_answer_begins_with_another_address() {
    let mut request = Message::query();
    let name = Name::from_ascii("db.default.svc.cluster.local.").unwrap();
    request.add_query(Query::query(name, RecordType::A));
    let first = |chance: usize| {
        let Some(Reply::Whole(reply)) = reply(&zone(), &request, UDP_MAX, chance) else { panic!("no reply") };
        assert_eq!(reply.answers.len(), 2);
        reply.answers[0].data.to_string()
    };
    assert_eq!([first(0), first(1), first(2)], ["10.244.1.3", "10.244.2.3", "10.244.1.3"]);
}

#[test]
fn a_client_that_asks_for_a_and_aaaa_in_turn_gets_each_address_first() {
    let (zone, upstream) = (CurrentZone::new(zone()), Resolvers::new(vec![]));
    let server = Server { zone, upstream, forwards: forwards(), rng: Rng::seeded(1), tap: Tap::new() };
    let mut firsts = std::collections::BTreeSet::new();
    for kind in [RecordType::A, RecordType::AAAA].into_iter().cycle().take(64) {
        let mut request = Message::query();
        request.add_query(Query::query(Name::from_ascii("db.default.svc.cluster.local.").unwrap(), kind));
        let Served::Reply(reply) = server.serve(&request.to_vec().unwrap(), UDP_MAX) else {
            panic!("no reply")
        };
        let said = Message::from_vec(&reply).unwrap();
        firsts.extend(said.answers.first().map(|record| record.data.to_string()));
    }
    assert_eq!(firsts.into_iter().collect::<Vec<_>>(), ["10.244.1.3", "10.244.2.3"]);
}

/// A datagram of arbitrary bytes gets a reply of at most [`EDNS_MAX`] bytes that can be parsed, or
/// none.
fn datagram(input: &[u8]) -> bool {
    match serve(&zone(), input, UDP_MAX, 1) {
        Served::Reply(reply) => assert!(reply.len() <= EDNS_MAX && Message::from_vec(&reply).is_ok()),
        Served::Outside(_) => {}
        Served::Nothing => return false,
    }
    true
}

#[test]
fn nonsense_is_no_question() {
    let question = |name: &str, kind| {
        let mut request = Message::query();
        request.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        request.to_vec().unwrap()
    };
    let examples = vec![
        question("web.default.svc.cluster.local.", RecordType::A),
        question("_http._tcp.db.default.svc.cluster.local.", RecordType::SRV),
        question("3.1.244.10.in-addr.arpa.", RecordType::PTR),
        question("example.org.", RecordType::TXT),
    ];
    use rng::fuzz::{Target, all};
    all("addons::dns", vec![Target { name: "questions of DNS", examples, words: &[], reads: datagram }]);
}

#[test]
fn an_answer_that_does_not_fit_says_so() {
    let mut zone = zone();
    let many = (0..5000u32).map(|n| (format!("h{n}"), Ipv4Addr::from(0x0af4_0000 + n)));
    let many = Entry { slices: vec![slice(many)], ..Entry::default() };
    zone.services.insert(("default".into(), "many".into()), many);
    let mut request = Message::query();
    let name = Name::from_ascii("many.default.svc.cluster.local.").unwrap();
    request.add_query(Query::query(name, RecordType::A));
    for limit in [UDP_MAX, usize::from(u16::MAX)] {
        let Served::Reply(reply) = serve(&zone.clone().indexed(), &request.to_vec().unwrap(), limit, 0)
        else {
            panic!("no reply")
        };
        let said = Message::from_vec(&reply).unwrap();
        assert!(reply.len() <= limit && said.metadata.truncation);
        assert!(reply.len() + 2 * 16 >= limit, "as many as fit: {}", said.answers.len());
        assert!(said.answers.len() >= 25, "a client that does not ask again has addresses");
    }
    let mut edns = Edns::new();
    edns.set_max_payload(1000);
    request.edns = Some(edns);
    let Served::Reply(reply) = serve(&zone.clone().indexed(), &request.to_vec().unwrap(), UDP_MAX, 0) else {
        panic!("no reply")
    };
    let said = Message::from_vec(&reply).unwrap();
    assert!((900..=1000).contains(&reply.len()) && said.metadata.truncation, "{}", reply.len());
    assert_eq!(said.max_payload(), u16::try_from(EDNS_MAX).unwrap());
    request.edns = None;
    let mut two = request.clone();
    two.add_query(request.queries[0].clone());
    let Some(Reply::Whole(refused)) = super::message::reply(&zone, &two, UDP_MAX, 0) else {
        panic!("no reply")
    };
    assert_eq!((refused.metadata.response_code, refused.queries.len()), (ResponseCode::FormErr, 0));
}

#[test]
fn a_reply_keeps_the_question_and_says_who_has_authority() {
    let mut request = Message::query();
    request
        .add_query(Query::query(Name::from_ascii("nope.default.svc.cluster.local.").unwrap(), RecordType::A));
    let Some(Reply::Whole(response)) = reply(&zone(), &request, UDP_MAX, 0) else { panic!("no reply") };
    assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!((response.queries.len(), response.authorities.len()), (1, 1));
    let back = Message::from_vec(&response.to_vec().unwrap()).unwrap();
    assert_eq!(back.metadata.id, request.metadata.id);
}

#[test]
fn a_request_with_an_opt_record_gets_one() {
    let mut request = Message::query();
    let name = Name::from_ascii("web.default.svc.cluster.local.").unwrap();
    request.add_query(Query::query(name, RecordType::A));
    let reply_to = |request: &Message| {
        let Served::Reply(reply) = serve(&zone(), &request.to_vec().unwrap(), UDP_MAX, 0) else {
            panic!("no reply")
        };
        Message::from_vec(&reply).unwrap()
    };
    assert!(reply_to(&request).edns.is_none());
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    request.edns = Some(edns.clone());
    let reply = reply_to(&request);
    let opt = reply.edns.expect("RFC 6891, 6.1.1");
    assert_eq!((opt.version(), opt.flags().dnssec_ok, reply.answers.len()), (0, true, 1));
    edns.set_version(1);
    request.edns = Some(edns);
    let reply = reply_to(&request);
    assert_eq!((u16::from(reply.metadata.response_code), reply.answers.len()), (16, 0), "BADVERS");
    assert_eq!(reply.edns.unwrap().version(), 0);
}

#[test]
fn a_question_that_cannot_be_parsed_is_told_so() {
    let mut request = Message::query();
    request
        .add_query(Query::query(Name::from_ascii("web.default.svc.cluster.local.").unwrap(), RecordType::A));
    let mut bytes = request.to_vec().unwrap();
    bytes.truncate(20);
    let Served::Reply(reply) = serve(&zone(), &bytes, UDP_MAX, 0) else { panic!("no reply") };
    let reply = Message::from_vec(&reply).unwrap();
    assert_eq!(
        (reply.metadata.id, reply.metadata.response_code),
        (request.metadata.id, ResponseCode::FormErr)
    );
    bytes[2] |= 0x80;
    assert!(matches!(serve(&zone(), &bytes, UDP_MAX, 0), Served::Nothing), "an answer gets no answer");
    assert!(matches!(serve(&zone(), &bytes[..11], UDP_MAX, 0), Served::Nothing));
}
