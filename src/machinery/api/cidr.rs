//! Networks as people write them: `10.9.8.0/24`, `2001:db8::/64`.

use ipnet::IpNet;

/// Reads an address and the length of a prefix, as Go's `netip.ParsePrefix`: no sign and no zeros
/// before a number. Bits of the host may be set. `None` if the text is something else.
pub fn parse(text: &str) -> Option<IpNet> {
    let (ip, bits) = text.split_once('/')?;
    let is_plain = bits == "0" || (!bits.starts_with('0') && bits.bytes().all(|c| c.is_ascii_digit()));
    IpNet::new(ip.parse().ok()?, bits.parse().ok().filter(|_| is_plain)?).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_an_address_and_a_length_are_a_network() {
        for text in ["10.9.8.0/24", "0.0.0.0/0", "10.9.8.7/32", "2001:DB8::/64", "::/128"] {
            assert!(parse(text).is_some(), "{text}");
        }
        let wrong = "10.9.8.0 10.9.8.0/ /24 10.9.8.0/33 10.9.8.0/+24 10.9.8.0/024 10.9.8.0/-1 010.9.8.0/24 \
                     10.9.8.0/24/1 ::/129 fe80::1%eth0/64 10.9.8.0/1e1 10.9.8/24";
        for text in wrong.split(' ') {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
