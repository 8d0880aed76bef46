//! The connections of a call. The last one is kept for the next request to the same server, as curl
//! does it.

use super::super::http::{self, Answer, Deadline, Stream, Url};
use super::super::resolve;
use super::super::stdio::{err, reason};
use super::body::Opened;
use super::faults::{Fault, connect_fault, fault, tls_fault, transfer_fault};
use super::options::Options;
use super::pins::Pins;
use super::report::Report;
use super::request::{self, Request};
use clock::Instant;
use std::io;
use std::net::{IpAddr, SocketAddr};

/// A call of curl: its options, and the connection that the last transfer left.
pub(super) struct Client<'a> {
    pub options: &'a Options,
    /// A transfer has written to the file of `-D`: the next one goes behind it.
    pub has_dumped: bool,
    pins: Result<Pins, Fault>,
    kept: Option<(Url, Stream)>,
    /// Connections that were begun.
    begun: usize,
    /// A transfer runs over the connection that was begun last.
    in_use: bool,
}

impl<'a> Client<'a> {
    pub(super) fn new(options: &'a Options) -> Client<'a> {
        let pins = Pins::parse(&options.pins);
        Client { options, has_dumped: false, pins, kept: None, begun: 0, in_use: false }
    }

    /// The number of the connection that was begun last; `-v` counts from 0.
    fn number(&self) -> usize {
        self.begun.saturating_sub(1)
    }

    pub(super) fn note(&self, text: &str) {
        if self.options.verbose {
            err(text);
        }
    }

    /// Checks what `--resolve` says before anything is sent.
    ///
    /// # Errors
    /// An entry that has another form.
    pub(super) fn check_pins(&self) -> Result<(), Fault> {
        let pins = self.pins.as_ref().map_err(Fault::clone)?;
        pins.lines().for_each(|line| self.note(&format!("* Added {line} to DNS cache\n")));
        Ok(())
    }

    /// Sends a request, over the kept connection if it leads to the server, and reads the head of
    /// the answer.
    ///
    /// # Errors
    /// Why there is no connection, or no answer.
    pub(super) fn request(
        &mut self,
        request: Request<'_>,
        deadline: Deadline,
        report: &mut Report,
    ) -> Result<Answer, Fault> {
        report.heads.clear();
        let (options, url) = (self.options, request.url);
        let (mut upload, mut text) = request::open(options, request)?;
        let kept = self.kept.take().filter(|(of, stream)| of.is_same_server(url) && stream.is_quiet());
        if let Some((_, stream)) = kept {
            let (number, host) = (self.number(), url.bare_host());
            self.note(&format!("* Re-using existing connection #{number} with host {host}\n"));
            self.in_use = true;
            report.scheme = Some(url.scheme());
            match self.ask(stream, &text, upload.as_mut(), deadline, report) {
                // The server had given the connection up in this moment. As in curl, only a whole
                // line is an answer.
                Err(e)
                    if e.is_hang_up()
                        && report.heads.is_empty()
                        && !request.body.is_some_and(|body| body.is_stdin()) =>
                {
                    self.note("* Connection died, retrying a fresh connect (retry count: 1)\n");
                    self.note(&format!("* Closing connection {number}\n"));
                    (upload, text) = request::open(options, request)?;
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
        let pinned = self.pins.as_ref().ok().and_then(|pins| pins.addresses(url.bare_host(), url.port));
        if let Some(addresses) = pinned {
            self.note(&format!("* Hostname {} was found in DNS cache\n", url.host));
            let places = addresses.iter().map(|ip| SocketAddr::new(*ip, url.port));
            return self.of_the_kind(places.collect(), url);
        }
        let places = http::look_up(url, limit).map_err(|e| match e {
            resolve::Failure::Timeout if limit.left().is_err() => fault(
                28,
                format!("Resolving timed out after {} milliseconds", deadline.start.elapsed().as_millis()),
            ),
            _ => unknown(),
        })?;
        self.of_the_kind(places, url)
    }

    /// Those of the places that `-4` or `-6` allows.
    fn of_the_kind(&self, mut places: Vec<SocketAddr>, url: &Url) -> Result<Vec<SocketAddr>, Fault> {
        places
            .retain(|place| self.options.ip_version.is_none_or(|version| place.is_ipv6() == (version == 6)));
        match (places.is_empty(), url.bare_host().parse::<IpAddr>()) {
            (false, _) => Ok(places),
            // An address needs no resolving; it is of the kind that `-4` or `-6` forbids.
            (true, Ok(_)) => Err(fault(7, "Couldn't connect to server")),
            (true, Err(_)) => Err(fault(6, format!("Could not resolve host: {}", url.host))),
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
                let (ip, port, why) = (place.ip(), place.port(), reason(&e));
                self.note(&format!("* connect to {ip} port {port} failed: {why}\n"));
            }
            report.refused = e.kind() == io::ErrorKind::ConnectionRefused;
            connect_fault(&e, url, begun.elapsed(), deadline)
        })?;
        report.scheme = Some(url.scheme());
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
        report.request_size += head.len() + body.as_ref().map_or(0, |body| body.with_head());
        let mut upload = body.map(Opened::upload);
        report.upload_begun = upload.is_some();
        report.ready = report.start.elapsed();
        // Only `-I` means that there is no body; as in curl, `-X HEAD` replaces the word alone, and
        // the body that the head announces is waited for.
        let is_head = self.options.head;
        let heads = &mut report.heads;
        let answer = http::exchange(stream, head.as_bytes(), upload.as_mut(), is_head, deadline, None, heads);
        report.sent = upload.map_or(0, |upload| upload.sent);
        report.read_heads();
        for line in String::from_utf8_lossy(&report.heads).lines().filter(|line| !line.is_empty()) {
            self.note(&format!("< {line}\n"));
        }
        let answer = answer?;
        self.note("< \n");
        report.first_byte = report.start.elapsed();
        report.addresses(&answer);
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

/// The limit of `--connect-timeout`, for all that comes before the request, or that of `-m`.
pub(super) fn connect_limit(options: &Options, deadline: Deadline) -> Deadline {
    let own = options.connect_timeout.map(|connect| deadline.start.elapsed() + connect);
    Deadline { limit: own.into_iter().chain(deadline.limit).min(), ..deadline }
}
