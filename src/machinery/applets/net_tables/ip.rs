//! `ip`: shows addresses, links, routes and neighbours, and changes links.

use super::{Network, format_hardware_address, scope};
use crate::{arguments_as_text, reason};
use nlink::blocking::Connection;
use nlink::netlink::Route;
use nlink::netlink::link::{BridgeLink, DummyLink, VethLink};
use nlink::netlink::messages::{AddressMessage, LinkMessage, NeighborMessage, RouteMessage};
use nlink::netlink::types::link::OperState;
use nlink::netlink::types::neigh::NeighborState;
use nlink::netlink::types::route::{RouteScope, RouteType};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::IpAddr;

const FLAGS: [(u32, &str); 8] = [
    (libc::IFF_LOOPBACK as u32, "LOOPBACK"),
    (libc::IFF_BROADCAST as u32, "BROADCAST"),
    (libc::IFF_POINTOPOINT as u32, "POINTOPOINT"),
    (libc::IFF_MULTICAST as u32, "MULTICAST"),
    (libc::IFF_NOARP as u32, "NOARP"),
    (libc::IFF_PROMISC as u32, "PROMISC"),
    (libc::IFF_UP as u32, "UP"),
    (libc::IFF_LOWER_UP as u32, "LOWER_UP"),
];

fn format_flags(link: &LinkMessage) -> String {
    let mut names: Vec<&str> = FLAGS.iter().filter(|(bit, _)| link.flags() & bit != 0).map(|f| f.1).collect();
    if link.flags() & libc::IFF_UP as u32 != 0 && link.flags() & libc::IFF_LOWER_UP as u32 == 0 {
        names.insert(0, "NO-CARRIER");
    }
    names.join(",")
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
    /// `ip route show default`: only routes to everywhere.
    default: bool,
    device: Option<String>,
    /// `up`: only links that are up.
    up: bool,
    /// `scope global`: only addresses of that scope.
    scope: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Address,
    Link,
    Route,
    Neighbor,
}

const IP_USAGE: &str = "Usage: ip [-4|-6] [-br|-o] {address|link|route|neigh} [show [dev IFACE]]\n       \
    ip [-4|-6] [-br|-o] address show [dev IFACE] [up] [scope {global|site|link|host}]\n       \
    ip [-br|-o] link show [dev IFACE] [up]\n       \
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

fn apply_change(change: Change) -> nlink::Result<()> {
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

/// Words that do not show anything.
const CHANGES: [&str; 7] = ["add", "del", "set", "get", "flush", "replace", "change"];

/// What `scope` of `ip addr show` may be.
const SCOPES: [&str; 4] = ["global", "site", "link", "host"];

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
    let (default, rest) = match rest {
        [first, rest @ ..] if object == Object::Route && first == "default" => (true, rest),
        rest => (false, rest),
    };
    if let Some(verb) = rest.first().filter(|verb| CHANGES.contains(&verb.as_str())) {
        return Err(format!("ip: this '{verb}' is not implemented\n{IP_USAGE}"));
    }
    let mut call = Call { object, family, brief, oneline, default, device: None, up: false, scope: None };
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "up" if matches!(object, Object::Address | Object::Link) => call.up = true,
            "scope" if object == Object::Address => {
                let value = words.next().ok_or_else(String::new)?;
                if !SCOPES.contains(&value.as_str()) {
                    return Err(format!("ip: invalid argument '{value}' to 'scope'"));
                }
                call.scope = Some(value.clone());
            }
            "dev" => call.device = Some(words.next().ok_or_else(String::new)?.clone()),
            name if call.device.is_none() => call.device = Some(name.to_string()),
            _ => return Err(String::new()),
        }
    }
    Ok(call)
}

pub(crate) fn ip(args: Vec<OsString>) -> i32 {
    let args = arguments_as_text(args);
    if let Some(change) = parse_change(&args) {
        return match apply_change(change) {
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
    let chosen = |index: u32| call.device.as_ref().is_none_or(|device| network.link_name(index) == *device);
    let mut text = String::new();
    match call.object {
        Object::Address | Object::Link => {
            for link in network.links.iter().filter(|l| chosen(l.ifindex()) && (l.is_up() || !call.up)) {
                show_link(&mut text, network, link, call);
            }
        }
        Object::Route => {
            let v4 = call.family != Some(false);
            let main = u32::from(libc::RT_TABLE_MAIN);
            let routes = network.routes.iter().filter(|r| r.table_id() == main && r.is_ipv4() == v4);
            let routes = routes.filter(|r| !call.default || r.destination().is_none());
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
                        network.link_name(neighbor.ifindex()),
                        format_hardware_address(neighbor.lladdr()),
                        format!("{:?}", neighbor.state()).to_uppercase(),
                    );
                }
            }
        }
    }
    text
}

/// Writes a link with its addresses. Writing into a String cannot fail, so results are dropped here
/// and below.
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
    let mut addresses = network.addresses_of(link, call.family);
    let had_none = addresses.is_empty();
    addresses.retain(|a| call.scope.as_deref().is_none_or(|wanted| scope(a.scope()) == wanted));
    // As iproute2: a link without any address is left out only if a family is asked for.
    let is_left_out = addresses.is_empty() && (call.family.is_some() || !had_none);
    if call.object == Object::Address && is_left_out {
        return;
    }
    let end = if call.oneline { '\\' } else { '\n' };
    let inet = |a: &AddressMessage| {
        let ip = a.local().or(a.address()).map_or(String::new(), IpAddr::to_string);
        format!("{ip}/{}", a.prefix_len())
    };
    if call.brief {
        let what = match call.object {
            Object::Link => format!("{} <{}>", format_hardware_address(link.address()), format_flags(link)),
            _ => addresses.iter().map(|a| inet(a)).collect::<Vec<_>>().join(" "),
        };
        let _ = writeln!(text, "{name:<16} {state:<14} {what}");
        return;
    }
    if !(call.oneline && call.object == Object::Address) {
        let lines = link_lines(link, &name, &state, end);
        // As iproute2: `ip -4 addr` is about addresses of IPv4, and a link's own is none.
        let shown = if call.object == Object::Address && call.family.is_some() { 1 } else { 2 };
        text.extend(lines.split_inclusive('\n').take(shown));
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

/// Returns a link itself: two lines, or with another `end` one.
fn link_lines(link: &LinkMessage, name: &str, state: &str, end: char) -> String {
    let queue = link.txqlen().filter(|n| *n > 0).map_or(String::new(), |n| format!(" qlen {n}"));
    let kind = if link.is_loopback() { "loopback" } else { "ether" };
    let (own, all) = (format_hardware_address(link.address()), format_hardware_address(link.broadcast()));
    format!(
        "{}: {name}: <{}> mtu {} qdisc {} state {state}{queue}{end}    link/{kind} {own} brd {all}\n",
        link.ifindex(),
        format_flags(link),
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
        let _ = write!(text, " dev {}", network.link_name(index));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Call, String> {
        parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn ip_understands_short_words_and_refuses_changes() {
        let address = Call {
            object: Object::Address,
            family: None,
            brief: false,
            oneline: false,
            default: false,
            device: None,
            up: false,
            scope: None,
        };
        assert_eq!(call("a"), Ok(address));
        let filtered = call("a show up scope global eth0").unwrap();
        assert!(filtered.up && filtered.device.as_deref() == Some("eth0"));
        assert_eq!(filtered.scope.as_deref(), Some("global"));
        assert_eq!(call("link show up").map(|c| (c.up, c.device)), Ok((true, None)));
        assert_eq!(call("addr show scope x").unwrap_err(), "ip: invalid argument 'x' to 'scope'");
        assert!(call("addr show scope").is_err() && call("addr show eth0 eth1").is_err());
        assert_eq!(
            call("-4 addr show dev eth0").map(|c| (c.family, c.device)),
            Ok((Some(true), Some("eth0".into())))
        );
        assert_eq!(call("r").map(|c| (c.object, c.default)), Ok((Object::Route, false)));
        for line in ["route show default", "r default dev eth0"] {
            assert_eq!(call(line).map(|c| (c.object, c.default)), Ok((Object::Route, true)), "{line}");
        }
        assert_eq!(call("link show default").map(|c| c.device), Ok(Some("default".into())));
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
        let text = show(&network, &call("-4 addr show lo").unwrap());
        assert!(!text.contains("link/"), "{text}");
        assert!(
            !show(&network, &call("route show default").unwrap()).lines().any(|l| !l.starts_with("default "))
        );
        let host = show(&network, &call("addr show dev lo scope host").unwrap());
        let has_address = network.addresses.iter().any(|a| a.ifindex() == 1 && a.is_ipv4());
        assert_eq!(host.contains(" scope host lo"), has_address, "{host}");
        assert_eq!(show(&network, &call("-4 addr show lo scope site").unwrap()), "");
        let is_down = network.links.iter().any(|l| l.name() == Some("lo") && !l.is_up());
        assert_eq!(show(&network, &call("link show lo up").unwrap()).is_empty(), is_down);
        let none = Network { addresses: Vec::new(), ..network };
        assert_eq!(show(&none, &call("-4 addr show lo").unwrap()), "", "it has no such address");
    }
}
