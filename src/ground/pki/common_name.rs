//! Servers that have their name as the common name alone. Go refuses them since 1.15; curl, built
//! with OpenSSL, believes them. A name with an asterisk stands for fewer hosts in curl than in Go.

use super::foreign::{Known, SERVERS, Trust, Unusable, client_of};
use super::signatures::{self, proof_of_the_key};
use super::{doubt, leaf};
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, Error};
use std::sync::Arc;

/// Makes TLS for curl: as [`foreign_client`](super::foreign_client), and a server whose certificate
/// has no alternative names (SANs) may have its name as the common name.
///
/// Example: with the certificate of `openssl req -x509 -subj /CN=web.example`, curl believes the
/// server `web.example`, and kubectl does not.
///
/// # Errors
/// As [`foreign_client`](super::foreign_client).
pub fn curl_client(
    trust: &Trust,
    identity: Option<(&[u8], &[u8])>,
    alpn: &[&str],
) -> Result<Arc<ClientConfig>, Unusable> {
    client_of(trust, identity, alpn, |known| {
        let provider = known.provider.clone();
        Arc::new(ByCommonName { known, provider })
    })
}

/// Believes what [`Known`] believes, and servers that have their name as the common name alone, but
/// no name with an asterisk and one label behind it.
#[derive(Debug)]
struct ByCommonName {
    known: Known,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ByCommonName {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        status: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Err(why) = self.known.verify_server_cert(own, more, name, status, now) else {
            verify_server_name(&ParsedCertificate::try_from(own)?, name)?; // as narrow as curl
            return Ok(ServerCertVerified::assertion());
        };
        if !lacks_an_alternative_name(&why) || !is_narrow(own, name) {
            return Err(why);
        }
        // webpki does not read a certificate of version 1: so far only its time and its name were
        // judged.
        if ParsedCertificate::try_from(own).is_err() {
            let known = &self.provider.signature_verification_algorithms;
            leaf::reconsider(Err(why), own, &self.known.authorities, now, SERVERS, known)?;
        }
        Ok(ServerCertVerified::assertion())
    }
    proof_of_the_key!(provider);
}

/// Returns true if a server is not believed because its name is the common name alone.
fn lacks_an_alternative_name(why: &Error) -> bool {
    matches!(why, Error::InvalidCertificate(why) if doubt::legacy_name(why).is_some())
}

/// Returns true for a common name without `*`, and for one with two labels or more behind the `*`
/// if the host is no address. Source: `hostmatch` in curl's lib/vtls/hostcheck.c.
///
/// ```text
/// localhost   *.web.example     yes
/// *           *.example         no
/// ```
fn is_narrow(own: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok(own) = signatures::parse(own) else { return false };
    let common = doubt::common_name(&own).unwrap_or_default();
    let is_name = matches!(name, ServerName::DnsName(_));
    !common.starts_with('*') || is_name && common.matches('.').count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::these;
    use crate::{Subject, ca, identity};
    use rcgen::{BasicConstraints, IsCa, KeyPair};

    /// Returns whether curl believes that a server with the certificate `own` is `host`.
    fn is_believed(own: &CertificateDer<'_>, authority_pem: &str, host: &str) -> bool {
        let authorities = these(authority_pem.as_bytes()).unwrap();
        let known = Known { authorities, provider: identity::provider() };
        let verifier = ByCommonName { known, provider: identity::provider() };
        let name = crate::server_name(host).unwrap();
        verifier.verify_server_cert(own, &[], &name, &[], UnixTime::now()).is_ok()
    }

    #[test]
    fn a_common_name_alone_names_a_server_for_curl() {
        let made = |common: &str, names: &[&str]| {
            let mut own = ca::params(&Subject::server(common, names), 30).unwrap();
            own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained); // as `openssl req -x509` does
            own.self_signed(&KeyPair::generate().unwrap()).unwrap()
        };
        for (common, names, host, wanted) in [
            ("localhost", &[][..], "localhost", true),
            ("Web.Example", &[], "web.example.", true),
            ("127.0.0.1", &[], "127.0.0.1", true),
            ("*.web.example", &[], "a.web.example", true),
            ("*.example", &[], "web.example", false),
            ("*", &[], "localhost", false),
            ("*.0.0.1", &[], "127.0.0.1", false),
            ("localhost", &[], "other", false),
            ("localhost", &["other"], "localhost", false),
            ("x", &["localhost"], "localhost", true),
            ("x", &["*.web.example"], "a.web.example", true),
            ("x", &["*.example"], "web.example", false),
        ] {
            let own = made(common, names);
            assert_eq!(is_believed(own.der(), &own.pem(), host), wanted, "{common} {names:?} {host}");
            assert!(!is_believed(own.der(), &made(common, names).pem(), host), "of another: {common}");
        }
    }

    /// As `openssl x509 -req` makes it before OpenSSL 3.2.
    #[test]
    fn a_certificate_of_version_1_has_an_authority_too() {
        let jane = identity::certificates(include_bytes!("openssl/jane.crt"));
        let authority = include_str!("openssl/ca.crt");
        assert!(is_believed(&jane[0], authority, "jane"));
        assert!(!is_believed(&jane[0], authority, "joe"));
        let other = ca::params(&Subject::server("kubernetes", &[]), 30).unwrap();
        let other = other.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert!(!is_believed(&jane[0], &other.pem(), "jane"), "its authority is unknown");
    }
}
