//! `-w`: the words that tell of a transfer.

use super::report::Report;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::time::Duration;

/// What `-w` writes, and where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub out: String,
    /// The text for standard error.
    pub err: String,
}

/// The value of a variable. The two forms differ: `%{http_code}` is `000` where JSON has `0`.
enum Value {
    /// `null` in JSON if there is none.
    Text(Option<String>),
    Number(u64),
    /// A status: three digits at least.
    Status(u16),
    Seconds(Duration),
}

impl Value {
    fn plain(self) -> String {
        match self {
            Value::Text(text) => text.unwrap_or_default(),
            Value::Number(number) => number.to_string(),
            Value::Status(status) => format!("{status:03}"),
            Value::Seconds(time) => format!("{:.6}", time.as_secs_f64()),
        }
    }

    fn json(self) -> String {
        match self {
            Value::Text(text) => text.map_or(Json::Null, Json::from).to_string(),
            Value::Status(status) => status.to_string(),
            other => other.plain(),
        }
    }
}

/// A name of `-w`, and what stands for it.
type Variable = (&'static str, fn(&Report) -> Value);

/// The variables in the order that `%{json}` has them in.
const VARIABLES: &[Variable] = &[
    ("certs", |_| Value::Text(Some(String::new()))),
    ("content_type", |r| Value::Text(r.header("content-type").map(str::to_string))),
    ("errormsg", |r| Value::Text(r.error.clone())),
    ("exitcode", |r| Value::Number(u64::from(r.code.unsigned_abs()))),
    ("filename_effective", |r| Value::Text(r.file.clone())),
    ("ftp_entry_path", |_| Value::Text(None)),
    ("http_code", |r| Value::Status(r.status)),
    ("http_connect", |_| Value::Status(0)),
    ("http_version", |r| Value::Text(Some(r.version.clone()))),
    ("local_ip", |r| ip(r.local)),
    ("local_port", |r| port(r.local)),
    ("method", |r| Value::Text(Some(r.method.clone()))),
    ("num_certs", |_| Value::Number(0)),
    ("num_connects", |r| Value::Number(r.connects as u64)),
    ("num_headers", |r| Value::Number(r.headers.len() as u64)),
    ("num_redirects", |r| Value::Number(r.redirects as u64)),
    ("proxy_ssl_verify_result", |_| Value::Number(0)),
    ("redirect_url", |r| Value::Text(r.redirect.clone())),
    ("referer", |r| Value::Text(r.referer.clone())),
    ("remote_ip", |r| ip(r.remote)),
    ("remote_port", |r| port(r.remote)),
    ("response_code", |r| Value::Status(r.status)),
    ("scheme", |r| Value::Text(r.scheme.map(str::to_uppercase))),
    ("size_download", |r| Value::Number(r.size)),
    ("size_header", |r| Value::Number(r.header_size as u64)),
    ("size_request", |r| Value::Number(r.request_size as u64)),
    ("size_upload", |r| Value::Number(r.sent)),
    ("speed_download", |r| speed(r, r.size)),
    ("speed_upload", |r| speed(r, r.sent)),
    ("ssl_verify_result", |r| Value::Number(verify_result(r))),
    ("time_appconnect", |r| Value::Seconds(r.secured)),
    ("time_connect", |r| Value::Seconds(r.connected)),
    ("time_namelookup", |r| Value::Seconds(r.looked_up)),
    ("time_pretransfer", |r| Value::Seconds(r.ready)),
    ("time_redirect", |r| Value::Seconds(r.redirected)),
    ("time_starttransfer", |r| Value::Seconds(r.first_byte)),
    ("time_total", |r| Value::Seconds(r.total)),
    ("url", |r| Value::Text(Some(r.url.clone()))),
    ("url_effective", |r| Value::Text(Some(r.effective.clone()))),
    ("urlnum", |r| Value::Number(r.nth as u64)),
];

fn ip(place: Option<std::net::SocketAddr>) -> Value {
    Value::Text(Some(place.map_or(String::new(), |place| place.ip().to_string())))
}

fn port(place: Option<std::net::SocketAddr>) -> Value {
    Value::Number(place.map_or(0, |place| u64::from(place.port())))
}

/// Returns the speed in bytes a second.
fn speed(report: &Report, bytes: u64) -> Value {
    Value::Number((bytes as f64 / report.total.as_secs_f64().max(1e-6)) as u64)
}

/// Returns OpenSSL's number of what is wrong with the server's certificate, of those that rustls
/// tells apart.
fn verify_result(report: &Report) -> u64 {
    let error = report.error.as_deref().filter(|_| report.code == 60).unwrap_or_default();
    let known = [("local issuer", 20), ("has expired", 10), ("not yet valid", 9)];
    known.iter().find(|(words, _)| error.contains(words)).map_or(0, |(_, number)| *number)
}

/// A piece of a format.
enum Piece {
    Text(String),
    /// From here on the text goes to standard error, or not.
    ToErr(bool),
    Unknown(String),
    /// The rest is for failures.
    OnError,
}

/// Fills in `%{name}` and `%header{name}`. As in curl, an unknown name is reported on standard
/// error.
pub(super) fn write_out(report: &Report, format: &str) -> Written {
    let (mut written, mut to_err, mut rest) = (Written::default(), false, format);
    while !rest.is_empty() {
        let (piece, behind) = next_piece(report, rest);
        rest = behind;
        match piece {
            Piece::Text(text) if to_err => written.err += &text,
            Piece::Text(text) => written.out += &text,
            Piece::ToErr(is_err) => to_err = is_err,
            Piece::Unknown(name) => {
                written.err += &format!("curl: unknown --write-out variable: '{name}'\n");
            }
            Piece::OnError if report.code == 0 => break,
            Piece::OnError => {}
        }
    }
    written
}

/// Returns the first piece of a format that is not empty, and what follows it.
fn next_piece<'a>(report: &Report, rest: &'a str) -> (Piece, &'a str) {
    for (escape, text) in [("%%", "%"), ("\\n", "\n"), ("\\t", "\t"), ("\\r", "\r")] {
        if let Some(behind) = rest.strip_prefix(escape) {
            return (Piece::Text(text.into()), behind);
        }
    }
    let braced = |start: &str| rest.strip_prefix(start).and_then(|rest| rest.split_once('}'));
    if let Some((name, behind)) = braced("%{") {
        return (parse_variable(report, name), behind);
    }
    if let Some((name, behind)) = braced("%header{") {
        return (Piece::Text(report.header(name).unwrap_or_default().into()), behind);
    }
    // Any other character stands for itself, and so does a backslash.
    let length = rest.chars().next().map_or(0, char::len_utf8);
    (Piece::Text(rest[..length].into()), &rest[length..])
}

fn parse_variable(report: &Report, name: &str) -> Piece {
    match name.to_ascii_lowercase().as_str() {
        "onerror" => Piece::OnError,
        "stderr" => Piece::ToErr(true),
        "stdout" => Piece::ToErr(false),
        "json" => Piece::Text(json(report)),
        "header_json" => Piece::Text(header_json(report)),
        lower => match VARIABLES.iter().find(|(known, _)| *known == lower) {
            Some((_, value)) => Piece::Text(value(report).plain()),
            None => Piece::Unknown(name.into()),
        },
    }
}

/// Returns all variables.
fn json(report: &Report) -> String {
    let pairs = VARIABLES.iter().map(|(name, value)| format!("\"{name}\":{},", value(report).json()));
    format!("{{{}\"curl_version\":\"libcurl/7.88.1\"}}", pairs.collect::<String>())
}

/// Returns all headers, each with all of its values, in curl's lines.
fn header_json(report: &Report) -> String {
    // The names in their order, and where each stands among them.
    let mut named: Vec<(String, Vec<&str>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (name, value) in &report.headers {
        let name = name.to_ascii_lowercase();
        let place = *places.entry(name.clone()).or_insert(named.len());
        if place == named.len() {
            named.push((name, Vec::new()));
        }
        named[place].1.push(value);
    }
    let pairs =
        named.into_iter().map(|(name, values)| format!("{}:{}", Json::from(name), Json::from(values)));
    format!("{{{}\n}}", pairs.collect::<Vec<_>>().join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(report: &Report, format: &str) -> String {
        write_out(report, format).out
    }

    /// What is here comes from curl 7.88.1.
    #[test]
    fn formats_are_those_of_curl() {
        let mut report = Report::new("127.0.0.1");
        report.effective = "http://u:p@127.0.0.1/q?a#frag".into();
        report.heads = b"HTTP/1.1 100 Continue\r\n\r\n\
                         HTTP/1.0 404 No\r\nX-Y:  a \"b \r\nx-y: c\r\nContent-Type: t\r\n"
            .to_vec();
        report.read_heads();
        assert_eq!(out(&report, r"a\\b\n\t\r\x%%%q"), "a\\\\b\n\t\r\\x%%q");
        assert_eq!(
            out(&report, "%{url}|%{url_effective}|%|\\"),
            "127.0.0.1|http://u:p@127.0.0.1/q?a#frag|%|\\"
        );
        assert_eq!(out(&report, "%{HTTP_CODE} %{http_version} %{content_type} %{num_headers}"), "404 1 t 3");
        assert_eq!(out(&report, "%header{X-y}|%header{nope}|%header{x|%{x"), "a \"b||%header{x|%{x");
        let headers = "{\"x-y\":[\"a \\\"b\",\"c\"],\n\"content-type\":[\"t\"]\n}";
        assert_eq!(out(&report, "%{header_json}"), headers);
        assert_eq!(out(&report, "x%{onerror}y"), "x");
        report.code = 8;
        assert_eq!(out(&report, "x%{onerror}y"), "xy");
        let written = write_out(&report, "a%{stderr}b%{nope}%{stdout}c%{stderr}d");
        let err = "bcurl: unknown --write-out variable: 'nope'\nd";
        assert_eq!(written, Written { out: "ac".into(), err: err.into() });
    }

    /// As many names as a head has room for: to look for each among all would take a minute.
    #[test]
    fn many_names_are_written_at_once() {
        let mut report = Report::new("u");
        let names = (0..60_000).map(|nth| (format!("x{nth}"), "v".to_string()));
        report.headers = names.collect();
        let json: Json = serde_json::from_str(&out(&report, "%{header_json}")).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 60_000);
    }

    #[test]
    fn all_variables_are_json() {
        let report = Report::new("u");
        let json: Json = serde_json::from_str(&out(&report, "%{json}")).unwrap();
        assert_eq!(
            (&json["http_code"], &json["scheme"], &json["url"]),
            (&Json::from(0), &Json::Null, &Json::from("u"))
        );
        assert_eq!(json.as_object().unwrap().len(), VARIABLES.len() + 1);
        assert_eq!(out(&report, "%{http_code} %{time_total} %{scheme}"), "000 0.000000 ");
    }
}
