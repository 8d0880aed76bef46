//! TLS towards an API server.

use super::config::Target;
use crate::kubectl::error::Fail;
use crate::pki::AnyCertificate;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// Where distributions keep the authorities they trust, for servers whose kubeconfig names none.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// `alpn` empty: HTTP/1.1, as upgrades need it.
pub fn client(target: &Target, alpn: &[&str]) -> Result<Arc<ClientConfig>, Fail> {
    let bad = |what: &str, e: &dyn std::fmt::Display| Fail::Text(format!("tls: failed to load {what}: {e}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad("protocol versions", &e))?;
    let builder = if target.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
    } else {
        builder.with_root_certificates(roots(target)?)
    };
    let mut config = match &target.certificate {
        Some((cert, key)) => {
            let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(cert)
                .collect::<Result<_, _>>()
                .map_err(|e| bad("client certificate", &e))?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| bad("client key", &e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| bad("client certificate", &e))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

fn roots(target: &Target) -> Result<RootCertStore, Fail> {
    let mut store = RootCertStore::empty();
    match &target.ca_pem {
        Some(pem) => {
            for cert in CertificateDer::pem_slice_iter(pem) {
                let cert = cert.map_err(|e| Fail::Text(format!("unable to load root certificates: {e}")))?;
                store.add(cert).map_err(|e| Fail::Text(format!("unable to load root certificates: {e}")))?;
            }
            if store.is_empty() {
                return Err(Fail::Text(
                    "unable to load root certificates: unable to parse bytes as PEM block".into(),
                ));
            }
        }
        None => {
            // As Go does: who names a file trusts that one alone.
            let named = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
            let found = match named {
                Some(file) => std::fs::read(file).ok(),
                None => SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok()),
            };
            let found = found.unwrap_or_default();
            store.add_parsable_certificates(CertificateDer::pem_slice_iter(&found).flatten());
        }
    }
    Ok(store)
}
