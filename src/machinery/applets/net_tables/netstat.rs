//! `netstat`: the sockets of the network namespace, and its routes.

use crate::arguments_as_text;
use crate::procs::printable;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// Returns which process has which socket, as far as we may look.
fn socket_owners() -> BTreeMap<u64, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().into_string() else { continue };
        for fd in std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten() {
            let target = std::fs::read_link(fd.path()).unwrap_or_default();
            let inode =
                target.to_str().and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                // The kernel cuts a name after 15 bytes, which may be in the middle of a letter.
                let name = std::fs::read(entry.path().join("comm")).unwrap_or_default();
                let name = printable(String::from_utf8_lossy(&name).trim());
                found.insert(inode, format!("{pid}/{name}"));
            }
        }
    }
    found
}

/// `netstat [-tulnapr]`; names are never looked up.
pub(crate) fn netstat(args: Vec<OsString>) -> i32 {
    let letters: String =
        arguments_as_text(args).iter().map(|a| a.trim_start_matches('-').to_string()).collect();
    if let Some(bad) = letters.chars().find(|c| !"tulnaprew46".contains(*c)) {
        eprintln!("netstat: unrecognized option: {bad}\nUsage: netstat [-tulnapr]");
        return 1;
    }
    let has = |letter| letters.contains(letter);
    if has('r') {
        return print_routes(has('n'));
    }
    let both = !has('t') && !has('u');
    let wanted = if has('l') {
        "only servers"
    } else if has('a') {
        "servers and established"
    } else {
        "w/o servers"
    };
    let owners = if has('p') { socket_owners() } else { BTreeMap::new() };
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

/// `netstat -r`, and `-rn` with `is_numeric`.
fn print_routes(is_numeric: bool) -> i32 {
    println!(
        "Kernel IP routing table\nDestination     Gateway         Genmask         Flags   MSS Window  irtt Iface"
    );
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    for line in table.lines().skip(1) {
        println!("{}", format_route(line, is_numeric));
    }
    0
}

/// Returns a line of /proc/net/route as busybox prints it. Without `is_numeric` an address of zeros
/// has a name.
fn format_route(line: &str, is_numeric: bool) -> String {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |nth: usize| fields.get(nth).and_then(|f| u32::from_str_radix(f, 16).ok()).unwrap_or(0);
    let address = |nth: usize, zero: &str| match number(nth) {
        0 if !is_numeric => zero.to_string(),
        word => Ipv4Addr::from(word.to_ne_bytes()).to_string(),
    };
    let (to, gateway) = (address(1, "default"), address(2, "*"));
    let mask = Ipv4Addr::from(number(7).to_ne_bytes()).to_string();
    let letters = [(1, 'U'), (2, 'G'), (4, 'H')];
    let flags: String = letters.iter().filter(|(bit, _)| number(3) & bit != 0).map(|f| f.1).collect();
    let interface = fields.first().unwrap_or(&"");
    format!("{to:<15} {gateway:<15} {mask:<15} {flags:<6}    0 0          0 {interface}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As busybox 1.35 prints them.
    #[test]
    fn routes_are_lines_of_busybox() {
        let any = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        let net = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0";
        for (line, is_numeric, text) in [
            (any, false, "default         192.0.2.1       0.0.0.0         UG        0 0          0 eth0"),
            (any, true, "0.0.0.0         192.0.2.1       0.0.0.0         UG        0 0          0 eth0"),
            (net, false, "192.0.2.0       *               255.255.255.0   U         0 0          0 eth0"),
            (net, true, "192.0.2.0       0.0.0.0         255.255.255.0   U         0 0          0 eth0"),
        ] {
            assert_eq!(format_route(line, is_numeric), text);
        }
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
}
