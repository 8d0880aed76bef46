//! One command line: which verb, plugin or help it means, and its run with an exit code.

use crate::Env;
use crate::ctx::{Ctx, Streams};
use crate::error::{self, Fail};
use crate::io::Io;
use crate::output::Output;
use crate::{cmd, help, parse, table};
use api::gostr;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use std::io::ErrorKind;
use std::sync::Arc;

/// The exit code of a command that was interrupted.
pub const INTERRUPTED: i32 = 130;

/// The exit code after the reader of the output has closed it: that of SIGPIPE in a shell.
const READER_LEFT: i32 = 141;

/// Runs one command line and returns its exit code. An answer that could not be written is a
/// failure: a backup on a full disk would read as a whole one. `args[0]` is the program's name.
pub fn run(args: Vec<String>, io: Io, env: Env) -> BoxFuture<'static, i32> {
    Box::pin(async move {
        let output = Arc::new(Output::new(io.stdout, io.stderr));
        let streams =
            Streams { stdin: io.stdin, terminal: io.terminal, stdout_is_terminal: io.stdout_is_terminal };
        let work = command(&args, streams, io.own, env, output.clone());
        let gone = output.gone.clone();
        let code = tokio::select! {
            biased;
            result = work => match result {
                Ok(()) => 0,
                Err(fail) => {
                    let (text, code) = fail.report();
                    output.err(&text);
                    code
                }
            },
            () = io.cancel.cancelled() => if output.ends_by_interrupt() { 0 } else { INTERRUPTED },
            () = gone.cancelled() => 0, // `take_lost` below has the error
        };
        output.flush().await;
        match output.take_lost() {
            Some(error) if code == 0 && error.kind() == ErrorKind::BrokenPipe => READER_LEFT,
            Some(error) if code == 0 => {
                output.err(&format!("error: write /dev/stdout: {error}\n"));
                output.flush().await;
                1
            }
            _ => code,
        }
    })
}

/// True if these words may mean a plugin: they begin with no verb, or with one that plugins may
/// extend. Whether there is such a plugin depends on PATH.
pub fn may_be_plugin(words: &[String]) -> bool {
    cmd::plugin::words_for_name(words).is_some()
}

/// The values of `--profile`: kubectl's own, and the profiles of Go's runtime. None of them is
/// captured here.
const PROFILES: &[&str] =
    &["none", "cpu", "trace", "allocs", "block", "goroutine", "heap", "mutex", "threadcreate"];

/// Verbs that work on files, or on nothing.
const LOCAL: &[&str] = &["", "help", "options", "completion", "kustomize", "plugin list"];

/// True if a command line asks the server of the usual kubeconfig. Help, a complaint about the
/// command line and what works on files alone need no server; `--kubeconfig` and `--server` name
/// another one.
pub fn asks_a_server(words: &[String]) -> bool {
    let Ok(parsed) = parse::parse(words) else { return false };
    let verb = parsed.verb.path;
    let own_version = verb == "version" && parsed.flags.is("client");
    let elsewhere = ["kubeconfig", "server"].iter().any(|name| !parsed.flags.global(name).is_empty());
    !(parsed.help || own_version || elsewhere || LOCAL.contains(&verb))
}

async fn command(
    args: &[String],
    streams: Streams,
    own: bool,
    env: Env,
    output: Arc<Output>,
) -> Result<(), Fail> {
    let words = args.get(1..).unwrap_or_default();
    if words.first().is_some_and(|w| w == "__complete") {
        return cmd::info::complete_words(&words[1..], env, output).await;
    }
    if let Some((plugin, rest)) = cmd::plugin::find(words, &env) {
        let input = (!own).then_some(streams.stdin);
        return cmd::plugin::run(&plugin, &rest, &env, input, &output).await;
    }
    let parsed = parse::parse(words)?;
    if parsed.help {
        output.out(&help::of(parsed.verb));
        return Ok(());
    }
    // `debug` has a flag of its own by that name.
    let is_global = !parsed.verb.flags.iter().any(|flag| flag.name == "profile");
    let profile = parsed.flags.text("profile");
    if is_global && !PROFILES.contains(&profile) {
        return error::text(format!("unknown profile '{profile}'"));
    }
    let refused = table::REFUSED.iter().find(|name| {
        let usual = parsed.verb.flag(name).map_or("", |flag| flag.default);
        parsed.flags.changed(name) && parsed.flags.text(name) != usual
    });
    if let Some(name) = refused {
        return error::text(format!(
            "--{name} is not implemented in ropewalk's built-in kubectl; leave it out, or use another kubectl"
        ));
    }
    if parsed.flags.changed("record") {
        output.err("Flag --record has been deprecated, --record will be removed in the future\n");
    }
    let missing: Vec<String> = parsed
        .verb
        .required
        .iter()
        .filter(|name| !parsed.flags.changed(name))
        .map(|name| gostr::quote(name))
        .collect();
    if !missing.is_empty() {
        return error::text(format!("required flag(s) {} not set", missing.join(", ")));
    }
    let run = parsed.verb.run;
    let ctx = Ctx::new(parsed.line(), streams, env, output);
    run(&ctx).await?;
    ctx.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;
    use crate::testing::Server;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use tokio::io::AsyncWrite;
    use tokio_util::sync::CancellationToken;

    /// A file on a full disk, or a pipe whose reader left.
    struct Failing(ErrorKind);

    impl AsyncWrite for Failing {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(self.0.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_profile_that_does_not_exist_is_refused() {
        let server = Server::away().await;
        for (line, want) in [
            (&["options", "--profile=bad"][..], "error: unknown profile 'bad'\n"),
            (&["scale", "deploy/web", "--profile="], "error: unknown profile ''\n"),
            (&["options", "--profile=heap"], ""),
        ] {
            let result = server.kubectl(line).await;
            assert_eq!((result.code, result.err.as_str()), (i32::from(!want.is_empty()), want), "{line:?}");
        }
        let result = server.kubectl(&["debug", "p", "--image=i", "--profile=bad"]).await;
        assert!(result.code == 1 && !result.err.contains("unknown profile '"), "its own flag: {result:?}");
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_written_is_a_failure() {
        let outcome = async |line: &str, kind: ErrorKind| {
            let err = Kept::all();
            let io = Io {
                stdin: Box::new(tokio::io::empty()),
                stdout: Box::new(Failing(kind)),
                stderr: Box::new(err.clone()),
                terminal: None,
                stdout_is_terminal: false,
                own: false,
                cancel: CancellationToken::new(),
            };
            let words = ["kubectl"].into_iter().chain(line.split(' ')).map(String::from).collect();
            (run(words, io, Env::default()).await, err.text())
        };
        let (code, err) = outcome("rollout status --help", ErrorKind::StorageFull).await;
        assert!(code == 1 && err.starts_with("error: write /dev/stdout: "), "{code} {err}");
        assert_eq!(outcome("rollout status --help", ErrorKind::BrokenPipe).await, (141, String::new()));
        let (code, err) = outcome("gett pods", ErrorKind::BrokenPipe).await;
        assert!(code == 1 && err.contains("unknown command"), "its own failure stays: {code} {err}");
    }
}
