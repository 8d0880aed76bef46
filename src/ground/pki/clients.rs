//! Authenticates clients by their certificates. The way of a certificate:
//!
//! 1. [`Believing`] takes the certificates of the handshake, or of [`Clients::judge`] after it.
//! 2. `authorities` gives webpki the authorities that count now, and webpki judges (`strict`).
//! 3. `leaf` judges once more where webpki does not believe a leaf that Go believes; `signatures`
//!    verifies.
//! 4. `user` reads the user, the groups and the uid.

use super::authorities::{Authorities, Serves};
use super::error::Error;
use super::identity::{Identity, chain, provider, trusted};
use super::signatures::proof_of_the_key;
use super::user::{uid_of, user};
use super::{certificate, leaf, signatures};
use clock::{self, Timestamp};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, DistinguishedName, RootCertStore};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The purpose for which a client shows its certificate.
pub(super) const CLIENTS: Serves = |usages| usages.client_auth;

/// How many certificates that a client shows beside its own count, in a handshake and after it. The
/// end of each may cost one more judgement ([`Believing::until`]). webpki follows no longer chain.
const BESIDE_MAX: usize = 8;

/// A client that its certificate has authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The common name of the subject, which Kubernetes takes as the user's name.
    pub name: String,
    /// The user's uid; empty unless the certificate has one.
    pub uid: String,
    /// The organizations of the subject, e.g. `system:masters`.
    pub groups: Vec<String>,
    /// The SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// Until when the certificate is believed: it ends, or the last chain of authorities above it
    /// does. Connections may live longer.
    pub until: Timestamp,
}

/// Judges certificates after the handshake, as an API server does: a client of another authority
/// reads `401 Unauthorized` in words, and may still come with a token.
#[derive(Clone, Debug)]
pub struct Clients(Arc<Believing>);

impl Clients {
    /// Authenticates a client by its certificate, the first of `certs`. The certificates after it,
    /// of which eight count, may lead to the authority. `None`: the certificate names no user.
    ///
    /// # Errors
    /// Why the certificate is not believed, e.g. `invalid peer certificate: UnknownIssuer`.
    pub fn judge(&self, certs: &[CertificateDer<'_>]) -> Result<Option<Client>, String> {
        let Some((own, more)) = certs.split_first() else { return Ok(None) };
        let more = counted(more);
        let now = u64::try_from(clock::now().as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        self.0.verify_client_cert(own, more, now).map_err(|e| e.to_string())?;
        let (_, parsed) = x509_parser::parse_x509_certificate(own).map_err(|e| e.to_string())?;
        let (_, end) = certificate::times(parsed.validity());
        let until = self.0.until(own, more, now, end);
        let user = user(parsed.subject());
        let user =
            user.map_err(|why| format!("x509: invalid RDNSequence: invalid attribute value: {why}"))?;
        let Some((name, groups)) = user else { return Ok(None) };
        let uid = uid_of(parsed.subject())?;
        let fingerprint = Sha256::digest(own).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Some(Client { name, uid, groups, fingerprint, until }))
    }
}

/// Returns the certificates beside a client's own that count: the first [`BESIDE_MAX`].
fn counted<'a, 'b>(more: &'a [CertificateDer<'b>]) -> &'a [CertificateDer<'b>] {
    &more[..more.len().min(BESIDE_MAX)]
}

/// TLS for a server that asks for client certificates, and accepts each whose key the client proves
/// to have. [`Clients`] authenticates the client after the handshake.
///
/// # Errors
/// The identity or the authority cannot be used.
pub fn asking_server_config(
    identity: &Identity,
    ca_pem: &str,
) -> Result<(Arc<rustls::ServerConfig>, Clients), Error> {
    let judge = Arc::new(Believing::new(ca_pem, false)?);
    let later = Later { judge: judge.clone(), provider: provider() };
    Ok((Arc::new(server(identity, Arc::new(later))?), Clients(judge)))
}

/// TLS for a server that asks for client certificates but does not insist. A certificate of another
/// authority ends the handshake; [`asking_server_config`] is for servers that answer in words.
///
/// # Errors
/// The identity or the authority cannot be used.
pub fn server_config(identity: &Identity, ca_pem: &str) -> Result<Arc<rustls::ServerConfig>, Error> {
    judging(identity, Believing::new(ca_pem, false)?)
}

/// TLS for a server that ends the handshake with every client that has no certificate of this
/// authority.
///
/// # Errors
/// The identity or the authority cannot be used.
pub fn mutual_server_config(identity: &Identity, ca_pem: &str) -> Result<Arc<rustls::ServerConfig>, Error> {
    judging(identity, Believing::new(ca_pem, true)?)
}

/// TLS for a server that judges in the handshake alone. The server resumes no session: for seven
/// days rustls would believe the certificate of the first handshake, also one that has ended since.
fn judging(identity: &Identity, judge: Believing) -> Result<Arc<rustls::ServerConfig>, Error> {
    let mut config = server(identity, Arc::new(judge))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// TLS for a server whose clients are judged by `verifier`.
fn server(identity: &Identity, verifier: Arc<dyn ClientCertVerifier>) -> Result<rustls::ServerConfig, Error> {
    let (certs, key) = chain(identity)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certs, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Believes the certificates of an authority, also those that only Go believes (see [`leaf`]).
#[derive(Debug)]
struct Believing {
    /// webpki's verifier with all authorities.
    strict: Arc<dyn ClientCertVerifier>,
    authorities: Authorities,
    provider: Arc<CryptoProvider>,
}

impl Believing {
    /// `insists`: no client goes without a certificate.
    fn new(ca_pem: &str, insists: bool) -> Result<Believing, Error> {
        let authorities = trusted(ca_pem)?.only_for(CLIENTS);
        let (roots, provider) = (Arc::new(authorities.roots().clone()), provider());
        let strict = strict(roots, &provider, insists).map_err(|e| Error::Pem(e.to_string()))?;
        Ok(Believing { strict, authorities, provider })
    }

    /// Returns webpki's verdict, by the authorities alone that are valid now and may stand so far
    /// above the leaf: webpki looks neither at their time nor at their limit.
    fn judge_strictly(
        &self,
        own: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        self.authorities.judge(more, now, |roots, beside| {
            let verifier = match std::ptr::eq(roots, self.authorities.roots()) {
                true => self.strict.clone(),
                // Without any authority there is no verifier.
                false => strict(Arc::new(roots.clone()), &self.provider, true)
                    .map_err(|_| rustls::Error::from(CertificateError::UnknownIssuer))?,
            };
            verifier.verify_client_cert(own, beside, now).map(drop)
        })
    }

    /// Returns until when a certificate is believed that is believed now and has this `end`. The
    /// certificate is judged once more for each authority that ends before it, whether trusted or
    /// shown by the client: of two trusted authorities only the one above it counts.
    fn until(
        &self,
        own: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        now: UnixTime,
        end: Timestamp,
    ) -> Timestamp {
        let is_believed = |second: i64| {
            let second = u64::try_from(second).unwrap_or_default();
            let then = UnixTime::since_unix_epoch(std::time::Duration::from_secs(second));
            self.verify_client_cert(own, more, then).is_ok()
        };
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let end_of = |own: &CertificateDer<'_>| {
            signatures::parse(own).ok().map(|own| own.validity().not_after.timestamp())
        };
        let shown = more.iter().filter_map(end_of);
        let mut ends = self.authorities.ends_within(now, end.as_second());
        ends.extend(shown.filter(|last| (now..end.as_second()).contains(last)));
        ends.sort_unstable();
        let last = ends.into_iter().find(|last| !is_believed(last.saturating_add(1)));
        last.and_then(|last| Timestamp::from_second(last).ok()).unwrap_or(end)
    }
}

/// Returns webpki's verifier of clients. `insists`: no client goes without a certificate.
fn strict(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    insists: bool,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
    if insists { builder.build() } else { builder.allow_unauthenticated().build() }
}

impl ClientCertVerifier for Believing {
    fn client_auth_mandatory(&self) -> bool {
        self.strict.client_auth_mandatory()
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verdict = self.judge_strictly(own, counted(more), now);
        let known = &self.provider.signature_verification_algorithms;
        leaf::reconsider(verdict, own, &self.authorities, now, CLIENTS, known)?;
        Ok(ClientCertVerified::assertion())
    }
    proof_of_the_key!(provider);
}

/// Asks for a certificate and for the proof that the client has its key. [`Clients`] judges the
/// certificate later.
#[derive(Debug)]
struct Later {
    judge: Arc<Believing>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Later {
    fn client_auth_mandatory(&self) -> bool {
        false
    }
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.judge.root_hint_subjects()
    }
    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }
    proof_of_the_key!(provider);
}

#[cfg(test)]
mod tests {
    use super::super::testing::leaf_over_middle;
    use super::super::{Ca, Subject, der};
    use super::*;
    use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair};

    #[test]
    fn only_certificates_of_the_authority_are_believed() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let other = Ca::load_or_create(other.path(), "kubernetes").unwrap();
        let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let (_, clients) = asking_server_config(&server, ca.pem()).unwrap();
        let subject = Subject::client("jane", "dev");
        let judge = |ca: &Ca| clients.judge(&chain(&ca.issue(&subject).unwrap()).unwrap().0);
        let jane = judge(&ca).unwrap().unwrap();
        assert_eq!((jane.name.as_str(), jane.groups), ("jane", vec!["dev".to_string()]));
        assert!(jane.uid.is_empty() && jane.fingerprint.len() == 64);
        assert!(jane.until > clock::now() + jiff::SignedDuration::from_hours(24 * 300));
        assert!(judge(&other).is_err(), "an authority with the same name and another key");
        assert_eq!(clients.judge(&[]), Ok(None));
        assert!(clients.judge(&[CertificateDer::from(vec![0x30, 0])]).is_err());
    }

    #[test]
    fn an_authority_that_has_ended_is_believed_no_more() {
        let key = KeyPair::generate().unwrap();
        let mut own = crate::ca::params(&Subject::client("short", ""), 1).unwrap();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = own.self_signed(&key).unwrap().pem();
        let (subject, issuer) = (Subject::client("jane", "dev"), Issuer::from_params(&own, &key));
        let longer = crate::ca::params(&subject, 300).unwrap();
        let jane = longer.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let other = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let (joe, _) = chain(&other.issue(&subject).unwrap()).unwrap();
        let judge = |ca_pem: &str, cert: &CertificateDer<'_>, days: u64| {
            let seconds = UnixTime::now().as_secs() + days * 24 * 60 * 60;
            let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
            let believing = Believing::new(ca_pem, false).unwrap();
            believing.verify_client_cert(cert, &[], now).map(drop).map_err(|e| e.to_string())
        };
        let both = format!("{pem}{}", other.pem());
        for ca_pem in [&pem, &both] {
            assert_eq!(judge(ca_pem, jane.der(), 0), Ok(()));
            let why = judge(ca_pem, jane.der(), 3).unwrap_err();
            assert!(why.contains("UnknownIssuer"), "{why}");
        }
        assert_eq!(judge(&both, &joe[0], 3), Ok(()), "its authority goes on");
        let dir = tempfile::tempdir().unwrap();
        let server = Ca::load_or_create(dir.path(), "x").unwrap();
        let server = server.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let until = |ca_pem: &str, cert: &CertificateDer<'static>| {
            let (_, clients) = asking_server_config(&server, ca_pem).unwrap();
            clients.judge(std::slice::from_ref(cert)).unwrap().unwrap().until
        };
        let days = |days: i64| clock::now() + jiff::SignedDuration::from_hours(24 * days);
        for ca_pem in [&pem, &both] {
            let end = until(ca_pem, jane.der());
            assert!(end < days(3), "{end}");
        }
        let end = until(&both, &joe[0]);
        assert!(end > days(300), "{end}: its authority goes on");
    }

    /// As in Go, which judges the whole chain at each request.
    #[test]
    fn an_intermediate_authority_that_has_ended_is_believed_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let server = Ca::load_or_create(dir.path(), "x").unwrap();
        let server = server.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let judge = |days: i64, before: usize| {
            let made = leaf_over_middle(&Subject::client("jane", "dev"), 200, days, &[]);
            let (_, clients) = asking_server_config(&server, &made.root_pem).unwrap();
            let mut certs = vec![made.leaf; 1 + before];
            certs.push(made.middle);
            // The handshake counts as many certificates as the judgement after it.
            let believing = Believing::new(&made.root_pem, true).unwrap();
            let verdict = believing.verify_client_cert(&certs[0], &certs[1..], UnixTime::now());
            assert_eq!(verdict.is_ok(), before < BESIDE_MAX);
            let client = clients.judge(&certs)?.unwrap();
            Ok::<_, String>(client.until.duration_since(clock::now()).as_hours() / 24)
        };
        assert!(judge(2, 0).unwrap() < 4 && judge(250, 0).unwrap() > 190);
        // An authority behind the eighth certificate does not count.
        assert!(judge(2, 7).unwrap() < 4 && judge(2, 8).is_err());
    }

    #[test]
    fn an_authority_between_that_may_not_sign_makes_no_clients() {
        use rcgen::KeyUsagePurpose::{self, DigitalSignature, KeyCertSign};
        let judge = |usages: &[KeyUsagePurpose]| {
            let made = leaf_over_middle(&Subject::client("jane", "dev"), 1, 30, usages);
            let believing = Believing::new(&made.root_pem, false).unwrap();
            believing.verify_client_cert(&made.leaf, &[made.middle], UnixTime::now()).is_ok()
        };
        assert!(judge(&[]) && judge(&[KeyCertSign]) && !judge(&[DigitalSignature]));
    }

    /// As in Go: the extended usages of an authority are those of all that it signs.
    #[test]
    fn an_authority_for_servers_alone_makes_no_clients() {
        use rcgen::ExtendedKeyUsagePurpose::{self, Any, ClientAuth, ServerAuth};
        let dir = tempfile::tempdir().unwrap();
        let other = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let judge = |usages: &[ExtendedKeyUsagePurpose]| {
            let key = KeyPair::generate().unwrap();
            let mut own = crate::ca::params(&Subject::client("ca", ""), 30).unwrap();
            own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            own.extended_key_usages = usages.to_vec();
            let pem = own.self_signed(&key).unwrap().pem();
            let jane = crate::ca::params(&Subject::client("jane", "dev"), 1).unwrap();
            let issuer = Issuer::from_params(&own, &key);
            let jane = jane.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
            let believing = Believing::new(&format!("{pem}{}", other.pem()), false).unwrap();
            let verdict = believing.verify_client_cert(jane.der(), &[], UnixTime::now());
            verdict.map(drop).map_err(|e| e.to_string())
        };
        let good: [&[ExtendedKeyUsagePurpose]; 4] = [&[], &[ClientAuth], &[Any], &[ServerAuth, ClientAuth]];
        for usages in good {
            assert_eq!(judge(usages), Ok(()), "{usages:?}");
        }
        let why = judge(&[ServerAuth]).unwrap_err();
        assert!(why.contains("UnknownIssuer"), "{why}");
    }

    #[test]
    fn a_name_that_cannot_be_read_does_not_leave_another_one_as_the_users() {
        use rcgen::PublicKeyData;
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let (_, clients) = asking_server_config(&server, ca.pem()).unwrap();
        let attribute = |number: u64, tag: u8, text: &[u8]| {
            der::tlv(0x31, &der::sequence(&[der::oid(&[2, 5, 4, number]), der::tlv(tag, text)]))
        };
        let judge = |attributes: &[Vec<u8>]| {
            let (key, now) = (KeyPair::generate().unwrap(), clock::now());
            let wanted = crate::sign::Wanted {
                subject: der::sequence(attributes),
                public_key: &key.subject_public_key_info(),
                from: now - jiff::SignedDuration::from_hours(1),
                until: now + jiff::SignedDuration::from_hours(1),
                names: &crate::Request::default(),
                usages: &["client auth".to_string()],
            };
            let identity = Identity { cert_pem: ca.write(&wanted).unwrap(), key_pem: key.serialize_pem() };
            clients.judge(&chain(&identity).unwrap().0)
        };
        let admin = attribute(3, 0x0c, b"admin");
        let (joe, group) = (attribute(3, 0x1e, b"\0j\0o\0e"), attribute(10, 0x14, b"d\xe9v"));
        let joe = judge(&[admin.clone(), joe, group]).unwrap().unwrap();
        assert_eq!((joe.name.as_str(), joe.groups), ("joe", vec!["dév".to_string()]));
        for unreadable in
            [attribute(3, 0x0c, b"\xff"), attribute(3, 0x13, b"a@b"), attribute(11, 0x1c, b"\0\0\0a")]
        {
            let why = judge(&[admin.clone(), unreadable]).unwrap_err();
            assert!(why.contains("invalid attribute value"), "{why}");
        }
        let cut = [admin, der::tlv(0x31, &[]), attribute(3, 0x0c, b"joe")];
        assert!(judge(&cut).is_err(), "the certificate is joe's; x509-parser stops at the empty part");
    }
}
