//! Networks as people write them: `10.9.8.0/24`, `2001:db8::/64`.

use ipnet::IpNet;

/// Reads an address and the length of a prefix, whose digits may begin with zeros, as fields of
/// objects have it (`ParseCIDRSloppy` upstream). Bits of the host may be set. `None` if the text is
/// something else.
pub fn parse(text: &str) -> Option<IpNet> {
    let (ip, bits) = text.split_once('/')?;
    let is_plain = bits.bytes().all(|c| c.is_ascii_digit());
    IpNet::new(ip.parse().ok()?, bits.parse().ok().filter(|_| is_plain)?).ok()
}

/// As [`parse`], and no zeros before the length, as in rules (Go's `netip.ParsePrefix`).
pub fn parse_strictly(text: &str) -> Option<IpNet> {
    let (_, bits) = text.split_once('/')?;
    if bits.len() > 1 && bits.starts_with('0') { None } else { parse(text) }
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_strictly};

    #[test]
    fn only_an_address_and_a_length_are_a_network() {
        for text in ["10.9.8.0/24", "0.0.0.0/0", "10.9.8.7/32", "2001:DB8::/64", "::/128"] {
            assert!(parse(text).is_some() && parse(text) == parse_strictly(text), "{text}");
        }
        assert!(parse("10.9.8.0/024").is_some() && parse_strictly("10.9.8.0/024").is_none());
        let wrong = "10.9.8.0 10.9.8.0/ /24 10.9.8.0/33 10.9.8.0/+24 10.9.8.0/-1 010.9.8.0/24 \
                     10.9.8.0/24/1 ::/129 fe80::1%eth0/64 10.9.8.0/1e1 10.9.8/24";
        for text in wrong.split(' ') {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
