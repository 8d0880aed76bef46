//! The connections of a call. Some are kept for the next request to the same server, as curl does
//! it.

use super::super::http::{self, Answer, Deadline, Stream, Url};
use super::super::resolve::{self, Family};
use super::super::stdio::{reason, write_stderr};
use super::body::Opened;
use super::faults::{Fault, connect_fault, fault, tls_fault, transfer_fault};
use super::options::Options;
use super::pins::Pins;
use super::report::Report;
use super::request::{self, Request};
use super::trace;
use clock::Instant;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Connections that are kept, at most, as in curl: one more closes the oldest.
const KEPT_MAX: usize = 5;

/// How long the addresses of a name are used again, as in curl.
const NAME_AGE: Duration = Duration::from_secs(60);

/// How long a connection may take to come about without `-m` and `--connect-timeout`, as in curl.
const CONNECT_LIMIT: Duration = Duration::from_secs(300);

/// The failure of an address that `-4` or `-6` forbids.
const NO_ADDRESS: &str = "Couldn't connect to server";

/// A connection that waits for its next request.
struct Kept {
    url: Url,
    stream: Stream,
    number: usize,
}

/// The places of a host and a port, and when they were found.
struct Name {
    host: String,
    port: u16,
    places: Vec<SocketAddr>,
    since: Instant,
}

/// A call of curl: its options, and the connections that its transfers left.
pub(super) struct Client<'a> {
    pub options: &'a Options,
    /// A transfer has written to the file of `-D`: the next one goes behind it.
    pub has_dumped: bool,
    pins: Result<Pins, Fault>,
    /// Open connections for later transfers, the oldest first.
    kept: Vec<Kept>,
    names: Vec<Name>,
    /// Connections that were begun; `-v` counts them from 0.
    begun: usize,
    /// The number of the connection that a transfer runs over.
    in_use: Option<usize>,
}

impl<'a> Client<'a> {
    pub(super) fn new(options: &'a Options) -> Client<'a> {
        let pins = Pins::parse(&options.pins);
        Client {
            options,
            has_dumped: false,
            pins,
            kept: Vec::new(),
            names: Vec::new(),
            begun: 0,
            in_use: None,
        }
    }

    pub(super) fn note(&self, text: &str) {
        if self.options.verbose {
            write_stderr(text);
        }
    }

    /// Checks what `--resolve` says before anything is sent.
    ///
    /// # Errors
    /// An entry that has another form.
    pub(super) fn check_pins(&self) -> Result<(), Fault> {
        let pins = self.pins.as_ref().map_err(Fault::clone)?;
        pins.entries().for_each(|line| self.note(&format!("* Added {line} to DNS cache\n")));
        Ok(())
    }

    /// Takes a kept connection to the server that is still good. Those that are not are closed.
    fn take_kept(&mut self, url: &Url) -> Option<Kept> {
        if let Some(known) = self.kept.iter().find(|kept| kept.url.is_same_server(url)) {
            self.note(&format!("* Found bundle for host: {known:p} [serially]\n"));
            self.note("* Can not multiplex, even if we wanted to\n");
        }
        while let Some(at) = self.kept.iter().position(|kept| kept.url.is_same_server(url)) {
            let kept = self.kept.remove(at);
            if kept.stream.is_quiet() {
                return Some(kept);
            }
            let number = kept.number;
            self.note(&format!("* Connection {number} seems to be dead\n* Closing connection {number}\n"));
        }
        None
    }

    /// Sends a request, over a kept connection if one leads to the server, and reads the head of
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
        let (mut upload, mut text) = request::open_request(options, request)?;
        if let Some(Kept { stream, number, .. }) = self.take_kept(url) {
            let host = url.bare_host();
            self.note(&format!("* Re-using existing connection #{number} with host {host}\n"));
            self.in_use = Some(number);
            self.note_user(request);
            report.addresses(&stream);
            report.scheme = Some(url.scheme());
            match self.send_request(stream, &text, upload.as_mut(), deadline, report) {
                // The server had given the connection up in this moment. As in curl, only a whole
                // line is an answer.
                Err(e)
                    if e.is_hang_up()
                        && report.heads.is_empty()
                        && !request.body.is_some_and(|body| body.is_stdin()) =>
                {
                    self.note("* Connection died, retrying a fresh connect (retry count: 1)\n");
                    self.note(&format!("* Closing connection {number}\n"));
                    (upload, text) = request::open_request(options, request)?;
                }
                answer => return answer.map_err(|e| transfer_fault(&e, deadline, 0, None)),
            }
        }
        let stream = self.connect(url, deadline, report)?;
        self.note_user(request);
        let answer = self.send_request(stream, &text, upload.as_mut(), deadline, report);
        answer.map_err(|e| transfer_fault(&e, deadline, 0, None))
    }

    fn note_user(&self, request: Request<'_>) {
        if let Some(line) = request::user_line(self.options, request) {
            self.note(&format!("* {line}\n"));
        }
    }

    /// Returns the places to connect to.
    fn look_up(&mut self, url: &Url, deadline: Deadline, limit: &Deadline) -> Result<Vec<SocketAddr>, Fault> {
        let unknown = || fault(6, format!("Could not resolve host: {}", url.host));
        let pinned = self.pins.as_ref().ok().and_then(|pins| pins.addresses(url.bare_host(), url.port));
        if let Some(addresses) = pinned {
            self.note(&format!("* Hostname {} was found in DNS cache\n", url.host));
            let places = addresses.iter().map(|ip| SocketAddr::new(*ip, url.port));
            return self.of_allowed_family(places.collect(), url);
        }
        self.names.retain(|name| name.since.elapsed() < NAME_AGE);
        // A zone is a matter of the URL and not of the name.
        let is_found = |name: &&Name| {
            url.zone.is_none() && name.port == url.port && name.host.eq_ignore_ascii_case(&url.host)
        };
        if let Some(known) = self.names.iter().find(is_found) {
            self.note(&format!("* Hostname {} was found in DNS cache\n", url.host));
            return self.of_allowed_family(known.places.clone(), url);
        }
        let places = http::look_up(url, self.options.family, limit).map_err(|e| match e {
            resolve::Failure::Timeout if limit.left().is_err() => fault(
                28,
                format!("Resolving timed out after {} milliseconds", deadline.start.elapsed().as_millis()),
            ),
            _ => unknown(),
        })?;
        let (host, since) = (url.host.clone(), Instant::now());
        if url.zone.is_none() {
            self.names.push(Name { host, port: url.port, places: places.clone(), since });
        }
        self.of_allowed_family(places, url)
    }

    /// Keeps the places of the family that `-4` or `-6` allows.
    ///
    /// # Errors
    /// None is left.
    fn of_allowed_family(&self, mut places: Vec<SocketAddr>, url: &Url) -> Result<Vec<SocketAddr>, Fault> {
        let wanted = self.options.family;
        places.retain(|place| wanted.is_none_or(|family| Family::of(&place.ip()) == family));
        match (places.is_empty(), url.bare_host().parse::<IpAddr>()) {
            (false, _) => Ok(places),
            // An address needs no resolving; it is of the kind that `-4` or `-6` forbids.
            (true, Ok(_)) => Err(fault(7, NO_ADDRESS)),
            (true, Err(_)) => Err(fault(6, format!("Could not resolve host: {}", url.host))),
        }
    }

    fn connect(&mut self, url: &Url, deadline: Deadline, report: &mut Report) -> Result<Stream, Fault> {
        let limit = connect_limit(self.options, deadline);
        let number = self.begun;
        (self.begun, self.in_use) = (self.begun + 1, Some(number));
        (report.remote, report.local) = (None, None);
        let places = self.look_up(url, deadline, &limit)?;
        report.looked_up = report.start.elapsed();
        let begun = Instant::now();
        let mut last = None;
        let stream = http::connect_to(&places, &limit, |place| {
            // curl prints the address without the zone's interface.
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
        (report.remote, report.local) = (stream.peer_addr().ok(), stream.local_addr().ok());
        if let Some(peer) = report.remote {
            let (host, ip, port) = (url.bare_host(), peer.ip(), peer.port());
            self.note(&format!("* Connected to {host} ({ip}) port {port} (#{number})\n"));
        }
        let terms = &self.options.terms;
        let stream =
            http::secure_stream(stream, url, terms, &limit).map_err(|r| tls_fault(r, url, deadline))?;
        if url.secure {
            report.secured = report.start.elapsed();
        }
        Ok(stream)
    }

    fn send_request(
        &self,
        stream: Stream,
        head: &str,
        body: Option<&mut Opened>,
        deadline: Deadline,
        report: &mut Report,
    ) -> Result<Answer, http::Error> {
        self.note(&head.split_inclusive('\n').map(|line| format!("> {line}")).collect::<String>());
        let with_head = body.as_ref().map_or(0, |body| body.with_head());
        report.request_size += head.len() + with_head;
        let mut upload = body.map(Opened::upload);
        report.upload_begun = upload.is_some();
        report.ready = report.start.elapsed();
        // Only `-I` means that there is no body; as in curl, `-X HEAD` replaces the word alone, and
        // the body that the head announces is waited for.
        let is_head = self.options.head;
        let heads = &mut report.heads;
        let answer = http::exchange(stream, head.as_bytes(), upload.as_mut(), is_head, deadline, None, heads);
        report.sent = upload.as_ref().map_or(0, |upload| upload.sent);
        report.read_heads();
        let ends = self.options.fail && report.status >= 400;
        let show =
            |heads: &[u8], answer: Option<&Answer>| self.note(&trace::format_heads(heads, answer, ends));
        let whole = answer.as_ref().ok();
        match upload.as_ref().map(|upload| (upload, upload.progress.heads)) {
            Some((upload, Some(at))) => {
                show(&report.heads[..at], None);
                let announces = trace::announces_data(self.options, report);
                let is_chunked = upload.length.is_none();
                self.note(&trace::describe_upload(&upload.progress, is_chunked, with_head > 0, announces));
                show(&report.heads[at..], whole);
            }
            _ => show(&report.heads, whole),
        }
        let answer = answer?;
        report.first_byte = report.start.elapsed();
        Ok(answer)
    }

    /// Keeps the connection of an answer that was read, if the server offers it. A request header
    /// `Connection: close` changes nothing, as in curl: it is the server that closes then.
    pub(super) fn keep_connection(&mut self, url: Url, answer: Answer, method: &str) {
        // With `-I` and another word the server may still send the body that is not read.
        let unread = self.options.head && method != "HEAD";
        let stream = answer.into_stream().filter(|_| !unread);
        let Some(number) = self.in_use.take() else { return };
        let Some(stream) = stream else {
            self.note(&format!("* Closing connection {number}\n"));
            return;
        };
        self.note(&format!("* Connection #{number} to host {} left intact\n", url.bare_host()));
        if self.kept.len() == KEPT_MAX {
            let oldest = self.kept.remove(0).number;
            self.note("* Connection cache is full, closing the oldest one\n");
            self.note(&format!("* Closing connection {oldest}\n"));
        }
        self.kept.push(Kept { url, stream, number });
    }

    /// Notes why a transfer failed, and that its connection is closed.
    pub(super) fn give_up(&mut self, fault: &Fault) {
        if let Some(number) = self.in_use.take() {
            // curl says nothing else of an address of the wrong kind.
            if fault.text != NO_ADDRESS {
                self.note(&format!("* {}\n", fault.text));
            }
            self.note(&format!("* Closing connection {number}\n"));
        }
    }
}

/// Returns the limit of `--connect-timeout`, for all that comes before the request, or that of
/// `-m`. Without both it is [`CONNECT_LIMIT`].
pub(super) fn connect_limit(options: &Options, deadline: Deadline) -> Deadline {
    let usual = deadline.limit.is_none().then_some(CONNECT_LIMIT);
    let own = options.connect_timeout.or(usual).map(|connect| deadline.start.elapsed() + connect);
    Deadline { limit: own.into_iter().chain(deadline.limit).min(), ..deadline }
}
