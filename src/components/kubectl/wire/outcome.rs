//! How a remote process ended: its status, or the connection's end without one.
//!
//! Source: client-go, `tools/remotecommand` (`v4.go`, `websocket.go`), and the names of closing
//! codes in gorilla/websocket, which kubectl prints.

use crate::error::{Fail, text as fail};
use api::gostr::quote;
use api::value;
use serde_json::Value;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// The error for a connection that broke off: the outcome of the process is not known.
pub(super) fn lost(error: tungstenite::Error) -> Fail {
    use tungstenite::error::ProtocolError;
    let why = match error {
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | tungstenite::Error::ConnectionClosed => broken_off(),
        other => format!("next reader: {other}"),
    };
    Fail::Text(format!("error reading from error stream: {why}"))
}

fn broken_off() -> String {
    "next reader: websocket: close 1006 (abnormal closure): unexpected EOF".into()
}

/// Reads a closing message before which no status came.
///
/// # Errors
/// Its code is another than that of a normal end.
pub(super) fn closed(frame: Option<CloseFrame>) -> Result<(), Fail> {
    let (code, reason) = frame.map_or((1005, String::new()), |f| (f.code.into(), f.reason.to_string()));
    let name = match code {
        1000 => return Ok(()),
        1001 => " (going away)",
        1002 => " (protocol error)",
        1003 => " (unsupported data)",
        1005 => " (no status)",
        1006 => " (abnormal closure)",
        1007 => " (invalid payload data)",
        1008 => " (policy violation)",
        1009 => " (message too big)",
        1010 => " (mandatory extension missing)",
        1011 => " (internal server error)",
        1015 => " (TLS handshake error)",
        _ => "",
    };
    let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
    fail(format!("error reading from error stream: next reader: websocket: close {code}{name}{reason}"))
}

/// Reads the status of a process. None at all means success, as in client-go.
///
/// # Errors
/// The process failed ([`Fail::Coded`] has its exit code), or the status cannot be read.
pub(super) fn of(status: &[u8]) -> Result<(), Fail> {
    if status.is_empty() {
        return Ok(());
    }
    let status: Value = match serde_json::from_slice(status) {
        Ok(status) => status,
        Err(error) => {
            let quoted = quote(&String::from_utf8_lossy(status));
            return fail(format!("error stream protocol error: {error} in {quoted}"));
        }
    };
    match value::text(&status, "status") {
        "Success" => Ok(()),
        "Failure" if value::text(&status, "reason") == "NonZeroExitCode" => {
            if value::at(&status, "details").is_null() {
                return fail("error stream protocol error: details must be set");
            }
            let causes = value::list(&status, "details.causes");
            let code = causes.iter().find(|c| value::text(c, "reason") == "ExitCode");
            let Some(code) = code.map(|cause| value::text(cause, "message")) else {
                return fail("error stream protocol error: no ExitCode cause given");
            };
            match code.parse::<u8>() {
                Ok(code) => {
                    Err(Fail::Coded(format!("command terminated with exit code {code}"), code.into()))
                }
                Err(_) => {
                    fail(format!("error stream protocol error: invalid exit code value {}", quote(code)))
                }
            }
        }
        "Failure" => fail(value::text(&status, "message")),
        _ => fail("error stream protocol error: unknown error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;
    use crate::testing::pair;
    use crate::wire::stream::{Given, STATUS, framed, process};
    use futures::SinkExt;
    use std::sync::Arc;
    use tokio_tungstenite::tungstenite::Message;

    #[tokio::test]
    async fn the_end_of_a_process_is_known_or_an_error() {
        let failure = |reason: &str, details: Value| {
            serde_json::json!({"status": "Failure", "reason": reason, "message": "why", "details": details})
                .to_string()
        };
        let exit = |code: &str| {
            failure(
                "NonZeroExitCode",
                serde_json::json!({"causes": [{"reason": "ExitCode", "message": code}]}),
            )
        };
        let close = |code: u16, reason: &str| {
            Message::Close(Some(CloseFrame { code: code.into(), reason: reason.to_string().into() }))
        };
        let lost = "error reading from error stream: next reader: websocket: close ";
        let broken = "error stream protocol error: ";
        let cases: [(&str, Option<Message>, i32, String); 12] = [
            (&exit("127"), None, 127, "command terminated with exit code 127".into()),
            (&exit("137"), Some(close(1000, "")), 137, "command terminated with exit code 137".into()),
            (&exit("256"), None, 1, format!("error: {broken}invalid exit code value \"256\"")),
            (
                &failure("NonZeroExitCode", Value::Null),
                None,
                1,
                format!("error: {broken}details must be set"),
            ),
            (&failure("InternalError", Value::Null), None, 1, "error: why".into()),
            (r#"{"status":"Success"}"#, None, 0, String::new()),
            ("{}", None, 1, format!("error: {broken}unknown error")),
            (
                "{",
                None,
                1,
                format!("error: {broken}EOF while parsing an object at line 1 column 1 in \"{{\""),
            ),
            ("", Some(close(1000, "")), 0, String::new()),
            ("", Some(Message::Close(None)), 1, format!("error: {lost}1005 (no status)")),
            ("", Some(close(1011, "x")), 1, format!("error: {lost}1011 (internal server error): x")),
            ("", None, 1, format!("error: {lost}1006 (abnormal closure): unexpected EOF")),
        ];
        for (status, end, code, want) in cases {
            let (near, mut far) = pair().await;
            let output = Arc::new(Output::new(Box::new(tokio::io::sink()), Box::new(tokio::io::sink())));
            for piece in status.as_bytes().chunks(7) {
                far.send(framed(STATUS, piece)).await.unwrap();
            }
            if let Some(end) = end {
                far.send(end).await.unwrap();
            }
            drop(far);
            let given = Given { stdin: None, sizes: None, redraw: false };
            let ended = match process(near, given, &output).await {
                Ok(()) => (String::new(), 0),
                Err(fail) => fail.report(),
            };
            assert_eq!((ended.0.trim_end(), ended.1), (want.as_str(), code), "{status}");
        }
    }
}
