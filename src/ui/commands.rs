//! The seam to kubectl: a line of the REPL, run by the built-in one in this process.

use super::column::Column;
use super::shell::Variables;
use super::terminal;
use cluster::Place;
use kubectl::{self, Env, Io};
use linux::trap;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio::runtime::Handle;
use tokio::signal::unix::SignalKind;
use tokio_util::sync::CancellationToken;

/// What a command reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The learner's keyboard, which the next line needs, too.
    Keyboard,
    /// This program's standard input, to its end.
    Stdin,
    Nothing,
    Text(String),
}

/// Returns the environment of a line of kubectl: what the learner's shell exports, so that the line
/// means the same as one that the shell runs. Its `KUBECONFIG` names the cluster's own file unless
/// the learner has changed it. Without a shell that file is used, whatever this process was started
/// with.
pub(crate) fn environment(place: &Place, exports: Option<&Variables>) -> Env {
    let (own, process) = (place.kubeconfig(), Env::of_process());
    let Some(exports) = exports else { return Env { kubeconfig: Some(own), ..process } };
    // By this name: in a `KUBECONFIG` a colon divides two.
    let is_own = exports.get("KUBECONFIG").is_some_and(|named| Path::new(named) == own);
    Env { kubeconfig: is_own.then_some(own), vars: exports.clone(), ..process }
}

/// Runs kubectl and returns its exit code. Ctrl-C reaches it. Called outside the runtime.
pub(crate) fn run(args: &[String], input: Input, env: Env, handle: &Handle, column: &Arc<Column>) -> i32 {
    handle.block_on(built_in(args, input, env, column))
}

async fn built_in(args: &[String], input: Input, env: Env, column: &Arc<Column>) -> i32 {
    let args = std::iter::once("kubectl".to_string()).chain(args.iter().cloned()).collect();
    let text = match input {
        Input::Stdin => return kubectl::stdio::on_stdio(args, env).await,
        Input::Text(text) => text,
        Input::Keyboard | Input::Nothing => String::new(),
    };
    let cancel = CancellationToken::new();
    let (interrupted, canceled) = (cancel.clone(), cancel.clone());
    // Ctrl-C asks kubectl to end, which then returns its own code: this future never does.
    let listening = async move {
        // A script's background job ignores Ctrl-C, which is for the program in front.
        if !trap::is_ignored(SignalKind::interrupt().as_raw_value()) && tokio::signal::ctrl_c().await.is_ok()
        {
            interrupted.cancel();
        }
        std::future::pending().await
    };
    let io = Io {
        stdin: Box::new(io::Cursor::new(text.into_bytes())),
        stdout: Box::new(Heard { to: tokio::io::stdout(), column: column.clone() }),
        stderr: Box::new(Heard { to: tokio::io::stderr(), column: column.clone() }),
        terminal: None,
        stdout_is_terminal: io::stdout().is_terminal(),
        own: false,
        cancel,
    };
    let code = tokio::select! {
        biased; // the signal's handler is there before the command begins
        code = listening => code,
        code = kubectl::run(args, io, env) => code,
    };
    if canceled.is_cancelled() {
        terminal::show_interrupt(column);
    }
    code
}

/// A stream that reports what passes through it to the [`Column`], for the prompt.
struct Heard<W> {
    to: W,
    column: Arc<Column>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Heard<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.to).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n)) = &written {
            self.column.saw(&bytes[..*n]);
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(cx)
    }
}

/// Returns whether this is a file that may be run.
pub(crate) fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Returns whether a path leads to a pipe, a socket or a device. A read of it may wait for ever,
/// and in this process Ctrl-C could not end it.
pub(crate) fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::Home;

    #[test]
    fn kubectl_has_the_variables_of_the_learners_shell() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let own = place.kubeconfig();
        assert_eq!(environment(&place, None).kubeconfig, Some(own.clone()), "there is no shell");
        let exported = |pairs: &[(&str, &str)]| -> Variables {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let usual = exported(&[("KUBECONFIG", own.to_str().unwrap()), ("KUBECTL_EXTERNAL_DIFF", "meld")]);
        let env = environment(&place, Some(&usual));
        assert_eq!((env.kubeconfig, env.vars), (Some(own), usual));
        for other in [exported(&[("KUBECONFIG", "/jane.conf")]), exported(&[("HOME", "/jane")])] {
            let env = environment(&place, Some(&other));
            assert_eq!((env.kubeconfig, env.vars), (None, other));
        }
    }
}
