//! The URLs of the call.

use super::super::http::{BadUrl, Url};
use super::options::Options;
use super::{Fault, fault};

/// Parses a URL of the call. Without `-g` its brackets are patterns, which this curl does not have.
///
/// # Errors
/// It is no URL, has a pattern, or a scheme other than http and https.
pub(super) fn called_url(options: &Options, text: &str) -> Result<Url, Fault> {
    if options.globoff {
        return parse_url(text);
    }
    match without_escapes(text) {
        Some(plain) => parse_url(&plain),
        None => {
            let what = "this curl has no patterns ({a,b}, [1-9]) in URLs; with -g they are plain text";
            Err(fault(3, format!("{what}: {text}")))
        }
    }
}

/// Removes the backslashes before brackets that they make plain text (`\[`). Returns `None` if the
/// URL has a pattern: in curl (`glob_parse`) every other bracket begins or ends one, except those
/// of `[]` and of an IPv6 address, which may have a zone (`[fe80::1%25eth0]`).
pub(super) fn without_escapes(url: &str) -> Option<String> {
    let mut plain = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.find(['{', '}', '[', ']']) {
        let (before, bracketed) = rest.split_at(at);
        let length = match before.strip_suffix('\\') {
            Some(before) => {
                plain.push_str(before);
                1
            }
            None => {
                let (inner, _) = bracketed.strip_prefix('[')?.split_once(']')?;
                let address = inner.split('%').next().unwrap_or_default();
                if !inner.is_empty() && address.parse::<std::net::Ipv6Addr>().is_err() {
                    return None;
                }
                plain.push_str(before);
                inner.len() + 2
            }
        };
        let (literal, behind) = bracketed.split_at(length);
        plain.push_str(literal);
        rest = behind;
    }
    plain.push_str(rest);
    Some(plain)
}

fn parse_url(text: &str) -> Result<Url, Fault> {
    Url::parse(text).map_err(|bad| url_fault(bad, text))
}

pub(super) fn url_fault(bad: BadUrl, text: &str) -> Fault {
    match bad {
        BadUrl::Scheme(scheme) => {
            fault(1, format!("Protocol \"{scheme}\" not supported: this curl speaks http and https"))
        }
        BadUrl::Malformed if text.is_empty() => fault(3, "URL using bad/illegal format or missing URL"),
        BadUrl::Malformed => fault(3, format!("URL rejected: Malformed input to a URL function: {text}")),
    }
}
