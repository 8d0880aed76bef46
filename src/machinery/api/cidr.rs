//! Addresses and networks as people write them: `10.9.8.7`, `10.9.8.0/24`, `2001:db8::/64`.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads an address as fields of objects have it: decimal numbers of IPv4 may begin with zeros
/// (`ParseIPSloppy` upstream), so that `010.1.2.3` is 10.1.2.3.
pub(crate) fn parse_ip(text: &str) -> Option<IpAddr> {
    let Some((head, tail)) = text.rsplit_once(':') else { return parse_ipv4(text).map(IpAddr::V4) };
    let ip: Option<Ipv6Addr> = match tail.contains('.') {
        true => format!("{head}:{}", parse_ipv4(tail)?).parse().ok(),
        false => text.parse().ok(),
    };
    ip.map(IpAddr::V6)
}

/// As [`parse_ip`], in the form in which addresses are compared: IPv4 that is written as IPv6
/// (`::ffff:10.1.2.3`) is IPv4.
pub fn canonical_ip(text: &str) -> Option<IpAddr> {
    parse_ip(text).map(|ip| ip.to_canonical())
}

/// Returns the IPv4 address that a text means, however it is written: `010.1.2.3` and
/// `::ffff:10.1.2.3` are 10.1.2.3.
pub fn ipv4(text: &str) -> Option<Ipv4Addr> {
    match canonical_ip(text)? {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

/// Returns an address as programs and files outside of the API get it, and as two are compared as
/// text: the C library takes `010.1.2.3` for 8.1.2.3. A text that is no address stays as it is.
pub fn canonical_text(text: &str) -> String {
    canonical_ip(text).map_or_else(|| text.to_string(), |ip| ip.to_string())
}

fn parse_ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.bytes().all(|c| c.is_ascii_digit()))?;
        *octet = part.parse::<u8>().ok()?;
    }
    parts.next().is_none().then(|| octets.into())
}

/// Reads an address and the length of a prefix, whose digits may begin with zeros, as fields of
/// objects have it (`ParseCIDRSloppy` upstream). Bits of the host may be set. `None` if the text is
/// something else.
pub fn parse(text: &str) -> Option<IpNet> {
    let (ip, bits) = text.split_once('/')?;
    let is_plain = bits.bytes().all(|c| c.is_ascii_digit());
    IpNet::new(parse_ip(ip)?, bits.parse().ok().filter(|_| is_plain)?).ok()
}

/// As [`parse`], and no zeros before a number, as in rules (Go's `netip.ParsePrefix`).
pub(crate) fn parse_strictly(text: &str) -> Option<IpNet> {
    let (ip, bits) = text.split_once('/')?;
    let has_zeros = (bits.len() > 1 && bits.starts_with('0')) || ip.parse::<IpAddr>().is_err();
    if has_zeros { None } else { parse(text) }
}

#[cfg(test)]
mod tests {
    use super::{canonical_text, ipv4, parse, parse_ip, parse_strictly};

    #[test]
    fn only_an_address_and_a_length_are_a_network() {
        for text in ["10.9.8.0/24", "0.0.0.0/0", "10.9.8.7/32", "2001:DB8::/64", "::/128"] {
            assert!(parse(text).is_some() && parse(text) == parse_strictly(text), "{text}");
        }
        for text in ["10.9.8.0/024", "010.9.8.0/24"] {
            assert_eq!(parse(text), parse_strictly("10.9.8.0/24"), "{text}");
            assert_eq!(parse_strictly(text), None, "{text}");
        }
        let wrong = "10.9.8.0 10.9.8.0/ /24 10.9.8.0/33 10.9.8.0/+24 10.9.8.0/-1 0x10.9.8.0/24 \
                     10.9.8.0/24/1 ::/129 fe80::1%eth0/64 10.9.8.0/1e1 10.9.8/24";
        for text in wrong.split(' ') {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    /// As k8s.io/utils/net reads them.
    #[test]
    fn numbers_of_an_address_may_begin_with_zeros() {
        for (text, plain) in [
            ("10.1.2.3", "10.1.2.3"),
            ("010.001.02.0003", "10.1.2.3"),
            ("0000.1.2.3", "0.1.2.3"),
            ("FD00:0::1", "fd00::1"),
            ("::ffff:010.2.3.4", "::ffff:10.2.3.4"),
        ] {
            assert_eq!(parse_ip(text).map(|ip| ip.to_string()).as_deref(), Some(plain), "{text}");
        }
        for text in
            ["", "10.1.2", "10.1.2.3.4", "1.2.3.0256", "1.2..3", "+1.2.3.4", "::1%eth0", "::1:", "1.2.3.4:"]
        {
            assert_eq!(parse_ip(text), None, "{text}");
        }
    }

    #[test]
    fn all_spellings_of_an_address_are_one() {
        for text in ["10.1.2.3", "010.1.002.3", "::ffff:10.1.2.3", "::FFFF:010.1.2.3", "::ffff:a01:203"] {
            assert_eq!(ipv4(text), Some([10, 1, 2, 3].into()), "{text}");
            assert_eq!(canonical_text(text), "10.1.2.3", "{text}");
        }
        assert_eq!((ipv4("fd00::1"), canonical_text("FD00:0::1")), (None, "fd00::1".to_string()));
        for text in ["", "None", "10.1.2", "10.1.2.3 ", "a.example"] {
            assert_eq!((ipv4(text), canonical_text(text)), (None, text.to_string()));
        }
    }
}
