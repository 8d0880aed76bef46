//! `curl` for http and https URLs, with curl's texts and exit codes. Also for learners whose
//! machine has none: `applets::run("curl", …)` works from any program.

mod body;
mod called;
mod options;
mod report;
#[cfg(test)]
mod tests;

use super::http::{self, Answer, Deadline, Url};
use super::resolve;
use super::tls::Refusal;
use body::{Body, Opened, upload_path};
use called::{called_url, url_fault};
use options::{Options, Output};
use report::Report;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

const AGENT: &str = concat!("curl/8.0 (ropewalk ", env!("CARGO_PKG_VERSION"), ")");

/// A failure with curl's exit code.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    code: i32,
    text: String,
}

fn fault(code: i32, text: impl Into<String>) -> Fault {
    Fault { code, text: text.into() }
}

pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let args: Vec<String> = args.into_iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let options = match options::parse(&args, read_file) {
        Ok(options) => options,
        Err(what) => {
            super::err(&format!("curl: {what}\ncurl: try 'curl --help' for more information\n"));
            return 2;
        }
    };
    if options.help {
        super::out(&format!("Usage: curl [options...] <url>\n{HELP}\n"));
        return 0;
    }
    if options.version {
        super::out(&format!("{AGENT}\nProtocols: http https\n"));
        return 0;
    }
    if options.urls.is_empty() {
        super::err("curl: (2) no URL specified\ncurl: try 'curl --help' for more information\n");
        return 2;
    }
    let mut code = 0;
    for (nth, url) in options.urls.iter().enumerate() {
        let (result, mut report) = with_retries(&options, url, nth);
        report.total = report.start.elapsed();
        if let Err(fault) = &result {
            report.code = fault.code;
            report.error.clone_from(&fault.text);
            if !options.silent || options.show_error {
                super::err(&format!("curl: ({}) {}\n", fault.code, fault.text));
            }
        }
        if let Some(format) = &options.write_out {
            super::out(&report.format(format));
        }
        code = report.code;
    }
    code
}

const HELP: &str = "     --cacert <file>         CA certificate to verify peer against
 -E, --cert <certificate>    Client certificate file (PEM)
 -d, --data <data>           HTTP POST data
 -f, --fail                  Fail fast with no output on HTTP errors
 -G, --get                   Put the post data in the URL and use GET
 -H, --header <header>       Pass custom header to server
 -I, --head                  Show document info only
 -i, --include               Include response headers in output
 -k, --insecure              Allow insecure server connections
     --key <key>             Private key file (PEM)
 -L, --location              Follow redirects
 -m, --max-time <seconds>    Maximum time allowed for transfer
     --connect-timeout <s>   Maximum time allowed to connect
 -o, --output <file>         Write to file instead of stdout
 -O, --remote-name           Write output to file named as remote file
     --retry <num>           Retry request if transient problems occur
 -s, --silent                Silent mode
 -S, --show-error            Show error even when -s is used
 -T, --upload-file <file>    Transfer local FILE to destination
 -u, --user <user:password>  Server user and password
 -A, --user-agent <name>     Send User-Agent <name> to server
 -v, --verbose               Make the operation more talkative
 -w, --write-out <format>    Use output FORMAT after completion
 -X, --request <method>      Specify request method to use
This is Ropewalk's own curl: HTTP/1.1, with and without TLS.";

fn read_file(name: &str) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let read = if name == "-" {
        io::stdin().read_to_end(&mut content).map(drop)
    } else {
        File::open(name).and_then(|mut file| file.read_to_end(&mut content)).map(drop)
    };
    read.map(|()| content).map_err(|e| format!("cannot read {name}: {}", super::reason(&e)))
}

/// Transfers one URL, again as often as `--retry` says. An upload from standard input that was
/// begun is not sent again: only what is left of it would be.
fn with_retries(options: &Options, url: &str, nth: usize) -> (Result<(), Fault>, Report) {
    let stdin = options.uploads.get(nth).is_some_and(|name| Body::File(name).is_stdin());
    let mut report = Report::new(url);
    let mut result = transfer(options, url, nth, &mut report);
    for _ in 0..options.retries {
        // As curl: time-outs and overload pass, refusals do not.
        let timed_out = matches!(&result, Err(f) if f.code == 28);
        if !timed_out && !matches!(report.status, 408 | 429 | 500 | 502..=504) {
            break;
        }
        if stdin && report.upload_begun {
            result = Err(cannot_rewind());
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
        report = Report::new(url);
        result = transfer(options, url, nth, &mut report);
    }
    (result, report)
}

/// The failure of an upload that cannot be read a second time.
fn cannot_rewind() -> Fault {
    fault(65, "necessary data rewind was not possible")
}

/// One URL, with its redirections. `nth` is its place in the call.
fn transfer(options: &Options, text: &str, nth: usize, report: &mut Report) -> Result<(), Fault> {
    let deadline = Deadline::new(options.max_time);
    let mut url = called_url(options, text)?;
    let mut body = match (&options.data, options.uploads.get(nth)) {
        (_, Some(name)) => Some(Body::File(name)),
        (Some(query), None) if options.get => {
            let joint = if url.path.contains('?') { '&' } else { '?' };
            url.path = format!("{}{joint}{}", url.path, String::from_utf8_lossy(query));
            None
        }
        (Some(data), None) => Some(Body::Data(data)),
        (None, None) => None,
    };
    if let Some(Body::File(name)) = &body {
        url.path = upload_path(&url.path, name);
    }
    let first = url.clone();
    let mut sink = Sink { wanted: options.outputs.get(nth), remote_name: first.file_name(), open: None };
    let mut method = match (&options.method, options.head, &body) {
        (Some(method), _, _) => method.clone(),
        (None, true, _) => "HEAD".into(),
        (None, false, Some(Body::Data(_))) => "POST".into(),
        (None, false, Some(Body::File(_))) => "PUT".into(),
        (None, false, None) => "GET".into(),
    };
    loop {
        report.url = url.full();
        report.method.clone_from(&method);
        let trusted = url.is_same_server(&first);
        let mut answer = request(options, &url, &method, body, deadline, report, trusted)?;
        let status = answer.head.status;
        let location =
            answer.head.get("location").filter(|_| (300..400).contains(&status)).map(str::to_string);
        report.redirect =
            location.as_ref().and_then(|l| url.join(l).ok()).map(|u| u.full()).unwrap_or_default();
        match location {
            Some(location) if options.follow => {
                if report.redirects >= options.redirects_max {
                    return Err(fault(47, format!("Maximum ({}) redirects followed", options.redirects_max)));
                }
                if options.include {
                    print_out(format!("{}\r\n", answer.head.text()).as_bytes(), sink.writer()?, report)?;
                }
                let mut next = url.join(&location).map_err(|bad| url_fault(bad, &location))?;
                if next.user.is_none() && next.is_same_server(&url) {
                    next.user.clone_from(&url.user);
                }
                url = next;
                report.redirects += 1;
                let posts = matches!(body, Some(Body::Data(_)));
                if status == 303 || (matches!(status, 301 | 302) && posts) {
                    // `-X` only replaces the word: the body goes as without it.
                    body = None;
                    if options.method.is_none() && method != "HEAD" {
                        method = "GET".into();
                    }
                }
                if body.is_some_and(|body| body.is_stdin()) {
                    return Err(cannot_rewind());
                }
            }
            _ => return finish(options, &mut sink, &mut answer, deadline, report, &url.host),
        }
    }
}

/// The limit of `--connect-timeout`, for all that comes before the request, or that of `-m`.
fn connect_limit(options: &Options, deadline: Deadline) -> Deadline {
    let own = options.connect_timeout.map(|connect| deadline.start.elapsed() + connect);
    Deadline { limit: own.into_iter().chain(deadline.limit).min(), ..deadline }
}

/// Connects, sends, and reads the head of the answer.
fn request(
    options: &Options,
    url: &Url,
    method: &str,
    body: Option<Body<'_>>,
    deadline: Deadline,
    report: &mut Report,
    trusted: bool,
) -> Result<Answer, Fault> {
    let note = |text: String| {
        if options.verbose {
            super::err(&text);
        }
    };
    let mut opened = body.map(|body| body.open()).transpose()?;
    let limit = connect_limit(options, deadline);
    let unknown = || fault(6, format!("Could not resolve host: {}", url.host));
    let mut addresses = http::look_up(url, &limit).map_err(|e| match e {
        resolve::Failure::Timeout if limit.left().is_err() => fault(
            28,
            format!("Resolving timed out after {} milliseconds", deadline.start.elapsed().as_millis()),
        ),
        _ => unknown(),
    })?;
    addresses.retain(|ip| options.ip_version.is_none_or(|version| ip.is_ipv6() == (version == 6)));
    if addresses.is_empty() {
        return Err(unknown());
    }
    report.looked_up = report.start.elapsed();
    let begun = Instant::now();
    let stream =
        http::connect(&addresses, url.port, &limit, |address| note(format!("*   Trying {address}...\n")));
    let stream = stream.map_err(|e| connect_fault(&e, url, begun.elapsed(), deadline))?;
    report.connected = report.start.elapsed();
    if let Ok(peer) = stream.peer_addr() {
        note(format!("* Connected to {} ({}) port {}\n", url.host, peer.ip(), peer.port()));
    }
    let stream = http::secured(stream, url, &options.terms, &limit).map_err(|r| tls_fault(r, url, &limit))?;
    if url.secure {
        report.secured = report.start.elapsed();
    }
    let head = request_head(options, url, method, opened.as_ref().map(Opened::headers), trusted);
    note(head.lines().map(|line| format!("> {line}\n")).collect());
    let mut upload = opened.as_mut().map(Opened::upload);
    report.upload_begun = upload.is_some();
    // `-X` only replaces the word: with `-I` no body is read.
    let framing = if options.head { "HEAD" } else { method };
    let answer = http::exchange(stream, head.as_bytes(), upload.as_mut(), framing, deadline, None);
    report.sent = upload.map_or(0, |upload| upload.sent);
    let answer = answer.map_err(|e| transfer_fault(&e, deadline, 0, None))?;
    report.first_byte = report.start.elapsed();
    report.head(&answer);
    note(answer.head.text().lines().map(|line| format!("< {line}\n")).collect::<String>() + "< \n");
    Ok(answer)
}

/// Without `trusted` the headers that say who the user is are left out, and so is `Host`, which
/// names the first server.
fn request_head(
    options: &Options,
    url: &Url,
    method: &str,
    body: Option<Vec<(&'static str, String)>>,
    trusted: bool,
) -> String {
    let name_of =
        |header: &str| header.split([':', ';']).next().unwrap_or_default().trim().to_ascii_lowercase();
    let sent = |header: &&String| trusted || !http::OF_THE_FIRST.contains(&name_of(header).as_str());
    // `-H 'Name;'` sends an empty header, `-H 'Name:'` leaves one of curl's own out.
    let own: Vec<(&str, &str)> = options
        .headers
        .iter()
        .filter(sent)
        .filter_map(|header| header.split_once(':').or(header.strip_suffix(';').map(|name| (name, ""))))
        .collect();
    let mut text = format!("{method} {} HTTP/1.1\r\n", url.path);
    let mut add = |name: &str, value: &str| {
        if !own.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    };
    add("Host", &url.authority());
    if let Some(user) = options.user.as_ref().filter(|_| trusted).or(url.user.as_ref()) {
        add("Authorization", &format!("Basic {}", super::base64(user.as_bytes())));
    }
    add("User-Agent", options.agent.as_deref().unwrap_or(AGENT));
    add("Accept", "*/*");
    for (name, value) in body.into_iter().flatten() {
        add(name, &value);
    }
    for header in options.headers.iter().filter(sent) {
        match header.split_once(':') {
            Some((name, value)) if !value.trim().is_empty() => {
                text.push_str(&format!("{name}: {}\r\n", value.trim()));
            }
            None if header.ends_with(';') => text.push_str(&format!("{}:\r\n", header.trim_end_matches(';'))),
            _ => {}
        }
    }
    text + "\r\n"
}

fn connect_fault(error: &io::Error, url: &Url, took: Duration, deadline: Deadline) -> Fault {
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
fn tls_fault(refusal: Refusal, url: &Url, deadline: &Deadline) -> Fault {
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
        Refusal::Io(e) => fault(35, format!("TLS connect error: {}", super::reason(&e))),
    }
}

fn transfer_fault(error: &io::Error, deadline: Deadline, got: u64, missing: Option<u64>) -> Fault {
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
            fault(26, format!("Failed to open/read local data: {}", super::reason(error)))
        }
        (io::ErrorKind::BrokenPipe, _) => fault(55, format!("Send failure: {}", super::reason(error))),
        _ => fault(56, format!("Recv failure: {}", super::reason(error))),
    }
}

fn print_out(bytes: &[u8], output: &mut dyn Write, report: &Report) -> Result<(), Fault> {
    let written = output.write_all(bytes).and_then(|()| output.flush());
    written.map_err(|_| {
        fault(23, format!("Failure writing output to destination, passed {} returned 0", report.size))
    })
}

/// Where a transfer is written. It is opened at the first byte, and once: with `-i` the heads of
/// redirections stand in the same file.
struct Sink<'a> {
    wanted: Option<&'a Output>,
    /// What `-O` calls the file: the name in the URL that the user gave, not in one that a server
    /// redirected to.
    remote_name: &'a str,
    open: Option<Box<dyn Write>>,
}

impl Sink<'_> {
    fn writer(&mut self) -> Result<&mut Box<dyn Write>, Fault> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        Ok(self.open.insert(open))
    }

    fn create(&self) -> Result<Box<dyn Write>, Fault> {
        Ok(match self.wanted {
            None => Box::new(io::stdout()),
            Some(Output::File(name)) if name == "-" => Box::new(io::stdout()),
            Some(Output::File(name)) => Box::new(create(name)?),
            Some(Output::Remote) if self.remote_name.is_empty() => {
                return Err(fault(23, "Remote file name has no length"));
            }
            Some(Output::Remote) => Box::new(create(self.remote_name)?),
        })
    }
}

/// Writes the answer where it shall go.
fn finish(
    options: &Options,
    sink: &mut Sink<'_>,
    answer: &mut Answer,
    deadline: Deadline,
    report: &mut Report,
    host: &str,
) -> Result<(), Fault> {
    let status = answer.head.status;
    let failed = || Err(fault(22, format!("The requested URL returned error: {status}")));
    if options.fail && status >= 400 {
        return failed();
    }
    let out = sink.writer()?;
    if options.include {
        print_out(format!("{}\r\n", answer.head.text()).as_bytes(), out, report)?;
    }
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match answer.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                print_out(&buffer[..count], out, report)?;
                report.size += count as u64;
            }
            Err(e) => {
                let missing = answer.length.map(|_| answer.missing());
                return Err(transfer_fault(&e, deadline, report.size, missing));
            }
        }
    }
    if options.verbose {
        super::err(&format!("* Connection #0 to host {} left intact\n", host));
    }
    if options.fail_with_body && status >= 400 { failed() } else { Ok(()) }
}

fn create(name: &str) -> Result<File, Fault> {
    File::create(name)
        .map_err(|e| fault(23, format!("Failed to open the file {name}: {}", super::reason(&e))))
}
