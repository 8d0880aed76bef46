//! Failures, with curl's exit codes and texts.

use super::super::http::{self, BadUrl, Deadline, Url};
use super::super::tls::Refusal;
use std::io;
use std::time::Duration;

/// A failure with curl's exit code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: i32,
    pub text: String,
}

pub(super) fn fault(code: i32, text: impl Into<String>) -> Fault {
    Fault { code, text: text.into() }
}

pub(super) fn url_fault(bad: BadUrl, text: &str) -> Fault {
    match bad {
        BadUrl::Scheme(scheme) => {
            fault(1, format!("Protocol \"{scheme}\" not supported: this curl speaks http and https"))
        }
        BadUrl::Malformed if text.is_empty() => fault(3, "URL using bad/illegal format or missing URL"),
        BadUrl::Malformed => fault(3, format!("URL rejected: Malformed input to a URL function: {text}")),
    }
}

pub(super) fn connect_fault(error: &io::Error, url: &Url, took: Duration, deadline: Deadline) -> Fault {
    if deadline.left().is_err() {
        let all = deadline.start.elapsed().as_millis();
        return fault(28, format!("Connection timed out after {all} milliseconds"));
    }
    let what = format!("Failed to connect to {} port {} after {} ms", url.host, url.port, took.as_millis());
    match error.kind() {
        // curl tells only -v why: refused, no route, unreachable are one to it.
        io::ErrorKind::TimedOut => fault(28, format!("{what}: Timeout was reached")),
        _ => fault(7, format!("{what}: Could not connect to server")),
    }
}

/// In curl's words, and what the learner can do.
pub(super) fn tls_fault(refusal: Refusal, url: &Url, deadline: &Deadline) -> Fault {
    const REMEDY: &str = "Name its authority with --cacert FILE, or do without knowing who answers: -k.";
    match refusal {
        Refusal::Authorities(file) => fault(77, format!("error setting certificate file: {file}")),
        Refusal::Certificate { file, why } => {
            fault(58, format!("could not load PEM client certificate from {file}: {why}"))
        }
        Refusal::Unbelieved(why) => fault(60, format!("SSL certificate problem: {why}\n{REMEDY}")),
        Refusal::OtherName => fault(
            60,
            format!(
                "SSL: no alternative certificate subject name matches target host name '{}'\n{REMEDY}",
                url.host
            ),
        ),
        Refusal::Handshake(why) => fault(35, format!("TLS connect error: {why}")),
        Refusal::Io(e) if e.kind() == io::ErrorKind::TimedOut => {
            let took = deadline.start.elapsed().as_millis();
            fault(28, format!("SSL connection timed out after {took} milliseconds"))
        }
        Refusal::Io(e) => fault(35, format!("TLS connect error: {}", super::super::reason(&e))),
    }
}

pub(super) fn transfer_fault(error: &io::Error, deadline: Deadline, got: u64, missing: Option<u64>) -> Fault {
    match (error.kind(), missing) {
        (io::ErrorKind::TimedOut, missing) => {
            let out_of = missing.map_or(String::new(), |m| format!(" out of {}", got + m));
            let took = deadline.start.elapsed().as_millis();
            fault(
                28,
                format!("Operation timed out after {took} milliseconds with {got}{out_of} bytes received"),
            )
        }
        (io::ErrorKind::UnexpectedEof, Some(missing)) => {
            fault(18, format!("end of response with {missing} bytes missing"))
        }
        (io::ErrorKind::UnexpectedEof, None) if got == 0 => fault(52, "Empty reply from server"),
        (io::ErrorKind::UnexpectedEof, None) => {
            fault(18, "transfer closed with outstanding read data remaining")
        }
        (io::ErrorKind::InvalidData, _) if got == 0 => fault(1, "Received HTTP/0.9 when not allowed"),
        (io::ErrorKind::Other, _) if http::is_unreadable_upload(error) => {
            fault(26, format!("Failed to open/read local data: {}", super::super::reason(error)))
        }
        (io::ErrorKind::BrokenPipe, _) => fault(55, format!("Send failure: {}", super::super::reason(error))),
        _ => fault(56, format!("Recv failure: {}", super::super::reason(error))),
    }
}
