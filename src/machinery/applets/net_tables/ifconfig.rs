//! `ifconfig`: interfaces as the old tool shows them.

use super::{Network, format_hardware_address, scope};
use crate::arguments_as_text;
use nlink::netlink::messages::LinkMessage;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};

/// `ifconfig [-a] [IFACE]`
pub(crate) fn ifconfig(args: Vec<OsString>) -> i32 {
    let args = arguments_as_text(args);
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

/// Names the flags in the order of busybox.
fn format_flags(set: u32) -> String {
    if set & 0xffff == 0 {
        return "[NO FLAGS]".into();
    }
    let names = [
        (libc::IFF_UP, "UP"),
        (libc::IFF_BROADCAST, "BROADCAST"),
        (libc::IFF_DEBUG, "DEBUG"),
        (libc::IFF_LOOPBACK, "LOOPBACK"),
        (libc::IFF_POINTOPOINT, "POINTOPOINT"),
        (libc::IFF_NOTRAILERS, "NOTRAILERS"),
        (libc::IFF_RUNNING, "RUNNING"),
        (libc::IFF_NOARP, "NOARP"),
        (libc::IFF_PROMISC, "PROMISC"),
        (libc::IFF_ALLMULTI, "ALLMULTI"),
        (libc::IFF_SLAVE, "SLAVE"),
        (libc::IFF_MASTER, "MASTER"),
        (libc::IFF_MULTICAST, "MULTICAST"),
    ];
    let found = names.iter().filter(|(bit, _)| set & *bit as u32 != 0).map(|(_, name)| *name);
    found.collect::<Vec<_>>().join(" ")
}

/// Formats a number of bytes, and the same in a larger unit. As in busybox, what is behind the
/// first digit is cut off.
fn format_size(bytes: u64) -> String {
    let (mut whole, mut tenths, mut unit) = (bytes, 0, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if whole >= 1024 {
            (whole, tenths, unit) = (whole / 1024, whole % 1024 * 10 / 1024, larger);
        }
    }
    format!("{bytes} ({whole}.{tenths} {unit})")
}

fn describe(network: &Network, link: &LinkMessage) -> String {
    let mut lines = Vec::new();
    let kind = if link.is_loopback() {
        "Link encap:Local Loopback  ".to_string()
    } else {
        format!("Link encap:Ethernet  HWaddr {}  ", format_hardware_address(link.address()).to_uppercase())
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
    lines.push(format!("{}  MTU:{}  Metric:1", format_flags(link.flags()), link.mtu().unwrap_or(0)));
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
        lines.push(format!("RX bytes:{}  TX bytes:{}", format_size(s.rx_bytes()), format_size(s.tx_bytes())));
    }
    format!("{:<10}{}\n\n", link.name_or("?"), lines.join(&format!("\n{:10}", "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As busybox 1.35 prints them.
    #[test]
    fn flags_and_sizes_are_those_of_busybox() {
        let (up, noarp) = (libc::IFF_UP as u32, libc::IFF_NOARP as u32);
        let (broadcast, running) = (libc::IFF_BROADCAST as u32, libc::IFF_RUNNING as u32);
        assert_eq!(format_flags(noarp | broadcast), "BROADCAST NOARP");
        assert_eq!(format_flags(0), "[NO FLAGS]");
        assert_eq!(format_flags(running | broadcast | up), "UP BROADCAST RUNNING");
        for (bytes, text) in [
            (0, "0 (0.0 B)"),
            (1023, "1023 (1023.0 B)"),
            (1536, "1536 (1.5 KiB)"),
            (1_755_589, "1755589 (1.6 MiB)"),
            (501_444_177, "501444177 (478.2 MiB)"),
            (16_517_737_137, "16517737137 (15.3 GiB)"),
        ] {
            assert_eq!(format_size(bytes), text);
        }
    }
}
