//! The answer to one question. All of it is pure.

use super::limits::{RECORD_MIN, RECORDS_MAX, TTL};
use super::zone::{Entry, Slice, Zone};
use hickory_proto::op::Query;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// ExternalName services that are followed one after the other: they may name each other in a ring.
/// CoreDNS adds one while there are at most `maxCnameChainLength`, 10 since 1.12.1.
const LINKS_MAX: usize = 11;

/// Bytes of a name that stands in a message already (RFC 1035, 4.1.4).
const POINTER_LEN: usize = 2;

/// The weights of all SRV records of an answer together. More records than this have 1 each.
const WEIGHTS: usize = 100;

/// The text of `dns-version.cluster.local`: the version of the schema.
const SCHEMA: &str = "1.1.0";
/// Seconds that it may be kept, as in CoreDNS.
const SCHEMA_TTL: u32 = 28_800;

/// The zone of reverse names. Only those of addresses that the cluster knows or has are answered.
const REVERSE_ZONE: &str = "in-addr.arpa";

/// The Service of this server, whose address `ns.dns` is.
const DNS_SERVICE: &str = "kube-dns";
const DNS_NAMESPACE: &str = "kube-system";

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// Records; none at all: the name exists, but has none of this type.
    Records(Vec<Record>),
    /// The records lead to this name, which is not ours: ask outside, and add what is answered. A
    /// client's resolver does not follow a CNAME itself.
    Follow(Vec<Record>, Name),
    /// There is no such name, as far as the zone knows.
    NoSuchName,
    /// A zone transfer of the domain, which this server does not make, as CoreDNS does not.
    Refused,
    /// Not ours: ask outside.
    Forward,
}

/// Answers one question, with no more records than it takes to exceed `room` bytes. Pure. The name
/// that an ExternalName service stands for is looked up with it:
///
/// ```text
/// A ext.default.svc.cluster.local.  ->  CNAME web.default.svc.cluster.local., A 10.96.0.9
/// A out.default.svc.cluster.local.  ->  CNAME example.org., and what is answered outside for that
/// A ring.default.svc.cluster.local., which stands for itself  ->  nothing
/// ```
///
/// `chance` is a random number: it says with which of its addresses a name is answered first.
pub(super) fn answer(zone: &Zone, query: &Query, room: usize, chance: usize) -> Answer {
    let mut links = Vec::new();
    let mut query = query.clone();
    loop {
        let answered = answer_one(zone, &query, room, chance);
        let is_followed = matches!(query.query_type(), RecordType::A | RecordType::AAAA);
        let target = match &answered {
            Answer::Records(records) if is_followed => records.iter().find_map(|record| match &record.data {
                RData::CNAME(target) => Some(target.0.clone()),
                _ => None,
            }),
            _ => None,
        };
        match (answered, target) {
            (Answer::Records(_), Some(_)) if links.len() >= LINKS_MAX => return Answer::Records(vec![]),
            (Answer::Records(records), Some(target)) => {
                links.extend(records);
                query = Query::query(target, query.query_type());
            }
            // A chain that ends in nothing is left out as a whole.
            (Answer::Records(records), None) if records.is_empty() => return Answer::Records(records),
            (Answer::NoSuchName, _) if !links.is_empty() => return Answer::Records(vec![]),
            (Answer::Records(records), None) => {
                links.extend(records);
                return Answer::Records(links);
            }
            (Answer::Forward, _) if !links.is_empty() => return Answer::Follow(links, query.name().clone()),
            (other, _) => return other,
        }
    }
}

/// Returns the addresses that belong to an answer: those of the targets of its SRV records, so that
/// a client need not ask for each of them (RFC 2782). `chance` as in [`answer`].
pub(super) fn additional(zone: &Zone, answers: &[Record], room: usize, chance: usize) -> Vec<Record> {
    let mut seen = HashSet::new();
    let targets = answers.iter().filter_map(|record| match &record.data {
        RData::SRV(service) if seen.insert(&service.target) => Some(service.target.clone()),
        _ => None,
    });
    let found = targets.flat_map(|target| {
        match answer_one(zone, &Query::query(target, RecordType::A), room, chance) {
            Answer::Records(records) => records,
            _ => vec![],
        }
    });
    found.take(most_records(room, size_of::<Ipv4Addr>())).collect()
}

fn answer_one(zone: &Zone, query: &Query, room: usize, chance: usize) -> Answer {
    // Not `to_string`, which shows `xn--` labels as Unicode: the keys of the zone are ASCII.
    let full = query.name().to_lowercase().to_ascii();
    let name = full.trim_end_matches('.');
    let asked = Asked { zone, name: query.name(), kind: query.query_type(), room, chance };
    if let Some(reverse) = name.strip_suffix(".in-addr.arpa") {
        return asked.pointer(reverse);
    }
    let Some(rest) = name.strip_suffix(&zone.domain) else { return Answer::Forward };
    if !rest.is_empty() && !rest.ends_with('.') {
        return Answer::Forward;
    }
    if matches!(asked.kind, RecordType::AXFR | RecordType::IXFR) {
        return Answer::Refused;
    }
    let labels: Vec<&str> = rest.trim_end_matches('.').split('.').filter(|l| !l.is_empty()).collect();
    let entry = |service: &str, namespace: &str| zone.services.get(&(namespace.into(), service.into()));
    let base = |service: &str, namespace: &str| format!("{service}.{namespace}.svc.{}.", zone.domain);
    match labels.as_slice() {
        [] => asked.apex(),
        ["svc"] | ["pod"] | ["dns"] => Answer::Records(vec![]),
        ["ns", "dns"] => {
            let address = entry(DNS_SERVICE, DNS_NAMESPACE).and_then(|dns| dns.cluster_ip);
            address.map_or(Answer::NoSuchName, |ip| asked.addresses(&[ip]))
        }
        ["dns-version"] => match asked.kind {
            RecordType::TXT => asked.one(SCHEMA_TTL, RData::TXT(TXT::new(vec![SCHEMA.to_string()]))),
            _ => Answer::Records(vec![]),
        },
        [namespace, "svc" | "pod"] if zone.namespaces.contains(*namespace) => Answer::Records(vec![]),
        [dashed, namespace, "pod"] if zone.namespaces.contains(*namespace) => asked.pod(dashed),
        [service, namespace, "svc"] => match entry(service, namespace) {
            Some(entry) => asked.service(entry, &base(service, namespace)),
            None => Answer::NoSuchName,
        },
        [port, protocol, service, namespace, "svc"] if port.starts_with('_') && protocol.starts_with('_') => {
            match entry(service, namespace) {
                Some(entry) => asked.port(entry, &format!("{port}.{protocol}"), &base(service, namespace)),
                None => Answer::NoSuchName,
            }
        }
        [host, service, namespace, "svc"] => match entry(service, namespace) {
            Some(entry) => asked.host(entry, host, &base(service, namespace)),
            None => Answer::NoSuchName,
        },
        _ => Answer::NoSuchName,
    }
}

/// A question about a name of the cluster.
struct Asked<'a> {
    zone: &'a Zone,
    name: &'a Name,
    kind: RecordType,
    /// Bytes of the message.
    room: usize,
    /// A random number.
    chance: usize,
}

impl Asked<'_> {
    fn one(&self, ttl: u32, data: RData) -> Answer {
        Answer::Records(vec![Record::from_rdata(self.name.clone(), ttl, data)])
    }

    /// Answers for a name with these IPv4 addresses and no others. The answer begins with any of
    /// them, as with CoreDNS' `loadbalance`: most clients take the first, and one pod would have
    /// the load of all. The beginning is chosen before the answer is cut to the message: 512 bytes
    /// have room for some 30 addresses, and those behind would never be answered over UDP.
    ///
    /// A number that counts the messages would begin with the same address for ever where clients
    /// ask for A and AAAA in turn, as glibc and musl do.
    ///
    /// ```text
    /// a, b, c and d, room for two, chance 0  ->  a, b
    /// the same, chance 3                     ->  d, a
    /// ```
    fn addresses(&self, all: &[Ipv4Addr]) -> Answer {
        if self.kind != RecordType::A {
            return Answer::Records(vec![]);
        }
        let (before, first) = all.split_at(self.chance.checked_rem(all.len()).unwrap_or(0));
        let own = |ip: &Ipv4Addr| Record::from_rdata(self.name.clone(), TTL, RData::A(A(*ip)));
        let most = most_records(self.room, size_of::<Ipv4Addr>());
        Answer::Records(first.iter().chain(before).take(most).map(own).collect())
    }

    /// Answers for an address with dashes, `10-244-1-2` or `fd00--1`. Whether a pod has it is not
    /// looked up, as with `pods insecure` in kubeadm's Corefile.
    fn pod(&self, dashed: &str) -> Answer {
        if let Ok(ip) = dashed.replace('-', ".").parse::<Ipv4Addr>() {
            return self.addresses(&[ip]);
        }
        match (dashed.replace('-', ":").parse::<Ipv6Addr>(), self.kind) {
            (Err(_), _) => Answer::NoSuchName,
            (Ok(ip), RecordType::AAAA) => self.one(TTL, RData::AAAA(AAAA(ip))),
            (Ok(_), _) => Answer::Records(vec![]),
        }
    }

    /// Answers for the domain itself.
    fn apex(&self) -> Answer {
        let domain = &self.zone.domain;
        match self.kind {
            RecordType::SOA => Answer::Records(authority(self.zone, self.name).into_iter().collect()),
            RecordType::NS => match Name::from_ascii(format!("ns.dns.{domain}.")) {
                Ok(server) => self.one(TTL, RData::NS(NS(server))),
                Err(_) => Answer::Records(vec![]),
            },
            _ => Answer::Records(vec![]),
        }
    }

    fn service(&self, entry: &Entry, base: &str) -> Answer {
        if let Some(external) = &entry.external_name {
            // An address is no name; CoreDNS leaves out such a service, too.
            let is_address = external.parse::<IpAddr>().is_ok();
            let target = Name::from_ascii(format!("{}.", external.trim_end_matches('.')));
            let (Ok(target), false) = (target, is_address) else { return Answer::NoSuchName };
            return match self.kind {
                RecordType::A | RecordType::AAAA | RecordType::CNAME => {
                    self.one(TTL, RData::CNAME(CNAME(target)))
                }
                // RFC 1034, 4.3.2, has the CNAME for every type. CoreDNS has nothing for others:
                // `Services` in its plugin/kubernetes answers TXT itself, and takes CNAMEs out of
                // answers to SRV.
                _ => Answer::Records(vec![]),
            };
        }
        match (entry.cluster_ip, self.kind) {
            // A headless service without endpoints does not exist.
            (None, _) if entry.addresses.is_empty() => Answer::NoSuchName,
            (None, RecordType::SRV) => {
                let slices = entry.slices.iter().filter(|slice| !slice.ports.is_empty());
                self.srv(base, slices.flat_map(of_endpoints))
            }
            (Some(_), RecordType::SRV) => self.srv(base, entry.ports.iter().map(|(.., port)| (*port, None))),
            (None, _) => self.addresses(&entry.addresses),
            (Some(ip), _) => self.addresses(&[ip]),
        }
    }

    /// Answers for a port, `_http._tcp`: of a headless service as its slices have it. Where a named
    /// `targetPort` is missing in a pod, its endpoint does not have the port.
    fn port(&self, entry: &Entry, called: &str, base: &str) -> Answer {
        if entry.external_name.is_some() {
            return Answer::NoSuchName; // it has no ports, whatever its type was before
        }
        if entry.cluster_ip.is_some() {
            let port = entry.named.get(called).and_then(|place| entry.ports.get(*place));
            return match (port, self.kind) {
                (None, _) => Answer::NoSuchName,
                (Some((.., port)), RecordType::SRV) => self.srv(base, [(*port, None)].into_iter()),
                _ => Answer::Records(vec![]),
            };
        }
        let slices =
            entry.slices.iter().filter_map(|slice| Some((*slice.ports.get(called)?, &slice.endpoints)));
        let mut each = slices
            .flat_map(|(port, all)| all.iter().map(move |(host, _)| (port, Some(host.as_str()))))
            .peekable();
        match (each.peek(), self.kind) {
            (None, _) => Answer::NoSuchName,
            (_, RecordType::SRV) => self.srv(base, each),
            _ => Answer::Records(vec![]),
        }
    }

    /// Answers for one endpoint. The EndpointSlices of a Service stay when its type becomes
    /// ExternalName, and are not answered from then, as in CoreDNS.
    fn host(&self, entry: &Entry, name: &str, base: &str) -> Answer {
        if entry.external_name.is_some() {
            return Answer::NoSuchName;
        }
        let Some(host) = entry.hosts.get(name) else { return Answer::NoSuchName };
        if self.kind != RecordType::SRV {
            return self.addresses(&host.addresses);
        }
        let slices = host.slices.iter().filter_map(|at| entry.slices.get(*at));
        self.srv(base, slices.flat_map(|slice| slice.ports.values().map(|port| (*port, Some(name)))))
    }

    /// SRV records for ports of a service itself, or of its endpoints with a host name. They share
    /// a weight of [`WEIGHTS`], as in CoreDNS: two records have 50 each. A target has each number
    /// once, also where ports over TCP and UDP have the same or endpoints the same host name (RFC
    /// 2181, 5); what is left out counts for the weights, as in CoreDNS.
    ///
    /// ```text
    /// 5000 ports, 10 endpoints, 512 bytes, base db.default.svc.cluster.local.
    ///   ->  512 / (12 + 6 + 29) + 1 = 11 records, not 50,000
    /// 53/UDP and 53/TCP  ->  0 50 53, once
    /// ```
    fn srv<'h>(&self, base: &str, ports: impl Iterator<Item = (u16, Option<&'h str>)>) -> Answer {
        // Priority, weight and port take six bytes, and the target is written in full (RFC 2782).
        let most = most_records(self.room, 6 + base.len());
        let (mut count, mut seen, mut found) = (0, HashSet::new(), Vec::new());
        for port in ports.take(RECORDS_MAX) {
            count += 1;
            if found.len() < most && seen.insert(port) {
                found.push(port);
            } else if found.len() == most && count >= WEIGHTS {
                break; // what follows changes nothing
            }
        }
        let share = u16::try_from(WEIGHTS / count.max(1)).unwrap_or(1).max(1);
        let record = |(number, host): (u16, Option<&str>)| {
            let target = host.map_or(base.to_string(), |host| format!("{host}.{base}"));
            let service = SRV::new(0, share, number, Name::from_ascii(target).ok()?);
            Some(Record::from_rdata(self.name.clone(), TTL, RData::SRV(service)))
        };
        Answer::Records(found.into_iter().filter_map(record).collect())
    }

    /// Answers a reverse lookup. `reverse` is the name without `.in-addr.arpa`: `10.0.96.10` asks
    /// for 10.96.0.10.
    fn pointer(&self, reverse: &str) -> Answer {
        let octets: Vec<&str> = reverse.split('.').rev().collect();
        let Ok(ip) = octets.join(".").parse::<Ipv4Addr>() else { return Answer::Forward };
        if let Some(names) = self.zone.addresses.get(&ip) {
            if self.kind != RecordType::PTR {
                return Answer::Records(vec![]);
            }
            let own = |target| Record::from_rdata(self.name.clone(), TTL, RData::PTR(PTR(target)));
            let targets = names.iter().filter_map(|name| Name::from_ascii(name).ok());
            return Answer::Records(targets.take(most_records(self.room, POINTER_LEN)).map(own).collect());
        }
        let [a, b, ..] = ip.octets();
        // Addresses of pods (10.244.0.0/16) and of services (10.96.0.0/12) that have no record get
        // NXDOMAIN, or SERVFAIL as long as nothing is known of the cluster. They are not forwarded:
        // these ranges are private to the cluster, and an upstream server could only answer for a
        // network of the same addresses elsewhere.
        if (a, b) == (10, 244) || (a == 10 && (96..112).contains(&b)) {
            Answer::NoSuchName
        } else {
            Answer::Forward
        }
    }
}

/// Returns the ports of a slice's endpoints, each with its host name.
fn of_endpoints(slice: &Slice) -> impl Iterator<Item = (u16, Option<&str>)> {
    let each = slice.endpoints.iter();
    each.flat_map(|(host, _)| slice.ports.values().map(|port| (*port, Some(host.as_str()))))
}

/// Returns how many records of `data` bytes each are made for a message of `room` bytes: one more
/// than fits, so that the message is cut there and says so, as it would with all of them.
fn most_records(room: usize, data: usize) -> usize {
    room / (RECORD_MIN + data) + 1
}

/// Returns the SOA record of the zone that a name is in: the domain, or that of reverse names. The
/// record of another zone says nothing about the name, and a resolver does not keep the answer (RFC
/// 2308, 3). Its last number is how long a negative answer may be kept.
pub(super) fn authority(zone: &Zone, name: &Name) -> Option<Record> {
    let reverse = Name::from_ascii(REVERSE_ZONE).ok()?;
    let own = if reverse.zone_of(name) { REVERSE_ZONE } else { zone.domain.as_str() };
    let below = |label: &str| Name::from_ascii(format!("{label}{own}.")).ok();
    let soa = SOA::new(below("ns.dns.")?, below("hostmaster.")?, 1, 7200, 1800, 86400, TTL);
    Some(Record::from_rdata(below("")?, TTL, RData::SOA(soa)))
}
