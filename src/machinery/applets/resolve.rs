//! Names to addresses, without the C library: its static form would load plugins at run time.
//! /etc/hosts, then the servers of /etc/resolv.conf over UDP (and TCP for answers that were cut),
//! with `search` and `ndots` as resolv.conf(5) describes.

use super::deadline::Deadline;
use clock::Instant;
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use rng::Rng;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// What /etc/resolv.conf says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub servers: Vec<SocketAddr>,
    pub search: Vec<String>,
    /// Names with fewer dots are tried with `search` first.
    pub ndots: usize,
    /// How long one question to one server may take.
    pub timeout: Duration,
    pub attempts: u32,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("NXDOMAIN")]
    NoSuchName,
    /// The name exists, but not with this kind of record.
    #[error("No answer")]
    NoData,
    #[error("{0}")]
    Refused(String),
    #[error("connection timed out; no servers could be reached")]
    Timeout,
    #[error("bad name")]
    BadName,
}

impl Config {
    pub(crate) fn load() -> Config {
        Config::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    }

    fn parse(text: &str) -> Config {
        let mut config = Config {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["nameserver", address, ..] => {
                    config.servers.extend(address.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53)));
                }
                ["search" | "domain", ..] => {
                    config.search = words[1..].iter().map(|d| d.trim_end_matches('.').to_string()).collect();
                }
                ["options", ..] => words[1..].iter().for_each(|option| config.apply_option(option)),
                _ => {}
            }
        }
        if config.servers.is_empty() {
            config.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        config
    }

    fn apply_option(&mut self, option: &str) {
        match option.split_once(':').map(|(name, value)| (name, value.parse::<u64>())) {
            Some(("ndots", Ok(dots))) => self.ndots = dots.min(15) as usize,
            Some(("timeout", Ok(seconds))) => self.timeout = Duration::from_secs(seconds.clamp(1, 30)),
            Some(("attempts", Ok(count))) => self.attempts = count.clamp(1, 5) as u32,
            _ => {}
        }
    }

    /// Returns the full names to try for `name`, in order.
    pub(crate) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_string()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{name}.{domain}")).collect();
        let dots = name.matches('.').count();
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, name.to_string());
        names
    }

    /// Asks for `name` just as it is, all servers in turn.
    pub(crate) fn ask(
        &self,
        name: &str,
        kind: RecordType,
        deadline: Option<Instant>,
    ) -> Result<Message, Failure> {
        let mut failure = Failure::Timeout;
        for _ in 0..self.attempts {
            for server in &self.servers {
                match ask_one(*server, name, kind, self.time_left(deadline)?) {
                    Err(Failure::Timeout) => {}
                    Err(e @ Failure::Refused(_)) => failure = e,
                    answer => return answer,
                }
            }
        }
        Err(failure)
    }

    fn time_left(&self, deadline: Option<Instant>) -> Result<Duration, Failure> {
        let left = deadline.map_or(self.timeout, |at| at.saturating_duration_since(Instant::now()));
        if left.is_zero() { Err(Failure::Timeout) } else { Ok(left.min(self.timeout)) }
    }

    /// Returns the first candidate that exists, and the answer about it.
    pub(crate) fn search(
        &self,
        name: &str,
        kind: RecordType,
        deadline: Option<Instant>,
    ) -> Result<(String, Message), Failure> {
        let mut failure = Failure::NoSuchName;
        for candidate in self.candidates(name) {
            match self.ask(&candidate, kind, deadline) {
                Ok(answer) => return Ok((candidate, answer)),
                Err(Failure::NoSuchName) => {}
                Err(e @ (Failure::Timeout | Failure::BadName)) => return Err(e),
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }
}

/// A kind of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn of(ip: &IpAddr) -> Family {
        if ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

impl Config {
    /// Returns the addresses of a name that servers know. Without a `family` IPv4 is asked for, and
    /// IPv6 if there is none: such an answer may have an alias in it and no address.
    fn addresses(
        &self,
        host: &str,
        family: Option<Family>,
        deadline: Option<Instant>,
    ) -> Result<Vec<IpAddr>, Failure> {
        let ask = |kind| match self.search(host, kind, deadline).map(|(_, answer)| addresses_of(&answer)) {
            Ok(found) if found.is_empty() => Err(Failure::NoData),
            found => found,
        };
        match family {
            Some(Family::V4) => ask(RecordType::A),
            Some(Family::V6) => ask(RecordType::AAAA),
            None => match ask(RecordType::A) {
                Err(Failure::NoData | Failure::NoSuchName) => ask(RecordType::AAAA),
                found => found,
            },
        }
    }
}

/// Asks one server one question.
fn ask_one(server: SocketAddr, name: &str, kind: RecordType, wait: Duration) -> Result<Message, Failure> {
    let full_name =
        Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).map_err(|_| Failure::BadName)?;
    let mut request = Message::query();
    // Hard to guess, so that an answer is hard to forge.
    request.metadata.id = Rng::from_os().range(0, 0xffff) as u16;
    request.metadata.recursion_desired = true;
    request.add_query(Query::query(full_name, kind));
    let bytes = request.to_vec().map_err(|_| Failure::BadName)?;
    let mut answer = over_udp(server, &bytes, wait).map_err(|_| Failure::Timeout)?;
    if answer.metadata.truncation {
        answer = over_tcp(server, &bytes, wait).map_err(|_| Failure::Timeout)?;
    }
    match answer.metadata.response_code {
        ResponseCode::NoError if answer.answers.is_empty() => Err(Failure::NoData),
        ResponseCode::NoError => Ok(answer),
        ResponseCode::NXDomain => Err(Failure::NoSuchName),
        ResponseCode::ServFail => Err(Failure::Refused("SERVFAIL".into())),
        ResponseCode::Refused => Err(Failure::Refused("REFUSED".into())),
        other => Err(Failure::Refused(other.to_string())),
    }
}

fn over_udp(server: SocketAddr, request: &[u8], wait: Duration) -> io::Result<Message> {
    let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(server)?;
    socket.send(request)?;
    let end = Instant::now() + wait;
    let mut buffer = [0; 4096];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            received => received?,
        };
        // Another question's answer is not ours.
        if let Ok(answer) = Message::from_vec(&buffer[..length])
            && request.starts_with(&answer.metadata.id.to_be_bytes())
        {
            return Ok(answer);
        }
    }
}

/// Asks over TCP. `wait` is for all of it: a server that sends byte by byte does not stretch it.
fn over_tcp(server: SocketAddr, request: &[u8], wait: Duration) -> io::Result<Message> {
    let deadline = Deadline::new(Some(wait));
    let mut stream = TcpStream::connect_timeout(&server, wait)?;
    stream.set_write_timeout(deadline.left()?)?;
    let length = (request.len() as u16).to_be_bytes();
    stream.write_all(&[&length[..], request].concat())?;
    let mut length = [0; 2];
    read_exact_until(&mut stream, &mut length, &deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_exact_until(&mut stream, &mut answer, &deadline)?;
    let answer = Message::from_vec(&answer);
    let answer = answer.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
    match request.starts_with(&answer.metadata.id.to_be_bytes()) {
        true => Ok(answer),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to another question")),
    }
}

fn read_exact_until(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: &Deadline) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(deadline.left()?)?;
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = &mut buffer[count..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Returns the addresses in an answer. The server has followed the aliases.
pub(crate) fn addresses_of(answer: &Message) -> Vec<IpAddr> {
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
        _ => None,
    };
    answer.answers.iter().filter_map(|record| address(&record.data)).collect()
}

/// Returns the addresses of a host: it may be an address, stand in /etc/hosts, or be known to a
/// server. IPv4 comes first.
pub(crate) fn addresses(host: &str, deadline: Option<Instant>) -> Result<Vec<IpAddr>, Failure> {
    family_addresses(host, None, deadline)
}

/// Returns the addresses of a host, as [`addresses`] finds them, of one kind only if there is a
/// `family`. A host that is an address is returned whatever its kind is: no other one can be found.
pub(crate) fn family_addresses(
    host: &str,
    family: Option<Family>,
    deadline: Option<Instant>,
) -> Result<Vec<IpAddr>, Failure> {
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(vec![address]);
    }
    let is_wanted = |ip: &IpAddr| family.is_none_or(|family| Family::of(ip) == family);
    let mut known = from_hosts(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), host);
    known.retain(is_wanted);
    if known.is_empty() && is_loopback_name(host) {
        known = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        known.retain(is_wanted);
    }
    match known.is_empty() {
        true => Config::load().addresses(host, family, deadline),
        false => Ok(known),
    }
}

/// Returns whether a name is `localhost` or ends in `.localhost`: no server is asked for those (RFC
/// 6761, 6.3).
fn is_loopback_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

/// Returns the addresses that /etc/hosts gives a name, IPv4 first.
fn from_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
        })
        .collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n\
                       options ndots:5 timeout:2\n";

    #[test]
    fn a_pods_names_are_searched_first() {
        let config = Config::parse(POD);
        assert_eq!(config.servers, ["10.96.0.10:53".parse().unwrap()]);
        assert_eq!((config.ndots, config.timeout), (5, Duration::from_secs(2)));
        assert_eq!(config.candidates("web")[..2], ["web.shop.svc.cluster.local", "web.svc.cluster.local"]);
        assert_eq!(config.candidates("web").last().map(String::as_str), Some("web"));
        assert_eq!(config.candidates("a.b."), ["a.b"]);
        assert_eq!(Config::parse("search x.y\n").candidates("a.b")[0], "a.b");
    }

    #[test]
    fn the_hosts_file_comes_before_servers() {
        let hosts = "# kubelet\n127.0.0.1 localhost\n::1 two\n10.244.1.3\tweb-0.web.shop.svc web-0 two\n";
        assert_eq!(from_hosts(hosts, "WEB-0"), ["10.244.1.3".parse::<IpAddr>().unwrap()]);
        assert_eq!(from_hosts(hosts, "two").len(), 2);
        assert!(from_hosts(hosts, "two")[0].is_ipv4());
        assert!(from_hosts(hosts, "web").is_empty());
    }

    #[test]
    fn a_server_that_sends_byte_by_byte_does_not_stretch_the_wait() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut stream, _) = server.accept().unwrap();
                stream.write_all(&[0xff, 0xff]).unwrap();
                // Faster than the wait of one read, and long after all of it; until the client
                // goes.
                while stream.write_all(&[0]).is_ok() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
            assert!(over_tcp(address, &[0, 1], Duration::from_millis(100)).is_err());
        });
    }

    #[test]
    fn an_alias_of_a_name_with_ipv6_only_is_followed() {
        use hickory_proto::rr::{Record, rdata};
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let config = Config { servers: vec![server.local_addr().unwrap()], ..Config::parse("") };
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            for _ in 0..2 {
                let (length, from) = server.recv_from(&mut buffer).unwrap();
                let mut answer = Message::from_vec(&buffer[..length]).unwrap();
                answer.metadata.message_type = hickory_proto::op::MessageType::Response;
                let (name, kind) = (answer.queries[0].name().clone(), answer.queries[0].query_type());
                let other = Name::from_ascii("other.local.").unwrap();
                let alias = RData::CNAME(rdata::CNAME(other.clone()));
                answer.answers = vec![Record::from_rdata(name, 5, alias)];
                if kind == RecordType::AAAA {
                    let address = RData::AAAA(rdata::AAAA("fd00::7".parse().unwrap()));
                    answer.answers.push(Record::from_rdata(other, 5, address));
                }
                server.send_to(&answer.to_vec().unwrap(), from).unwrap();
            }
        });
        assert_eq!(config.addresses("web.local.", None, None).ok(), Some(vec!["fd00::7".parse().unwrap()]));
        thread.join().unwrap();
    }

    #[test]
    fn only_the_wanted_kind_of_address_is_asked_for() {
        use hickory_proto::rr::{Record, rdata};
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let config = Config { servers: vec![server.local_addr().unwrap()], ..Config::parse("") };
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            for _ in 0..3 {
                let (length, from) = server.recv_from(&mut buffer).unwrap();
                let mut answer = Message::from_vec(&buffer[..length]).unwrap();
                answer.metadata.message_type = hickory_proto::op::MessageType::Response;
                let (name, kind) = (answer.queries[0].name().clone(), answer.queries[0].query_type());
                let address = match kind {
                    RecordType::AAAA => RData::AAAA(rdata::AAAA("fd00::7".parse().unwrap())),
                    _ => RData::A(rdata::A(Ipv4Addr::new(10, 0, 0, 7))),
                };
                answer.answers = vec![Record::from_rdata(name, 5, address)];
                server.send_to(&answer.to_vec().unwrap(), from).unwrap();
            }
        });
        for (family, address) in
            [(Some(Family::V6), "fd00::7"), (Some(Family::V4), "10.0.0.7"), (None, "10.0.0.7")]
        {
            let found = config.addresses("web.local.", family, None);
            assert_eq!(found.ok(), Some(vec![address.parse().unwrap()]), "{family:?}");
        }
        thread.join().unwrap();
    }

    #[test]
    fn names_below_localhost_are_this_host() {
        let found = |host: &str, family| family_addresses(host, family, None).unwrap();
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        assert_eq!(found("shop.test.localhost", None), both);
        assert_eq!(found("shop.LocalHost.", Some(Family::V6)), both[1..]);
        assert_eq!(found("localhost", Some(Family::V6)), both[1..]);
        assert!(!is_loopback_name("localhost.shop") && !is_loopback_name("mylocalhost"));
    }

    #[test]
    fn a_server_is_asked_and_believed_only_with_our_number() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            let mut answer = Message::from_vec(&buffer[..length]).unwrap();
            answer.metadata.message_type = hickory_proto::op::MessageType::Response;
            let name = answer.queries[0].name().clone();
            let data = |last| RData::A(hickory_proto::rr::rdata::A(Ipv4Addr::new(10, 0, 0, last)));
            let right = answer.metadata.id;
            for (id, last) in [(right.wrapping_add(1), 66), (right, 7)] {
                answer.metadata.id = id;
                answer.answers = vec![hickory_proto::rr::Record::from_rdata(name.clone(), 5, data(last))];
                server.send_to(&answer.to_vec().unwrap(), from).unwrap();
            }
        });
        let answer = ask_one(address, "web.local", RecordType::A, Duration::from_secs(5)).unwrap();
        assert_eq!(addresses_of(&answer), ["10.0.0.7".parse::<IpAddr>().unwrap()]);
        thread.join().unwrap();
    }
}
