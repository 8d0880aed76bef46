//! IP addresses and networks in CEL (`library/ip.go` and `library/cidr.go` upstream), and what is a
//! URI.

use super::arguments::{Run, word};
use crate::cidr;
use cel::Value;
use cel::objects::Opaque;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq)]
struct Address(IpAddr);
impl Opaque for Address {
    fn runtime_type_name(&self) -> &str {
        "net.IP"
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Network(IpNet);
impl Opaque for Network {
    fn runtime_type_name(&self) -> &str {
        "net.CIDR"
    }
}

pub(super) const FUNCTIONS: &[(&str, Run)] = &[
    ("isIP", |v| Ok(Value::Bool(parse_ip(word(v, 0)?).is_ok()))),
    ("isCIDR", |v| Ok(Value::Bool(parse_cidr(word(v, 0)?).is_ok()))),
    // Of a text the address; of a network its address.
    ("ip", |v| match network(v, 0) {
        Ok(network) => Ok(opaque_ip(network.0.addr())),
        Err(_) => parse_ip(word(v, 0)?).map(opaque_ip),
    }),
    ("cidr", |v| parse_cidr(word(v, 0)?).map(|network| Value::Opaque(Arc::new(network)))),
    ("family", |v| Ok(Value::Int(if address(v, 0)?.is_ipv4() { 4 } else { 6 }))),
    ("isUnspecified", |v| Ok(Value::Bool(address(v, 0)?.is_unspecified()))),
    ("isLoopback", |v| Ok(Value::Bool(address(v, 0)?.is_loopback()))),
    ("isLinkLocalMulticast", |v| Ok(Value::Bool(is_link_local_multicast(address(v, 0)?)))),
    ("isLinkLocalUnicast", |v| Ok(Value::Bool(is_link_local(address(v, 0)?)))),
    ("isGlobalUnicast", |v| {
        let ip = address(v, 0)?;
        let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        let other = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local(ip);
        Ok(Value::Bool(!broadcast && !other))
    }),
    ("containsIP", |v| {
        let ip = address(v, 1).or_else(|_| parse_ip(word(v, 1)?))?;
        Ok(Value::Bool(network(v, 0)?.0.contains(&ip)))
    }),
    ("containsCIDR", |v| {
        let parsed;
        let inner = match network(v, 1) {
            Ok(inner) => inner,
            Err(_) => {
                parsed = parse_cidr(word(v, 1)?)?;
                &parsed
            }
        };
        Ok(Value::Bool(network(v, 0)?.0.contains(&inner.0)))
    }),
    ("masked", |v| {
        let masked = network(v, 0)?.0.trunc();
        Ok(Value::Opaque(Arc::new(Network(masked))))
    }),
    ("prefixLength", |v| Ok(Value::Int(network(v, 0)?.0.prefix_len().into()))),
];

fn opaque_ip(ip: IpAddr) -> Value {
    Value::Opaque(Arc::new(Address(ip)))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr =
        text.parse().map_err(|_| format!("IP Address {text:?} parse error during conversion from string"))?;
    match ip.to_canonical() == ip {
        true => Ok(ip),
        false => Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed")),
    }
}

fn parse_cidr(text: &str) -> Result<Network, String> {
    let wrong = || format!("network address parse error during conversion from string: {text:?}");
    let (ip, _) = text.split_once('/').ok_or_else(wrong)?;
    parse_ip(ip)?;
    cidr::parse_strictly(text).map(Network).ok_or_else(wrong)
}

fn address(values: &[Value], at: usize) -> Result<IpAddr, String> {
    match values.get(at) {
        Some(Value::Opaque(o)) => o.downcast_ref::<Address>().map(|a| a.0).ok_or("no such overload".into()),
        _ => Err("no such overload".into()),
    }
}

fn network(values: &[Value], at: usize) -> Result<&Network, String> {
    match values.get(at) {
        Some(Value::Opaque(o)) => o.downcast_ref::<Network>().ok_or("no such overload".into()),
        _ => Err("no such overload".into()),
    }
}

// -- URIs
// -------------------------------------------------------------------------------------------------

/// Returns whether a text is a URI with a scheme, or an absolute path, as Go reads them
/// (`url.ParseRequestURI`): with `urn:isbn:1` and `file:///x`, and with spaces in a path.
pub(super) fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b.is_ascii_control()) {
        return false;
    }
    let (has_scheme, rest) = match scheme(text) {
        _ if text == "*" => return true,
        Some(scheme) => {
            (!scheme.is_empty(), if scheme.is_empty() { text } else { &text[scheme.len() + 1..] })
        }
        None => return false,
    };
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    if !rest.starts_with('/') {
        return has_scheme;
    }
    match rest.strip_prefix("//").filter(|_| has_scheme) {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            is_authority(authority) && is_escaped(path)
        }
        None => is_escaped(rest),
    }
}

/// The scheme, empty if there is none; `None` if the text begins with a colon.
fn scheme(text: &str) -> Option<&str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' => return (at > 0).then(|| &text[..at]),
            _ => return Some(""),
        }
    }
    Some("")
}

/// Returns whether two hexadecimal digits stand behind every percent sign.
fn is_escaped(text: &str) -> bool {
    is_escaped_with(text, |_| true)
}

/// As [`is_escaped`], and all bytes that are written in this way are `allowed`.
fn is_escaped_with(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    text.split('%').skip(1).all(|escaped| {
        let digits = escaped.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).is_some_and(&allowed)
    })
}

/// `user:password@host:80`
fn is_authority(text: &str) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let in_user = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%@".contains(&b);
    let (is_host, port) = match host.strip_prefix('[').map(|rest| rest.rsplit_once(']')) {
        Some(None) => return false,
        Some(Some((literal, port))) => (is_literal(literal), port),
        None => {
            let (name, port) = host.split_at(host.rfind(':').unwrap_or(host.len()));
            // Of ASCII, only the percent sign itself is written with one.
            let escaped = |b: u8| b >= 0x80 || b == b'%';
            (!name.contains('[') && name.bytes().all(in_host) && is_escaped_with(name, escaped), port)
        }
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    is_host && is_port && user.bytes().all(in_user) && is_escaped(user)
}

/// Characters that stand in a host as they are; the percent sign begins an escaped one.
fn in_host(b: u8) -> bool {
    b >= 0x80 || b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]<>\"%".contains(&b)
}

/// Returns whether a text can stand in brackets: an address of IPv6, and perhaps a zone behind
/// `%25`. Go refuses all else since 1.25.2 (CVE-2025-47912).
fn is_literal(text: &str) -> bool {
    let (ip, zone) = text.split_once("%25").map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let escaped = |b: u8| b == b' ' || b < 0x80 && in_host(b);
    let is_zone =
        |zone: &str| !zone.is_empty() && zone.bytes().all(in_host) && is_escaped_with(zone, escaped);
    ip.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(is_zone)
}
