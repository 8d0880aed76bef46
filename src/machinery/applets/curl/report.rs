//! What is known of a transfer while it runs, and at its end.

use super::super::http::Stream;
use clock::Instant;
use std::net::SocketAddr;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Report {
    pub start: Instant,
    /// The URL as it was written.
    pub url: String,
    /// The URL that was asked last.
    pub effective: String,
    /// The place of the URL in the call.
    pub nth: usize,
    pub method: String,
    /// The `Referer` that was sent last.
    pub referer: Option<String>,
    /// The file that the body goes into.
    pub file: Option<String>,
    pub status: u16,
    pub version: String,
    /// The headers of the last head, as far as it was read.
    pub headers: Vec<(String, String)>,
    pub scheme: Option<&'static str>,
    /// Address and port.
    pub remote: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    /// The heads of the last exchange, as the server sent them.
    pub heads: Vec<u8>,
    /// Bytes of all heads.
    pub header_size: usize,
    /// Bytes of the requests, and of data of `-d` that goes with them.
    pub request_size: usize,
    /// Bytes of the body as it was sent, before its codings were taken off.
    pub size: u64,
    /// Bytes of the body that were written.
    pub written: u64,
    /// Bytes of the request's body.
    pub sent: u64,
    /// The request's body may have been read, at least in part.
    pub upload_begun: bool,
    /// The server's host refused the connection.
    pub refused: bool,
    pub redirects: usize,
    /// Connections that were made.
    pub connects: usize,
    /// Where a redirection leads.
    pub redirect: Option<String>,
    pub looked_up: Duration,
    pub connected: Duration,
    /// TLS has shaken hands; zero without it.
    pub secured: Duration,
    /// The request is about to be sent.
    pub ready: Duration,
    /// The last redirection was read; zero without one.
    pub redirected: Duration,
    pub first_byte: Duration,
    pub total: Duration,
    /// Exit code.
    pub code: i32,
    pub error: Option<String>,
}

impl Report {
    pub(super) fn new(url: &str) -> Report {
        Report {
            start: Instant::now(),
            url: url.to_string(),
            effective: url.to_string(),
            nth: 0,
            method: String::new(),
            referer: None,
            file: None,
            status: 0,
            version: "0".into(),
            headers: Vec::new(),
            scheme: None,
            remote: None,
            local: None,
            heads: Vec::new(),
            header_size: 0,
            request_size: 0,
            size: 0,
            written: 0,
            sent: 0,
            upload_begun: false,
            refused: false,
            redirects: 0,
            connects: 0,
            redirect: None,
            looked_up: Duration::ZERO,
            connected: Duration::ZERO,
            secured: Duration::ZERO,
            ready: Duration::ZERO,
            redirected: Duration::ZERO,
            first_byte: Duration::ZERO,
            total: Duration::ZERO,
            code: 0,
            error: None,
        }
    }

    /// Takes status, version and headers out of the last head, also if what follows in it is wrong.
    pub(super) fn read_heads(&mut self) {
        self.header_size += self.heads.len();
        let text = String::from_utf8_lossy(&self.heads);
        let mut is_first = true;
        for line in text.lines() {
            if is_first {
                let mut words = line.split([' ', '/']).skip(1).filter(|word| !word.is_empty());
                let version = words.next().unwrap_or("0");
                self.version = version.strip_suffix(".0").unwrap_or(version).to_string();
                self.status = words.next().and_then(|status| status.parse().ok()).unwrap_or(0);
                self.headers.clear();
            } else if let Some((name, value)) = line.split_once(':')
                && !line.starts_with([' ', '\t'])
            {
                self.headers.push((name.to_string(), value.trim().to_string()));
            }
            is_first = line.is_empty();
        }
    }

    pub(super) fn addresses(&mut self, stream: &Stream) {
        (self.remote, self.local) = stream.addresses();
    }

    /// Returns the value of the first header of that name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}
