//! Reads subject alternative names (SANs). Source: `parseSANExtension` and `forEachSAN` in Go's
//! crypto/x509.

use super::uri;
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

/// The alternative names of the kinds that certificates have here.
#[derive(Debug, Default)]
pub(crate) struct AlternativeNames {
    pub dns_names: Vec<String>,
    pub emails: Vec<String>,
    pub uris: Vec<String>,
    /// IP addresses as text: `10.96.0.1`, `fd00::1`.
    pub addresses: Vec<String>,
}

impl AlternativeNames {
    /// Adds the names of an extension's value. As in Go, names of other kinds are ignored.
    ///
    /// # Errors
    /// A name is malformed, in Go's words.
    pub(crate) fn add(&mut self, value: &[u8]) -> Result<(), String> {
        let invalid = |what: &str| format!("x509: invalid subject alternative {what}");
        let all = Any::from_der(value).map(|(_, all)| all).ok();
        let is_sequence = |all: &Any<'_>| all.class() == Class::Universal && all.tag() == Tag::Sequence;
        let all = all.filter(is_sequence).ok_or_else(|| invalid("names"))?;
        let mut rest = all.data;
        while !rest.is_empty() {
            let (next, name) = Any::from_der(rest).map_err(|_| invalid("name"))?;
            if name.class() == Class::ContextSpecific && !name.header.is_constructed() {
                self.add_name(name.tag(), name.data)?;
            }
            rest = next;
        }
        Ok(())
    }

    /// Adds one name. `kind`: its tag in a `GeneralName` (RFC 5280, 4.2.1.6).
    fn add_name(&mut self, kind: Tag, data: &[u8]) -> Result<(), String> {
        let text = |kind: &str| match data.is_ascii() {
            true => Ok(String::from_utf8_lossy(data).into_owned()),
            false => Err(format!("x509: SAN {kind} is malformed")),
        };
        match kind {
            Tag(1) => self.emails.push(text("rfc822Name")?),
            Tag(2) => self.dns_names.push(text("dNSName")?),
            Tag(6) => {
                let uri = text("uniformResourceIdentifier")?;
                uri::check(&uri)?;
                self.uris.push(uri);
            }
            Tag(7) => {
                let length = || format!("x509: cannot parse IP address of length {}", data.len());
                self.addresses.push(address(data).ok_or_else(length)?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Returns an address as text. As in Go, an IPv4 address in the form of IPv6 (`::ffff:10.0.0.1`)
/// becomes one of IPv4, also in the certificate.
fn address(bytes: &[u8]) -> Option<String> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical().to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der;

    #[test]
    fn names_of_each_kind_are_read_and_others_ignored() {
        let mut names = AlternativeNames::default();
        let value = der::sequence(&[
            der::tlv(0x82, b"web.example"),
            der::tlv(0x81, b"jane@example"),
            der::tlv(0x86, b"spiffe://example/web"),
            der::tlv(0x87, &[10, 96, 0, 1]),
            der::tlv(0x87, &Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets()),
            der::tlv(0xa0, b"another kind"),
        ]);
        names.add(&value).unwrap();
        assert_eq!(names.dns_names, ["web.example"]);
        assert_eq!(names.emails, ["jane@example"]);
        assert_eq!(names.uris, ["spiffe://example/web"]);
        assert_eq!(names.addresses, ["10.96.0.1", "10.0.0.1"]);
        for (value, expected) in [
            (der::tlv(0x04, &[]), "x509: invalid subject alternative names"),
            (der::sequence(&[vec![0x82, 9]]), "x509: invalid subject alternative name"),
            (der::sequence(&[der::tlv(0x82, b"\xe4")]), "x509: SAN dNSName is malformed"),
            (der::sequence(&[der::tlv(0x87, &[1])]), "x509: cannot parse IP address of length 1"),
        ] {
            assert_eq!(AlternativeNames::default().add(&value).unwrap_err(), expected);
        }
    }
}
