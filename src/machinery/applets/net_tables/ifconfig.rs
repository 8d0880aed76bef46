//! `ifconfig`: interfaces as the old tool shows them.

use super::{Network, hardware, scope, texts};
use nlink::netlink::messages::LinkMessage;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};

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
