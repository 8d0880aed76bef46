//! IP addresses and networks in CEL (`library/ip.go` and `library/cidr.go` upstream).

use super::arguments::{NO_OVERLOAD, Run, word};
use crate::cidr;
use cel::Value;
use cel::objects::Opaque;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};
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
        Some(Value::Opaque(o)) => o.downcast_ref::<Address>().map(|a| a.0).ok_or(NO_OVERLOAD.into()),
        _ => Err(NO_OVERLOAD.into()),
    }
}

fn network(values: &[Value], at: usize) -> Result<&Network, String> {
    match values.get(at) {
        Some(Value::Opaque(o)) => o.downcast_ref::<Network>().ok_or(NO_OVERLOAD.into()),
        _ => Err(NO_OVERLOAD.into()),
    }
}
