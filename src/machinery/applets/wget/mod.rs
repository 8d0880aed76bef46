//! # wget
//!
//! ## In Kubernetes
//! Images with busybox have no curl: people and probes in their containers ask with `wget -qO-`.
//! ## How this one works
//! It has the options, the texts and the exit codes of busybox 1.35's wget for http and https URLs.
//! `arguments` reads the command line; HTTP itself is `super::http`.
//! ## Left out
//! * FTP, proxies, `-c` and `-o`.
//! * Words of the command line that are not UTF-8: such bytes are replaced.
//!
//! Different from busybox on purpose: `--spider` sends `HEAD`, so that the server need not send a
//! body that is thrown away. Only the first server gets the user's name and password. A
//! certificate that cannot be verified is refused. A relative `Location` is resolved as RFC 3986
//! says. A URL with a blank in it is refused, and its fragment is not sent. A failure to read an
//! answer names its reason.
//! ## Read next
//! `super::http`, then `curl`, which uses all of it.

mod arguments;
#[cfg(test)]
mod tests;

use super::http::{self, BadUrl, Deadline, Stream, Url};
use super::tls::{Refusal, Terms};
use arguments::{Call, Post, Refused, parse};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

const USAGE: &str = "Usage: wget [-qS] [--spider] [--header STR] [--post-data STR | --post-file FILE] \
                     [--no-check-certificate] [-O FILE] [-P DIR] [-T SEC] [-U STR] URL...";

/// Requests for one URL, those of its redirections included, as in busybox.
const REQUESTS_MAX: usize = 16;

/// The longest wait for one read without `-T`, as in busybox.
const IDLE: Duration = Duration::from_secs(900);

pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let args = crate::arguments_as_text(args);
    let call = match parse(&args) {
        Ok(call) => call,
        Err(Refused::Value(what)) => {
            eprintln!("wget: {what}");
            return 1;
        }
        Err(Refused::Usage(what)) => {
            if !what.is_empty() {
                eprintln!("wget: {what}");
            }
            eprintln!("{USAGE}");
            return 1;
        }
    };
    for url in &call.urls {
        if let Err(what) = fetch(&call, url) {
            eprintln!("wget: {what}");
            return 1;
        }
    }
    0
}

/// Prints progress, unless `-q` silences it.
fn print_note(call: &Call, text: &str) {
    if !call.quiet {
        eprintln!("{text}");
    }
}

/// Returns the text up to its first control character, as busybox shows what a server sent: an
/// escape sequence would steer the user's terminal.
fn printable(text: &str) -> &str {
    text.split(char::is_control).next().unwrap_or_default()
}

/// Returns the lines that `-S` prints for the head of an answer.
fn shown_head(head: &str) -> String {
    let lines = head.split_terminator("\r\n").map(|line| format!("  {}\n", printable(line)));
    lines.collect::<String>() + "  \n"
}

fn url_fault(text: &str, fault: BadUrl) -> String {
    let text = printable(text);
    match fault {
        BadUrl::Scheme(scheme) => {
            format!("{scheme} is not implemented by this wget, only http and https: {text}")
        }
        BadUrl::NoHost | BadUrl::Port | BadUrl::Ipv6 | BadUrl::Malformed => format!("bad URL: {text}"),
    }
}

/// Returns a failed exchange in busybox' words.
fn exchange_error_text(error: http::Error) -> String {
    match error {
        http::Error::TimedOut => "download timed out".to_string(),
        http::Error::NoAnswer | http::Error::Cut { .. } => "error getting response".to_string(),
        error => format!("error getting response: {error}"),
    }
}

/// Statuses whose `Location` is followed.
fn is_redirection(status: u16) -> bool {
    matches!(status, 300..=303 | 307 | 308)
}

/// Returns whether the body of an answer with this status is the file. That of 206, a part of it,
/// is not: this wget asks for none.
fn is_success(status: u16) -> bool {
    matches!(status, 200..=204)
}

/// Fetches one URL, with its redirections, and saves it.
///
/// # Errors
/// What went wrong, in busybox' words.
fn fetch(call: &Call, text: &str) -> Result<(), String> {
    let first = Url::parse(text).map_err(|fault| url_fault(text, fault))?;
    let (mut url, mut names_server) = (first.clone(), true);
    let idle = Some(call.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(IDLE));
    let method = match (&call.post, call.spider) {
        (Some(_), _) => "POST",
        (None, true) => "HEAD",
        (None, false) => "GET",
    };
    let body = match &call.post {
        Some(Post::Data(data)) => Some(data.clone().into_bytes()),
        Some(Post::File(name)) => {
            let content = std::fs::read(name);
            Some(content.map_err(|e| format!("can't open '{name}': {}", super::reason(&e)))?)
        }
        None => None,
    };
    for _ in 0..REQUESTS_MAX {
        let stream = connect(call, &url, idle, names_server)?;
        let request = build_request(call, &url, method, body.as_deref(), url.is_same_server(&first));
        let (is_head, deadline) = (method == "HEAD", Deadline::new(None));
        let answer = http::exchange(stream, &request, None, is_head, deadline, idle, &mut Vec::new());
        let mut answer = answer.map_err(exchange_error_text)?;
        if call.show_headers {
            eprint!("{}", shown_head(&answer.head.text()));
        }
        let status = answer.head.status;
        if let Some(location) = answer.head.location.as_ref().filter(|_| is_redirection(status)) {
            url = url.join(location).map_err(|fault| url_fault(&String::from_utf8_lossy(location), fault))?;
            // As in busybox, only a whole URL has its target printed.
            names_server = !location.starts_with(b"/");
            continue;
        }
        if !is_success(status) && !is_redirection(status) {
            return Err(format!("server returned error: {}", printable(&answer.head.start)));
        }
        if call.spider {
            print_note(call, "remote file exists");
            return Ok(());
        }
        return save_body(call, &first, &mut answer);
    }
    Err("too many redirections".into())
}

/// Connects to the server of a URL; `is_announced` says whether it prints that.
fn connect(call: &Call, url: &Url, idle: Option<Duration>, is_announced: bool) -> Result<Stream, String> {
    let places =
        http::look_up(url, None, &Deadline::new(None)).map_err(|_| format!("bad address '{}'", url.host))?;
    let mut tried = None;
    let stream = http::connect_to(&places, &Deadline::new(idle), |address| {
        if is_announced {
            print_note(call, &format!("Connecting to {} ({address})", url.authority()));
        }
        tried = Some(address.ip());
    });
    let stream = stream.map_err(|e| match e.kind() {
        io::ErrorKind::TimedOut => "download timed out".to_string(),
        _ => {
            let address = tried.map_or(String::new(), |ip| format!(" ({ip})"));
            format!("can't connect to remote host{address}: {}", super::reason(&e))
        }
    })?;
    let terms = Terms { insecure: call.insecure, ..Terms::default() };
    http::secure_stream(stream, url, &terms, &Deadline::new(idle)).map_err(|refusal| match refusal {
        Refusal::Unbelieved(why) => {
            format!("TLS certificate is not believed: {why}; --no-check-certificate asks no questions")
        }
        Refusal::OtherName => {
            format!("TLS certificate is not one of {}; --no-check-certificate asks no questions", url.host)
        }
        Refusal::Handshake(why) => format!("TLS error: {why}"),
        // wget takes neither of them.
        Refusal::Authorities(_) | Refusal::Certificate { .. } => "TLS error".into(),
        Refusal::Io(e) => exchange_error_text(e.into()),
    })
}

/// Makes a request. Another server than the first one gets no `--header` that says who the user is
/// and no `Host`; busybox sends all of them to every server.
fn build_request(call: &Call, url: &Url, method: &str, body: Option<&[u8]>, is_first: bool) -> Vec<u8> {
    let is_sent =
        |header: &&String| is_first || !(http::is_private(header) || http::header_name(header) == "host");
    let headers: Vec<&String> = call.headers.iter().filter(is_sent).collect();
    let own = |name: &str| headers.iter().any(|header| http::header_name(header) == name);
    let mut text = format!("{method} {} HTTP/1.1\r\n", url.path);
    if !own("host") {
        text += &format!("Host: {}\r\n", url.authority());
    }
    if !own("user-agent") {
        text += &format!("User-Agent: {}\r\n", call.agent.as_deref().unwrap_or("Wget"));
    }
    text += "Connection: close\r\n";
    if let Some(user) = url.user.as_ref().filter(|_| !own("authorization")) {
        text += &format!("Authorization: {}\r\n", http::basic_credentials(user));
    }
    if let Some(body) = body {
        if !own("content-type") {
            text += "Content-Type: application/x-www-form-urlencoded\r\n";
        }
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += &headers.iter().map(|header| format!("{header}\r\n")).collect::<String>();
    text += "\r\n";
    [text.as_bytes(), body.unwrap_or_default()].concat()
}

/// Returns the name of the file of a URL: the last part of its path with the query, as in busybox.
fn file_name(url: &Url) -> &str {
    url.path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("index.html")
}

/// Saves an answer. `url` is the user's, which names the file: a server that redirects must not
/// name one, such as `.bashrc`.
fn save_body(call: &Call, url: &Url, answer: &mut http::Answer) -> Result<(), String> {
    let named = file_name(url);
    let (name, mut output): (String, Box<dyn Write>) = match call.output.as_deref() {
        Some("-") => ("-".into(), Box::new(io::stdout())),
        path => {
            let path = path.map_or_else(
                || match &call.directory {
                    Some(directory) => format!("{directory}/{named}"),
                    None => named.to_string(),
                },
                str::to_string,
            );
            // A name from a URL hits no file that was there; one that the user gave may be written
            // over, once.
            let file = match (&call.output, call.has_written.replace(true)) {
                (None, _) => File::create_new(&path),
                (Some(_), false) => File::create(&path),
                (Some(_), true) => File::options().append(true).create(true).open(&path),
            };
            let file = file.map_err(|e| format!("can't open '{path}': {}", super::reason(&e)))?;
            (path, Box::new(file))
        }
    };
    let to_stdout = name == "-";
    let begun: String = if to_stdout { "writing to stdout".into() } else { format!("saving to '{name}'") };
    print_note(call, &begun);
    let mut buffer = vec![0; 64 * 1024];
    let mut total: u64 = 0;
    loop {
        let count = answer.read(&mut buffer).map_err(|e| match e {
            http::Error::Cut { .. } => "connection closed prematurely".to_string(),
            e => exchange_error_text(e),
        })?;
        if count == 0 {
            break;
        }
        output.write_all(&buffer[..count]).map_err(|e| format!("write error: {}", super::reason(&e)))?;
        total += count as u64;
    }
    output.flush().map_err(|e| format!("write error: {}", super::reason(&e)))?;
    let short: String = name.rsplit('/').next().unwrap_or(&name).chars().take(20).collect();
    print_note(call, &format!("{short:<20} 100% |{}| {total:>5}  0:00:00 ETA", "*".repeat(32)));
    let done: String = if to_stdout { "written to stdout".into() } else { format!("'{name}' saved") };
    print_note(call, &done);
    Ok(())
}
