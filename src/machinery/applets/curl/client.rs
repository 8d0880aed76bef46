//! The connections of a call. The last one is kept for the next request to the same server, as curl
//! does it.

use super::super::http::{self, Answer, Deadline, Stream, Url};
use super::super::resolve;
use super::AGENT;
use super::body::{Body, Opened};
use super::faults::{Fault, connect_fault, fault, tls_fault, transfer_fault};
use super::options::Options;
use super::report::Report;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// A call of curl: its options, and the connection that the last transfer left.
pub(super) struct Client<'a> {
    pub options: &'a Options,
    kept: Option<(Url, Stream)>,
    /// Connections that were begun.
    begun: usize,
    /// A transfer runs over the connection that was begun last.
    in_use: bool,
}

impl<'a> Client<'a> {
    pub(super) fn new(options: &'a Options) -> Client<'a> {
        Client { options, kept: None, begun: 0, in_use: false }
    }

    /// The number of the connection that was begun last; `-v` counts from 0.
    fn number(&self) -> usize {
        self.begun.saturating_sub(1)
    }

    pub(super) fn note(&self, text: &str) {
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
        report.heads.clear();
        let options = self.options;
        let opened = || opened(options, url, method, body, trusted);
        let (mut upload, mut text) = opened()?;
        let kept = self.kept.take().filter(|(of, stream)| of.is_same_server(url) && stream.is_quiet());
        if let Some((_, stream)) = kept {
            let (number, host) = (self.number(), url.bare_host());
            self.note(&format!("* Re-using existing connection #{number} with host {host}\n"));
            self.in_use = true;
            match self.ask(stream, &text, upload.as_mut(), deadline, report) {
                // The server had given the connection up in this moment. As in curl, only a whole
                // line is an answer.
                Err(e)
                    if e.is_hang_up()
                        && report.heads.is_empty()
                        && !body.is_some_and(|body| body.is_stdin()) =>
                {
                    self.note("* Connection died, retrying a fresh connect (retry count: 1)\n");
                    self.note(&format!("* Closing connection {number}\n"));
                    (upload, text) = opened()?;
                }
                told => return told.map_err(|e| transfer_fault(&e, deadline, 0, None)),
            }
        }
        let stream = self.connect(url, deadline, report)?;
        let told = self.ask(stream, &text, upload.as_mut(), deadline, report);
        told.map_err(|e| transfer_fault(&e, deadline, 0, None))
    }

    /// The places to connect to.
    fn look_up(&self, url: &Url, deadline: Deadline, limit: &Deadline) -> Result<Vec<SocketAddr>, Fault> {
        let unknown = || fault(6, format!("Could not resolve host: {}", url.host));
        let mut places = http::look_up(url, limit).map_err(|e| match e {
            resolve::Failure::Timeout if limit.left().is_err() => fault(
                28,
                format!("Resolving timed out after {} milliseconds", deadline.start.elapsed().as_millis()),
            ),
            _ => unknown(),
        })?;
        places
            .retain(|place| self.options.ip_version.is_none_or(|version| place.is_ipv6() == (version == 6)));
        match (places.is_empty(), url.bare_host().parse::<IpAddr>()) {
            (false, _) => Ok(places),
            // An address needs no resolving; it is of the kind that `-4` or `-6` forbids.
            (true, Ok(_)) => Err(fault(7, "Couldn't connect to server")),
            (true, Err(_)) => Err(unknown()),
        }
    }

    fn connect(&mut self, url: &Url, deadline: Deadline, report: &mut Report) -> Result<Stream, Fault> {
        let limit = connect_limit(self.options, deadline);
        let places = self.look_up(url, deadline, &limit)?;
        report.looked_up = report.start.elapsed();
        let begun = Instant::now();
        (self.begun, self.in_use) = (self.begun + 1, true);
        let mut last = None;
        let stream = http::connect_to(&places, &limit, |place| {
            // Without the number of a zone's interface.
            let place = SocketAddr::new(place.ip(), place.port());
            self.note(&format!("*   Trying {place}...\n"));
            last = Some(place);
        });
        let stream = stream.map_err(|e| {
            if let Some(place) = last.filter(|_| limit.left().is_ok()) {
                let (ip, port, why) = (place.ip(), place.port(), super::super::reason(&e));
                self.note(&format!("* connect to {ip} port {port} failed: {why}\n"));
            }
            connect_fault(&e, url, begun.elapsed(), deadline)
        })?;
        report.connected = report.start.elapsed();
        report.connects += 1;
        if let Ok(peer) = stream.peer_addr() {
            let (host, ip, port, number) = (url.bare_host(), peer.ip(), peer.port(), self.number());
            self.note(&format!("* Connected to {host} ({ip}) port {port} (#{number})\n"));
        }
        let terms = &self.options.terms;
        let stream = http::secured(stream, url, terms, &limit).map_err(|r| tls_fault(r, url, deadline))?;
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
        deadline: Deadline,
        report: &mut Report,
    ) -> Result<Answer, http::Error> {
        self.note(&head.lines().map(|line| format!("> {line}\n")).collect::<String>());
        let mut upload = body.map(Opened::upload);
        report.upload_begun = upload.is_some();
        // Only `-I` means that there is no body; as in curl, `-X HEAD` replaces the word alone, and
        // the body that the head announces is waited for.
        let is_head = self.options.head;
        let heads = &mut report.heads;
        let answer = http::exchange(stream, head.as_bytes(), upload.as_mut(), is_head, deadline, None, heads);
        report.sent = upload.map_or(0, |upload| upload.sent);
        report.header_size += report.heads.len();
        for line in String::from_utf8_lossy(&report.heads).lines().filter(|line| !line.is_empty()) {
            self.note(&format!("< {line}\n"));
        }
        let answer = answer?;
        self.note("< \n");
        report.first_byte = report.start.elapsed();
        report.head(&answer);
        Ok(answer)
    }

    /// Keeps the connection of an answer that was read, if the server offers it. A request header
    /// `Connection: close` changes nothing, as in curl: it is the server that closes then.
    pub(super) fn keep(&mut self, url: Url, answer: Answer, method: &str) {
        // With `-I` and another word the server may still send the body that is not read.
        let unread = self.options.head && method != "HEAD";
        let stream = answer.into_stream().filter(|_| !unread);
        let number = self.number();
        match &stream {
            Some(_) => {
                self.note(&format!("* Connection #{number} to host {} left intact\n", url.bare_host()));
            }
            None => self.note(&format!("* Closing connection {number}\n")),
        }
        self.in_use = false;
        self.kept = stream.map(|stream| (url, stream));
    }

    /// Notes why a transfer failed, and that its connection is closed.
    pub(super) fn give_up(&mut self, fault: &Fault) {
        if std::mem::take(&mut self.in_use) {
            self.note(&format!("* {}\n* Closing connection {}\n", fault.text, self.number()));
        }
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
        // Without a password there is a colon all the same (RFC 7617).
        let colon = if user.contains(':') { "" } else { ":" };
        let both = format!("{user}{colon}");
        add("Authorization", &format!("Basic {}", super::super::base64(both.as_bytes())));
    }
    add("User-Agent", options.agent.as_deref().unwrap_or(AGENT));
    add("Accept", if options.json { "application/json" } else { "*/*" });
    for (name, value) in body.into_iter().flatten() {
        match name {
            "Content-Type" if options.json => add(name, "application/json"),
            _ => add(name, &value),
        }
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
