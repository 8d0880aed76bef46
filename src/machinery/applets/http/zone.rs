//! Zones of IPv6 addresses in URLs (RFC 6874): `[fe80::1%25eth0]` is the address behind `eth0`. As
//! curl, also with a percent sign that is not encoded.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Bytes that a zone may have: so many as the name of an interface (`IFNAMSIZ`, with its end).
const ZONE_MAX: usize = 15;

/// Returns the address and the zone of what stands in the brackets of a host. `None`: it is no IPv6
/// address, or its zone is empty or too long, which curl refuses.
///
/// Example: `fe80::1%25eth0` and `fe80::1%eth0` have the zone `eth0`, and `fe80::1%25` has `25`.
pub(crate) fn split(inner: &str) -> Option<(&str, Option<&str>)> {
    let (address, zone) = match inner.split_once('%') {
        Some((address, zone)) => {
            let name = zone.strip_prefix("25").filter(|name| !name.is_empty());
            (address, Some(name.unwrap_or(zone)))
        }
        None => (inner, None),
    };
    let fits = zone.is_none_or(|zone| (1..=ZONE_MAX).contains(&zone.len()));
    (fits && address.parse::<Ipv6Addr>().is_ok()).then_some((address, zone))
}

/// Returns where to connect to. A zone is the number of an interface, or its name. One that is not
/// there is left out, as in curl: the connection then fails where the address needs one.
pub(super) fn address(ip: IpAddr, port: u16, zone: Option<&str>) -> SocketAddr {
    let number = |name: &str| name.parse().ok().or_else(|| nix::net::if_::if_nametoindex(name).ok());
    match ip {
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, zone.and_then(number).unwrap_or(0)).into(),
        ip => SocketAddr::new(ip, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_stands_behind_the_address() {
        for (inner, parts) in [
            ("::1", Some(("::1", None))),
            ("fe80::1%25eth0", Some(("fe80::1", Some("eth0")))),
            ("fe80::1%eth0", Some(("fe80::1", Some("eth0")))),
            ("fe80::1%25", Some(("fe80::1", Some("25")))),
            ("fe80::1%", None),
            ("fe80::1%25sixteen-letters-", None),
            ("1-9", None),
            ("1.2.3.4%25eth0", None),
        ] {
            assert_eq!(split(inner), parts, "{inner}");
        }
    }

    #[test]
    fn a_zone_is_a_number_or_the_name_of_an_interface() {
        let scope = |zone: Option<&str>| match address("fe80::1".parse().unwrap(), 80, zone) {
            SocketAddr::V6(address) => address.scope_id(),
            SocketAddr::V4(_) => panic!("no IPv6"),
        };
        assert_eq!([scope(None), scope(Some("7")), scope(Some("no-such-one"))], [0, 7, 0]);
        assert_eq!(scope(Some("lo")), nix::net::if_::if_nametoindex("lo").unwrap_or(0));
        let other = address("10.0.0.1".parse().unwrap(), 80, Some("lo"));
        assert_eq!(other.to_string(), "10.0.0.1:80");
    }
}
