//! TLS towards an API server.

use super::error::Error;
use crate::kubeconfig::Target;
use pki::{Trust, Unusable};
use rustls::ClientConfig;
use std::sync::Arc;

/// Makes the TLS configuration for a target: whom to trust, and which certificate to show. `alpn`
/// empty: HTTP/1.1, as upgrades need it.
///
/// # Errors
/// [`Error::Unusable`] in Go's words: certificate and key are no pair, or one of them or the
/// authorities cannot be used. The user has to correct the kubeconfig.
pub(super) fn client(target: &Target, alpn: &[&str]) -> Result<Arc<ClientConfig>, Error> {
    let trust = match (&target.ca_pem, target.insecure) {
        (_, true) => Trust::Anyone,
        (Some(pem), false) if !pem.is_empty() => Trust::These(pem.clone()),
        // In Go an empty file names no authority.
        _ => Trust::System,
    };
    if let Some((certificate, key)) = &target.certificate {
        pki::check_pair(certificate, key).map_err(Error::Unusable)?;
    }
    let identity = target.certificate.as_ref().map(|(cert, key)| (&cert[..], &key[..]));
    pki::foreign_client(&trust, identity, alpn).map_err(|e| {
        Error::Unusable(match e {
            Unusable::Authorities(why) => format!("unable to load root certificates: {why}"),
            Unusable::Certificate(why) => format!("tls: failed to load client certificate: {why}"),
            Unusable::Key(why) => format!("tls: failed to load client key: {why}"),
            Unusable::Versions(why) => format!("tls: failed to load protocol versions: {why}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The system's authorities count then.
    #[test]
    fn an_empty_file_names_no_authority() {
        let with = |ca_pem: Option<&[u8]>| {
            let ca_pem = ca_pem.map(<[u8]>::to_vec);
            client(&Target { ca_pem, ..Target::anybody("https", "a") }, &[]).map(drop)
        };
        assert_eq!(with(Some(b"")).map_err(|e| e.to_string()), with(None).map_err(|e| e.to_string()));
        let why = with(Some(b"junk")).unwrap_err().to_string();
        assert!(why.starts_with("unable to load root certificates: "), "{why}");
    }
}
