//! TLS towards servers that are not this cluster's: those that a kubeconfig, a probe or a `curl`
//! names. [`Known`] judges this cluster's servers, too.

use super::authorities::{Authorities, Serves};
use super::identity::{certificates, provider};
use super::pair::{is_pair, private_key};
use super::signatures::{self, proof_of_the_key};
use super::system::SYSTEM;
use super::{doubt, leaf, pem, wildcard};
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    Resumption, WantsClientCert, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ConfigBuilder, WantsVerifier};
use std::sync::Arc;

/// The purpose for which a server shows its certificate.
pub(super) const SERVERS: Serves = |usages| usages.server_auth;

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those of every server that has the key of its certificate: `--insecure-skip-tls-verify`,
    /// `curl -k`, and probes of the kubelet, which ask only whether a server answers.
    Anyone,
    /// Those of servers below these authorities, as PEM.
    These(Vec<u8>),
    /// Those of servers below the authorities that the machine trusts. As in Go, these authorities
    /// are in a file and in directories, for which `SSL_CERT_FILE` and `SSL_CERT_DIR` (with colons
    /// between) name others. On a machine without such authorities no server is believed.
    System,
}

/// The part of a client's configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// No certificate in the authorities' PEM can be used.
    #[error("{0}")]
    Authorities(String),
    /// The client's certificate cannot be read, or the key is not its own.
    #[error("{0}")]
    Certificate(String),
    /// The client's key cannot be read.
    #[error("{0}")]
    Key(String),
    /// The library supports no version of TLS that both sides allow.
    #[error("{0}")]
    Versions(String),
}

/// TLS for a client that shows this certificate with this key, both PEM, if there is one. `alpn`
/// empty: HTTP/1.1, as upgrades need it.
///
/// # Errors
/// `Authorities`: the PEM of [`Trust::These`] has no certificate that can be used. `Certificate`:
/// the client's certificate cannot be read, or the key is not its own. `Key`: the key cannot be
/// read.
pub fn foreign_client(
    trust: &Trust,
    identity: Option<(&[u8], &[u8])>,
    alpn: &[&str],
) -> Result<Arc<ClientConfig>, Unusable> {
    client_of(trust, identity, alpn, |known| Arc::new(known))
}

/// As [`foreign_client`]. `judging` makes the verifier of servers out of the one that would judge
/// them by [`Trust::These`] or [`Trust::System`].
///
/// # Errors
/// As [`foreign_client`].
pub(super) fn client_of(
    trust: &Trust,
    identity: Option<(&[u8], &[u8])>,
    alpn: &[&str],
    judging: fn(Known) -> Arc<dyn ServerCertVerifier>,
) -> Result<Arc<ClientConfig>, Unusable> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Unusable::Versions(e.to_string()))?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Anyone => Arc::new(AnyCertificate(provider)),
        Trust::These(pem) => judging(Known { authorities: these(pem)?, provider }),
        Trust::System => judging(Known { authorities: SYSTEM.clone(), provider }),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let config = match identity {
        Some((certificate, key)) => {
            let chain = certificates(certificate);
            let key = private_key(key, chain.first()).map_err(Unusable::Key)?;
            let resolver = one_identity(chain, key).map_err(|e| Unusable::Certificate(e.to_string()))?;
            builder.with_client_cert_resolver(resolver)
        }
        None => builder.with_no_client_auth(),
    };
    Ok(finish(config, alpn))
}

/// Finishes the configuration of a client. The client resumes no session: rustls would go on to
/// believe the certificate of the first handshake, also one that has ended since. Go's clients of
/// Kubernetes resume none either.
pub(super) fn finish(mut config: ClientConfig, alpn: &[&str]) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Returns the identity that a client shows to every server. rustls' own way to make one reads
/// certificates of version 3 only.
///
/// # Errors
/// The certificate or the key cannot be read, or the two are no pair.
pub(super) fn one_identity(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<SingleCertAndKey>, rustls::Error> {
    let key = provider().key_provider.load_private_key(key)?;
    let own = chain.first().ok_or(rustls::Error::NoCertificatesPresented)?;
    if !is_pair(&signatures::parse(own)?, &*key) {
        return Err(rustls::InconsistentKeys::KeyMismatch.into());
    }
    Ok(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
}

/// Reads the authorities of [`Trust::These`] that may sign servers.
///
/// # Errors
/// No certificate in the text can be used.
pub(super) fn these(pem: &[u8]) -> Result<Authorities, Unusable> {
    let mut all = Authorities::empty();
    all.add_parsable(pem);
    match all.count() {
        0 => Err(Unusable::Authorities(why_none(pem).into())),
        _ => Ok(all.only_for(SERVERS)),
    }
}

/// Says why a bundle has no certificate that can be used. Source: `createErrorParsingCAData` in
/// client-go.
fn why_none(bundle: &[u8]) -> &'static str {
    let (blocks, is_read_to_end) = pem::read(bundle);
    match blocks.iter().any(pem::Block::is_certificate) {
        true => "failed to parse certificate: x509: malformed certificate",
        // Other blocks are passed over, e.g. a key.
        false if is_read_to_end => "no valid certificate authority data seen",
        false => "unable to parse bytes as PEM block",
    }
}

/// Lets a client believe the servers of these authorities.
pub(super) fn known(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    authorities: Authorities,
    provider: Arc<CryptoProvider>,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    builder.dangerous().with_custom_certificate_verifier(Arc::new(Known { authorities, provider }))
}

/// Believes servers of these authorities, also those whose certificates only Go believes (see
/// [`leaf`]): a server may show a self-signed certificate with `CA:TRUE` that is the authority, or
/// any certificate that is trusted itself.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) authorities: Authorities,
    pub(super) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(own).map_err(|why| doubt::unread(why, own, name, now))?;
        let known = &self.provider.signature_verification_algorithms;
        let verdict = self.authorities.judge(more, now, |roots, beside| {
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, beside, now, known.all)
        });
        let verdict = leaf::reconsider(verdict, own, &self.authorities, now, SERVERS, known);
        let trial =
            doubt::Trial { authorities: &self.authorities, beside: more, now, serves: SERVERS, known };
        verdict.map_err(|why| trial.reason(why, own))?;
        match verify_server_name(&parsed, name) {
            Err(why) if !wildcard::covers(own, name) => Err(doubt::unnamed(why, own, name)),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }
    proof_of_the_key!(provider);
}

/// Believes every server that proves that it has the key of its certificate.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    proof_of_the_key!(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ca, Subject};

    #[test]
    fn certificates_that_cannot_be_used_spoil_no_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let good = Ca::load_or_create(dir.path(), "ca").unwrap().pem().to_string();
        let block = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let bad = block("aGVsbG8=") + &block("no base64!") + &good;
        for bundle in [bad.clone(), good.clone() + &block("aGVsbG8=")] {
            assert_eq!(these(bundle.as_bytes()).unwrap().count(), 1);
        }
        // The second block begins where the first one has not ended.
        let torn = format!("-----BEGIN CERTIFICATE-----\naGVs\n{good}");
        assert_eq!(these(torn.as_bytes()).unwrap().count(), 1);
        let key = std::fs::read_to_string(dir.path().join("ca.key")).unwrap();
        for (bundle, why) in [
            (block("aGVsbG8="), "failed to parse certificate: x509: malformed certificate"),
            (key.clone() + "# the end\n", "unable to parse bytes as PEM block"),
            (key.clone() + &block("aGVsbG8="), "failed to parse certificate: x509: malformed certificate"),
            (key, "no valid certificate authority data seen"),
            ("hello".into(), "unable to parse bytes as PEM block"),
        ] {
            assert_eq!(these(bundle.as_bytes()).unwrap_err().to_string(), why);
        }
    }

    /// A kubeconfig whose key is PKCS #8 under the label of PKCS #1, as some programs write it, and
    /// whose certificate stands behind one that was cut off.
    #[test]
    fn a_client_shows_the_certificate_and_the_key_that_go_reads() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "ca").unwrap();
        let own = ca.issue(&Subject::client("jane", "")).unwrap();
        let key_pem = own.key_pem.replace("PRIVATE KEY", "RSA PRIVATE KEY");
        let cert_pem = format!("-----BEGIN CERTIFICATE-----\naGVs\n{}", own.cert_pem);
        let made = |cert: &str, key: &str| {
            let identity = Some((cert.as_bytes(), key.as_bytes()));
            foreign_client(&Trust::Anyone, identity, &[]).map(drop)
        };
        made(&cert_pem, &key_pem).unwrap();
        let why = made(&cert_pem, &cert_pem).unwrap_err();
        assert!(matches!(why, Unusable::Key(_)), "{why}");
        let why = made(&key_pem, &key_pem).unwrap_err();
        assert!(matches!(why, Unusable::Certificate(_)), "{why}");
        let identity = crate::Identity { cert_pem, key_pem };
        crate::client_config(Some(&identity), ca.pem(), &[]).unwrap();
    }

    #[test]
    fn a_self_signed_authority_is_believed_as_a_server_too() {
        use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair};
        let made = |usages: &[ExtendedKeyUsagePurpose]| {
            let mut own = crate::ca::params(&Subject::server("x", &["127.0.0.1"]), 1).unwrap();
            own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained); // as `openssl req -x509` does
            own.extended_key_usages = usages.to_vec();
            own.self_signed(&KeyPair::generate().unwrap()).unwrap()
        };
        let judge = |own: &rcgen::Certificate, trusted: &rcgen::Certificate, name: &str| {
            let authorities = these(trusted.pem().as_bytes()).unwrap();
            let known = Known { authorities, provider: crate::identity::provider() };
            let (name, now) = (crate::server_name(name).unwrap(), UnixTime::now());
            known.verify_server_cert(own.der(), &[], &name, &[], now).map(drop).map_err(|e| e.to_string())
        };
        let (one, other) = (made(&[]), made(&[]));
        assert_eq!(judge(&one, &one, "127.0.0.1"), Ok(()));
        assert!(judge(&one, &one, "127.0.0.2").unwrap_err().contains("not valid for name"));
        assert!(judge(&one, &other, "127.0.0.1").unwrap_err().contains("ECDSA verification failure"));
        let client = made(&[ExtendedKeyUsagePurpose::ClientAuth]);
        assert!(judge(&client, &client, "127.0.0.1").unwrap_err().contains("InvalidPurpose"));
        foreign_client(&Trust::These(one.pem().into_bytes()), None, &[]).unwrap();
    }

    #[test]
    fn a_server_of_an_authority_that_has_ended_is_not_believed() {
        use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair};
        let key = KeyPair::generate().unwrap();
        let mut own = crate::ca::params(&Subject::client("ca", ""), 1).unwrap();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = own.self_signed(&key).unwrap().pem();
        let longer = crate::ca::params(&Subject::server("x", &["127.0.0.1"]), 300).unwrap();
        let issuer = Issuer::from_params(&own, &key);
        let server = longer.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let known =
            Known { authorities: these(pem.as_bytes()).unwrap(), provider: crate::identity::provider() };
        let judge = |days: u64| {
            let seconds = UnixTime::now().as_secs() + days * 24 * 60 * 60;
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
            let name = crate::server_name("127.0.0.1").unwrap();
            known.verify_server_cert(server.der(), &[], &name, &[], now).map(drop).map_err(|e| e.to_string())
        };
        assert_eq!(judge(0), Ok(()));
        assert!(judge(3).unwrap_err().contains("certificate expired"));
    }

    #[test]
    fn an_intermediate_authority_that_may_not_sign_makes_no_servers() {
        use rcgen::KeyUsagePurpose::{self, DigitalSignature, KeyCertSign};
        let judge = |usages: &[KeyUsagePurpose]| {
            let made = crate::testing::leaf_over_middle(&Subject::server("x", &["127.0.0.1"]), 1, 30, usages);
            let authorities = these(made.root_pem.as_bytes()).unwrap();
            let known = Known { authorities, provider: crate::identity::provider() };
            let (name, now) = (crate::server_name("127.0.0.1").unwrap(), UnixTime::now());
            known.verify_server_cert(&made.leaf, &[made.middle], &name, &[], now).is_ok()
        };
        assert!(judge(&[]) && judge(&[KeyCertSign]) && !judge(&[DigitalSignature]));
    }

    #[test]
    fn an_authority_that_allows_no_other_below_it_makes_no_servers_over_one() {
        use rcgen::BasicConstraints::{self, Constrained, Unconstrained};
        let judge = |limit: BasicConstraints, between: usize| {
            let subject = Subject::server("x", &["127.0.0.1"]);
            let made = crate::testing::chain_below(&subject, limit, between);
            let authorities = these(made.root.pem().as_bytes()).unwrap();
            let known = Known { authorities, provider: crate::identity::provider() };
            let (name, now) = (crate::server_name("127.0.0.1").unwrap(), UnixTime::now());
            let (own, more) = made.certs.split_first().unwrap();
            known.verify_server_cert(own, more, &name, &[], now).is_ok()
        };
        assert!(judge(Constrained(0), 0) && judge(Constrained(1), 1) && judge(Unconstrained, 1));
        assert!(!judge(Constrained(0), 1) && !judge(Constrained(1), 2));
    }

    #[test]
    fn an_authority_for_clients_alone_makes_no_servers() {
        use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
        let judge = |usage: ExtendedKeyUsagePurpose| {
            let key = KeyPair::generate().unwrap();
            let mut own = crate::ca::params(&Subject::client("ca", ""), 1).unwrap();
            own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            own.extended_key_usages = vec![usage];
            let authorities = these(own.self_signed(&key).unwrap().pem().as_bytes()).unwrap();
            let server = crate::ca::params(&Subject::server("x", &["127.0.0.1"]), 1).unwrap();
            let issuer = Issuer::from_params(&own, &key);
            let server = server.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
            let known = Known { authorities, provider: crate::identity::provider() };
            let (name, now) = (crate::server_name("127.0.0.1").unwrap(), UnixTime::now());
            known.verify_server_cert(server.der(), &[], &name, &[], now).map(drop).map_err(|e| e.to_string())
        };
        assert_eq!(judge(ExtendedKeyUsagePurpose::ServerAuth), Ok(()));
        assert!(judge(ExtendedKeyUsagePurpose::ClientAuth).unwrap_err().contains("InvalidPurpose"));
    }

    /// `certificate-authority: server.crt` in a kubeconfig pins a server.
    #[test]
    fn a_server_whose_certificate_is_trusted_needs_no_authority() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "ca").unwrap();
        let issue = |name: &str| ca.issue(&Subject::server(name, &["127.0.0.1"])).unwrap();
        let (pinned, other) = (issue("a"), issue("b"));
        let authorities = these(pinned.cert_pem.as_bytes()).unwrap();
        let known = Known { authorities, provider: crate::identity::provider() };
        let judge = |server: &crate::Identity, name: &str, days: u64| {
            let (certs, _) = crate::identity::chain(server).unwrap();
            let seconds = UnixTime::now().as_secs() + days * 24 * 60 * 60;
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
            let name = crate::server_name(name).unwrap();
            known.verify_server_cert(&certs[0], &[], &name, &[], now).map(drop).map_err(|e| e.to_string())
        };
        assert_eq!(judge(&pinned, "127.0.0.1", 0), Ok(()));
        for (server, name, days, why) in [
            (&pinned, "127.0.0.2", 0, "not valid for name"),
            (&pinned, "127.0.0.1", 400, "Expired"),
            (&other, "127.0.0.1", 0, "UnknownIssuer"),
        ] {
            let error = judge(server, name, days).unwrap_err();
            assert!(error.to_lowercase().contains(&why.to_lowercase()), "{error}, wanted {why}");
        }
    }

    /// With the key of a pinned server no other server can be made. As in Go.
    #[test]
    fn a_trusted_certificate_that_may_not_sign_is_no_authority() {
        use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair, KeyUsagePurpose};
        let authority = || IsCa::Ca(BasicConstraints::Unconstrained);
        let judge = |is_ca: IsCa, usages: &[KeyUsagePurpose], leaf: IsCa| {
            let key = KeyPair::generate().unwrap();
            let mut own = crate::ca::params(&Subject::server("own", &["127.0.0.1"]), 1).unwrap();
            (own.is_ca, own.key_usages) = (is_ca, usages.to_vec());
            let trusted = own.self_signed(&key).unwrap();
            let mut other = crate::ca::params(&Subject::server("other", &["127.0.0.2"]), 1).unwrap();
            other.is_ca = leaf;
            let issuer = Issuer::from_params(&own, &key);
            let other = other.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
            let authorities = these(trusted.pem().as_bytes()).unwrap();
            let known = Known { authorities, provider: crate::identity::provider() };
            let ask = |shown: &rcgen::Certificate, name: &str| {
                let (name, now) = (crate::server_name(name).unwrap(), UnixTime::now());
                let verdict = known.verify_server_cert(shown.der(), &[], &name, &[], now);
                verdict.map(drop).map_err(|e| e.to_string())
            };
            assert_eq!(ask(&trusted, "127.0.0.1"), Ok(()), "it is trusted itself");
            ask(&other, "127.0.0.2")
        };
        let (signs, greets) = ([KeyUsagePurpose::KeyCertSign], [KeyUsagePurpose::DigitalSignature]);
        for leaf in [IsCa::NoCa, authority()] {
            assert_eq!(judge(authority(), &[], leaf), Ok(()));
            assert_eq!(judge(authority(), &signs, leaf), Ok(()));
            for (is_ca, usages) in [
                (IsCa::ExplicitNoCa, &[][..]),
                (IsCa::NoCa, &[][..]),
                (IsCa::NoCa, &signs[..]),
                (authority(), &greets[..]),
            ] {
                let why = judge(is_ca, usages, leaf).unwrap_err();
                assert!(why.contains("cannot sign"), "{is_ca:?} {usages:?}: {why}");
            }
        }
    }
}
