//! # Certificates and tokens
//!
//! ## In Kubernetes
//! kubeadm makes one certificate authority per cluster and a certificate for every component; the
//! common name is the user, the organizations are the groups. Service accounts carry signed JSON
//! web tokens instead.
//! ## How this one works
//! [`Ca`] issues ECDSA P-256 certificates (small, fast to check) and signs the [`Request`]s of
//! others: with ECDSA P-256 and P-384, RSA and Ed25519 keys. [`TokenKey`] signs ES256 tokens. Both
//! live in the cluster's directory with mode 0600. The certificates of components are made at every
//! start, the authority and the token key only once; an authority whose key is missing is not
//! replaced. Certificates of others are judged by webpki, and by [`leaf`] where Go believes one
//! that webpki does not read, as one of X.509 version 1, or a server's own authority.
//! ## Left out
//! Revocation lists: Kubernetes has none either. Intermediate authorities; RSA keys that are made
//! here (an authority's files may be replaced by such a pair). Requests with P-521 keys, ECDSA with
//! SHA-512, or RSA keys of fewer than 2048 or more than 8192 bits: the API accepts them, and the
//! cluster's own signers give them the condition `Failed`. Certificates that are signed with ECDSA
//! and SHA-512: a client that shows one is answered 401. Renewal in a running cluster: certificates
//! of components last a year, and only the next start makes new ones.
//! ## Read next
//! `apiserver`, which authenticates with both.

mod authorities;
mod clients;
mod der;
mod ecdsa;
mod files;
mod foreign;
mod leaf;
mod pem;
mod request;
mod sign;
mod signatures;
mod token;
mod uri;

pub use clients::{Client, Clients, asking_server_config, mutual_server_config, server_config};
pub use files::write_private;
pub use foreign::{Trust, Unusable, check_pair, foreign_client};
pub use request::{Proof, Request, check_certificates, valid_until};
pub use token::{LEGACY_ISSUER, TokenKey};

use authorities::Authorities;
use clock::{self, Timestamp};
use files::{is_there, read, rename_private};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a certificate, a key or a token cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make a certificate for {subject}")]
    Certificate {
        subject: String,
        #[source]
        cause: rcgen::Error,
    },
    #[error("{} is not a key or certificate that this program wrote", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the certificate of the authority in {} is valid from {from} until {until}, and now it is {now}: set the clock of this machine, or delete the cluster and make it anew", path.display())]
    Expired { path: PathBuf, from: Timestamp, until: Timestamp, now: Timestamp },
    /// With another authority in its place all that it has issued would be refused.
    #[error("{} is there, and its key {} is missing: bring the key back, or delete the cluster and make it anew", certificate.display(), key.display())]
    KeyMissing { certificate: PathBuf, key: PathBuf },
    #[error("cannot use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("a certificate, key or authority in PEM form cannot be used: {0}")]
    Pem(String),
    /// The authority cannot sign now.
    #[error("the certificate authority cannot sign: {0}")]
    Authority(String),
    /// A certificate request that will never be signed.
    #[error("{0}")]
    Request(String),
    #[error("the TLS library refuses this configuration")]
    Tls(#[from] rustls::Error),
    #[error("token: {0}")]
    Token(String),
}

/// A certificate and its key, as PEM texts.
#[derive(Clone)]
pub struct Identity {
    pub cert_pem: String,
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)") // keys stay out of logs
    }
}

/// The numbers of the attributes commonName and organizationName (X.520).
const COMMON_NAME: [u64; 4] = [2, 5, 4, 3];
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// What a certificate is for.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The user name, e.g. `system:kube-scheduler`.
    pub common_name: String,
    /// The group, e.g. `system:nodes`.
    pub organization: Option<String>,
    /// A second group.
    pub second: Option<String>,
    /// DNS names and addresses; empty for clients.
    pub names: Vec<String>,
}

impl Subject {
    /// Makes the subject of a client: a user in one group. Without an `organization` it is in none.
    pub fn client(common_name: &str, organization: &str) -> Subject {
        let organization = (!organization.is_empty()).then(|| organization.to_string());
        Subject { common_name: common_name.into(), organization, ..Subject::default() }
    }
    /// The same client, in one more group.
    pub fn and_in(self, organization: &str) -> Subject {
        Subject { second: Some(organization.into()), ..self }
    }
    /// Makes the subject of a server that is reached by these DNS names and addresses.
    pub fn server(common_name: &str, names: &[&str]) -> Subject {
        Subject {
            common_name: common_name.into(),
            names: names.iter().map(ToString::to_string).collect(),
            ..Subject::default()
        }
    }

    /// Encodes the subject of a certificate in DER: the groups, then the user.
    fn encode(&self) -> Vec<u8> {
        let attribute = |number: &[u64], text: &str| {
            der::tlv(0x31, &der::sequence(&[der::oid(number), der::tlv(0x0c, text.as_bytes())]))
        };
        let groups = [&self.organization, &self.second].into_iter().flatten();
        let mut all: Vec<Vec<u8>> = groups.map(|group| attribute(&ORGANIZATION, group)).collect();
        all.push(attribute(&COMMON_NAME, &self.common_name));
        der::sequence(&all)
    }
}

/// A certificate authority.
pub struct Ca {
    pem: String,
    /// The end of its certificate. Nothing that it signs lives longer.
    until: Timestamp,
    key: KeyPair,
}

impl Ca {
    /// Reads `ca.crt` and `ca.key` from the directory, or makes them.
    ///
    /// # Errors
    /// A file cannot be used, the key alone is missing, the two are no pair, or the certificate is
    /// not valid now.
    pub fn load_or_create(dir: &Path, name: &str) -> Result<Ca, Error> {
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        // The key's name until both are written: where it is there, nothing has been issued yet.
        let unfinished = dir.join("ca.key.new");
        if is_there(&key_path) {
            let damaged = |cause| Error::Damaged { path: key_path.clone(), cause: Box::new(cause) };
            let text = read(&key_path)?;
            let key = KeyPair::from_pem(&text).map_err(damaged)?;
            let pem = read(&cert_path)?;
            check_pair(pem.as_bytes(), text.as_bytes())
                .map_err(|why| Error::Damaged { path: cert_path.clone(), cause: why.into() })?;
            let until = until_of(&pem, &cert_path)?;
            return Ok(Ca { pem, until, key });
        }
        if is_there(&cert_path) && !is_there(&unfinished) {
            return Err(Error::KeyMissing { certificate: cert_path, key: key_path });
        }
        let failed = |cause| Error::Certificate { subject: name.to_string(), cause };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = params(&Subject::client(name, ""), 3650)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        write_private(&unfinished, &key.serialize_pem())?;
        write_private(&cert_path, &pem)?;
        rename_private(&unfinished, &key_path)?;
        let until = until_of(&pem, &cert_path)?;
        Ok(Ca { pem, until, key })
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Makes a key and a certificate for it, for both ends of a connection. It is valid for a year,
    /// or as long as the authority.
    ///
    /// # Errors
    /// `Certificate`: a name is not ASCII, or no key can be made. `Authority`, `Pem`: the authority
    /// cannot sign.
    pub fn issue(&self, subject: &Subject) -> Result<Identity, Error> {
        let failed = |cause| Error::Certificate { subject: subject.common_name.clone(), cause };
        let key = KeyPair::generate().map_err(failed)?;
        let mut names = Request::default();
        for host in &subject.names {
            if host.parse::<IpAddr>().is_ok() {
                names.addresses.push(host.clone());
                continue;
            }
            Ia5String::try_from(host.as_str()).map_err(failed)?; // nothing else may stand there
            names.dns_names.push(host.clone());
        }
        let mut usages = vec!["digital signature".to_string(), "client auth".to_string()];
        if !subject.names.is_empty() {
            usages.push("server auth".to_string());
        }
        let (now, day) = (clock::now(), jiff::SignedDuration::from_hours(24));
        let cert_pem = self.write(&sign::Wanted {
            subject: subject.encode(),
            public_key: &key.subject_public_key_info(),
            from: now - day,
            until: self.until.min(now + day * 365),
            names: &names,
            usages: &usages,
        })?;
        Ok(Identity { cert_pem, key_pem: key.serialize_pem() })
    }
}

/// Returns the end of an authority's certificate.
///
/// # Errors
/// It is not valid now.
fn until_of(pem: &str, path: &Path) -> Result<Timestamp, Error> {
    let damaged = || Error::Damaged { path: path.into(), cause: "not a certificate".into() };
    let (from, until) = request::validity(pem.as_bytes()).ok_or_else(damaged)?;
    let now = clock::now();
    match from <= now && now <= until {
        true => Ok(until),
        false => Err(Error::Expired { path: path.into(), from, until, now }),
    }
}

fn params(subject: &Subject, days: i64) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if let Some(organization) = &subject.organization {
        name.push(DnType::OrganizationName, organization.as_str());
    }
    if let Some(second) = &subject.second {
        // The certificate library keeps one entry of each type: the second is told by its number.
        name.push(DnType::CustomDnType(ORGANIZATION.to_vec()), second.as_str());
    }
    name.push(DnType::CommonName, subject.common_name.as_str());
    params.distinguished_name = name;
    for host in &subject.names {
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(ip) => SanType::IpAddress(ip),
            Err(_) => SanType::DnsName(
                host.as_str()
                    .try_into()
                    .map_err(|cause| Error::Certificate { subject: subject.common_name.clone(), cause })?,
            ),
        });
    }
    let day = |offset: i64| {
        let date =
            (clock::now() + jiff::SignedDuration::from_hours(24 * offset)).strftime("%Y %m %d").to_string();
        let part = |n: usize| date.split(' ').nth(n).and_then(|p| p.parse::<i32>().ok()).unwrap_or(1);
        rcgen::date_time_ymd(part(0), part(1) as u8, part(2) as u8)
    };
    (params.not_before, params.not_after) = (day(-1), day(days));
    Ok(params)
}

fn chain(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let certs = CertificateDer::pem_slice_iter(identity.cert_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Error::Pem(e.to_string()))?;
    let key =
        PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(|e| Error::Pem(e.to_string()))?;
    Ok((certs, key))
}

/// Reads the authorities of a bundle.
///
/// # Errors
/// One of them cannot be read.
fn trusted(ca_pem: &str) -> Result<Authorities, Error> {
    let mut all = Authorities::empty();
    for cert in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        all.add(cert.map_err(|e| Error::Pem(e.to_string()))?)?;
    }
    Ok(all)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// TLS for a client; without an identity it is anonymous or uses a token. It believes servers of an
/// authority as long as the authority is valid.
///
/// # Errors
/// `Pem`: the certificate, the key or an authority cannot be read. `Tls`: the key is not the
/// certificate's own.
pub fn client_config(
    identity: Option<&Identity>,
    ca_pem: &str,
    alpn: &[&str],
) -> Result<Arc<rustls::ClientConfig>, Error> {
    let builder =
        rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = foreign::known(builder, trusted(ca_pem)?, provider());
    let mut config = match identity {
        Some(identity) => {
            let (certs, key) = chain(identity)?;
            builder.with_client_cert_resolver(foreign::one_identity(certs, key)?)
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// The name to check a server's certificate against: a host name or an address.
///
/// # Errors
/// `Pem`: the text is neither.
pub fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(host.to_string()).map_err(|e| Error::Pem(e.to_string()))
}

/// Returns user and groups of a client certificate: its last common name and its organizations.
/// `None` if the common name is missing or empty.
pub fn user_of(der: &[u8]) -> Option<(String, Vec<String>)> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
    let name = request::common_name(cert.subject()).filter(|name| !name.is_empty())?;
    let groups =
        cert.subject().iter_organization().filter_map(|o| o.as_str().ok()).map(String::from).collect();
    Some((name, groups))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    #[test]
    fn an_authority_survives_a_restart_and_its_certificates_name_user_and_groups() {
        let dir = tempfile::tempdir().unwrap();
        let first = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let again = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        assert_eq!(first.pem(), again.pem());
        let id = again.issue(&Subject::client("system:node:n1", "system:nodes")).unwrap();
        let (certs, _) = chain(&id).unwrap();
        assert_eq!(user_of(&certs[0]), Some(("system:node:n1".into(), vec!["system:nodes".into()])));
        let server = again.issue(&Subject::server("kube-apiserver", &["localhost", "127.0.0.1"])).unwrap();
        server_config(&server, first.pem()).unwrap();
        client_config(Some(&id), first.pem(), &["h2"]).unwrap();
    }

    /// Writes the files of an authority that is valid for these days from now.
    fn authority(dir: &Path, from: i64, until: i64) {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&Subject::client("kubernetes", ""), until).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        if from > 0 {
            params.not_before = params.not_after - Duration::from_secs(3600);
        }
        fs::write(dir.join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(dir.join("ca.key"), key.serialize_pem()).unwrap();
    }

    #[test]
    fn nothing_outlives_its_authority_and_one_that_is_not_valid_is_named_with_its_dates() {
        let dir = tempfile::tempdir().unwrap();
        authority(dir.path(), 0, 30);
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let end = valid_until(ca.pem().as_bytes()).unwrap();
        let own = ca.issue(&Subject::client("jane", "dev")).unwrap();
        assert_eq!(valid_until(own.cert_pem.as_bytes()), Some(end));
        for (from, until) in [(0, 0), (30, 31)] {
            authority(dir.path(), from, until);
            let error = Ca::load_or_create(dir.path(), "kubernetes").err().unwrap();
            assert!(matches!(error, Error::Expired { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("ca.crt") && text.contains("is valid from 20"), "{text}");
        }
    }

    /// RFC 5280 names `99991231235959Z` for a certificate without an end.
    #[test]
    fn a_certificate_without_an_end_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let endless = |name: &str| {
            let mut params = params(&Subject::client(name, ""), 1).unwrap();
            params.not_after = rcgen::date_time_ymd(9999, 12, 31) + Duration::from_secs(86_399);
            params
        };
        let key = KeyPair::generate().unwrap();
        let mut own = endless("kubernetes");
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(dir.path().join("ca.crt"), own.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(dir.path().join("ca.key"), key.serialize_pem()).unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        assert!(valid_until(server.cert_pem.as_bytes()).unwrap() < Timestamp::MAX);
        let (_, clients) = asking_server_config(&server, ca.pem()).unwrap();
        let issuer = rcgen::Issuer::from_params(&own, &key);
        let jane = endless("jane").signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let client = clients.judge(&[jane.der().clone()]).unwrap().unwrap();
        assert_eq!((client.name.as_str(), client.until), ("jane", Timestamp::MAX));
    }

    #[test]
    fn a_certificate_and_a_key_that_are_no_pair_are_named() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&dir, &other] {
            Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        }
        fs::copy(other.path().join("ca.crt"), dir.path().join("ca.crt")).unwrap();
        let error = Ca::load_or_create(dir.path(), "kubernetes").err().unwrap();
        assert!(matches!(&error, Error::Damaged { path, .. } if path.ends_with("ca.crt")), "{error:?}");
    }

    /// The usual advice is to keep the key of an authority elsewhere.
    #[test]
    fn an_authority_whose_key_is_away_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        fs::rename(at("ca.key"), at("safe")).unwrap();
        let refused = || Ca::load_or_create(dir.path(), "kubernetes").err().unwrap();
        let error = refused();
        assert!(matches!(&error, Error::KeyMissing { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("ca.crt") && text.contains("ca.key"), "{text}");
        // A link to a disk that is not there now.
        std::os::unix::fs::symlink(at("unplugged"), at("ca.key")).unwrap();
        let error = refused();
        assert!(matches!(&error, Error::File { path, .. } if path.ends_with("ca.key")), "{error:?}");
        assert_eq!(fs::read_to_string(at("ca.crt")).unwrap(), ca.pem());
        fs::rename(at("safe"), at("ca.key")).unwrap();
        assert_eq!(Ca::load_or_create(dir.path(), "kubernetes").unwrap().pem(), ca.pem());
    }

    #[test]
    fn a_first_start_that_ended_half_way_is_gone_through_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("ca.key.new"), "of a start that ended here").unwrap();
        Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        fs::rename(at("ca.key"), at("ca.key.new")).unwrap(); // it ended after the certificate
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        assert_eq!(Ca::load_or_create(dir.path(), "kubernetes").unwrap().pem(), ca.pem());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "a certificate and its key");
    }

    #[test]
    fn a_damaged_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        fs::write(dir.path().join("ca.key"), "nonsense").unwrap();
        let error = Ca::load_or_create(dir.path(), "kubernetes").err().unwrap().to_string();
        assert!(error.contains("ca.key"), "{error}");
    }
}
