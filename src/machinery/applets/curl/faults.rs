//! Failures, with the exit codes and texts of curl 7.88.1.

use super::super::http::{self, BadUrl, Deadline, Error, Url};
use super::super::stdio::{reason, write_stderr};
use super::super::tls::Refusal;
use super::messages::TRY;
use super::options::Options;
use std::io;
use std::time::Duration;

/// A failure with curl's exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: i32,
    pub text: String,
}

pub(super) fn fault(code: i32, text: impl Into<String>) -> Fault {
    Fault { code, text: text.into() }
}

/// Prints a failure, unless `-s` without `-S` silences it.
pub(super) fn print(options: &Options, fault: &Fault) {
    if !options.silent || options.show_error {
        write_stderr(&format!("curl: ({}) {}\n", fault.code, fault.text));
    }
}

pub(super) fn url_fault(bad: BadUrl) -> Fault {
    match bad {
        BadUrl::Scheme(scheme) => {
            fault(1, format!("Protocol \"{scheme}\" not supported or disabled in libcurl"))
        }
        BadUrl::NoHost | BadUrl::Port | BadUrl::Ipv6 | BadUrl::Malformed => {
            fault(3, "URL using bad/illegal format or missing URL")
        }
    }
}

/// Makes the fault of a `Location` that leads nowhere.
pub(super) fn redirect_fault(bad: BadUrl) -> Fault {
    let (code, why) = match bad {
        BadUrl::Scheme(_) => (1, "Unsupported URL scheme"),
        BadUrl::NoHost => (3, "No host part in the URL"),
        BadUrl::Port => (3, "Port number was not a decimal number between 0 and 65535"),
        BadUrl::Ipv6 => (3, "Bad IPv6 address"),
        BadUrl::Malformed => (3, "Malformed input to a URL function"),
    };
    fault(code, format!("The redirect target URL could not be parsed: {why}"))
}

pub(super) fn connect_fault(error: &io::Error, url: &Url, took: Duration, deadline: Deadline) -> Fault {
    if deadline.left().is_err() {
        return late_fault(deadline);
    }
    let (host, port, took) = (url.bare_host(), url.port, took.as_millis());
    let what = format!("Failed to connect to {host} port {port} after {took} ms");
    match error.kind() {
        // curl tells only -v why: refused, no route, unreachable are one to it.
        io::ErrorKind::TimedOut => fault(28, format!("{what}: Timeout was reached")),
        _ => fault(7, format!("{what}: Couldn't connect to server")),
    }
}

/// Makes the fault of a transfer whose time (`-m`) is over before there is a connection.
fn late_fault(deadline: Deadline) -> Fault {
    fault(28, format!("Connection timed out after {} milliseconds", deadline.start.elapsed().as_millis()))
}

/// Makes the fault of a failed handshake, in curl's words as far as they are not OpenSSL's, and
/// what the learner can do. `deadline` is that of `-m`.
pub(super) fn tls_fault(refusal: Refusal, url: &Url, deadline: Deadline) -> Fault {
    const REMEDY: &str = "Name the CA with --cacert FILE, or skip the verification with -k.";
    match refusal {
        Refusal::Authorities(file) => fault(77, format!("error setting certificate file: {file}")),
        Refusal::Certificate { file, why } => {
            fault(58, format!("could not load PEM client certificate from {file}, {why}"))
        }
        Refusal::Unbelieved(why) => fault(60, format!("SSL certificate problem: {why}\n{REMEDY}")),
        Refusal::OtherName => fault(
            60,
            format!(
                "SSL: no alternative certificate subject name matches target host name '{}'\n{REMEDY}",
                url.bare_host()
            ),
        ),
        Refusal::Handshake(why) => fault(35, format!("SSL connect error: {why}")),
        Refusal::Io(e) if e.kind() == io::ErrorKind::TimedOut => match deadline.left() {
            Ok(_) => fault(28, "SSL connection timeout"),
            Err(_) => late_fault(deadline),
        },
        Refusal::Io(e) => fault(35, format!("SSL connect error: {}", reason(&e))),
    }
}

/// Makes the fault of an exchange that failed after `got` bytes of a body that has `length` bytes,
/// if that is known.
pub(super) fn transfer_fault(error: &Error, deadline: Deadline, got: u64, length: Option<u64>) -> Fault {
    match error {
        Error::TimedOut => {
            let out_of = length.map_or(String::new(), |length| format!(" out of {length}"));
            let took = deadline.start.elapsed().as_millis();
            fault(
                28,
                format!("Operation timed out after {took} milliseconds with {got}{out_of} bytes received"),
            )
        }
        Error::NoAnswer => fault(52, "Empty reply from server"),
        Error::Cut { missing: Some(missing) } => {
            fault(18, format!("transfer closed with {missing} bytes remaining to read"))
        }
        Error::Cut { missing: None } => fault(18, "transfer closed with outstanding read data remaining"),
        Error::NotHttp => fault(1, "Received HTTP/0.9 when not allowed"),
        Error::BadStart => fault(1, "Unsupported HTTP version in response"),
        Error::Version(version) => fault(1, format!("Unsupported HTTP version ({version}) in response")),
        Error::Status => fault(1, "Unsupported response code in HTTP response"),
        Error::NoColon => fault(8, "Header without colon"),
        Error::Nul => fault(8, "Nul byte in header"),
        Error::ContentLength => fault(8, "Invalid Content-Length: value"),
        Error::FoldedFirst => fault(43, "A libcurl function was given a bad argument"),
        // The buffer of one line is full.
        Error::LongLine => fault(27, "Out of memory"),
        Error::LongHead(length) => {
            fault(56, format!("Too large response headers: {length} > {}", http::HEAD_MAX))
        }
        Error::Chunk(bad) => fault(56, bad.to_string()),
        Error::Coding => fault(
            61,
            "Unrecognized content encoding type. libcurl understands deflate, gzip content encodings.",
        ),
        Error::ManyCodings => fault(61, "Reject response due to more than 5 content encodings"),
        Error::Decoding(why) => fault(61, format!("Error while processing content unencoding: {why}")),
        Error::Trailing => fault(23, "Failed writing received data to disk/application"),
        Error::Upload(_) => fault(UNREADABLE, UNREADABLE_TEXT),
        Error::Send(e) => fault(55, format!("Send failure: {}", reason(e))),
        Error::Receive(e) => fault(56, format!("Recv failure: {}", reason(e))),
    }
}

/// Tells a file that cannot be uploaded, and returns the failure.
pub(super) fn unreadable(name: &str) -> Fault {
    write_stderr(&format!("curl: Can't open '{name}'!\n{TRY}"));
    fault(UNREADABLE, UNREADABLE_TEXT)
}

/// The exit code if what is to be sent cannot be read.
pub(super) const UNREADABLE: i32 = 26;

/// The text of that fault, whatever the reason.
const UNREADABLE_TEXT: &str = "Failed to open/read local data from file/application";
