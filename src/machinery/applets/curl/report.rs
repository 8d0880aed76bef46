//! What `-w` can tell.

use super::super::http::Answer;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Report {
    pub start: Instant,
    pub url: String,
    pub method: String,
    pub status: u16,
    version: String,
    kind: String,
    remote: (String, String),
    local: (String, String),
    /// The heads of the last exchange, as the server sent them.
    pub heads: Vec<u8>,
    /// Bytes of all heads.
    pub header_size: usize,
    pub size: u64,
    /// Bytes of the request's body.
    pub sent: u64,
    /// The request's body may have been read, at least in part.
    pub upload_begun: bool,
    pub redirects: usize,
    /// Connections that were made.
    pub connects: usize,
    /// Where a redirection leads.
    pub redirect: String,
    pub looked_up: Duration,
    pub connected: Duration,
    /// TLS has shaken hands; zero without it.
    pub secured: Duration,
    pub first_byte: Duration,
    pub total: Duration,
    /// Exit code.
    pub code: i32,
    pub error: String,
}

impl Report {
    pub(super) fn new(url: &str) -> Report {
        Report {
            start: Instant::now(),
            url: url.to_string(),
            method: String::new(),
            status: 0,
            version: "0".into(),
            kind: String::new(),
            remote: Default::default(),
            local: Default::default(),
            heads: Vec::new(),
            header_size: 0,
            size: 0,
            sent: 0,
            upload_begun: false,
            redirects: 0,
            connects: 0,
            redirect: String::new(),
            looked_up: Duration::ZERO,
            connected: Duration::ZERO,
            secured: Duration::ZERO,
            first_byte: Duration::ZERO,
            total: Duration::ZERO,
            code: 0,
            error: String::new(),
        }
    }

    pub(super) fn head(&mut self, answer: &Answer) {
        self.status = answer.head.status;
        self.version = answer.head.start.split(['/', ' ']).nth(1).unwrap_or("0").to_string();
        self.kind = answer.head.get("content-type").unwrap_or_default().to_string();
        let (remote, local) = answer.addresses();
        let parts = |a: std::net::SocketAddr| (a.ip().to_string(), a.port().to_string());
        self.remote = remote.map(parts).unwrap_or_default();
        self.local = local.map(parts).unwrap_or_default();
    }

    /// Fills in `%{name}`; an unknown one is told, as curl does.
    pub(super) fn format(&self, format: &str) -> String {
        let mut out = String::new();
        let mut rest = format;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            let next = rest.chars().next();
            match (c, next) {
                ('%', Some('%')) => {
                    out.push('%');
                    rest = &rest[1..];
                }
                ('%', Some('{')) if rest.contains('}') => {
                    let end = rest.find('}').unwrap_or(rest.len() - 1);
                    let name = &rest[1..end];
                    match self.value(name) {
                        Some(value) => out.push_str(&value),
                        None => {
                            super::super::err(&format!("curl: unknown --write-out variable: '{name}'\n"));
                        }
                    }
                    rest = &rest[end + 1..];
                }
                ('\\', Some(escape @ ('n' | 't' | 'r' | '\\'))) => {
                    out.push(match escape {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        other => other,
                    });
                    rest = &rest[1..];
                }
                _ => out.push(c),
            }
        }
        out
    }

    fn value(&self, name: &str) -> Option<String> {
        let seconds = |d: Duration| format!("{:.6}", d.as_secs_f64());
        Some(match name {
            "http_code" | "response_code" => format!("{:03}", self.status),
            "http_version" => self.version.clone(),
            "content_type" => self.kind.clone(),
            "errormsg" => self.error.clone(),
            "exitcode" => self.code.to_string(),
            "method" => self.method.clone(),
            "scheme" => self.url.split("://").next().unwrap_or("http").to_ascii_uppercase(),
            "num_connects" => self.connects.to_string(),
            "num_redirects" => self.redirects.to_string(),
            "redirect_url" => self.redirect.clone(),
            "remote_ip" => self.remote.0.clone(),
            "remote_port" => self.remote.1.clone(),
            "local_ip" => self.local.0.clone(),
            "local_port" => self.local.1.clone(),
            "size_download" => self.size.to_string(),
            "size_upload" => self.sent.to_string(),
            "size_header" => self.header_size.to_string(),
            "speed_download" => format!("{:.0}", self.size as f64 / self.total.as_secs_f64().max(1e-6)),
            "speed_upload" => format!("{:.0}", self.sent as f64 / self.total.as_secs_f64().max(1e-6)),
            "time_namelookup" => seconds(self.looked_up),
            "time_connect" => seconds(self.connected),
            "time_appconnect" => seconds(self.secured),
            "time_pretransfer" => seconds(self.connected),
            "time_starttransfer" => seconds(self.first_byte),
            "time_total" => seconds(self.total),
            "url" | "url_effective" => self.url.clone(),
            _ => return None,
        })
    }
}
