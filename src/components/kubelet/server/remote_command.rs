//! Exec and attach, whatever the protocol of their connection: which streams of the process the
//! client asked for, how it hears of the end, and how long a command goes on without it.

use super::Query;
use cri::{self, Session};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Event, ObjectRef, Record, Tap};
use tokio::sync::Semaphore;

/// The protocol of a client that offers none.
pub(super) const OLDEST: &str = "channel.k8s.io";

/// What the client asked for: which of a process' streams, of a command of its own or of the
/// container's program.
#[derive(Clone)]
pub(super) struct StreamOptions {
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
    /// Exec: the command's exit code is the answer. An attachment ends well however the process
    /// ends, which the pod's status shows.
    pub(super) is_exec: bool,
    /// The record of the end; `None` if none is emitted.
    pub(super) record: Option<Box<ExecRecord>>,
    /// Places for commands whose clients have left: without one a command ends at once.
    pub(super) left: LeftPlaces,
}

/// The record of a command that ends, but for its exit code.
#[derive(Clone)]
pub(super) struct ExecRecord {
    pub(super) tap: Tap,
    pub(super) pod: ObjectRef,
    pub(super) cause: Option<Cause>,
    /// When the request came.
    pub(super) began: clock::Instant,
}

/// Commands of one kubelet that go on although their clients have left, at a time. API servers do
/// not count them among the sessions of an account any more: a client that starts commands and
/// leaves would have any number, and take the connections of others.
const LEFT_MAX: usize = 32;

/// Places for [`LEFT_MAX`] commands. Clones share them.
#[derive(Clone)]
pub(super) struct LeftPlaces(Arc<Semaphore>);

impl Default for LeftPlaces {
    fn default() -> LeftPlaces {
        LeftPlaces(Arc::new(Semaphore::new(LEFT_MAX)))
    }
}

/// Returns whether the query asks for stdin, stdout and stderr. A terminal has no stderr of its
/// own:
///
/// ```text
/// stdout=true&stderr=true             stdout, stderr
/// stdout=true&stderr=true&tty=true    stdout
/// stderr=true&tty=true                refused
/// ```
///
/// # Errors
/// The query asks for none, in upstream's words (`NewOptions` in
/// `kubelet/pkg/cri/streaming/remotecommand/httpstream.go`).
pub(super) fn streams(query: &Query) -> Result<[bool; 3], &'static str> {
    let stderr = query.flag("stderr") && !query.flag("tty");
    match [query.flag("stdin"), query.flag("stdout"), stderr] {
        [false, false, false] => Err("you must specify at least 1 of stdin, stdout, stderr"),
        asked => Ok(asked),
    }
}

impl StreamOptions {
    /// Emits the record of the end, if there is one. Returns the last message to the client, if it
    /// gets one.
    pub(super) fn answer(&self, protocol: &str, exit: Result<i32, String>) -> Option<Vec<u8>> {
        if let Some(ExecRecord { tap, pod, cause, began }) = self.record.as_deref() {
            // As a shell calls what it cannot run.
            let exit = exit.as_ref().copied().unwrap_or(126);
            let record = Record::new(Event::Exec { exit }).cause(cause.clone()).took(began.elapsed());
            tap.emit(Record { object: Some(pod.clone()), ..record });
        }
        let action = if self.is_exec { "executing command in" } else { "attaching to" };
        let exit = exit.map(|code| if self.is_exec { code } else { 0 });
        exit_status(protocol, exit.map_err(|why| format!("error {action} container: {why}")))
    }
}

/// How long a command may go on whose client has left. Upstream sets no bound; here it is one, so
/// that sessions that clients have left do not take the places of others. If [`LEFT_MAX`] go on
/// already, one more ends at once.
pub(super) const LAST_INPUT: Duration = Duration::from_secs(5);

/// Ends a session whose client has left and whose input has ended. A command still takes what the
/// client sent before, as upstream: a client of another language writes a file to `tar`, say, and
/// closes the connection. Dropping the session then kills a command that goes on, and detaches from
/// a container, which goes on anyway.
pub(super) async fn finish(options: &StreamOptions, session: impl Future<Output = ()>) {
    if options.is_exec
        && let Ok(_place) = options.left.0.try_acquire()
    {
        let _ = tokio::time::timeout(LAST_INPUT, session).await;
    }
}

pub(super) type Opening = std::pin::Pin<Box<dyn Future<Output = cri::Result<Session>> + Send>>;

/// Returns the last message on the status channel: how the process ended. From `v4.channel.k8s.io`
/// on that is a `Status` in JSON. In older protocols a failure is a plain text, and a success has
/// no message. A process that could not begin is an internal error. Source: `ServeExec` and
/// `ServeAttach` in `kubelet/pkg/cri/streaming/remotecommand`.
///
/// ```text
/// exit 3     command terminated with non-zero exit code: exit status 3
/// no `sh`    Internal error occurred: error executing command in container: exec: "sh": ...
/// ```
fn exit_status(protocol: &str, exit: Result<i32, String>) -> Option<Vec<u8>> {
    let failed = |code: i32| format!("command terminated with non-zero exit code: exit status {code}");
    let internal = |why: &str| format!("Internal error occurred: {why}");
    if matches!(protocol, OLDEST | "base64.channel.k8s.io") {
        return match exit {
            Ok(0) => None,
            Ok(code) => Some(failed(code).into_bytes()),
            Err(why) => Some(internal(&why).into_bytes()),
        };
    }
    let status = match exit {
        Ok(0) => serde_json::json!({"metadata": {}, "status": "Success"}),
        Ok(code) => serde_json::json!({
            "metadata": {}, "status": "Failure",
            "message": failed(code),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(why) => serde_json::json!({
            "metadata": {}, "status": "Failure", "code": 500,
            "message": internal(&why),
            "reason": "InternalError",
            "details": {"causes": [{"message": why}]},
        }),
    };
    Some(status.to_string().into_bytes())
}

/// Reads a resize message. As in Go the case of its keys does not matter: kubectl writes
/// `{"Width":99,"Height":33}`, the JavaScript client `{"height":33,"width":99}`.
pub(super) fn size_of(message: &[u8]) -> Option<cri::Size> {
    let value: BTreeMap<String, Value> = serde_json::from_slice(message).ok()?;
    let number = |key: &str| {
        let (_, number) = value.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
        u16::try_from(number.as_u64()?).ok()
    };
    Some(cri::Size { columns: number("width")?, rows: number("height")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client may start one command after the other and leave each.
    #[tokio::test(start_paused = true)]
    async fn so_many_commands_go_on_without_their_clients_and_no_more() {
        let left = LeftPlaces::default();
        let options = StreamOptions {
            stdin: false,
            stdout: true,
            stderr: false,
            tty: false,
            is_exec: true,
            record: None,
            left: left.clone(),
        };
        let start = tokio::time::Instant::now();
        let go_on = (0..LEFT_MAX + 3).map(|_| async {
            finish(&options, std::future::pending()).await;
            start.elapsed()
        });
        let ends = futures::future::join_all(go_on).await;
        assert_eq!(ends.iter().filter(|end| **end < LAST_INPUT).count(), 3);
        assert_eq!(left.0.available_permits(), LEFT_MAX, "their places are free again");
    }

    #[test]
    fn a_process_that_could_not_begin_is_an_internal_error() {
        let message = |protocol: &str, is_exec: bool| {
            let options = StreamOptions {
                stdin: false,
                stdout: true,
                stderr: false,
                tty: false,
                is_exec,
                record: None,
                left: LeftPlaces::default(),
            };
            options.answer(protocol, Err("no such program".into())).unwrap()
        };
        let status: Value = serde_json::from_slice(&message("v5.channel.k8s.io", true)).unwrap();
        let why = "error executing command in container: no such program";
        assert_eq!(status["message"], format!("Internal error occurred: {why}"));
        let kind = serde_json::json!(["InternalError", 500]);
        assert_eq!((&status["reason"], &status["code"]), (&kind[0], &kind[1]));
        assert_eq!(status["details"]["causes"][0]["message"], why);
        let text = String::from_utf8(message(OLDEST, false)).unwrap();
        assert_eq!(text, "Internal error occurred: error attaching to container: no such program");
    }

    #[tokio::test(start_paused = true)]
    async fn the_record_of_a_command_says_how_long_it_took() {
        let (tap, began) = (Tap::new(), clock::Instant::now());
        let pod = ObjectRef::new("pods", "shop", "web");
        let record = ExecRecord { tap: tap.clone(), pod, cause: None, began };
        let options = StreamOptions {
            stdin: false,
            stdout: true,
            stderr: false,
            tty: false,
            is_exec: true,
            record: Some(Box::new(record)),
            left: LeftPlaces::default(),
        };
        clock::pause(Duration::from_secs(3)).await;
        assert!(options.answer(OLDEST, Ok(7)).is_some());
        let record = tap.since(0).remove(0);
        assert_eq!((&record.event, record.took_us), (&Event::Exec { exit: 7 }, 3_000_000));
    }

    #[test]
    fn the_size_of_a_terminal_comes_with_keys_of_any_case() {
        let of = |text: &str| size_of(text.as_bytes()).map(|size| (size.columns, size.rows));
        for text in ["{\"Width\":99,\"Height\":33}\n", r#"{"height":33,"width":99,"unit":"cells"}"#] {
            assert_eq!(of(text), Some((99, 33)), "{text}");
        }
        for none in
            ["", "{}", r#"{"Width":99}"#, r#"{"Width":-1,"Height":33}"#, r#"{"Width":1e9,"Height":33}"#]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
