//! # curl
//!
//! ## In Kubernetes
//! People ask a Service, an Ingress or the API server with curl, from a node or out of a pod, and
//! scripts in containers and probes do the same.
//! ## How this one works
//! It has the behaviour, the texts and the exit codes of curl 7.88.1 for http and https URLs. Where
//! curl and a standard differ, it does what curl does. `tests/programs/curl.jsonl` has calls with
//! the requests, the output and the exit code of that curl, and a test replays them.
//!
//! A call goes through these steps:
//! 1. `arguments` reads the command line. `option_table` has all options, each with what it does to
//!    `options`, and the names of those that are left out; `values` reads numbers, times and data.
//! 2. `pattern` makes URLs of braces and brackets: `h/[1-3]` is three transfers.
//! 3. `retry` runs each transfer, and runs it again after a wait if its failure may pass.
//! 4. `transfer` sends the request and follows redirections. `body` is what is sent, `request` the
//!    head in front of it, `client` the connections, which the next requests to the same servers
//!    use again, and `pins` the addresses of `--resolve`. HTTP itself is `super::http`.
//! 5. `output` writes heads and bodies; `report` collects what `write_out` prints for `-w`, and
//!    `trace` tells the lines of `-v`.
//!
//! `faults` has the failures with curl's codes and words, `messages` its warnings, `help` its help.
//!
//! Learners whose machine has no curl use this one too: `applets::run("curl", ...)` works from any
//! program.
//! ## Left out
//! * Protocols other than http and https; HTTP/2, HTTP/3, HTTP/0.9; proxies, and the variables that
//!   name one; `.curlrc` and `.netrc`; other ways to log in than Basic and a bearer token.
//! * Cookies that a server sets: `-c` and files for `-b` are refused. `-b NAME=VALUE` is sent to
//!   every server that a redirection leads to, as in curl; `-H Cookie:` only to the first one.
//! * `-u USER` without a password does not ask for one; it is empty.
//! * Forms (`-F`), transfers in parallel (`-Z`), several sets of options (`--next`).
//! * The codings br and zstd: `--compressed` asks for deflate and gzip only.
//! * The progress meter, and what `-v` shows of TLS. Of the other lines of `-v`, the sizes of parts
//!   of a body are those of this program's reads, and the line `* Closing connection -1` of a URL
//!   that cannot be read is missing.
//! * Names outside of ASCII in hosts (IDNA).
//! * Bytes that are not UTF-8 in the words of the call and in the files of `-H @FILE` and
//!   `-w @FILE`: they are replaced. The files of `-d` and `-T` may have any bytes.
//! * A password of the client's key: `-E FILE:PASSWORD` names a file with a colon.
//!
//! An option that is left out is refused with the words of a curl that was built without it.
//! Different from curl on purpose: an upload from standard input is not sent a second time, where
//! curl would send the rest of it; what OpenSSL tells of a certificate, rustls tells here; and with
//! `-k`, `%{ssl_verify_result}` is 0, because nothing was verified. Where the file of `-D` cannot
//! be made, curl 7.88.1 crashes, and this one ends with 23. A connection on which bytes follow an
//! answer is closed, where curl may throw them away and keep it.
//! ## Read next
//! `transfer`, then `client` and `super::http`. `option_table` stands for itself.

mod arguments;
mod body;
mod client;
mod faults;
mod help;
mod messages;
mod option_table;
mod options;
mod output;
mod pattern;
mod pins;
mod report;
mod request;
mod retry;
#[cfg(test)]
mod tests;
mod trace;
mod transfer;
mod values;
mod write_out;

use super::stdio::{write_stderr, write_stdout};
use client::Client;
use messages::{TRY, warn};
use pattern::Pattern;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use transfer::Transfer;
use values::Refused;

pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let args = crate::arguments_as_text(args);
    let options = match arguments::parse(&args, read_file) {
        Ok(options) => options,
        Err(Refused::Usage(what)) => {
            write_stderr(&format!("curl: {what}\n{TRY}"));
            return 2;
        }
        Err(Refused::Call { warning, is_silent }) => {
            if !is_silent {
                warn(&warning);
            }
            return 2;
        }
    };
    if options.help {
        write_stdout(&format!("Usage: curl [options...] <url>\n{}\n", help::HELP));
        return 0;
    }
    if options.version {
        write_stdout(&format!("{}\nProtocols: http https\n", request::AGENT));
        return 0;
    }
    if options.urls.is_empty() {
        write_stderr(&format!("{}{TRY}", if args.is_empty() { "" } else { "curl: no URL specified!\n" }));
        return 2;
    }
    let (mut client, mut code) = (Client::new(&options), 0);
    for nth in 0..options.urls.len() {
        code = match transfer_all(&mut client, nth) {
            Ok(code) => code,
            Err(code) => return code,
        };
    }
    if options.outputs.len().max(options.uploads.len()) > options.urls.len() && !options.silent {
        warn("Got more output options than URLs");
    }
    code
}

/// Transfers all that a URL of the call stands for, once for each file that its `-T` stands for.
/// Returns the exit code of the last transfer.
///
/// # Errors
/// The exit code of what ends the call, as in curl: a pattern or a file that cannot be read.
fn transfer_all(client: &mut Client<'_>, nth: usize) -> Result<i32, i32> {
    let options = client.options;
    let parse = |text: &str| {
        let pattern = if options.globoff { Ok(Pattern::plain(text)) } else { Pattern::parse(text) };
        pattern.map_err(|fault| {
            faults::print(options, &fault);
            fault.code
        })
    };
    let files = options.upload_of(nth).map(parse).transpose()?;
    let urls = parse(&options.urls[nth])?;
    let mut code = 0;
    let Some(files) = files else {
        for url in urls.expand() {
            code = transfer_one(client, &Transfer { url: &url, upload: None, nth });
        }
        return Ok(code);
    };
    for file in files.expand() {
        for url in urls.expand() {
            code = transfer_one(client, &Transfer { url: &url, upload: Some(&file.url), nth });
            if code == faults::UNREADABLE {
                return Err(code);
            }
        }
    }
    Ok(code)
}

/// Transfers one URL and writes what `-w` asks for. Returns curl's exit code.
fn transfer_one(client: &mut Client<'_>, wanted: &Transfer<'_>) -> i32 {
    let report = retry::with_retries(client, wanted, std::thread::sleep);
    if let Some(format) = &client.options.write_out {
        let written = write_out::write_out(&report, format);
        write_stdout(&written.out);
        write_stderr(&written.err);
    }
    report.code
}

fn read_file(name: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    match name {
        "-" => io::stdin().read_to_end(&mut content)?,
        name => File::open(name)?.read_to_end(&mut content)?,
    };
    Ok(content)
}
