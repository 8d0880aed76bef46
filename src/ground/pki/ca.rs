//! The certificate authority in its files, and the subjects that it names.

use super::authorities::{may_sign, may_sign_for};
use super::certificate::validity;
use super::clients::CLIENTS;
use super::der;
use super::error::Error;
use super::files::{is_there, read, remove_unfinished, rename_private, write_private};
use super::foreign::SERVERS;
use super::identity::certificates;
use super::keys::read_key;
use super::pair::check_pair;
use super::signatures;
use clock::{self, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use std::net::IpAddr;
use std::path::Path;

/// The attributes commonName and organizationName (X.520).
const COMMON_NAME: [u64; 4] = [2, 5, 4, 3];
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// Whom a certificate is for: a client, or a server with its names.
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
    pub(super) fn encode(&self) -> Vec<u8> {
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
    /// The end of the authority's certificate. No certificate that it signs lives longer.
    pub(super) until: Timestamp,
    pub(super) key: KeyPair,
}

impl Ca {
    /// Reads `ca.crt` and `ca.key` from the directory, or makes them. Unfinished files of killed
    /// writers are removed there ([`remove_unfinished`]).
    ///
    /// # Errors
    /// A file cannot be used, the key alone is missing, the two are no pair, or the certificate may
    /// not sign others or is not valid now.
    pub fn load_or_create(dir: &Path, name: &str) -> Result<Ca, Error> {
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        // The key's name until key and certificate are written.
        let unfinished = dir.join("ca.key.new");
        remove_unfinished(dir);
        if is_there(&cert_path) && !is_there(&key_path) {
            // A first start ended before it renamed the key, or the key is kept elsewhere.
            let is_own = is_there(&unfinished)
                && check_pair(read(&cert_path)?.as_bytes(), read(&unfinished)?.as_bytes()).is_ok();
            if !is_own {
                return Err(Error::KeyMissing { certificate: cert_path, key: key_path });
            }
            rename_private(&unfinished, &key_path)?;
        }
        if is_there(&key_path) {
            let damaged = |cause| Error::Damaged { path: key_path.clone(), cause };
            let text = read(&key_path)?;
            let key = read_key(&text).map_err(damaged)?;
            let pem = read(&cert_path)?;
            check_pair(pem.as_bytes(), text.as_bytes())
                .map_err(|why| Error::Damaged { path: cert_path.clone(), cause: why.into() })?;
            check_authority(&pem, &cert_path)?;
            let until = until_of(&pem, &cert_path)?;
            return Ok(Ca { pem, until, key });
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
}

/// Checks that a certificate may sign those of clients and of servers. Otherwise the cluster would
/// start, and none of its components would believe another.
///
/// # Errors
/// The certificate may not, or it is malformed.
fn check_authority(pem: &str, path: &Path) -> Result<(), Error> {
    let damaged = |why: String| Error::Damaged { path: path.into(), cause: why.into() };
    let own = certificates(pem.as_bytes()).into_iter().next();
    let own = own.ok_or_else(|| damaged("not a certificate".into()))?;
    let parsed = signatures::parse(&own).map_err(|e| damaged(e.to_string()))?;
    if !may_sign(&parsed) {
        return Err(damaged(
            "it is no authority's: it lacks CA:TRUE or the key usage to sign, or has a critical extension that is unknown"
                .into(),
        ));
    }
    match may_sign_for(&own, CLIENTS) && may_sign_for(&own, SERVERS) {
        true => Ok(()),
        false => Err(damaged(
            "its extended key usage is not for both clients and servers: leave it out, or name clientAuth and serverAuth".into(),
        )),
    }
}

/// Returns the end of an authority's certificate.
///
/// # Errors
/// The certificate is not valid now.
fn until_of(pem: &str, path: &Path) -> Result<Timestamp, Error> {
    let damaged = || Error::Damaged { path: path.into(), cause: "not a certificate".into() };
    let (from, until) = validity(pem.as_bytes()).ok_or_else(damaged)?;
    let now = clock::now();
    match from <= now && now <= until {
        true => Ok(until),
        false => Err(Error::Expired { path: path.into(), from, until, now }),
    }
}

/// Returns the parameters of a certificate that is valid from yesterday until `days` from now, each
/// from midnight (UTC).
pub(super) fn params(subject: &Subject, days: i64) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if let Some(organization) = &subject.organization {
        name.push(DnType::OrganizationName, organization.as_str());
    }
    if let Some(second) = &subject.second {
        // The certificate library keeps one entry of each type. With its OID spelled out, the
        // second organization is of another type for it.
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
