//! `curl` for http and https URLs, with the behaviour, the texts and the exit codes of curl 7.88.1
//! (what OpenSSL tells is rustls' here). Also for learners whose machine has none:
//! `applets::run("curl", …)` works from any program.

mod body;
mod client;
#[cfg(test)]
mod connection_tests;
mod faults;
mod options;
mod pattern;
mod report;
#[cfg(test)]
mod tests;

use super::http::{Answer, BadUrl, Deadline, Url};
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

const AGENT: &str = concat!("curl/7.88.1 (ropewalk ", env!("CARGO_PKG_VERSION"), ")");

/// What follows a wrong call.
const TRY: &str = "curl: try 'curl --help' for more information\n";

pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let args: Vec<String> = args.into_iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let options = match options::parse(&args, read_file) {
        Ok(options) => options,
        Err(what) => {
            super::err(&format!("curl: {what}\n{TRY}"));
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
        super::err(&format!("{}{TRY}", if args.is_empty() { "" } else { "curl: no URL specified!\n" }));
        return 2;
    }
    let (mut client, mut code) = (Client::new(&options), 0);
    for nth in 0..options.urls.len() {
        code = match transfer_all(&mut client, nth) {
            Ok(code) => code,
            Err(code) => return code,
        };
    }
    code
}

/// One transfer of a call.
struct Transfer<'a> {
    url: &'a Expanded,
    /// The file of `-T`.
    upload: Option<&'a str>,
    /// The place of the URL in the call.
    nth: usize,
}

/// Transfers all that a URL of the call stands for, once for each file that its `-T` stands for.
/// Returns the exit code of the last transfer.
///
/// # Errors
/// The exit code of what ends the call, as in curl: a pattern or a file that cannot be read.
fn transfer_all(client: &mut Client<'_>, nth: usize) -> Result<i32, i32> {
    let options = client.options;
    let parse = |text: &String| {
        let pattern = if options.globoff { Ok(Pattern::plain(text)) } else { Pattern::parse(text) };
        pattern.map_err(|fault| {
            tell(options, &fault);
            fault.code
        })
    };
    let files = options.uploads.get(nth).map(parse).transpose()?;
    let urls = parse(&options.urls[nth])?;
    let mut code = 0;
    let Some(files) = files else {
        for url in urls.expand() {
            code = one(client, &Transfer { url: &url, upload: None, nth });
        }
        return Ok(code);
    };
    for file in files.expand() {
        for url in urls.expand() {
            code = one(client, &Transfer { url: &url, upload: Some(&file.url), nth });
            if code == faults::UNREADABLE {
                return Err(code);
            }
        }
    }
    Ok(code)
}

/// Transfers one URL and tells what came of it. Returns curl's exit code.
fn one(client: &mut Client<'_>, wanted: &Transfer<'_>) -> i32 {
    let (result, mut report) = with_retries(client, wanted);
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
fn with_retries(client: &mut Client<'_>, wanted: &Transfer<'_>) -> (Result<(), Fault>, Report) {
    let stdin = wanted.upload.is_some_and(|name| Body::File(name).is_stdin());
    let mut report = Report::new(&wanted.url.url);
    let mut result = transfer(client, wanted, &mut report);
    for _ in 0..client.options.retries {
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
        report = Report::new(&wanted.url.url);
        result = transfer(client, wanted, &mut report);
    }
    (result, report)
}

/// The failure of an upload that cannot be read a second time.
fn cannot_rewind() -> Fault {
    fault(65, "necessary data rewind wasn't possible")
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

/// Transfers one URL, with its redirections.
fn transfer(client: &mut Client<'_>, wanted: &Transfer<'_>, report: &mut Report) -> Result<(), Fault> {
    let transferred = follow(client, wanted, report);
    if let Err(fault) = &transferred {
        client.give_up(fault);
    }
    transferred
}

/// The URL that is asked first, and what is sent to it.
fn first_request<'a>(options: &'a Options, wanted: &Transfer<'a>) -> Result<(Url, Option<Body<'a>>), Fault> {
    let mut url = Url::parse(&wanted.url.url).map_err(url_fault)?;
    let body = match (&options.data, wanted.upload) {
        (_, Some(name)) => {
            url.path = upload_path(&url.path, name);
            Some(Body::File(name))
        }
        (Some(query), None) if options.get => {
            let joint = match url.path.find('?') {
                None => "?",
                Some(at) if at + 1 == url.path.len() => "",
                Some(_) => "&",
            };
            url.path = format!("{}{joint}{}", url.path, String::from_utf8_lossy(query));
            // It would end the first line of the request, or begin another one.
            if url.path.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(url_fault(BadUrl::Malformed));
            }
            None
        }
        (Some(data), None) => Some(Body::Data(data)),
        (None, None) => None,
    };
    Ok((url, body))
}

fn follow(client: &mut Client<'_>, wanted: &Transfer<'_>, report: &mut Report) -> Result<(), Fault> {
    let (options, deadline) = (client.options, Deadline::new(client.options.max_time));
    let (mut url, mut body) = first_request(options, wanted)?;
    let first = url.clone();
    let mut sink = Sink::new(options, wanted, first.file_name());
    let mut method = method_of(options, body);
    loop {
        report.url = url.full();
        report.method.clone_from(&method);
        let trusted = url.is_same_server(&first);
        let answer = client.request(&url, &method, body, deadline, report, trusted);
        // What came before a failure is shown, too.
        if options.include && !report.heads.is_empty() {
            print_out(&report.heads, sink.writer()?, "header")?;
        }
        let mut answer = answer?;
        let status = answer.head.status;
        // An empty one leads nowhere.
        let location = answer.head.get("location").filter(|to| !to.is_empty());
        let location = location.filter(|_| (300..400).contains(&status)).map(str::to_string);
        report.redirect =
            location.as_ref().and_then(|l| url.join(l).ok()).map(|u| u.full()).unwrap_or_default();
        let Some(location) = location.filter(|_| options.follow) else {
            finish(options, &mut sink, &mut answer, deadline, report)?;
            client.keep(url, answer, &method);
            return Ok(());
        };
        if report.redirects >= options.redirects_max {
            return Err(fault(47, format!("Maximum ({}) redirects followed", options.redirects_max)));
        }
        let (mut skipped, length) = (0, answer.length);
        let read = answer.skip_body(&mut skipped);
        read.map_err(|e| transfer_fault(&e, deadline, skipped, length))?;
        client.keep(url.clone(), answer, &method);
        let mut next = url.join(&location).map_err(url_fault)?;
        if next.user.is_none() && next.is_same_server(&url) {
            next.user.clone_from(&url.user);
        }
        url = next;
        client.note(&format!("* Issue another request to this URL: '{}'\n", url.full()));
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
}

/// Writes bytes; `what` they are, `header` or `body`, is named if that fails.
fn print_out(bytes: &[u8], output: &mut dyn Write, what: &str) -> Result<(), Fault> {
    let written = output.write_all(bytes).and_then(|()| output.flush());
    written.map_err(|_| fault(23, format!("Failed writing {what}")))
}

/// Where a transfer is written. It is opened at the first byte, and once: with `-i` the heads of
/// redirections stand in the same file.
struct Sink<'a> {
    wanted: Option<Output>,
    /// What `-O` calls the file: the name in the URL that the user gave, not in one that a server
    /// redirected to.
    remote_name: &'a str,
    /// `-s`: no warnings.
    silent: bool,
    open: Option<Box<dyn Write>>,
}

impl<'a> Sink<'a> {
    fn new(options: &Options, wanted: &Transfer<'_>, remote_name: &'a str) -> Sink<'a> {
        let wanted = options.outputs.get(wanted.nth).map(|output| match output {
            Output::File(name) => Output::File(wanted.url.file_name(name)),
            Output::Remote => Output::Remote,
        });
        Sink { wanted, remote_name, silent: options.silent, open: None }
    }

    fn writer(&mut self) -> Result<&mut Box<dyn Write>, Fault> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        Ok(self.open.insert(open))
    }

    fn open(&self) -> Result<Box<dyn Write>, Fault> {
        Ok(match &self.wanted {
            None => Box::new(io::stdout()),
            Some(Output::File(name)) if name == "-" => Box::new(io::stdout()),
            Some(Output::File(name)) => Box::new(self.create(name)?),
            Some(Output::Remote) if self.remote_name.is_empty() => {
                super::err("curl: Remote file name has no length!\n");
                return Err(fault(23, "Failed writing received data to disk/application"));
            }
            Some(Output::Remote) => Box::new(self.create(self.remote_name)?),
        })
    }

    fn create(&self, name: &str) -> Result<File, Fault> {
        File::create(name).map_err(|e| {
            if !self.silent {
                super::err(&format!("Warning: Failed to open the file {name}: {}\n", super::reason(&e)));
            }
            fault(23, "Failure writing output to destination")
        })
    }
}

/// Writes the body of the answer where it shall go, and with `-i` the headers behind it.
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
    let read = print_body(answer, out, deadline, report);
    if options.include && !answer.trailers.is_empty() {
        print_out(&answer.trailers, out, "header")?;
    }
    read?;
    failed(options.fail_with_body, status)
}

fn print_body(
    answer: &mut Answer,
    out: &mut dyn Write,
    deadline: Deadline,
    report: &mut Report,
) -> Result<(), Fault> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match answer.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                print_out(&buffer[..count], out, "body")?;
                report.size += count as u64;
            }
            Err(e) => return Err(transfer_fault(&e, deadline, report.size, answer.length)),
        }
    }
}

/// Refuses a status of an error if it is `asked` for (`-f`, `--fail-with-body`).
fn failed(asked: bool, status: u16) -> Result<(), Fault> {
    match asked && status >= 400 {
        true => Err(fault(22, format!("The requested URL returned error: {status}"))),
        false => Ok(()),
    }
}
