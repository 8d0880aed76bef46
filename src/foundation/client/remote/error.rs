//! Why a server cannot be asked.

use crate::kubeconfig::{PluginError, Target};
use std::error::Error as Cause;
use std::io;

/// Why a server that a kubeconfig names cannot be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens at this `HOST:PORT`.
    #[error("The connection to the server {0} was refused - did you specify the right host or port?")]
    Refused(String),
    /// No connection came about, or it broke off, or the credential plugin failed, or a header that
    /// says who the user is cannot be sent; in Go's words.
    #[error("Unable to connect to the server: {0}")]
    Transport(String),
    /// A certificate or a key that the kubeconfig names is of no use; in Go's words.
    #[error("{0}")]
    Unusable(String),
}

impl From<PluginError> for Error {
    fn from(error: PluginError) -> Error {
        Error::Transport(error.to_string())
    }
}

/// What a failed connection is called: hyper's errors have the kernel's, or that of [`Dial`], among
/// their causes.
///
/// [`Dial`]: super::Dial
pub fn error_of(target: &Target, error: &(dyn Cause + 'static)) -> Error {
    let mut cause: Option<&(dyn Cause + 'static)> = Some(error);
    let mut deepest = error.to_string();
    while let Some(here) = cause {
        if let Some(io) = here.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::ConnectionRefused {
                return Error::Refused(target.host.clone());
            }
            if io.kind() == io::ErrorKind::UnexpectedEof {
                return Error::Transport("EOF".into());
            }
        }
        deepest = here.to_string();
        cause = here.source();
    }
    Error::Transport(deepest)
}
