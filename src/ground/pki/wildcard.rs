//! Server names with an asterisk that Go believes and webpki does not: webpki wants two labels
//! behind the asterisk, Go one. Source: `matchHostnames` in Go's crypto/x509.

use super::alternative_names::AlternativeNames;
use super::{oids, signatures};
use rustls::pki_types::{CertificateDer, ServerName};

/// Returns true if a certificate has an alternative name (SAN) for all hosts of one domain, and
/// this host is one of them. As in Go, one malformed name spoils all.
///
/// ```text
/// *.example   web.example     yes
/// *.example   a.web.example   no: the asterisk stands for one label
/// *           localhost       no
/// ```
pub(crate) fn covers(own: &CertificateDer<'_>, host: &ServerName<'_>) -> bool {
    let (Ok(own), true) = (signatures::parse(own), matches!(host, ServerName::DnsName(_))) else {
        return false;
    };
    let host = host.to_str();
    let Some((_, domain)) = host.strip_suffix('.').unwrap_or(&host).split_once('.') else { return false };
    let mut names = AlternativeNames::default();
    let mut extensions =
        own.extensions().iter().filter(|extension| oids::is(&extension.oid, &oids::SUBJECT_ALT_NAME));
    let is_read = extensions.all(|extension| names.add(extension.value).is_ok());
    let is_covered =
        |name: &String| name.strip_prefix("*.").is_some_and(|behind| behind.eq_ignore_ascii_case(domain));
    is_read && names.dns_names.iter().any(is_covered)
}

#[cfg(test)]
mod tests {
    use super::covers;
    use crate::foreign::{Known, these};
    use crate::{Subject, ca, der, identity};
    use rcgen::{CustomExtension, KeyPair};
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::UnixTime;

    #[test]
    fn an_asterisk_stands_for_one_label_of_any_domain() {
        for (name, host, is_believed) in [
            ("*.example", "web.example", true),
            ("*.Example", "WEB.example.", true),
            ("*.web.example", "a.web.example", true),
            ("*.example", "a.web.example", false),
            ("*.example", "example", false),
            ("*.0.0.1", "127.0.0.1", false),
            ("w*.example", "web.example", false),
            ("*", "localhost", false),
        ] {
            let own = ca::params(&Subject::server("x", &[name]), 30).unwrap();
            let own = own.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let authorities = these(own.pem().as_bytes()).unwrap();
            let known = Known { authorities, provider: identity::provider() };
            let host_name = crate::server_name(host).unwrap();
            let verdict = known.verify_server_cert(own.der(), &[], &host_name, &[], UnixTime::now());
            assert_eq!(verdict.is_ok(), is_believed, "{name} {host}: {verdict:?}");
        }
    }

    /// Go reads no certificate with an address of five bytes or a letter that is not ASCII, and
    /// passes over a name with the bit of values that have parts (0x20).
    #[test]
    fn names_that_go_does_not_read_cover_no_host() {
        let wanted = || der::tlv(0x82, b"*.example");
        let is_covered = |names: &[Vec<u8>]| {
            let mut own = ca::params(&Subject::server("x", &[]), 30).unwrap();
            own.custom_extensions
                .push(CustomExtension::from_oid_content(&[2, 5, 29, 17], der::sequence(names)));
            let own = own.self_signed(&KeyPair::generate().unwrap()).unwrap();
            covers(own.der(), &crate::server_name("web.example").unwrap())
        };
        assert!(is_covered(&[der::tlv(0x81, b"jane@example"), wanted()]));
        for names in [
            vec![wanted(), der::tlv(0x87, &[127, 0, 0, 0, 1])],
            vec![wanted(), der::tlv(0x82, b"\xe4.example")],
            vec![der::tlv(0xa2, b"*.example")],
        ] {
            assert!(!is_covered(&names), "{names:?}");
        }
    }
}
