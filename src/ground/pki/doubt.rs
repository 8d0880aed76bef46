//! Says why a server is not believed, as precisely as Go does. webpki calls an authority unknown
//! also if it has ended, or has the right name and another key, as that of a cluster that was made
//! anew. Source: `Verify`, `buildChains` and `CheckSignatureFrom` in Go's crypto/x509.

use super::authorities::{Authorities, Serves, may_sign, may_sign_for};
use super::oids::{self, ED25519, ELLIPTIC, RSA};
use super::{der, leaf, name, signatures};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, OtherError};
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::x509::X509Version;

/// How many certificates beside a server's own count: each may cost the verification of a signature
/// at each step of a chain.
const BESIDE_MAX: usize = 8;

/// Go's words for an authority that may not sign.
const CANNOT_SIGN: &str = "x509: invalid signature: parent certificate cannot sign this kind of certificate";
/// Go's words for a kind of signature or key that it does not know.
const NOT_KNOWN: &str = "x509: cannot verify signature: algorithm unimplemented";

/// The first authority that has the name of an issuer and did not sign (`hintErr` and `hintCert` of
/// Go's `UnknownAuthorityError`).
#[derive(thiserror::Error)]
#[error(
    "certificate signed by unknown authority (possibly because of {why:?} while trying to verify candidate authority certificate {name:?})"
)]
struct AuthorityHint {
    /// Why it is not the issuer, in Go's words.
    why: String,
    name: String,
}

/// rustls writes the error of others in this form.
impl std::fmt::Debug for AuthorityHint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Returns Go's words for an unknown authority with a hint at one that has the right name and did
/// not sign, if that is why a server is not believed.
pub fn authority_hint(why: &CertificateError) -> Option<String> {
    let CertificateError::Other(OtherError(why)) = why else { return None };
    why.downcast_ref::<AuthorityHint>().map(ToString::to_string)
}

/// A certificate that has the name of its server, but not as an alternative name (SAN).
#[derive(thiserror::Error)]
#[error("certificate relies on legacy Common Name field, use SANs instead")]
struct LegacyName;

/// rustls writes the error of others in this form.
impl std::fmt::Debug for LegacyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Returns Go's words for a certificate that has the name of its server as its common name alone,
/// if that is why a server is not believed.
pub fn legacy_name(why: &CertificateError) -> Option<String> {
    let CertificateError::Other(OtherError(why)) = why else { return None };
    why.downcast_ref::<LegacyName>().map(ToString::to_string)
}

/// Returns the reason that Go gives for a certificate without the name of its server. `why`:
/// webpki's reason. Source: `HostnameError` in Go's crypto/x509.
///
/// Example: the certificate of `openssl req -x509 -subj /CN=localhost` has no alternative names. A
/// client of `localhost` reads in Go's error that it lacks them.
pub(crate) fn unnamed(why: Error, own: &CertificateDer<'_>, name: &ServerName<'_>) -> Error {
    let is_name = matches!(why, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }));
    match signatures::parse(own) {
        Ok(parsed) if is_name && is_common_name_alone(&parsed, &name.to_str()) => {
            CertificateError::Other(OtherError(Arc::new(LegacyName))).into()
        }
        _ => why,
    }
}

/// Returns the common name of a certificate's subject: the last one, if it has several.
pub(crate) fn common_name(own: &X509Certificate<'_>) -> Option<String> {
    texts(own, name::COMMON_NAME).last()
}

/// Returns true for a certificate without alternative names whose common name is this host's. The
/// first label of the common name may be `*`.
fn is_common_name_alone(own: &X509Certificate<'_>, host: &str) -> bool {
    let common = common_name(own).unwrap_or_default().to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let (labels, wanted) = (common.split('.'), host.split('.'));
    let is_same = |(at, (label, wanted)): (usize, (&str, &str))| at == 0 && label == "*" || label == wanted;
    !leaf::has_names(own)
        && labels.clone().count() == wanted.clone().count()
        && labels.zip(wanted).enumerate().all(is_same)
}

/// Returns the reason that Go gives for a server's certificate that webpki cannot read. (`why`, the
/// reason of rustls, shows names from its code.) Critical policies, which Go alone reads, are no
/// reason in Go: here they are an extension that is not handled.
pub(crate) fn unread(why: Error, own: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Error {
    let Ok(parsed) = signatures::parse(own) else { return why };
    let is_unread = |extension: &X509Extension<'_>| {
        use ParsedExtension as Is;
        let own = extension.parsed_extension();
        let is_policy = matches!(
            own,
            Is::CertificatePolicies(_)
                | Is::PolicyMappings(_)
                | Is::PolicyConstraints(_)
                | Is::InhibitAnyPolicy(_)
        );
        extension.critical && (is_policy || !leaf::may_be_critical(own))
    };
    if parsed.extensions().iter().any(is_unread) {
        return CertificateError::UnhandledCriticalExtension.into();
    }
    if let Err(time) = leaf::check_time(&parsed, now) {
        return time.into();
    }
    match parsed.version() == X509Version::V3 {
        true => why,
        // Versions before 3 have no alternative names.
        false => {
            let why =
                CertificateError::NotValidForNameContext { expected: name.to_owned(), presented: vec![] };
            unnamed(why.into(), own, name)
        }
    }
}

/// What a server's certificate was judged by.
pub(crate) struct Trial<'a> {
    pub authorities: &'a Authorities,
    /// The certificates beside the server's own.
    pub beside: &'a [CertificateDer<'a>],
    pub now: UnixTime,
    pub serves: Serves,
    pub known: &'a WebPkiSupportedAlgorithms,
}

impl Trial<'_> {
    /// Returns the reason that Go gives for a certificate that is not believed. `why`: the reason
    /// of webpki or [`leaf`], which stays where Go has none that says more.
    pub(crate) fn reason(&self, why: Error, own: &CertificateDer<'_>) -> Error {
        // In Go, too, these reasons go before those of the authority.
        let goes_first = matches!(
            why,
            Error::InvalidCertificate(
                CertificateError::UnhandledCriticalExtension | CertificateError::BadEncoding
            )
        );
        match signatures::parse(own) {
            Ok(leaf) if !goes_first && !self.authorities.contains(own) => {
                match leaf::check_time(&leaf, self.now) {
                    Ok(()) => self.above(&leaf, why, BESIDE_MAX),
                    Err(time) => time.into(),
                }
            }
            _ => why,
        }
    }

    /// Returns the certificates that may have signed another one, and whether each is trusted.
    fn candidates(&self) -> Vec<(&CertificateDer<'_>, bool)> {
        let mut all: Vec<(&CertificateDer<'_>, bool)> = vec![];
        for own in self.authorities.certificates() {
            all.push((own, true));
        }
        for own in self.beside.iter().take(BESIDE_MAX) {
            all.push((own, false));
        }
        all
    }

    /// Returns why no chain leads from a certificate, which is valid itself, to a trusted one over
    /// `steps` others at most. `why`: the reason if the certificates above are no better one.
    fn above(&self, child: &X509Certificate<'_>, why: Error, steps: usize) -> Error {
        let (mut ended, mut hint) = (None, None);
        for (own, is_trusted) in self.candidates() {
            let Ok(parent) = signatures::parse(own) else { continue };
            let is_named = parent.subject().as_raw() == child.issuer().as_raw();
            if !is_named || is_same(&parent, child) {
                continue;
            }
            if let Err(why) = check_signature(child, &parent, self.known) {
                hint.get_or_insert_with(|| AuthorityHint { why, name: name_of(&parent) });
                continue;
            }
            if let Err(time) = leaf::check_time(&parent, self.now) {
                ended = Some(time);
                continue;
            }
            return match steps.checked_sub(1) {
                Some(steps) if !is_trusted => self.above(&parent, why, steps),
                _ if is_trusted && !may_sign_for(own, self.serves) => CertificateError::InvalidPurpose.into(),
                _ => why,
            };
        }
        let hint = hint.map(|hint| CertificateError::Other(OtherError(Arc::new(hint))));
        ended.or(hint).unwrap_or(CertificateError::UnknownIssuer).into()
    }
}

/// Returns true if two certificates have the same subject and key. Without this check, an authority
/// that signed itself would stand above itself.
fn is_same(one: &X509Certificate<'_>, other: &X509Certificate<'_>) -> bool {
    one.subject().as_raw() == other.subject().as_raw() && one.public_key().raw == other.public_key().raw
}

/// Checks that the certificate `parent` may sign others and has signed `child`.
///
/// # Errors
/// `parent` may not sign, or has not signed `child`; in Go's words.
fn check_signature(
    child: &X509Certificate<'_>,
    parent: &X509Certificate<'_>,
    known: &WebPkiSupportedAlgorithms,
) -> Result<(), String> {
    if !may_sign(parent) {
        return Err(CANNOT_SIGN.into());
    }
    let (kind, failure) = match child.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.5" => return Err(insecure("SHA1-RSA")),
        "1.2.840.10045.4.1" => return Err(insecure("ECDSA-SHA1")),
        number if number.starts_with("1.2.840.113549.1.1.") => ("RSA", "crypto/rsa: verification error"),
        number if number.starts_with("1.2.840.10045.4.") => ("ECDSA", "x509: ECDSA verification failure"),
        "1.3.101.112" => ("Ed25519", "x509: Ed25519 verification failure"),
        _ => return Err(NOT_KNOWN.into()),
    };
    let keys: [(&[u64], &str, &str); 3] = [
        (&RSA, "RSA", "*rsa.PublicKey"),
        (&ELLIPTIC, "ECDSA", "*ecdsa.PublicKey"),
        (&ED25519, "Ed25519", "ed25519.PublicKey"),
    ];
    let key = &parent.public_key().algorithm.algorithm;
    let (_, own, of_type) = keys.into_iter().find(|(kind, ..)| oids::is(key, kind)).ok_or(NOT_KNOWN)?;
    if own != kind {
        return Err(format!(
            "x509: signature algorithm specifies an {kind} public key, but have public key of type {of_type}"
        ));
    }
    signatures::check_length(parent)?;
    let key = der::contents(parent.public_key().raw).unwrap_or_default();
    let key = key.first().copied().unwrap_or_default();
    signatures::verify_certificate(child, key, known).map_err(|_| failure.into())
}

/// Returns Go's words for a signature that is no longer believed.
fn insecure(algorithm: &str) -> String {
    format!("x509: cannot verify signature: insecure algorithm {algorithm}")
}

/// Returns the name that Go gives an authority in an error: its common name, else its first
/// organization, else its serial number.
fn name_of(own: &X509Certificate<'_>) -> String {
    let common = common_name(own).filter(|name| !name.is_empty());
    common
        .or_else(|| texts(own, name::ORGANIZATION).next())
        .unwrap_or_else(|| format!("serial:{}", own.serial))
}

/// Returns the texts of an attribute 2.5.4.N of a certificate's subject.
fn texts(own: &X509Certificate<'_>, number: u8) -> impl Iterator<Item = String> {
    let all = own.subject().iter_attributes();
    let all = all.filter(move |attribute| attribute.attr_type().as_bytes() == [0x55, 4, number]);
    all.filter_map(|attribute| name::text(attribute.attr_value()).ok())
}

#[cfg(test)]
mod tests {
    use crate::foreign::{Known, these};
    use crate::testing::leaf_over_middle;
    use crate::{Ca, Subject, ca, der, identity};
    use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{CertificateDer, UnixTime};
    use rustls::{CertificateError, Error};

    /// Returns why a client that trusts these authorities does not believe a server after so many
    /// days.
    fn refusal(trusted: &str, certs: &[CertificateDer<'_>], days: u64) -> CertificateError {
        let seconds = UnixTime::now().as_secs() + days * 24 * 60 * 60;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let authorities = these(trusted.as_bytes()).unwrap();
        let known = Known { authorities, provider: identity::provider() };
        let (name, (own, more)) = (crate::server_name("127.0.0.1").unwrap(), certs.split_first().unwrap());
        match known.verify_server_cert(own, more, &name, &[], now) {
            Err(Error::InvalidCertificate(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    fn server(of: &Ca) -> Vec<CertificateDer<'static>> {
        let own = of.issue(&Subject::server("x", &["127.0.0.1"])).unwrap();
        identity::chain(&own).unwrap().0
    }

    /// Makes an authority that ends after so many days, and the certificate of a server below it.
    fn below(
        key: &KeyPair,
        days: i64,
        usages: &[ExtendedKeyUsagePurpose],
    ) -> (String, Vec<CertificateDer<'static>>) {
        let mut own = ca::params(&Subject::client("kubernetes", ""), days).unwrap();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.extended_key_usages = usages.to_vec();
        let server = ca::params(&Subject::server("x", &["127.0.0.1"]), 300).unwrap();
        let issuer = Issuer::from_params(&own, key);
        let server = server.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        (own.self_signed(key).unwrap().pem(), vec![server.der().clone()])
    }

    /// The kubeconfig of a cluster that was deleted and made anew.
    #[test]
    fn an_authority_of_the_same_name_is_named_with_what_is_wrong() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let anew = Ca::load_or_create(other.path(), "kubernetes").unwrap();
        let hint = |trusted: &str| super::authority_hint(&refusal(trusted, &server(&anew), 0)).unwrap();
        let text = |why: &str| {
            format!(
                "certificate signed by unknown authority (possibly because of {why:?} while trying to verify candidate authority certificate \"kubernetes\")"
            )
        };
        assert_eq!(hint(ca.pem()), text("x509: ECDSA verification failure"));
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let why = "x509: signature algorithm specifies an ECDSA public key, but have public key of type ed25519.PublicKey";
        assert_eq!(hint(&below(&key, 30, &[]).0), text(why));
        let mut plain = ca::params(&Subject::client("kubernetes", ""), 30).unwrap();
        plain.is_ca = IsCa::ExplicitNoCa;
        let plain = plain.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        let why = "x509: invalid signature: parent certificate cannot sign this kind of certificate";
        assert_eq!(hint(&plain), text(why));
        let dir = tempfile::tempdir().unwrap();
        let stranger = Ca::load_or_create(dir.path(), "another").unwrap();
        assert_eq!(refusal(stranger.pem(), &server(&anew), 0), CertificateError::UnknownIssuer);
    }

    /// Go and OpenSSL verify signatures with such a key.
    #[test]
    fn an_authority_with_a_key_that_is_too_short_is_refused_for_that() {
        let leaf = identity::certificates(include_bytes!("openssl/small-leaf.crt"));
        let why = refusal(include_str!("openssl/small-ca.crt"), &leaf, 0);
        let hint = super::authority_hint(&why).unwrap();
        assert!(hint.contains("1024 bits") && hint.contains("small"), "{hint}");
    }

    #[test]
    fn an_authority_that_has_ended_is_not_called_unknown() {
        let (trusted, server) = below(&KeyPair::generate().unwrap(), 1, &[]);
        let why = refusal(&trusted, &server, 3);
        assert!(matches!(why, CertificateError::ExpiredContext { .. }), "{why:?}");
        // The root has ended, and the intermediate authority has not.
        let made = leaf_over_middle(&Subject::server("x", &["127.0.0.1"]), 900, 900, &[]);
        let why = refusal(&made.root_pem, &[made.leaf, made.middle], 400);
        assert!(matches!(why, CertificateError::ExpiredContext { .. }), "{why:?}");
    }

    /// As `openssl req -x509 -subj /CN=localhost` makes it, the usual first try.
    #[test]
    fn a_common_name_alone_names_no_server_and_go_says_so() {
        let reason = |common: &str, names: &[&str], host: &str| {
            let mut own = ca::params(&Subject::server(common, names), 30).unwrap();
            own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let own = own.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let authorities = these(own.pem().as_bytes()).unwrap();
            let known = Known { authorities, provider: identity::provider() };
            let name = crate::server_name(host).unwrap();
            match known.verify_server_cert(own.der(), &[], &name, &[], UnixTime::now()) {
                Err(Error::InvalidCertificate(why)) => super::legacy_name(&why),
                other => panic!("{other:?}"),
            }
        };
        let legacy = Some("certificate relies on legacy Common Name field, use SANs instead".to_string());
        for (common, host) in [
            ("localhost", "localhost"),
            ("Web.Example", "web.example."),
            ("*.example", "web.example"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(reason(common, &[], host), legacy, "{common} {host}");
        }
        for (common, names, host) in [
            ("localhost", &["other"][..], "localhost"),
            ("localhost", &[], "other"),
            ("*.example", &[], "a.web.example"),
            ("web.*", &[], "web.example"),
            ("", &[], "localhost"),
        ] {
            assert_eq!(reason(common, names, host), None, "{common} {host}");
        }
    }

    /// webpki reads neither of these certificates.
    #[test]
    fn a_version_without_names_and_an_unknown_extension_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let first = include_bytes!("openssl/jane.crt"); // of version 1
        let first = identity::certificates(first);
        let why = refusal(ca.pem(), &first, 0);
        assert!(matches!(why, CertificateError::NotValidForNameContext { .. }), "{why:?}");
        let policies = der::sequence(&[der::sequence(&[der::oid(&[1, 2, 3, 4])])]);
        for (number, value) in [(&[1, 2, 3, 4][..], vec![5, 0]), (&[2, 5, 29, 32], policies)] {
            let mut own = ca::params(&Subject::server("x", &["127.0.0.1"]), 30).unwrap();
            let mut unread = rcgen::CustomExtension::from_oid_content(number, value);
            unread.set_criticality(true);
            own.custom_extensions.push(unread);
            let own = own.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let why = refusal(ca.pem(), std::slice::from_ref(own.der()), 0);
            assert_eq!(why, CertificateError::UnhandledCriticalExtension);
        }
    }

    #[test]
    fn the_purpose_counts_after_the_authority() {
        let key = KeyPair::generate().unwrap();
        let (trusted, server) = below(&key, 30, &[ExtendedKeyUsagePurpose::ClientAuth]);
        assert_eq!(refusal(&trusted, &server, 0), CertificateError::InvalidPurpose);
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let client = identity::chain(&ca.issue(&Subject::client("x", "")).unwrap()).unwrap().0;
        let why = refusal(ca.pem(), &client, 0);
        assert!(matches!(why, CertificateError::InvalidPurposeContext { .. }), "{why:?}");
        let other = tempfile::tempdir().unwrap();
        let stranger = Ca::load_or_create(other.path(), "another").unwrap();
        assert_eq!(refusal(stranger.pem(), &client, 0), CertificateError::UnknownIssuer);
    }
}
