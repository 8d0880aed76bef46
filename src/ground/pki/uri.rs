//! Checks URIs of subject alternative names as Go's `url.Parse` and `crypto/x509` do.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Checks a URI of ASCII letters.
///
/// # Errors
/// Go takes no such URI; the reason in Go's words.
pub(crate) fn check(uri: &str) -> Result<(), String> {
    let error = |why: String| format!("x509: cannot parse URI {}: {why}", quoted(uri));
    let not_parsed = |part: &str, why: String| error(format!("parse {}: {why}", quoted(part)));
    let (before, fragment) = uri.split_once('#').unwrap_or((uri, ""));
    let authority = parse(before).map_err(|why| not_parsed(before, why))?;
    check_escapes(fragment).map_err(|why| not_parsed(uri, why))?;
    match authority.is_empty() || is_domain(&authority) {
        true => Ok(()),
        false => Err(error("invalid domain".into())),
    }
}

/// Quotes ASCII letters as Go's `strconv.Quote` does.
fn quoted(text: &str) -> String {
    let letters = text.chars().map(|letter| match letter {
        '"' | '\\' => format!("\\{letter}"),
        ' '..='~' => letter.to_string(),
        '\x07' => "\\a".into(),
        '\x08' => "\\b".into(),
        '\x0b' => "\\v".into(),
        '\x0c' => "\\f".into(),
        '\n' | '\r' | '\t' => letter.escape_default().to_string(),
        other => format!("\\x{:02x}", u32::from(other)),
    });
    format!("\"{}\"", letters.collect::<String>())
}

/// Returns the host and port of a URI without fragment, decoded; empty if it has none.
fn parse(uri: &str) -> Result<Vec<u8>, String> {
    if uri.bytes().any(|letter| letter.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".into());
    }
    let (scheme, rest) = split_scheme(uri)?;
    let (rest, _) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        // What follows a scheme is opaque, as in `urn:a:b`.
        let first = rest.split('/').next().unwrap_or_default();
        return match scheme.is_empty() && first.contains(':') {
            true => Err("first path segment in URL cannot contain colon".into()),
            false => check_escapes(if scheme.is_empty() { rest } else { "" }).map(|()| vec![]),
        };
    }
    let has_host = rest.starts_with("//") && (!scheme.is_empty() || !rest.starts_with("///"));
    if !has_host {
        return check_escapes(rest).map(|()| vec![]);
    }
    let (authority, path) = rest[2..].split_at(rest[2..].find('/').unwrap_or(rest.len() - 2));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    check_host(&scheme.to_ascii_lowercase(), host)?;
    let is_user = |letter: char| letter.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(letter);
    if !user.chars().all(is_user) {
        return Err("net/url: invalid userinfo".into());
    }
    check_escapes(user)?;
    check_escapes(path)?;
    Ok(decoded(host))
}

/// Splits a URI into its scheme, which may be empty, and the rest.
fn split_scheme(uri: &str) -> Result<(&str, &str), &'static str> {
    let end = uri.find(|letter: char| !letter.is_ascii_alphanumeric() && !"+-.".contains(letter));
    match end.map(|end| (&uri[..end], &uri[end..])) {
        Some(("", rest)) if rest.starts_with(':') => Err("missing protocol scheme"),
        Some((scheme, rest))
            if rest.starts_with(':') && scheme.starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            Ok((scheme, &rest[1..]))
        }
        _ => Ok(("", uri)),
    }
}

/// Checks the host and port of a URI.
fn check_host(scheme: &str, host: &str) -> Result<(), String> {
    let (name, port) = match (host.rfind('['), host.rfind(']')) {
        (Some(0), Some(end)) => (&host[..end + 1], &host[end + 1..]),
        (Some(0), None) => return Err("missing ']' in host".into()),
        (Some(_), _) => return Err("invalid IP-literal".into()),
        (None, _) => {
            // With `http` and `https` the port begins at the first colon, else at the last one.
            let is_strict = matches!(scheme, "http" | "https");
            let colon = if is_strict { host.find(':') } else { host.rfind(':') };
            host.split_at(colon.unwrap_or(host.len()))
        }
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    if !is_port {
        return Err(format!("invalid port {port:?} after host"));
    }
    if let Some(literal) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        if literal.parse::<Ipv4Addr>().is_ok() {
            return Err("invalid IP-literal".into());
        }
        let (address, zone) = literal.split_once("%25").unwrap_or((literal, "any"));
        if address.parse::<Ipv6Addr>().is_err() {
            return Err(format!("invalid host: ParseAddr({literal:?}): unable to parse IP"));
        }
        if zone.is_empty() {
            return Err(format!("invalid host: ParseAddr(\"{address}%\"): zone must be a non-empty string"));
        }
    }
    check_escapes(name)?;
    // A host escapes only what is not ASCII, and the percent sign of a zone.
    let escape = name.match_indices('%').map(|(at, _)| &name[at..at + 3]);
    if let Some(bad) = escape.filter(|e| *e != "%25").find(|e| e.as_bytes()[1] < b'8') {
        return Err(format!("invalid URL escape {bad:?}"));
    }
    let is_host =
        |letter: &char| letter.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(*letter);
    match name.chars().find(|letter| !is_host(letter)) {
        Some(bad) => Err(format!("invalid character {:?} in host name", bad.to_string())),
        None => Ok(()),
    }
}

/// Checks that every percent sign begins an escape.
fn check_escapes(text: &str) -> Result<(), String> {
    for (at, _) in text.match_indices('%') {
        let digits = text.as_bytes().get(at + 1..at + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            let escape: String = text[at..].chars().take(3).collect();
            return Err(format!("invalid URL escape {escape:?}"));
        }
    }
    Ok(())
}

/// Replaces the escapes of a text that [`check_escapes`] has passed.
fn decoded(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        out.extend(u8::from_str_radix(digits, 16));
        out.extend(rest.as_bytes());
    }
    out
}

/// Returns true for labels of visible letters with a dot between each two.
fn is_domain(host: &[u8]) -> bool {
    host.split(|letter| *letter == b'.')
        .all(|label| !label.is_empty() && label.iter().all(|letter| (33..=126).contains(letter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_does_not_parse_is_no_uri() {
        for good in [
            "spiffe://example.org/ns/a",
            "https://user:pw@a.example:8443/x?y=%zz#f",
            "urn:a:b",
            "urn:%zz",
            "mailto:a@b",
            "http://[::1]:80/",
            "http://[fe80::1%25en0]/",
            "file:///etc",
            "/a:b",
            "a/b:c",
            "*",
            "",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("http://[", "parse \"http://[\": missing ']' in host"),
            ("http://a[::1]", "invalid IP-literal"),
            ("http://[1.2.3.4]", "invalid IP-literal"),
            ("http://[x]", "invalid host"),
            ("http://[fe80::1%25]", "ParseAddr(\"fe80::1%\"): zone must be a non-empty string"),
            (":a", "missing protocol scheme"),
            ("a\0\t\u{7f}\"", "parse \"a\\x00\\t\\x7f\\\"\": net/url: invalid control character"),
            ("1:2", "first path segment in URL cannot contain colon"),
            ("http://a:b", "invalid port \":b\" after host"),
            ("http://a:1:2", "invalid port \":1:2\" after host"),
            ("http://a/%zz", "invalid URL escape \"%zz\""),
            ("http://a/%4", "invalid URL escape \"%4\""),
            ("http://a%41", "invalid URL escape \"%41\""),
            ("http://a/#%", "parse \"http://a/#%\": invalid URL escape \"%\""),
            ("http://a%41#b", "parse \"http://a%41\": invalid URL escape \"%41\""),
            ("http://a b@c d", "invalid character \" \" in host name"),
            ("http://a b", "invalid character \" \" in host name"),
            ("http://a b@c", "invalid userinfo"),
            ("http://a..b", ": invalid domain"),
            ("http://a.", ": invalid domain"),
            ("http://%c3%a4", ": invalid domain"),
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
