//! Streams of a process, and connections into a sandbox.

use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

/// Bytes that come from a process: its output, or its error output.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;
/// Bytes that go to a process: its standard input.
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A program to run in a running container. `command`: the program and its arguments, without a
/// shell. `tty`: with a terminal. `stdin`: with an input.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// A container that runs.
    pub container_id: String,
    /// The program, looked up in the container's `PATH`, and its arguments.
    pub command: Vec<String>,
    /// The process gets a terminal of its own.
    pub tty: bool,
    /// The session can write to the process' input. Without it and without a terminal the input is
    /// at its end from the beginning.
    pub stdin: bool,
}

/// A terminal's size in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters of one line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A running process' ends, held by the client that talks to it. Dropping the session kills an
/// exec'd process and detaches from an attached one.
pub struct Session {
    /// Absent unless an input was asked for. Dropping it ends the input.
    pub stdin: Option<Writer>,
    /// What the process writes; with a terminal its errors, too.
    pub stdout: Reader,
    /// Absent with a terminal.
    pub stderr: Option<Reader>,
    /// Absent without a terminal.
    pub resize: Option<mpsc::Sender<Size>>,
    /// The exit code, after all output was written. 0 if an attached session ended with its input.
    pub exit: oneshot::Receiver<i32>,
}

/// A connection in both directions, to a port in a sandbox.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
