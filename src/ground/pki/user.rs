//! The user that a client certificate names: its common name, its groups and its uid.

use super::name;
use x509_parser::x509::X509Name;

/// The attribute of a subject that is the user's uid (upstream: `AllowParsingUserUIDFromCertAuth`).
const UID: &str = "1.3.6.1.4.1.57683.2";

/// Returns user and groups of a client certificate: its last common name and its organizations.
/// `None` if the common name is missing or empty, or a part of the subject cannot be read.
pub fn user_of(der: &[u8]) -> Option<(String, Vec<String>)> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
    user(cert.subject()).ok()?
}

/// Returns user and groups of a subject; `None` if it has no common name, or an empty one.
///
/// # Errors
/// An attribute of the subject cannot be read, whichever it is.
pub(super) fn user(subject: &X509Name<'_>) -> Result<Option<(String, Vec<String>)>, &'static str> {
    if !name::is_whole(subject) {
        return Err("a part of the subject is malformed");
    }
    let (mut user, mut groups) = (String::new(), vec![]);
    for attribute in subject.iter_attributes() {
        let text = name::text(attribute.attr_value())?;
        match attribute.attr_type().as_bytes() {
            [0x55, 4, name::COMMON_NAME] => user = text,
            [0x55, 4, name::ORGANIZATION] => groups.push(text),
            _ => {}
        }
    }
    Ok((!user.is_empty()).then_some((user, groups)))
}

/// Returns the uid that a certificate gives its user; empty if it gives none.
///
/// # Errors
/// The uid is no text or empty, or there are several.
pub(super) fn uid_of(subject: &X509Name<'_>) -> Result<String, String> {
    let mut all = subject.iter_attributes().filter(|a| a.attr_type().to_id_string() == UID);
    let Some(attribute) = all.next() else { return Ok(String::new()) };
    if all.next().is_some() {
        return Err("expected 1 UID, but found multiple".into());
    }
    match name::text(attribute.attr_value()) {
        Ok(uid) if uid.is_empty() => Err("UID cannot be an empty string".into()),
        Ok(uid) => Ok(uid),
        Err(_) => Err("unable to parse UID into a string".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ca, Subject, asking_server_config, der};
    use rcgen::{DnType, Issuer, KeyPair};
    use x509_parser::prelude::FromDer;

    #[test]
    fn a_certificate_may_give_its_user_one_uid() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let server = ca.issue(&Subject::server("kube-apiserver", &["localhost"])).unwrap();
        let (_, clients) = asking_server_config(&server, ca.pem()).unwrap();
        let mut own = crate::ca::params(&Subject::client("jane", ""), 1).unwrap();
        own.distinguished_name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]), "7");
        let issuer = Issuer::from_ca_cert_pem(ca.pem(), &ca.key).unwrap();
        let cert = own.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        assert_eq!(clients.judge(&[cert.der().clone()]).unwrap().unwrap().uid, "7");
        let attribute = |(tag, uid): &(u8, &str)| {
            let number = der::oid(&[1, 3, 6, 1, 4, 1, 57683, 2]);
            der::tlv(0x31, &der::sequence(&[number, der::tlv(*tag, uid.as_bytes())]))
        };
        for (uids, wanted) in [
            (&[][..], Ok("")),
            (&[(0x0c, "7")], Ok("7")),
            (&[(0x0c, "7"), (0x0c, "8")], Err("expected 1 UID, but found multiple")),
            (&[(0x0c, "")], Err("UID cannot be an empty string")),
            (&[(0x02, "7")], Err("unable to parse UID into a string")),
        ] {
            let subject = der::sequence(&uids.iter().map(attribute).collect::<Vec<_>>());
            let (_, subject) = X509Name::from_der(&subject).unwrap();
            assert_eq!(uid_of(&subject), wanted.map(String::from).map_err(String::from));
        }
    }
}
