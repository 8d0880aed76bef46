//! URIs as Go reads them: `isURL`, and the format `uri` of a schema.

use std::net::Ipv6Addr;

/// Returns whether a text is a URI with a scheme, or an absolute path, as Go reads them
/// (`url.ParseRequestURI`): with `urn:isbn:1` and `file:///x`, and with spaces in a path.
pub(crate) fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|b| b.is_ascii_control()) {
        return false;
    }
    let (has_scheme, rest) = match scheme(text) {
        _ if text == "*" => return true,
        Some(scheme) => {
            (!scheme.is_empty(), if scheme.is_empty() { text } else { &text[scheme.len() + 1..] })
        }
        None => return false,
    };
    let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
    if !rest.starts_with('/') {
        return has_scheme;
    }
    match rest.strip_prefix("//").filter(|_| has_scheme) {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            is_authority(authority) && is_escaped(path)
        }
        None => is_escaped(rest),
    }
}

/// Returns the scheme, empty if there is none; `None` if the text begins with a colon.
fn scheme(text: &str) -> Option<&str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' => return (at > 0).then(|| &text[..at]),
            _ => return Some(""),
        }
    }
    Some("")
}

/// Returns whether two hexadecimal digits stand behind every percent sign.
fn is_escaped(text: &str) -> bool {
    is_escaped_with(text, |_| true)
}

/// As [`is_escaped`], and all bytes that are written in this way are `allowed`.
fn is_escaped_with(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    text.split('%').skip(1).all(|escaped| {
        let digits = escaped.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).is_some_and(&allowed)
    })
}

/// `user:password@host:80`
fn is_authority(text: &str) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let in_user = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%@".contains(&b);
    let (is_host, port) = match host.strip_prefix('[').map(|rest| rest.rsplit_once(']')) {
        Some(None) => return false,
        Some(Some((literal, port))) => (is_literal(literal), port),
        None => {
            let (name, port) = host.split_at(host.rfind(':').unwrap_or(host.len()));
            // Of ASCII, only the percent sign itself is written with one.
            let escaped = |b: u8| b >= 0x80 || b == b'%';
            (!name.contains('[') && name.bytes().all(in_host) && is_escaped_with(name, escaped), port)
        }
    };
    let is_port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    is_host && is_port && user.bytes().all(in_user) && is_escaped(user)
}

/// Characters that stand in a host as they are; the percent sign begins an escaped one.
fn in_host(b: u8) -> bool {
    b >= 0x80 || b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]<>\"%".contains(&b)
}

/// Returns whether a text can stand in brackets: an address of IPv6, and perhaps a zone behind
/// `%25`. Go refuses all else since 1.25.2 (CVE-2025-47912).
fn is_literal(text: &str) -> bool {
    let (ip, zone) = text.split_once("%25").map_or((text, None), |(ip, zone)| (ip, Some(zone)));
    let escaped = |b: u8| b == b' ' || b < 0x80 && in_host(b);
    let is_zone =
        |zone: &str| !zone.is_empty() && zone.bytes().all(in_host) && is_escaped_with(zone, escaped);
    ip.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(is_zone)
}
