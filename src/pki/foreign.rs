//! TLS towards servers that are not this cluster's: whoever a kubeconfig, a probe or a `curl` names.

use super::signatures::proof_of_the_key;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Where distributions keep the authorities they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Anybody's, if the server holds the key of what it shows: `--insecure-skip-tls-verify`, `curl -k`, and probes of the kubelet, which ask
    /// whether a server answers and not who it is.
    Anyone,
    /// Those of these authorities, as PEM.
    These(Vec<u8>),
    /// Those of the authorities that the machine trusts; as Go does, `SSL_CERT_FILE` names another file. A machine that has none believes nobody.
    System,
}

/// What of a configuration is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("{0}")]
    Authorities(String),
    #[error("{0}")]
    Certificate(String),
    #[error("{0}")]
    Key(String),
    #[error("{0}")]
    Versions(String),
}

/// TLS for a client that shows this certificate with this key, both PEM, if there is one. `alpn` empty: HTTP/1.1, as upgrades need it.
pub fn foreign_client(
    trust: &Trust,
    identity: Option<(&[u8], &[u8])>,
    alpn: &[&str],
) -> Result<Arc<ClientConfig>, Unusable> {
    let provider = super::provider();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Unusable::Versions(e.to_string()))?;
    let builder = match trust {
        Trust::Anyone => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        }
        Trust::These(pem) => builder.with_root_certificates(these(pem)?),
        Trust::System => builder.with_root_certificates(system()),
    };
    let mut config = match identity {
        Some((certificate, key)) => {
            let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
                .collect::<Result<_, _>>()
                .map_err(|e| Unusable::Certificate(e.to_string()))?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| Unusable::Key(e.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| Unusable::Certificate(e.to_string()))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

fn these(pem: &[u8]) -> Result<RootCertStore, Unusable> {
    let mut store = RootCertStore::empty();
    for cert in CertificateDer::pem_slice_iter(pem) {
        let cert = cert.map_err(|e| Unusable::Authorities(e.to_string()))?;
        store.add(cert).map_err(|e| Unusable::Authorities(e.to_string()))?;
    }
    match store.is_empty() {
        true => Err(Unusable::Authorities("unable to parse bytes as PEM block".into())),
        false => Ok(store),
    }
}

fn system() -> RootCertStore {
    // Who names a file trusts that one alone.
    let named = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
    let found = match named {
        Some(file) => std::fs::read(file).ok(),
        None => SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok()),
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(CertificateDer::pem_slice_iter(&found.unwrap_or_default()).flatten());
    store
}

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
