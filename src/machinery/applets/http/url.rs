//! URLs of http and https (RFC 3986), as people and servers write them.

use nix::net::if_::if_nametoindex;
use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// `https`.
    pub secure: bool,
    /// A name or an address, an IPv6 address in brackets.
    pub host: String,
    /// The zone of an IPv6 address: the interface that a link-local address is meant on (RFC 6874).
    pub zone: Option<String>,
    pub port: u16,
    /// With the query, always beginning with `/`.
    pub path: String,
    /// `user:password`, decoded.
    pub user: Option<String>,
    /// The same as it was written.
    pub login: Option<String>,
    /// What stands behind `#`. It is the client's own and is not sent.
    pub fragment: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadUrl {
    /// A scheme other than http and https.
    Scheme(String),
    NoHost,
    /// A port that is no number of 16 bits.
    Port,
    /// Brackets around something else than an IPv6 address.
    Ipv6,
    Malformed,
}

/// What a host must not have, beside blanks and control characters.
const NO_HOST: &[char] = &[
    '/', ':', '#', '?', '!', '@', '{', '}', '[', ']', '\\', '$', '\'', '"', '^', '`', '*', '<', '>', '=',
    ';', ',', '&', '(', ')', '+',
];

impl Url {
    /// `[http[s]://][USER@]HOST[:PORT][/PATH]`. As in curl, one slash or three behind the scheme
    /// mean the same as two, and a port may be left empty.
    pub(crate) fn parse(text: &str) -> Result<Url, BadUrl> {
        if text.contains(is_unsendable) {
            return Err(BadUrl::Malformed);
        }
        let (secure, rest) = match scheme_and_rest(text) {
            None => (false, text),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, _)) => return Err(BadUrl::Scheme(scheme.to_lowercase())),
        };
        let (rest, fragment) = split_fragment(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, authority) = match authority.split_once('@') {
            Some((login, host)) => (Some(login.to_string()), host),
            None => (None, authority),
        };
        let user =
            login.as_deref().map(|login| percent_decode(login).ok_or(BadUrl::Malformed)).transpose()?;
        let usual = if secure { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, "")) => (host, usual),
            Some((host, port)) if !port.contains(']') => (host, port_number(port)?),
            _ => (authority, usual),
        };
        let (host, zone) = without_zone(host).ok_or(BadUrl::Malformed)?;
        let host =
            if host.starts_with('[') { host } else { percent_decode(&host).ok_or(BadUrl::Malformed)? };
        let host = parse_ipv4(&host).map_or(host, |address| address.to_string());
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bracketed.is_some_and(|address| address.parse::<Ipv6Addr>().is_err()) {
            return Err(BadUrl::Ipv6);
        }
        if host.is_empty() {
            return Err(BadUrl::NoHost);
        }
        if host.contains(' ') || (bracketed.is_none() && host.contains(NO_HOST)) {
            return Err(BadUrl::Malformed);
        }
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        let path = encoded_path(&without_dots(&path));
        Ok(Url { secure, host, zone, port, path, user, login, fragment })
    }

    /// Returns what a `Location` of an answer from here means.
    pub(crate) fn join(&self, location: impl AsRef<[u8]>) -> Result<Url, BadUrl> {
        let location = location.as_ref();
        let place = |of: u8, text: &[u8]| text.iter().position(|byte| *byte == of);
        let (location, fragment) = match place(b'#', location) {
            Some(at) => (&location[..at], Some(String::from_utf8_lossy(&location[at + 1..]).into_owned())),
            None => (location, None),
        };
        let (path, query) = location.split_at(place(b'?', location).unwrap_or(location.len()));
        // Servers send blanks and letters outside of ASCII as they are, in whichever encoding; no
        // request may. As in curl, a blank of a query is `+`.
        let query: Vec<u8> = query.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }).collect();
        let path = lower_encoded(path, |byte| byte.is_ascii_graphic());
        let query = lower_encoded(&query, |byte| byte.is_ascii_graphic());
        let location = format!("{path}{query}");
        if let Some(scheme) = scheme_of(&location) {
            return match scheme_and_rest(&location) {
                Some(_) => Ok(Url { fragment, ..Url::parse(&location)? }),
                None => Err(BadUrl::Scheme(scheme.to_lowercase())),
            };
        }
        if let Some(other) = location.strip_prefix("//") {
            return Ok(Url { fragment, ..Url::parse(&format!("{}://{other}", self.scheme()))? });
        }
        let base = self.path.split('?').next().unwrap_or("/");
        let path = match location.as_str() {
            "" => self.path.clone(),
            absolute if absolute.starts_with('/') => absolute.to_string(),
            query if query.starts_with('?') => format!("{base}{query}"),
            relative => format!("{}{relative}", &base[..base.rfind('/').map_or(0, |at| at + 1)]),
        };
        Ok(Url { path: without_dots(&path), fragment, ..self.clone() })
    }

    /// Returns the URL with more text behind its query, or with a query.
    ///
    /// # Errors
    /// `Malformed` if no request line may have the text: it would end that line, or begin another
    /// one.
    pub(crate) fn with_query(self, more: &str) -> Result<Url, BadUrl> {
        let more = more.split('#').next().unwrap_or_default();
        if more.contains(is_unsendable) {
            return Err(BadUrl::Malformed);
        }
        let joint = match self.path.find('?') {
            _ if more.is_empty() => "",
            None => "?",
            Some(at) if at + 1 == self.path.len() => "",
            Some(_) => "&",
        };
        Ok(Url { path: format!("{}{joint}{}", self.path, with_small_escapes(more)), ..self })
    }

    /// Returns whether scheme, host and port are the same.
    pub(crate) fn is_same_server(&self, other: &Url) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
            && (self.port, self.secure, &self.zone) == (other.port, other.secure, &other.zone)
    }

    /// Returns whether the name of the host is the same, whatever the scheme and the port are.
    pub(crate) fn is_same_host(&self, other: &Url) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
    }

    /// `https` or `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// Returns the `Host` header: the port only if it is not the scheme's own, and no zone, which
    /// is a matter of this host.
    pub(crate) fn authority(&self) -> String {
        self.with_port(&self.host)
    }

    fn with_port(&self, host: &str) -> String {
        let usual = if self.secure { 443 } else { 80 };
        if self.port == usual { host.to_string() } else { format!("{host}:{}", self.port) }
    }

    /// Returns the URL with its user and its fragment.
    pub(crate) fn effective(&self) -> String {
        let login = self.login.as_ref().map_or(String::new(), |login| format!("{login}@"));
        let fragment = self.fragment.as_ref().map_or(String::new(), |fragment| format!("#{fragment}"));
        let full = self.full();
        let rest = &full[self.scheme().len() + "://".len()..];
        format!("{}://{login}{rest}{fragment}", self.scheme())
    }

    /// Returns the URL without its user and its fragment.
    pub(crate) fn full(&self) -> String {
        let host = match &self.zone {
            Some(zone) => format!("[{}%25{zone}]", self.bare_host()),
            None => self.host.clone(),
        };
        format!("{}://{}{}", self.scheme(), self.with_port(&host), self.path)
    }

    /// Returns the host without the brackets of an IPv6 address.
    pub(crate) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the number of the zone's interface; 0, which is none, if there is no such interface.
    pub(super) fn scope(&self) -> u32 {
        let zone = self.zone.as_deref().unwrap_or("0");
        zone.parse::<u32>().or_else(|_| if_nametoindex(zone)).unwrap_or(0)
    }

    /// Returns the last part of the path; empty for a directory. As in curl, a backslash ends a
    /// part, too.
    pub(crate) fn file_name(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or_default();
        path.rsplit(['/', '\\']).next().unwrap_or_default()
    }
}

/// Takes the zone out of the brackets of an address. `None` if there is a `%` without a zone.
fn without_zone(host: &str) -> Option<(String, Option<String>)> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner.and_then(|inner| inner.split_once('%')) {
        Some((address, text)) => Some((format!("[{address}]"), Some(zone_id(text)?.to_string()))),
        None => Some((host.to_string(), None)),
    }
}

/// The longest name of an interface (IFNAMSIZ without its NUL).
const ZONE_MAX: usize = 15;

/// Returns the zone behind the `%` of an address. RFC 6874 writes that as `%25`; curl takes both.
pub(crate) fn zone_id(text: &str) -> Option<&str> {
    let zone = text.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(text);
    (1..=ZONE_MAX).contains(&zone.len()).then_some(zone)
}

/// Returns a path, and what follows its `?`, without the parts `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(kept.pop()),
            part => kept.push(part),
        }
    }
    // A path that ends with dots is that of a directory.
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
    }
    format!("/{}{query}", kept.join("/"))
}

/// Returns the scheme of an absolute URL (RFC 3986, 3.1). A colon further behind, as in
/// `/login?next=http://h/`, makes none.
fn scheme_of(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(inner)).then_some(scheme)
}

/// Returns the scheme that a user wrote, and what follows its slashes. curl takes a digit as its
/// first character, too. One slash is enough only behind `http:` and `https:`, because `web:/x` has
/// a host and an empty port.
fn scheme_and_rest(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(":/")?;
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if scheme.is_empty() || !scheme.chars().all(inner) {
        return None;
    }
    let is_ours = ["http", "https"].iter().any(|ours| scheme.eq_ignore_ascii_case(ours));
    match rest.strip_prefix('/') {
        Some(rest) if is_ours => Some((scheme, rest.strip_prefix('/').unwrap_or(rest))),
        Some(rest) => Some((scheme, rest)),
        None => is_ours.then_some((scheme, rest)),
    }
}

fn split_fragment(text: &str) -> (&str, Option<String>) {
    match text.split_once('#') {
        Some((text, fragment)) => (text, Some(fragment.to_string())),
        None => (text, None),
    }
}

/// Returns an IPv4 address as inet_aton(3) reads it: one to four numbers, decimal, octal (`0177`)
/// or hexadecimal (`0x7f`), of which the last one fills the bytes that are left. `127.1` is
/// `127.0.0.1`.
fn parse_ipv4(host: &str) -> Option<Ipv4Addr> {
    let digits = |part: &str| match part.as_bytes() {
        [b'0', b'x' | b'X', ..] => u32::from_str_radix(part.get(2..)?, 16).ok(),
        [b'0', _, ..] => u32::from_str_radix(part, 8).ok(),
        _ => part.parse().ok(),
    };
    // Rust's number parsers accept a sign (`127.+1`), which no part of an address may have.
    let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    let parts: Vec<u32> = host.split('.').filter(|_| is_plain).map(digits).collect::<Option<_>>()?;
    let (last, bytes) = parts.split_last()?;
    let room = 32_u32.checked_sub(8 * u32::try_from(bytes.len()).ok()?).filter(|room| *room > 0)?;
    if bytes.iter().any(|byte| *byte > 255) || u64::from(*last) >> room > 0 {
        return None;
    }
    let begin = bytes.iter().zip([24, 16, 8]).map(|(byte, shift)| byte << shift).sum::<u32>();
    Some(Ipv4Addr::from(begin | last))
}

/// Returns whether a character would break the first line of a request.
fn is_unsendable(c: char) -> bool {
    c.is_ascii_whitespace() || c.is_ascii_control()
}

/// Returns a user or a host without its percent-encoding. `None` if that hides a control character.
fn percent_decode(text: &str) -> Option<String> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    (!text.contains(char::is_control)).then_some(text)
}

/// Returns a port of digits. 0 is one: the connection fails then.
fn port_number(text: &str) -> Result<u16, BadUrl> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(BadUrl::Port)
}

/// Returns a path whose bytes outside of ASCII are percent-encoded. As in curl, a query that the
/// user wrote is sent as it is.
fn encoded_path(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    format!("{}{query}", lower_encoded(path.as_bytes(), |byte| byte.is_ascii()))
}

/// Percent-encodes all bytes that are not kept, with small letters as curl does.
fn lower_encoded(text: &[u8], is_kept: fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        match is_kept(*byte) {
            true => encoded.push(char::from(*byte)),
            false => encoded.push_str(&format!("%{byte:02x}")),
        }
    }
    encoded
}

/// Writes the digits of `%2F` small, as curl does in what it adds to a URL.
fn with_small_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let digits = rest.get(at + 1..at + 3).filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.unwrap_or_default();
        out.push_str(&rest[..=at]);
        out.push_str(&digits.to_ascii_lowercase());
        rest = &rest[at + 1 + digits.len()..];
    }
    out.push_str(rest);
    out
}
