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
/// Bytes of a record without its data, at least: a pointer to the name, type, class, TTL and length (RFC 1035, 4.1.3).
const RECORD_MIN: usize = 12;
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
    /// (name, protocol, port).
    pub ports: Vec<(String, String, u16)>,
    /// Ready ones only.
    pub endpoints: Vec<Endpoint>,
    /// Addresses by host name.
    hosts: HashMap<String, Vec<Ipv4Addr>>,
    /// Places in `ports`, by what questions call them: `_http._tcp`.
    named: HashMap<String, usize>,
}

/// (host name or dashed address, address, ports by what questions call them). The endpoints of a slice share its ports.
pub type Endpoint = (String, Ipv4Addr, Arc<HashMap<String, u16>>);

/// What questions call a port: `_http._tcp`. One name may stand for a port of each protocol.
fn called(name: &str, protocol: &str) -> String {
    format!("_{name}._{protocol}")
}

fn protocol(named: Option<&str>) -> String {
    named.unwrap_or("TCP").to_lowercase()
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
                let number = u16::try_from(port.port).unwrap_or(0);
                let protocol = protocol(port.protocol.as_deref());
                entry.ports.push((port.name.clone().unwrap_or_default(), protocol, number));
            }
            for slice in by_service.get(&(&*key.namespace, &*key.name)).into_iter().flatten() {
                let numbered = slice.ports.iter().flatten().filter_map(|port| {
                    let name =
                        called(port.name.as_deref().unwrap_or_default(), &protocol(port.protocol.as_deref()));
                    Some((name, u16::try_from(port.port?).ok()?))
                });
                let ports: Arc<HashMap<String, u16>> = Arc::new(numbered.collect());
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
            for (place, (name, protocol, _)) in entry.ports.iter().enumerate() {
                entry.named.entry(called(name, protocol)).or_insert(place);
            }
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

/// Pure: the answer to one question, with no more records than it takes to exceed `room` bytes. The name that an ExternalName
/// service stands for is looked up with it:
///
/// ```text
/// A ext.default.svc.cluster.local.  ->  CNAME web.default.svc.cluster.local., A 10.96.0.9
/// A out.default.svc.cluster.local.  ->  CNAME example.org., and what is answered outside for that
/// ```
pub fn answer(zone: &Zone, query: &Query, room: usize) -> Answer {
    let mut links = Vec::new();
    let mut query = query.clone();
    loop {
        let answered = answer_one(zone, &query, room);
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

fn answer_one(zone: &Zone, query: &Query, room: usize) -> Answer {
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
    let base = |service: &str, namespace: &str| format!("{service}.{namespace}.svc.{}.", zone.domain);
    let addresses = most_records(room, size_of::<Ipv4Addr>());
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
                    Answer::Records(srv(query.name(), &base(service, namespace), entry, &entry.ports, room))
                }
                _ if kind != RecordType::A => Answer::Records(vec![]),
                Some(ip) => Answer::Records(vec![own(RData::A(A(ip)))]),
                None => {
                    let all = entry.endpoints.iter().take(addresses);
                    Answer::Records(all.map(|(_, ip, _)| own(RData::A(A(*ip)))).collect())
                }
            }
        }
        [port, protocol, service, namespace, "svc"] if port.starts_with('_') && protocol.starts_with('_') => {
            let Some(entry) = zone.services.get(&((*namespace).into(), (*service).into())) else {
                return Answer::NoSuchName;
            };
            let place = entry.named.get(&format!("{port}.{protocol}"));
            let Some(named) = place.and_then(|place| entry.ports.get(*place)) else {
                return Answer::NoSuchName;
            };
            match kind {
                _ if entry.cluster_ip.is_none() && entry.endpoints.is_empty() => Answer::NoSuchName,
                RecordType::SRV => {
                    let named = std::slice::from_ref(named);
                    Answer::Records(srv(query.name(), &base(service, namespace), entry, named, room))
                }
                _ => Answer::Records(vec![]),
            }
        }
        [host, service, namespace, "svc"] => {
            let entry = zone.services.get(&((*namespace).into(), (*service).into()));
            let ips = entry.and_then(|e| e.hosts.get(*host)).map_or(&[][..], Vec::as_slice);
            match (ips.is_empty(), kind) {
                (true, _) => Answer::NoSuchName,
                (false, RecordType::A) => {
                    Answer::Records(ips.iter().take(addresses).map(|ip| own(RData::A(A(*ip)))).collect())
                }
                (false, _) => Answer::Records(vec![]),
            }
        }
        _ => Answer::NoSuchName,
    }
}

/// How many records of `data` bytes each are made for a message of `room` bytes: one more than fits, so that the message is cut off as it
/// would be with all of them.
fn most_records(room: usize, data: usize) -> usize {
    room / (RECORD_MIN + data) + 1
}

/// SRV records for some of a service's ports: of the service itself, or of each endpoint of a headless one.
///
/// ```text
/// 5000 ports, 10 endpoints, 512 bytes, base db.default.svc.cluster.local.  ->  512 / (12 + 6 + 29) + 1 = 11 records, not 50,000
/// ```
fn srv(asked: &Name, base: &str, entry: &Entry, ports: &[(String, String, u16)], room: usize) -> Vec<Record> {
    // Priority, weight and port take six bytes, and the target is written in full (RFC 2782).
    let most = most_records(room, 6 + base.len());
    let record = |number: u16, target: String| {
        let target = Name::from_ascii(target).ok()?;
        Some(Record::from_rdata(asked.clone(), TTL, RData::SRV(SRV::new(0, 100, number, target))))
    };
    if entry.cluster_ip.is_some() {
        return ports.iter().take(most).filter_map(|(_, _, number)| record(*number, base.into())).collect();
    }
    let each = ports.iter().flat_map(|(name, protocol, number)| {
        let called = called(name, protocol);
        entry.endpoints.iter().map(move |(host, _, numbers)| (host, numbers.get(&called).unwrap_or(number)))
    });
    each.take(most).filter_map(|(host, number)| record(*number, format!("{host}.{base}"))).collect()
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

/// The reply to a message, for at most `room` bytes. `turn` counts the messages.
fn reply(zone: &Zone, request: &Message, room: usize, turn: usize) -> Option<Reply> {
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
    match answer(zone, query, room) {
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
    match reply(zone, &request, room(&request, limit), turn) {
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

/// Bytes that a reply may have: `limit`, or as many as the request allows.
fn room(request: &Message, limit: usize) -> usize {
    let allowed = request.edns.as_ref().map_or(0, |e| usize::from(e.max_payload()));
    limit.max(allowed.min(EDNS_MAX))
}

/// The bytes of a reply, in at most `limit` or as many as the request allows.
fn encode(request: &Message, response: Message, limit: usize) -> Option<Vec<u8>> {
    match response.to_vec() {
        Ok(encoded) if encoded.len() <= room(request, limit) => Some(encoded),
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
        // An answer of 64 KiB takes milliseconds, and the client may have sent many questions ahead: others have their turn in between.
        tokio::task::yield_now().await;
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

    fn ports_of_slice() -> Arc<HashMap<String, u16>> {
        Arc::new([(called("http", "tcp"), 8080)].into())
    }

    fn zone() -> Zone {
        let entry = |ip: Option<[u8; 4]>, endpoints: &[(&str, [u8; 4])]| Entry {
            cluster_ip: ip.map(Ipv4Addr::from),
            ports: vec![("http".into(), "tcp".into(), 80)],
            endpoints: endpoints
                .iter()
                .map(|(h, ip)| (h.to_string(), (*ip).into(), ports_of_slice()))
                .collect(),
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
        match answer(&zone(), &Query::query(Name::from_ascii(name).unwrap(), kind), UDP_MAX) {
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
        let Some(Reply::Follow(response, target)) = reply(&zone(), &request, UDP_MAX, 0) else {
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
            let Some(Reply::Whole(reply)) = reply(&zone(), &request, UDP_MAX, turn) else {
                panic!("no reply")
            };
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

    #[test]
    fn an_answer_that_does_not_fit_says_so() {
        let mut zone = zone();
        let many = (0..5000u32).map(|n| (format!("h{n}"), Ipv4Addr::from(0x0af4_0000 + n), ports_of_slice()));
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
        let Some(Reply::Whole(refused)) = reply(&zone, &two, UDP_MAX, 0) else { panic!("no reply") };
        assert_eq!((refused.metadata.response_code, refused.queries.len()), (ResponseCode::FormErr, 0));
    }

    /// Ports times endpoints are made no further than the message holds, and one port is found without a look at the others.
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
        let zone = Zone::of("cluster.local", &[Arc::new(headless)], &[Arc::new(slice)]);
        let endpoints = &zone.services[&(namespace.to_string(), service.to_string())].endpoints;
        assert!(
            endpoints.len() == 10 && endpoints.iter().all(|(.., ports)| Arc::ptr_eq(ports, &endpoints[0].2))
        );
        let records = |name: &str, room| {
            let name = Name::from_ascii(format!("{name}db.default.svc.cluster.local.")).unwrap();
            match answer(&zone, &Query::query(name, RecordType::SRV), room) {
                Answer::Records(records) => {
                    records.iter().map(|r| r.data.to_string()).collect::<Vec<String>>()
                }
                _ => vec![],
            }
        };
        for room in [UDP_MAX, EDNS_MAX, usize::from(u16::MAX)] {
            let made = records("", room).len();
            assert!((room / 80..room / 40).contains(&made), "{made} records for {room} bytes");
        }
        let one = records("_p4999._tcp.", UDP_MAX);
        assert_eq!((one.len(), &*one[3]), (10, "0 100 15000 h3.db.default.svc.cluster.local."));
        assert!(records("_p5000._tcp.", UDP_MAX).is_empty());
        // A port of the same name over another protocol is another one.
        assert_eq!(records("_p1._udp.", UDP_MAX)[0], "0 100 7 h0.db.default.svc.cluster.local.");
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

    #[test]
    fn a_reply_keeps_the_question_and_says_who_has_authority() {
        let mut request = Message::query();
        request.add_query(Query::query(
            Name::from_ascii("nope.default.svc.cluster.local.").unwrap(),
            RecordType::A,
        ));
        let Some(Reply::Whole(response)) = reply(&zone(), &request, UDP_MAX, 0) else { panic!("no reply") };
        assert_eq!(response.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!((response.queries.len(), response.authorities.len()), (1, 1));
        let back = Message::from_vec(&response.to_vec().unwrap()).unwrap();
        assert_eq!(back.metadata.id, request.metadata.id);
    }
}
