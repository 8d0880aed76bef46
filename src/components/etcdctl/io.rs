//! The streams of a command.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// The streams of one command.
pub(crate) struct Io {
    pub stdin: Box<dyn AsyncRead + Send + Unpin>,
    /// Standard input is a terminal: a person types there.
    pub is_typed: bool,
    pub stdout: Box<dyn AsyncWrite + Send + Unpin>,
    pub stderr: Box<dyn AsyncWrite + Send + Unpin>,
    /// Ctrl-C, and for verbs that end what they have begun also SIGTERM.
    pub cancel: CancellationToken,
}
