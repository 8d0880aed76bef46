//! The connections of a call. The last one is kept for the next request to the same server, as curl
//! does it.

use super::super::http::{self, Answer, Deadline, Stream, Url};
use super::super::resolve;
use super::AGENT;
use super::body::{Body, Opened};
use super::faults::{Fault, connect_fault, fault, tls_fault, transfer_fault};
use super::options::Options;
use super::report::Report;
use std::io;
use std::time::Instant;

/// A call of curl: its options, and the connection that the last transfer left.
pub(super) struct Client<'a> {
    pub options: &'a Options,
    kept: Option<(Url, Stream)>,
}

impl<'a> Client<'a> {
    pub(super) fn new(options: &'a Options) -> Client<'a> {
        Client { options, kept: None }
    }

    fn note(&self, text: &str) {
        if self.options.verbose {
            super::super::err(text);
        }
    }

    /// Sends a request, over the kept connection if it leads to the server, and reads the head of
    /// the answer. `trusted`: the server may know who the user is.
    pub(super) fn request(
        &mut self,
        url: &Url,
        method: &str,
        body: Option<Body<'_>>,
        deadline: Deadline,
        report: &mut Report,
        trusted: bool,
    ) -> Result<Answer, Fault> {
        let opened = || opened(self.options, url, method, body, trusted);
        let (mut upload, mut text) = opened()?;
        let kept = self.kept.take().filter(|(of, stream)| of.is_same_server(url) && stream.is_quiet());
        if let Some((_, stream)) = kept {
            self.note(&format!("* Re-using existing connection with host {}\n", url.host));
            match self.ask(stream, &text, upload.as_mut(), method, deadline, report) {
                // The server had given the connection up in this moment.
                Err(e) if http::is_unheard(&e) && !body.is_some_and(|body| body.is_stdin()) => {
                    self.note("* Connection died, retrying a fresh connect\n");
                    (upload, text) = opened()?;
                }
                told => return told.map_err(|e| transfer_fault(&e, deadline, 0, None)),
            }
        }
        let stream = self.connect(url, deadline, report)?;
        let told = self.ask(stream, &text, upload.as_mut(), method, deadline, report);
        told.map_err(|e| transfer_fault(&e, deadline, 0, None))
    }

    fn connect(&self, url: &Url, deadline: Deadline, report: &mut Report) -> Result<Stream, Fault> {
        let limit = connect_limit(self.options, deadline);
        let unknown = || fault(6, format!("Could not resolve host: {}", url.host));
        let mut addresses = http::look_up(url, &limit).map_err(|e| match e {
            resolve::Failure::Timeout if limit.left().is_err() => fault(
                28,
                format!("Resolving timed out after {} milliseconds", deadline.start.elapsed().as_millis()),
            ),
            _ => unknown(),
        })?;
        addresses.retain(|ip| self.options.ip_version.is_none_or(|version| ip.is_ipv6() == (version == 6)));
        if addresses.is_empty() {
            return Err(unknown());
        }
        report.looked_up = report.start.elapsed();
        let begun = Instant::now();
        let tried = |address| self.note(&format!("*   Trying {address}...\n"));
        let stream = http::connect_to(url, &addresses, &limit, tried)
            .map_err(|e| connect_fault(&e, url, begun.elapsed(), deadline))?;
        report.connected = report.start.elapsed();
        report.connects += 1;
        if let Ok(peer) = stream.peer_addr() {
            self.note(&format!("* Connected to {} ({}) port {}\n", url.host, peer.ip(), peer.port()));
        }
        let stream =
            http::secured(stream, url, &self.options.terms, &limit).map_err(|r| tls_fault(r, url, &limit))?;
        if url.secure {
            report.secured = report.start.elapsed();
        }
        Ok(stream)
    }

    fn ask(
        &self,
        stream: Stream,
        head: &str,
        body: Option<&mut Opened>,
        method: &str,
        deadline: Deadline,
        report: &mut Report,
    ) -> io::Result<Answer> {
        self.note(&head.lines().map(|line| format!("> {line}\n")).collect::<String>());
        let mut upload = body.map(Opened::upload);
        report.upload_begun = upload.is_some();
        // `-X` only replaces the word: with `-I` no body is read.
        let framing = if self.options.head { "HEAD" } else { method };
        let answer = http::exchange(stream, head.as_bytes(), upload.as_mut(), framing, deadline, None);
        report.sent = upload.map_or(0, |upload| upload.sent);
        let answer = answer?;
        report.first_byte = report.start.elapsed();
        report.head(&answer);
        let lines: String = answer.head.text().lines().map(|line| format!("< {line}\n")).collect();
        self.note(&(lines + "< \n"));
        Ok(answer)
    }

    /// Keeps the connection of an answer that was read, unless one side ends it.
    pub(super) fn keep(&mut self, url: Url, answer: Answer, method: &str) {
        let is_close = |header: &String| {
            header.split_once(':').is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("connection") && value.trim().eq_ignore_ascii_case("close")
            })
        };
        // With another word, the server may still send the body that `-I` does not read.
        let unread = self.options.head && method != "HEAD";
        let ends = unread || self.options.headers.iter().any(is_close);
        let stream = answer.into_stream().filter(|_| !ends);
        let what = if stream.is_some() { "left intact" } else { "closed" };
        self.note(&format!("* Connection #0 to host {} {what}\n", url.host));
        self.kept = stream.map(|stream| (url, stream));
    }
}

/// The body and the head of a request.
fn opened<'a>(
    options: &Options,
    url: &Url,
    method: &str,
    body: Option<Body<'a>>,
    trusted: bool,
) -> Result<(Option<Opened<'a>>, String), Fault> {
    let opened = body.map(|body| body.open()).transpose()?;
    let head = request_head(options, url, method, opened.as_ref().map(Opened::headers), trusted);
    Ok((opened, head))
}

/// The limit of `--connect-timeout`, for all that comes before the request, or that of `-m`.
pub(super) fn connect_limit(options: &Options, deadline: Deadline) -> Deadline {
    let own = options.connect_timeout.map(|connect| deadline.start.elapsed() + connect);
    Deadline { limit: own.into_iter().chain(deadline.limit).min(), ..deadline }
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
        add("Authorization", &format!("Basic {}", super::super::base64(user.as_bytes())));
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
