//! The cluster's DNS: names of services and pods. [`answer`] is pure; schema: `kubernetes/dns/docs/specification.md` 1.1.0.

use crate::client::{Client, Informer, Key};
use crate::task::Crew;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// Seconds that an answer may be kept, as CoreDNS' kubernetes plug-in says by default.
const TTL: u32 = 30;
/// A resolver outside that does not answer in this time has failed.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);
/// A TCP connection on which no question comes for this long is closed (RFC 7766 leaves the time to the server).
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Bytes of an answer over UDP, unless the client allows more; and what it may allow.
const UDP_MAX: usize = 512;
const EDNS_MAX: usize = 4096;
/// Records of one answer: more do not fit into a message anyway.
const RECORDS_MAX: usize = 4096;
/// Questions that are asked outside at the same time. What comes beyond is dropped; the resolver asks again.
const FORWARDS_MAX: usize = 512;
/// TCP connections at the same time. What comes beyond is closed.
const CONNECTIONS_MAX: usize = 256;

/// What the cluster looks like to DNS.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    /// `cluster.local`.
    pub domain: String,
    pub services: BTreeMap<(String, String), Entry>,
    /// Namespaces that have a service.
    namespaces: BTreeSet<String>,
    /// What an address is called, for the first of several.
    addresses: HashMap<Ipv4Addr, String>,
}

/// A service.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    pub cluster_ip: Option<Ipv4Addr>,
    pub external_name: Option<String>,
    /// (name, protocol, port).
    pub ports: Vec<(String, String, u16)>,
    /// Ready ones only.
    pub endpoints: Vec<Endpoint>,
    /// Addresses by host name.
    hosts: HashMap<String, Vec<Ipv4Addr>>,
}

/// (host name or dashed address, address, ports by name).
pub type Endpoint = (String, Ipv4Addr, Vec<(String, u16)>);

impl Zone {
    /// From the objects as they are now.
    pub fn of(domain: &str, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Zone {
        let mut zone = Zone { domain: domain.into(), ..Zone::default() };
        let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in slices {
            let label = slice.metadata.labels.as_ref().and_then(|l| l.get("kubernetes.io/service-name"));
            if let (Some(namespace), Some(service)) = (&slice.metadata.namespace, label) {
                by_service.entry((namespace, service)).or_default().push(slice);
            }
        }
        for service in services {
            let key = Key::of(&**service);
            let spec = service.spec.clone().unwrap_or_default();
            let publish = spec.publish_not_ready_addresses.unwrap_or(false);
            let external =
                (spec.type_.as_deref() == Some("ExternalName")).then_some(spec.external_name).flatten();
            let mut entry = Entry {
                cluster_ip: spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok()),
                external_name: external,
                ..Entry::default()
            };
            for port in spec.ports.iter().flatten() {
                let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into()).to_lowercase();
                let number = u16::try_from(port.port).unwrap_or(0);
                entry.ports.push((port.name.clone().unwrap_or_default(), protocol, number));
            }
            for slice in by_service.get(&(&*key.namespace, &*key.name)).into_iter().flatten() {
                let ports: Vec<(String, u16)> = slice
                    .ports
                    .iter()
                    .flatten()
                    .filter_map(|p| Some((p.name.clone().unwrap_or_default(), u16::try_from(p.port?).ok()?)))
                    .collect();
                for endpoint in &slice.endpoints {
                    if !publish && endpoint.conditions.as_ref().and_then(|c| c.ready) == Some(false) {
                        continue;
                    }
                    for ip in endpoint.addresses.iter().filter_map(|a| a.parse::<Ipv4Addr>().ok()) {
                        let host =
                            endpoint.hostname.clone().unwrap_or_else(|| ip.to_string().replace('.', "-"));
                        entry.endpoints.push((host, ip, ports.clone()));
                    }
                }
            }
            zone.services.insert((key.namespace, key.name), entry);
        }
        zone.indexed()
    }

    /// With everything that makes an answer a look-up.
    fn indexed(mut self) -> Zone {
        for ((namespace, name), entry) in &mut self.services {
            self.namespaces.insert(namespace.clone());
            let base = format!("{name}.{namespace}.svc.{}.", self.domain);
            for (host, ip, _) in &entry.endpoints {
                entry.hosts.entry(host.clone()).or_default().push(*ip);
                if entry.cluster_ip.is_none() {
                    self.addresses.entry(*ip).or_insert_with(|| format!("{host}.{base}"));
                }
            }
            if let Some(ip) = entry.cluster_ip {
                self.addresses.entry(ip).or_insert(base);
            }
        }
        self
    }
}

/// What to tell a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Records; none at all: the name exists, but has none of this type.
    Records(Vec<Record>),
    /// There is no such name.
    NoSuchName,
    /// Not ours: ask outside.
    Forward,
}

/// Pure: the answer to one question.
pub fn answer(zone: &Zone, query: &Query) -> Answer {
    let full = query.name().to_lowercase().to_string();
    let name = full.trim_end_matches('.');
    let kind = query.query_type();
    if let Some(reverse) = name.strip_suffix(".in-addr.arpa") {
        return pointer(zone, query.name(), reverse);
    }
    let Some(rest) = name.strip_suffix(&zone.domain) else { return Answer::Forward };
    if !rest.is_empty() && !rest.ends_with('.') {
        return Answer::Forward;
    }
    let labels: Vec<&str> = rest.trim_end_matches('.').split('.').filter(|l| !l.is_empty()).collect();
    let own = |data: RData| Record::from_rdata(query.name().clone(), TTL, data);
    match labels.as_slice() {
        [] | ["svc"] | ["pod"] => Answer::Records(vec![]),
        ["dns-version"] if kind == RecordType::TXT => Answer::Records(vec![]),
        [_, "svc"] | [_, "pod"] => {
            let namespace = labels[0];
            match zone.namespaces.contains(namespace) {
                true => Answer::Records(vec![]),
                false => Answer::NoSuchName,
            }
        }
        [dashed, _, "pod"] => match dashed.replace('-', ".").parse::<Ipv4Addr>() {
            Ok(ip) => {
                Answer::Records(if kind == RecordType::A { vec![own(RData::A(A(ip)))] } else { vec![] })
            }
            Err(_) => Answer::NoSuchName,
        },
        [service, namespace, "svc"] => {
            let Some(entry) = zone.services.get(&((*namespace).into(), (*service).into())) else {
                return Answer::NoSuchName;
            };
            if let Some(external) = &entry.external_name {
                let Ok(target) = Name::from_ascii(format!("{}.", external.trim_end_matches('.'))) else {
                    return Answer::NoSuchName;
                };
                return Answer::Records(vec![own(RData::CNAME(CNAME(target)))]);
            }
            match entry.cluster_ip {
                // A headless service without endpoints does not exist.
                None if entry.endpoints.is_empty() => Answer::NoSuchName,
                _ if kind == RecordType::SRV => {
                    Answer::Records(srv(zone, query.name(), namespace, service, entry, None))
                }
                _ if kind != RecordType::A => Answer::Records(vec![]),
                Some(ip) => Answer::Records(vec![own(RData::A(A(ip)))]),
                None => {
                    let all = entry.endpoints.iter().take(RECORDS_MAX);
                    Answer::Records(all.map(|(_, ip, _)| own(RData::A(A(*ip)))).collect())
                }
            }
        }
        [port, protocol, service, namespace, "svc"] if port.starts_with('_') && protocol.starts_with('_') => {
            let Some(entry) = zone.services.get(&((*namespace).into(), (*service).into())) else {
                return Answer::NoSuchName;
            };
            let wanted = (&port[1..], &protocol[1..]);
            let records = srv(zone, query.name(), namespace, service, entry, Some(wanted));
            match (records.is_empty(), kind) {
                (true, _) => Answer::NoSuchName,
                (false, RecordType::SRV) => Answer::Records(records),
                (false, _) => Answer::Records(vec![]),
            }
        }
        [host, service, namespace, "svc"] => {
            let entry = zone.services.get(&((*namespace).into(), (*service).into()));
            let ips = entry.and_then(|e| e.hosts.get(*host)).map_or(&[][..], Vec::as_slice);
            match (ips.is_empty(), kind) {
                (true, _) => Answer::NoSuchName,
                (false, RecordType::A) => {
                    Answer::Records(ips.iter().take(RECORDS_MAX).map(|ip| own(RData::A(A(*ip)))).collect())
                }
                (false, _) => Answer::Records(vec![]),
            }
        }
        _ => Answer::NoSuchName,
    }
}

fn srv(
    zone: &Zone,
    asked: &Name,
    namespace: &str,
    service: &str,
    entry: &Entry,
    wanted: Option<(&str, &str)>,
) -> Vec<Record> {
    let mut records = Vec::new();
    let mut put = |port: u16, target: String| {
        if records.len() < RECORDS_MAX
            && let Ok(target) = Name::from_ascii(target)
        {
            records.push(Record::from_rdata(asked.clone(), TTL, RData::SRV(SRV::new(0, 100, port, target))));
        }
    };
    let base = format!("{service}.{namespace}.svc.{}.", zone.domain);
    for (name, protocol, port) in &entry.ports {
        if wanted.is_some_and(|(n, p)| n != name || p != protocol) {
            continue;
        }
        match entry.cluster_ip {
            Some(_) => put(*port, base.clone()),
            None => {
                for (host, _, ports) in &entry.endpoints {
                    let number = ports.iter().find(|(n, _)| n == name).map_or(*port, |(_, p)| *p);
                    put(number, format!("{host}.{base}"));
                }
            }
        }
    }
    records
}

fn pointer(zone: &Zone, asked: &Name, reverse: &str) -> Answer {
    let octets: Vec<&str> = reverse.split('.').rev().collect();
    let Ok(ip) = octets.join(".").parse::<Ipv4Addr>() else { return Answer::Forward };
    if let Some(Ok(target)) = zone.addresses.get(&ip).map(Name::from_ascii) {
        return Answer::Records(vec![Record::from_rdata(asked.clone(), TTL, RData::PTR(PTR(target)))]);
    }
    let [a, b, ..] = ip.octets();
    // Addresses of the cluster have no name outside it.
    if (a, b) == (10, 244) || (a == 10 && (96..112).contains(&b)) {
        Answer::NoSuchName
    } else {
        Answer::Forward
    }
}

/// The whole reply to a message, or `None` if it has to be asked outside.
fn reply(zone: &Zone, request: &Message) -> Option<Message> {
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(request.queries.iter().cloned());
    if request.metadata.op_code != OpCode::Query || request.metadata.message_type != MessageType::Query {
        response.metadata.response_code = ResponseCode::NotImp;
        return Some(response);
    }
    // Exactly one, as CoreDNS demands.
    let [query] = request.queries.as_slice() else {
        response.metadata.response_code = ResponseCode::FormErr;
        response.queries.clear();
        return Some(response);
    };
    response.metadata.authoritative = true;
    match answer(zone, query) {
        Answer::Forward => return None,
        Answer::Records(records) if records.is_empty() => drop(response.add_authority(authority(zone)?)),
        Answer::Records(records) => drop(response.add_answers(records)),
        Answer::NoSuchName => {
            response.metadata.response_code = ResponseCode::NXDomain;
            response.add_authority(authority(zone)?);
        }
    }
    Some(response)
}

fn authority(zone: &Zone) -> Option<Record> {
    let domain = Name::from_ascii(format!("{}.", zone.domain)).ok()?;
    let server = Name::from_ascii(format!("ns.dns.{}.", zone.domain)).ok()?;
    let mail = Name::from_ascii(format!("hostmaster.{}.", zone.domain)).ok()?;
    Some(Record::from_rdata(domain, TTL, RData::SOA(SOA::new(server, mail, 1, 7200, 1800, 86400, 5))))
}

pub struct Config {
    pub client: Client,
    pub domain: String,
    /// Sockets on port 53 of the pod's address.
    pub udp: UdpSocket,
    pub tcp: TcpListener,
    /// Where other names are asked, from the machine's own network.
    pub upstream: Vec<SocketAddr>,
}

/// Answers until the crew ends.
pub fn start(crew: &Crew, config: Config) {
    let own = crew.clone();
    crew.spawn_main(async move {
        let services: Informer<Service> = Informer::all(&own, &config.client);
        let slices: Informer<EndpointSlice> = Informer::all(&own, &config.client);
        futures::join!(services.synced(), slices.synced());
        tracing::info!(domain = config.domain, "CoreDNS-like server of Ropewalk, serving on :53");
        let zone = Arc::new(Known { domain: config.domain, ..Known::default() });
        let (on_service, on_slice) = (zone.clone(), zone.clone());
        services.on(move |_| on_service.forget());
        slices.on(move |_| on_slice.forget());
        let (upstream, forwards) = (config.upstream, Arc::new(Semaphore::new(FORWARDS_MAX)));
        let server = Arc::new(Server { services, slices, zone, upstream, forwards });
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let udp = Arc::new(config.udp);
        let tcp_server = server.clone();
        let tcp = config.tcp;
        let tcp_crew = own.clone();
        own.spawn(async move {
            loop {
                let (mut stream, _) = crate::linux::tcp::accept(&tcp).await;
                let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
                let server = tcp_server.clone();
                tcp_crew.spawn(async move {
                    let _permit = permit;
                    while let Ok(Ok(bytes)) = tokio::time::timeout(TCP_IDLE, question(&mut stream)).await {
                        let reply = match server.serve(&bytes, usize::from(u16::MAX)) {
                            Served::Reply(reply) => Some(reply),
                            Served::Outside(request) => server.forward(&bytes, &request).await,
                            Served::Nothing => None,
                        };
                        let Some(reply) = reply else { return };
                        let length = (reply.len() as u16).to_be_bytes();
                        if stream.write_all(&[&length[..], &reply[..]].concat()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let stop = own.token();
        let mut buffer = vec![0; 4096];
        loop {
            let (count, from) = tokio::select! {
                received = udp.recv_from(&mut buffer) => match received {
                    Ok(received) => received,
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => continue,
                    Err(error) => return Err(format!("cannot receive: {error}")),
                },
                () = stop.cancelled() => return Ok(()),
            };
            match server.serve(&buffer[..count], UDP_MAX) {
                // A full socket drops it, as it would drop a question.
                Served::Reply(reply) => _ = udp.try_send_to(&reply, from),
                Served::Outside(request) => {
                    let Ok(permit) = server.forwards.clone().try_acquire_owned() else { continue };
                    let (bytes, server, udp) = (buffer[..count].to_vec(), server.clone(), udp.clone());
                    own.spawn(async move {
                        let _permit = permit;
                        if let Some(reply) = server.forward(&bytes, &request).await {
                            let _ = udp.send_to(&reply, from).await; // whoever asked may have left
                        }
                    });
                }
                Served::Nothing => {}
            }
        }
    });
}

/// The next message of a TCP connection: its length, then itself.
async fn question(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await.map(|_| bytes)
}

/// The zone, built when it is asked for the first time after a change.
#[derive(Default)]
struct Known {
    domain: String,
    zone: Mutex<(u64, Option<Arc<Zone>>)>,
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, (u64, Option<Arc<Zone>>)> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        let mut known = self.lock();
        *known = (known.0 + 1, None);
    }

    fn get(&self, build: impl FnOnce(&str) -> Zone) -> Arc<Zone> {
        let (age, zone) = self.lock().clone();
        zone.unwrap_or_else(|| {
            let zone = Arc::new(build(&self.domain));
            let mut known = self.lock();
            // what changed while it was built may be missing from it
            if known.0 == age {
                known.1 = Some(zone.clone());
            }
            zone
        })
    }
}

/// What became of a message.
enum Served {
    Reply(Vec<u8>),
    /// To be asked outside.
    Outside(Box<Message>),
    /// It is no message, or none that can be answered.
    Nothing,
}

struct Server {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    zone: Arc<Known>,
    upstream: Vec<SocketAddr>,
    forwards: Arc<Semaphore>,
}

/// What a message from anybody is answered with, in at most `limit` bytes or as many as it allows.
fn serve(zone: &Zone, bytes: &[u8], limit: usize) -> Served {
    let Ok(request) = Message::from_vec(bytes) else { return Served::Nothing };
    if request.metadata.message_type != MessageType::Query {
        return Served::Nothing; // an answer to an answer would go to and fro for ever
    }
    let Some(response) = reply(zone, &request) else { return Served::Outside(Box::new(request)) };
    let allowed = request.edns.as_ref().map_or(0, |e| usize::from(e.max_payload()));
    let limit = limit.max(allowed.min(EDNS_MAX));
    let encoded = match response.to_vec() {
        Ok(encoded) if encoded.len() <= limit => Some(encoded),
        _ => response.truncate().to_vec().ok(),
    };
    encoded.map_or(Served::Nothing, Served::Reply)
}

impl Server {
    fn serve(&self, bytes: &[u8], limit: usize) -> Served {
        let build = |domain: &str| Zone::of(domain, &self.services.list(), &self.slices.list());
        serve(&self.zone.get(build), bytes, limit)
    }

    async fn forward(&self, bytes: &[u8], request: &Message) -> Option<Vec<u8>> {
        for upstream in &self.upstream {
            let attempt = async {
                let socket = UdpSocket::bind("0.0.0.0:0").await?;
                socket.connect(upstream).await?;
                socket.send(bytes).await?;
                let mut buffer = vec![0; 4096];
                let count = socket.recv(&mut buffer).await?;
                buffer.truncate(count);
                Ok::<_, std::io::Error>(buffer)
            };
            if let Ok(Ok(reply)) = tokio::time::timeout(FORWARD_TIMEOUT, attempt).await {
                return Some(reply);
            }
        }
        let mut response =
            Message::error_msg(request.metadata.id, request.metadata.op_code, ResponseCode::ServFail);
        response.add_queries(request.queries.iter().cloned());
        response.to_vec().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let entry = |ip: Option<[u8; 4]>, endpoints: &[(&str, [u8; 4])]| Entry {
            cluster_ip: ip.map(Ipv4Addr::from),
            ports: vec![("http".into(), "tcp".into(), 80)],
            endpoints: endpoints
                .iter()
                .map(|(h, ip)| (h.to_string(), (*ip).into(), vec![("http".into(), 8080)]))
                .collect(),
            ..Entry::default()
        };
        let mut zone = Zone { domain: "cluster.local".into(), ..Zone::default() };
        let mut put = |name: &str, e: Entry| drop(zone.services.insert(("default".into(), name.into()), e));
        put("web", entry(Some([10, 96, 0, 9]), &[("10-244-1-2", [10, 244, 1, 2])]));
        put("db", entry(None, &[("db-0", [10, 244, 1, 3]), ("db-1", [10, 244, 2, 3])]));
        put("empty", entry(None, &[]));
        put("ext", Entry { external_name: Some("example.org".into()), ..Entry::default() });
        zone.indexed()
    }

    fn ask(name: &str, kind: RecordType) -> String {
        match answer(&zone(), &Query::query(Name::from_ascii(name).unwrap(), kind)) {
            Answer::Forward => "forward".into(),
            Answer::NoSuchName => "nxdomain".into(),
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
        assert_eq!(ask("ext.default.svc.cluster.local.", A), "example.org.");
        assert_eq!(ask("10-244-1-2.default.pod.cluster.local.", A), "10.244.1.2");
        assert_eq!(
            ask("_http._tcp.web.default.svc.cluster.local.", SRV),
            "0 100 80 web.default.svc.cluster.local."
        );
        assert!(
            ask("_http._tcp.db.default.svc.cluster.local.", SRV).starts_with("0 100 8080 db-0.db.default")
        );
        assert_eq!(ask("9.0.96.10.in-addr.arpa.", PTR), "web.default.svc.cluster.local.");
        assert_eq!(ask("3.1.244.10.in-addr.arpa.", PTR), "db-0.db.default.svc.cluster.local.");
        assert_eq!(ask("example.org.", A), "forward");
        assert_eq!(ask("notcluster.local.", A), "forward");
    }

    #[test]
    fn the_zone_is_built_once_for_many_questions_and_again_after_a_change() {
        let (known, built) = (Known::default(), std::cell::Cell::new(0));
        let ask = || {
            known.get(|_| {
                built.set(built.get() + 1);
                zone()
            })
        };
        (0..1000).for_each(|_| drop(ask()));
        assert_eq!(built.get(), 1);
        known.forget();
        ask();
        assert_eq!(built.get(), 2);
        // a change that comes while it is built
        known.forget();
        known.get(|_| {
            known.forget();
            zone()
        });
        ask();
        assert_eq!(built.get(), 3, "what was built before the change is not kept");
    }

    /// Bytes of anybody are answered within bounds or not at all.
    fn datagram(input: &[u8]) -> bool {
        match serve(&zone(), input, UDP_MAX) {
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
        use crate::rng::fuzz::{Target, all};
        all("addons::dns", vec![Target { name: "questions of DNS", examples, words: &[], reads: datagram }]);
    }

    #[test]
    fn an_answer_that_does_not_fit_says_so() {
        let mut zone = zone();
        let many = (0..5000u32)
            .map(|n| (format!("h{n}"), Ipv4Addr::from(0x0af4_0000 + n), vec![("http".to_string(), 80)]));
        zone.services.insert(
            ("default".into(), "many".into()),
            Entry { endpoints: many.collect(), ..Entry::default() },
        );
        let mut request = Message::query();
        let name = Name::from_ascii("many.default.svc.cluster.local.").unwrap();
        request.add_query(Query::query(name, RecordType::A));
        for limit in [UDP_MAX, usize::from(u16::MAX)] {
            let Served::Reply(reply) = serve(&zone.clone().indexed(), &request.to_vec().unwrap(), limit)
            else {
                panic!("no reply")
            };
            assert!(reply.len() <= limit && Message::from_vec(&reply).unwrap().metadata.truncation);
        }
        let mut two = request.clone();
        two.add_query(request.queries[0].clone());
        let refused = reply(&zone, &two).unwrap();
        assert_eq!((refused.metadata.response_code, refused.queries.len()), (ResponseCode::FormErr, 0));
    }

    #[test]
    fn a_reply_keeps_the_question_and_says_who_has_authority() {
        let mut request = Message::query();
        request.add_query(Query::query(
            Name::from_ascii("nope.default.svc.cluster.local.").unwrap(),
            RecordType::A,
        ));
        let response = reply(&zone(), &request).unwrap();
        assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!((response.queries.len(), response.authorities.len()), (1, 1));
        let back = Message::from_vec(&response.to_vec().unwrap()).unwrap();
        assert_eq!(back.metadata.id, request.metadata.id);
    }
}
