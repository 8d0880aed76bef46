//! The error of certificates, keys and tokens.

use clock::Timestamp;
use std::path::PathBuf;

/// Why a certificate, a key or a token cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library cannot make or sign a certificate.
    #[error("cannot make a certificate for {subject}")]
    Certificate {
        /// The common name that it was for.
        subject: String,
        /// What the library says.
        #[source]
        cause: rcgen::Error,
    },
    /// A file of the cluster's own does not parse, or does not fit the others.
    #[error("{} is not a key or certificate that can be used here", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The authority's own certificate is not valid now, and so no certificate that it has issued.
    #[error("the certificate of the authority in {} is valid from {from} until {until}, and now it is {now}: set the clock of this machine, or delete the cluster and make it anew", path.display())]
    Expired {
        /// The file of the authority's certificate.
        path: PathBuf,
        /// The first moment at which it is valid.
        from: Timestamp,
        /// The last moment at which it is valid.
        until: Timestamp,
        /// What this machine's clock says.
        now: Timestamp,
    },
    /// The key of the authority is missing. With a new authority in its place, all certificates
    /// that it has issued would be refused.
    #[error("{} is there, and its key {} is missing: bring the key back, or delete the cluster and make it anew", certificate.display(), key.display())]
    KeyMissing {
        /// The file of the authority's certificate, which exists.
        certificate: PathBuf,
        /// The file of its key, which does not.
        key: PathBuf,
    },
    /// A file or directory cannot be read, written or made.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        cause: std::io::Error,
    },
    /// A certificate and a key are no pair, or one of them cannot be read; in the words of Go.
    #[error("{0}")]
    Pair(String),
    /// A server has a name that no certificate can have.
    #[error("{0:?} is neither a DNS name nor an IP address")]
    Name(String),
    /// A text in PEM form does not parse, or has no certificate or key.
    #[error("a certificate, key or authority in PEM form cannot be used: {0}")]
    Pem(String),
    /// The authority cannot sign now.
    #[error("the certificate authority cannot sign: {0}")]
    Authority(String),
    /// A certificate request that will never be signed.
    #[error("{0}")]
    Request(String),
    /// A key is of a kind that the TLS library cannot use, or no protocol version is common.
    #[error("the TLS library refuses this configuration")]
    Tls(#[from] rustls::Error),
    /// A token cannot be signed or is not believed; the text says why.
    #[error("token: {0}")]
    Token(String),
}
