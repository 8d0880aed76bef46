//! The error of all that is made and read here.

use clock::Timestamp;
use std::path::PathBuf;

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
