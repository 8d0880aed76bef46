//! Compares the names of a server's certificate with a host as Go does. webpki wants two labels
//! behind an asterisk where Go wants one, and does not read every certificate that Go reads.
//! Source: `VerifyHostname` in Go's crypto/x509.

use super::signatures;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::IpAddr;
use x509_parser::extensions::GeneralName;

/// Returns true if one of the alternative names (SANs) of a certificate is this host's.
///
/// ```text
/// *.example   web.example     yes
/// *.example   a.web.example   no: the asterisk stands for one label
/// *           localhost       no
/// ```
pub(crate) fn has_name(own: &CertificateDer<'_>, host: &ServerName<'_>) -> bool {
    let Ok(own) = signatures::parse(own) else { return false };
    let Ok(Some(names)) = own.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| match (name, host) {
        (GeneralName::DNSName(name), ServerName::DnsName(host)) => covers(name, host.as_ref()),
        (GeneralName::IPAddress(name), ServerName::IpAddress(host)) => {
            address(name) == Some(IpAddr::from(*host).to_canonical())
        }
        _ => false,
    })
}

/// Returns true if a DNS name of a certificate is this host's.
fn covers(name: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let behind = name.strip_prefix("*.");
    let is_behind = |(_, domain): (&str, &str)| behind.is_some_and(|name| name.eq_ignore_ascii_case(domain));
    name.eq_ignore_ascii_case(host) || host.split_once('.').is_some_and(is_behind)
}

/// Reads an address. As in Go, one of IPv4 in the form of IPv6 (`::ffff:10.0.0.1`) is one of IPv4.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(address.to_canonical())
}

/// Returns the error for a certificate without the name of a host. Its names are told as rustls
/// tells them, e.g. `DnsName("kubernetes")`.
pub(crate) fn other_names(own: &CertificateDer<'_>, host: &ServerName<'_>) -> CertificateError {
    let told = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(format!("DnsName({name:?})")),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| format!("IpAddress({address})")),
        _ => None,
    };
    let presented = signatures::parse(own).map_or(vec![], |own| match own.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().filter_map(told).collect(),
        _ => vec![],
    });
    CertificateError::NotValidForNameContext { expected: host.to_owned(), presented }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::{Known, these};
    use crate::{Subject, ca, identity};
    use rcgen::KeyPair;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::UnixTime;

    #[test]
    fn an_asterisk_stands_for_one_label_of_any_domain() {
        for (name, host, is_believed) in [
            ("*.example", "web.example", true),
            ("*.Example", "WEB.example.", true),
            ("*.web.example", "a.web.example", true),
            ("web.example", "Web.example.", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("::1", "::1", true),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
            ("*.example", "a.web.example", false),
            ("*.example", "example", false),
            ("*.0.0.1", "127.0.0.1", false),
            ("w*.example", "web.example", false),
            ("*", "localhost", false),
            ("127.0.0.1", "127.0.0.2", false),
        ] {
            let own = ca::params(&Subject::server("x", &[name]), 30).unwrap();
            let own = own.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let authorities = these(own.pem().as_bytes()).unwrap();
            let known = Known { authorities, provider: identity::provider() };
            let asked = crate::server_name(host).unwrap();
            let judged = known.verify_server_cert(own.der(), &[], &asked, &[], UnixTime::now());
            assert_eq!(judged.is_ok(), is_believed, "{name} {host}: {judged:?}");
            assert_eq!(has_name(own.der(), &asked), is_believed, "{name} {host}");
        }
    }

    #[test]
    fn the_names_of_a_certificate_are_told_as_rustls_tells_them() {
        let own = ca::params(&Subject::server("x", &["web.example", "10.0.0.1"]), 30).unwrap();
        let own = own.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let host = crate::server_name("other").unwrap();
        let told = other_names(own.der(), &host);
        let presented = vec!["DnsName(\"web.example\")".to_string(), "IpAddress(10.0.0.1)".to_string()];
        assert_eq!(told, CertificateError::NotValidForNameContext { expected: host, presented });
    }
}
