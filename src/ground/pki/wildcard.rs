//! Server names with an asterisk that Go believes and webpki does not: webpki wants two labels
//! behind the asterisk, Go one. Source: `matchHostnames` in Go's crypto/x509.

use super::signatures;
use rustls::pki_types::{CertificateDer, ServerName};
use x509_parser::extensions::GeneralName;

/// Returns true if a certificate has an alternative name (SAN) for all hosts of one domain, and
/// this host is one of them.
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
    let is_covered = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => {
            name.strip_prefix("*.").is_some_and(|behind| behind.eq_ignore_ascii_case(domain))
        }
        _ => false,
    };
    let names = own.subject_alternative_name();
    names.is_ok_and(|names| names.is_some_and(|names| names.value.general_names.iter().any(is_covered)))
}

#[cfg(test)]
mod tests {
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
            let asked = crate::server_name(host).unwrap();
            let judged = known.verify_server_cert(own.der(), &[], &asked, &[], UnixTime::now());
            assert_eq!(judged.is_ok(), is_believed, "{name} {host}: {judged:?}");
        }
    }
}
