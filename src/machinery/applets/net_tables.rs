//! `ip`, `ifconfig` and `netstat`: what the pod's network looks like. Of changes `ip` makes those
//! of interfaces: `link add`, `link set up`, `link del`.

use super::reason;
use nlink::blocking::Connection;
use nlink::netlink::Route;
use nlink::netlink::link::{BridgeLink, DummyLink, VethLink};
use nlink::netlink::messages::{AddressMessage, LinkMessage, NeighborMessage, RouteMessage};
use nlink::netlink::types::addr::Scope;
use nlink::netlink::types::link::OperState;
use nlink::netlink::types::neigh::NeighborState;
use nlink::netlink::types::route::{RouteScope, RouteType};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

fn texts(args: Vec<OsString>) -> Vec<String> {
    args.into_iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect()
}

/// Everything about interfaces that is shown.
struct Network {
    links: Vec<LinkMessage>,
    addresses: Vec<AddressMessage>,
    routes: Vec<RouteMessage>,
    neighbors: Vec<NeighborMessage>,
}

impl Network {
    fn read() -> nlink::Result<Network> {
        let connection = Connection::<Route>::new()?;
        connection.run(|c| {
            Box::pin(async move {
                Ok(Network {
                    links: c.get_links().await?,
                    addresses: c.get_addresses().await?,
                    routes: c.get_routes().await?,
                    neighbors: c.get_neighbors().await?,
                })
            })
        })
    }

    fn name(&self, index: u32) -> String {
        let link = self.links.iter().find(|l| l.ifindex() == index);
        link.map_or(format!("if{index}"), |l| l.name_or("?").to_string())
    }

    fn addresses_of(&self, link: &LinkMessage, family: Option<bool>) -> Vec<&AddressMessage> {
        let fits =
            |a: &&AddressMessage| a.ifindex() == link.ifindex() && family.is_none_or(|v4| a.is_ipv4() == v4);
        self.addresses.iter().filter(fits).collect()
    }
}

const FLAGS: [(u32, &str); 8] = [
    (libc::IFF_LOOPBACK as u32, "LOOPBACK"),
    (libc::IFF_BROADCAST as u32, "BROADCAST"),
    (libc::IFF_POINTOPOINT as u32, "POINTOPOINT"),
    (libc::IFF_MULTICAST as u32, "MULTICAST"),
    (libc::IFF_NOARP as u32, "NOARP"),
    (libc::IFF_PROMISC as u32, "PROMISC"),
    (libc::IFF_UP as u32, "UP"),
    (0x10000, "LOWER_UP"),
];

fn flags(link: &LinkMessage) -> String {
    let mut names: Vec<&str> = FLAGS.iter().filter(|(bit, _)| link.flags() & bit != 0).map(|f| f.1).collect();
    if link.flags() & libc::IFF_UP as u32 != 0 && link.flags() & 0x10000 == 0 {
        names.insert(0, "NO-CARRIER");
    }
    names.join(",")
}

fn hardware(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.filter(|b| !b.is_empty()).unwrap_or(&[0; 6]);
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::Universe => "global",
        Scope::Site => "site",
        Scope::Link => "link",
        Scope::Host => "host",
        _ => "nowhere",
    }
}

/// What follows `ip`.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    object: Object,
    /// `-4` is true, `-6` false.
    family: Option<bool>,
    brief: bool,
    /// `-o`: one line for each address or link, `\` where a line would end.
    oneline: bool,
    device: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Address,
    Link,
    Route,
    Neighbor,
}

const IP_USAGE: &str = "Usage: ip [-4|-6] [-br|-o] {address|link|route|neigh} [show [dev IFACE]]\n       \
    ip link add [name] IFACE type {dummy|bridge|veth [peer name IFACE]}\n       \
    ip link set [dev] IFACE {up|down}\n       \
    ip link del [dev] IFACE";

/// A change of the interfaces in this network namespace. The kernel refuses it without
/// CAP_NET_ADMIN.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Add(String, NewLink),
    /// Up or down.
    Set(String, bool),
    Delete(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NewLink {
    Dummy,
    Bridge,
    /// With the other end's name; without it the kernel's next free `vethN`.
    Veth(Option<String>),
}

/// Reads a change; `None`: it is none, or one that is not implemented.
fn parse_change(args: &[String]) -> Option<Change> {
    let at = args.iter().position(|a| !a.starts_with('-'))?;
    let words: Vec<&str> = args[at..].iter().map(String::as_str).collect();
    let [object, verb, rest @ ..] = words.as_slice() else { return None };
    if !"link".starts_with(object) {
        return None;
    }
    let (name, rest) = match rest {
        ["dev" | "name", name, rest @ ..] | [name, rest @ ..] => ((*name).to_string(), rest),
        [] => return None,
    };
    match (*verb, rest) {
        ("add" | "a", ["type", "dummy"]) => Some(Change::Add(name, NewLink::Dummy)),
        ("add" | "a", ["type", "bridge"]) => Some(Change::Add(name, NewLink::Bridge)),
        ("add" | "a", ["type", "veth"]) => Some(Change::Add(name, NewLink::Veth(None))),
        ("add" | "a", ["type", "veth", "peer", "name", peer] | ["type", "veth", "peer", peer]) => {
            Some(Change::Add(name, NewLink::Veth(Some((*peer).to_string()))))
        }
        ("set" | "s", ["up"]) => Some(Change::Set(name, true)),
        ("set" | "s", ["down"]) => Some(Change::Set(name, false)),
        ("del" | "delete" | "d", []) => Some(Change::Delete(name)),
        _ => None,
    }
}

/// Returns the first `vethN` that no link has, as the kernel would choose it.
fn free_veth(taken: &[LinkMessage], other: &str) -> String {
    let free = |name: &String| name != other && !taken.iter().any(|l| l.name() == Some(name));
    (0u32..).map(|n| format!("veth{n}")).find(free).unwrap_or_default()
}

fn make(change: Change) -> nlink::Result<()> {
    Connection::<Route>::new()?.run(|c| {
        Box::pin(async move {
            match change {
                Change::Add(name, NewLink::Dummy) => c.add_link(DummyLink::new(name)).await,
                Change::Add(name, NewLink::Bridge) => c.add_link(BridgeLink::new(name)).await,
                Change::Add(name, NewLink::Veth(peer)) => {
                    let peer = match peer {
                        Some(peer) => peer,
                        None => free_veth(&c.get_links().await?, &name),
                    };
                    c.add_link(VethLink::new(name, peer)).await
                }
                Change::Set(name, true) => c.set_link_up(name).await,
                Change::Set(name, false) => c.set_link_down(name).await,
                Change::Delete(name) => c.del_link(name).await,
            }
        })
    })
}

fn parse(args: &[String]) -> Result<Call, String> {
    let (mut family, mut brief, mut oneline, mut rest) = (None, false, false, args);
    while let [option, more @ ..] = rest {
        match option.as_str() {
            "-4" => family = Some(true),
            "-6" => family = Some(false),
            "-br" | "-brief" => brief = true,
            "-o" | "-oneline" => oneline = true,
            option if option.starts_with("-c") => {} // colours are for terminals
            option if option.starts_with('-') => return Err(format!("invalid argument '{option}' to 'ip'")),
            _ => break,
        }
        rest = more;
    }
    let [object, rest @ ..] = rest else { return Err(String::new()) };
    let begins = |full: &str| full.starts_with(object.as_str());
    let object = if begins("address") || object == "addr" {
        Object::Address
    } else if begins("link") {
        Object::Link
    } else if begins("route") {
        Object::Route
    } else if begins("neighbour") || begins("neighbor") {
        Object::Neighbor
    } else {
        return Err(format!("ip: object '{object}' is not implemented"));
    };
    let rest = match rest {
        [verb, rest @ ..] if ["show", "list", "ls", "s", "sh"].contains(&verb.as_str()) => rest,
        rest => rest,
    };
    let device = match rest {
        [] => None,
        [dev, name] if dev == "dev" => Some(name.clone()),
        [verb, ..] if ["add", "del", "set", "get", "flush", "replace", "change"].contains(&verb.as_str()) => {
            return Err(format!("ip: this '{verb}' is not implemented\n{IP_USAGE}"));
        }
        [name] => Some(name.clone()),
        _ => return Err(String::new()),
    };
    Ok(Call { object, family, brief, oneline, device })
}

pub(crate) fn ip(args: Vec<OsString>) -> i32 {
    let args = texts(args);
    if let Some(change) = parse_change(&args) {
        return match make(change) {
            Ok(()) => 0,
            Err(error) => {
                let why = error.errno().map(|code| reason(&std::io::Error::from_raw_os_error(code)));
                eprintln!("ip: RTNETLINK answers: {}", why.unwrap_or_else(|| error.to_string()));
                2 // as iproute2: the kernel refuses
            }
        };
    }
    let call = match parse(&args) {
        Ok(call) => call,
        Err(what) => {
            eprintln!("{}", if what.is_empty() { IP_USAGE.to_string() } else { what });
            return 1;
        }
    };
    let network = match Network::read() {
        Ok(network) => network,
        Err(e) => {
            eprintln!("ip: cannot ask the kernel: {e}");
            return 1;
        }
    };
    if let Some(device) = &call.device
        && !network.links.iter().any(|l| l.name() == Some(device))
    {
        eprintln!("ip: can't find device '{device}'");
        return 1;
    }
    print!("{}", show(&network, &call));
    0
}

fn show(network: &Network, call: &Call) -> String {
    let chosen = |index: u32| call.device.as_ref().is_none_or(|device| network.name(index) == *device);
    let mut text = String::new();
    match call.object {
        Object::Address | Object::Link => {
            for link in network.links.iter().filter(|l| chosen(l.ifindex())) {
                show_link(&mut text, network, link, call);
            }
        }
        Object::Route => {
            // Table 254 is the main one; -6 shows the other family.
            let v4 = call.family != Some(false);
            let routes = network.routes.iter().filter(|r| r.table_id() == 254 && r.is_ipv4() == v4);
            for route in routes.filter(|r| r.oif().is_none_or(chosen)) {
                show_route(&mut text, network, route);
            }
        }
        Object::Neighbor => {
            let wanted = |n: &&NeighborMessage| {
                chosen(n.ifindex())
                    && call.family.is_none_or(|v4| n.is_ipv4() == v4)
                    && n.lladdr().is_some()
                    && n.state() != NeighborState::Noarp
            };
            for neighbor in network.neighbors.iter().filter(wanted) {
                if let Some(ip) = neighbor.destination().filter(|ip| !ip.is_multicast()) {
                    let _ = writeln!(
                        text,
                        "{ip} dev {} lladdr {} {}",
                        network.name(neighbor.ifindex()),
                        hardware(neighbor.lladdr()),
                        format!("{:?}", neighbor.state()).to_uppercase(),
                    );
                }
            }
        }
    }
    text
}

/// Writing into a String cannot fail, so results are dropped here and below.
fn show_link(text: &mut String, network: &Network, link: &LinkMessage, call: &Call) {
    let index = link.ifindex();
    // The other end of a wire may be in another namespace, where its number is all that is known.
    let peer = match link.link() {
        Some(peer) if peer != index && peer != 0 => {
            match network.links.iter().find(|l| l.ifindex() == peer) {
                Some(known) if link.kind() != Some("veth") => format!("@{}", known.name_or("?")),
                _ => format!("@if{peer}"),
            }
        }
        _ => String::new(),
    };
    let name = format!("{}{peer}", link.name_or("?"));
    let state = link.operstate().unwrap_or(OperState::Unknown);
    let state = format!("{state:?}").to_uppercase();
    let addresses = network.addresses_of(link, call.family);
    if call.object == Object::Address && call.family.is_some() && addresses.is_empty() {
        return; // as iproute2
    }
    let end = if call.oneline { '\\' } else { '\n' };
    let inet = |a: &AddressMessage| {
        let ip = a.local().or(a.address()).map_or(String::new(), IpAddr::to_string);
        format!("{ip}/{}", a.prefix_len())
    };
    if call.brief {
        let what = match call.object {
            Object::Link => format!("{} <{}>", hardware(link.address()), flags(link)),
            _ => addresses.iter().map(|a| inet(a)).collect::<Vec<_>>().join(" "),
        };
        let _ = writeln!(text, "{name:<16} {state:<14} {what}");
        return;
    }
    if !(call.oneline && call.object == Object::Address) {
        let _ = write!(text, "{}", link_lines(link, &name, &state, end));
    }
    if call.object == Object::Link {
        return;
    }
    for a in addresses {
        let family = if a.is_ipv4() { "inet" } else { "inet6" };
        let broadcast = a.broadcast().map_or(String::new(), |ip| format!(" brd {ip}"));
        let label = a.label().map_or(String::new(), |label| format!(" {label}"));
        if call.oneline {
            let _ = write!(text, "{index}: {}", link.name_or("?"));
        }
        let _ = write!(text, "    {family} {}{broadcast} scope {}{label}{end}", inet(a), scope(a.scope()));
        let _ = writeln!(text, "       valid_lft forever preferred_lft forever");
    }
}

/// A link itself: two lines, or with another `end` one.
fn link_lines(link: &LinkMessage, name: &str, state: &str, end: char) -> String {
    let queue = link.txqlen().filter(|n| *n > 0).map_or(String::new(), |n| format!(" qlen {n}"));
    let kind = if link.is_loopback() { "loopback" } else { "ether" };
    let (own, all) = (hardware(link.address()), hardware(link.broadcast()));
    format!(
        "{}: {name}: <{}> mtu {} qdisc {} state {state}{queue}{end}    link/{kind} {own} brd {all}\n",
        link.ifindex(),
        flags(link),
        link.mtu().unwrap_or(0),
        link.qdisc().unwrap_or("noop"),
    )
}

fn show_route(text: &mut String, network: &Network, route: &RouteMessage) {
    match route.route_type() {
        RouteType::Unicast => {}
        other => {
            let _ = write!(text, "{} ", format!("{other:?}").to_lowercase());
        }
    }
    let destination = match route.destination() {
        None => "default".to_string(),
        Some(ip) if route.is_host() => ip.to_string(),
        Some(ip) => format!("{ip}/{}", route.dst_len()),
    };
    let _ = write!(text, "{destination}");
    if let Some(gateway) = route.gateway() {
        let _ = write!(text, " via {gateway}");
    }
    if let Some(index) = route.oif() {
        let _ = write!(text, " dev {}", network.name(index));
    }
    if route.scope() != RouteScope::Universe {
        let _ = write!(text, " scope {}", format!("{:?}", route.scope()).to_lowercase());
    }
    if let Some(source) = route.prefsrc() {
        let _ = write!(text, "  src {source}");
    }
    if let Some(metric) = route.priority() {
        let _ = write!(text, "  metric {metric}");
    }
    if route.is_onlink() {
        let _ = write!(text, " onlink");
    }
    let _ = writeln!(text, " ");
}

/// `ifconfig [-a] [IFACE]`
pub(crate) fn ifconfig(args: Vec<OsString>) -> i32 {
    let args = texts(args);
    let all = args.iter().any(|a| a == "-a");
    let names: Vec<&String> = args.iter().filter(|a| *a != "-a").collect();
    if names.len() > 1 {
        eprintln!("ifconfig: only showing is implemented\nUsage: ifconfig [-a] [IFACE]");
        return 1;
    }
    let network = match Network::read() {
        Ok(network) => network,
        Err(e) => {
            eprintln!("ifconfig: cannot ask the kernel: {e}");
            return 1;
        }
    };
    let wanted = |l: &&LinkMessage| match names.first() {
        Some(name) => l.name() == Some(name),
        None => all || l.is_up(),
    };
    let mut links: Vec<&LinkMessage> = network.links.iter().filter(wanted).collect();
    links.sort_by_key(|l| l.name().map(str::to_string));
    if let (Some(name), true) = (names.first(), links.is_empty()) {
        eprintln!("ifconfig: {name}: error fetching interface information: Device not found");
        return 1;
    }
    for link in links {
        print!("{}", describe(&network, link));
    }
    0
}

fn describe(network: &Network, link: &LinkMessage) -> String {
    let mut lines = Vec::new();
    let kind = if link.is_loopback() {
        "Link encap:Local Loopback  ".to_string()
    } else {
        format!("Link encap:Ethernet  HWaddr {}  ", hardware(link.address()).to_uppercase())
    };
    lines.push(kind);
    for a in network.addresses_of(link, None) {
        let ip = a.local().or(a.address()).map_or(String::new(), IpAddr::to_string);
        lines.push(match a.is_ipv4() {
            true => {
                let mask = u32::MAX.checked_shl(32 - u32::from(a.prefix_len())).unwrap_or(0);
                let broadcast = a.broadcast().map_or(String::new(), |b| format!("  Bcast:{b}"));
                format!("inet addr:{ip}{broadcast}  Mask:{}", Ipv4Addr::from_bits(mask))
            }
            false => {
                let scope = scope(a.scope());
                format!(
                    "inet6 addr: {ip}/{} Scope:{}{}",
                    a.prefix_len(),
                    scope[..1].to_uppercase(),
                    &scope[1..]
                )
            }
        });
    }
    let bits = [(libc::IFF_UP, "UP"), (libc::IFF_LOOPBACK, "LOOPBACK"), (libc::IFF_BROADCAST, "BROADCAST")];
    let more = [(libc::IFF_RUNNING, "RUNNING"), (libc::IFF_MULTICAST, "MULTICAST")];
    let set: Vec<&str> = bits
        .iter()
        .chain(&more)
        .filter(|(bit, _)| link.flags() & *bit as u32 != 0)
        .map(|(_, name)| *name)
        .collect();
    lines.push(format!("{}  MTU:{}  Metric:1", set.join(" "), link.mtu().unwrap_or(0)));
    if let Some(s) = link.stats() {
        lines.push(format!(
            "RX packets:{} errors:{} dropped:{} overruns:0 frame:0",
            s.rx_packets(),
            s.rx_errors(),
            s.rx_dropped()
        ));
        lines.push(format!(
            "TX packets:{} errors:{} dropped:{} overruns:0 carrier:0",
            s.tx_packets(),
            s.tx_errors(),
            s.tx_dropped()
        ));
        lines.push(format!("collisions:{} txqueuelen:{} ", s.collisions(), link.txqlen().unwrap_or(0)));
        let size = |bytes: u64| format!("{bytes} ({:.1} KiB)", bytes as f64 / 1024.0);
        lines.push(format!("RX bytes:{}  TX bytes:{}", size(s.rx_bytes()), size(s.tx_bytes())));
    }
    format!("{:<10}{}\n\n", link.name_or("?"), lines.join(&format!("\n{:10}", "")))
}

/// One line of /proc/net/tcp and its relatives.
#[derive(Debug, PartialEq, Eq)]
struct Connected {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    sending: u64,
    receiving: u64,
    inode: u64,
}

const STATES: [&str; 12] = [
    "",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
];

/// `0100007F:1F90` is 127.0.0.1:8080: words in the machine's own byte order.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<[u8; 4]>> = (0..ip.len() / 8)
        .map(|i| Some(u32::from_str_radix(ip.get(i * 8..i * 8 + 8)?, 16).ok()?.to_ne_bytes()))
        .collect();
    let bytes = words?.concat();
    let ip = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}

fn parse_sockets(table: &str) -> Vec<Connected> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (sending, receiving) = fields.get(4)?.split_once(':')?;
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        Some(Connected {
            local: parse_address(fields.get(1)?)?,
            remote: parse_address(fields.get(2)?)?,
            state: hex(fields.get(3)?)? as u8,
            sending: hex(sending)?,
            receiving: hex(receiving)?,
            inode: fields.get(9)?.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(line).collect()
}

/// Which process has which socket, as far as we may look.
fn owners() -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().into_string() else { continue };
        for fd in std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten() {
            let target = std::fs::read_link(fd.path()).unwrap_or_default();
            let inode =
                target.to_str().and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                found.insert(inode, format!("{pid}/{}", name.trim()));
            }
        }
    }
    found
}

/// `netstat [-tulnapr]`; names are never looked up.
pub(crate) fn netstat(args: Vec<OsString>) -> i32 {
    let letters: String = texts(args).iter().map(|a| a.trim_start_matches('-').to_string()).collect();
    if let Some(bad) = letters.chars().find(|c| !"tulnaprew46".contains(*c)) {
        eprintln!("netstat: unrecognized option: {bad}\nUsage: netstat [-tulnapr]");
        return 1;
    }
    let has = |letter| letters.contains(letter);
    if has('r') {
        return routes();
    }
    let both = !has('t') && !has('u');
    let wanted = if has('l') {
        "only servers"
    } else if has('a') {
        "servers and established"
    } else {
        "w/o servers"
    };
    let owners = if has('p') { owners() } else { BTreeMap::new() };
    let program = if has('p') { "PID/Program name" } else { "" };
    println!("Active Internet connections ({wanted})");
    println!("Proto Recv-Q Send-Q Local Address           Foreign Address         State       {program}");
    for (protocol, shown) in [
        ("tcp", both || has('t')),
        ("tcp6", both || has('t')),
        ("udp", both || has('u')),
        ("udp6", both || has('u')),
    ] {
        let table = std::fs::read_to_string(format!("/proc/net/{protocol}")).unwrap_or_default();
        for s in parse_sockets(&table).iter().filter(|_| shown) {
            let server = if protocol.starts_with("tcp") { s.state == 10 } else { s.remote.port() == 0 };
            if !has('a') && server != has('l') {
                continue;
            }
            let state = if protocol.starts_with("tcp") {
                STATES.get(usize::from(s.state)).unwrap_or(&"")
            } else {
                &""
            };
            let place = |a: &SocketAddr| match a.port() {
                0 => format!("{}:*", a.ip()),
                port => format!("{}:{port}", a.ip()),
            };
            let owner = owners.get(&s.inode).map_or(if has('p') { "-" } else { "" }, String::as_str);
            println!(
                "{:<5} {:>6} {:>6} {:<23} {:<23} {state:<11} {owner}",
                protocol.trim_end_matches('6'),
                s.receiving,
                s.sending,
                place(&s.local),
                place(&s.remote),
            );
        }
    }
    0
}

/// `netstat -r`.
fn routes() -> i32 {
    println!(
        "Kernel IP routing table\nDestination     Gateway         Genmask         Flags   MSS Window  irtt Iface"
    );
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ip = |nth: usize| {
            let word = fields.get(nth).and_then(|f| u32::from_str_radix(f, 16).ok()).unwrap_or(0);
            Ipv4Addr::from(word.to_ne_bytes()).to_string()
        };
        let bits = fields.get(3).and_then(|f| u32::from_str_radix(f, 16).ok()).unwrap_or(0);
        let flags: String =
            [(1, 'U'), (2, 'G'), (4, 'H')].iter().filter(|(bit, _)| bits & bit != 0).map(|f| f.1).collect();
        let iface = fields.first().unwrap_or(&"");
        println!("{:<15} {:<15} {:<15} {flags:<7} 0 0          0 {iface}", ip(1), ip(2), ip(7));
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Call, String> {
        parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn ip_understands_short_words_and_refuses_changes() {
        let address =
            Call { object: Object::Address, family: None, brief: false, oneline: false, device: None };
        assert_eq!(call("a"), Ok(address));
        assert_eq!(
            call("-4 addr show dev eth0").map(|c| (c.family, c.device)),
            Ok((Some(true), Some("eth0".into())))
        );
        assert_eq!(call("r").map(|c| c.object), Ok(Object::Route));
        assert!(call("route add default via 10.0.0.1").unwrap_err().contains("'add' is not implemented"));
        for option in ["-d", "-s", "-x"] {
            assert!(call(&format!("{option} addr")).unwrap_err().contains(option));
        }
        assert_eq!(call("netns").unwrap_err(), "ip: object 'netns' is not implemented");
    }

    #[test]
    fn ip_makes_interfaces_and_no_other_change() {
        let change = |line: &str| parse_change(&line.split(' ').map(str::to_string).collect::<Vec<_>>());
        let add = |name: &str, link| Some(Change::Add(name.into(), link));
        assert_eq!(change("link add name dummy0 type dummy"), add("dummy0", NewLink::Dummy));
        assert_eq!(change("-4 l add br7 type bridge"), add("br7", NewLink::Bridge));
        assert_eq!(change("link add a type veth peer name b"), add("a", NewLink::Veth(Some("b".into()))));
        assert_eq!(change("link add a type veth"), add("a", NewLink::Veth(None)));
        assert_eq!(change("link set dev eth0 down"), Some(Change::Set("eth0".into(), false)));
        assert_eq!(change("link set a up"), Some(Change::Set("a".into(), true)));
        assert_eq!(change("link del a"), Some(Change::Delete("a".into())));
        for none in [
            "link",
            "link show",
            "link show a",
            "link add a type vlan id 5",
            "route add a type dummy",
            "a",
            "-4",
        ] {
            assert_eq!(change(none), None, "{none}");
        }
        assert_eq!(free_veth(&[], "veth0"), "veth1");
    }

    #[test]
    fn the_kernels_socket_tables_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F90 00000000:0000 0A 00000001:00000002 00:00000000 00000000     0        0 123 1 0\n";
        let sockets = parse_sockets(table);
        assert_eq!(sockets[0].local, "127.0.0.1:8080".parse().unwrap());
        assert_eq!((STATES[usize::from(sockets[0].state)], sockets[0].inode), ("LISTEN", 123));
        assert_eq!((sockets[0].sending, sockets[0].receiving), (1, 2));
        let v6 = parse_address("00000000000000000000000001000000:0050").unwrap();
        assert_eq!(v6, "[::1]:80".parse().unwrap());
    }

    #[test]
    fn loopback_is_always_there() {
        let network = Network::read().unwrap();
        let text = show(&network, &call("addr show lo").unwrap());
        assert!(text.starts_with("1: lo: <LOOPBACK"), "{text}");
        assert!(text.contains("    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n"), "{text}");
        let text = show(&network, &call("-o link show lo").unwrap());
        assert!(text.lines().count() == 1 && text.contains("\\    link/loopback 00:"), "{text}");
        // With iproute2 the fourth word is the address.
        let text = show(&network, &call("-o -4 addr show lo").unwrap());
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(
            text.lines().count(),
            network.addresses.iter().filter(|a| a.ifindex() == 1 && a.is_ipv4()).count()
        );
        assert!(words.is_empty() || words[..4] == ["1:", "lo", "inet", "127.0.0.1/8"], "{text}");
        let none = Network { addresses: Vec::new(), ..network };
        assert_eq!(show(&none, &call("-4 addr show lo").unwrap()), "", "it has no such address");
    }
}
