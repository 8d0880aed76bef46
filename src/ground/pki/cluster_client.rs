//! TLS of a client of this cluster's own servers; [`foreign`] is for other servers.

use super::error::Error;
use super::foreign;
use super::identity::{Identity, chain, provider, trusted};
use super::pair::check_pair;
use rustls::pki_types::ServerName;
use std::sync::Arc;

/// TLS for a client; without an identity it is anonymous or uses a token. The client believes
/// servers of an authority as long as the authority is valid.
///
/// # Errors
/// `Pair`: the key is not the certificate's own, or one of the two cannot be read. `Pem`: an
/// authority cannot be read. `Tls`: the library cannot sign with this kind of key.
pub fn client_config(
    identity: Option<&Identity>,
    ca_pem: &str,
    alpn: &[&str],
) -> Result<Arc<rustls::ClientConfig>, Error> {
    let builder =
        rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let authorities = trusted(ca_pem)?.only_for(foreign::SERVERS);
    let builder = foreign::known(builder, authorities, provider());
    let config = match identity {
        Some(identity) => {
            check_pair(identity.cert_pem.as_bytes(), identity.key_pem.as_bytes()).map_err(Error::Pair)?;
            let (certs, key) = chain(identity)?;
            builder.with_client_cert_resolver(foreign::one_identity(certs, key)?)
        }
        None => builder.with_no_client_auth(),
    };
    Ok(foreign::finish(config, alpn))
}

/// The name to check a server's certificate against: a host name or an address.
///
/// # Errors
/// `Name`: the text is neither.
pub fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(host.to_string()).map_err(|_| Error::Name(host.to_string()))
}
