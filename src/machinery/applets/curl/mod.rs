//! `curl` for http and https URLs, with curl's texts and exit codes. Also for learners whose
//! machine has none: `applets::run("curl", …)` works from any program.

mod body;
mod client;
mod faults;
mod options;
mod pattern;
mod report;
#[cfg(test)]
mod tests;

use super::http::{Answer, Deadline, Url};
use body::{Body, upload_path};
use client::Client;
use faults::{Fault, fault, transfer_fault, url_fault};
use options::{Options, Output};
use pattern::{Expanded, Pattern};
use report::Report;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Duration;

const AGENT: &str = concat!("curl/8.0 (ropewalk ", env!("CARGO_PKG_VERSION"), ")");

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
    let (mut client, mut code) = (Client::new(&options), 0);
    for (nth, url) in options.urls.iter().enumerate() {
        let pattern = if options.globoff { Ok(Pattern::plain(url)) } else { Pattern::parse(url) };
        match pattern {
            Ok(pattern) => {
                for expanded in pattern.expand() {
                    code = one(&mut client, &expanded, nth);
                }
            }
            // As curl, which does not go on behind it.
            Err(fault) => {
                tell(&options, &fault);
                return fault.code;
            }
        }
    }
    code
}

/// Transfers one URL and tells what came of it. Returns curl's exit code.
fn one(client: &mut Client<'_>, url: &Expanded, nth: usize) -> i32 {
    let (result, mut report) = with_retries(client, url, nth);
    report.total = report.start.elapsed();
    if let Err(fault) = &result {
        report.code = fault.code;
        report.error.clone_from(&fault.text);
        tell(client.options, fault);
    }
    if let Some(format) = &client.options.write_out {
        super::out(&report.format(format));
    }
    report.code
}

fn tell(options: &Options, fault: &Fault) {
    if !options.silent || options.show_error {
        super::err(&format!("curl: ({}) {}\n", fault.code, fault.text));
    }
}

const HELP: &str = "     --cacert <file>         CA certificate to verify peer against
 -E, --cert <certificate>    Client certificate file (PEM)
 -d, --data <data>           HTTP POST data
 -f, --fail                  Fail fast with no output on HTTP errors
 -g, --globoff               Send {}[] in URLs as they are
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
fn with_retries(client: &mut Client<'_>, url: &Expanded, nth: usize) -> (Result<(), Fault>, Report) {
    let options = client.options;
    let stdin = options.uploads.get(nth).is_some_and(|name| Body::File(name).is_stdin());
    let mut report = Report::new(&url.url);
    let mut result = transfer(client, url, nth, &mut report);
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
        report = Report::new(&url.url);
        result = transfer(client, url, nth, &mut report);
    }
    (result, report)
}

/// The failure of an upload that cannot be read a second time.
fn cannot_rewind() -> Fault {
    fault(65, "necessary data rewind was not possible")
}

/// The word of the first request.
fn method_of(options: &Options, body: Option<Body<'_>>) -> String {
    match (&options.method, options.head, body) {
        (Some(method), _, _) => method,
        (None, true, _) => "HEAD",
        (None, false, Some(Body::Data(_))) => "POST",
        (None, false, Some(Body::File(_))) => "PUT",
        (None, false, None) => "GET",
    }
    .into()
}

/// One URL, with its redirections. `nth` is its place in the call.
fn transfer(
    client: &mut Client<'_>,
    called: &Expanded,
    nth: usize,
    report: &mut Report,
) -> Result<(), Fault> {
    let (options, deadline) = (client.options, Deadline::new(client.options.max_time));
    let mut url = Url::parse(&called.url).map_err(|bad| url_fault(bad, &called.url))?;
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
    let mut sink = Sink::new(options.outputs.get(nth), called, first.file_name());
    let mut method = method_of(options, body);
    loop {
        report.url = url.full();
        report.method.clone_from(&method);
        let trusted = url.is_same_server(&first);
        let mut answer = client.request(&url, &method, body, deadline, report, trusted)?;
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
                io::copy(&mut answer, &mut io::sink()).map_err(|e| transfer_fault(&e, deadline, 0, None))?;
                client.keep(url.clone(), answer, &method);
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
            _ => {
                finish(options, &mut sink, &mut answer, deadline, report)?;
                client.keep(url, answer, &method);
                return Ok(());
            }
        }
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
    wanted: Option<Output>,
    /// What `-O` calls the file: the name in the URL that the user gave, not in one that a server
    /// redirected to.
    remote_name: &'a str,
    open: Option<Box<dyn Write>>,
}

impl<'a> Sink<'a> {
    fn new(output: Option<&Output>, called: &Expanded, remote_name: &'a str) -> Sink<'a> {
        let wanted = output.map(|output| match output {
            Output::File(name) => Output::File(called.file_name(name)),
            Output::Remote => Output::Remote,
        });
        Sink { wanted, remote_name, open: None }
    }

    fn writer(&mut self) -> Result<&mut Box<dyn Write>, Fault> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        Ok(self.open.insert(open))
    }

    fn create(&self) -> Result<Box<dyn Write>, Fault> {
        Ok(match &self.wanted {
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
) -> Result<(), Fault> {
    let status = answer.head.status;
    failed(options.fail, status)?;
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
    failed(options.fail_with_body, status)
}

/// Refuses a status of an error if it is `asked` for (`-f`, `--fail-with-body`).
fn failed(asked: bool, status: u16) -> Result<(), Fault> {
    match asked && status >= 400 {
        true => Err(fault(22, format!("The requested URL returned error: {status}"))),
        false => Ok(()),
    }
}

fn create(name: &str) -> Result<File, Fault> {
    File::create(name)
        .map_err(|e| fault(23, format!("Failed to open the file {name}: {}", super::reason(&e))))
}
