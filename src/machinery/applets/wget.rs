//! `wget` as busybox has it.

use super::http::{self, BadUrl, Deadline, Url};
use super::tls::{Refusal, Terms};
use std::cell::Cell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

const USAGE: &str = "Usage: wget [-qS] [--spider] [--header STR] [--post-data STR] [-O FILE] [-P DIR] [-T SEC] [-U STR] URL...";

const REDIRECTS_MAX: usize = 20;

#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    urls: Vec<String>,
    quiet: bool,
    show_headers: bool,
    spider: bool,
    output: Option<String>,
    directory: Option<String>,
    timeout: Option<Duration>,
    headers: Vec<String>,
    agent: Option<String>,
    post: Option<String>,
    /// `--no-check-certificate`.
    insecure: bool,
    /// The file of `-O` holds an earlier URL's answer: the next one goes behind it.
    begun: Cell<bool>,
}

fn parse(args: &[String]) -> Result<Call, String> {
    let mut call = Call::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix('-').filter(|o| !o.is_empty()) else {
            call.urls.push(word.clone());
            continue;
        };
        if let Some(long) = option.strip_prefix('-') {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (long, None),
            };
            let mut value = || {
                value
                    .clone()
                    .or_else(|| words.next().cloned())
                    .ok_or(format!("--{name} requires an argument"))
            };
            match name {
                "quiet" => call.quiet = true,
                "server-response" => call.show_headers = true,
                "spider" => call.spider = true,
                "no-check-certificate" => call.insecure = true,
                "output-document" => call.output = Some(value()?),
                "directory-prefix" => call.directory = Some(value()?),
                "timeout" => call.timeout = Some(seconds(&value()?)?),
                "header" => call.headers.push(value()?),
                "user-agent" => call.agent = Some(value()?),
                "post-data" => call.post = Some(value()?),
                _ => return Err(format!("unrecognized option '--{name}'")),
            }
            continue;
        }
        let mut letters = option.chars();
        while let Some(letter) = letters.next() {
            if "OPTUt".contains(letter) {
                let rest: String = letters.by_ref().collect();
                let value = if rest.is_empty() { words.next().cloned() } else { Some(rest) };
                let value = value.ok_or(format!("option requires an argument -- '{letter}'"))?;
                match letter {
                    'O' => call.output = Some(value),
                    'P' => call.directory = Some(value),
                    'T' => call.timeout = Some(seconds(&value)?),
                    'U' => call.agent = Some(value),
                    _ => {} // -t, tries: there is one
                }
                continue;
            }
            match letter {
                'q' => call.quiet = true,
                'S' => call.show_headers = true,
                'c' => return Err("-c (continue) is not implemented".into()),
                other => return Err(format!("unrecognized option: {other}")),
            }
        }
    }
    if call.urls.is_empty() { Err(String::new()) } else { Ok(call) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("invalid number '{text}'"))?;
    Ok(Duration::from_secs(seconds))
}

pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let args: Vec<String> = args.into_iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let call = match parse(&args) {
        Ok(call) => call,
        Err(what) => {
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

fn url_fault(text: &str, fault: BadUrl) -> String {
    match fault {
        BadUrl::Scheme(scheme) => {
            format!("{scheme} is not implemented by this wget, only http and https: {text}")
        }
        BadUrl::NoHost | BadUrl::Port | BadUrl::Malformed => format!("bad URL: {text}"),
    }
}

/// A failed exchange in busybox' words.
fn unanswered(error: http::Error) -> String {
    match error {
        http::Error::TimedOut => "download timed out".to_string(),
        http::Error::NoAnswer | http::Error::Cut { .. } => "error getting response".to_string(),
        error => format!("error getting response: {error}"),
    }
}

/// Errors in busybox' words.
fn fetch(call: &Call, text: &str) -> Result<(), String> {
    let mut url = Url::parse(text).map_err(|fault| url_fault(text, fault))?;
    let first = url.clone();
    // Busybox' own default is 900 s for each wait.
    let idle = Some(call.timeout.filter(|t| !t.is_zero()).unwrap_or(Duration::from_secs(900)));
    let method = match (&call.post, call.spider) {
        (Some(_), _) => "POST",
        (None, true) => "HEAD",
        (None, false) => "GET",
    };
    let note = |text: String| {
        if !call.quiet {
            eprintln!("{text}");
        }
    };
    for _ in 0..=REDIRECTS_MAX {
        let places =
            http::look_up(&url, &Deadline::new(None)).map_err(|_| format!("bad address '{}'", url.host))?;
        let mut tried = None;
        let stream = http::connect_to(&places, &Deadline::new(idle), |address| {
            note(format!("Connecting to {} ({address})", url.authority()));
            tried = Some(address.ip());
        })
        .map_err(|e| match e.kind() {
            io::ErrorKind::TimedOut => "download timed out".to_string(),
            _ => {
                let address = tried.map_or(String::new(), |ip| format!(" ({ip})"));
                format!("can't connect to remote host{address}: {}", super::reason(&e))
            }
        })?;
        let terms = Terms { insecure: call.insecure, ..Terms::default() };
        let stream = http::secured(stream, &url, &terms, &Deadline::new(idle)).map_err(|r| match r {
            Refusal::Unbelieved(why) => {
                format!("TLS certificate is not believed: {why}; --no-check-certificate asks no questions")
            }
            Refusal::OtherName => format!(
                "TLS certificate is not one of {}; --no-check-certificate asks no questions",
                url.host
            ),
            Refusal::Handshake(why) => format!("TLS error: {why}"),
            Refusal::Authorities(_) | Refusal::Certificate { .. } => "TLS error".into(), // wget takes none
            Refusal::Io(e) => unanswered(e.into()),
        })?;
        let request = request(call, &url, method, url.is_same_server(&first));
        let (is_head, deadline) = (method == "HEAD", Deadline::new(None));
        let answer =
            http::exchange(stream, request.as_bytes(), None, is_head, deadline, idle, &mut Vec::new());
        let mut answer = answer.map_err(unanswered)?;
        if call.show_headers {
            eprint!("{}", answer.head.text().lines().map(|line| format!("  {line}\n")).collect::<String>());
        }
        match (answer.head.status, answer.head.get("location")) {
            (300..=399, Some(location)) => {
                let bytes = answer.head.location.as_deref().unwrap_or_default();
                url = url.join(bytes).map_err(|fault| url_fault(location, fault))?;
                continue;
            }
            (200..=299, _) => {}
            _ => return Err(format!("server returned error: {}", answer.head.start)),
        }
        if call.spider {
            note("remote file exists".into());
            return Ok(());
        }
        return save(call, &first, &mut answer, note);
    }
    Err("too many redirections".into())
}

/// Makes a request. Another server than the first one gets no `--header` that says who the user is
/// and no `Host`; busybox sends all of them to every server.
fn request(call: &Call, url: &Url, method: &str, is_first: bool) -> String {
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
    if let Some(user) = &url.user {
        text += &format!("Authorization: {}\r\n", http::basic(user));
    }
    text += "Connection: close\r\n";
    if let Some(data) = &call.post {
        if !own("content-type") {
            text += "Content-Type: application/x-www-form-urlencoded\r\n";
        }
        text += &format!("Content-Length: {}\r\n", data.len());
    }
    text += &headers.iter().map(|header| format!("{header}\r\n")).collect::<String>();
    text + "\r\n" + call.post.as_deref().unwrap_or_default()
}

/// The name of the file of a URL: the last part of its path with the query, as in busybox.
fn file_name(url: &Url) -> &str {
    url.path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("index.html")
}

/// Saves an answer. `url` is the user's, which names the file: a server that redirects must not
/// name one, such as `.bashrc`.
fn save(call: &Call, url: &Url, answer: &mut http::Answer, note: impl Fn(String)) -> Result<(), String> {
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
            let file = match (&call.output, call.begun.replace(true)) {
                (None, _) => File::create_new(&path),
                (Some(_), false) => File::create(&path),
                (Some(_), true) => File::options().append(true).create(true).open(&path),
            };
            let file = file.map_err(|e| format!("can't open '{path}': {}", super::reason(&e)))?;
            (path, Box::new(file))
        }
    };
    let to_stdout = name == "-";
    note(if to_stdout { "writing to stdout".into() } else { format!("saving to '{name}'") });
    let mut buffer = vec![0; 64 * 1024];
    let mut total: u64 = 0;
    loop {
        let count = answer.read(&mut buffer).map_err(|e| match e {
            http::Error::Cut { .. } => "connection closed prematurely".to_string(),
            e => unanswered(e),
        })?;
        if count == 0 {
            break;
        }
        output.write_all(&buffer[..count]).map_err(|e| format!("write error: {}", super::reason(&e)))?;
        total += count as u64;
    }
    output.flush().map_err(|e| format!("write error: {}", super::reason(&e)))?;
    let short: String = name.rsplit('/').next().unwrap_or(&name).chars().take(20).collect();
    note(format!("{short:<20} 100% |{}| {total:>5}  0:00:00 ETA", "*".repeat(32)));
    note(if to_stdout { "written to stdout".into() } else { format!("'{name}' saved") });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Call, String> {
        parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_busyboxs() {
        let got = call("-qO- -T 2 --header=A:b http://web").unwrap();
        assert!(got.quiet && got.output.as_deref() == Some("-"));
        assert_eq!((got.timeout, &got.headers[..]), (Some(Duration::from_secs(2)), &["A:b".to_string()][..]));
        assert_eq!(call("-x http://web"), Err("unrecognized option: x".into()));
        assert_eq!(call("-q"), Err(String::new()));
    }

    #[test]
    fn a_page_is_saved_and_errors_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page").to_str().unwrap().to_string();
        let moved = "HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n";
        let (port, server) = http::tests::server(vec![moved, "HTTP/1.1 200 OK\r\n\r\nhello"]);
        let call = Call { quiet: true, output: Some(path.clone()), ..Call::default() };
        fetch(&call, &format!("http://127.0.0.1:{port}/here")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello");
        let again = |call: &Call, body: &'static str| {
            let (port, server) = http::tests::server(vec![body]);
            let done = fetch(call, &format!("http://127.0.0.1:{port}/here"));
            server.join().unwrap();
            done
        };
        again(&call, "HTTP/1.1 200 OK\r\n\r\n, again").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hello, again", "the second URL of one call");
        let here = Call { quiet: true, directory: Some(dir.path().display().to_string()), ..Call::default() };
        again(&here, "HTTP/1.1 200 OK\r\n\r\nfirst").unwrap();
        let told = again(&here, "HTTP/1.1 200 OK\r\n\r\nsecond").unwrap_err();
        assert!(told.ends_with("here': File exists"), "{told}");
        assert_eq!(std::fs::read_to_string(dir.path().join("here")).unwrap(), "first");
        let requests = server.join().unwrap();
        assert!(
            requests[1].starts_with("GET /there HTTP/1.1\r\n")
                && requests[1].contains("User-Agent: Wget\r\n")
        );
        let (port, server) = http::tests::server(vec!["HTTP/1.1 404 Not Found\r\n\r\n"]);
        let told = fetch(&call, &format!("127.0.0.1:{port}")).unwrap_err();
        assert_eq!(told, "server returned error: HTTP/1.1 404 Not Found");
        server.join().unwrap();
        let told = fetch(&call, &format!("127.0.0.1:{port}")).unwrap_err();
        assert_eq!(told, "can't connect to remote host (127.0.0.1): Connection refused");
        assert!(fetch(&call, "ftp://web").unwrap_err().starts_with("ftp is not implemented"));
    }

    #[test]
    fn the_users_url_names_the_file_and_the_servers_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let call = Call { quiet: true, directory: Some(dir.path().display().to_string()), ..Call::default() };
        for (path, name) in [("/a/page?q=1", "page?q=1"), ("/a/", "index.html"), ("/a?b=c/d", "d")] {
            let moved = "HTTP/1.1 302 Found\r\nLocation: /.bashrc\r\n\r\n";
            let (port, server) = http::tests::server(vec![moved, "HTTP/1.1 200 OK\r\n\r\nhello"]);
            fetch(&call, &format!("http://127.0.0.1:{port}{path}")).unwrap();
            server.join().unwrap();
            assert_eq!(std::fs::read_to_string(dir.path().join(name)).unwrap(), "hello", "{path}");
        }
        assert!(!dir.path().join(".bashrc").exists());
    }

    #[test]
    fn another_server_is_not_told_who_the_user_is() {
        let (port, other) = http::tests::server(vec!["HTTP/1.1 200 OK\r\n\r\n"]);
        let moved = format!("HTTP/1.1 302 Found\r\nLocation: http://localhost:{port}/b\r\n\r\n");
        let moved: &'static str = Box::leak(moved.into_boxed_str());
        let again = "HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n";
        let (first_port, first) = http::tests::server(vec![again, moved]);
        let headers = ["Authorization: Bearer x", "cookie : c=1", "Host: web", "Keep: 1"];
        let headers = headers.map(String::from).to_vec();
        let call = Call { quiet: true, output: Some("/dev/null".into()), headers, ..Call::default() };
        fetch(&call, &format!("http://127.0.0.1:{first_port}/a")).unwrap();
        for request in first.join().unwrap() {
            let all = ["Authorization: Bearer x", "cookie : c=1", "Host: web", "Keep: 1"];
            assert!(all.iter().all(|header| request.contains(header)), "{request}");
        }
        let other = other.join().unwrap().remove(0);
        assert!(other.contains("Keep: 1\r\n"), "{other}");
        assert!(other.contains(&format!("Host: localhost:{port}\r\n")), "{other}");
        assert!(!other.contains("Bearer") && !other.contains("c=1") && !other.contains("web"), "{other}");
    }
}
