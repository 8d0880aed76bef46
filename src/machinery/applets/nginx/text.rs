//! Texts with variables, as `return` has them.

use http::{HeaderMap, Method, Uri, Version, header};
use std::net::SocketAddr;

/// The values that the variables of a text stand for: those of one request.
pub(super) struct Variables<'a> {
    pub method: &'a Method,
    pub version: Version,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    /// The path as it was understood: decoded and without detours.
    pub path: &'a str,
    pub server_name: &'a str,
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Plain(String),
    Variable(String),
}

/// A text whose variables are all known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(Vec<Piece>);

const KNOWN: [&str; 21] = [
    "args",
    "content_length",
    "content_type",
    "document_uri",
    "host",
    "hostname",
    "is_args",
    "query_string",
    "remote_addr",
    "remote_port",
    "request",
    "request_method",
    "request_uri",
    "scheme",
    "server_addr",
    "server_name",
    "server_port",
    "server_protocol",
    "time_iso8601",
    "time_local",
    "uri",
];

impl Text {
    /// Errors: nginx' own for a variable that it does not know.
    pub(super) fn parse(text: &str) -> Result<Text, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((plain, behind)) = rest.split_once('$') {
            pieces.push(Piece::Plain(plain.to_string()));
            let (name, after) = match behind.strip_prefix('{') {
                Some(inner) => inner.split_once('}').ok_or("the closing bracket of a variable is missing")?,
                None => {
                    let end =
                        behind.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(behind.len());
                    behind.split_at(end)
                }
            };
            if name.is_empty() {
                return Err("invalid variable name".into());
            }
            let of_request = ["http_", "arg_", "cookie_"]
                .iter()
                .any(|start| name.len() > start.len() && name.starts_with(start));
            if !of_request && !KNOWN.contains(&name) {
                return Err(format!("unknown \"{name}\" variable"));
            }
            pieces.push(Piece::Variable(name.to_string()));
            rest = after;
        }
        pieces.push(Piece::Plain(rest.to_string()));
        Ok(Text(pieces))
    }

    /// Returns true if the text depends on the request.
    pub(super) fn has_variables(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Variable(_)))
    }

    pub(super) fn fill(&self, variables: &Variables) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Plain(text) => text.clone(),
            Piece::Variable(name) => value(name, variables),
        };
        self.0.iter().map(piece).collect()
    }
}

/// Returns the host that the client asked for, without its port and without a dot at its end.
pub(super) fn host(headers: &HeaderMap, uri: &Uri) -> String {
    let written = uri.host().or_else(|| headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let bare = written.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(written, |(host, _)| host);
    bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase()
}

fn value(name: &str, variables: &Variables) -> String {
    let query = variables.uri.query().unwrap_or_default();
    let sent = |header: &str| {
        variables.headers.get(header).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string()
    };
    if let Some(header) = name.strip_prefix("http_") {
        return sent(&header.replace('_', "-"));
    }
    if let Some(cookie) = name.strip_prefix("cookie_") {
        let all = variables.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let found = pairs.find(|(key, _)| key.eq_ignore_ascii_case(cookie));
        return found.map_or(String::new(), |(_, text)| text.to_string());
    }
    if let Some(argument) = name.strip_prefix("arg_") {
        // nginx does not tell `?Q=` from `?q=` (`ngx_http_arg`).
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        return pairs
            .find(|(key, _)| key.eq_ignore_ascii_case(argument))
            .map_or(String::new(), |(_, text)| text.to_string());
    }
    match name {
        "args" | "query_string" => query.to_string(),
        "is_args" => if query.is_empty() { "" } else { "?" }.to_string(),
        "uri" | "document_uri" => variables.path.to_string(),
        "request_uri" => variables.uri.path_and_query().map_or("/", |p| p.as_str()).to_string(),
        "host" => match host(variables.headers, variables.uri) {
            host if host.is_empty() => variables.server_name.to_string(),
            host => host,
        },
        "hostname" => {
            nix::unistd::gethostname().map(|h| h.to_string_lossy().into_owned()).unwrap_or_default()
        }
        "remote_addr" => variables.peer.ip().to_string(),
        "remote_port" => variables.peer.port().to_string(),
        "request" => format!("{} {} {:?}", variables.method, variables.uri, variables.version),
        "request_method" => variables.method.to_string(),
        "content_length" | "content_type" => sent(&name.replace('_', "-")),
        "server_protocol" => format!("{:?}", variables.version),
        "time_local" => jiff::Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
        "scheme" => "http".to_string(),
        "server_addr" => variables.local.ip().to_string(),
        "server_port" => variables.local.port().to_string(),
        "server_name" => variables.server_name.to_string(),
        _ => jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_unknown_ones_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "Web.example:8080".parse().unwrap());
        headers.insert("x-one", "1".parse().unwrap());
        headers.insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        headers.append(header::COOKIE, "a=1; b=2".parse().unwrap());
        headers.append(header::COOKIE, "c=x=y".parse().unwrap());
        let uri: Uri = "/a/%62?q=7&r=".parse().unwrap();
        let variables = Variables {
            method: &Method::GET,
            version: Version::HTTP_11,
            uri: &uri,
            headers: &headers,
            path: "/a/b",
            server_name: "s",
            peer: "10.0.0.9:4000".parse().unwrap(),
            local: "10.0.0.1:80".parse().unwrap(),
        };
        let fill = |text: &str| Text::parse(text).map(|text| text.fill(&variables));
        assert_eq!(fill("https://$host$request_uri").as_deref(), Ok("https://web.example/a/%62?q=7&r="));
        assert_eq!(fill("$uri|${arg_q}x|$http_x_one|$remote_addr").as_deref(), Ok("/a/b|7x|1|10.0.0.9"));
        assert_eq!(fill("$arg_Q").as_deref(), Ok("7"), "in any case");
        assert_eq!(fill("$cookie_b|$cookie_C|$cookie_d|").as_deref(), Ok("2|x=y||"));
        assert_eq!(fill("$request").as_deref(), Ok("GET /a/%62?q=7&r= HTTP/1.1"));
        assert_eq!(
            fill("$server_protocol $content_type$content_length").as_deref(),
            Ok("HTTP/1.1 text/plain")
        );
        let rooted = HeaderMap::from_iter([(header::HOST, "web.example.:80".parse().unwrap())]);
        assert_eq!(host(&rooted, &Uri::from_static("/")), "web.example");
        assert!(!fill("I am $hostname").unwrap().contains('$'));
        assert_eq!(fill("$nobody"), Err("unknown \"nobody\" variable".into()));
        assert_eq!(fill("5$"), Err("invalid variable name".into()));
    }
}
