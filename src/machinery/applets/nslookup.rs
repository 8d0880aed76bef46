//! `nslookup [-type=TYPE] NAME [SERVER[:PORT]]`, in busybox' format.

use super::procs::printable;
use super::resolve::{Config, Failure, addresses};
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};

const USAGE: &str = "Usage: nslookup [-type=QUERY_TYPE] [-debug] HOST [DNS_SERVER[:PORT]]";

pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let mut kinds = vec![RecordType::A, RecordType::AAAA];
    let mut words = Vec::new();
    let mut typed = false;
    for arg in crate::arguments_as_text(args) {
        match arg.strip_prefix('-').map(|option| option.split_once('=').unwrap_or((option, ""))) {
            Some(("type" | "query" | "querytype" | "q", kind)) => match kind.to_uppercase().parse() {
                Ok(kind) => (kinds, typed) = (vec![kind], true),
                Err(_) => {
                    eprintln!("nslookup: invalid query type \"{kind}\"");
                    return 1;
                }
            },
            Some(("debug" | "", _)) => {}
            Some(_) => {
                eprintln!("{USAGE}");
                return 1;
            }
            None => words.push(arg),
        }
    }
    let (name, server) = match &words[..] {
        [name] => (name, None),
        [name, server] => (name, Some(server)),
        _ => {
            eprintln!("{USAGE}");
            return 1;
        }
    };
    let mut config = Config::load();
    if let Some(server) = server {
        match server_address(server) {
            Ok(address) => config.servers = vec![address],
            Err(e) => {
                eprintln!("nslookup: can't resolve '{server}': {e}");
                return 1;
            }
        }
    }
    let server = config.servers[0];
    print!("Server:\t\t{}\nAddress:\t{server}\n\n", server.ip());
    let (text, code) = look_up(&config, name, &kinds, typed);
    print!("{text}");
    code
}

fn server_address(text: &str) -> Result<SocketAddr, Failure> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let (host, port) = match text.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) if !host.contains(':') => (host, port),
        _ => (text, 53),
    };
    let ip = addresses(host, None)?;
    ip.first().map(|ip| SocketAddr::new(*ip, port)).ok_or(Failure::NoData)
}

/// Returns what is printed, and the exit code.
fn look_up(config: &Config, name: &str, kinds: &[RecordType], typed: bool) -> (String, i32) {
    if let (Ok(ip), false) = (name.parse::<IpAddr>(), typed) {
        let reverse = reverse_name(ip);
        return report(
            &reverse,
            config.ask(&reverse, RecordType::PTR, None).map(|answer| (reverse.clone(), answer)),
        );
    }
    let (first, rest) = kinds.split_first().unwrap_or((&RecordType::A, &[]));
    let found = config.search(name, *first, None);
    // The other kinds are asked about the name that the first one found.
    let full = found.as_ref().map(|(full, _)| full.clone()).ok();
    let (mut text, mut code) = report(name, found);
    for kind in rest {
        let more = match &full {
            Some(full) => config.ask(full, *kind, None).map(|answer| (full.clone(), answer)),
            None => config.search(name, *kind, None),
        };
        if let Ok(found) = more {
            let (others, _) = report(name, Ok(found));
            text = if code == 0 { text + &others } else { others };
            code = 0;
        }
    }
    (text, code)
}

fn report(name: &str, found: Result<(String, Message), Failure>) -> (String, i32) {
    match found {
        Ok((_, answer)) => (describe(&answer) + "\n", 0),
        Err(Failure::NoData) => (format!("*** Can't find {name}: No answer\n\n"), 1),
        Err(e @ Failure::Timeout) => (format!(";; {e}\n\n"), 1),
        Err(e) => (format!("** server can't find {name}: {e}\n\n"), 1),
    }
}

fn describe(answer: &Message) -> String {
    answer.answers.iter().map(|record| format_record(record) + "\n").collect()
}

/// Returns a record's line; that of an SOA record has further ones below it.
fn format_record(record: &Record) -> String {
    let plain = |name: &Name| name.to_ascii().trim_end_matches('.').to_string();
    let name = plain(&record.name);
    match &record.data {
        RData::A(ip) => format!("Name:\t{name}\nAddress: {ip}"),
        RData::AAAA(ip) => format!("Name:\t{name}\nAddress: {ip}"),
        RData::CNAME(target) => format!("{name}\tcanonical name = {}", plain(&target.0)),
        RData::PTR(target) => format!("{name}\tname = {}", plain(&target.0)),
        RData::NS(target) => format!("{name}\tnameserver = {}", plain(&target.0)),
        RData::SRV(srv) => {
            let target = plain(&srv.target);
            format!("{name}\tservice = {} {} {} {target}", srv.priority, srv.weight, srv.port)
        }
        RData::MX(mx) => format!("{name}\tmail exchanger = {} {}", mx.preference, plain(&mx.exchange)),
        // busybox shows the first text alone.
        RData::TXT(txt) => {
            let text = |bytes: &[u8]| format!(" \"{}\"", printable(&String::from_utf8_lossy(bytes)));
            format!("{name}\ttext ={}", txt.txt_data.iter().map(|bytes| text(bytes)).collect::<String>())
        }
        RData::SOA(soa) => format!(
            "{name}\n\torigin = {}\n\tmail addr = {}\n\tserial = {}\n\trefresh = {}\n\tretry = {}\n\t\
             expire = {}\n\tminimum = {}",
            plain(&soa.mname),
            plain(&soa.rname),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum
        ),
        // A text may hold escape sequences.
        other => format!("{name}\t{} = {}", record.record_type(), printable(&other.to_string())),
    }
}

/// `10.0.96.10.in-addr.arpa` for 10.96.0.10.
fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let nibbles: Vec<String> = nibbles.map(|n| format!("{n:x}")).collect();
            format!("{}.ip6.arpa", nibbles.join("."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{MX, SOA, TXT};

    #[test]
    fn addresses_are_asked_backwards() {
        assert_eq!(reverse_name("10.96.0.1".parse().unwrap()), "1.0.96.10.in-addr.arpa");
        assert!(reverse_name("::1".parse().unwrap()).starts_with("1.0.0."));
    }

    fn shown(data: RData) -> String {
        let mut answer = Message::query();
        answer.answers = vec![Record::from_rdata(Name::from_ascii("x.").unwrap(), 5, data)];
        describe(&answer)
    }

    #[test]
    fn a_text_does_not_steer_the_terminal() {
        let shown = shown(RData::TXT(TXT::new(vec!["a\x1b[2J\nb".to_string()])));
        assert!(shown.starts_with("x\ttext = ") && shown.contains("a [2J b"), "{shown}");
        assert_eq!(shown.lines().count(), 1);
    }

    #[test]
    fn records_are_shown_as_busybox_does() {
        let name = |text| Name::from_ascii(text).unwrap();
        let texts = ["a b", "c"].map(str::to_string).to_vec();
        assert_eq!(shown(RData::TXT(TXT::new(texts))), "x\ttext = \"a b\" \"c\"\n");
        assert_eq!(shown(RData::MX(MX::new(10, name("mail.x.")))), "x\tmail exchanger = 10 mail.x\n");
        assert_eq!(
            shown(RData::SOA(SOA::new(name("ns.x."), name("host.x."), 1, 2, 3, 4, 5))),
            "x\n\torigin = ns.x\n\tmail addr = host.x\n\tserial = 1\n\trefresh = 2\n\tretry = 3\n\texpire = 4\n\t\
             minimum = 5\n"
        );
    }

    #[test]
    fn a_missing_name_is_reported_as_by_busybox() {
        let (text, code) = report("nope.default", Err(Failure::NoSuchName));
        assert_eq!((text.as_str(), code), ("** server can't find nope.default: NXDOMAIN\n\n", 1));
        assert!(report("x", Err(Failure::Timeout)).0.starts_with(";; connection timed out; no servers"));
    }
}
