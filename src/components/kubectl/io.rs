//! The streams that a command is given, and the terminal behind them.

use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A terminal behind the streams, for `exec -t` and the like.
pub trait Terminal: Send + Sync {
    /// The size in columns and rows, and every change of it.
    fn size(&self) -> watch::Receiver<(u16, u16)>;
    /// Switches between raw mode (keys go to the remote program as they are) and the mode it was
    /// in.
    fn raw(&self, on: bool);
}

/// The streams of one command.
pub struct Io {
    /// Read by verbs that take `-f -`, ask a question, or pass it on (`exec -i`).
    pub stdin: Box<dyn AsyncRead + Send + Unpin>,
    /// The output of the command.
    pub stdout: Box<dyn AsyncWrite + Send + Unpin>,
    /// Errors, warnings and questions.
    pub stderr: Box<dyn AsyncWrite + Send + Unpin>,
    /// The terminal behind the streams; `None`: they are files or pipes.
    pub terminal: Option<Arc<dyn Terminal>>,
    /// `stdout` goes to a terminal, whatever `stdin` is.
    pub stdout_is_terminal: bool,
    /// These are this process' own streams: a plugin inherits them. Otherwise a plugin reads
    /// `stdin` and writes to the others through pipes.
    pub own: bool,
    /// Ctrl-C. A cancelled command returns 130; a `port-forward` that has found its pod returns 0.
    pub cancel: CancellationToken,
}
