//! The cluster's DNS: names of services and pods. [`answer`] is pure; schema: `kubernetes/dns/docs/specification.md` 1.1.0.

use super::dns_known::Known;
use super::dns_tcp::{self, Client as Place, Clients};
use crate::client::{Client, Informer, Key};
use crate::task::Crew;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};

/// Seconds that an answer may be kept, as CoreDNS' kubernetes plug-in says by default.
const TTL: u32 = 30;
/// A resolver outside that does not answer in this time has failed.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer over UDP, unless the client allows more; and what it may allow.
const UDP_MAX: usize = 512;
const EDNS_MAX: usize = 4096;
/// Records of one answer: more do not fit into a message anyway.
const RECORDS_MAX: usize = 4096;
/// ExternalName services that are followed one after the other, as in CoreDNS: they may name each other in a ring.
const LINKS_MAX: usize = 8;
/// What `dns-version.cluster.local` says: the version of the schema.
const SCHEMA: &str = "1.1.0";
/// Questions that are asked outside at the same time, of all addresses and of one. What comes beyond is dropped, over TCP with its
/// connection, and so is the oldest question of the address with the most when another address needs its place; the resolver asks again.
const FORWARDS_MAX: usize = 512;
const FORWARDS_OF_ONE: usize = FORWARDS_MAX / 8;

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
    pub ports: Vec<(PortName, u16)>,
    /// Ready ones only.
    pub endpoints: Vec<Endpoint>,
    /// Addresses by host name.
    hosts: HashMap<String, Vec<Ipv4Addr>>,
}

/// (name, protocol), e.g. `("http", "tcp")`.
pub type PortName = (String, String);

/// (host name or dashed address, address, ports). All endpoints of a slice share its ports, of which there may be many.
pub type Endpoint = (String, Ipv4Addr, Arc<HashMap<PortName, u16>>);

fn port_name(name: Option<&str>, protocol: Option<&str>) -> PortName {
    (name.unwrap_or_default().into(), protocol.unwrap_or("TCP").to_lowercase())
}

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
                let name = port_name(port.name.as_deref(), port.protocol.as_deref());
                entry.ports.push((name, u16::try_from(port.port).unwrap_or(0)));
            }
            for slice in by_service.get(&(&*key.namespace, &*key.name)).into_iter().flatten() {
                let numbered = slice.ports.iter().flatten().filter_map(|port| {
                    let name = port_name(port.name.as_deref(), port.protocol.as_deref());
                    Some((name, u16::try_from(port.port?).ok()?))
                });
                let ports: Arc<HashMap<PortName, u16>> = Arc::new(numbered.collect());
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
    /// The records lead to this name, which is not ours: ask outside, and add what is answered. A client's resolver does not
    /// follow a CNAME itself.
    Follow(Vec<Record>, Name),
    /// There is no such name.
    NoSuchName,
    /// Not ours: ask outside.
    Forward,
}

/// Pure: the answer to one question. The name that an ExternalName service stands for is looked up with it:
///
/// ```text
/// A ext.default.svc.cluster.local.  ->  CNAME web.default.svc.cluster.local., A 10.96.0.9
/// A out.default.svc.cluster.local.  ->  CNAME example.org., and what is answered outside for that
/// ```
pub fn answer(zone: &Zone, query: &Query) -> Answer {
    let mut links = Vec::new();
    let mut query = query.clone();
    loop {
        let answered = answer_one(zone, &query);
        let addresses = matches!(query.query_type(), RecordType::A | RecordType::AAAA);
        let target = match &answered {
            Answer::Records(records) if addresses => records.iter().find_map(|record| match &record.data {
                RData::CNAME(target) => Some(target.0.clone()),
                _ => None,
            }),
            _ => None,
        };
        match (answered, target) {
            (Answer::Records(records), Some(target)) => {
                links.extend(records);
                if links.len() >= LINKS_MAX {
                    return Answer::Records(links);
                }
                query = Query::query(target, query.query_type());
            }
            (Answer::Records(records), None) => {
                links.extend(records);
                return Answer::Records(links);
            }
            (Answer::Forward, _) if !links.is_empty() => return Answer::Follow(links, query.name().clone()),
            (Answer::NoSuchName, _) if !links.is_empty() => return Answer::Records(links),
            (other, _) => return other,
        }
    }
}

fn answer_one(zone: &Zone, query: &Query) -> Answer {
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
        ["dns-version"] => Answer::Records(match kind {
            RecordType::TXT => vec![own(RData::TXT(TXT::new(vec![SCHEMA.to_string()])))],
            _ => vec![],
        }),
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
    let base = &format!("{service}.{namespace}.svc.{}.", zone.domain);
    let ports = entry.ports.iter().filter(|((name, protocol), _)| {
        wanted.is_none_or(|(wanted, over)| wanted == name && over == protocol)
    });
    // As many as an answer may have are looked at: a service has many ports times many endpoints.
    let targets = ports.flat_map(|(name, port)| {
        let itself = entry.cluster_ip.map(|_| (*port, base.clone()));
        let endpoints = if itself.is_some() { &[][..] } else { &entry.endpoints[..] };
        let each = endpoints.iter().map(move |(host, _, ports)| {
            (ports.get(name).copied().unwrap_or(*port), format!("{host}.{base}"))
        });
        itself.into_iter().chain(each)
    });
    let record = |(port, target)| {
        let target = Name::from_ascii(target).ok()?;
        Some(Record::from_rdata(asked.clone(), TTL, RData::SRV(SRV::new(0, 100, port, target))))
    };
    targets.take(RECORDS_MAX).filter_map(record).collect()
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

/// Begins the addresses of an answer with another one each time, as CoreDNS' `loadbalance`: most clients take the first, and one
/// pod would have the load of all.
fn rotate(records: &mut [Record], turn: usize) {
    let first = records.iter().position(|r| matches!(r.data, RData::A(_))).unwrap_or(records.len());
    let addresses = &mut records[first..]; // before them are CNAMEs, which have to stay in their order
    if addresses.len() > 1 && addresses.iter().all(|r| matches!(r.data, RData::A(_))) {
        let by = turn % addresses.len();
        addresses.rotate_left(by);
    }
}

/// A reply to a message.
enum Reply {
    Whole(Message),
    /// To be completed by what is answered outside for this name.
    Follow(Message, Name),
    /// The whole message has to be asked outside.
    Outside,
}

/// The reply to a message. `turn` counts the messages.
fn reply(zone: &Zone, request: &Message, turn: usize) -> Option<Reply> {
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(request.queries.iter().cloned());
    if request.metadata.op_code != OpCode::Query || request.metadata.message_type != MessageType::Query {
        response.metadata.response_code = ResponseCode::NotImp;
        return Some(Reply::Whole(response));
    }
    // Exactly one, as CoreDNS demands.
    let [query] = request.queries.as_slice() else {
        response.metadata.response_code = ResponseCode::FormErr;
        response.queries.clear();
        return Some(Reply::Whole(response));
    };
    response.metadata.authoritative = true;
    match answer(zone, query) {
        Answer::Forward => return Some(Reply::Outside),
        Answer::Follow(records, target) => {
            response.add_answers(records);
            response.metadata.authoritative = false;
            return Some(Reply::Follow(response, target));
        }
        Answer::Records(records) if records.is_empty() => drop(response.add_authority(authority(zone)?)),
        Answer::Records(mut records) => {
            rotate(&mut records, turn);
            response.add_answers(records);
        }
        Answer::NoSuchName => {
            response.metadata.response_code = ResponseCode::NXDomain;
            response.add_authority(authority(zone)?);
        }
    }
    Some(Reply::Whole(response))
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

/// Places for questions that are asked outside.
fn forwards() -> Arc<Clients> {
    Arc::new(Clients::new(FORWARDS_MAX, FORWARDS_OF_ONE))
}

/// Answers until the crew ends.
pub fn start(crew: &Crew, config: Config) {
    let own = crew.clone();
    crew.spawn_main(async move {
        let services: Informer<Service> = Informer::all(&own, &config.client);
        let slices: Informer<EndpointSlice> = Informer::all(&own, &config.client);
        futures::join!(services.synced(), slices.synced());
        tracing::info!(domain = config.domain, "CoreDNS-like server of Ropewalk, serving on :53");
        let (of_services, of_slices) = (services.clone(), slices.clone());
        let build = move || Zone::of(&config.domain, &of_services.list(), &of_slices.list());
        let zone = Known::new(build());
        let (on_service, on_slice) = (zone.clone(), zone.clone());
        services.on(move |_| on_service.forget());
        slices.on(move |_| on_slice.forget());
        let (keeping, ended) = (zone.clone(), own.token());
        own.spawn(async move {
            let _ = ended.run_until_cancelled(keeping.keep(build)).await;
        });
        let (upstream, forwards) = (config.upstream, forwards());
        let server = Arc::new(Server { zone, upstream, forwards, turn: AtomicUsize::new(0) });
        let udp = Arc::new(config.udp);
        let tcp_server = server.clone();
        own.spawn(dns_tcp::serve(config.tcp, own.clone(), move |bytes: Vec<u8>, from| {
            let server = tcp_server.clone();
            async move { server.answer_tcp(&bytes, from).await }
        }));
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
                Served::Outside(outside) => {
                    let Some(place) = Place::begin(&server.forwards, from.ip()) else { continue };
                    let (bytes, server, udp) = (buffer[..count].to_vec(), server.clone(), udp.clone());
                    own.spawn(async move {
                        let forwarded = place.end.run_until_cancelled(server.ask(*outside, &bytes, UDP_MAX));
                        if let Some(reply) = forwarded.await.flatten() {
                            let _ = udp.send_to(&reply, from).await; // whoever asked may have left
                        }
                    });
                }
                Served::Nothing => {}
            }
        }
    });
}

/// What became of a message.
enum Served {
    Reply(Vec<u8>),
    /// To be asked outside.
    Outside(Box<Outside>),
    /// It is no message, or none that can be answered.
    Nothing,
}

/// What has to be asked outside.
struct Outside {
    request: Message,
    /// The answer so far and the name to ask for; `None`: the message is asked as it came.
    follow: Option<(Message, Name)>,
}

struct Server {
    zone: Arc<Known>,
    upstream: Vec<SocketAddr>,
    forwards: Arc<Clients>,
    /// Messages so far.
    turn: AtomicUsize,
}

/// What a message from anybody is answered with, in at most `limit` bytes or as many as it allows.
fn serve(zone: &Zone, bytes: &[u8], limit: usize, turn: usize) -> Served {
    let Ok(request) = Message::from_vec(bytes) else { return Served::Nothing };
    if request.metadata.message_type != MessageType::Query {
        return Served::Nothing; // an answer to an answer would go to and fro for ever
    }
    match reply(zone, &request, turn) {
        Some(Reply::Whole(response)) => {
            encode(&request, response, limit).map_or(Served::Nothing, Served::Reply)
        }
        Some(Reply::Follow(response, target)) => {
            Served::Outside(Box::new(Outside { request, follow: Some((response, target)) }))
        }
        Some(Reply::Outside) => Served::Outside(Box::new(Outside { request, follow: None })),
        None => Served::Nothing,
    }
}

/// The bytes of a reply, in at most `limit` or as many as the request allows.
fn encode(request: &Message, response: Message, limit: usize) -> Option<Vec<u8>> {
    let allowed = request.edns.as_ref().map_or(0, |e| usize::from(e.max_payload()));
    let limit = limit.max(allowed.min(EDNS_MAX));
    match response.to_vec() {
        Ok(encoded) if encoded.len() <= limit => Some(encoded),
        _ => response.truncate().to_vec().ok(),
    }
}

/// A question for the target of a CNAME, as it is asked outside. Its id is the one of the request: what comes back is read on a
/// socket that is connected to the server, and nothing else is asked on it.
fn question_for(request: &Message, target: &Name) -> Option<Vec<u8>> {
    let mut question = Message::query();
    question.metadata.id = request.metadata.id;
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(target.clone(), request.queries.first()?.query_type()));
    question.to_vec().ok()
}

/// Adds what was answered outside to an answer that leads there. That a name is not known there, or that there is no answer, is
/// passed on.
fn complete(mut response: Message, outside: &[u8]) -> Option<Message> {
    let found = Message::from_vec(outside).ok()?;
    let room = RECORDS_MAX.saturating_sub(response.answers.len());
    response.add_answers(found.answers.into_iter().take(room));
    response.metadata.response_code = found.metadata.response_code;
    response.metadata.truncation = found.metadata.truncation;
    Some(response)
}

impl Server {
    fn serve(&self, bytes: &[u8], limit: usize) -> Served {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        serve(&self.zone.get(), bytes, limit, turn)
    }

    /// What a message over TCP is answered with. A question that is asked outside takes a place as those over UDP do; `None`, the end of
    /// the connection, where there is none or another address gets it.
    async fn answer_tcp(&self, bytes: &[u8], from: IpAddr) -> Option<Vec<u8>> {
        match self.serve(bytes, usize::from(u16::MAX)) {
            Served::Reply(reply) => Some(reply),
            Served::Outside(outside) => {
                let place = Place::begin(&self.forwards, from)?;
                let asked = self.ask(*outside, bytes, usize::from(u16::MAX));
                place.end.run_until_cancelled(asked).await.flatten()
            }
            Served::Nothing => None,
        }
    }

    /// Asks outside what a message asks, or for the name that the answer so far leads to.
    async fn ask(&self, outside: Outside, bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
        // A client that came by TCP may take a long answer, and came perhaps because it was cut off over UDP.
        let long = limit > EDNS_MAX;
        let Outside { request, follow } = outside;
        match follow {
            None => self.forward(bytes, &request, long).await,
            Some((response, target)) => {
                let question = question_for(&request, &target)?;
                let found = self.forward(&question, &request, long).await?;
                encode(&request, complete(response, &found)?, limit)
            }
        }
    }

    async fn forward(&self, bytes: &[u8], request: &Message, long: bool) -> Option<Vec<u8>> {
        for upstream in &self.upstream {
            let attempt = async {
                match long {
                    true => dns_tcp::ask(*upstream, bytes).await,
                    false => ask_udp(*upstream, bytes).await,
                }
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

async fn ask_udp(upstream: SocketAddr, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind("0.0.0.0:0").await?;
    socket.connect(upstream).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; 4096];
    let count = socket.recv(&mut buffer).await?;
    buffer.truncate(count);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(number: u16) -> Arc<HashMap<PortName, u16>> {
        Arc::new([(port_name(Some("http"), Some("TCP")), number)].into())
    }

    fn zone() -> Zone {
        let entry = |ip: Option<[u8; 4]>, endpoints: &[(&str, [u8; 4])]| Entry {
            cluster_ip: ip.map(Ipv4Addr::from),
            ports: vec![(port_name(Some("http"), None), 80)],
            endpoints: endpoints.iter().map(|(h, ip)| (h.to_string(), (*ip).into(), http(8080))).collect(),
            ..Entry::default()
        };
        let mut zone = Zone { domain: "cluster.local".into(), ..Zone::default() };
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
        zone.indexed()
    }

    fn ask(name: &str, kind: RecordType) -> String {
        match answer(&zone(), &Query::query(Name::from_ascii(name).unwrap(), kind)) {
            Answer::Forward => "forward".into(),
            Answer::NoSuchName => "nxdomain".into(),
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
    fn one_pod_does_not_take_all_questions_that_are_asked_outside() {
        let (forwards, pod) = (forwards(), |n: u8| std::net::IpAddr::from([10, 244, 1, n]));
        let mut held: Vec<Place> = (0..1000).map_while(|_| Place::begin(&forwards, pod(2))).collect();
        assert_eq!(held.len(), FORWARDS_MAX / 8);
        held.extend(Place::begin(&forwards, pod(3)));
        assert_eq!(held.len(), FORWARDS_MAX / 8 + 1, "another pod's question finds a place");
        // Eight pods and more ask all that they may: a pod that comes late finds a place all the same.
        for n in 4..100 {
            held.extend((0..1000).map_while(|_| Place::begin(&forwards, pod(n))));
        }
        let late = Place::begin(&forwards, pod(200)).expect("a place");
        assert!(!late.end.is_cancelled());
        let asked = held.iter().filter(|place| !place.end.is_cancelled()).count();
        assert_eq!(asked + 1, FORWARDS_MAX);
    }

    /// A pod asks over TCP for names outside, whose server does not answer: it has as many places as over UDP, and another pod has its own.
    #[tokio::test]
    async fn questions_over_tcp_share_the_bound_of_those_over_udp() {
        let outside = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            zone: Known::new(Zone { domain: "cluster.local".into(), ..Zone::default() }),
            upstream: vec![outside.local_addr().unwrap()],
            forwards: forwards(),
            turn: AtomicUsize::new(0),
        };
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii("example.org.").unwrap(), RecordType::A));
        let question = question.to_vec().unwrap();
        let pod = |n: u8| IpAddr::from([10, 244, 1, n]);
        let held: Vec<Place> = (0..1000).map_while(|_| Place::begin(&server.forwards, pod(2))).collect();
        let begun = std::time::Instant::now();
        assert_eq!(server.answer_tcp(&question, pod(2)).await, None);
        assert!(begun.elapsed() < FORWARD_TIMEOUT, "it is asked outside");
        let other = server.answer_tcp(&question, pod(3));
        let asked = tokio::time::timeout(FORWARD_TIMEOUT / 2, async {
            tokio::select! {
                _ = other => panic!("it finds no place"),
                accepted = outside.accept() => drop(accepted.unwrap()),
            }
        });
        asked.await.expect("another pod's question is asked outside");
        drop(held);
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
        assert_eq!(ask("ext.default.svc.cluster.local.", SRV), "example.org.");
        assert_eq!(ask("dns-version.cluster.local.", RecordType::TXT), "1.1.0");
        assert_eq!(ask("dns-version.cluster.local.", A), "");
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
    fn an_external_name_is_answered_with_the_addresses_that_it_stands_for() {
        use RecordType::{A, AAAA};
        let name = |service: &str| format!("{service}.default.svc.cluster.local.");
        assert_eq!(ask(&name("alias"), A), format!("{} | 10.96.0.9", name("web")));
        assert_eq!(ask(&name("alias"), AAAA), name("web"), "it has none of this type");
        assert_eq!(ask(&name("away"), A), format!("{} | example.org. | ask example.org.", name("ext")));
        assert_eq!(ask(&name("lost"), A), name("nope"));
        assert_eq!(ask(&name("ring"), A), vec![name("ring"); LINKS_MAX].join(" | "));
        let mut request = Message::query();
        request.add_query(Query::query(Name::from_ascii(name("ext")).unwrap(), A));
        let Some(Reply::Follow(response, target)) = reply(&zone(), &request, 0) else {
            panic!("nothing to follow")
        };
        let asked = Message::from_vec(&question_for(&request, &target).unwrap()).unwrap();
        assert_eq!(asked.queries, [Query::query(Name::from_ascii("example.org.").unwrap(), A)]);
        let mut found = Message::response(asked.metadata.id, OpCode::Query);
        let address = RData::A(hickory_proto::rr::rdata::A(Ipv4Addr::new(192, 0, 2, 1)));
        found.add_answers([Record::from_rdata(target, 60, address)]);
        let whole = complete(response, &found.to_vec().unwrap()).unwrap();
        let said: Vec<String> = whole.answers.iter().map(|r| r.data.to_string()).collect();
        assert_eq!(said, ["example.org.", "192.0.2.1"]);
        assert_eq!(whole.queries, request.queries, "the question stays the client's");
    }

    #[test]
    fn each_answer_begins_with_another_address() {
        let mut request = Message::query();
        let name = Name::from_ascii("db.default.svc.cluster.local.").unwrap();
        request.add_query(Query::query(name, RecordType::A));
        let first = |turn: usize| {
            let Some(Reply::Whole(reply)) = reply(&zone(), &request, turn) else { panic!("no reply") };
            assert_eq!(reply.answers.len(), 2);
            reply.answers[0].data.to_string()
        };
        assert_eq!([first(0), first(1), first(2)], ["10.244.1.3", "10.244.2.3", "10.244.1.3"]);
    }

    #[tokio::test]
    async fn a_question_over_tcp_is_asked_outside_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap();
        let crew = Crew::new("t");
        let answer = vec![7; 5000]; // more than UDP would bring
        let said = answer.clone();
        crew.spawn(dns_tcp::serve(listener, crew.clone(), move |asked: Vec<u8>, _| {
            let said = said.clone();
            async move { (asked == b"question").then_some(said) }
        }));
        assert_eq!(dns_tcp::ask(upstream, b"question").await.unwrap(), answer);
        crew.kill();
    }

    /// Bytes of anybody are answered within bounds or not at all.
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
        use crate::rng::fuzz::{Target, all};
        all("addons::dns", vec![Target { name: "questions of DNS", examples, words: &[], reads: datagram }]);
    }

    /// A headless service of 2000 ports, all of one name over another protocol, and 1000 endpoints.
    #[test]
    fn a_question_looks_at_as_much_as_its_answer_may_have() {
        let endpoints = (0..1000u32).map(|n| (format!("h{n}"), Ipv4Addr::from(0x0af4_0000 + n), http(8080)));
        let mut entry = Entry { endpoints: endpoints.collect(), ..Entry::default() };
        entry.ports = (0..2000).map(|n| (port_name(Some(&format!("p{n}")), None), 1)).collect();
        entry.ports.push((port_name(Some("http"), Some("UDP")), 53));
        entry.ports.push((port_name(Some("http"), Some("TCP")), 80));
        let (zone, asked) = (zone(), Name::from_ascii("x.").unwrap());
        assert_eq!(srv(&zone, &asked, "d", "s", &entry, None).len(), RECORDS_MAX);
        let numbers = |protocol: &str| -> BTreeSet<u16> {
            let records = srv(&zone, &asked, "d", "s", &entry, Some(("http", protocol)));
            assert_eq!(records.len(), 1000);
            let number = |record: Record| match record.data {
                RData::SRV(srv) => srv.port,
                other => panic!("{other:?}"),
            };
            records.into_iter().map(number).collect()
        };
        assert_eq!((numbers("tcp"), numbers("udp")), ([8080].into(), [53].into()));
    }

    #[test]
    fn an_answer_that_does_not_fit_says_so() {
        let mut zone = zone();
        let many = (0..5000u32).map(|n| (format!("h{n}"), Ipv4Addr::from(0x0af4_0000 + n), http(80)));
        zone.services.insert(
            ("default".into(), "many".into()),
            Entry { endpoints: many.collect(), ..Entry::default() },
        );
        let mut request = Message::query();
        let name = Name::from_ascii("many.default.svc.cluster.local.").unwrap();
        request.add_query(Query::query(name, RecordType::A));
        for limit in [UDP_MAX, usize::from(u16::MAX)] {
            let Served::Reply(reply) = serve(&zone.clone().indexed(), &request.to_vec().unwrap(), limit, 0)
            else {
                panic!("no reply")
            };
            assert!(reply.len() <= limit && Message::from_vec(&reply).unwrap().metadata.truncation);
        }
        let mut two = request.clone();
        two.add_query(request.queries[0].clone());
        let Some(Reply::Whole(refused)) = reply(&zone, &two, 0) else { panic!("no reply") };
        assert_eq!((refused.metadata.response_code, refused.queries.len()), (ResponseCode::FormErr, 0));
    }

    #[test]
    fn a_reply_keeps_the_question_and_says_who_has_authority() {
        let mut request = Message::query();
        request.add_query(Query::query(
            Name::from_ascii("nope.default.svc.cluster.local.").unwrap(),
            RecordType::A,
        ));
        let Some(Reply::Whole(response)) = reply(&zone(), &request, 0) else { panic!("no reply") };
        assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!((response.queries.len(), response.authorities.len()), (1, 1));
        let back = Message::from_vec(&response.to_vec().unwrap()).unwrap();
        assert_eq!(back.metadata.id, request.metadata.id);
    }
}
