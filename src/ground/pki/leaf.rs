//! Judges the leaf certificates that Go believes and webpki does not: those of X.509 version 1,
//! which OpenSSL before 3.2 writes where no extension is asked for, those that are marked as an
//! authority (`CA:TRUE`), as everything that `openssl req -x509` makes, those for any purpose
//! (`anyExtendedKeyUsage`), and those with certificate policies that are critical. Of servers,
//! whose names webpki has to read, neither version 1 nor critical policies are believed.
//!
//! Only an authority that is trusted itself may have signed such a leaf; a chain over others is
//! left to webpki, which reads critical policies of a trusted authority and not of an intermediate
//! one. A leaf that is trusted itself needs no authority: so a server is pinned.
//! Source: `Verify` in Go's crypto/x509.

use super::authorities::{Authorities, Serves};
use super::{der, signatures};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, Error};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

/// Returns the verdict on a leaf: webpki's own, or another one where webpki does not believe the
/// leaf and Go may.
///
/// # Errors
/// The certificate is not believed. For a leaf that webpki reads, webpki's reason stays.
pub(crate) fn reconsider(
    verdict: Result<(), Error>,
    leaf: &CertificateDer<'_>,
    authorities: &Authorities,
    now: UnixTime,
    serves: Serves,
    known: &WebPkiSupportedAlgorithms,
) -> Result<(), Error> {
    let Err(why) = verdict else { return Ok(()) };
    let is_trusted = authorities.contains(leaf);
    let Ok(leaf) = signatures::parse(leaf) else { return Err(why) };
    let is_read = leaf.version() == X509Version::V3 && !leaf.is_ca() && !is_trusted;
    check_content(&leaf, now, serves).map_err(|own| if is_read { why.clone() } else { own.into() })?;
    if is_trusted {
        return Ok(());
    }
    // A leaf may demand policies of the whole chain, which are not compared here.
    let is_demand = |parsed: &ParsedExtension<'_>| matches!(parsed, ParsedExtension::PolicyConstraints(_));
    if leaf.extensions().iter().any(|extension| is_demand(extension.parsed_extension())) {
        return Err(if is_read { why } else { CertificateError::UnhandledCriticalExtension.into() });
    }
    let issuer = der::contents(leaf.issuer().as_raw()).unwrap_or_default();
    let is_issuer = |root: &&TrustAnchor<'_>| issuer.first().is_some_and(|name| **name == *root.subject);
    let mut last = Error::from(CertificateError::UnknownIssuer);
    for root in authorities.valid_at(now).roots.iter().filter(is_issuer) {
        // Only webpki knows the rules about the names that an authority may sign.
        if root.name_constraints.is_some() && has_names(&leaf) {
            last = why.clone();
            continue;
        }
        match signatures::verify_certificate(&leaf, &root.subject_public_key_info, known) {
            Ok(()) => return Ok(()),
            Err(wrong) => last = wrong,
        }
    }
    Err(if is_read { why } else { last })
}

/// Returns true if a certificate has alternative names (SANs).
pub(crate) fn has_names(leaf: &X509Certificate<'_>) -> bool {
    leaf.extensions()
        .iter()
        .any(|e| matches!(e.parsed_extension(), ParsedExtension::SubjectAlternativeName(_)))
}

/// Checks that a certificate is valid at a time.
///
/// # Errors
/// It has ended, or is not valid yet. The error has the times, which a user of kubectl reads.
pub(crate) fn check_time(own: &X509Certificate<'_>, now: UnixTime) -> Result<(), CertificateError> {
    let at = |time: ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    };
    let (not_before, not_after) = (at(own.validity().not_before), at(own.validity().not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before });
    }
    match now <= not_after {
        true => Ok(()),
        false => Err(CertificateError::ExpiredContext { time: now, not_after }),
    }
}

/// Checks the time, the extensions and the purpose of a leaf.
fn check_content(leaf: &X509Certificate<'_>, now: UnixTime, serves: Serves) -> Result<(), CertificateError> {
    check_time(leaf, now)?;
    if leaf.extensions_map().is_err() {
        return Err(CertificateError::BadEncoding); // one extension twice
    }
    for extension in leaf.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => return Err(CertificateError::BadEncoding),
            parsed if extension.critical && !may_be_critical(parsed) => {
                return Err(CertificateError::UnhandledCriticalExtension);
            }
            ParsedExtension::ExtendedKeyUsage(usages) if !usages.any && !serves(usages) => {
                return Err(CertificateError::InvalidPurpose);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns true for an extension that Go reads also where it is critical; x509-parser reads more.
/// Name constraints are among them if they are about the four kinds of names that Go knows. Source:
/// `processExtensions` and `parseNameConstraintsExtension` in Go's crypto/x509.
pub(crate) fn may_be_critical(extension: &ParsedExtension<'_>) -> bool {
    use ParsedExtension as Is;
    if let Is::NameConstraints(limits) = extension {
        let subtrees = limits.permitted_subtrees.iter().chain(&limits.excluded_subtrees).flatten();
        return subtrees.map(|subtree| &subtree.base).all(|name| {
            use GeneralName as Name;
            matches!(name, Name::DNSName(_) | Name::RFC822Name(_) | Name::URI(_) | Name::IPAddress(_))
        });
    }
    matches!(
        extension,
        Is::KeyUsage(_)
            | Is::BasicConstraints(_)
            | Is::SubjectAlternativeName(_)
            | Is::CRLDistributionPoints(_)
            | Is::ExtendedKeyUsage(_)
            | Is::CertificatePolicies(_)
            | Is::PolicyMappings(_)
            | Is::PolicyConstraints(_)
            | Is::InhibitAnyPolicy(_)
    )
}

#[cfg(test)]
mod tests {
    use crate::identity::provider;
    use crate::testing::{HOUR, Leaf, extension, name};
    use crate::{Ca, Clients, Identity, Subject, der};
    use rcgen::KeyPair;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use std::path::Path;
    use std::sync::Arc;

    fn key_of(dir: &Path) -> KeyPair {
        KeyPair::from_pem(&std::fs::read_to_string(dir.join("ca.key")).unwrap()).unwrap()
    }

    /// Makes an extension with names of the issuer, as a critical one. Go does not know this kind.
    fn issuer_names() -> Vec<u8> {
        extension(18, true, &der::sequence(&[der::tlv(0x82, b"ca.example")]))
    }

    /// Two authorities of the same name, and the clients that the first one's API server believes.
    struct Two {
        clients: Clients,
        own: KeyPair,
        other: KeyPair,
    }

    impl Two {
        fn new() -> Two {
            let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
            Ca::load_or_create(elsewhere.path(), "kubernetes").unwrap();
            let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
            let (_, clients) = crate::asking_server_config(&server, ca.pem()).unwrap();
            Two { clients, own: key_of(dir.path()), other: key_of(elsewhere.path()) }
        }

        /// Judges a leaf that this key signs in the name of `issuer`.
        fn judge(&self, leaf: &Leaf, issuer: &str, key: &KeyPair) -> Result<(), String> {
            let identity = leaf.sign(issuer, key);
            self.clients.judge(&crate::identity::chain(&identity).unwrap().0).map(drop)
        }
    }

    /// Goes through a handshake in memory; returns the certificates that the server got.
    fn handshake(
        server: Arc<rustls::ServerConfig>,
        client: Arc<rustls::ClientConfig>,
    ) -> Result<Vec<CertificateDer<'static>>, rustls::Error> {
        Ok(connect(server, client)?.peer_certificates().unwrap_or_default().to_vec())
    }

    fn connect(
        server: Arc<rustls::ServerConfig>,
        client: Arc<rustls::ClientConfig>,
    ) -> Result<rustls::ServerConnection, rustls::Error> {
        let mut server = rustls::ServerConnection::new(server).unwrap();
        let name = crate::server_name("localhost").unwrap();
        let mut client = rustls::ClientConnection::new(client, name).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut wire = vec![];
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(server)
    }

    /// Between two connections the client's certificate may have ended, or its authority.
    #[test]
    fn a_client_that_comes_again_is_judged_again() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = ca.issue(&Subject::server("kubelet", &["localhost"])).unwrap();
        let jane = ca.issue(&Subject::client("jane", "")).unwrap();
        for config in [crate::server_config, crate::mutual_server_config] {
            let server = config(&server, ca.pem()).unwrap();
            let mut client = (*crate::client_config(Some(&jane), ca.pem(), &[]).unwrap()).clone();
            // This client keeps the sessions of its first connection for the second.
            client.resumption = rustls::client::Resumption::in_memory_sessions(8);
            connect_twice(&server, &Arc::new(client));
        }
    }

    /// Between two connections the server's certificate may have ended.
    #[test]
    fn a_server_that_is_asked_again_is_judged_again() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        // This server would resume the sessions of its clients.
        let (server, _) = crate::asking_server_config(&server, ca.pem()).unwrap();
        let trust = crate::Trust::These(ca.pem().as_bytes().to_vec());
        connect_twice(&server, &crate::client_config(None, ca.pem(), &[]).unwrap());
        connect_twice(&server, &crate::foreign_client(&trust, None, &[]).unwrap());
    }

    /// Connects twice, and checks that each side judges the other one's certificate each time.
    fn connect_twice(server: &Arc<rustls::ServerConfig>, client: &Arc<rustls::ClientConfig>) {
        for _ in 0..2 {
            let connection = connect(server.clone(), client.clone()).unwrap();
            assert_eq!(connection.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }

    fn roots(ca_pem: &str) -> rustls::RootCertStore {
        crate::identity::trusted(ca_pem).unwrap().roots().clone()
    }

    /// `etcdctl --cacert expired.crt`, as in Go.
    #[test]
    fn a_server_of_an_authority_that_has_ended_fails_the_handshake() {
        use rcgen::{BasicConstraints, IsCa, Issuer};
        let greet = |days: i64| {
            let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
            let mut own = crate::ca::params(&Subject::client("ca", ""), days).unwrap();
            own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let ca_pem = own.self_signed(&ca_key).unwrap().pem();
            let longer = crate::ca::params(&Subject::server("x", &["localhost"]), 300).unwrap();
            let cert = longer.signed_by(&key, &Issuer::from_params(&own, &ca_key)).unwrap();
            let server = Identity { cert_pem: cert.pem(), key_pem: key.serialize_pem() };
            let server = crate::server_config(&server, &ca_pem).unwrap();
            let client = crate::client_config(None, &ca_pem, &[]).unwrap();
            handshake(server, client).map(drop).map_err(|e| e.to_string())
        };
        assert_eq!(greet(1), Ok(()));
        let why = greet(0).unwrap_err();
        assert!(why.contains("certificate expired"), "{why}");
    }

    #[test]
    fn a_client_certificate_of_version_1_passes_the_handshake_and_names_its_user() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let (config, clients) = crate::asking_server_config(&server, ca.pem()).unwrap();
        for leaf in [Leaf::version_1(), Leaf::authority()] {
            let jane = leaf.sign("kubernetes", &key_of(dir.path()));
            for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
                let (certs, key) = crate::identity::chain(&jane).unwrap();
                let client = rustls::ClientConfig::builder_with_provider(provider())
                    .with_protocol_versions(&[version])
                    .unwrap()
                    .with_root_certificates(roots(ca.pem()))
                    .with_client_cert_resolver(crate::foreign::one_identity(certs, key).unwrap());
                let seen = handshake(config.clone(), Arc::new(client)).unwrap();
                assert_eq!(clients.judge(&seen).unwrap().unwrap().name, "jane");
            }
            let client = crate::client_config(Some(&jane), ca.pem(), &[]).unwrap();
            let strict = crate::mutual_server_config(&server, ca.pem()).unwrap();
            assert_eq!(handshake(strict, client).unwrap().len(), 1);
        }
        // For these certificates, too, the client has to prove that it has the key.
        let jane = Leaf::version_1().sign("kubernetes", &key_of(dir.path()));
        let (certs, _) = crate::identity::chain(&jane).unwrap();
        let other = KeyPair::generate().unwrap().serialize_pem();
        let (_, other) = crate::identity::chain(&Identity { key_pem: other, ..jane }).unwrap();
        assert!(crate::foreign::one_identity(certs.clone(), other.clone_key()).is_err());
        let other = provider().key_provider.load_private_key(other).unwrap();
        let stolen = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(certs, other));
        let client = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(ca.pem()))
            .with_client_cert_resolver(Arc::new(stolen));
        let refused = handshake(config, Arc::new(client)).unwrap_err();
        assert!(refused.to_string().contains("BadSignature"), "{refused}");
    }

    #[test]
    fn what_openssl_writes_without_extensions_names_its_user() {
        // An authority and, without an extensions section, `openssl ca` (3.0) for a request of
        // `/CN=jane/O=dev`: version 1, with RSA keys.
        let dir = tempfile::tempdir().unwrap();
        let own = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = own.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let (_, clients) = crate::asking_server_config(&server, include_str!("openssl/ca.crt")).unwrap();
        let jane = include_bytes!("openssl/jane.crt");
        let jane: Vec<_> = CertificateDer::pem_slice_iter(jane).map(Result::unwrap).collect();
        let client = clients.judge(&jane).unwrap().unwrap();
        assert_eq!((client.name.as_str(), client.groups), ("jane", vec!["dev".to_string()]));
    }

    #[test]
    fn a_leaf_that_webpki_does_not_read_is_checked_all_the_same() {
        let two = Two::new();
        let (own, other) = (&two.own, &two.other);
        let usage = |n| extension(37, false, &der::sequence(&[der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, n])]));
        let ended = Leaf { until: clock::now() - HOUR, ..Leaf::version_1() };
        for (leaf, issuer, key, why) in [
            (Leaf::version_1(), "kubernetes", other, "BadSignature"),
            (Leaf::authority(), "kubernetes", other, "BadSignature"),
            (Leaf::version_1(), "another", own, "UnknownIssuer"),
            (ended, "kubernetes", own, "certificate expired"),
            (Leaf::authority().with(usage(1)), "kubernetes", own, "InvalidPurpose"),
            (Leaf::authority().with(extension(99, true, &[5, 0])), "kubernetes", own, "CriticalExtension"),
            (Leaf::authority().with(issuer_names()), "kubernetes", own, "CriticalExtension"),
            (Leaf::authority().with(usage(2)).with(usage(2)), "kubernetes", own, "BadEncoding"),
        ] {
            let error = two.judge(&leaf, issuer, key).unwrap_err();
            assert!(error.contains(why), "{error}, wanted {why}");
        }
        for leaf in [Leaf::version_1(), Leaf::authority(), Leaf::authority().with(usage(2))] {
            assert_eq!(two.judge(&leaf, "kubernetes", own), Ok(()));
        }
    }

    #[test]
    fn a_leaf_for_any_purpose_or_with_critical_policies_is_believed() {
        let two = Two::new();
        let (own, other) = (&two.own, &two.other);
        let any = || extension(37, false, &der::sequence(&[der::oid(&[2, 5, 29, 37, 0])]));
        let policy = der::sequence(&[der::oid(&[2, 5, 29, 32, 0])]);
        let policies = || extension(32, true, &der::sequence(std::slice::from_ref(&policy)));
        let for_servers = extension(37, false, &der::sequence(&[der::oid(&[1, 3, 6, 1, 5, 5, 7, 3, 1])]));
        let judge = |leaf: &Leaf, key: &KeyPair| two.judge(leaf, "kubernetes", key);
        for leaf in [Leaf::plain(), Leaf::plain().with(any()), Leaf::plain().with(policies())] {
            assert_eq!(judge(&leaf, own), Ok(()));
            assert!(judge(&leaf, other).is_err(), "another authority's key");
        }
        let ended = Leaf { until: clock::now() - HOUR, ..Leaf::plain() };
        let unknown = Leaf::plain().with(any()).with(extension(99, true, &[5, 0]));
        let names = Leaf::plain().with(issuer_names());
        let demand = extension(36, true, &der::sequence(&[der::tlv(0x80, &[0])]));
        let demand = Leaf::plain().with(demand);
        let version_4 = Leaf { version: 3, ..Leaf::plain() };
        for leaf in [ended.with(any()), unknown, names, demand, version_4, Leaf::plain().with(for_servers)] {
            assert!(judge(&leaf, own).is_err());
        }
    }

    /// In an authority that is trusted, critical policies are passed over, as in Go.
    #[test]
    fn an_authority_with_critical_policies_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let own = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = own.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let policy = der::sequence(&[der::oid(&[2, 5, 29, 32, 0])]);
        let policies = extension(32, true, &der::sequence(std::slice::from_ref(&policy)));
        let root = Leaf::authority().with(policies).sign("kubernetes", &key_of(dir.path()));
        let (_, clients) = crate::asking_server_config(&server, &root.cert_pem).unwrap();
        let jane = Leaf::plain().sign("jane", &KeyPair::from_pem(&root.key_pem).unwrap());
        let (certs, _) = crate::identity::chain(&jane).unwrap();
        assert_eq!(clients.judge(&certs).unwrap().unwrap().name, "jane");
    }

    /// Go follows such chains. webpki does not, and nothing else follows any.
    #[test]
    fn an_intermediate_authority_that_webpki_does_not_read_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let own = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = own.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let key = |identity: &Identity| KeyPair::from_pem(&identity.key_pem).unwrap();
        let judge = |middle: Leaf, leaf: Leaf| {
            let root = Leaf::authority().sign("kubernetes", &key_of(dir.path()));
            let (_, clients) = crate::asking_server_config(&server, &root.cert_pem).unwrap();
            let middle = middle.sign("jane", &key(&root));
            let leaf = leaf.sign("jane", &key(&middle));
            let shown = crate::identity::certificates((leaf.cert_pem + &middle.cert_pem).as_bytes());
            clients.judge(&shown).map(drop)
        };
        let any = || extension(37, false, &der::sequence(&[der::oid(&[2, 5, 29, 37, 0])]));
        let policy = der::sequence(&[der::oid(&[2, 5, 29, 32, 0])]);
        let policies = extension(32, true, &der::sequence(std::slice::from_ref(&policy)));
        let subjects = der::tlv(0xa0, &der::sequence(&[der::tlv(0xa4, &name("joe"))]));
        let subjects = extension(30, false, &der::sequence(&[subjects]));
        assert_eq!(judge(Leaf::authority(), Leaf::plain()), Ok(()));
        for unread in [any(), policies, subjects] {
            assert!(judge(Leaf::authority().with(unread), Leaf::plain()).is_err());
        }
        for leaf in [Leaf::version_1(), Leaf::authority(), Leaf::plain().with(any())] {
            assert!(judge(Leaf::authority(), leaf).is_err());
        }
    }

    /// Also if it is trusted, as in Go.
    #[test]
    fn an_authority_with_a_critical_extension_that_go_does_not_read_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let own = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = own.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let judge = |extension: Vec<u8>| {
            let root = Leaf::authority().with(extension).sign("kubernetes", &key_of(dir.path()));
            let bundle = own.pem().to_string() + &root.cert_pem;
            let (_, clients) = crate::asking_server_config(&server, &bundle).unwrap();
            let jane = Leaf::plain().sign("jane", &KeyPair::from_pem(&root.key_pem).unwrap());
            clients.judge(&crate::identity::chain(&jane).unwrap().0).map(drop)
        };
        let limits = |base: Vec<u8>| {
            let permitted = der::tlv(0xa0, &der::sequence(&[base]));
            extension(30, true, &der::sequence(&[permitted]))
        };
        assert_eq!(judge(extension(99, false, &[5, 0])), Ok(()));
        assert_eq!(judge(limits(der::tlv(0x82, b"example"))), Ok(()));
        for unread in [extension(99, true, &[5, 0]), limits(der::tlv(0xa4, &name("jane")))] {
            let why = judge(unread).unwrap_err();
            assert!(why.contains("UnknownIssuer"), "{why}");
        }
    }
}
